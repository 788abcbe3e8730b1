//! An `ExternalVTEP`: the kernel's own vxlan device and bridge beside nodes with agents, known to
//! the controller by a manifest alone.

use std::time::Duration;

use l2sm_common::mac::Mac;
use l2sm_tests::{
    cluster::{Cluster, ClusterPod},
    frames,
    kernel_node::{KernelNode, KernelPod},
    node::UDP_PORT,
    probe::Probe,
    stream::transfer,
    wait,
};

const BLUE: u32 = 100;
const RED: u32 = 200;
const MTU: u32 = 1450;
/// Long enough for what is on its way to arrive.
const PATIENCE: Duration = Duration::from_millis(300);
/// What no other frame holds.
const MARKER: &[u8] = b"a frame of this test, and of no other";

/// Two nodes with a pod of blue each, and a kernel node with two hosts in blue: one listed, one not.
struct Lab {
    cluster: Cluster,
    pods: [ClusterPod; 2],
    kernel: KernelNode,
    listed: KernelPod,
    unlisted: KernelPod,
}

fn lab() -> Lab {
    lab_with("zero")
}

fn lab_with(checksum: &str) -> Lab {
    let cluster = Cluster::new(2);
    for (name, vni) in [("blue", BLUE), ("red", RED)] {
        cluster.apply(&format!(
            "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: {name}}}\n\
             spec: {{type: vnet, networkCIDR: 10.10.0.0/24, vni: {vni}, mtu: {MTU}}}\n"
        ));
    }
    let kernel = KernelNode { netns: cluster.host(9) };
    kernel.segment(BLUE, "192.0.2.9", "192.0.2.1", UDP_PORT);
    kernel.floods_to(BLUE, "192.0.2.2");
    let listed = kernel.pod(BLUE, 1, &["10.10.0.1/24"], MTU);
    let unlisted = kernel.pod(BLUE, 2, &["10.10.0.200/24"], MTU);
    cluster.apply(&external("switch", "192.0.2.9", listed.mac, checksum));
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.ctl_ok(&["wait", "--for=condition=Ready", "externalvtep/switch", "l2network/blue"]);
    Lab { cluster, pods, kernel, listed, unlisted }
}

fn external(name: &str, address: &str, host: Mac, checksum: &str) -> String {
    format!(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: ExternalVTEP\nmetadata: {{name: {name}}}\n\
         spec:\n  address: {address}\n  udpChecksum: {checksum}\n  networks:\n  - name: blue\n    \
         hosts: [{{mac: '{host}', ips: [10.10.0.1]}}]\n"
    )
}

fn is_marked(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|part| part == MARKER)
}

#[test]
fn pods_and_hosts_behind_the_switch_reach_one_another_listed_or_not() {
    let lab = lab();
    let addresses = lab.pods.each_ref().map(ClusterPod::address);
    assert_eq!(addresses, ["10.10.0.2", "10.10.0.3"], "the listed host's address is taken");
    for pod in &lab.pods {
        assert_eq!(pod.netns.ping("10.10.0.1", 10), 10);
        assert_eq!(pod.netns.ping("10.10.0.200", 10), 10);
        assert_eq!(lab.listed.netns.ping(pod.address(), 10), 10);
        assert_eq!(lab.unlisted.netns.ping(pod.address(), 10), 10);
    }
    let pod = &lab.pods[0];
    transfer(&pod.netns, &lab.listed.netns, "10.10.0.1", 1 << 26);
    transfer(&lab.listed.netns, &pod.netns, pod.address(), 1 << 26);
    transfer(&pod.netns, &lab.unlisted.netns, "10.10.0.200", 1 << 26);
    transfer(&lab.unlisted.netns, &pod.netns, pod.address(), 1 << 26);
    for node in &lab.cluster.nodes {
        for reason in ["unknown_unicast", "mac_elsewhere", "vtep_not_in_segment", "unknown_vtep"] {
            assert_eq!(node.dropped(reason), 0, "{reason}");
        }
    }
}

#[test]
fn arp_for_a_listed_host_is_answered_on_the_pods_node_and_for_another_it_is_flooded() {
    let lab = lab();
    let pod = Probe::open(&lab.pods[0].netns, lab.pods[0].ifname());
    let listed = Probe::open(&lab.listed.netns, "net1");
    let unlisted = Probe::open(&lab.unlisted.netns, "net1");
    let own = lab.pods[0].mac();
    let ask = |target: [u8; 4]| pod.send(&frames::arp_request(own, [10, 10, 0, 2], target));
    let is_request = |bytes: &[u8]| bytes[12..14] == [8, 6] && bytes[20..22] == [0, 1];
    let is_reply_of = |mac: Mac| {
        move |bytes: &[u8]| {
            bytes[12..14] == [8, 6] && bytes[20..22] == [0, 2] && bytes[22..28] == mac.0
        }
    };

    ask([10, 10, 0, 1]);
    assert_eq!(pod.receive(1, wait::PATIENCE, is_reply_of(lab.listed.mac)).len(), 1);
    assert_eq!(listed.receive(1, PATIENCE, is_request).len(), 0, "it was not asked");

    ask([10, 10, 0, 200]);
    assert_eq!(unlisted.receive(1, wait::PATIENCE, is_request).len(), 1);
    assert_eq!(pod.receive(1, wait::PATIENCE, is_reply_of(lab.unlisted.mac)).len(), 1);
}

