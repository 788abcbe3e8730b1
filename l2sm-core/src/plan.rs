//! A world, worked out once for all its nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use l2sm_common::{ids::Group, vni::Vni};

use crate::{
    conflict::{Clash, Settled, settle},
    instructions::{Host, Instructions, Member, Place, Port, Segment, Vtep},
    model::{Attachment, ExternalHost, Holder, Network, Node, ObjectKey, external_vtep_name},
    world::World,
};

/// Bytes that VXLAN adds in front of an inner IP packet over IPv4: 20 IP, 8 UDP, 8 VXLAN, 14 inner
/// Ethernet (RFC 7348 section 5).
pub const OVERHEAD_V4: u32 = 50;
/// The same over IPv6, whose header has 40 bytes.
pub const OVERHEAD_V6: u32 = 70;

/// The segments of a world with who is in them: what every node's instructions are made from.
/// Making it costs as much as the world is large, a node's instructions as much as they are large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    segments: BTreeMap<Vni, PlannedSegment>,
    by_network: BTreeMap<ObjectKey, Vni>,
    by_node: BTreeMap<String, BTreeSet<Vni>>,
    vteps: BTreeMap<String, Vtep>,
    networks_out: BTreeMap<ObjectKey, Clash>,
    attachments_out: BTreeMap<ObjectKey, Clash>,
    vteps_out: BTreeMap<Holder, Clash>,
    hosts_out: BTreeMap<String, Vec<Clash>>,
}

/// One network with its stations.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlannedSegment {
    segment: Segment,
    /// Largest packet that the underlay takes whole, bytes; `None`: nobody to send to.
    fits: Option<u32>,
    mac_check: bool,
    stations: Vec<(ObjectKey, Arc<Attachment>)>,
    nodes: BTreeSet<String>,
    /// External VTEPs by the names that they have in instructions, with their hosts.
    externals: BTreeMap<String, Vec<ExternalHost>>,
}

impl Plan {
    /// Works out `world`.
    pub fn new(world: &World) -> Self {
        let mut settled = settle(world);
        let mut plan = Self { vteps: vteps(world, &settled), ..Self::default() };
        for (vni, key) in settled.networks {
            let Some(network) = world.networks.get(&key) else {
                continue;
            };
            let externals = settled.externals.remove(&vni).unwrap_or_default();
            let stations = settled.attachments.remove(&vni).unwrap_or_default().into_iter();
            let stations = stations.filter_map(|station| {
                let attachment = world.attachments.get(&station)?;
                let takes_part = plan.vteps.contains_key(&attachment.node);
                takes_part.then(|| (station, Arc::clone(attachment)))
            });
            let planned = PlannedSegment::new(&key, network, stations.collect(), externals, world);
            for node in &planned.nodes {
                plan.by_node.entry(node.clone()).or_default().insert(vni);
            }
            plan.by_network.insert(key, vni);
            plan.segments.insert(vni, planned);
        }
        plan.networks_out = settled.networks_out;
        plan.attachments_out = settled.attachments_out;
        plan.vteps_out = settled.vteps_out;
        plan.hosts_out = settled.hosts_out;
        plan
    }

    /// What `node` must know; the specification is [`crate::instructions::instructions`].
    pub fn instructions(&self, node: &str) -> Instructions {
        let mut all = Instructions::default();
        for vni in self.by_node.get(node).into_iter().flatten() {
            let Some(segment) = self.segments.get(vni) else {
                continue;
            };
            segment.instruct(*vni, node, &mut all);
            let others = segment.nodes.iter().filter(|name| *name != node);
            for name in others.chain(segment.externals.keys()) {
                if let Some(vtep) = self.vteps.get(name) {
                    all.vteps.insert(name.clone(), vtep.clone());
                }
            }
        }
        all
    }

    /// The port of an attachment to a network; `None`: it has none, see
    /// [`Self::attachment_clash`].
    pub fn port(&self, network: &ObjectKey, attachment: &ObjectKey) -> Option<Port> {
        let vni = *self.by_network.get(network)?;
        let segment = self.segments.get(&vni)?;
        let (_, station) = segment.stations.iter().find(|(key, _)| key == attachment)?;
        Some(segment.port(vni, station))
    }

