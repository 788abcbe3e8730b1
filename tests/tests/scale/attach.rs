//! How long a pod waits for its interface, and then for its first answer.

use std::{
    collections::BTreeSet,
    io::Write,
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use l2sm_common::abi;
use l2sm_tests::{
    cluster::{Cluster, ClusterNode, release_program},
    frames::checksum,
    netns::{Netns, pod_netns},
    object::Object,
    wait,
};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
        setsockopt, socket, sockopt,
    },
    time::TimeVal,
};
use serde_json::{Value, json};

use crate::figures::{bar, percentile, say, say_load};

const PODS: usize = 100;
const ADD_MEDIAN: Duration = Duration::from_millis(10);
const ADD_P99: Duration = Duration::from_millis(60);
const PING_MEDIAN: Duration = Duration::from_millis(10);
/// An unanswered ping is sent again after this.
const AGAIN: Duration = Duration::from_millis(5);

/// The plugin, started as a container runtime starts it.
struct Plugin {
    config: String,
}

impl Plugin {
    fn new(node: &ClusterNode) -> Self {
        let config = json!({
            "cniVersion": "1.1.0", "name": "blue-by-cni", "type": "l2sm", "network": "blue",
            "socket": node.socket(),
        });
        Self { config: config.to_string() }
    }

    /// Runs a verb, which must succeed; what it printed.
    fn run(&self, verb: &str, container: &str, netns: &str) -> String {
        let mut command = Command::new(release_program("l2sm-cni"));
        command.env_clear().envs([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", netns),
            ("CNI_IFNAME", "net1"),
            ("CNI_PATH", "/opt/cni/bin"),
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the plugin is built");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(self.config.as_bytes()).expect("it reads its input");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{verb} {container}: {text}");
        text
    }

    /// ADD: the address, and how long it took.
    fn add(&self, container: &str, netns: &Netns) -> (String, Duration) {
        let path = netns.path();
        let started = Instant::now();
        let text = self.run("ADD", container, &path);
        let took = started.elapsed();
        let result: Value = serde_json::from_str(&text).expect("JSON");
        let address = result["ips"][0]["address"].as_str().expect("an address");
        (address.split('/').next().expect("an address").to_owned(), took)
    }
}

/// Time from now until a namespace has an answer to an ICMP echo request to `to`.
fn first_ping(netns: &Netns, to: [u8; 4]) -> Duration {
    let started = Instant::now();
    netns.run(|| {
        let socket =
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp)
                .expect("tests need root");
        let patience = TimeVal::new(0, AGAIN.as_micros().try_into().expect("short"));
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).expect("can be set");
        let mut request = vec![8, 0, 0, 0, 0x12, 0x52, 0, 1];
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        let [a, b, c, d] = to;
        let address = SockaddrIn::new(a, b, c, d, 0);
        wait::until("an answer", || {
            sendto(socket.as_raw_fd(), &request, &address, MsgFlags::empty()).expect("has a route");
            let mut packet = [0; 128];
            // An error is the time that has run out.
            let length = recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap_or(0);
            let answer = &packet[..length];
            (answer.get(12..16) == Some(&to) && answer.get(20) == Some(&0)).then_some(())
        });
    });
    started.elapsed()
}

fn pods(count: usize) -> Vec<Netns> {
    (0..count).map(|_number| pod_netns("scale", &[])).collect()
}

fn cluster() -> Cluster {
    let cluster = Cluster::of_release(2);
    cluster.network("blue", "10.9.0.0/16");
    cluster
}

fn say_times(what: &str, times: &[Duration]) {
    let [median, p90, p99, longest] = [50, 90, 99, 100].map(|percent| percentile(times, percent));
    say(what, &format!("p50 {median:.1?}, p90 {p90:.1?}, p99 {p99:.1?}, longest {longest:.1?}"));
}

