//! Tunnel packets that somebody else on the node sends: in the node's name outwards, and to the node
//! itself. Nothing is delivered, each under its own reason.

use std::time::Duration;

use l2sm_common::{mac::Mac, reason::DropReason};
use l2sm_tests::{
    frames,
    netns::{Netns, join, node_on_a_wire},
    node::{Node, Pod, UDP_PORT},
    probe::Probe,
    wait,
};

const VNI: u32 = 100;
const MTU: u32 = 1450;
const COUNT: usize = 50;
const NODE: [u8; 4] = [192, 0, 2, 1];
const FAR: [u8; 4] = [192, 0, 2, 2];

/// A node with a pod of ours, a pod of its main CNI, and a listener at the other end of the underlay.
struct Lab {
    node: Node,
    pod: Pod,
    rogue: Netns,
    wire: Netns,
}

fn lab() -> Lab {
    let (netns, wire) = node_on_a_wire(MTU + 50);
    wire.ip("address add 192.0.2.2/24 dev ul0");
    let rogue = Netns::new("rogue").without_ipv6();
    join((&netns, "cni0"), (&rogue, "eth0"), 1500);
    netns.ip("address add 10.244.0.1/24 dev cni0");
    // As a masquerading CNI leaves it: the pod's packets go out with the node's address. Here the pod
    // writes that address itself, which takes the same way past the program.
    for setting in
        ["ip_forward", "conf/cni0/accept_local", "conf/cni0/rp_filter=0", "conf/all/rp_filter=0"]
    {
        let (name, value) = setting.split_once('=').unwrap_or((setting, "1"));
        netns.run(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap());
    }
    let mut node = Node::new(netns, "192.0.2.1");
    node.segment(VNI, MTU);
    let pod = node.pod(VNI, 1, &["10.0.0.1/24"], MTU);
    node.vtep("far", "192.0.2.2", Some(wire.mac("ul0")));
    node.member(VNI, "far");
    node.program();
    Lab { node, pod, rogue, wire }
}

impl Lab {
    /// A tunnel packet that the rogue pod gives to its gateway.
    fn tunnel(&self, source: [u8; 4], destination: [u8; 4], port: u16) -> Vec<u8> {
        let inner = frames::ethernet(self.pod.mac, Mac([2, 0, 0, 0, 0, 9]), 0x88b5, &[0x66; 60]);
        let udp = frames::udp(50_000, port, &frames::vxlan(8, VNI, &inner));
        let packet = frames::ipv4(source, destination, 17, 0, &udp);
        let gateway = self.node.netns.mac("cni0");
        frames::ethernet(gateway, self.rogue.mac("eth0"), 0x0800, &packet)
    }
}

#[test]
fn a_pod_cannot_send_tunnel_packets_in_the_nodes_name() {
    let mut lab = lab();
    let sender = Probe::open(&lab.rogue, "eth0");
    let wire = Probe::open(&lab.wire, "ul0");
    let (forged, other) = (lab.tunnel(NODE, FAR, UDP_PORT), lab.tunnel(NODE, FAR, UDP_PORT + 1));

    for _ in 0..COUNT {
        sender.send(&forged);
        sender.send(&other);
    }

    let to =
        |port: u16| move |bytes: &[u8]| bytes.len() > 50 && bytes[36..38] == port.to_be_bytes();
    let passed = wire.receive(COUNT, wait::PATIENCE, to(UDP_PORT + 1));
    assert_eq!(passed.len(), COUNT, "what is no tunnel of ours passes");
    wait::until_equal("forged packets dropped", &(COUNT as u64), || {
        lab.node.dropped(None, DropReason::ForgedVtep)
    });
    let leaked = wire.receive(1, Duration::from_millis(200), to(UDP_PORT));
    assert_eq!(leaked.len(), 0);
}

#[test]
fn our_own_tunnel_packets_leave() {
    let mut lab = lab();
    let wire = Probe::open(&lab.wire, "ul0");
    let sender = Probe::open(&lab.pod.netns, "net1");
    for _ in 0..COUNT {
        sender.send(&frames::arp_request(lab.pod.mac, [10, 0, 0, 1], [10, 0, 0, 77]));
    }
    let ours = |bytes: &[u8]| bytes.len() > 50 && bytes[36..38] == UDP_PORT.to_be_bytes();
    assert_eq!(wire.receive(COUNT, wait::PATIENCE, ours).len(), COUNT);
    assert_eq!(lab.node.drops(), []);
}

#[test]
fn a_pod_cannot_send_tunnel_packets_to_its_own_node() {
    let mut lab = lab();
    let sender = Probe::open(&lab.rogue, "eth0");
    let pod = Probe::open(&lab.pod.netns, "net1");
    // As the far VTEP, which may send into the network.
    let forged = lab.tunnel(FAR, NODE, UDP_PORT);

    for _ in 0..COUNT {
        sender.send(&forged);
    }

    wait::until_equal("packets without our mark", &(COUNT as u64), || {
        lab.node.dropped(None, DropReason::NoMark)
    });
    let seen = pod.receive(1, Duration::from_millis(200), |bytes| bytes[12..14] == [0x88, 0xb5]);
    assert_eq!(seen.len(), 0);
}
