//! An underlay without link-layer headers, as a `WireGuard` device is: `l2sm-vxlan` does what BPF cannot.

use std::{net::UdpSocket, time::Duration};

use l2sm_common::{mac::Mac, reason::DropReason};
use l2sm_tests::{
    frames,
    kernel_node::{KernelNode, KernelPod},
    netns::Netns,
    node::{Node, Pod, UDP_PORT},
    probe::Probe,
    stream::transfer,
    tap::Cable,
    wait,
};

const VNI: u32 = 100;
const MTU: u32 = 1370;

struct Lab {
    ours: Node,
    kernel: KernelNode,
    pod: Pod,
    peer: KernelPod,
    _cable: Cable,
}

fn lab() -> Lab {
    let kernel = KernelNode::new();
    let netns = Netns::new("ours").without_ipv6();
    let cable = Cable::join_bare((&netns, "ul0"), (&kernel.netns, "ul0"));
    for (node, address) in [(&netns, "192.0.2.1/24"), (&kernel.netns, "192.0.2.2/24")] {
        node.ip("link set ul0 mtu 1420");
        node.ip(&format!("address add {address} dev ul0"));
    }
    let mut ours = Node::new(netns, "192.0.2.1");
    ours.segment(VNI, MTU);
    let pod = ours.pod(VNI, 1, &["10.0.0.1/24"], MTU);
    kernel.segment(VNI, "192.0.2.2", "192.0.2.1", UDP_PORT);
    let peer = kernel.pod(VNI, 2, &["10.0.0.2/24"], MTU);
    ours.vtep("kernel", "192.0.2.2", None);
    ours.member(VNI, "kernel");
    ours.host(VNI, "kernel", peer.mac, &["10.0.0.2"]);
    ours.program();
    Lab { ours, kernel, pod, peer, _cable: cable }
}

#[test]
fn pods_talk_over_a_device_without_link_layer_headers() {
    let mut lab = lab();
    assert_eq!(lab.pod.netns.ping("10.0.0.2", 5), 5);
    assert_eq!(lab.peer.netns.ping("10.0.0.1", 5), 5);
    transfer(&lab.pod.netns, &lab.peer.netns, "10.0.0.2", 1 << 24);
    transfer(&lab.peer.netns, &lab.pod.netns, "10.0.0.1", 1 << 24);
    let traffic = lab.ours.traffic(VNI);
    assert_eq!(traffic.slow_sent.packets, traffic.to_vtep.packets, "{traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn strangers_get_nothing_into_a_segment_over_it() {
    let mut lab = lab();
    lab.kernel.netns.ip("address add 192.0.2.66/24 dev ul0");
    let inner = frames::ethernet(lab.pod.mac, Mac([2, 0, 0, 0, 0, 2]), 0x88b5, &[0x5a; 60]);
    let packet = frames::vxlan(8, VNI, &inner);
    let pod = Probe::open(&lab.pod.netns, "net1");
    let send = |source: &str| {
        let socket = lab.kernel.netns.run(|| UdpSocket::bind((source, 0)).unwrap());
        socket.send_to(&packet, ("192.0.2.1", UDP_PORT)).unwrap();
    };

    send("192.0.2.66");

    wait::until_equal("a drop", &1, || lab.ours.dropped(None, DropReason::UnknownVtep));
    send("192.0.2.2");
    let seen = pod.receive(2, Duration::from_secs(1), |bytes| bytes[12..14] == [0x88, 0xb5]);
    assert_eq!(seen, [inner], "the member's, and not the stranger's");
}
