//! Truncated and malformed tunnel packets from the underlay: dropped, each under its reason, and the
//! kernel has nothing to say (`cargo xtask test` compares its log afterwards).

use std::time::Duration;

use l2sm_common::{mac::Mac, reason::DropReason};
use l2sm_tests::{
    frames,
    netns::{Netns, node_on_a_wire},
    node::{Node, Pod, UDP_PORT},
    probe::Probe,
    wait,
};

const VNI: u32 = 100;
const MTU: u32 = 1450;
const VTEP: [u8; 4] = [192, 0, 2, 2];
const OURS: [u8; 4] = [192, 0, 2, 1];

struct Lab {
    node: Node,
    pod: Pod,
    wire: Netns,
}

fn lab() -> Lab {
    let (netns, wire) = node_on_a_wire(MTU + 50);
    let mut node = Node::new(netns, "192.0.2.1");
    node.segment(VNI, MTU);
    let pod = node.pod(VNI, 1, &["10.0.0.1/24"], MTU);
    node.vtep("far", "192.0.2.2", Some(wire.mac("ul0")));
    node.member(VNI, "far");
    node.program();
    Lab { node, pod, wire }
}

impl Lab {
    /// A tunnel packet to us: VXLAN flags, VNI, source, inner frame.
    fn tunnel(&self, flags: u8, vni: u32, source: [u8; 4], inner: &[u8]) -> Vec<u8> {
        let udp = frames::udp(50_000, UDP_PORT, &frames::vxlan(flags, vni, inner));
        let packet = frames::ipv4(source, OURS, 17, 0, &udp);
        frames::ethernet(self.node.netns.mac("ul0"), self.wire.mac("ul0"), 0x0800, &packet)
    }

    fn inner(&self) -> Vec<u8> {
        frames::ethernet(self.pod.mac, Mac([2, 0, 0, 0, 0, 2]), 0x88b5, &[0x5a; 60])
    }
}

#[test]
fn each_malformed_packet_is_dropped_under_its_reason() {
    let mut lab = lab();
    let inner = lab.inner();
    let from_group = frames::ethernet(lab.pod.mac, Mac([1, 0, 0, 0, 0, 1]), 0x88b5, &[0; 60]);
    let whole = lab.tunnel(8, VNI, VTEP, &inner);
    let cases = [
        (whole[..49].to_vec(), None, DropReason::Truncated),
        (whole[..60].to_vec(), None, DropReason::Truncated),
        (lab.tunnel(8, VNI, VTEP, &inner[..10]), Some(VNI), DropReason::Truncated),
        (lab.tunnel(0, VNI, VTEP, &inner), None, DropReason::InvalidVxlan),
        (lab.tunnel(0x88, VNI, VTEP, &inner), None, DropReason::ReservedBits),
        (lab.tunnel(8, 0, VTEP, &inner), None, DropReason::UnknownVni),
        (lab.tunnel(8, 999, VTEP, &inner), None, DropReason::UnknownVni),
        (lab.tunnel(8, VNI, [192, 0, 2, 99], &inner), None, DropReason::UnknownVtep),
        (lab.tunnel(8, VNI, VTEP, &from_group), Some(VNI), DropReason::InvalidSourceMac),
    ];
    let sender = Probe::open(&lab.wire, "ul0");
    let pod = Probe::open(&lab.pod.netns, "net1");

    for (frame, vni, reason) in &cases {
        let before = lab.node.dropped(*vni, *reason);
        sender.send(frame);
        let what = format!("{reason:?} of {} bytes", frame.len());
        wait::until_equal(&what, &(before + 1), || lab.node.dropped(*vni, *reason));
    }

    let total: u64 = lab.node.drops().iter().map(|(_, _, count)| count).sum();
    assert_eq!(total, cases.len() as u64, "{:?}", lab.node.drops());
    let seen = pod.receive(1, Duration::from_millis(200), |bytes| bytes[12..14] == [0x88, 0xb5]);
    assert_eq!(seen.len(), 0, "nothing malformed reaches the pod");
    sender.send(&whole);
    let seen = pod.receive(1, wait::PATIENCE, |bytes| bytes == &inner[..]);
    assert_eq!(seen.len(), 1, "and what is whole does");
}

#[test]
fn packets_cut_at_every_length_do_no_harm() {
    let lab = lab();
    let inner = frames::ethernet(
        lab.pod.mac,
        Mac([2, 0, 0, 0, 0, 2]),
        0x0800,
        &frames::ipv4([10, 0, 0, 2], [10, 0, 0, 1], 6, 0, &[0xff; 60]),
    );
    let whole = lab.tunnel(8, VNI, VTEP, &inner);
    let sender = Probe::open(&lab.wire, "ul0");
    let pod = Probe::open(&lab.pod.netns, "net1");
    for length in 15..whole.len() {
        sender.send(&whole[..length]);
    }
    sender.send(&whole);
    let seen = pod.receive(1, wait::PATIENCE, |bytes| bytes == &inner[..]);
    assert_eq!(seen.len(), 1, "the whole one arrives as it was");
}

#[test]
fn a_pods_own_malformed_frames_stay_with_it() {
    let mut lab = lab();
    let near = lab.node.pod(VNI, 2, &["10.0.0.2/24"], MTU);
    lab.node.program();
    let sender = Probe::open(&lab.pod.netns, "net1");
    let cases = [
        (near.mac, Mac([2, 7, 7, 7, 7, 7]), DropReason::SpoofedMac),
        (near.mac, Mac([0; 6]), DropReason::InvalidSourceMac),
        (near.mac, Mac::BROADCAST, DropReason::InvalidSourceMac),
        (Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]), lab.pod.mac, DropReason::LinkLocal),
        (lab.pod.mac, lab.pod.mac, DropReason::Hairpin),
    ];
    let listener = Probe::open(&near.netns, "net1");
    for (to, from, reason) in cases {
        let before = lab.node.dropped(Some(VNI), reason);
        sender.send(&frames::ethernet(to, from, 0x88b5, &[0; 46]));
        wait::until_equal(reason.label(), &(before + 1), || lab.node.dropped(Some(VNI), reason));
    }
    let seen =
        listener.receive(1, Duration::from_millis(200), |bytes| bytes[12..14] == [0x88, 0xb5]);
    assert_eq!(seen.len(), 0);
}

#[test]
fn bytes_behind_the_end_of_a_tunnel_packet_do_not_reach_the_pod() {
    let lab = lab();
    let inner = lab.inner();
    let whole = lab.tunnel(8, VNI, VTEP, &inner);
    let behind_ip = [&whole[..], b"behind it"].concat();
    let packet =
        [&frames::udp(50_000, UDP_PORT, &frames::vxlan(8, VNI, &inner))[..], b"more"].concat();
    let packet = frames::ipv4(VTEP, OURS, 17, 0, &packet);
    let behind_udp =
        frames::ethernet(lab.node.netns.mac("ul0"), lab.wire.mac("ul0"), 0x0800, &packet);
    let sender = Probe::open(&lab.wire, "ul0");
    let pod = Probe::open(&lab.pod.netns, "net1");
    for sent in [behind_ip, behind_udp, whole] {
        sender.send(&sent);
        let is_inner = |bytes: &[u8]| bytes.starts_with(&inner[..14]);
        let seen = pod.receive(1, Duration::from_secs(5), is_inner);
        assert_eq!(seen, std::slice::from_ref(&inner), "of {} bytes", sent.len());
    }
}
