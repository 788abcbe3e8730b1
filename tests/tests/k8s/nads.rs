//! `NetworkAttachmentDefinitions`: those that the operator keeps, and those of others.

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};
use serde_json::{Value, json};

use super::multus::ADD;

const SYSTEM: &str = "l2sm-system";
const KIND: &str = "network-attachment-definitions.k8s.cni.cncf.io";

fn config_of(cluster: &Kubernetes, namespace: &str, name: &str) -> Option<String> {
    let found = cluster.output(&format!("get {KIND} {name} -n {namespace} -o json"));
    let nad: Value = serde_json::from_slice(&found.stdout).ok()?;
    Some(nad["spec"]["config"].as_str()?.to_owned())
}

fn nad(name: &str, config: &str) -> String {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name}, "spec": {"config": config},
    })
    .to_string()
}

fn choose_mode(cluster: &Kubernetes, mode: &str) {
    cluster
        .kubectl(&format!("set env deployment/l2sm-operator -n {SYSTEM} L2SM_ATTACH_MODE{mode}"));
    cluster.until_succeeds(&format!("rollout status deployment/l2sm-operator -n {SYSTEM}"));
}

pub(crate) fn kept_for_networks(cluster: &Kubernetes) {
    let namespace = "nads";
    cluster.kubectl(&format!("delete crd {KIND} --ignore-not-found"));
    cluster.namespace(namespace);
    let spec = r#"{"type": "vnet", "allowedNamespaces": "All"}"#;
    cluster.apply(namespace, &(network("blue", spec) + &network("red", spec)));
    choose_mode(cluster, "=multus");
    cluster.until("the operator to say what it lacks", || {
        let selector = "app.kubernetes.io/name=l2sm-operator";
        // It fails as a whole while one of the pods is going.
        let logs = cluster.output(&format!("logs -n {SYSTEM} -l {selector} --tail=-1")).stdout;
        let logs = String::from_utf8_lossy(&logs);
        logs.contains("does not know NetworkAttachmentDefinitions").then_some(())
    });

    cluster.apply(namespace, include_str!("nad.yaml"));
    cluster.until_succeeds(&format!("wait --for=condition=Established crd/{KIND}"));
    let theirs = r#"{"cniVersion": "1.0.0", "name": "red", "type": "bridge"}"#;
    cluster.apply(namespace, &nad("red", theirs));
    // The operator looks for new kinds of objects once a minute.
    let ours =
        cluster.until("a NAD of the network's name", || config_of(cluster, namespace, "blue"));
    assert!(ours.contains(r#""type":"l2sm""#), "{ours}");
    assert_eq!(config_of(cluster, namespace, "red").as_deref(), Some(theirs), "somebody else's");
    for broken in ["one", "two"] {
        let patch = format!(r#"{{"spec":{{"config":"{broken}"}}}}"#);
        cluster.kubectl(&format!("patch {KIND} blue -n {namespace} --type=merge -p {patch}"));
        cluster.until("it to be as it was", || {
            (config_of(cluster, namespace, "blue")? == ours).then_some(())
        });
    }
    choose_mode(cluster, "-");
}

pub(crate) fn mean_their_own_namespace(cluster: &Kubernetes) {
    let (lab, shop) = ("nad-lab", "nad-shop");
    cluster.apply("default", include_str!("nad.yaml"));
    cluster.until_succeeds(&format!("wait --for=condition=Established crd/{KIND}"));
    cluster.namespace(lab);
    cluster.namespace(shop);
    let open = r#"{"type": "vnet", "networkCIDR": "10.92.0.0/24", "allowedNamespaces": "All"}"#;
    let config = r#"{"cniVersion": "1.0.0", "name": "to-blue", "type": "l2sm", "network": "blue"}"#;
    // One of the same name in the pod's namespace is not meant.
    cluster.apply(shop, &network("blue", r#"{"type": "vnet", "networkCIDR": "10.93.0.0/24"}"#));
    cluster.apply(lab, &(network("blue", open) + &nad("to-blue", config)));
    cluster.apply(lab, &pod("peer", "node2", r#"[{"name": "blue", "ips": ["10.92.0.9/24"]}]"#));
    let annotated = pod("guest", "node1", "x")
        .replace(r#""l2sm/networks":"x""#, r#""k8s.v1.cni.cncf.io/networks":"nad-lab/to-blue""#);
    cluster.apply(shop, &annotated);
    let guest = PodRef { namespace: shop, name: "guest" };
    cluster.until_ready(&guest);
    cluster.until_ready(&PodRef { namespace: lab, name: "peer" });
    // The operator looks for new kinds of objects once a minute.
    let made = cluster.until("the attachment of the NAD", || {
        cluster.list(&format!("l2attachments -n {shop}")).pop()
    });
    assert_eq!(made["spec"]["networkNamespace"], lab, "{made}");

    let uid = cluster.get(&format!("pod guest -n {shop}"))["metadata"]["uid"].clone();
    let uid = uid.as_str().expect("a UID");
    let added = cluster.node(1).machine.run("sh", &["-c", ADD, "sh", uid, shop, "guest", config]);
    let added: Value = serde_json::from_str(&added.expect("ADD")).expect("a result");
    assert!(added["interfaces"].to_string().contains("net1"), "{added}");
    assert_eq!(cluster.ping(&guest, "10.92.0.9", 3), 3);
}
