//! What is compared: the same two pods, joined in four ways, on one machine.

pub mod firewall;
mod kernel;
pub mod leftovers;
pub mod netns;
pub mod ours;
pub mod owner;
mod plain;
pub mod settings;
mod wire;

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use self::netns::{Netns, Pod};
use crate::{load::Ends, progress::Progress, variant::Variant};

/// MTU of pods.
pub const POD_MTU: u32 = 1500;
/// MTU of the underlay: what the outer headers need comes on top.
pub const UNDERLAY_MTU: u32 = 1600;

/// A way to join pods: its namespaces and who is where.
#[derive(Debug)]
pub struct Site {
    /// Two nodes; none where pods are joined directly.
    pub nodes: Vec<Netns>,
    /// On the first node.
    pub client: Pod,
    /// On the second node.
    pub server: Pod,
    /// A second pod of the first node; none: all are as near as the server.
    pub neighbor: Option<Pod>,
    /// Ends of the wire between the nodes.
    pub wire: Vec<wire::End>,
}

/// Which pods talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// From one node to the other, IPv4.
    Across,
    /// The same, IPv6.
    AcrossV6,
    /// On one node.
    Local,
    /// As `Across`, to a port that is marked as a forwarder.
    Forwarder,
    /// The nodes themselves, outside any network; the kernel's variant is two nodes with nothing on
    /// them.
    Underlay,
    /// The nodes that are the ends of the tunnel.
    Tunnel,
}

/// All of them.
#[derive(Debug)]
pub struct Lab {
    veth: Site,
    bridge: Site,
    kernel: Site,
    /// Two bare nodes: the underlay without us.
    bare: Site,
    /// Ours.
    pub ours: ours::Ours,
    is_wire: Switch,
    is_filtered: Switch,
    is_early: Switch,
}

/// What was last switched on or off; `None`: nothing yet, or it failed half-way.
#[derive(Debug, Default)]
struct Switch(Option<bool>);

impl Switch {
    /// Has `act` do it, unless it is so already.
    fn set(&mut self, is_on: bool, act: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.0 != Some(is_on) {
            self.0 = None;
            act()?;
            self.0 = Some(is_on);
        }
        Ok(())
    }
}

impl Lab {
    /// Makes everything.
    ///
    /// # Errors
    /// The first thing that cannot be made.
    pub fn build(progress: &Progress) -> Result<Self> {
        let veth = progress.step("making the pods joined by a veth pair", plain::pair)?;
        let bridge = progress.step("making the pods behind bridges", plain::bridges)?;
        let kernel =
            progress.step("making the pods behind kernel bridge + vxlan", kernel::build)?;
        let bare = plain::nodes_alone()?;
        let ours = progress.step("making ours: controller, two agents", ours::Ours::build)?;
        Ok(Self {
            veth,
            bridge,
            kernel,
            bare,
            ours,
            is_wire: Switch::default(),
            is_filtered: Switch(Some(false)),
            is_early: Switch(Some(false)),
        })
    }

    /// Who talks, in a variant; `None`: the variant has no such pods.
    pub fn ends(&self, variant: Variant, route: Route) -> Option<Ends<'_>> {
        let site = match variant {
            Variant::Veth => &self.veth,
            Variant::Bridge => &self.bridge,
            Variant::Kernel if route == Route::Underlay => &self.bare,
            Variant::Kernel => &self.kernel,
            Variant::L2sm => return self.ours.ends(route),
        };
        site.ends(route)
    }

    /// Has the nodes of the kernel's variant and ours track connections and look through the rules of
    /// services, or not.
    ///
    /// # Errors
    /// `nft` refuses.
    pub fn set_filter(&mut self, is_on: bool) -> Result<()> {
        self.is_filtered.set(is_on, || {
            let mut nodes = self.kernel.nodes.iter().chain(&self.ours.site.nodes);
            nodes.try_for_each(|node| firewall::set(node, is_on))
        })
    }

    /// Has our second node drop tunnel packets by XDP, or not.
    ///
    /// # Errors
    /// The agent does not start, or the device does not take XDP.
    pub fn set_early(&mut self, is_on: bool) -> Result<()> {
        let Self { is_early, is_wire, ours, .. } = self;
        is_early.set(is_on, || {
            // A veth with XDP gives up offloads.
            *is_wire = Switch::default();
            ours.set_xdp(is_on)
        })
    }

    /// UDP port at which a variant's nodes take tunnel packets.
    pub fn tunnel_port(&self, variant: Variant) -> Option<u16> {
        match variant {
            Variant::Kernel => Some(kernel::PORT),
            Variant::L2sm => Some(l2sm_common::abi::UDP_PORT),
            Variant::Veth | Variant::Bridge => None,
        }
    }

    /// Has the underlay carry packets as a NIC without tunnel offloads does, or super-packets.
    ///
    /// # Errors
    /// `ethtool` refuses.
    pub fn set_wire(&mut self, is_wire: bool) -> Result<()> {
        self.is_wire.set(is_wire, || {
            for site in [&self.veth, &self.bridge, &self.kernel, &self.bare, &self.ours.site] {
                for end in &site.wire {
                    end.set(site, is_wire).context("cannot set offloads")?;
                }
            }
            Ok(())
        })
    }
}

