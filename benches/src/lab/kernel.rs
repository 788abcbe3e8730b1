//! The kernel's own: bridge and vxlan, told everything beforehand.

use anyhow::{Context as _, Result};

use super::{
    POD_MTU, Site, UNDERLAY_MTU,
    netns::{Netns, Pod},
    node_address,
    plain::{address_nodes, behind_bridges, introduce_all, nodes},
};

/// UDP port of its tunnels.
pub(crate) const PORT: u16 = 4789;
/// Its network.
const VNI: u32 = 100;

/// Static forwarding entries, no learning, no firewall on bridges: its best.
pub(super) fn build() -> Result<Site> {
    let nodes = nodes("kernel", UNDERLAY_MTU)?;
    address_nodes(&nodes)?;
    for (node, number) in nodes.iter().zip(1..) {
        node.ip(&format!(
            "link add vx0 mtu {POD_MTU} type vxlan id {VNI} local {} dstport {PORT} nolearning \
             dev ul0",
            node_address(number)
        ))?;
    }
    let site = behind_bridges("kernel", nodes, "vx0")?;
    for node in &site.nodes {
        node.ip("link set vx0 type bridge_slave learning off")?;
    }
    introduce_all(&site)?;
    let [a, b] = &site.nodes[..] else { anyhow::bail!("expected two nodes") };
    let neighbor = site.neighbor.as_ref().context("expected a neighbor")?;
    place(a, &site.server, 2)?;
    place(b, &site.client, 1)?;
    place(b, neighbor, 1)?;
    Ok(site)
}

/// Tells a node that a pod is behind another node.
fn place(node: &Netns, pod: &Pod, at: u8) -> Result<()> {
    let mac = pod.netns.mac(&pod.device)?;
    let remote = node_address(at).to_string();
    let bridge = |arguments: &[&str]| node.run_program("bridge", arguments);
    bridge(&["fdb", "replace", &mac, "dev", "vx0", "dst", &remote, "self", "static"])?;
    bridge(&["fdb", "replace", &mac, "dev", "vx0", "master", "static"])?;
    Ok(())
}
