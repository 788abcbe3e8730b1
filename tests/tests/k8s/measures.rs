//! What it takes, and how quick it is.

use std::{collections::BTreeSet, thread, time::Duration};

use l2sm_cluster::control_plane::AUDIT_LOG;
use l2sm_tests::{
    figures::{bar, mib, percentile, resident, say, say_load},
    k8s::{Kubernetes, PodRef, network, pod},
};

/// Of an agent, resident: bytes.
const AGENT_MEMORY: u64 = 25 << 20;
/// Of an operator, resident: bytes.
const OPERATOR_MEMORY: u64 = 60 << 20;
/// What an idle operator asks of the API server, per second.
const IDLE_REQUESTS: f64 = 1.0;
/// How long it is watched.
const IDLE: Duration = Duration::from_secs(30);

/// Pods whose ADD is timed.
const ADDS: usize = 30;
/// Of our plugin's ADD, half take no longer.
const ADD_HALF: Duration = Duration::from_millis(15);
/// All but one of a hundred take no longer.
const ADD_MOST: Duration = Duration::from_millis(60);
/// From its end to the first answer from another node, half take no longer.
const PING_HALF: Duration = Duration::from_millis(10);
/// What no load excuses: one who waits for some timer.
const SLOW: Duration = Duration::from_millis(400);
/// Stands in the plugin's place on a node, seen by its runtime alone: runs the plugin and writes, in µs,
/// when each ADD began and ended, and when a ping to the other node was answered. (The time to start
/// `ping` is in it.)
const TIMER: &str = r#"#!/bin/bash
began=${EPOCHREALTIME/[.,]}
/run/l2sm-timed/l2sm
code=$?
ended=${EPOCHREALTIME/[.,]}
case "$CNI_COMMAND;;$CNI_ARGS;" in
ADD\;*\;K8S_POD_NAMESPACE=quick\;*)
    nsenter --net="$CNI_NETNS" ping -c 1 -i 0.002 -w 20 10.70.0.1 > /run/l2sm-timed/ping 2>&1 &&
        echo "$began $ended ${EPOCHREALTIME/[.,]}" >> /run/l2sm-timed/adds
esac
exit $code"#;
/// Puts it there.
const PLACE_TIMER: &str = r#"
mkdir /run/l2sm-timed && cd /run/l2sm-timed &&
cp /opt/cni/bin/l2sm l2sm && echo "$1" > timer && chmod 755 timer &&
mount --bind timer /opt/cni/bin/l2sm"#;
/// Takes it away, and tells what it wrote. Some pod's may be running: it ends as it is.
const TAKE_TIMER: &str = r"
umount --lazy /opt/cni/bin/l2sm && cat /run/l2sm-timed/adds && rm -r /run/l2sm-timed";

pub(crate) fn memory(cluster: &Kubernetes) {
    for (program, bar) in [("l2sm-agent", AGENT_MEMORY), ("l2sm-operator", OPERATOR_MEMORY)] {
        let nodes = cluster.nodes().iter();
        let processes =
            nodes.flat_map(|node| node.machine.processes_of(program).expect("it is up"));
        let most = processes.map(|id| resident(id.as_raw().unsigned_abs())).max();
        let most = most.unwrap_or_else(|| panic!("no {program} runs"));
        say(&format!("resident memory of {program}, at most"), &mib(most));
        assert!(most <= bar, "{program} has {} resident, bar {}", mib(most), mib(bar));
    }
}

pub(crate) fn idle_requests(cluster: &Kubernetes) {
    // A watch is in the log when it starts and when it ends: each request counts once.
    let requests = || -> usize {
        let log = cluster.control_plane().run("cat", &[AUDIT_LOG]).expect("it is there");
        let theirs = r#""username":"system:serviceaccount:l2sm-system:l2sm-operator""#;
        let lines = log.lines().filter(|line| line.contains(theirs));
        let ids = lines.filter_map(|line| line.split(r#""auditID":""#).nth(1)?.split('"').next());
        ids.collect::<BTreeSet<_>>().len()
    };
    // Until what earlier stories began has ended: no request but the lease's for a while.
    let mut last = requests();
    cluster.until("the operator to be idle", || {
        thread::sleep(Duration::from_secs(2));
        let now = requests();
        let quiet = now - last <= 2;
        last = now;
        quiet.then_some(())
    });

    let before = requests();
    // The measure is a time: nothing is waited for.
    thread::sleep(IDLE);
    let rate = (requests() - before) as f64 / IDLE.as_secs_f64();

    say("requests of the operators, idle", &format!("{rate:.2} a second"));
    assert!(rate > 0.0, "no request at all: the lease is not kept, or the log is not theirs");
    assert!(rate <= IDLE_REQUESTS, "{rate:.2} requests a second, bar {IDLE_REQUESTS}");
}

pub(crate) fn attach_durations(cluster: &Kubernetes) {
    let namespace = "quick";
    cluster.namespace(namespace);
    let spec = r#"{"type": "vnet", "networkCIDR": "10.70.0.0/24"}"#;
    let peer = pod("peer", "node2", r#"[{"name": "blue", "ips": ["10.70.0.1/24"]}]"#);
    cluster.apply(namespace, &(network("blue", spec) + &peer));
    cluster.until_ready(&PodRef { namespace, name: "peer" });
    let machine = &cluster.node(1).machine;
    machine.run("sh", &["-c", PLACE_TIMER, "sh", TIMER]).expect("it runs");

    for number in 0..ADDS {
        let name = format!("p{number}");
        cluster.apply(namespace, &pod(&name, "node1", "blue"));
        cluster.until_ready(&PodRef { namespace, name: &name });
    }

    let (adds, pings) = times(&machine.run("sh", &["-c", TAKE_TIMER]).expect("it runs"));
    cluster.until_succeeds(&format!("delete namespace {namespace}"));
    assert!(adds.len() >= ADDS, "{} ADDs seen of {ADDS} pods", adds.len());
    say_load();
    let tell = |what: &str, times: &[Duration]| {
        let (half, most) = (percentile(times, 50), percentile(times, 99));
        let text = format!("p50 {half:.1?}, p99 {most:.1?}, of {}", times.len());
        say(what, &text);
        (half, most)
    };
    let (half, most) = tell("ADD of our plugin", &adds);
    let (ping_half, _) = tell("from its end to the first ping", &pings);
    bar(&format!("ADD p50 {half:.1?}, bar {ADD_HALF:?}"), half <= ADD_HALF);
    bar(&format!("ADD p99 {most:.1?}, bar {ADD_MOST:?}"), most <= ADD_MOST);
    bar(&format!("first ping p50 {ping_half:.1?}, bar {PING_HALF:?}"), ping_half <= PING_HALF);
    assert!(half <= SLOW && ping_half <= SLOW, "ADD {half:?}, ping {ping_half:?}: a wait");
}

/// How long each ADD took, and each first ping after one.
fn times(lines: &str) -> (Vec<Duration>, Vec<Duration>) {
    let line = |line: &str| {
        let at: Vec<u64> = line.split(' ').map(|at| at.parse().expect("a time")).collect();
        let [began, ended, answered] = at[..] else { panic!("three times: {line}") };
        (Duration::from_micros(ended - began), Duration::from_micros(answered - ended))
    };
    lines.lines().map(line).unzip()
}
