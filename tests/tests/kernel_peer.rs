//! The other node is the kernel's own vxlan device and bridge: whatever passes between the two was
//! understood by a party that we did not write.

use l2sm_common::reason::DropReason;
use l2sm_tests::{
    kernel_node::{KernelNode, KernelPod},
    netns::{Netns, join},
    node::{Node, Pod, UDP_PORT},
    stream::transfer,
};

const VNI: u32 = 100;
const OTHER: u32 = 200;
/// Inner MTU over an underlay of 1500 bytes.
const MTU: u32 = 1450;

/// One node of ours, one of the kernel's, a pod on each in network 100.
struct Lab {
    ours: Node,
    kernel: KernelNode,
    pod: Pod,
    peer: KernelPod,
}

fn lab() -> Lab {
    lab_with(&["10.0.0.1/24", "fd00::1/64"], &["10.0.0.2/24", "fd00::2/64"])
}

/// Pods that send nothing by themselves, for exact counters.
fn quiet_lab() -> Lab {
    lab_with(&["10.0.0.1/24"], &["10.0.0.2/24"])
}

fn lab_with(addresses: &[&str], peer_addresses: &[&str]) -> Lab {
    let kernel = KernelNode::new();
    let netns = Netns::new("ours");
    join((&netns, "ul0"), (&kernel.netns, "ul0"), MTU + 50);
    netns.ip("address add 192.0.2.1/24 dev ul0");
    kernel.netns.ip("address add 192.0.2.2/24 dev ul0");
    let mut ours = Node::new(netns, "192.0.2.1");
    ours.segment(VNI, MTU);
    let pod = ours.pod(VNI, 1, addresses, MTU);
    kernel.segment(VNI, "192.0.2.2", "192.0.2.1", UDP_PORT);
    let peer = kernel.pod(VNI, 2, peer_addresses, MTU);
    ours.vtep("kernel", "192.0.2.2", Some(kernel.netns.mac("ul0")));
    ours.member(VNI, "kernel");
    ours.host(VNI, "kernel", peer.mac, &["10.0.0.2", "fd00::2"]);
    ours.program();
    Lab { ours, kernel, pod, peer }
}

