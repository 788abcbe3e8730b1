//! Addresses: chosen, given, refused, released.

use std::collections::BTreeSet;

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};
use serde_json::Value;

/// How many times a Deployment comes and goes.
const ROUNDS: usize = 20;

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
    let said = |pod: &str, words: &[&str]| {
        cluster.until(&format!("an event of {pod} with {words:?}"), || {
            let selector = format!("involvedObject.name={pod}");
            let events = cluster.kubectl(&format!(
                "get events -n {namespace} --field-selector {selector} -o jsonpath={{.items[*].message}}"
            ));
            words.iter().all(|word| events.contains(word)).then_some(())
        });
    };
    said("late", &["10.41.0.1", "holder"]);
    said("lost", &["10.99.0.1"]);

    // The address goes to the one that waits once its holder is gone.
    cluster.kubectl(&format!("delete pod holder -n {namespace}"));
    cluster.until_ready(&PodRef { namespace, name: "late" });
    assert_eq!(addresses(cluster, namespace, "late"), ["10.41.0.1/24"]);
    cluster.refused(&format!("wait pod/lost -n {namespace} --for=condition=Ready --timeout=1s"));
}

pub(crate) fn churn(cluster: &Kubernetes) {
    let namespace = "churn";
    cluster.namespace(namespace);
    // Room for eight pods: an address that leaks is soon missed.
    let spec = r#"{"type": "vnet", "networkCIDR": "10.42.0.0/24",
                   "podAddressRange": "10.42.0.8/29"}"#;
    let deployment = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {
                    "labels": {"app": "many"}, "annotations": {"l2sm/networks": "small"},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "main", "image": "busybox:1", "command": ["sleep", "86400"],
                    }],
                },
            },
        },
    });
    cluster.apply(namespace, &(network("small", spec) + &deployment.to_string()));
    let devices = |node: usize| {
        let list = cluster.node(node).machine.run("ip", &["-br", "link"]).expect("it runs");
        list.lines().filter(|line| line.starts_with("l2sm")).count()
    };
    let before = [devices(1), devices(2)];

    for round in 0..ROUNDS {
        let replicas = 4 + round % 3;
        cluster.kubectl(&format!("scale deployment many -n {namespace} --replicas={replicas}"));
        cluster.until_succeeds(&format!("rollout status deployment/many -n {namespace}"));
        cluster.kubectl(&format!("scale deployment many -n {namespace} --replicas=0"));
    }

    cluster.until("all to be released", || {
        let pods = cluster.list(&format!("pods -n {namespace}")).len();
        let attachments = cluster.list(&format!("l2attachments -n {namespace}")).len();
        let status = cluster.get(&format!("l2network small -n {namespace}"))["status"].clone();
        let assigned = status["assignedIPs"].as_object().map_or(0, serde_json::Map::len);
        let counted = status["connectedPodCount"].as_u64().unwrap_or_default();
        let left = pods == 0 && attachments == 0 && assigned == 0 && counted == 0;
        (left && [devices(1), devices(2)] == before).then_some(())
    });
}
