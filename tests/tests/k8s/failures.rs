//! What fails, fails alone: traffic flows on, pods come and go.

use std::{
    thread,
    time::{Duration, Instant},
};

use l2sm_tests::{
    figures,
    k8s::{Kubernetes, PodRef, network, pod},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const SYSTEM: &str = "l2sm-system";
/// The operator's Lease lasts this long without its holder.
const LEASE: Duration = Duration::from_secs(15);
/// What it takes to look at the Lease, and to write it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Pods `a` and `b` on two nodes, `10.60.0.1` and `10.60.0.2`.
pub(super) fn pair<'a>(cluster: &Kubernetes, namespace: &'a str) -> (PodRef<'a>, PodRef<'a>) {
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
pub(super) fn another_joins(cluster: &Kubernetes, from: &PodRef<'_>) {
    let namespace = from.namespace;
    let late = r#"[{"name": "blue", "ips": ["10.60.0.3/24"]}]"#;
    cluster.apply(namespace, &pod("late", "node2", late));
    cluster.until_ready(&PodRef { namespace, name: "late" });
    // The other node's agent may be about to come back to the operator.
    cluster.until("a ping", || (cluster.ping(from, "10.60.0.3", 1) == 1).then_some(()));
    assert_eq!(cluster.ping(from, "10.60.0.3", 3), 3);
}

pub(crate) fn ends_without_operator(cluster: &Kubernetes) {
    let (home, guests) = ("no-operator", "no-operator-guests");
    pair(cluster, home);
    let others = r#"{"type": "vnet", "networkCIDR": "10.61.0.0/24", "allowedNamespaces": "All"}"#;
    cluster.apply(home, &network("open", others));
    cluster.namespace(guests);
    let unused = network("unused", r#"{"type": "vnet", "networkCIDR": "10.62.0.0/24"}"#);
    let guest = pod("guest", "node1", &format!(r#"[{{"name": "open", "namespace": "{home}"}}]"#));
    cluster.apply(guests, &(unused + &guest));
    cluster.until_ready(&PodRef { namespace: guests, name: "guest" });
    cluster.kubectl(&format!("scale deployment l2sm-operator -n {SYSTEM} --replicas=0"));
    cluster.until("no operator to be left", || {
        let selector = "app.kubernetes.io/name=l2sm-operator";
        cluster.list(&format!("pods -n {SYSTEM} -l {selector}")).is_empty().then_some(())
    });

    // Pods go, and namespaces without a network that somebody uses.
    cluster.until_succeeds(&format!("delete pod a -n {home}"));
    cluster.until_succeeds(&format!("delete namespace {guests}"));
    cluster.kubectl(&format!("delete namespace {home} --wait=false"));
    let waits_for = cluster.until("the namespace to wait for its networks alone", || {
        let conditions = cluster.get(&format!("namespace {home}"))["status"]["conditions"].clone();
        let waiting = |kind: &str| {
            let conditions = conditions.as_array().into_iter().flatten();
            let mut of = conditions.filter(|one| one["type"] == kind && one["status"] == "True");
            of.next().map(|one| one["message"].as_str().unwrap_or_default().to_owned())
        };
        let objects = waiting("NamespaceContentRemaining")?;
        (!objects.contains("pods.")).then_some((objects, waiting("NamespaceFinalizersRemaining")))
    });
    let (objects, finalizers) = waits_for;
    let one_kind = |text: &str| !text.contains(", ");
    assert!(one_kind(&objects) && objects.contains("l2networks.l2sm.l2sm.k8s.local"), "{objects}");
    let finalizers = finalizers.expect("they wait for the operator");
    assert!(one_kind(&finalizers) && finalizers.contains("l2sm.l2sm.k8s.local/"), "{finalizers}");

    cluster.kubectl(&format!("scale deployment l2sm-operator -n {SYSTEM} --replicas=2"));
    cluster.until_succeeds(&format!("rollout status -n {SYSTEM} deployment/l2sm-operator"));
    cluster.until_succeeds(&format!("wait --for=delete namespace/{home}"));
}

pub(crate) fn operator_stopped(cluster: &Kubernetes) {
    let took = take_over(cluster, "operator-stopped", Signal::SIGTERM);
    figures::say("another operator serves after a clean stop", &format!("{took:.1?}"));
    figures::bar("another operator within a second", took <= AT_ONCE);
    assert!(took < Duration::from_secs(9), "{took:?}: it waits for the end of the lease");
}

pub(crate) fn operator_killed(cluster: &Kubernetes) {
    let took = take_over(cluster, "operator-killed", Signal::SIGKILL);
    figures::say("another operator serves after a crash", &format!("{took:.1?}"));
    assert!(took >= AT_ONCE, "{took:?}: it did not crash, it let the lease go");
    assert!(
        took <= LEASE + Duration::from_secs(10),
        "{took:?}, and the lease ends after {LEASE:?}"
    );
}

/// Ends the operator that serves by a signal, with pods that talk to each other meanwhile; the time
/// until another one has the Lease.
fn take_over(cluster: &Kubernetes, namespace: &str, signal: Signal) -> Duration {
    let (a, _b) = pair(cluster, namespace);
    let path = "jsonpath={.spec.holderIdentity}";
    let holder = || cluster.kubectl(&format!("get lease l2sm-operator -n {SYSTEM} -o {path}"));
    let before = holder();
    let process = operator(cluster, &before);

    let took = thread::scope(|scope| {
        let pings = scope.spawn(|| cluster.ping(&a, "10.60.0.2", 20));
        kill(process, signal).expect("it runs");
        let began = Instant::now();
        cluster.until("another to serve", || {
            let now = holder();
            (!now.is_empty() && now != before).then_some(())
        });
        let took = began.elapsed();
        assert_eq!(pings.join().expect("it pings"), 20, "traffic flows without it");
        took
    });

    another_joins(cluster, &a);
    cluster.until_succeeds(&format!("rollout status -n {SYSTEM} deployment/l2sm-operator"));
    took
}

/// The process of the operator that calls itself this: after its pod, and something of its own.
fn operator(cluster: &Kubernetes, identity: &str) -> Pid {
    let pods = cluster.list(&format!("pods -n {SYSTEM} -l app.kubernetes.io/name=l2sm-operator"));
    let is_it = |pod: &&Value| {
        pod["metadata"]["name"].as_str().is_some_and(|name| identity.starts_with(name))
    };
    let pod = pods.iter().find(is_it).expect("the holder is a pod");
    cluster.process_of(pod, "l2sm-operator")
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
        kill(pod, Signal::SIGKILL).expect("it can be killed");
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