/// Nothing of any attachment: no object, no veth.
fn assert_nothing_left(cluster: &Cluster) {
    assert_eq!(cluster.get("attachments"), Vec::<Value>::new());
    for node in &cluster.nodes {
        let veths = node.netns.ip("-brief link show type veth");
        let ours: Vec<_> = veths.lines().filter(|line| line.starts_with("l2sm")).collect();
        assert_eq!(ours, Vec::<&str>::new());
    }
}

/// Median time in which the kernel attaches a program by tcx: it waits for everybody who may still run
/// what was there before (`synchronize_rcu` in `tcx_entry_sync`), while holding the lock of all links.
fn kernel_attaches() -> Duration {
    let netns = Netns::new("attach").without_ipv6();
    netns.run(|| {
        let mut object = Object::load();
        let times = (0..20).map(|number| {
            let device = format!("d{number}");
            netns.ip(&format!("link add {device} type bridge"));
            let started = Instant::now();
            object.attach(abi::PORT_RX, &device);
            started.elapsed()
        });
        percentile(&times.collect::<Vec<_>>(), 50)
    })
}

/// The other pod is on the other node, which has to hear of the new one first.
#[test]
fn a_pod_has_its_interface_and_its_first_answer_within_milliseconds() {
    let kernel = kernel_attaches();
    let cluster = cluster();
    let peer = cluster.pod(1, "blue", &[]);
    let to: std::net::Ipv4Addr = peer.address().parse().expect("IPv4");
    let (plugin, pods) = (Plugin::new(&cluster.nodes[0]), pods(PODS));

    say_load();
    let times = pods.iter().enumerate().map(|(number, pod)| {
        let (_address, took) = plugin.add(&format!("c{number}"), pod);
        (took, first_ping(pod, to.octets()))
    });
    let (adds, pings): (Vec<_>, Vec<_>) = times.unzip();

    say("a tcx link, which a port gets later", &format!("p50 {kernel:.1?}"));
    say_times("CNI ADD", &adds);
    say_times("first ping to the other node", &pings);
    bar("CNI ADD, p50", percentile(&adds, 50) <= ADD_MEDIAN);
    bar("CNI ADD, p99", percentile(&adds, 99) <= ADD_P99);
    bar("first ping, p50", percentile(&pings, 50) <= PING_MEDIAN);
}

#[test]
fn a_hundred_adds_at_once_succeed_and_leave_nothing_behind() {
    let cluster = cluster();
    let (plugin, pods) = (Plugin::new(&cluster.nodes[0]), pods(PODS));
    let names: Vec<String> = (0..PODS).map(|number| format!("c{number}")).collect();

    say_load();
    let start = Barrier::new(PODS + 1);
    let at_once = |work: &(dyn Fn(&str, &Netns) -> (String, Duration) + Sync)| {
        thread::scope(|scope| {
            let runs = names.iter().zip(&pods).map(|(name, pod)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    work(name, pod)
                })
            });
            let runs: Vec<_> = runs.collect();
            start.wait();
            let begin = Instant::now();
            let all: Vec<_> = runs.into_iter().map(|run| run.join().expect("succeeds")).collect();
            (all, begin.elapsed())
        })
    };
    let (added, took) = at_once(&|name, pod| plugin.add(name, pod));
    say("100 ADDs at once", &format!("{took:.1?}"));
    say_times("each of them", &added.iter().map(|(_, took)| *took).collect::<Vec<_>>());
    let addresses: BTreeSet<&str> = added.iter().map(|(address, _)| address.as_str()).collect();
    assert_eq!(addresses.len(), PODS, "each has its own");
    for neighbor in [1, 50, 99] {
        assert_eq!(pods[0].ping(&added[neighbor].0, 3), 3);
    }

    let (_, took) = at_once(&|name, pod| {
        let started = Instant::now();
        (plugin.run("DEL", name, &pod.path()), started.elapsed())
    });
    say("100 DELs at once", &format!("{took:.1?}"));
    assert_nothing_left(&cluster);
}
