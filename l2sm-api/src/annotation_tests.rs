use proptest::prelude::*;

use super::*;

fn named(name: &str) -> Entry {
    Entry { name: name.to_owned(), ..Entry::default() }
}

fn with_ifname(ifname: Option<&str>) -> Entry {
    Entry { ifname: ifname.map(str::to_owned), ..named("blue") }
}

#[test]
fn names_are_separated_by_commas_and_empty_ones_are_dropped() {
    for (text, expected) in [
        ("blue", vec!["blue"]),
        (" blue , red,, ", vec!["blue", "red"]),
        ("", vec![]),
        ("ping-network", vec!["ping-network"]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(named).collect();
        assert_eq!(read_networks(text), Ok(expected), "{text:?}");
    }
}

#[test]
fn upstreams_json_is_read() {
    let text = r#" [{"name":"net1","ips":["10.0.0.1/24"]},
        {"name":"net2","ips":["10.0.2.1"], "namespace": "shop"}] "#;
    let [one, two] = read_networks(text).unwrap().try_into().unwrap();
    assert_eq!((one.name.as_str(), one.ips), ("net1", vec!["10.0.0.1/24".to_owned()]));
    assert_eq!((two.namespace.as_deref(), two.optional), (Some("shop"), false));
    assert_eq!(read_networks("[]"), Ok(Vec::new()));
}

#[test]
fn interface_is_another_word_for_ifname() {
    let text = r#"[{"name": "a", "ifname": "lan0"}, {"name": "a", "interface": "lan1", "mac": "02:00:00:00:00:01", "optional": true}]"#;
    let [one, two] = read_networks(text).unwrap().try_into().unwrap();
    assert_eq!((one.ifname.as_deref(), two.ifname.as_deref()), (Some("lan0"), Some("lan1")));
    assert!(two.optional && two.mac.is_some());
}