    /// Names of the nodes with a port in a network.
    pub fn nodes(&self, network: &ObjectKey) -> impl Iterator<Item = &str> {
        self.segment(network)
            .into_iter()
            .flat_map(|segment| segment.nodes.iter().map(String::as_str))
    }

    /// MTU of a network, bytes; `None`: no node has a port in it and its spec does not say.
    pub fn mtu(&self, network: &ObjectKey) -> Option<u32> {
        self.segment(network).map(|segment| segment.segment.mtu).filter(|mtu| *mtu > 0)
    }

    /// What the underlay between the nodes of a network takes whole, bytes, where that is less than its MTU.
    pub fn less_than_mtu(&self, network: &ObjectKey) -> Option<u32> {
        let segment = self.segment(network)?;
        segment.fits.filter(|fits| *fits < segment.segment.mtu)
    }

    /// Why a network does not act; `None`: it does.
    pub fn network_clash(&self, network: &ObjectKey) -> Option<&Clash> {
        self.networks_out.get(network)
    }

    /// Why an attachment does not act; `None`: it does, or waits for its network or node.
    pub fn attachment_clash(&self, attachment: &ObjectKey) -> Option<&Clash> {
        self.attachments_out.get(attachment)
    }

    /// Why a node or an external VTEP does not act; `None`: it does.
    pub fn vtep_clash(&self, vtep: &Holder) -> Option<&Clash> {
        self.vteps_out.get(vtep)
    }

    /// Which hosts of an external VTEP do not act, and why.
    pub fn host_clashes(&self, external: &str) -> &[Clash] {
        self.hosts_out.get(external).map_or(&[], Vec::as_slice)
    }

    fn segment(&self, network: &ObjectKey) -> Option<&PlannedSegment> {
        self.segments.get(self.by_network.get(network)?)
    }
}

impl PlannedSegment {
    fn new(
        key: &ObjectKey,
        network: &Network,
        stations: Vec<(ObjectKey, Arc<Attachment>)>,
        externals: BTreeMap<String, Vec<ExternalHost>>,
        world: &World,
    ) -> Self {
        let nodes: BTreeSet<_> = stations.iter().map(|(_, station)| station.node.clone()).collect();
        let members = nodes.iter().filter_map(|name| world.nodes.get(name)).collect::<Vec<_>>();
        let addresses = externals.keys().filter_map(|name| world.externals.get(name));
        let addresses: Vec<_> = addresses.map(|external| external.address).collect();
        let fits = mtu_over(&members, &addresses);
        let mtu = network.mtu.or(fits).unwrap_or_default();
        let segment =
            Segment { network: key.clone(), mtu, flood: network.flood, learning: network.learning };
        let externals = externals.into_iter();
        let externals = externals.map(|(name, hosts)| (external_vtep_name(&name), hosts)).collect();
        let fits = fits.filter(|fits| *fits > 0 && members.len() + addresses.len() > 1);
        Self { segment, fits, mac_check: network.mac_check, stations, nodes, externals }
    }

    fn instruct(&self, vni: Vni, node: &str, all: &mut Instructions) {
        all.segments.insert(vni, self.segment.clone());
        let member = Member {
            group: Group::MESH,
            unknown: !self.mac_check,
            external: false,
            learn: self.segment.learning,
        };
        let others = self.nodes.iter().filter(|name| *name != node);
        all.members.extend(others.map(|name| ((vni, name.clone()), member)));
        for (key, station) in &self.stations {
            let here = station.node == node;
            let place =
                if here { Place::Port(key.clone()) } else { Place::Vtep(station.node.clone()) };
            let ips = station.ips.iter().map(ipnet::IpNet::addr).collect();
            all.hosts.insert((vni, station.mac), Host { ips, place, router: None });
            if here {
                all.ports.insert(key.clone(), self.port(vni, station));
            }
        }
        self.instruct_externals(vni, all);
    }

