//! CHECK finds each kind of damage, and no other.

use std::{fs, path::Path};

use aya::maps::{HashMap, Map, MapData};
use l2sm_common::{abi, maps::PortEntry};
use l2sm_tests::{cluster::ClusterNode, wait};
use serde_json::{Value, json};

use super::{cluster, plugin::host_veths, pod};

#[test]
fn check_names_each_damage() {
    let (cluster, plugin) = cluster();
    let (node, pod) = (&cluster.nodes[0], pod());
    let result = plugin.add("c1", &pod);
    let host = host_veths(node).pop().expect("a host veth");
    let mac = result["interfaces"][0]["mac"].as_str().expect("a MAC");
    let whole_address = result["ips"][0]["address"].as_str().expect("an address");
    let finds = |what: &str| {
        let found = plugin.check("c1", &pod, &result);
        assert!(found.as_deref().is_some_and(|found| found.contains(what)), "{what}: {found:?}");
    };
    let mends = |what: &str| {
        wait::until_equal(what, &None, || plugin.check("c1", &pod, &result));
    };

    pod.ip("link set net1 address 02:00:00:00:00:99");
    finds("interface net1 has MAC 02:00:00:00:00:99, not ");
    pod.ip(&format!("link set net1 address {mac}"));
    mends("the MAC");

    pod.ip(&format!("address delete {whole_address} dev net1"));
    finds(&format!("interface net1 lacks address {whole_address}"));
    pod.ip(&format!("address add {whole_address} dev net1"));
    mends("the address");

    pod.ip("link set net1 mtu 1300");
    finds("interface net1 has MTU 1300, not 1550");
    pod.ip("link set net1 mtu 1550");
    mends("the MTU");

    pod.ip("link set net1 down");
    finds("interface net1 is down");
    pod.ip("link set net1 name other");
    finds("interface net1 is missing");
    pod.ip("link add net1 type bridge");
    finds(&format!("interface net1 is not the other end of {host}"));
    pod.ip("link delete net1");
    pod.ip("link set other name net1 up");
    mends("the interface");

    let alias = alias(node, &host);
    node.netns.ip(&format!("link set {host} alias theirs"));
    finds(&format!("host end {host} is not ours"));
    node.netns.ip(&format!("link set {host} alias {alias}"));
    mends("the alias");

    node.netns.ip(&format!("link set {host} name theirs"));
    finds(&format!("host end {host} is missing"));
    node.netns.ip(&format!("link set theirs name {host}"));
    mends("the host end");

    let device = node.netns.ifindex(&host);
    remove_port_entry(node, device);
    finds(&format!("port {host} is not programmed"));
    mends("the entry of PORTS");

    let link = node.bpffs().join("links").join(format!("{device}-{}", abi::PORT_RX));
    wait::until("the port's link", || fs::remove_file(&link).ok());
    finds(&format!("program l2sm_port_rx is not attached to {host}"));
    mends("the program");

    let mut other = result.clone();
    other["interfaces"][0]["mac"] = json!("02:00:00:00:00:98");
    let found = plugin.check("c1", &pod, &other).expect("the runtime was told something else");
    assert!(found.contains(&format!("net1 is to have MAC {mac} now")), "{found}");
    plugin.del("c1", &pod.path());
    assert_eq!(plugin.run("CHECK", "c1", &pod.path()).code(), 3, "there is no attachment");
}

fn alias(node: &ClusterNode, device: &str) -> String {
    let link: Value = serde_json::from_str(&node.netns.ip(&format!("-json link show {device}")))
        .expect("ip prints JSON");
    link[0]["ifalias"].as_str().expect("an alias").to_owned()
}

fn remove_port_entry(node: &ClusterNode, device: u32) {
    let map: &Path = &node.bpffs().join(format!("v{}/maps/PORTS", abi::ABI));
    let map = Map::HashMap(MapData::from_pin(map).expect("is pinned"));
    let mut ports: HashMap<_, u32, PortEntry> = map.try_into().expect("a hash map");
    ports.remove(&device).expect("is there");
}
