//! What l2sm is for: pods of two nodes in one Layer 2, and nobody else in it.

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod, privileged};

/// Pods named `a` on the first node and `b` on the second, in a network of that name each with this
/// address and the next.
fn pair(cluster: &Kubernetes, namespace: &str) {
    cluster.namespace(namespace);
    let manifest = network("blue", r#"{"type": "vnet", "networkCIDR": "10.20.0.0/24"}"#)
        + &pod("a", "node1", r#"[{"name": "blue", "ips": ["10.20.0.1/24"]}]"#)
        + &pod("b", "node2", r#"[{"name": "blue", "ips": ["10.20.0.2/24"]}]"#);
    cluster.apply(namespace, &manifest);
    for name in ["a", "b"] {
        cluster.until_ready(&PodRef { namespace, name });
    }
}

pub(crate) fn two_pods_on_two_nodes_reach_each_other(cluster: &Kubernetes) {
    let namespace = "main-job";
    pair(cluster, namespace);
    let (a, b) = (PodRef { namespace, name: "a" }, PodRef { namespace, name: "b" });

    assert_eq!(cluster.ping(&a, "10.20.0.2", 5), 5);
    assert_eq!(cluster.ping(&b, "10.20.0.1", 5), 5);

    let link = cluster.run(&a, "cat /sys/class/net/net1/mtu");
    assert_eq!(link.trim(), "1450", "1500 of the nodes' network without 50 of VXLAN over IPv4");
    let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
    assert_eq!(attachments.len(), 2);
    for attachment in &attachments {
        let owner = &attachment["metadata"]["ownerReferences"][0];
        assert_eq!(owner["kind"], "Pod", "{attachment}");
        assert!(attachment["metadata"]["finalizers"].is_null(), "{attachment}");
    }
    let status = cluster.until("the pod's annotation", || {
        let pod = cluster.get(&format!("pod a -n {namespace}"));
        Some(pod["metadata"]["annotations"]["l2sm/network-status"].as_str()?.to_owned())
    });
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON, as Multus writes");
    assert!(status.to_string().contains("10.20.0.1"), "{status}");
}

pub(crate) fn another_network_sees_nothing(cluster: &Kubernetes) {
    let namespace = "isolation";
    pair(cluster, namespace);
    let manifest = network("red", r#"{"type": "vnet", "networkCIDR": "10.20.0.0/24"}"#)
        + &privileged(&pod("c", "node1", r#"[{"name": "red", "ips": ["10.20.0.3/24"]}]"#))
        + &privileged(&pod("d", "node2", r#"[{"name": "red", "ips": ["10.20.0.2/24"]}]"#));
    cluster.apply(namespace, &manifest);
    let pod = |name| PodRef { namespace, name };
    for name in ["c", "d"] {
        cluster.until_ready(&pod(name));
        // With IPv6 they would speak by themselves.
        cluster.run(&pod(name), "sysctl -w net.ipv6.conf.net1.disable_ipv6=1");
    }
    let received = |name| cluster.run(&pod(name), "cat /sys/class/net/net1/statistics/rx_packets");
    // What they said before may be on its way.
    let mut before = received("c");
    cluster.until("the pod to be quiet", || {
        let last = std::mem::replace(&mut before, received("c"));
        (before == last).then_some(())
    });

    // Floods and pings in blue: an address that nobody has makes requests to all.
    assert_eq!(cluster.ping(&pod("a"), "10.20.0.2", 5), 5);
    assert_eq!(cluster.ping(&pod("a"), "10.20.0.99", 3), 0);
    assert_eq!(cluster.ping(&pod("a"), "10.20.0.3", 3), 0, "that is red's");

    assert_eq!(received("c"), before, "frames of blue came to red");
    assert_eq!(cluster.ping(&pod("c"), "10.20.0.2", 3), 3, "red's own of the same address");
    assert_eq!(cluster.ping(&pod("c"), "10.20.0.1", 3), 0, "that is blue's");
}

pub(crate) fn pods_without_annotation_are_untouched(cluster: &Kubernetes) {
    let namespace = "plain";
    cluster.namespace(namespace);

    cluster.apply(namespace, &(pod("a", "node1", "") + &pod("b", "node2", "")));
    let (a, b) = (PodRef { namespace, name: "a" }, PodRef { namespace, name: "b" });
    cluster.until_ready(&a);
    cluster.until_ready(&b);

    let devices = cluster.run(&a, "ls /sys/class/net");
    assert_eq!(devices.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
    let address = cluster.get(&format!("pod b -n {namespace}"))["status"]["podIP"].clone();
    assert_eq!(cluster.ping(&a, address.as_str().expect("an address"), 3), 3);
    assert!(cluster.list(&format!("l2attachments -n {namespace}")).is_empty());
}

pub(crate) fn a_router_pod_joins_two_networks(cluster: &Kubernetes) {
    let namespace = "router";
    cluster.namespace(namespace);
    let both = r#"[{"name": "left", "ips": ["10.30.1.1/24"]}, {"name": "right", "ips": ["10.30.2.1/24"]}]"#;
    // It has to be privileged to become a router.
    let manifest = network("left", r#"{"type": "vnet", "networkCIDR": "10.30.1.0/24"}"#)
        + &network("right", r#"{"type": "vnet", "networkCIDR": "10.30.2.0/24"}"#)
        + &pod("l", "node1", r#"[{"name": "left", "ips": ["10.30.1.2/24"]}]"#)
        + &pod("r", "node2", r#"[{"name": "right", "ips": ["10.30.2.2/24"]}]"#)
        + &privileged(&pod("router", "node2", both));
    cluster.apply(namespace, &manifest);
    let pod = |name| PodRef { namespace, name };
    for name in ["l", "r", "router"] {
        cluster.until_ready(&pod(name));
    }
    assert_eq!(cluster.ping(&pod("l"), "10.30.2.2", 2), 0, "without a route there is no way");

    cluster.run(&pod("l"), "ip route add 10.30.2.0/24 via 10.30.1.1 dev net1");
    cluster.run(&pod("r"), "ip route add 10.30.1.0/24 via 10.30.2.1 dev net1");
    cluster.run(&pod("router"), "sysctl -w net.ipv4.ip_forward=1");

    assert_eq!(cluster.ping(&pod("l"), "10.30.2.2", 5), 5);
}