    /// Unlisted stations may be behind an external VTEP, and what it sends is looked at closer. It
    /// is one of the full mesh: who sends to it sends to the nodes as well.
    fn instruct_externals(&self, vni: Vni, all: &mut Instructions) {
        let learn = self.segment.learning;
        let member = Member { group: Group::MESH, unknown: true, external: true, learn };
        for (name, hosts) in &self.externals {
            all.members.insert((vni, name.clone()), member);
            for ExternalHost { mac, ips } in hosts {
                let place = Place::Vtep(name.clone());
                all.hosts.insert((vni, *mac), Host { ips: ips.clone(), place, router: None });
            }
        }
    }

    fn port(&self, vni: Vni, station: &Attachment) -> Port {
        Port {
            vni,
            ifname: station.ifname.clone(),
            netns: station.netns.clone(),
            netns_inode: station.netns_inode,
            pod: station.pod.clone(),
            pod_uid: station.pod_uid.clone(),
            mac: station.mac,
            addresses: station.ips.clone(),
            mtu: self.segment.mtu,
            mac_check: self.mac_check,
            // A pod that may send from other MACs may hold a bridge or a router from the start.
            forwarder: !self.mac_check || self.segment.learning,
        }
    }
}

fn vteps(world: &World, settled: &Settled) -> BTreeMap<String, Vtep> {
    let acts = |holder| !settled.vteps_out.contains_key(&holder);
    let nodes = world
        .nodes
        .iter()
        .filter(|(name, node)| !node.vteps.is_empty() && acts(Holder::Node((*name).clone())));
    let nodes = nodes.map(|(name, node)| {
        let vtep = Vtep { addresses: node.vteps.clone(), udp_checksum: false };
        (name.clone(), vtep)
    });
    let externals =
        world.externals.iter().filter(|(name, _)| acts(Holder::ExternalVtep((*name).clone())));
    let externals = externals.map(|(name, external)| {
        let udp_checksum = external.udp_checksum;
        (external_vtep_name(name), Vtep { addresses: vec![external.address], udp_checksum })
    });
    nodes.chain(externals).collect()
}

/// The MTU of a network over these nodes and external VTEPs: the least underlay's, less the largest
/// overhead that a pair of them meets.
fn mtu_over(nodes: &[&Node], externals: &[IpAddr]) -> Option<u32> {
    let mut least: Option<u32> = None;
    let mut kinds: BTreeMap<Families, usize> = BTreeMap::new();
    for node in nodes {
        least = Some(least.map_or(node.underlay_mtu, |least| least.min(node.underlay_mtu)));
        *kinds.entry(Families::of(node)).or_default() += 1;
    }
    let to_external =
        || externals.iter().any(IpAddr::is_ipv6) && kinds.keys().any(|families| families.v6);
    let v6 = some_pair_speaks_v6(&kinds) || to_external();
    let overhead = if v6 { OVERHEAD_V6 } else { OVERHEAD_V4 };
    least.map(|mtu| mtu.saturating_sub(overhead))
}

/// Which addresses a node has; all nodes alike are looked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Families {
    v4: bool,
    v6: bool,
    v6_first: bool,
}

impl Families {
    fn of(node: &Node) -> Self {
        Self {
            v4: node.vteps.iter().any(IpAddr::is_ipv4),
            v6: node.vteps.iter().any(IpAddr::is_ipv6),
            v6_first: node.vteps.first().is_some_and(IpAddr::is_ipv6),
        }
    }

    /// Whether a node like this sends to one like `other` over IPv6: to the other's first address of
    /// a family that it has itself.
    const fn sends_v6_to(self, other: Self) -> bool {
        self.v6 && other.v6 && (other.v6_first || !self.v4 || !other.v4)
    }
}

fn some_pair_speaks_v6(kinds: &BTreeMap<Families, usize>) -> bool {
    let alone = kinds.values().sum::<usize>() == 1;
    kinds.iter().any(|(from, count)| {
        kinds.keys().any(|to| (from != to || *count > 1 || alone) && from.sends_v6_to(*to))
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
