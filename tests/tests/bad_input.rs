//! Bad input: one line that names the thing, the exit code of `interfaces.md`, and nothing changed.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use l2sm_tests::{
    cluster::{Cluster, program},
    netns::Netns,
};

/// One line on standard error (bad usage may be followed by the usage), who says it or `error` before
/// a colon, naming all of `words`; exit code `code`.
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let lines = error.trim_end().lines().count();
    assert!(lines == 1 || (code == 2 && lines > 0), "not one line: {error}");
    let speakers = ["error: ", "l2sm-agent: ", "l2sm-controller: "];
    assert!(speakers.iter().any(|speaker| error.starts_with(speaker)), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    for word in words {
        assert!(error.contains(word), "does not name {word:?}: {error}");
    }
}

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: {name}}}\n\
         spec: {{type: vnet, {spec}}}\n"
    )
}

#[test]
fn bad_manifests_name_file_document_field_and_expectation() {
    let cluster = Cluster::new(0);
    cluster.apply(&manifest("taken", "vni: 77"));
    let cases = [
        (manifest("x", "networkCIDR: 10.0.0.0/33"), &["manifest.yaml", "spec.networkCIDR"][..]),
        (manifest("x", "networkCIDR: hello"), &["manifest.yaml", "spec.networkCIDR", "hello"]),
        (manifest("x", "vni: 77"), &["77", "taken"]),
        (manifest("x", "vni: 0"), &["manifest.yaml", "spec.vni"]),
        (manifest("x", "vni: 1048576"), &["manifest.yaml", "spec.vni"]),
        (manifest("x", "colour: blue"), &["manifest.yaml", "colour"]),
        (manifest("x", "mtu: many"), &["manifest.yaml", "spec.mtu"]),
        (manifest("X_y", "mtu: 1400"), &["manifest.yaml", "metadata.name"]),
    ];
    for (text, words) in cases {
        assert_refused(&cluster.try_apply(&text), 1, words);
    }
    // Several documents: all are checked before any is applied.
    let several = format!("{}---\n{}", manifest("good", "vni: 5"), manifest("bad", "vni: 77"));
    assert_refused(&cluster.try_apply(&several), 1, &["77", "taken"]);
    assert_eq!(cluster.get("networks").len(), 1, "only the first is there");
}

#[test]
fn bad_attachments_leave_nothing_behind() {
    let cluster = Cluster::new(1);
    cluster.network("blue", "10.10.0.0/24");
    let first = cluster.pod(0, "blue", &["--ip", "10.10.0.7/24"]);
    let other = Netns::new("cpod");
    let netns = other.path();
    let attach = |arguments: &[&str]| {
        let mut all = vec!["attach"];
        all.extend(arguments);
        cluster.nodes[0].ctl(&all)
    };
    let links = cluster.nodes[0].netns.ip("-brief link show");

    assert_refused(&attach(&["green", "--netns", &netns]), 1, &["green"]);
    let taken = attach(&["blue", "--netns", &netns, "--ip", "10.10.0.7/24"]);
    assert_refused(&taken, 1, &["10.10.0.7"]);
    let outside = attach(&["blue", "--netns", &netns, "--ip", "10.99.0.7/24"]);
    assert_refused(&outside, 1, &["10.99.0.7", "10.10.0.0/24"]);
    let gone = attach(&["blue", "--netns", "/run/netns/l2sm-nowhere"]);
    assert_refused(&gone, 1, &["/run/netns/l2sm-nowhere"]);
    assert_refused(&attach(&["blue", "--netns", "/etc/hostname"]), 1, &["/etc/hostname"]);
    let twice = attach(&["blue", "--netns", &netns, "--mac", "ff:ff:ff:ff:ff:ff"]);
    assert_refused(&twice, 1, &["ff:ff:ff:ff:ff:ff"]);
    let name = attach(&["blue", "--netns", &netns, "--ifname", "a-name-of-many-letters"]);
    assert_refused(&name, 1, &["a-name-of-many-letters"]);
    assert_refused(&attach(&["blue"]), 2, &["--netns"]);

    assert_eq!(cluster.get("attachments").len(), 1);
    assert_eq!(cluster.nodes[0].netns.ip("-brief link show"), links);
    assert_eq!(other.ip("-brief link show type veth"), "");
    assert_eq!(first.address(), "10.10.0.7");
}

