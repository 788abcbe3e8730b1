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
    introduce_all(&site)?;
    let [a, b] = &site.nodes[..] else { anyhow::bail!("expected two nodes") };
    let neighbor = site.neighbor.as_ref().context("expected a neighbor")?;
    for (node, pod, port) in [(a, &site.client, "p1"), (b, &site.server, "p2"), (a, neighbor, "p3")]
    {
        plug(node, pod, port)?;
    }
    place(a, &site.server, 2)?;
    place(b, &site.client, 1)?;
    place(b, neighbor, 1)?;
    Ok(site)
}

/// Tells a node at which port of its bridge a pod is.
fn plug(node: &Netns, pod: &Pod, port: &str) -> Result<()> {
    let mac = pod.netns.mac(&pod.device)?;
    node.run_program("bridge", &["fdb", "replace", &mac, "dev", port, "master", "static"])?;
    node.ip(&format!("link set {port} type bridge_slave learning off")).map(drop)
}

/// Tells a node that a pod is behind another node.
fn place(node: &Netns, pod: &Pod, at: u8) -> Result<()> {
    let mac = pod.netns.mac(&pod.device)?;
    let remote = node_address(at).to_string();
    node.run_program(
        "bridge",
        &["fdb", "replace", &mac, "dev", "vx0", "dst", &remote, "self", "static"],
    )?;
    plug(node, pod, "vx0")
}