#[test]
fn pings_pass_both_ways_over_both_families() {
    let mut lab = lab();
    assert_eq!(lab.pod.netns.ping("10.0.0.2", 20), 20);
    assert_eq!(lab.peer.netns.ping("10.0.0.1", 20), 20);
    assert_eq!(lab.pod.netns.ping("fd00::2", 20), 20);
    assert_eq!(lab.peer.netns.ping("fd00::1", 20), 20);
    let traffic = lab.ours.traffic(VNI);
    assert_eq!(traffic.slow_sent.packets, 0, "{traffic:?}");
    assert_eq!(traffic.answered.packets, 1, "the pod's one ARP request: {traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn a_gigabyte_of_tcp_arrives_whole_from_ours_to_the_kernel() {
    let mut lab = lab();
    let whole = transfer(&lab.pod.netns, &lab.peer.netns, "10.0.0.2", 1 << 30);
    println!("to the kernel: {:.1} Gbit/s", whole.gigabits());
    let traffic = lab.ours.traffic(VNI);
    assert!(traffic.to_vtep.bytes >= 1 << 30, "{traffic:?}");
    // Aggregated frames count as what they become: no more than the MTU each.
    assert!(traffic.to_vtep.packets >= (1 << 30) / u64::from(MTU), "{traffic:?}");
    assert_eq!(traffic.slow_sent.packets, 0, "{traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn a_gigabyte_of_tcp_arrives_whole_from_the_kernel_to_ours() {
    let mut lab = lab();
    let whole = transfer(&lab.peer.netns, &lab.pod.netns, "10.0.0.1", 1 << 30);
    println!("from the kernel: {:.1} Gbit/s", whole.gigabits());
    let traffic = lab.ours.traffic(VNI);
    assert!(traffic.from_vtep.bytes >= 1 << 30, "{traffic:?}");
    assert!(traffic.from_vtep.packets >= (1 << 30) / u64::from(MTU), "{traffic:?}");
    assert_eq!(traffic.slow_handed_up.packets, 0, "{traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn ipv6_tcp_arrives_whole_both_ways() {
    let mut lab = lab();
    transfer(&lab.pod.netns, &lab.peer.netns, "fd00::2", 1 << 28);
    transfer(&lab.peer.netns, &lab.pod.netns, "fd00::1", 1 << 28);
    assert_eq!(lab.ours.traffic(VNI).slow_sent.packets, 0);
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn a_second_network_with_the_same_addresses_sees_nothing() {
    let mut lab = lab();
    lab.ours.segment(OTHER, MTU);
    let stranger = lab.ours.pod(OTHER, 1, &["10.0.0.1/24"], MTU);
    lab.kernel.segment(OTHER, "192.0.2.2", "192.0.2.1", UDP_PORT);
    let far_stranger = lab.kernel.pod(OTHER, 9, &["10.0.0.9/24"], MTU);
    lab.ours.program();
    // The kernel node may not send into 200: it is no member there.
    assert_eq!(far_stranger.netns.ping("10.0.0.1", 5), 0);
    assert_eq!(stranger.netns.ping("10.0.0.9", 5), 0);
    assert_eq!(lab.pod.netns.ping("10.0.0.9", 5), 0);
    assert_eq!(lab.pod.netns.ping("10.0.0.2", 5), 5);
    let refused = lab.ours.dropped(Some(OTHER), DropReason::VtepNotInSegment);
    assert!(refused > 0, "{:?}", lab.ours.drops());
    assert_eq!(lab.ours.drops().len(), 1, "and for nothing else");
    assert_eq!(lab.ours.traffic(OTHER).to_port.packets, 0);
}

#[test]
fn a_broadcast_reaches_each_receiver_once() {
    let mut lab = quiet_lab();
    let near = lab.ours.pod(VNI, 3, &["10.0.0.3/24"], MTU);
    lab.ours.program();
    let frame = l2sm_tests::frames::ethernet(
        l2sm_common::mac::Mac::BROADCAST,
        lab.pod.mac,
        0x88b5,
        b"to everybody, and only once to each",
    );
    let sender = l2sm_tests::probe::Probe::open(&lab.pod.netns, "net1");
    let receivers =
        [&near.netns, &lab.peer.netns].map(|netns| l2sm_tests::probe::Probe::open(netns, "net1"));

    for _ in 0..10 {
        sender.send(&frame);
    }

    for receiver in receivers {
        receiver.receive_exactly(10, |bytes| bytes[..frame.len()] == frame[..]);
    }
    let traffic = lab.ours.traffic(VNI);
    assert_eq!(traffic.from_port.packets, 10, "{traffic:?}");
    assert_eq!(traffic.to_port.packets, 10, "{traffic:?}");
    assert_eq!(traffic.to_vtep.packets, 10, "{traffic:?}");
    assert_eq!(traffic.slow_sent.packets, 0, "{traffic:?}");
}

#[test]
fn a_broadcast_from_a_vtep_is_not_sent_back_to_vteps() {
    let mut lab = quiet_lab();
    let near = lab.ours.pod(VNI, 3, &["10.0.0.3/24"], MTU);
    lab.ours.program();
    let everybody = l2sm_common::mac::Mac::BROADCAST;
    let frame = l2sm_tests::frames::ethernet(everybody, lab.peer.mac, 0x88b5, b"from far away");
    let sender = l2sm_tests::probe::Probe::open(&lab.peer.netns, "net1");
    let receivers =
        [&lab.pod.netns, &near.netns].map(|netns| l2sm_tests::probe::Probe::open(netns, "net1"));

    for _ in 0..10 {
        sender.send(&frame);
    }

    for receiver in receivers {
        receiver.receive_exactly(10, |bytes| bytes[..frame.len()] == frame[..]);
    }
    let traffic = lab.ours.traffic(VNI);
    assert_eq!((traffic.from_vtep.packets, traffic.to_port.packets), (10, 20), "{traffic:?}");
    assert_eq!(traffic.to_vtep.packets, 0, "{traffic:?}");
}
