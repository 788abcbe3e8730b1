//! ARP and IPv6 neighbour discovery: what is answered on the asker's node, what goes to the owner
//! alone, what is for everybody.

use std::time::Duration;

use l2sm_common::{mac::Mac, vni::Vni};
use l2sm_tests::{
    frames,
    netns::{Netns, node_on_a_wire},
    node::{Node, Pod, UDP_PORT},
    probe::Probe,
};

const VNI: u32 = 100;
const MTU: u32 = 1450;
/// In which all that has been judged is where it goes.
const MOMENT: Duration = Duration::from_millis(150);
const FAR: Mac = Mac([2, 0, 0, 0, 0, 0x66]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0x77]);

/// The asker, a neighbour on the same node, and a remote VTEP of which only the wire is seen.
struct Lab {
    node: Node,
    asker: Pod,
    near: Pod,
    wire: Netns,
}

/// What became of one frame of the asker's.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    /// First bytes of the answer.
    answer: Option<Vec<u8>>,
    /// The neighbour got it.
    near: bool,
    /// It left for the VTEP.
    tunnel: bool,
}

fn ip6(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn lab() -> Lab {
    let (netns, wire) = node_on_a_wire(MTU + 50);
    let mut node = Node::new(netns, "192.0.2.1");
    node.segment(VNI, MTU);
    let asker = node.pod(VNI, 1, &["10.0.0.1/24"], MTU);
    let near = node.pod(VNI, 2, &["10.0.0.2/24"], MTU);
    node.vtep("far", "192.0.2.2", Some(wire.mac("ul0")));
    node.member(VNI, "far");
    node.host(VNI, "far", FAR, &["10.0.0.6", "fd00::6"]);
    node.host(VNI, "far", ROUTER, &["10.0.0.7", "fd00::7"]);
    let vni = Vni::new(VNI).unwrap();
    for (mac, more, router) in
        [(asker.mac, "fd00::1", None), (near.mac, "fd00::2", None), (ROUTER, "fe80::7", Some(true))]
    {
        let host = node.instructions.hosts.get_mut(&(vni, mac)).unwrap();
        host.ips.push(more.parse().unwrap());
        host.router = router;
    }
    node.program();
    Lab { node, asker, near, wire }
}

impl Lab {
    fn fate(&self, frame: &[u8]) -> Fate {
        let asker = Probe::open(&self.asker.netns, "net1");
        let near = Probe::open(&self.near.netns, "net1");
        let wire = Probe::open(&self.wire, "ul0");
        let (kind, source) = (frame[12..14].to_vec(), self.asker.mac.0);
        // Behind it one for everybody: where that is, the one before it is, if it comes at all.
        let last = frames::ethernet(Mac::BROADCAST, self.asker.mac, 0x88b6, b"the last of them");
        asker.send(frame);
        asker.send(&last);
        let carries = |bytes: &[u8], inner: &[u8]| {
            bytes.get(50..) == Some(inner) && bytes[36..38] == UDP_PORT.to_be_bytes()
        };
        let answer = |bytes: &[u8]| bytes[12..14] == kind[..] && bytes[6..12] != source;
        let mut near_saw = near.receive_until(|bytes| bytes == last);
        let mut wire_saw = wire.receive_until(|bytes| carries(bytes, &last));
        let answer = asker.receive(1, MOMENT, answer).pop();
        near_saw.extend(near.drain());
        wire_saw.extend(wire.drain());
        Fate {
            answer,
            near: near_saw.iter().any(|bytes| bytes == frame),
            tunnel: wire_saw.iter().any(|bytes| carries(bytes, frame)),
        }
    }

    fn arp(&self, sender: [u8; 4], target: [u8; 4]) -> Fate {
        self.fate(&frames::arp_request(self.asker.mac, sender, target))
    }

    fn solicit(&self, source: [u8; 16], target: [u8; 16]) -> Fate {
        self.fate(&frames::solicitation(self.asker.mac, source, target))
    }
}

const TO_EVERYBODY: Fate = Fate { answer: None, near: true, tunnel: true };

#[test]
fn arp_for_another_port_is_answered_where_it_is_asked() {
    let mut lab = lab();
    for (target, owner) in [([10, 0, 0, 2], lab.near.mac), ([10, 0, 0, 6], FAR)] {
        for sender in [[10, 0, 0, 1], [0; 4]] {
            let fate = lab.arp(sender, target);
            let reply = fate.answer.expect("an answer");
            assert_eq!(reply[..12], [lab.asker.mac.0, owner.0].concat());
            assert_eq!(reply[20..32], [&[0, 2][..], &owner.0, &target].concat());
            assert!(!fate.near && !fate.tunnel, "nobody else was asked");
        }
    }
    assert_eq!(lab.node.traffic(VNI).answered.packets, 4);
}

#[test]
fn arp_that_is_for_everybody_reaches_everybody() {
    let lab = lab();
    assert_eq!(lab.arp([10, 0, 0, 1], [10, 0, 0, 1]), TO_EVERYBODY, "announcement");
    assert_eq!(lab.arp([0; 4], [10, 0, 0, 1]), TO_EVERYBODY, "probe for one's own address");
    assert_eq!(lab.arp([10, 0, 0, 1], [10, 0, 0, 99]), TO_EVERYBODY, "nobody is known to have it");
}

#[test]
fn a_unicast_arp_request_goes_to_whom_it_names() {
    let lab = lab();
    let mut frame = frames::arp_request(lab.asker.mac, [10, 0, 0, 1], [10, 0, 0, 6]);
    frame[..6].copy_from_slice(&FAR.0);
    assert_eq!(lab.fate(&frame), Fate { answer: None, near: false, tunnel: true });
}

#[test]
fn a_solicitation_is_answered_where_the_owners_role_is_known() {
    let mut lab = lab();
    let fate = lab.solicit(ip6(1), ip6(7));
    let answer = fate.answer.expect("an answer");
    assert_eq!(answer[..12], [lab.asker.mac.0, ROUTER.0].concat());
    assert_eq!(answer[54], 136);
    assert_eq!(answer[58], 0xe0, "router, solicited, override");
    assert_eq!(answer[80..86], ROUTER.0);
    assert!(!fate.near && !fate.tunnel);

    let probed = lab.solicit([0; 16], ip6(7)).answer.expect("an answer");
    assert_eq!(probed[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(probed[58], 0xa0, "router, override");
    assert_eq!(lab.node.traffic(VNI).answered.packets, 2);
}

#[test]
fn a_solicitation_goes_to_the_owner_alone_where_its_role_is_not_known() {
    let lab = lab();
    let to_far = Fate { answer: None, near: false, tunnel: true };
    assert_eq!(lab.solicit(ip6(1), ip6(6)), to_far);
    let to_near = Fate { answer: None, near: true, tunnel: false };
    assert_eq!(lab.solicit(ip6(1), ip6(2)), to_near);
}

#[test]
fn a_solicitation_that_is_for_everybody_reaches_everybody() {
    let lab = lab();
    assert_eq!(lab.solicit([0; 16], ip6(1)), TO_EVERYBODY, "the asker's own address");
    assert_eq!(lab.solicit(ip6(1), ip6(99)), TO_EVERYBODY, "nobody is known to have it");
    let mut routed = frames::solicitation(lab.asker.mac, ip6(1), ip6(7));
    routed[21] = 254;
    assert_eq!(lab.fate(&routed), TO_EVERYBODY, "a router touched it");
}
