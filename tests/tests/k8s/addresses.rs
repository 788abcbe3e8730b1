//! Addresses: chosen, given, refused.

use std::collections::BTreeSet;

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};
use serde_json::Value;

/// Addresses of a pod's interfaces, as its attachments have them.
fn addresses(cluster: &Kubernetes, namespace: &str, pod: &str) -> Vec<String> {
    let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
    let ours = attachments.iter().filter(|attachment| attachment["spec"]["pod"] == pod);
    let ips = ours.filter_map(|attachment| attachment["spec"]["ips"].as_array());
    ips.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(crate) fn static_and_automatic(cluster: &Kubernetes) {
    let namespace = "addresses";
    cluster.namespace(namespace);
    let spec = r#"{"type": "vnet", "networkCIDR": "10.40.0.0/24,fd00:40::/64",
                   "podAddressRange": "10.40.0.8/29,fd00:40::10/124"}"#;
    // The first automatic address of the range is given to a pod: no other gets it.
    let given = r#"[{"name": "dual", "ips": ["10.40.0.9/24", "fd00:40::11/64"]}]"#;
    cluster.apply(namespace, &network("dual", spec));
    cluster.apply(namespace, &pod("given", "node1", given));
    cluster.until_ready(&PodRef { namespace, name: "given" });

    cluster.apply(namespace, &(pod("x", "node1", "dual") + &pod("y", "node2", "dual")));
    let (x, y) = (PodRef { namespace, name: "x" }, PodRef { namespace, name: "y" });
    cluster.until_ready(&x);
    cluster.until_ready(&y);

    let mut all = BTreeSet::new();
    for name in ["given", "x", "y"] {
        let ips = addresses(cluster, namespace, name);
        assert_eq!(ips.len(), 2, "{name}: one of each family: {ips:?}");
        for ip in ips {
            assert!(all.insert(ip.clone()), "{ip} is twice");
        }
    }
    assert!(all.contains("10.40.0.9/24") && all.contains("fd00:40::11/64"), "{all:?}");
    for ip in addresses(cluster, namespace, "y") {
        let address = ip.split('/').next().expect("an address");
        assert_eq!(cluster.ping(&x, address, 3), 3, "{address}");
    }
    cluster.until("the network to say whose its addresses are", || {
        let status = cluster.get(&format!("l2network dual -n {namespace}"))["status"].clone();
        let assigned = status["assignedIPs"].as_object()?.len();
        (assigned == 6 && status["connectedPodCount"] == 3).then_some(())
    });
}

pub(crate) fn taken(cluster: &Kubernetes) {
    let namespace = "taken";
    cluster.namespace(namespace);
    let one = r#"[{"name": "blue", "ips": ["10.41.0.1/24"]}]"#;
    let outside = r#"[{"name": "blue", "ips": ["10.99.0.1/24"]}]"#;
    let spec = r#"{"type": "vnet", "networkCIDR": "10.41.0.0/24"}"#;
    cluster.apply(namespace, &(network("blue", spec) + &pod("holder", "node1", one)));
    cluster.until_ready(&PodRef { namespace, name: "holder" });

    cluster.apply(namespace, &(pod("late", "node2", one) + &pod("lost", "node2", outside)));
    let pod = |name| PodRef { namespace, name };
    cluster.until_warned(&pod("late"), "AddressInUse", &["10.41.0.1", "holder"]);
    cluster.until_warned(&pod("lost"), "AddressInvalid", &["10.99.0.1"]);

    // The address goes to the one that waits once its holder is gone.
    cluster.kubectl(&format!("delete pod holder -n {namespace}"));
    cluster.until_ready(&pod("late"));
    assert_eq!(addresses(cluster, namespace, "late"), ["10.41.0.1/24"]);
    cluster.refused(&format!("wait pod/lost -n {namespace} --for=condition=Ready --timeout=1s"));
    // Its node would try it again and again.
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}
