//! Hybrid receive: pods that forward TCP. Super-packets that go through such a pod, to another
//! network, to its own other device, or to a tap, arrive whole and do not stall.

use aya::maps::{HashMap, Map, MapData};
use l2sm_common::{
    abi,
    maps::{PortEntry, port_flags},
};
use l2sm_tests::{
    cluster::Cluster,
    netns::{Netns, join},
    stream::{fetch, transfer},
    tap::Cable,
    wait,
};
use serde_json::Value;

/// Bytes of each transfer.
const BULK: u64 = 32 << 20;
const RED_V4: &str = "10.1.0.0/24";
const BLUE_V4: &str = "10.2.0.0/24";
const RED_V6: &str = "fd01::/64";
const BLUE_V6: &str = "fd02::/64";

/// A namespace's plug in a network.
struct Plug {
    address: String,
    ifname: String,
    /// ifindex of the host end.
    host: u32,
}

/// Two nodes with two networks and a pod on the first node that forwards between them.
struct Lab {
    cluster: Cluster,
    router: Netns,
    plugs: [Plug; 2],
    /// A pod of each network, on the second node.
    far: [(Netns, Plug); 2],
    /// A pod of the first network, on the router's node.
    near: (Netns, Plug),
}

fn lab(cidrs: [&str; 2]) -> Lab {
    let lab = silent_lab(cidrs);
    for (netns, target) in [(&lab.near.0, 1), (&lab.far[0].0, 1), (&lab.far[1].0, 0)] {
        let target = &lab.far[target].1.address;
        wait::until_equal("a ping through the router", &1, || netns.ping(target, 1));
    }
    lab
}

/// A lab whose router has forwarded nothing yet.
fn silent_lab(cidrs: [&str; 2]) -> Lab {
    let cluster = Cluster::new(2);
    for (name, cidr) in ["red", "blue"].into_iter().zip(cidrs) {
        cluster.network(name, cidr);
    }
    let v6 = cidrs[0].contains(':');
    let netns = |role: &str| if v6 { Netns::new(role) } else { Netns::new(role).without_ipv6() };
    let pod = |node: usize, network: &str| {
        let netns = netns("pod");
        let plug = plug(&cluster, node, network, &netns);
        (netns, plug)
    };
    let router = netns("router");
    router.forward();
    let plugs = ["red", "blue"].map(|network| plug(&cluster, 0, network, &router));
    let far = ["red", "blue"].map(|network| pod(1, network));
    let near = pod(0, "red");
    for (netns, to, via) in [(&near.0, 1, 0), (&far[0].0, 1, 0), (&far[1].0, 0, 1)] {
        netns.ip(&format!("route add {} via {}", cidrs[to], plugs[via].address));
    }
    Lab { cluster, router, plugs, far, near }
}