impl Site {
    /// Who talks.
    pub fn ends(&self, route: Route) -> Option<Ends<'_>> {
        let (client, server, v6) = match route {
            Route::Across | Route::Forwarder => (&self.client, &self.server, false),
            Route::AcrossV6 => (&self.client, &self.server, true),
            Route::Local => (&self.client, self.neighbor.as_ref().unwrap_or(&self.server), false),
            Route::Underlay | Route::Tunnel => return self.underlay(),
        };
        Some(between(client, server, v6))
    }

    fn underlay(&self) -> Option<Ends<'_>> {
        let (client, server) = (self.nodes.first()?, self.nodes.get(1)?);
        let (from, to) = (node_address(1).into(), node_address(2).into());
        Some(Ends { client, server, from, to })
    }
}

/// From one pod to another.
pub fn between<'a>(client: &'a Pod, server: &'a Pod, v6: bool) -> Ends<'a> {
    Ends {
        client: &client.netns,
        server: &server.netns,
        from: client.address(v6),
        to: server.address(v6),
    }
}

/// Underlay address of a node, from 1.
pub fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// A pod with addresses that nobody else has to give it, and its end of a veth to be made.
fn plain_pod(role: &str, number: u16) -> Result<Pod> {
    let [_, last] = number.to_be_bytes();
    Ok(Pod {
        netns: Netns::new(role)?,
        device: "net1".to_owned(),
        v4: Ipv4Addr::new(10, 10, 0, last),
        v6: Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, number),
    })
}

/// Gives a pod its addresses.
fn address(pod: &Pod) -> Result<()> {
    let device = &pod.device;
    pod.netns.ip(&format!("address add {}/24 dev {device}", pod.v4))?;
    pod.netns.ip(&format!("address add {}/64 dev {device} nodad", pod.v6))?;
    Ok(())
}

/// Tells each pod the MAC of each other: no questions are asked while traffic is measured.
fn introduce(pods: &[&Pod]) -> Result<()> {
    for pod in pods {
        for other in pods.iter().filter(|other| other.v4 != pod.v4) {
            let mac = other.netns.mac(&other.device)?;
            for address in [other.address(false), other.address(true)] {
                let device = &pod.device;
                pod.netns.ip(&format!(
                    "neighbor replace {address} lladdr {mac} dev {device} nud permanent"
                ))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Switch;

    #[test]
    fn what_failed_half_way_is_done_again_whatever_is_asked_for() {
        let mut switch = Switch(Some(false));
        assert!(switch.set(true, || anyhow::bail!("the second node does not")).is_err());
        for is_on in [false, true] {
            let mut acted = false;
            switch
                .set(is_on, || {
                    acted = true;
                    Ok(())
                })
                .unwrap();
            assert!(acted, "{is_on}");
        }
    }

    #[test]
    fn what_is_so_already_is_left_alone() {
        let mut switch = Switch::default();
        switch.set(true, || Ok(())).unwrap();
        switch.set(true, || anyhow::bail!("again")).unwrap();
    }
}
