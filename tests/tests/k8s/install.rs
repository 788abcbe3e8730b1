//! The install file goes in as it is, and comes out without a trace.

use std::{path::PathBuf, time::Instant};

use l2sm_tests::k8s::Kubernetes;
use serde_json::Value;

/// Where things are.
const NAMESPACE: &str = "l2sm-system";

/// Where pins are.
const BPFFS: &str = "/sys/fs/bpf";

/// Names what there is of ours on a node.
const LEFT: &str = "ls -d /sys/fs/bpf/l2sm /run/l2sm/* /etc/cni/net.d/*l2sm* /opt/cni/bin/l2sm* \
    2>/dev/null; ip -br link | grep l2sm; tc filter show dev eth0 ingress; \
    bpftool net | grep l2sm; true";

/// Where manifests are.
fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The file that users apply.
fn file() -> PathBuf {
    deploy().join("l2sm.yaml")
}

pub(crate) fn one_file_installs_everything(cluster: &Kubernetes) {
    let began = Instant::now();

    cluster.kubectl(&format!("apply -f {}", file().display()));
    cluster.until_succeeds(&format!("rollout status -n {NAMESPACE} deployment/l2sm-operator"));
    cluster.until_succeeds(&format!("rollout status -n {NAMESPACE} daemonset/l2sm-agent"));

    println!("installed and ready after {:.1} s", began.elapsed().as_secs_f64());
    for node in cluster.nodes() {
        let name = node.machine.name();
        let l2node = cluster.until("the agent's node", || {
            let output = cluster.output(&format!("get l2node {name} -o json"));
            serde_json::from_slice::<Value>(&output.stdout).ok()
        });
        assert!(l2node.to_string().contains(&node.address()), "{l2node}");
        let list = node.machine.run("ls", &["/etc/cni/net.d"]).expect("it is there");
        assert!(list.contains("00-l2sm.conflist"), "{list}");
    }
    // What is there is what the file says: applied again, it changes nothing.
    let difference = cluster.kubectl(&format!("diff -f {}", file().display()));
    assert_eq!(difference, "");
}

pub(crate) fn component_mounts_bpffs(cluster: &Kubernetes) {
    let machine = &cluster.node(2).machine;
    let kind = || machine.run("stat", &["-f", "-c", "%T", BPFFS]).expect("it runs");
    // The lab's own, and this host's below it.
    while kind().trim() == "bpf_fs" {
        machine.run("umount", &[BPFFS]).expect("it is mounted");
    }

    let kustomization = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/k8s/bpffs");
    cluster.kubectl(&format!("apply -k {kustomization}"));
    cluster.until_succeeds(&format!("rollout status -n {NAMESPACE} daemonset/l2sm-agent"));

    assert_eq!(kind().trim(), "bpf_fs", "the host sees what the pod mounted");
    let links = machine.run("ls", &[&format!("{BPFFS}/l2sm/links")]).expect("the agent's pins");
    assert!(links.contains("l2sm_uplink_rx"), "{links}");
}

pub(crate) fn uninstalling_leaves_nothing(cluster: &Kubernetes) {
    for node in cluster.nodes() {
        let there = node.machine.run("sh", &["-c", LEFT]).expect("it runs");
        assert!(there.lines().count() > 5, "what is to be removed is not seen: {there}");
    }

    // Pods let go of their networks first.
    cluster.until_succeeds("delete pods -A --selector=!app.kubernetes.io/part-of");
    for line in documented() {
        let arguments = line.trim_start_matches("kubectl ").replace('\'', "");
        cluster.kubectl(&arguments.replace("deploy/", &format!("{}/", deploy().display())));
    }

    nothing_is_left(cluster);
}

/// Neither on the nodes nor at the API server is anything of ours.
pub(crate) fn nothing_is_left(cluster: &Kubernetes) {
    for node in cluster.nodes() {
        let left = node.machine.run("sh", &["-c", LEFT]).expect("it runs");
        assert_eq!(left, "", "left on {}", node.machine.name());
    }
    let kinds = cluster.kubectl("api-resources --api-group=l2sm.l2sm.k8s.local -o name");
    assert_eq!(kinds, "", "definitions are left");
    cluster.refused(&format!("get namespace {NAMESPACE}"));
}

/// The commands of the documentation's section on it.
fn documented() -> Vec<String> {
    let page = deploy().join("../docs/kubernetes.md");
    let page = std::fs::read_to_string(page).expect("it is there");
    let section = page.split("## Uninstall").nth(1).expect("a section");
    let block = section.split("```").nth(1).expect("a block of commands");
    let commands: Vec<_> =
        block.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    assert!(commands.iter().all(|line| line.starts_with("kubectl ")), "{commands:?}");
    assert!(commands.len() > 5, "{commands:?}");
    commands
}
