//! A node as large as it may become, and an idle one.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use l2sm_common::{ids::Group, mac::Mac, vni::Vni};
use l2sm_core::{
    instructions::{Delta, Host, Instructions, Member, Place, Port, Removed, Segment, Vtep},
    model::ObjectKey,
};
use l2sm_tests::{
    cluster::Cluster,
    netns::{Netns, pod_netns},
};

use crate::{
    controller::Controller,
    figures::{bar, mib, percentile, resident, say, say_load},
};

const VTEPS: u32 = 1_000;
/// Ports, in as many namespaces as divide them by ten.
const PORTS: u32 = 1_000;
const PODS: u32 = PORTS / 10;
/// Ports of the segment that every VTEP is in: its flood list has 1,024 targets.
const PORTS_OF_LARGEST: u32 = 24;
const FDB: u32 = 100_000;
/// Segments beside the largest; 16 of the VTEPs are in each.
const SEGMENTS: u32 = 61;
const VTEPS_OF_OTHERS: u32 = 16;
/// Times that a small change is measured.
const CHANGES: u32 = 9;

const IDLE_MEMORY: u64 = 25 << 20;
const START: Duration = Duration::from_secs(2);

fn vni(segment: u32) -> Vni {
    Vni::new(1_000_000 + segment).unwrap()
}

fn vtep(number: u32) -> String {
    format!("node-{}", number % VTEPS)
}

fn member() -> Member {
    Member { group: Group::MESH, unknown: false, external: false, learn: false }
}

/// Segments, VTEPs and members, without a station.
fn fabric() -> Instructions {
    let mut told = Instructions::default();
    for number in 0..VTEPS {
        let address = IpAddr::from(Ipv4Addr::from_bits(0xc612_0000 + number));
        let of = Vtep { addresses: vec![address], udp_checksum: false };
        told.vteps.insert(vtep(number), of);
        told.members.insert((vni(0), vtep(number)), member());
    }
    for segment in 0..=SEGMENTS {
        let network = ObjectKey::new("default", format!("net{segment}"));
        let of = Segment { network, mtu: 1450, flood: true, learning: false };
        told.segments.insert(vni(segment), of);
        for number in 0..VTEPS_OF_OTHERS {
            told.members.insert((vni(segment), vtep(segment * VTEPS_OF_OTHERS + number)), member());
        }
    }
    told
}

/// The segment of a port.
fn segment_of(port: u32) -> u32 {
    port.checked_sub(PORTS_OF_LARGEST).map_or(0, |other| 1 + other % SEGMENTS)
}

/// Puts a port into a pod, and its station into the segment.
fn plug(told: &mut Instructions, pods: &[Netns], number: u32) {
    let pod = &pods[(number % PODS) as usize];
    let [a, b, c, d] = number.to_be_bytes();
    let (mac, address) = (Mac([2, 1, a, b, c, d]), Ipv4Addr::new(172, 16 + b, c, d));
    let key = ObjectKey::new("default", format!("pod{}-net{}", number % PODS, number / PODS));
    let port = Port {
        vni: vni(segment_of(number)),
        ifname: format!("net{}", number / PODS),
        netns: Some(pod.path()),
        netns_inode: std::fs::metadata(pod.path()).expect("the namespace exists").ino(),
        pod: Some(format!("pod{}", number % PODS)),
        pod_uid: None,
        mac,
        addresses: vec![format!("{address}/12").parse().expect("an address")],
        mtu: 1450,
        mac_check: true,
        forwarder: false,
    };
    let place = Place::Port(key.clone());
    let host = Host { ips: vec![address.into()], place, router: None };
    told.hosts.insert((port.vni, mac), host);
    told.ports.insert(key, port);
}

/// Puts a station behind one of its segment's VTEPs.
fn station(told: &mut Instructions, number: u32, moved: u32) {
    let segment = number % (SEGMENTS + 1);
    let nth = number / (SEGMENTS + 1) + moved;
    let of = match segment {
        0 => vtep(nth),
        _ => vtep(segment * VTEPS_OF_OTHERS + nth % VTEPS_OF_OTHERS),
    };
    let [a, b, c, d] = number.to_be_bytes();
    let ips = vec![Ipv4Addr::new(10, b, c, d).into()];
    let host = Host { ips, place: Place::Vtep(of), router: None };
    told.hosts.insert((vni(segment), Mac([2, 2, a, b, c, d])), host);
}

