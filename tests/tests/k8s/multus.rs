//! Multus' annotation and ours on one pod. Multus itself is not to be had without a registry: the plugin
//! gets the NAD's configuration, and the environment, that it would hand on. (`cnitool`, which other tests
//! use, has container ids of its own: to the agent that is another sandbox.)

use l2sm_tests::{
    cnitool,
    k8s::{Kubernetes, PodRef, network, pod},
};
use serde_json::{Value, json};

/// What this story is called.
pub(crate) const NAME: &str = "a_nad_and_our_annotation_work_on_one_pod";

/// What it is not.
pub(crate) const REAL: &str = "multus_itself_attaches_a_pod";

/// What a NAD of a user's own may say.
const CONFIG: &str = r#"{"cniVersion": "1.0.0", "name": "to-blue", "type": "l2sm",
    "network": "blue", "namespace": "multus"}"#;

/// Calls the plugin for the pod with the UID `$1`, whose sandbox the runtime's record names.
pub(crate) const ADD: &str = r#"
record=$(grep -l "$1" /run/l2sm/pods/*) && id=$(basename "$record") || exit 1
export CNI_NETNS=$(grep -o '"netns": *"[^"]*"' "$record" | cut -d'"' -f4)
export CNI_COMMAND=ADD CNI_CONTAINERID=$id CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin
export CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=$2;K8S_POD_NAME=$3;K8S_POD_UID=$1;K8S_POD_INFRA_CONTAINER_ID=$id"
echo "$4" | /opt/cni/bin/l2sm > /run/added || { cat /run/added >&2; exit 1; }
cat /run/added"#;

pub(crate) fn real(_cluster: &Kubernetes) {
    cnitool::leave_line(&format!(
        "NOT RUN: {REAL}, it is only to be had from a registry of images"
    ));
}

pub(crate) fn nad_and_annotation(cluster: &Kubernetes) {
    let namespace = "multus";
    cluster.namespace(namespace);
    cluster.apply(namespace, include_str!("nad.yaml"));
    let definition = "crd/network-attachment-definitions.k8s.cni.cncf.io";
    cluster.until_succeeds(&format!("wait --for=condition=Established {definition}"));
    let nad = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "to-blue"}, "spec": {"config": CONFIG},
    });
    cluster.apply(namespace, &nad.to_string());
    let manifest = network("blue", r#"{"type": "vnet", "networkCIDR": "10.80.1.0/24"}"#)
        + &network("green", r#"{"type": "vnet", "networkCIDR": "10.80.2.0/24"}"#)
        + &pod(
            "peer",
            "node2",
            r#"[{"name": "blue", "ips": ["10.80.1.9/24"]}, {"name": "green", "ips": ["10.80.2.9/24"]}]"#,
        )
        + &pod("both", "node1", "green").replace(
            r#""l2sm/networks":"#,
            r#""k8s.v1.cni.cncf.io/networks":"to-blue","l2sm/networks":"#,
        );
    cluster.apply(namespace, &manifest);
    let both = PodRef { namespace, name: "both" };
    cluster.until_ready(&both);
    cluster.until_ready(&PodRef { namespace, name: "peer" });

    // The operator looks for new kinds of objects once a minute.
    cluster.until("the operator to see the NAD", || {
        let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
        let ours = |one: &Value| one["spec"]["pod"] == "both" && one["spec"]["ifname"] == "net1";
        attachments.iter().any(ours).then_some(())
    });
    let uid = cluster.get(&format!("pod both -n {namespace}"))["metadata"]["uid"].clone();
    let uid = uid.as_str().expect("a UID");
    let added =
        cluster.node(1).machine.run("sh", &["-c", ADD, "sh", uid, namespace, "both", CONFIG]);

    let added: Value = serde_json::from_str(&added.expect("ADD")).expect("a result");
    assert!(added["interfaces"].to_string().contains("net1"), "{added}");
    // Multus' interfaces come first: with one of its, ours begin at net2.
    for (device, peer) in [("net1", "10.80.1.9"), ("net2", "10.80.2.9")] {
        cluster.run(&both, &format!("ls /sys/class/net/{device}"));
        assert_eq!(cluster.ping(&both, peer, 3), 3, "{device}");
    }
}
