//! `l2smctl` on a cluster: what is installed by the file is what it installs, looks at, tries and removes.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use l2sm_cluster::places;
use l2sm_tests::{
    cluster::program,
    k8s::{Kubernetes, PodRef, network, pod},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::install::nothing_is_left;

/// Where the connectivity test has its pods.
const TRIED_IN: &str = "l2sm-test";

fn command(cluster: &Kubernetes, arguments: &str) -> Command {
    let program = program("l2smctl");
    let program = program.to_str().expect("a path as text");
    let mut command = cluster.control_plane().command_in_netns(program).expect("it is built");
    command.env("KUBECONFIG", places::kubeconfig()).args(arguments.split_whitespace());
    command
}

fn output(cluster: &Kubernetes, arguments: &str) -> Output {
    command(cluster, arguments).output().expect("l2smctl runs")
}

fn succeeds(cluster: &Kubernetes, arguments: &str) -> String {
    let output = output(cluster, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "l2smctl {arguments}: {text}{error}");
    text
}

fn fails(cluster: &Kubernetes, arguments: &str) -> String {
    let output = output(cluster, arguments);
    assert!(!output.status.success(), "l2smctl {arguments}: was not refused");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// The file is applied already, by somebody else: once `install` has made it its own, there is nothing to
/// change.
pub(crate) fn installs_and_shows(cluster: &Kubernetes) {
    succeeds(cluster, "install");
    let done = succeeds(cluster, "install --wait");
    let changed: Vec<_> = done.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    assert!(done.lines().count() > 20 && changed.is_empty(), "{done}");

    let text = succeeds(cluster, "status --wait");
    assert!(text.contains("operator      2 of 2 ready"), "{text}");
    let status = succeeds(cluster, "status --wait -o json");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    for node in cluster.nodes() {
        let node = &status["nodes"][node.machine.name()];
        assert_eq!(node["ready"], true, "{status}");
        assert_eq!(node["fastPath"][0], "tcx", "{status}");
    }
    let version = succeeds(cluster, "version -o json");
    let version: Value = serde_json::from_str(&version).expect("JSON");
    let agents = version["agents"].as_object().expect("versions");
    assert_eq!(agents.values().filter_map(Value::as_u64).sum::<u64>(), 2, "{version}");
}

pub(crate) fn tries_networks(cluster: &Kubernetes) {
    let checks = succeeds(cluster, "connectivity test -o json");
    let checks: Vec<Value> = serde_json::from_str(&checks).expect("JSON");
    assert_eq!(checks.len(), 5);
    assert!(checks.iter().all(|check| check["passed"] == true), "{checks:?}");
    cluster.refused(&format!("get namespace {TRIED_IN}"));

    // It cleans up after Ctrl-C as well.
    let mut child = command(cluster, "connectivity test");
    let mut child = child.stderr(Stdio::piped()).spawn().expect("l2smctl starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it speaks");
    assert!(line.starts_with("pods on node1 and node2"), "{line}");
    cluster.kubectl(&format!("get namespace {TRIED_IN}"));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a PID"));
    kill(pid, Signal::SIGINT).expect("it is there");
    std::io::copy(&mut said, &mut std::io::sink()).expect("it ends");
    assert!(!child.wait().expect("it ends").success(), "it was interrupted");
    cluster.refused(&format!("get namespace {TRIED_IN}"));
}

/// On a cluster that has nothing of ours.
pub(crate) fn installs_and_removes(cluster: &Kubernetes) {
    let done = succeeds(cluster, "install --wait");
    assert!(done.contains("daemonset/l2sm-agent created"), "{done}");

    let done = succeeds(cluster, "uninstall --purge");

    assert!(done.contains("nodes cleaned: 2\n"), "{done}");
    nothing_is_left(cluster);
    assert_eq!(succeeds(cluster, "uninstall --purge"), "l2sm is not on this cluster\n");
}

/// What it may not do, it does not.
pub(crate) fn refuses(cluster: &Kubernetes) {
    let namespace = "l2smctl";
    cluster.namespace(namespace);
    let manifest = network("blue", r#"{"type": "vnet", "networkCIDR": "10.70.0.0/24"}"#)
        + &pod("user", "node1", "blue");
    cluster.apply(namespace, &manifest);
    cluster.until_ready(&PodRef { namespace, name: "user" });
    let why = fails(cluster, "uninstall");
    assert!(why.contains("l2smctl/user") && why.lines().count() == 1, "{why}");
    cluster.kubectl("get -n l2sm-system daemonset/l2sm-agent");
    cluster.kubectl(&format!("delete namespace {namespace}"));

    cluster.kubectl("create namespace l2sm-test");
    let why = fails(cluster, "connectivity test");
    assert!(why.contains("not this test's"), "{why}");
    cluster.kubectl("delete namespace l2sm-test");

    let upstream = "create deployment -n default upstream --replicas=0 \
        --image=alexdecb/l2sm-controller-manager:2.8.7";
    cluster.kubectl(upstream);
    let why = fails(cluster, "install");
    assert!(why.contains("default/upstream of L2S-M") && why.lines().count() == 1, "{why}");
    cluster.kubectl("delete deployment -n default upstream");

    let why = fails(cluster, "get networks --kubeconfig none");
    assert!(why.contains("use kubectl"), "{why}");
    let why = fails(cluster, "status --kubeconfig /nowhere/none");
    assert!(why.contains("/nowhere/none") && why.lines().count() == 1, "{why}");
}
