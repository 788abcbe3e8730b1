//! Without a tunnel: a veth pair, bridges, and bare nodes.

use anyhow::Result;

use super::{
    POD_MTU, Site, UNDERLAY_MTU, address, introduce,
    netns::{Netns, Pod, join},
    node_address, plain_pod, wire,
};

/// Two pods joined by one veth pair: nothing that joins pods by veths can be faster.
pub(super) fn pair() -> Result<Site> {
    let (client, server) = (plain_pod("veth-a", 1)?, plain_pod("veth-b", 2)?);
    join((&client.netns, &client.device), (&server.netns, &server.device), POD_MTU)?;
    address(&client)?;
    address(&server)?;
    introduce(&[&client, &server])?;
    let wire = vec![wire::End::Client, wire::End::Server];
    Ok(Site { nodes: Vec::new(), client, server, neighbor: None, wire })
}

/// Two bridges with the wire as a port of each: the network of the pods goes over it bare.
pub(super) fn bridges() -> Result<Site> {
    let nodes = nodes("bridge", POD_MTU)?;
    let site = behind_bridges("bridge", nodes, "ul0")?;
    introduce_all(&site)?;
    Ok(site)
}

/// Two nodes with addresses and nothing else.
pub(super) fn nodes_alone() -> Result<Site> {
    let nodes = nodes("bare", UNDERLAY_MTU)?;
    address_nodes(&nodes)?;
    let (client, server) = (plain_pod("bare-c", 1)?, plain_pod("bare-d", 2)?);
    let wire = vec![wire::End::Node(0), wire::End::Node(1)];
    Ok(Site { nodes, client, server, neighbor: None, wire })
}

/// Two namespaces joined by `ul0`.
pub(super) fn nodes(role: &str, mtu: u32) -> Result<Vec<Netns>> {
    let (a, b) = (Netns::new(&format!("{role}-n1"))?, Netns::new(&format!("{role}-n2"))?);
    join((&a, "ul0"), (&b, "ul0"), mtu)?;
    Ok(vec![a, b])
}

/// Gives nodes their underlay addresses.
pub(super) fn address_nodes(nodes: &[Netns]) -> Result<()> {
    for (node, number) in nodes.iter().zip(1..) {
        node.ip(&format!("address add {}/24 dev ul0", node_address(number)))?;
    }
    Ok(())
}

/// A bridge on each node with its pods and `trunk`, which exists.
pub(super) fn behind_bridges(role: &str, nodes: Vec<Netns>, trunk: &str) -> Result<Site> {
    for node in &nodes {
        node.ip("link add br0 type bridge mcast_snooping 0")?;
        switch_off_firewall(node)?;
        node.ip("link set br0 addrgenmode none up")?;
        node.ip(&format!("link set {trunk} addrgenmode none master br0"))?;
        node.ip(&format!("link set {trunk} up"))?;
    }
    let plug = |node: Option<&Netns>, name: &str, number: u16| -> Result<Pod> {
        let pod = plain_pod(&format!("{role}-{name}"), number)?;
        let node = node.ok_or_else(|| anyhow::anyhow!("a node is missing"))?;
        let port = format!("p{number}");
        join((node, &port), (&pod.netns, &pod.device), POD_MTU)?;
        node.ip(&format!("link set {port} master br0"))?;
        address(&pod)?;
        Ok(pod)
    };
    let client = plug(nodes.first(), "a", 1)?;
    let neighbor = plug(nodes.first(), "a2", 3)?;
    let server = plug(nodes.get(1), "b", 2)?;
    let wire = vec![wire::End::Node(0), wire::End::Node(1)];
    Ok(Site { nodes, client, server, neighbor: Some(neighbor), wire })
}

/// Introduces all pods of a site to each other.
pub(super) fn introduce_all(site: &Site) -> Result<()> {
    let pods: Vec<&Pod> =
        [&site.client, &site.server].into_iter().chain(site.neighbor.as_ref()).collect();
    introduce(&pods)
}

/// Has bridges hand no frame to the host's firewall: they are faster without.
fn switch_off_firewall(node: &Netns) -> Result<()> {
    for tables in ["iptables", "ip6tables", "arptables"] {
        let setting = format!("bridge/bridge-nf-call-{tables}");
        if node.has(&setting) {
            node.set(&setting, "0")?;
        }
    }
    Ok(())
}
