use serde_json::json;

use super::*;

struct Around {
    networks: BTreeMap<ObjectKey, NetworkSeen>,
    namespaces: BTreeMap<String, Namespace>,
    nads: BTreeMap<ObjectKey, Nad>,
    compat_lookup: bool,
    held: Vec<L2Attachment>,
    stage: Stage,
}

impl Around {
    fn new(networks: &[(&str, &str, Value)]) -> Self {
        let networks = networks.iter().map(|(namespace, name, allowed)| {
            let network = json!({
                "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Network",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"type": "vnet", "allowedNamespaces": allowed},
            });
            let network = Ok(Box::new(serde_json::from_value(network).unwrap()));
            (ObjectKey::new(*namespace, *name), NetworkSeen { network, deleting: false })
        });
        let namespaces = ["shop", "lab"].map(|name| {
            let labels = BTreeMap::from([("team".to_owned(), name.to_owned())]);
            (name.to_owned(), Namespace { name: name.to_owned(), labels })
        });
        Self {
            networks: networks.collect(),
            namespaces: namespaces.into(),
            nads: BTreeMap::new(),
            compat_lookup: false,
            held: Vec::new(),
            stage: Stage::Starting,
        }
    }

    /// The pod has an attachment already.
    fn holds(mut self, ifname: &str, network: &str, ip: &str) -> Self {
        let held = json!({
            "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Attachment",
            "metadata": {"name": format!("a-{ifname}"), "namespace": "shop"},
            "spec": {"network": network, "node": "n1", "pod": "a", "ifname": ifname, "ips": [ip]},
        });
        self.held.push(serde_json::from_value(held).unwrap());
        self
    }

    fn running(self) -> Self {
        Self { stage: Stage::Running, ..self }
    }

    fn nad(mut self, namespace: &str, name: &str, config: &Value) -> Self {
        let key = ObjectKey::new(namespace, name);
        self.nads.insert(key.clone(), Nad { key, config: config.to_string(), ..Nad::default() });
        self
    }

    fn of(&self, networks: Option<&str>, multus: Option<&str>) -> Wishes {
        let pod = Pod {
            key: ObjectKey::new("shop", "a"),
            node: Some("n1".into()),
            stage: self.stage,
            networks: networks.map(str::to_owned),
            multus_networks: multus.map(str::to_owned),
            ..Pod::default()
        };
        let held: Vec<_> = self.held.iter().collect();
        read_wishes(&pod, &held, self.surroundings())
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            networks: &self.networks,
            namespaces: &self.namespaces,
            nads: &self.nads,
            compat_lookup: self.compat_lookup,
        }
    }
}

/// Interfaces as `name=namespace/network`, then problems as `place reason: message`.
fn told(wishes: &Wishes) -> Vec<String> {
    let interfaces = wishes.interfaces.iter().map(|it| format!("{}={}", it.ifname, it.network));
    let problems = wishes.problems.iter().map(|it| format!("{}: {}", it.reason, it.message));
    interfaces.chain(problems).collect()
}

fn shop() -> Around {
    Around::new(&[("shop", "blue", json!("Same")), ("shop", "red", json!("Same"))])
}

