//! The wire between the nodes, as a veth that passes super-packets or as a NIC without tunnel
//! offloads: the sender's kernel segments, the receiver's aggregates.

use anyhow::{Context as _, Result};

use super::{Site, netns::Netns};

/// One end of a wire.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// `ul0` of a node.
    Node(usize),
    /// The client's own device.
    Client,
    /// The server's own device.
    Server,
}

/// What a tunnel's super-packets need of the device that they leave by.
const OFFLOADS: [&str; 3] = ["tso", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];

impl End {
    /// Sets the offloads of this end.
    pub(super) fn set(self, site: &Site, is_wire: bool) -> Result<()> {
        let (netns, device) = self.device(site)?;
        let (sends, receives) = if is_wire { ("off", "on") } else { ("on", "off") };
        let mut arguments = vec!["-K", device];
        arguments.extend(OFFLOADS.into_iter().flat_map(|offload| [offload, sends]));
        // A pod's own device keeps `gso`: without it TCP would send small packets from the start,
        // and not what is compared.
        if matches!(self, Self::Node(_)) {
            arguments.extend(["gso", sends]);
        }
        arguments.extend(["gro", receives]);
        netns.run_program("ethtool", &arguments).map(drop)
    }

    fn device(self, site: &Site) -> Result<(&Netns, &str)> {
        Ok(match self {
            Self::Node(number) => (site.nodes.get(number).context("no such node")?, "ul0"),
            Self::Client => (&site.client.netns, site.client.device.as_str()),
            Self::Server => (&site.server.netns, site.server.device.as_str()),
        })
    }
}
