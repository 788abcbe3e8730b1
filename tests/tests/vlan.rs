//! VLAN tags of pods stay inside: no frame leaves an uplink, which has no tag of its own, with an outer
//! one. The kernel takes the first tag out of a frame that it receives and keeps it beside the bytes; a
//! second one stays in the frame.

use l2sm_common::mac::Mac;
use l2sm_tests::{
    frames,
    netns::{Netns, node_on_a_wire},
    node::{Node, Pod, UDP_PORT},
    probe::Probe,
};

const VNI: u32 = 7;
const MTU: u32 = 1450;
const POD: Mac = Mac([2, 0, 0, 0, 0, 1]);
const FAR: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// The next hop's, where nobody answers.
const HOP: Mac = Mac([2, 0, 0, 0, 9, 9]);
/// Ethernet, IPv4, UDP and VXLAN headers, bytes.
const OVERHEAD: usize = 50;
/// Frames of each kind.
const COUNT: usize = 20;

/// A node whose `ul0` leads to a VTEP, with one pod.
fn lab(netns: Netns) -> (Node, Pod) {
    netns.ip(&format!("neighbour add 192.0.2.2 lladdr {HOP} dev ul0 nud permanent"));
    let mut node = Node::new(netns, "192.0.2.1");
    node.segment(VNI, MTU);
    let pod = node.pod_with_mac(VNI, 1, POD, MTU);
    node.vtep("far", "192.0.2.2", Some(HOP));
    node.member(VNI, "far");
    node.host(VNI, "far", FAR, &[]);
    node.program();
    (node, pod)
}

/// A frame with every kind of tag.
fn tagged(to: Mac) -> Vec<Vec<u8>> {
    let end = [&[0x88, 0xb5][..], b"tagged, to be seen inside only, and long enough"].concat();
    let tag = |tci: u16, rest: &[u8]| [&tci.to_be_bytes()[..], rest].concat();
    let inner = [&0x8100_u16.to_be_bytes()[..], &tag(100, &end)].concat();
    vec![
        frames::ethernet(to, POD, 0x8100, &tag(100, &end)),
        frames::ethernet(to, POD, 0x8100, &tag(0xe000, &end)),
        frames::ethernet(to, POD, 0x8100, &tag(0xf064, &end)),
        frames::ethernet(to, POD, 0x88a8, &tag(5, &inner)),
        frames::ethernet(to, POD, 0x8100, &tag(5, &inner)),
    ]
}

/// Sends every kind `COUNT` times; what was sent.
fn send_all(pod: &Pod) -> Vec<Vec<u8>> {
    let kinds: Vec<_> = [FAR, Mac::BROADCAST].into_iter().flat_map(tagged).collect();
    let sent: Vec<_> = kinds.iter().cycle().take(kinds.len() * COUNT).cloned().collect();
    Probe::open(&pod.netns, "net1").send_all(&sent);
    sent
}

/// Checks what came: all frames, each inside a packet of ours without a tag.
fn check(wire: &Probe, sent: &[Vec<u8>]) {
    let ours = |frame: &[u8]| frame[..6] == HOP.0;
    let mut came = wire.receive_exactly(sent.len(), ours);
    for frame in &mut came {
        assert_eq!(frame[12..14], [0x08, 0x00], "no outer tag: {frame:02x?}");
        assert_eq!(frame[36..38], UDP_PORT.to_be_bytes(), "{frame:02x?}");
        drop(frame.drain(..OVERHEAD));
    }
    came.sort();
    let mut expected = sent.to_vec();
    expected.sort();
    assert_eq!(came.len(), expected.len());
    assert!(came == expected, "every tag is inside, as it was");
}

/// Every frame went to the VTEP, by the slow path, and nothing else moved.
fn check_counters(node: &mut Node, sent: usize) {
    let sent = u64::try_from(sent).expect("fits");
    let traffic = node.traffic(VNI);
    let moved = [traffic.from_port, traffic.to_vtep, traffic.slow_sent];
    assert_eq!(moved.map(|tally| tally.packets), [sent; 3], "{traffic:?}");
    let still = [traffic.to_port, traffic.from_vtep, traffic.slow_received, traffic.answered];
    assert_eq!(still.map(|tally| tally.packets), [0; 4], "{traffic:?}");
    assert_eq!(node.drops(), []);
}

#[test]
fn no_frame_leaves_an_uplink_with_a_tag_of_a_pod() {
    let (netns, wire) = node_on_a_wire(1600);
    let listener = Probe::open(&wire, "ul0");
    let (mut node, pod) = lab(netns);
    let sent = send_all(&pod);
    check(&listener, &sent);
    check_counters(&mut node, sent.len());
}
