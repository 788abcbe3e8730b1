//! The other node is Open vSwitch in userspace, which shares no code with the kernel's vxlan device.

use l2sm_common::mac::Mac;
use l2sm_tests::{
    frames,
    netns::{Netns, join},
    node::{Node, Pod, UDP_PORT},
    ovs::{OvsNode, OvsPod, without_offloads},
    probe::Probe,
    stream::transfer,
};

const VNI: u32 = 100;
const MTU: u32 = 1450;
/// Bytes of each transfer.
const BULK: u64 = 64 << 20;

struct Lab {
    ours: Node,
    ovs: OvsNode,
    pod: Pod,
    near: Pod,
    peer: OvsPod,
}

fn lab() -> Lab {
    let netns = Netns::new("ours").without_ipv6();
    let other = Netns::new("ovs").without_ipv6();
    join((&netns, "ul0"), (&other, "ul0"), MTU + 50);
    netns.ip("address add 192.0.2.1/24 dev ul0");
    // The switch reads its end with a packet socket: what is sent there is as on a wire.
    without_offloads(&netns, "ul0");
    let next_hop = other.mac("ul0");
    let ovs = OvsNode::start(other, "192.0.2.2/24");
    ovs.segment(VNI, "192.0.2.1", UDP_PORT);
    let peer = ovs.pod(VNI, 2, &["10.0.0.2/24"], MTU);
    let mut ours = Node::new(netns, "192.0.2.1");
    ours.segment(VNI, MTU);
    let pod = ours.pod(VNI, 1, &["10.0.0.1/24"], MTU);
    let near = ours.pod(VNI, 3, &[], MTU);
    ours.vtep("ovs", "192.0.2.2", Some(next_hop));
    ours.member(VNI, "ovs");
    ours.host(VNI, "ovs", peer.mac, &["10.0.0.2"]);
    ours.program();
    Lab { ours, ovs, pod, near, peer }
}

#[test]
fn pings_and_bulk_tcp_pass_both_ways() {
    let mut lab = lab();
    assert_eq!(lab.pod.netns.ping("10.0.0.2", 20), 20);
    assert_eq!(lab.peer.netns.ping("10.0.0.1", 20), 20);
    let there = transfer(&lab.pod.netns, &lab.peer.netns, "10.0.0.2", BULK);
    let back = transfer(&lab.peer.netns, &lab.pod.netns, "10.0.0.1", BULK);
    println!("to OVS {:.2} Gbit/s, from it {:.2}", there.gigabits(), back.gigabits());
    let traffic = lab.ours.traffic(VNI);
    for tally in [traffic.to_vtep, traffic.from_vtep] {
        assert!(tally.bytes >= BULK && tally.packets >= BULK / u64::from(MTU), "{traffic:?}");
    }
    assert_eq!(traffic.slow_sent.packets, 0, "{traffic:?}");
    assert_eq!(traffic.slow_handed_up.packets, 0, "{traffic:?}");
    assert_eq!(traffic.answered.packets, 1, "the pod's one ARP request: {traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn a_broadcast_reaches_each_receiver_once_from_either_side() {
    let mut lab = lab();
    // A pod with an address would ask for others'; this one says only what is sent here.
    let far = lab.ovs.pod(VNI, 4, &[], MTU);
    let stations = [
        (&lab.pod.netns, lab.pod.mac),
        (&lab.near.netns, lab.near.mac),
        (&lab.peer.netns, lab.peer.mac),
        (&far.netns, far.mac),
    ];
    let probes = stations.map(|(netns, _)| Probe::open(netns, "net1"));
    for (sender, (_, mac)) in stations.into_iter().enumerate() {
        let frame = frames::ethernet(Mac::BROADCAST, mac, 0x88b5, b"to everybody, and only once");
        for _ in 0..10 {
            probes[sender].send(&frame);
        }
        for (receiver, probe) in probes.iter().enumerate() {
            let matches = |bytes: &[u8]| bytes.get(..frame.len()) == Some(&frame[..]);
            println!("from {sender} to {receiver}");
            probe.receive_exactly(if receiver == sender { 0 } else { 10 }, matches);
        }
    }
    let traffic = lab.ours.traffic(VNI);
    let moved = [traffic.from_port, traffic.to_port, traffic.to_vtep, traffic.from_vtep];
    assert_eq!(moved.map(|tally| tally.packets), [20, 60, 20, 20], "{traffic:?}");
    assert_eq!(traffic.slow_sent.packets, 0, "{traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}
