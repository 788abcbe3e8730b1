//! Things come in any order, change while they run, and are wrong at times.

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};

/// As upstream's users write them (L2S-M 2.8.7, `examples/`): an overlay, a network, two pods.
const OVERLAY: &str = r#"
apiVersion: l2sm.l2sm.k8s.local/v1
kind: Overlay
metadata:
  name: overlay-sample
spec:
  provider:
    name: l2sm-sdn
    domain: ["l2sm-controller-service.l2sm-system.svc"]
  interfaceNumber: 10
  topology:
    nodes:
    - node1
    - node2
    links:
    - endpointA: node1
      endpointB: node2
---
"#;
const NETWORK: &str = r"
apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Network
metadata:
  name: ping-network
spec:
  type: vnet
  networkCIDR: 10.1.2.0/24
---
";
const PING: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: ping
  labels:
    app: ping-pong
    l2sm: "true"
  annotations:
    l2sm/networks: ping-network
spec:
  nodeName: node1
  containers:
  - name: router
    command: ["/bin/sh", "-c", "trap : TERM INT; sleep infinity & wait"]
    image: busybox:1
    securityContext:
      capabilities:
        add: ["NET_ADMIN"]
---
"#;
const PONG: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: pong
  labels:
    app: ping-pong
    l2sm: "true"
  annotations:
    l2sm/networks: '[{"name": "ping-network", "ips": ["10.1.2.77/24"]}]'
spec:
  nodeName: node2
  containers:
  - name: router
    command: ["/bin/sh", "-c", "trap : TERM INT; sleep infinity & wait"]
    image: busybox:1
    securityContext:
      capabilities:
        add: ["NET_ADMIN"]
"#;
/// Seed 000's inter-cluster network and edge device: accepted, and what does not act yet is said.
const INTER_CLUSTER: &str = r#"
apiVersion: l2sm.l2sm.k8s.local/v1
kind: NetworkEdgeDevice
metadata:
  name: example-ned
  labels:
    app: l2sm
spec:
  provider:
    name: idco-controller
    domain: 192.168.122.60  # Controller IP address
  nodeConfig:
    nodeName: node1
    ipAddress: 192.0.2.1
  neighbors:
    - node: cluster-b
      domain: 192.0.2.101
    - node: cluster-c
      domain: 192.0.2.102
  switchTemplate:
    spec:
      hostNetwork: true
      containers:
        - name: l2sm-ned
          image: alexdecb/l2sm-switch:1.2.9
          command: ["./setup_ned.sh"]
          securityContext:
            capabilities:
              add: ["NET_ADMIN"]
---
apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Network
metadata:
  name: ping-network
spec:
  type: vnet 
  provider: # Must be the same as the NED
    name: idco-controller 
    domain: "192.168.122.60" 
  # Optional: Specify additional parameters like networkCIDR or podAddressRange if required
"#;
/// Seed 000's pod: its `labels` stand outside `metadata`.
const SEED_POD: &str = r"
apiVersion: v1
kind: Pod
labels:
  l2sm: true
metadata:
  name: mypod
  annotations:
    l2sm/networks: ping-network
spec:
  containers:
    - name: ping
      image: busybox
";

fn ping_pong(cluster: &Kubernetes, namespace: &str) {
    let from = PodRef { namespace, name: "ping" };
    cluster.until_ready(&from);
    cluster.until_ready(&PodRef { namespace, name: "pong" });
    assert_eq!(cluster.ping(&from, "10.1.2.77", 5), 5);
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}

pub(crate) fn documented(cluster: &Kubernetes) {
    let namespace = "documented";
    cluster.namespace(namespace);
    for manifest in [OVERLAY, NETWORK, PING, PONG] {
        cluster.apply(namespace, manifest);
    }
    ping_pong(cluster, namespace);

    let namespace = "seed";
    cluster.namespace(namespace);
    cluster.apply(namespace, INTER_CLUSTER);
    let output =
        cluster.with_input(&format!("apply -n {namespace} --validate=warn -f -"), SEED_POD);
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warned.contains("labels"), "{warned}");
    cluster.until("the seed's pod to be attached", || {
        let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
        let attachment = attachments.first()?.clone();
        assert_eq!(attachment["spec"]["pod"], "mypod");
        is(&attachment, "Ready", "True").then_some(())
    });
    let network = cluster.get(&format!("l2network ping-network -n {namespace}"));
    assert!(network["status"]["conditions"].to_string().contains("provider"), "{network}");
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}

pub(crate) fn reverse(cluster: &Kubernetes) {
    let namespace = "reverse";
    cluster.namespace(namespace);
    for manifest in [PONG, PING] {
        cluster.apply(namespace, manifest);
    }
    // Pods wait, and say for what.
    let ping = PodRef { namespace, name: "ping" };
    cluster.until_warned(&ping, "NetworkNotFound", &["ping-network"]);
    for manifest in [NETWORK, OVERLAY] {
        cluster.apply(namespace, manifest);
    }
    ping_pong(cluster, namespace);
}

