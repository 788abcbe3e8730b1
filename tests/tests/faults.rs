//! The kernel refuses, or things vanish, while the agent works: each failure is told by object, the rest
//! is done, and when the cause has gone the node is as it should be.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use l2sm_tests::{
    cluster::{Cluster, ClusterNode, ClusterPod},
    netns::pod_netns,
    wait,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What the agent says is wrong.
fn errors(node: &ClusterNode) -> Vec<String> {
    let status = node.status();
    let errors = status["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().filter_map(|error| error.as_str().map(str::to_owned)).collect()
}

fn until_well(node: &ClusterNode) {
    wait::until_equal("errors", &Vec::<String>::new(), || errors(node));
}

/// Whether two pods reach one another, once both nodes have seen to it.
fn until_reached(from: &ClusterPod, to: &ClusterPod) {
    wait::until("pods reach one another", || (from.netns.ping(to.address(), 1) == 1).then_some(()));
}

/// Host veths of a node, in `ip`'s order.
fn veths(node: &ClusterNode) -> Vec<String> {
    let links = node.netns.ip("-brief link show type veth");
    let names = links.lines().filter_map(|line| line.split(['@', ' ']).next());
    names.filter(|name| name.starts_with("l2sm")).map(str::to_owned).collect()
}

/// Runs a command in the mount namespace of a node's agent.
fn in_mounts_of(node: &ClusterNode, arguments: &[&str]) {
    let pid = node.agent_pid().expect("it runs").to_string();
    let mounts = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    wait::until("the agent has mounts of its own", || {
        (mounts(&pid)? != mounts("self")?).then_some(())
    });
    let output =
        Command::new("nsenter").args(["--mount", "--target", &pid]).args(arguments).output();
    let output = output.expect("nsenter is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn with_pins_that_cannot_be_made_a_port_works_by_its_filter_and_has_its_link_when_they_can() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let far = cluster.pod(1, "blue", &[]);
    // The agent gets mounts of its own, where its pin directory can be made read-only.
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].start_agent_behind(&["unshare", "--mount", "--propagation", "slave"]);
    cluster.until_connected();
    let pins = cluster.nodes[0].bpffs().to_str().expect("a path").to_owned();
    in_mounts_of(&cluster.nodes[0], &["mount", "--bind", &pins, &pins]);
    in_mounts_of(&cluster.nodes[0], &["mount", "-o", "remount,ro,bind", &pins]);

    let near = cluster.pod(0, "blue", &[]);
    until_reached(&near, &far);
    until_well(&cluster.nodes[0]);
    let tried = Instant::now() + Duration::from_secs(2);
    while Instant::now() < tried {
        assert_eq!(near.netns.ping(far.address(), 1), 1, "whatever becomes of its link");
        assert!(links(&cluster.nodes[0]).is_empty(), "nothing can be pinned");
    }

    in_mounts_of(&cluster.nodes[0], &["mount", "-o", "remount,rw,bind", &pins]);
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].start_agent();
    wait::until("its link", || (links(&cluster.nodes[0]).len() == 1).then_some(()));
    until_reached(&near, &far);
    until_well(&cluster.nodes[0]);
}

/// Pinned links of a node's ports.
fn links(node: &ClusterNode) -> Vec<String> {
    let links = node.bpffs().join("links").read_dir().expect("its programs have pins");
    let names = links.map(|link| link.expect("can be read").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.ends_with("-l2sm_port_rx")).collect()
}

#[test]
fn a_release_that_cannot_be_recorded_is_told_and_done() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].start_agent_behind(&["unshare", "--mount", "--propagation", "slave"]);
    cluster.until_connected();
    let state = cluster.nodes[0].socket();
    let state = state.parent().and_then(|path| path.to_str()).expect("a path");
    in_mounts_of(&cluster.nodes[0], &["mount", "--bind", state, state]);
    in_mounts_of(&cluster.nodes[0], &["mount", "-o", "remount,ro,bind", state]);
    let path = pods[0].netns.path();

    let detached = cluster.nodes[0].ctl(&["detach", "blue", "--netns", &path]);

    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    let log = cluster.nodes[0].log();
    assert!(log.contains("a release is not kept on disk"), "{log}");
    wait::until_equal("attachments", &1, || cluster.get("attachments").len());
    assert_eq!(veths(&cluster.nodes[0]), Vec::<String>::new());
    // Others are served.
    let late = cluster.pod(0, "blue", &[]);
    until_reached(&late, &pods[1]);

    in_mounts_of(&cluster.nodes[0], &["mount", "-o", "remount,rw,bind", state]);
    let path = late.netns.path();
    assert!(cluster.nodes[0].ctl(&["detach", "blue", "--netns", &path]).status.success());
    wait::until_equal("attachments", &1, || cluster.get("attachments").len());
    until_well(&cluster.nodes[0]);
}

#[test]
fn devices_that_somebody_removes_are_made_again() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    let mac = pods[0].mac();
    for device in ["l2sm-vxlan", "l2sm-br", &veths(&cluster.nodes[0])[0]] {
        let node = &cluster.nodes[0].netns;
        let before = node.ifindex(device);
        node.ip(&format!("link delete {device}"));
        wait::until(&format!("{device} is made again"), || {
            let there = node.output("ip", &["link", "show", device]).status.success();
            (there && node.ifindex(device) != before).then_some(())
        });
        until_reached(&pods[0], &pods[1]);
        until_well(&cluster.nodes[0]);
    }
    assert_eq!(pods[0].netns.mac(pods[0].ifname()), mac, "as it was");
}

#[test]
fn a_pod_that_vanishes_while_others_are_made_stops_none_of_them() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let far = cluster.pod(1, "blue", &[]);
    let going = cluster.pod(0, "blue", &[]);
    let near = cluster.pod(0, "blue", &[]);
    until_reached(&near, &far);
    let agent = Pid::from_raw(cluster.nodes[0].agent_pid().expect("it runs").cast_signed());
    // All of it happens between two of its steps.
    kill(agent, Signal::SIGSTOP).expect("it runs");
    drop(going);
    let netns = pod_netns("cpod", &[]);
    let attached = std::thread::scope(|scope| {
        let asks = scope.spawn(|| cluster.nodes[0].attach("blue", &netns, &[]));
        kill(agent, Signal::SIGCONT).expect("it runs");
        asks.join().expect("attached")
    });
    let late = ClusterPod { netns, attached };

    until_reached(&late, &far);
    until_reached(&near, &late);
    wait::until_equal("host veths", &2, || veths(&cluster.nodes[0]).len());
    until_well(&cluster.nodes[0]);
    wait::until_equal("attachments", &3, || cluster.get("attachments").len());
}
