//! Head-end replication: exact counts, whatever the length of the list.

use std::collections::BTreeMap;

use l2sm_common::{mac::Mac, reason::DropReason};
use l2sm_tests::{
    frames,
    netns::{Netns, node_on_a_wire},
    node::{Node, UDP_PORT},
    probe::Probe,
};

const VNI: u32 = 100;
const MTU: u32 = 1450;

/// A node with one pod, whose underlay ends at a namespace that only listens.
fn node() -> (Node, Netns) {
    let (netns, wire) = node_on_a_wire(MTU + 50);
    let mut node = Node::new(netns, "192.0.2.1");
    node.segment(VNI, MTU);
    (node, wire)
}

fn destinations(probe: &Probe, count: usize) -> BTreeMap<[u8; 4], u32> {
    let ours = |bytes: &[u8]| bytes.len() > 50 && bytes[36..38] == UDP_PORT.to_be_bytes();
    let mut copies = BTreeMap::new();
    for frame in probe.receive_exactly(count, ours) {
        let destination: [u8; 4] = frame[30..34].try_into().unwrap();
        *copies.entry(destination).or_insert(0) += 1;
    }
    copies
}

#[test]
fn two_hundred_vteps_and_forty_ports_get_one_copy_each() {
    let (mut node, wire) = node();
    let pod = node.pod(VNI, 0, &["10.0.0.1/16"], MTU);
    let near: Vec<_> = (1..=40).map(|host| node.pod(VNI, host, &[], MTU)).collect();
    let next_hop = wire.mac("ul0");
    for number in 0..200 {
        let name = format!("far{number}");
        node.vtep(&name, &format!("192.0.3.{number}"), Some(next_hop));
        node.member(VNI, &name);
    }
    node.program();
    let listener = Probe::open(&wire, "ul0");
    let sender = Probe::open(&pod.netns, "net1");
    let frame = frames::ethernet(Mac::BROADCAST, pod.mac, 0x88b5, b"once to each of many");

    sender.send(&frame);

    let copies = destinations(&listener, 200);
    assert_eq!(copies.len(), 200);
    assert!(copies.values().all(|count| *count == 1), "{copies:?}");
    let traffic = node.traffic(VNI);
    assert_eq!((traffic.to_port.packets, traffic.to_vtep.packets), (near.len() as u64, 200));
    assert_eq!(traffic.slow_sent.packets, 0);
    assert_eq!(node.drops(), []);
}

#[test]
fn vteps_without_a_path_get_their_copies_by_the_slow_path() {
    let (mut node, wire) = node();
    let pod = node.pod(VNI, 0, &["10.0.0.1/16"], MTU);
    let next_hop = wire.mac("ul0");
    for number in 0..20 {
        let (name, address) = (format!("far{number}"), format!("192.0.3.{number}"));
        let resolved = number % 2 == 0;
        node.vtep(&name, &address, resolved.then_some(next_hop));
        node.member(VNI, &name);
        // The kernel's own path to it.
        node.netns.ip(&format!("neighbour add {address} lladdr {next_hop} dev ul0"));
    }
    node.program();
    let listener = Probe::open(&wire, "ul0");
    let sender = Probe::open(&pod.netns, "net1");

    sender.send(&frames::arp_request(pod.mac, [10, 0, 0, 1], [10, 0, 9, 9]));

    let copies = destinations(&listener, 20);
    assert_eq!(copies.len(), 20);
    assert!(copies.values().all(|count| *count == 1), "{copies:?}");
    let traffic = node.traffic(VNI);
    assert_eq!((traffic.to_vtep.packets, traffic.slow_sent.packets), (20, 10));
    assert_eq!(node.drops(), []);
}

#[test]
fn unknown_unicast_is_dropped_and_counted() {
    let (mut node, wire) = node();
    let pod = node.pod(VNI, 0, &["10.0.0.1/16"], MTU);
    node.vtep("far", "192.0.3.1", Some(wire.mac("ul0")));
    node.member(VNI, "far");
    node.program();
    let listener = Probe::open(&wire, "ul0");
    let sender = Probe::open(&pod.netns, "net1");
    let nobody = Mac([2, 9, 9, 9, 9, 9]);

    sender.send(&frames::ethernet(nobody, pod.mac, 0x0800, &[0; 46]));

    assert_eq!(destinations(&listener, 0), BTreeMap::new());
    assert_eq!(node.dropped(Some(VNI), DropReason::UnknownUnicast), 1);
    assert_eq!(node.drops().len(), 1, "and for nothing else");
}
