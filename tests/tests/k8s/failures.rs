//! What fails, fails alone: traffic flows on, pods come and go.

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};
use nix::sys::signal::Signal;

const SYSTEM: &str = "l2sm-system";

/// Pods `a` and `b` on two nodes, `10.60.0.1` and `10.60.0.2`.
fn pair<'a>(cluster: &Kubernetes, namespace: &'a str) -> (PodRef<'a>, PodRef<'a>) {
    cluster.namespace(namespace);
    let manifest = network("blue", r#"{"type": "vnet", "networkCIDR": "10.60.0.0/24"}"#)
        + &pod("a", "node1", r#"[{"name": "blue", "ips": ["10.60.0.1/24"]}]"#)
        + &pod("b", "node2", r#"[{"name": "blue", "ips": ["10.60.0.2/24"]}]"#);
    cluster.apply(namespace, &manifest);
    let (a, b) = (PodRef { namespace, name: "a" }, PodRef { namespace, name: "b" });
    cluster.until_ready(&a);
    cluster.until_ready(&b);
    assert_eq!(cluster.ping(&a, "10.60.0.2", 3), 3);
    (a, b)
}

/// A further pod starts and is reached: everything works again.
fn another_joins(cluster: &Kubernetes, from: &PodRef<'_>) {
    let namespace = from.namespace;
    let late = r#"[{"name": "blue", "ips": ["10.60.0.3/24"]}]"#;
    cluster.apply(namespace, &pod("late", "node2", late));
    cluster.until_ready(&PodRef { namespace, name: "late" });
    // The other node's agent may be about to come back to the operator.
    cluster.until("a ping", || (cluster.ping(from, "10.60.0.3", 1) == 1).then_some(()));
    assert_eq!(cluster.ping(from, "10.60.0.3", 3), 3);
}

pub(crate) fn ends_without_operator(cluster: &Kubernetes) {
    let namespace = "no-operator";
    pair(cluster, namespace);
    cluster.kubectl(&format!("scale deployment l2sm-operator -n {SYSTEM} --replicas=0"));
    cluster.until("no operator to be left", || {
        let selector = "app.kubernetes.io/name=l2sm-operator";
        cluster.list(&format!("pods -n {SYSTEM} -l {selector}")).is_empty().then_some(())
    });

    cluster.kubectl(&format!("delete pod a -n {namespace} --timeout=30s"));
    let ends = cluster.output(&format!("delete namespace {namespace} --timeout=45s"));

    cluster.kubectl(&format!("scale deployment l2sm-operator -n {SYSTEM} --replicas=2"));
    cluster.until_succeeds(&format!("rollout status -n {SYSTEM} deployment/l2sm-operator"));
    let said = String::from_utf8_lossy(&ends.stderr).into_owned();
    // A network that was in use may wait for the operator; pods never do.
    let gone = ends.status.success() || said.contains("timed out");
    assert!(gone, "{said}");
    cluster.until_succeeds(&format!("wait --for=delete namespace/{namespace}"));
}

pub(crate) fn operator_killed(cluster: &Kubernetes) {
    let (a, _b) = pair(cluster, "operator-killed");
    let lease = || cluster.get(&format!("lease l2sm-operator -n {SYSTEM}"))["spec"].clone();
    let holder = lease()["holderIdentity"].as_str().expect("somebody serves").to_owned();
    // It calls itself after its pod, and something of its own.
    let pods = cluster.list(&format!("pods -n {SYSTEM}"));
    let mut names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    let pod = names.find(|name| holder.starts_with(name)).expect("the holder is a pod");

    cluster.kubectl(&format!("delete pod {pod} -n {SYSTEM} --force --grace-period=0"));

    assert_eq!(cluster.ping(&a, "10.60.0.2", 5), 5, "traffic flows without it");
    cluster.until("another to serve", || {
        let now = lease()["holderIdentity"].as_str()?.to_owned();
        (now != holder).then_some(())
    });
    another_joins(cluster, &a);
    cluster.until_succeeds(&format!("rollout status -n {SYSTEM} deployment/l2sm-operator"));
}

pub(crate) fn agent_killed(cluster: &Kubernetes) {
    let (a, _b) = pair(cluster, "agent-killed");
    let machine = &cluster.node(2).machine;
    let before = machine.processes_of("l2sm-agent").expect("the node is up");
    assert_eq!(before.len(), 1, "one agent on a node");

    machine.stop("l2sm-agent", Signal::SIGKILL).expect("it can be killed");

    assert_eq!(cluster.ping(&a, "10.60.0.2", 5), 5, "traffic flows without it");
    cluster.until("another agent", || {
        let now = machine.processes_of("l2sm-agent").ok()?;
        (now.len() == 1 && now != before).then_some(())
    });
    cluster.until_succeeds(&format!("rollout status -n {SYSTEM} daemonset/l2sm-agent"));
    another_joins(cluster, &a);
}

pub(crate) fn kubelet_restarted(cluster: &Kubernetes) {
    let (a, b) = pair(cluster, "kubelet-restarted");
    let node = cluster.node(2);

    node.machine.stop("kubelet", Signal::SIGTERM).expect("it ends");
    assert_eq!(cluster.ping(&a, "10.60.0.2", 5), 5, "traffic flows without it");
    node.machine.start(&node.kubelet()).expect("it starts");

    another_joins(cluster, &a);
    let pod = cluster.get(&format!("pod {} -n {}", b.name, b.namespace));
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "it lived on");
    assert_eq!(cluster.ping(&a, "10.60.0.2", 3), 3);
}

pub(crate) fn node_removed(cluster: &Kubernetes) {
    let (a, _b) = pair(cluster, "node-removed");
    let node = cluster.node(2);
    node.machine.stop("kubelet", Signal::SIGTERM).expect("it ends");
    for pod in node.machine.processes_of("l2sm-agent").expect("the node is up") {
        nix::sys::signal::kill(pod, Signal::SIGKILL).expect("it can be killed");
    }

    cluster.kubectl("delete node node2");
    let pods = "delete pods -A --field-selector spec.nodeName=node2 --force --grace-period=0";
    cluster.kubectl(pods);

    cluster.until("node2 to leave the networks", || {
        let output = cluster.output("get l2node node2");
        String::from_utf8_lossy(&output.stderr).contains("NotFound").then_some(())
    });
    cluster.until("its attachments to go", || {
        let attachments = cluster.list(&format!("l2attachments -n {}", a.namespace));
        attachments.iter().all(|one| one["spec"]["node"] != "node2").then_some(())
    });

    // It comes back as a new one.
    node.machine.start(&node.kubelet()).expect("it starts");
    cluster.until("node2 to come back", || {
        cluster.output("get node node2").status.success().then_some(())
    });
    cluster.until_succeeds("wait --for=condition=Ready node/node2");
    cluster.until_succeeds(&format!("rollout status -n {SYSTEM} daemonset/l2sm-agent"));
    another_joins(cluster, &a);
}