/// A node whose agent follows `Controller`, and is told nothing yet.
fn cluster() -> (Cluster, Controller) {
    let mut cluster = Cluster::of_release(1);
    let controller = Controller::serve(cluster.underlay(), "192.0.2.254:30809");
    let node = &mut cluster.nodes[0];
    node.netns.ip("route add 198.18.0.0/15 via 192.0.2.254");
    node.kill_agent();
    node.controllers = vec!["http://192.0.2.254:30809".to_owned()];
    node.flags.push("--adopt-controller".to_owned());
    node.start_agent();
    controller.until_current();
    (cluster, controller)
}

fn memory(cluster: &Cluster) -> u64 {
    resident(cluster.nodes[0].agent_pid().expect("it runs"))
}

/// A change that only adds.
fn put(fill: impl FnOnce(&mut Instructions)) -> Delta {
    let mut delta = Delta::default();
    fill(&mut delta.put);
    delta
}

fn median(change: impl FnMut(u32) -> Duration) -> Duration {
    percentile(&(0..CHANGES).map(change).collect::<Vec<_>>(), 50)
}

#[test]
fn an_idle_agent_is_small() {
    let cluster = Cluster::of_release(2);
    cluster.network("blue", "10.9.0.0/24");
    let (pod, peer) = (cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[]));
    cluster.until_ready("blue");
    assert_eq!(pod.netns.ping(peer.address(), 3), 3);
    for node in &cluster.nodes {
        let resident = resident(node.agent_pid().expect("it runs"));
        say("resident memory of an idle agent", &mib(resident));
        assert!(resident <= IDLE_MEMORY, "bar missed: memory of an idle agent: {}", mib(resident));
    }
}

#[test]
fn a_large_node_is_changed_and_started_again_quickly() {
    let (mut cluster, controller) = cluster();
    let pods: Vec<Netns> = (0..PODS).map(|_number| pod_netns("large", &[])).collect();
    let empty = memory(&cluster);
    say_load();

    let took = controller.tell(put(|told| *told = fabric()));
    say("1,000 VTEPs, one flood list of them all", &format!("{took:.1?}"));
    let took = controller.tell(put(|told| (1..PORTS).for_each(|port| plug(told, &pods, port))));
    say("999 ports made", &format!("{took:.1?}, {:.1?} each", took / (PORTS - 1)));
    let with_ports = memory(&cluster);
    let took = controller.tell(put(|told| (PORTS..FDB).for_each(|host| station(told, host, 0))));
    say("99,000 stations programmed", &format!("{took:.1?}"));

    let port = put(|told| plug(told, &pods, 0));
    let attach = median(|_round| {
        let took = controller.tell(port.clone());
        let (hosts, ports) = (&port.put.hosts, &port.put.ports);
        let (hosts, ports) = (hosts.keys().collect(), ports.keys().cloned().collect());
        let remove = Removed { hosts, ports, ..Removed::default() };
        controller.tell(Delta { remove, ..Delta::default() });
        took
    });
    say("one more port", &format!("{attach:.1?}"));
    controller.tell(port);
    let change = median(|round| controller.tell(put(|told| station(told, PORTS, 1 + round))));
    say("a station moves", &format!("{change:.1?}"));
    let full = memory(&cluster);
    say("resident memory", &format!("{} empty, {} full", mib(empty), mib(full)));
    let each = (full - with_ports) / u64::from(FDB - PORTS);
    say("of that, one FDB entry with its NEIGH entry", &format!("{each} bytes"));

    cluster.nodes[0].kill_agent();
    controller.expect_again();
    let started = Instant::now();
    cluster.nodes[0].start_agent();
    controller.until_current();
    let start = started.elapsed();
    say("start with 100,000 FDB entries pinned", &format!("{start:.2?}"));
    say("resident memory after it", &mib(memory(&cluster)));
    bar("start with 100,000 FDB entries pinned", start < START);
    assert_eq!(cluster.nodes[0].status()["drops"], serde_json::json!([]));
}