#[test]
fn a_store_that_is_none_or_newer_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |store: &std::path::Path| {
        Command::new(program("l2sm-controller"))
            .args(["serve", "--insecure", "--listen", "127.0.0.1:0", "--store"])
            .arg(store)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let text = directory.path().join("text.redb");
    fs::write(&text, "no store").unwrap();
    assert_refused(&serve(&text), 1, &["text.redb"]);
    assert_eq!(fs::read_to_string(&text).unwrap(), "no store");
    let nowhere = directory.path().join("no/such/directory/store.redb");
    assert_refused(&serve(&nowhere), 1, &["store.redb"]);
}

#[test]
fn an_agent_that_cannot_work_says_why() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].kill_agent();
    let node = &cluster.nodes[0];

    let device = node.agent_command().args(["--underlay-device", "nosuch0"]).output().unwrap();
    assert_refused(&device, 1, &["nosuch0"]);
    let bpffs = node.agent_command().args(["--bpffs", "/tmp"]).output().unwrap();
    assert_refused(&bpffs, 2, &["--bpffs"]);
    let unknown = node.agent_command().arg("--no-such-flag").output().unwrap();
    assert_refused(&unknown, 2, &["--no-such-flag"]);

    let links = node.netns.ip("-brief link show");
    node.netns.ip("link del l2sm-vxlan");
    node.netns.ip("link add theirs type vxlan id 5 dstport 7000 local 192.0.2.1");
    let foreign = node.agent_command().output().unwrap();
    assert_refused(&foreign, 1, &["theirs", "7000"]);
    node.netns.ip("link del theirs");
    assert!(links.contains("l2sm-br"), "the other devices stay: {links}");
}

#[test]
fn a_start_that_is_refused_leaves_nothing_behind() {
    let mut cluster = Cluster::new(1);
    cluster.nodes[0].kill_agent();
    assert!(cluster.nodes[0].cleanup().status.success());
    let node = &cluster.nodes[0];
    let links = || node.netns.ip("-brief link show");
    let before = links();

    node.netns.ip("link add theirs type vxlan id 5 dstport 7000 local 192.0.2.1");
    assert_refused(&node.agent_command().output().unwrap(), 1, &["theirs", "7000"]);
    node.netns.ip("link del theirs");
    assert_eq!(links(), before);
    assert!(!node.bpffs().exists(), "no pins");

    // Refused late: when devices and pins are there.
    fs::create_dir(node.socket()).unwrap();
    assert_refused(&node.agent_command().output().unwrap(), 1, &["agent.sock"]);
    assert_eq!(links(), before);
    assert!(!node.bpffs().exists(), "no pins");
}

#[test]
fn a_second_agent_and_a_cleanup_beside_an_agent_are_refused() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = elsewhere.path().join("agent.sock");
    let bpffs = format!("/sys/fs/bpf/l2sm-second-{}", std::process::id());
    let places = ["--bpffs", &bpffs, "--socket", socket.to_str().unwrap()];
    let run = |arguments: &[&str]| {
        let netns = &cluster.nodes[0].netns;
        netns.output(program("l2sm-agent").to_str().unwrap(), &[arguments, &places].concat())
    };
    let links = cluster.nodes[0].netns.ip("-brief link show");

    let second =
        ["run", "--node-name", "second", "--insecure", "--controller", "http://192.0.2.254:30808"];
    assert_refused(&run(&second), 1, &["another l2sm-agent"]);
    assert_refused(&run(&["cleanup"]), 1, &["another l2sm-agent"]);
    let spaced =
        ["run", "--node-name", "A B", "--insecure", "--controller", "http://192.0.2.254:30808"];
    assert_refused(&run(&spaced), 2, &["A B"]);

    assert_eq!(cluster.nodes[0].netns.ip("-brief link show"), links);
    assert!(!std::path::Path::new(&bpffs).exists(), "nothing is made by a refused start");
    assert_eq!(pods[0].netns.ping(pods[1].address(), 5), 5);
}

#[test]
fn without_root_each_program_says_so() {
    let agent = program("l2sm-agent");
    // `setpriv` of util-linux: no capability at all.
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&agent)
        .args(["--insecure", "--controller", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let unreadable = error.contains("setpriv") && error.contains("Permission denied");
    assert!(!unreadable, "the tests' build directory must be readable by others: {error}");
    assert_refused(&output, 1, &["CAP_"]);
}