#[test]
fn unknown_unicast_goes_to_the_switch_and_to_no_pod() {
    let lab = lab();
    // The bridge has not seen it either: it goes to both hosts.
    let hosts = [&lab.listed, &lab.unlisted].map(|host| Probe::open(&host.netns, "net1"));
    let other_pod = Probe::open(&lab.pods[1].netns, lab.pods[1].ifname());
    let sender = Probe::open(&lab.pods[0].netns, lab.pods[0].ifname());
    let nobody = Mac([2, 9, 9, 9, 9, 9]);

    for _ in 0..20 {
        sender.send(&frames::ethernet(nobody, lab.pods[0].mac(), 0x88b5, MARKER));
    }

    for host in hosts {
        host.receive_exactly(20, is_marked);
    }
    assert_eq!(other_pod.receive(1, PATIENCE, is_marked).len(), 0);
    assert_eq!(lab.cluster.nodes[0].dropped("unknown_unicast"), 0);
}

#[test]
fn a_switch_of_one_network_sends_nothing_into_another() {
    let lab = lab();
    let red = lab.cluster.pod(0, "red", &[]);
    lab.cluster.ctl_ok(&["wait", "--for=condition=Ready", "l2network/red"]);
    lab.kernel.segment(RED, "192.0.2.9", "192.0.2.1", UDP_PORT);
    let intruder = lab.kernel.pod(RED, 1, &["10.10.0.99/24"], MTU);
    let listeners = [&red, &lab.pods[0]].map(|pod| Probe::open(&pod.netns, pod.ifname()));
    let sender = Probe::open(&intruder.netns, "net1");
    let node = &lab.cluster.nodes[0];
    let before = node.dropped("vtep_not_in_segment");

    for _ in 0..25 {
        sender.send(&frames::ethernet(Mac::BROADCAST, intruder.mac, 0x88b5, MARKER));
        sender.send(&frames::ethernet(red.mac(), intruder.mac, 0x88b5, MARKER));
    }

    for listener in &listeners {
        assert_eq!(listener.receive(1, PATIENCE, is_marked).len(), 0);
    }
    assert_eq!(node.dropped("vtep_not_in_segment"), before + 50);
    assert_eq!(intruder.netns.ping(red.address(), 3), 0);
}

#[test]
fn a_switch_cannot_speak_in_a_pods_name() {
    let lab = lab();
    let [near, far] = &lab.pods;
    let listener = Probe::open(&near.netns, near.ifname());
    let forger = Probe::open(&lab.unlisted.netns, "net1");
    let node = &lab.cluster.nodes[0];

    // A pod of another node; then the receiver itself, which the bridge then takes to be here.
    for _ in 0..20 {
        forger.send(&frames::ethernet(near.mac(), far.mac(), 0x88b5, MARKER));
    }
    for _ in 0..20 {
        forger.send(&frames::ethernet(Mac::BROADCAST, near.mac(), 0x88b5, MARKER));
    }

    assert_eq!(listener.receive(1, PATIENCE, is_marked).len(), 0);
    assert_eq!(node.dropped("mac_elsewhere"), 40);
    // In its own name it is heard.
    forger.send(&frames::ethernet(Mac::BROADCAST, lab.unlisted.mac, 0x88b5, MARKER));
    assert_eq!(listener.receive(1, wait::PATIENCE, is_marked).len(), 1);
    assert_eq!(node.dropped("mac_elsewhere"), 40);
}

#[test]
fn outer_checksums_are_as_the_manifest_says() {
    for (wanted, expected) in [("zero", false), ("full", true)] {
        let lab = lab_with(wanted);
        let wire = Probe::open(&lab.kernel.netns, "eth0");
        assert_eq!(lab.pods[0].netns.ping("10.10.0.1", 5), 5, "{wanted}");
        let to_port = UDP_PORT.to_be_bytes();
        let from_node = [192, 0, 2, 1];
        let is_tunnel = |bytes: &[u8]| {
            bytes.len() > 50 && bytes[26..30] == from_node && bytes[36..38] == to_port
        };
        let tunnels = wire.receive(5, wait::PATIENCE, is_tunnel);
        assert_eq!(tunnels.len(), 5, "{wanted}");
        for packet in tunnels {
            assert_eq!(packet[40..42] != [0, 0], expected, "{wanted}: {packet:02x?}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_what_acts_is_listed() {
    let lab = lab();
    let host = Mac([2, 0, 0, 0, 9, 9]);
    for (manifest, why) in [
        (
            external("other", "192.0.2.2", host, "zero"),
            "spec.address: 192.0.2.2 is a VTEP address of node n2",
        ),
        (
            external("other", "192.0.2.9", host, "zero"),
            "spec.address: 192.0.2.9 is a VTEP address of ExternalVTEP switch",
        ),
        (
            external("other", "192.0.2.10", host, "zero"),
            "spec.networks[0].hosts[0].ips: 10.10.0.1 is in use by ExternalVTEP switch in network default/blue",
        ),
        (external("other", "192.0.2.10", lab.pods[0].mac(), "zero"), "is in use by default/"),
    ] {
        let output = lab.cluster.try_apply(&manifest);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(why), "{error}");
    }
    let table = lab.cluster.ctl_ok(&["get", "externalvteps", "-o", "wide"]);
    assert!(table.starts_with("NAME     ADDRESS     NETWORKS       READY"), "{table}");
    assert!(table.contains("switch   192.0.2.9   default/blue   True"), "{table}");
    let described = lab.cluster.ctl_ok(&["describe", "externalvtep", "switch"]);
    assert!(described.contains("vni: 100"), "{described}");

    // Without its manifest it is a stranger.
    lab.cluster.ctl_ok(&["delete", "externalvtep", "switch"]);
    wait::until("the switch is a stranger to node n1", || {
        (lab.unlisted.netns.ping(lab.pods[0].address(), 1) == 0).then_some(())
    });
    assert!(lab.cluster.nodes[0].dropped("unknown_vtep") > 0);
}
