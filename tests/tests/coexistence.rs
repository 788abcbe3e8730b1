//! We share the node: what is not ours passes our uplink program, to programs behind it and to the
//! host, untouched.

use std::{net::UdpSocket, time::Duration};

use l2sm_common::mac::Mac;
use l2sm_tests::{
    counter::Counter,
    frames,
    netns::{Netns, join, node_on_a_wire},
    node::{Node, Pod, UDP_PORT},
    probe::Probe,
    stream::transfer,
    wait,
};

const VNI: u32 = 100;
const MTU: u32 = 1450;
/// Frames of each kind.
const COUNT: u32 = 20;

struct Lab {
    node: Node,
    pod: Pod,
    wire: Netns,
    /// Attached before our program, and after it.
    counters: [Counter; 2],
}

fn lab() -> Lab {
    let (netns, wire) = node_on_a_wire(MTU + 50);
    let first = Counter::attach(&netns, "ul0");
    let mut node = Node::new(netns, "192.0.2.1");
    node.segment(VNI, MTU);
    let pod = node.pod(VNI, 1, &["10.0.0.1/24"], MTU);
    node.vtep("far", "192.0.2.2", Some(wire.mac("ul0")));
    node.member(VNI, "far");
    node.program();
    let last = Counter::attach(&node.netns, "ul0");
    Lab { node, pod, wire, counters: [first, last] }
}

/// Frames that are not ours, by name.
fn foreign(node: Mac, wire: Mac) -> Vec<(&'static str, Vec<u8>)> {
    let tunnel = frames::udp(50_000, UDP_PORT, &frames::vxlan(8, VNI, &[0; 60]));
    let other_port = frames::udp(50_000, 4789, &frames::vxlan(8, VNI, &[0; 60]));
    let ours = frames::ipv4([192, 0, 2, 2], [192, 0, 2, 1], 17, 0, &tunnel);
    let v4 = |protocol: u8, payload: &[u8]| {
        let packet = frames::ipv4([192, 0, 2, 2], [192, 0, 2, 1], protocol, 0, payload);
        frames::ethernet(node, wire, 0x0800, &packet)
    };
    let elsewhere = frames::ipv4([192, 0, 2, 2], [192, 0, 2, 77], 17, 0, &tunnel);
    let v6 = frames::ipv6([0xfd; 16], [0xfc; 16], 17, 0, &tunnel);
    let tagged = [&[0, 7, 0x08, 0x00][..], &ours].concat();
    vec![
        ("ARP", frames::arp_request(wire, [192, 0, 2, 2], [192, 0, 2, 9])),
        ("ICMP", v4(1, &[0; 16])),
        ("TCP", v4(6, &[0; 20])),
        ("TCP to a port of our number", v4(6, &frames::udp(50_000, UDP_PORT, &[0; 40]))),
        ("VXLAN on another port", v4(17, &other_port)),
        ("our port, another address", frames::ethernet(node, wire, 0x0800, &elsewhere)),
        ("our port, IPv6", frames::ethernet(node, wire, 0x86dd, &v6)),
        ("ours, for another host", frames::ethernet(Mac([2, 0, 0, 0, 0, 9]), wire, 0x0800, &ours)),
        ("ours, in a VLAN", frames::ethernet(node, wire, 0x8100, &tagged)),
        ("LLDP", frames::ethernet(Mac([1, 0x80, 0xc2, 0, 0, 0x0e]), wire, 0x88cc, &[0; 46])),
        ("802.3", frames::ethernet(Mac([1, 0x80, 0xc2, 0, 0, 0]), wire, 38, &[0x42; 46])),
    ]
}