#[test]
fn what_is_wrong_is_said_in_words() {
    for (text, expected) in [
        (
            r#"{"name": "blue"}"#,
            r#"is no JSON array; expected one, as in [{"name": "blue"}], or names separated by commas"#,
        ),
        (
            r#"[{"name": "blue""#,
            "is no JSON array: EOF while parsing an object at line 1 column 16",
        ),
        (r#"["blue"]"#, r#"entry 1: "blue" is no object; expected one, as in {"name": "blue"}"#),
        (
            "blue, shop/red",
            r#"entry 2: a namespace is named in the JSON form, as in [{"name": "red", "namespace": "shop"}]"#,
        ),
        (
            "Blue",
            r#"entry 1: name: "Blue" is not a name; expected lower-case letters, digits, '-' and '.', at most 253, as in blue-1"#,
        ),
        (r#"[{"ips": []}]"#, "entry 1: name: is required"),
        (
            r#"[{"name": "a", "ip": "10.0.0.1"}]"#,
            "entry 1: ip: is not a field; expected one of name, ips, ifname, interface, namespace, mac, optional",
        ),
        (
            r#"[{"name": "a"}, {"name": "b", "ips": ["10.0.0"]}]"#,
            r#"entry 2: ips[0]: "10.0.0" is not an address; expected address or address/prefix, as in 10.34.0.5/16"#,
        ),
        (
            r#"[{"name": "a", "ips": "10.0.0.1"}]"#,
            r#"entry 1: ips: found string "10.0.0.1"; expected a sequence"#,
        ),
        (
            r#"[{"name": "a", "ips": ["10.0.0.1", "10.0.0.1/24"]}]"#,
            "entry 1: ips[1]: 10.0.0.1 is given twice",
        ),
        (
            r#"[{"name": "a", "ifname": "x", "interface": "y"}]"#,
            "entry 1: ifname: is given twice (under two spellings)",
        ),
        (
            r#"[{"name": "a", "mac": "ff:ff:ff:ff:ff:ff"}]"#,
            r#"entry 1: mac: "ff:ff:ff:ff:ff:ff" is no station's address; expected a unicast MAC, as in 02:00:5e:10:00:01"#,
        ),
    ] {
        assert_eq!(read_networks(text), Err(expected.to_owned()), "{text}");
    }
    let many = vec!["a"; ENTRIES_MAX + 1].join(",");
    assert_eq!(read_networks(&many), Err("has 65 entries; expected at most 64".to_owned()));
}

#[test]
fn both_grammars_of_multus_say_the_same() {
    let short = read_multus("macvlan, shop/blue@lan0,").unwrap();
    let long = read_multus(
        r#"[{"name": "macvlan", "default-route": ["10.0.0.1"]}, {"name": "blue", "namespace": "shop", "interface": "lan0"}]"#,
    );
    assert_eq!(long, Ok(short.clone()));
    assert_eq!(short[1].ifname.as_deref(), Some("lan0"));
    for bad in ["/a", "a@", "a/b/c", "@net1", "[{}]", "{", r#""a""#] {
        assert!(read_multus(bad).is_err(), "{bad}");
    }
    assert_eq!(read_multus(""), Ok(Vec::new()));
}

#[test]
fn what_is_empty_in_multus_annotation_is_not_given() {
    let text = r#"[{"name": "blue", "namespace": "", "interface": "", "mac": ""}]"#;
    assert_eq!(read_multus(text), Ok(vec![named("blue")]));
    assert!(read_networks(text).is_err(), "ours says what it means");
}

#[test]
fn ours_are_named_after_multus() {
    let multus = [with_ifname(None), with_ifname(Some("lan0"))];
    let ours = [with_ifname(None), with_ifname(Some("net4")), with_ifname(None)];
    let names: Vec<_> =
        interface_names(&multus, &ours, &BTreeSet::new()).into_iter().map(Result::unwrap).collect();
    assert_eq!(names, ["net3", "net4", "net5"]);
    let names =
        interface_names(&[with_ifname(Some("net2"))], &[with_ifname(None)], &BTreeSet::new());
    assert_eq!(names, [Ok("net3".to_owned())], "a name that Multus was told is passed over");
}

#[test]
fn multus_count_takes_no_name_that_a_running_pods_interface_has() {
    let kept = BTreeSet::from(["net1".to_owned()]);
    let ours = [with_ifname(Some("net1")), with_ifname(None)];
    let names = interface_names(&[with_ifname(None)], &ours, &kept);
    assert_eq!(names, [Ok("net1".to_owned()), Ok("net2".to_owned())]);
    let chosen = interface_names(&[with_ifname(Some("net1"))], &ours, &kept);
    assert!(chosen[0].is_err(), "somebody chose it");
}

#[test]
fn a_name_that_another_has_is_told_with_its_owner() {
    let multus = [with_ifname(None)];
    let ours = ["net1", "lan0", "lan0", "eth0"].map(|name| with_ifname(Some(name)));
    let names = interface_names(&multus, &ours, &BTreeSet::new());
    let error = |owner: &str, name: &str| {
        Err(format!("interface {name:?} belongs to {owner}; expected another ifname"))
    };
    assert_eq!(names[0], error("entry 1 of k8s.v1.cni.cncf.io/networks", "net1"));
    assert_eq!(names[1], Ok("lan0".to_owned()));
    assert_eq!(names[2], error("entry 2 of l2sm/networks", "lan0"));
    assert_eq!(names[3], error("the cluster's network", "eth0"));
}

#[test]
fn a_status_has_the_shape_of_multus() {
    let status = NetworkStatus {
        name: "shop/blue".to_owned(),
        interface: "net1".to_owned(),
        ips: vec!["10.34.0.5".to_owned()],
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: Some(1_450),
        ..NetworkStatus::default()
    };
    let json = serde_json::to_string(&[&status]).unwrap();
    assert_eq!(
        json,
        r#"[{"name":"shop/blue","interface":"net1","ips":["10.34.0.5"],"mac":"02:00:00:00:00:01","mtu":1450,"dns":{}}]"#
    );
    assert_eq!(serde_json::from_str::<Vec<NetworkStatus>>(&json).unwrap(), [status]);
}

#[test]
fn upstreams_label_is_named_as_not_acting() {
    let labels = |name: &str| BTreeMap::from([(name.to_owned(), "ping".to_owned())]);
    assert_eq!(not_acting(&labels("l2sm/app")), Some("label l2sm/app"));
    assert_eq!(not_acting(&labels("app")), None);
}

fn entry() -> impl Strategy<Value = Entry> {
    let ifname = prop_oneof![
        3 => Just(None),
        2 => (1u8..9).prop_map(|number| Some(format!("net{number}"))),
        1 => Just(Some("lan0".to_owned())),
    ];
    let ips = proptest::collection::btree_set(any::<std::net::Ipv4Addr>(), 0..3);
    ("[a-z]{1,8}", ifname, ips, any::<bool>()).prop_map(|(name, ifname, ips, optional)| Entry {
        name,
        ifname,
        ips: ips.iter().map(ToString::to_string).collect(),
        optional,
        ..Entry::default()
    })
}

proptest! {
    #[test]
    fn nothing_that_is_written_makes_the_reader_panic(text in ".{0,200}") {
        for read in [read_networks, read_multus] {
            if let Err(why) = read(&text) {
                prop_assert!(!why.is_empty() && !why.contains('\n'), "{:?}", why);
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(entries in proptest::collection::vec(entry(), 0..8)) {
        let text = serde_json::to_string(&entries).unwrap();
        prop_assert_eq!(read_networks(&text), Ok(entries.clone()));
        prop_assert_eq!(read_multus(&text), Ok(entries));
    }

    #[test]
    fn no_two_interfaces_have_one_name(
        multus in proptest::collection::vec(entry(), 0..6),
        ours in proptest::collection::vec(entry(), 0..6),
    ) {
        let names = interface_names(&multus, &ours, &BTreeSet::new());
        prop_assert_eq!(names.len(), ours.len());
        let theirs: BTreeSet<String> = (1..)
            .zip(&multus)
            .map(|(number, entry)| entry.ifname.clone().unwrap_or_else(|| format!("net{number}")))
            .collect();
        let mut seen = theirs.clone();
        let mut last = multus.len();
        for (name, entry) in names.into_iter().zip(&ours) {
            match (name, &entry.ifname) {
                (Ok(name), chosen) => {
                    prop_assert!(seen.insert(name.clone()), "{} twice", name);
                    if let Some(chosen) = chosen {
                        prop_assert_eq!(&name, chosen);
                    } else {
                        let number: usize = name.strip_prefix("net").unwrap().parse().unwrap();
                        prop_assert!(number > last, "{} after {}", number, last);
                        last = number;
                    }
                }
                (Err(_), chosen) => prop_assert!(seen.contains(chosen.as_ref().unwrap())),
            }
        }
    }
}