#[test]
fn names_and_json_join_networks_of_the_pods_namespace_in_order() {
    let cases = [
        ("blue", vec!["net1=shop/blue"]),
        ("blue, red", vec!["net1=shop/blue", "net2=shop/red"]),
        (r#"[{"name":"blue"},{"name":"red"}]"#, vec!["net1=shop/blue", "net2=shop/red"]),
        (
            r#"[{"name":"blue"},{"name":"red","ifname":"net1"}]"#,
            vec!["net2=shop/blue", "net1=shop/red"],
        ),
        (r#"[{"name":"blue","interface":"x0"}]"#, vec!["x0=shop/blue"]),
    ];
    for (annotation, expected) in cases {
        assert_eq!(told(&shop().of(Some(annotation), None)), expected, "{annotation}");
    }
}

#[test]
fn an_interface_keeps_its_name_when_the_annotation_changes_around_it() {
    let both = || shop().holds("net1", "red", "10.0.0.1/24").holds("net2", "blue", "10.0.0.2/24");
    let cases = [
        ("red,blue", vec!["net1=shop/red", "net2=shop/blue"]),
        ("blue", vec!["net2=shop/blue"]),
        ("blue,red", vec!["net2=shop/blue", "net1=shop/red"]),
        ("blue,blue", vec!["net2=shop/blue", "net1=shop/blue"]),
        // A name that is asked for goes first.
        (
            r#"[{"name":"blue"},{"name":"red","ifname":"net2"}]"#,
            vec!["net1=shop/blue", "net2=shop/red"],
        ),
    ];
    for (annotation, expected) in cases {
        assert_eq!(told(&both().of(Some(annotation), None)), expected, "{annotation}");
    }
    let gone = both().of(Some("green"), None);
    assert_eq!(gone.problems[0].ifname.as_deref(), Some("net1"), "the next that is free");
    let twice = shop().holds("net1", "blue", "10.0.0.1/24").holds("net2", "blue", "10.0.0.2/24");
    let second = twice.of(Some(r#"[{"name":"blue","ips":["10.0.0.2/24"]}]"#), None);
    assert_eq!(told(&second), ["net2=shop/blue"], "its addresses say which of two it is");
}

#[test]
fn what_cannot_be_is_said_in_words_and_the_rest_is_done() {
    let cases = [
        (
            r#"[{"name":"green"},{"name":"red"}]"#,
            vec![
                "net2=shop/red",
                "NetworkNotFound: network 'green' does not exist in namespace 'shop'",
            ],
        ),
        (
            r#"[{"name":"blue","ifname":"x"},{"name":"red","ifname":"x"}]"#,
            vec![
                "x=shop/blue",
                "InterfaceNameInUse: interface \"x\" belongs to entry 1 of l2sm/networks; expected another ifname",
            ],
        ),
        (
            r#"[{"name":"blue","ifname":"eth0"}]"#,
            vec![
                "InterfaceNameInUse: interface \"eth0\" belongs to the cluster's network; expected another ifname",
            ],
        ),
    ];
    for (annotation, expected) in cases {
        assert_eq!(told(&shop().of(Some(annotation), None)), expected, "{annotation}");
    }
    let clash = shop().of(Some(r#"[{"name":"blue","ifname":"eth0"}]"#), None);
    let blue = Some(ObjectKey::new("shop", "blue"));
    assert_eq!((clash.problems[0].ifname.as_deref(), &clash.problems[0].network), (None, &blue));
    let wrong_ip = shop().of(Some(r#"[{"name":"blue","ips":["10.0.0"]}]"#), None);
    assert_eq!(wrong_ip.problems[0].reason, "InvalidAnnotation");
    let broken = shop().of(Some(r#"[{"name":"#), None);
    assert!(broken.unreadable && broken.interfaces.is_empty());
    assert!(broken.problems[0].message.starts_with("annotation l2sm/networks: "), "{broken:?}");
}

#[test]
fn another_namespaces_network_must_let_the_pods_namespace_in() {
    let labelled = json!({"matchLabels": {"team": "shop"}});
    let other =
        json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["shop"]}]});
    let around = Around::new(&[
        ("lab", "same", json!("Same")),
        ("lab", "all", json!("All")),
        ("lab", "labelled", labelled),
        ("lab", "other", other),
    ]);
    for (name, lets_in) in [("same", false), ("all", true), ("labelled", true), ("other", false)] {
        let annotation = json!([{"name": name, "namespace": "lab"}]).to_string();
        let wishes = around.of(Some(&annotation), None);
        assert_eq!(wishes.interfaces.len() == 1, lets_in, "{name}: {wishes:?}");
        if !lets_in {
            assert_eq!(wishes.problems[0].reason, "NetworkNotAllowed");
        }
    }
    let bare = around.of(Some("all"), None);
    assert_eq!(bare.problems[0].reason, "NetworkNotFound", "a bare name means the own namespace");
}

#[test]
fn upstreams_lookup_finds_the_one_network_of_a_name() {
    let mut around = Around::new(&[
        ("lab", "blue", json!("Same")),
        ("lab", "red", json!("Same")),
        ("ops", "red", json!("Same")),
    ]);
    around.compat_lookup = true;
    assert_eq!(told(&around.of(Some("blue"), None)), ["net1=lab/blue"]);
    assert_eq!(around.of(Some("red"), None).problems[0].reason, "NetworkAmbiguous");
    let named = around.of(Some(r#"[{"name":"blue","namespace":"lab"}]"#), None);
    assert_eq!(named.problems[0].reason, "NetworkNotAllowed", "a bare name alone is looked up");
    let nad = around.nad(
        "shop",
        "trick",
        &json!({"type": "l2sm", "network": "blue", "namespace": "lab"}),
    );
    assert_eq!(nad.of(None, Some("trick")).problems[0].reason, "NetworkNotAllowed");
}

#[test]
fn entries_of_multus_are_ours_where_their_nad_is_and_our_names_follow_theirs() {
    let ours = json!({"type": "l2sm", "network": "blue"});
    let listed = json!({"plugins": [{"type": "l2sm", "network": "red"}]});
    let around = shop().nad("shop", "to-blue", &ours).nad("shop", "to-red", &listed).nad(
        "shop",
        "bridge",
        &json!({"type": "bridge"}),
    );
    let multus = Some("bridge, to-blue, shop/to-red@x1");
    assert_eq!(told(&around.of(None, multus)), ["net2=shop/blue", "x1=shop/red"]);
    assert_eq!(
        told(&around.of(Some("blue"), multus)),
        ["net2=shop/blue", "x1=shop/red", "net4=shop/blue"]
    );
}

#[test]
fn an_annotation_of_multus_renames_no_interface_of_a_running_pod() {
    let bridge = json!({"type": "bridge"});
    let there = || shop().holds("net1", "blue", "10.0.0.1/24").nad("shop", "bridge", &bridge);
    let joined = |around: Around, multus| told(&around.of(Some("blue"), Some(multus)));
    assert_eq!(joined(there().running(), "bridge"), ["net1=shop/blue"]);
    assert_eq!(joined(there().running(), "absent"), ["net1=shop/blue"], "nor is it that entry's");
    let more = there().running().of(Some("blue,red"), Some("bridge"));
    assert_eq!(told(&more), ["net1=shop/blue", "net2=shop/red"]);
    assert_eq!(joined(there(), "bridge"), ["net2=shop/blue"], "Multus makes net1 when it starts");
    assert_eq!(joined(there().running(), "bridge@net1"), ["net2=shop/blue"], "somebody chose it");
    let ours = there().running().nad("shop", "to-red", &json!({"type": "l2sm", "network": "red"}));
    assert_eq!(joined(ours, "to-red"), ["net1=shop/red", "net2=shop/blue"]);

    // An interface of Multus' entry whose NAD is gone is not the other's.
    let both =
        there().running().holds("net2", "blue", "10.0.0.2/24").of(Some("blue"), Some("gone"));
    let gone = "InvalidNAD: NAD shop/gone does not exist: the interface stays as it is";
    assert_eq!(told(&both), ["net2=shop/blue", gone]);
}

#[test]
fn a_pod_keeps_its_interface_when_its_nad_cannot_be_read() {
    let there = || shop().holds("net1", "blue", "10.0.0.1/24");
    let broken = || {
        let key = ObjectKey::new("shop", "to-blue");
        Nad { key, config: "{".to_owned(), ..Nad::default() }
    };
    let mut unreadable = there();
    unreadable.nads.insert(broken().key, broken());
    for around in [there(), unreadable] {
        let wishes = around.of(None, Some("to-blue"));
        let problem = &wishes.problems[0];
        assert_eq!((problem.ifname.as_deref(), problem.reason), (Some("net1"), "InvalidNAD"));
    }
    let bridge = there().nad("shop", "to-blue", &json!({"type": "bridge"}));
    assert_eq!(bridge.of(None, Some("to-blue")), Wishes::default(), "it is ours no longer");
    assert_eq!(shop().of(None, Some("to-blue")), Wishes::default(), "Multus says so itself");
}

#[test]
fn a_nad_gives_no_entry_into_another_namespaces_network() {
    let config = json!({"type": "l2sm", "network": "secret", "namespace": "lab"});
    let around = Around::new(&[("lab", "secret", json!("Same"))]).nad("shop", "trick", &config);
    let wishes = around.of(None, Some("trick"));
    assert_eq!(wishes.interfaces, []);
    assert_eq!(wishes.problems[0].reason, "NetworkNotAllowed");
}

#[test]
fn a_nad_means_its_own_namespace_where_it_names_none() {
    for config in [
        json!({"type": "l2sm", "network": "blue"}),
        json!({"type": "l2sm", "network": "blue", "namespace": ""}),
    ] {
        let lab = |allowed: Value| {
            Around::new(&[("lab", "blue", allowed), ("shop", "blue", json!("Same"))])
        };
        let around = lab(json!("All")).nad("lab", "to-blue", &config);
        assert_eq!(told(&around.of(None, Some("lab/to-blue"))), ["net1=lab/blue"]);
        let around = lab(json!("Same")).nad("lab", "to-blue", &config);
        let wishes = around.of(None, Some("lab/to-blue"));
        assert_eq!(wishes.problems[0].reason, "NetworkNotAllowed");
    }
}

#[test]
fn a_pod_on_the_hosts_network_gets_a_word_and_nothing_else() {
    let pod = Pod {
        key: ObjectKey::new("shop", "a"),
        host_network: true,
        networks: Some("blue".into()),
        ..Pod::default()
    };
    let wishes = read_wishes(&pod, &[], shop().surroundings());
    assert_eq!((wishes.interfaces.len(), wishes.problems[0].reason), (0, "HostNetwork"));
}
