//! What `l2sm-vxlan` carries: the fast path's conditions fail, the traffic passes all the same.

use std::net::UdpSocket;

use l2sm_tests::{
    flow::send_segmented,
    kernel_node::{KernelNode, KernelPod},
    netns::{Netns, join},
    node::{Node, Pod, UDP_PORT},
    stream::transfer,
};

const VNI: u32 = 100;
const UNDERLAY_MTU: u32 = 1500;

struct Lab {
    ours: Node,
    _kernel: KernelNode,
    pod: Pod,
    peer: KernelPod,
}

/// `resolved`: the path to the kernel's node has its next hop; `mtu`: of the pods.
fn lab(resolved: bool, mtu: u32) -> Lab {
    lab_with(resolved, mtu, "10.0.0.1/24", "10.0.0.2/24")
}

fn lab_with(resolved: bool, mtu: u32, address: &str, peer_address: &str) -> Lab {
    let kernel = KernelNode::new();
    let netns = Netns::new("ours").without_ipv6();
    join((&netns, "ul0"), (&kernel.netns, "ul0"), UNDERLAY_MTU);
    netns.ip("address add 192.0.2.1/24 dev ul0");
    kernel.netns.ip("address add 192.0.2.2/24 dev ul0");
    let mut ours = Node::new(netns, "192.0.2.1");
    ours.segment(VNI, mtu);
    let pod = ours.pod(VNI, 1, &[address], mtu);
    kernel.segment(VNI, "192.0.2.2", "192.0.2.1", UDP_PORT);
    let peer = kernel.pod(VNI, 2, &[peer_address], mtu);
    let next_hop = kernel.netns.mac("ul0");
    ours.vtep("kernel", "192.0.2.2", resolved.then_some(next_hop));
    ours.member(VNI, "kernel");
    let ip = peer_address.split('/').next().unwrap();
    ours.host(VNI, "kernel", peer.mac, &[ip]);
    ours.program();
    Lab { ours, _kernel: kernel, pod, peer }
}

#[test]
fn a_path_without_a_next_hop_is_resolved_by_the_kernel() {
    let mut lab = lab(false, 1450);
    assert_eq!(lab.pod.netns.ping("10.0.0.2", 10), 10);
    let traffic = lab.ours.traffic(VNI);
    assert_eq!(traffic.slow_sent.packets, traffic.to_vtep.packets, "{traffic:?}");
    assert!(traffic.slow_sent.packets >= 10, "{traffic:?}");
    transfer(&lab.pod.netns, &lab.peer.netns, "10.0.0.2", 1 << 26);
    transfer(&lab.peer.netns, &lab.pod.netns, "10.0.0.1", 1 << 26);
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn datagrams_segmented_by_the_kernel_arrive_whole_and_without_our_mark() {
    let mut lab = lab(true, 1450);
    drop_what_is_marked(&lab.pod.netns);
    send_segmented_to(&lab.peer.netns, &lab.pod.netns, "10.0.0.2");
    send_segmented_to(&lab.pod.netns, &lab.peer.netns, "10.0.0.1");
    let traffic = lab.ours.traffic(VNI);
    assert_eq!(traffic.slow_sent.packets, 20, "{traffic:?}");
    assert_eq!(traffic.slow_received.packets, 20, "{traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn datagrams_segmented_by_the_kernel_reach_a_mac_that_nobody_listed() {
    let mut lab = lab(true, 1450);
    lab.ours.allow_other_macs(VNI);
    lab.ours.program();
    lab.pod.netns.ip("link set net1 address 02:77:00:00:00:01");
    assert_eq!(lab.pod.netns.ping("10.0.0.2", 3), 3);
    let before = lab.ours.traffic(VNI);

    send_segmented_to(&lab.pod.netns, &lab.peer.netns, "10.0.0.1");

    let traffic = lab.ours.traffic(VNI);
    assert_eq!(traffic.slow_received.packets - before.slow_received.packets, 20, "{traffic:?}");
}

/// Twenty datagrams of 1,000 bytes by one call, all of which must arrive.
fn send_segmented_to(to: &Netns, from: &Netns, address: &str) {
    let receiver = to.run(|| UdpSocket::bind((address, 4000)).unwrap());
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    from.run(|| send_segmented(&format!("{address}:4000"), 1000, 20));
    let mut seen = [false; 20];
    let mut datagram = [0; 2000];
    while let Ok(length) = receiver.recv(&mut datagram) {
        assert_eq!(length, 1000);
        seen[usize::from(datagram[0])] = true;
        if seen == [true; 20] {
            break;
        }
    }
    assert_eq!(seen, [true; 20], "to {address}");
}

/// As a pod's own rules could.
fn drop_what_is_marked(pod: &Netns) {
    let rules = "add table inet own; add chain inet own input { type filter hook input priority 0; }; \
                 add rule inet own input meta mark != 0 drop";
    let output = pod.output("nft", &[rules]);
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn packets_too_big_for_the_path_are_fragmented_outside() {
    let mut lab = lab(true, 1500);
    let ping = |netns: &Netns, size: &str, hint: &str, address: &str| {
        let arguments = ["-n", "-c", "3", "-i", "0.05", "-W", "1", "-s", size, "-M", hint, address];
        netns.output("ping", &arguments).status.success()
    };
    assert!(ping(&lab.pod.netns, "1472", "dont", "10.0.0.2"), "1500 bytes without DF");
    assert!(ping(&lab.peer.netns, "1472", "dont", "10.0.0.1"), "1500 bytes without DF, back");
    let traffic = lab.ours.traffic(VNI);
    assert!(traffic.slow_sent.packets >= 6, "{traffic:?}");
    assert!(traffic.slow_received.packets >= 6, "{traffic:?}");
    assert_eq!(lab.ours.drops(), []);
}

#[test]
fn a_sender_that_forbids_fragments_is_told_the_mtu() {
    for (family, addresses, peer_addresses, target, told) in [
        ("4", "10.0.0.1/24", "10.0.0.2/24", "10.0.0.2", "mtu = 1450"),
        ("6", "fd00::1/64", "fd00::2/64", "fd00::2", "mtu=1450"),
    ] {
        let mut lab = lab_with(true, 1500, addresses, peer_addresses);
        let size = if family == "4" { "1472" } else { "1452" };
        let arguments = ["-n", "-c", "2", "-i", "0.2", "-W", "1", "-s", size, "-M", "do", target];
        let output = lab.pod.netns.output("ping", &arguments);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.to_lowercase().contains(told), "IPv{family}: {text}");
        transfer(&lab.pod.netns, &lab.peer.netns, target, 1 << 25);
        assert_eq!(lab.ours.drops(), []);
    }
}