#[test]
fn programs_behind_ours_see_every_foreign_frame_and_none_of_ours() {
    let mut lab = lab();
    let sender = Probe::open(&lab.wire, "ul0");
    let listener = Probe::open(&lab.pod.netns, "net1");
    let seen = |lab: &Lab| lab.counters.each_ref().map(Counter::seen);
    let [node, wire] = [lab.node.netns.mac("ul0"), lab.wire.mac("ul0")];
    for (name, frame) in foreign(node, wire) {
        let expected = seen(&lab).map(|seen| seen + u64::from(COUNT));
        for _ in 0..COUNT {
            sender.send(&frame);
        }
        wait::until_equal(name, &expected, || seen(&lab));
    }
    let before = seen(&lab);
    let inner = frames::ethernet(lab.pod.mac, Mac([2, 0, 0, 0, 0, 2]), 0x88b5, &[0x5a; 60]);
    let tunnel = frames::udp(50_000, UDP_PORT, &frames::vxlan(8, VNI, &inner));
    let tunnel = frames::ipv4([192, 0, 2, 2], [192, 0, 2, 1], 17, 0, &tunnel);
    for _ in 0..COUNT {
        sender.send(&frames::ethernet(node, wire, 0x0800, &tunnel));
    }
    let count = usize::try_from(COUNT).unwrap();
    assert_eq!(listener.receive(count, wait::PATIENCE, |frame| frame == inner).len(), count);
    assert_eq!(seen(&lab), before);
    let traffic = lab.node.traffic(VNI);
    let moved = [traffic.from_vtep, traffic.to_port, traffic.slow_handed_up];
    assert_eq!(moved.map(|tally| tally.packets), [u64::from(COUNT), u64::from(COUNT), 0]);
    assert_eq!(lab.node.drops(), []);
}

#[test]
fn another_overlay_on_another_port_works_beside_ours() {
    let mut lab = lab();
    lab.wire.ip("address add 192.0.2.2/24 dev ul0");
    for (netns, [own, other]) in [(&lab.node.netns, ["1", "2"]), (&lab.wire, ["2", "1"])] {
        netns.ip(&format!(
            "link add vx0 type vxlan id {VNI} local 192.0.2.{own} remote 192.0.2.{other} dstport 4789"
        ));
        netns.ip(&format!("address add 172.31.0.{own}/24 dev vx0"));
        netns.ip("link set vx0 up");
    }
    assert_eq!(lab.wire.ping("172.31.0.1", 10), 10);
    transfer(&lab.wire, &lab.node.netns, "172.31.0.1", 64 << 20);
    transfer(&lab.node.netns, &lab.wire, "172.31.0.2", 64 << 20);
    assert!(lab.counters[1].seen() > 0);
    // The other overlay has the same VNI, and none of it is counted as ours.
    assert_eq!(lab.node.traffic(VNI), l2sm_common::maps::Traffic::default());
    assert_eq!(lab.node.drops(), []);
}

#[test]
fn our_port_at_another_address_passes_through_the_node() {
    let mut lab = lab();
    let behind = Netns::new("behind").without_ipv6();
    join((&lab.node.netns, "lan0"), (&behind, "eth0"), 1500);
    lab.node.netns.ip("address add 203.0.113.1/24 dev lan0");
    behind.ip("address add 203.0.113.5/24 dev eth0");
    behind.ip("route add default via 203.0.113.1");
    lab.wire.ip("address add 192.0.2.2/24 dev ul0");
    lab.wire.ip("route add default via 192.0.2.1");
    lab.node.netns.forward();
    let receiver = behind.run(|| UdpSocket::bind(("203.0.113.5", UDP_PORT)).unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let tunnel = frames::vxlan(8, VNI, &[0x5a; 60]);

    lab.wire.run(|| {
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        sender.send_to(&tunnel, ("203.0.113.5", UDP_PORT)).unwrap()
    });

    let mut datagram = [0; 200];
    let length = receiver.recv(&mut datagram).expect("it arrives");
    assert_eq!(datagram[..length], tunnel);
    assert_eq!(lab.node.traffic(VNI), l2sm_common::maps::Traffic::default());
    assert_eq!(lab.node.drops(), []);
}