fn plug(cluster: &Cluster, node: usize, network: &str, netns: &Netns) -> Plug {
    let attached = cluster.nodes[node].attach(network, netns, &[]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let address = text(&attached["ips"][0]);
    let address = address.split('/').next().unwrap().to_owned();
    let ifname = text(&attached["ifname"]);
    let link = netns.ip(&format!("-json link show {ifname}"));
    let link: Value = serde_json::from_str(&link).unwrap();
    let host = link[0]["link_index"].as_u64().and_then(|index| u32::try_from(index).ok()).unwrap();
    Plug { address, ifname, host }
}

impl Lab {
    /// Whether a port of a node is marked as a forwarder.
    fn is_forwarder(&self, node: usize, plug: &Plug) -> bool {
        let maps = self.cluster.nodes[node].bpffs().join(format!("v{}/maps/PORTS", abi::ABI));
        let ports = Map::HashMap(MapData::from_pin(maps).unwrap());
        let ports: HashMap<_, u32, PortEntry> = ports.try_into().unwrap();
        ports.get(&plug.host, 0).unwrap().flags & port_flags::FORWARDER != 0
    }

    /// Both of the router's ports are forwarders, in the end; pods that only end connections are not.
    fn check_forwarders(&self) {
        wait::until_equal("the router's ports are forwarders", &[true; 2], || {
            self.plugs.each_ref().map(|plug| self.is_forwarder(0, plug))
        });
        assert!(!self.is_forwarder(0, &self.near.1));
        assert_eq!(self.far.each_ref().map(|(_, plug)| self.is_forwarder(1, plug)), [false; 2]);
    }

    /// Packets that came to the router's node by the kernel's vxlan device, and what it dropped.
    fn check_counters(&self) {
        let status = self.cluster.nodes[0].status();
        let networks = status["networks"].as_array().unwrap();
        let received: u64 =
            networks.iter().map(|network| network["slowReceived"].as_u64().unwrap()).sum();
        // Aggregated packets for a pod that forwards, each counted as what it was aggregated from.
        assert!(received >= BULK / 1500, "{status}");
        for reason in ["no_mark", "helper_failed", "truncated", "copy_failed"] {
            assert_eq!(self.cluster.nodes[0].dropped(reason), 0, "{status}");
        }
    }

    /// A host outside, at the router's other device.
    fn outside(&self) -> Netns {
        let outside = Netns::new("outside").without_ipv6();
        join((&self.router, "eth0"), (&outside, "eth0"), 1500);
        self.router.ip("address add 198.51.100.1/24 dev eth0");
        outside.ip("address add 198.51.100.2/24 dev eth0");
        outside.ip("route add default via 198.51.100.1");
        let router = &self.plugs[0].address;
        for netns in [&self.near.0, &self.far[0].0] {
            netns.ip(&format!("route add 198.51.100.0/24 via {router}"));
        }
        outside
    }
}

fn between_networks(cidrs: [&str; 2]) {
    let lab = lab(cidrs);
    let [(red, red_plug), (blue, blue_plug)] = &lab.far;
    let (near, near_plug) = &lab.near;
    for (one, other) in
        [((red, red_plug), (blue, blue_plug)), ((near, near_plug), (blue, blue_plug))]
    {
        for ((client, _), (server, plug)) in [(one, other), (other, one)] {
            transfer(client, server, &plug.address, BULK);
            fetch(client, server, &plug.address, BULK);
        }
    }
    lab.check_forwarders();
    lab.check_counters();
}

#[test]
fn ipv4_through_a_router_between_two_networks_arrives_whole() {
    between_networks([RED_V4, BLUE_V4]);
}

#[test]
fn ipv6_through_a_router_between_two_networks_arrives_whole() {
    between_networks([RED_V6, BLUE_V6]);
}

#[test]
fn from_a_network_to_the_routers_eth0_and_back_arrives_whole() {
    let lab = lab([RED_V4, BLUE_V4]);
    let outside = lab.outside();
    for (pod, plug) in [&lab.far[0], &lab.near] {
        transfer(pod, &outside, "198.51.100.2", BULK);
        fetch(pod, &outside, "198.51.100.2", BULK);
        transfer(&outside, pod, &plug.address, BULK);
        fetch(&outside, pod, &plug.address, BULK);
    }
    lab.check_forwarders();
    lab.check_counters();
}

#[test]
fn through_a_masquerading_router_arrives_whole() {
    let lab = silent_lab([RED_V4, BLUE_V4]);
    let outside = lab.outside();
    let red = &lab.plugs[0].ifname;
    let rules = format!(
        "add table ip nat; add chain ip nat post {{ type nat hook postrouting priority 100; }}; \
         add rule ip nat post oifname {{ \"eth0\", \"{red}\" }} masquerade"
    );
    let output = lab.router.output("nft", &[&rules]);
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    for (pod, plug) in [&lab.far[0], &lab.near] {
        wait::until_equal("a ping through the router", &1, || outside.ping(&plug.address, 1));
        transfer(&outside, pod, &plug.address, BULK);
        fetch(&outside, pod, &plug.address, BULK);
    }
    // What it sent into the network came from its own address there: nothing showed that it forwards,
    // so its super-packets were decapsulated in BPF.
    assert_eq!(lab.plugs.each_ref().map(|plug| lab.is_forwarder(0, plug)), [false; 2]);
    for (pod, _plug) in [&lab.far[0], &lab.near] {
        transfer(pod, &outside, "198.51.100.2", BULK);
        fetch(pod, &outside, "198.51.100.2", BULK);
    }
    // Their answers come from outside's address.
    assert!(lab.is_forwarder(0, &lab.plugs[0]));
    lab.check_counters();
}

#[test]
fn from_a_network_to_a_tap_in_the_router_and_back_arrives_whole() {
    let lab = lab([RED_V4, BLUE_V4]);
    let machine = Netns::new("machine").without_ipv6();
    let cable = Cable::join((&lab.router, "tap0"), (&machine, "eth0"));
    lab.router.ip("address add 203.0.113.1/24 dev tap0");
    machine.ip("address add 203.0.113.2/24 dev eth0");
    machine.ip("route add default via 203.0.113.1");
    let router = &lab.plugs[0].address;
    for (pod, plug) in [&lab.far[0], &lab.near] {
        pod.ip(&format!("route add 203.0.113.0/24 via {router}"));
        transfer(pod, &machine, "203.0.113.2", BULK);
        fetch(pod, &machine, "203.0.113.2", BULK);
        transfer(&machine, pod, &plug.address, BULK);
        fetch(&machine, pod, &plug.address, BULK);
    }
    assert!(cable.largest() <= 1514, "{}", cable.largest());
    lab.check_forwarders();
    lab.check_counters();
}