pub(crate) fn hot(cluster: &Kubernetes) {
    let namespace = "hot";
    cluster.namespace(namespace);
    let spec = r#"{"type": "vnet", "networkCIDR": "10.50.0.0/24"}"#;
    let manifest = network("blue", spec) + &pod("a", "node1", "") + &pod("b", "node2", "blue");
    cluster.apply(namespace, &manifest);
    let a = PodRef { namespace, name: "a" };
    cluster.until_ready(&a);
    cluster.until_ready(&PodRef { namespace, name: "b" });
    let uid = cluster.get(&format!("pod a -n {namespace}"))["metadata"]["uid"].clone();

    cluster.kubectl(&format!("annotate pod a -n {namespace} l2sm/networks=blue"));
    cluster.until("net1 to come", || has_device(cluster, &a, "net1").then_some(()));
    let attachments = cluster.list(&format!("l2attachments -n {namespace}"));
    let b = attachments.iter().find(|attachment| attachment["spec"]["pod"] == "b");
    let address = b.expect("its attachment")["spec"]["ips"][0].as_str().expect("one").to_owned();
    let address = address.split('/').next().expect("an address");
    cluster.until("a ping", || (cluster.ping(&a, address, 1) == 1).then_some(()));

    cluster.kubectl(&format!("annotate pod a -n {namespace} l2sm/networks-"));
    cluster.until("net1 to go", || (!has_device(cluster, &a, "net1")).then_some(()));
    let pod = cluster.get(&format!("pod a -n {namespace}"));
    assert_eq!(pod["metadata"]["uid"], uid);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}

pub(crate) fn malformed(cluster: &Kubernetes) {
    let namespace = "malformed";
    cluster.namespace(namespace);
    let spec = r#"{"type": "vnet", "networkCIDR": "10.51.0.0/24"}"#;
    let wrong = r#"[{"name": "blue", "ips": "#;
    let nobody = r#"[{"name": "nobody"}]"#;
    let twice = r#"[{"name": "blue", "ifname": "x0"}, {"name": "blue", "ifname": "x0"}]"#;
    let manifest = network("blue", spec)
        + &pod("wrong", "node1", wrong)
        + &pod("nobody", "node1", nobody)
        + &pod("twice", "node1", twice)
        + &pod("right", "node1", "blue");

    cluster.apply(namespace, &manifest);

    cluster.until_ready(&PodRef { namespace, name: "right" });
    for (name, reason, words) in [
        ("wrong", "InvalidAnnotation", "l2sm/networks"),
        ("nobody", "NetworkNotFound", "nobody"),
        ("twice", "InterfaceNameInUse", "x0"),
    ] {
        cluster.until_warned(&PodRef { namespace, name }, reason, &[words]);
    }
    // Mended, it starts.
    cluster.kubectl(&format!("annotate --overwrite pod wrong -n {namespace} l2sm/networks=blue"));
    cluster.until_ready(&PodRef { namespace, name: "wrong" });
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
}

pub(crate) fn in_use(cluster: &Kubernetes) {
    let namespace = "in-use";
    cluster.namespace(namespace);
    let spec = r#"{"type": "vnet", "networkCIDR": "10.52.0.0/24"}"#;
    let manifest = network("blue", spec) + &pod("a", "node1", "blue") + &pod("b", "node2", "blue");
    cluster.apply(namespace, &manifest);
    let (a, b) = (PodRef { namespace, name: "a" }, PodRef { namespace, name: "b" });
    cluster.until_ready(&a);
    cluster.until_ready(&b);

    cluster.kubectl(&format!("delete l2network blue -n {namespace} --wait=false"));

    cluster.until("the condition InUse with the pods", || {
        let network = cluster.get(&format!("l2network blue -n {namespace}"));
        let conditions = network["status"]["conditions"].as_array()?.clone();
        let in_use = conditions.iter().find(|condition| condition["type"] == "InUse")?;
        let (_, pods) = in_use["message"].as_str()?.rsplit_once(": ")?;
        (pods == "in-use/a, in-use/b").then_some(())
    });
    cluster.kubectl(&format!("delete pod a b -n {namespace}"));
    cluster.until_succeeds(&format!("wait --for=delete l2network/blue -n {namespace}"));
}

fn has_device(cluster: &Kubernetes, pod: &PodRef<'_>, device: &str) -> bool {
    cluster.exec(pod, &format!("ls /sys/class/net/{device}")).status.success()
}

fn is(object: &serde_json::Value, condition: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == condition && one["status"] == status)
}
