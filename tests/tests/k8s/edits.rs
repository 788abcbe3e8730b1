//! Annotations and networks that are edited under running pods: what cannot be had takes nothing away.

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};

use super::failures::{another_joins, pair};

pub(crate) fn of_annotations(cluster: &Kubernetes) {
    let namespace = "edits";
    let (a, _b) = pair(cluster, namespace);
    let before = attachment(cluster, namespace);

    for (reason, word, annotation) in [
        ("AddressInvalid", "10.99.0.1", r#"[{"name": "blue", "ips": ["10.99.0.1/24"]}]"#),
        ("AddressInUse", "10.60.0.2", r#"[{"name": "blue", "ips": ["10.60.0.2/24"]}]"#),
        ("InterfaceNameInUse", "eth0", r#"[{"name": "blue", "ifname": "eth0"}]"#),
        ("InvalidAnnotation", "l2sm/networks", r#"[{"name": "blue", "ips": "#),
    ] {
        annotate(cluster, &a, "l2sm/networks", annotation);
        cluster.until_warned(&a, reason, &[word]);
        assert_eq!(attachment(cluster, namespace), before, "{annotation}");
        assert_eq!(cluster.ping(&a, "10.60.0.2", 3), 3, "{annotation}");
    }

    // Multus does nothing about a running pod, and takes no name from it. That the operator has seen
    // both shows the second network.
    let more = r#"[{"name": "blue", "ips": ["10.60.0.1/24"]}, {"name": "red"}]"#;
    let red = network("red", r#"{"type": "vnet", "networkCIDR": "10.61.0.0/24"}"#);
    cluster.apply(namespace, &red);
    annotate(cluster, &a, "k8s.v1.cni.cncf.io/networks", "macvlan");
    annotate(cluster, &a, "l2sm/networks", more);
    cluster.until("the second network", || {
        let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
        let red = attachments.iter().find(|one| one["spec"]["network"] == "red")?;
        (red["spec"]["pod"] == "a" && red["spec"]["ifname"] != "net1").then_some(())
    });
    assert_eq!(attachment(cluster, namespace), before, "its name is its own");
    another_joins(cluster, &a);
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}

pub(crate) fn of_networks(cluster: &Kubernetes) {
    let namespace = "network-edits";
    let (a, _b) = pair(cluster, namespace);
    let before = attachment(cluster, namespace);

    let elsewhere = r#"{"type": "vnet", "networkCIDR": "10.77.0.0/24"}"#;
    cluster.apply(namespace, &network("blue", elsewhere));
    cluster.until_warned(&a, "AddressesOutside", &["10.60.0.1"]);
    assert_eq!(attachment(cluster, namespace), before);
    assert_eq!(cluster.ping(&a, "10.60.0.2", 3), 3, "it keeps its address");

    let numbered =
        |cidr: &str| format!(r#"{{"type": "vnet", "networkCIDR": "{cidr}", "vni": 777777}}"#);
    cluster.apply(namespace, &network("first", &numbered("10.78.0.0/24")));
    cluster.until_succeeds(&format!("wait --for=condition=Ready l2net/first -n {namespace}"));
    let second = network("second", &numbered("10.79.0.0/24")) + &pod("late", "node1", "second");
    cluster.apply(namespace, &second);
    let late = PodRef { namespace, name: "late" };
    cluster.until_warned(&late, "VNIConflict", &["first"]);
    cluster.kubectl(&format!("delete l2net first -n {namespace}"));
    cluster.until_ready(&late);
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}

pub(crate) fn pods_that_nothing_holds(cluster: &Kubernetes) {
    let namespace = "held-by-nothing";
    cluster.namespace(namespace);
    let optional = r#"[{"name": "nowhere", "optional": true}]"#;
    let on_node = pod("on-node", "node1", "blue");
    let on_node = on_node.replacen(r#""spec":{"#, r#""spec":{"hostNetwork":true,"#, 1);
    cluster.apply(namespace, &(pod("optional", "node1", optional) + &on_node));
    for (name, reason, word) in
        [("optional", "NetworkNotFound", "nowhere"), ("on-node", "HostNetwork", "network")]
    {
        let pod = PodRef { namespace, name };
        cluster.until_ready(&pod);
        cluster.until_warned(&pod, reason, &[word]);
    }
    // What an optional entry names may come later.
    let spec = r#"{"type": "vnet", "networkCIDR": "10.80.0.0/24"}"#;
    cluster.apply(namespace, &network("nowhere", spec));
    let optional = PodRef { namespace, name: "optional" };
    cluster.until("net1 to come", || {
        let net1 = cluster.exec(&optional, "ls /sys/class/net/net1");
        net1.status.success().then_some(())
    });
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}

fn annotate(cluster: &Kubernetes, pod: &PodRef<'_>, key: &str, value: &str) {
    let PodRef { namespace, name } = pod;
    let mut kubectl = cluster.command(&format!("annotate --overwrite pod {name} -n {namespace}"));
    let output = kubectl.arg(format!("{key}={value}")).output().expect("kubectl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// UID and interface of what pod `a` has in `blue`.
fn attachment(cluster: &Kubernetes, namespace: &str) -> (String, String) {
    let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
    let is_it =
        |one: &&serde_json::Value| one["spec"]["pod"] == "a" && one["spec"]["network"] == "blue";
    let one = attachments.iter().find(is_it).expect("it has its interface");
    (one["metadata"]["uid"].to_string(), one["spec"]["ifname"].to_string())
}
