//! [`Links`] on the real kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use l2sm_common::ids::IfIndex;
use l2sm_core::{
    image::{Local, LocalPort, Path},
    instructions::Port,
    model::ObjectKey,
};

use super::{
    Links, LinksError, PortOutcomes,
    devices::{self, Devices},
    links::{self, Link},
    neighbors::{self, Neighbor, NextHop},
    remove,
    routes::{self, Route},
    socket::Conversation,
    underlay::{Underlay, XdpMode},
    veths::{self, Wanted},
};

/// Next hops are asked this often whether they are there, a little less than a pass's period.
const PROBE_EVERY: Duration = Duration::from_secs(7);

/// Veths that the kernel is asked to remove at once. It lets nobody else change links meanwhile.
const REMOVED_AT_ONCE: usize = 16;

/// The links of the namespace that the agent runs in.
#[derive(Debug)]
pub struct KernelLinks {
    kernel: Conversation,
    settings: Settings,
    devices: Option<Devices>,
    /// Every link by ifindex, as it was when looked at; veths as they were left since.
    present: Vec<Link>,
    /// When next hops were last asked whether they are there.
    probed: Option<Instant>,
    /// What the last look missed of the underlay.
    underlay_faults: Vec<String>,
    /// What each veth was last made or found to be, so that a pass need not enter every namespace.
    seen: BTreeMap<ObjectKey, Seen>,
}

/// What the agent was told about its node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Underlay devices and own addresses.
    pub underlay: Underlay,
    /// UDP port of tunnels.
    pub udp_port: u16,
    /// Mark bit of the slow path.
    pub mark: u32,
    /// Where frames are dropped by XDP.
    pub xdp: XdpMode,
}

#[derive(Clone, Debug)]
struct Seen {
    port: Port,
    local: LocalPort,
    /// `ifalias` of the host end.
    alias: String,
}

impl KernelLinks {
    /// Opens netlink in the calling thread's namespace.
    ///
    /// # Errors
    /// No netlink.
    pub fn open(settings: Settings) -> Result<Self, LinksError> {
        Ok(Self {
            kernel: Conversation::open()?,
            settings,
            devices: None,
            present: Vec::new(),
            probed: None,
            underlay_faults: Vec::new(),
            seen: BTreeMap::new(),
        })
    }

    fn ensure_port(
        &mut self,
        bridge: IfIndex,
        key: &ObjectKey,
        port: &Port,
    ) -> Result<LocalPort, LinksError> {
        let before = self.seen.get(key);
        if let Some(seen) = before.filter(|seen| seen.is_still(port, &self.present, bridge)) {
            return Ok(seen.local);
        }
        let before = before.map(|seen| seen.port.clone());
        let wanted = Wanted { key, port, before: before.as_ref() };
        let name = veths::host_name(key);
        // Of what is there by that name, the kernel is asked: it may be newer than the last look.
        let existing = links::read_link(&mut self.kernel, &name)?;
        let local = veths::ensure_veth(&mut self.kernel, existing.as_ref(), bridge, &wanted)?;
        let device = local.device.0;
        let left = links::read_link(&mut self.kernel, &name)?;
        let left = left.filter(|link| link.index == device);
        let left = left.ok_or(LinksError::Vanished { name })?;
        self.present.retain(|link| link.index != device);
        let place = self.present.partition_point(|link| link.index < device);
        self.present.insert(place, left);
        let alias = veths::host_alias(key, port);
        self.seen.insert(key.clone(), Seen { port: port.clone(), local, alias });
        Ok(local)
    }

    fn way(&mut self, to: IpAddr) -> Result<Option<(Route, IpAddr)>, LinksError> {
        let own = self.settings.underlay.addresses.clone();
        let Some(fallback) = own.iter().copied().find(|own| own.is_ipv4() == to.is_ipv4()) else {
            return Ok(None);
        };
        let Some(route) = routes::route_to(&mut self.kernel, to, None)? else { return Ok(None) };
        if let Some(source) = route.source.filter(|source| own.contains(source)) {
            return Ok(Some((route, source)));
        }
        // The far end lets in only what comes from an address that we said hello with.
        let from_own = routes::route_to(&mut self.kernel, to, Some(fallback))?;
        Ok(from_own.map(|route| (route, fallback)))
    }
}

impl Seen {
    /// Whether the host end is as it was left, so that nothing needs to be looked at inside. A pod's
    /// namespace takes the veth with it when it goes.
    fn is_still(&self, port: &Port, present: &[Link], bridge: IfIndex) -> bool {
        self.port == *port
            && by_index(present, self.local.device.0).is_some_and(|link| {
                link.alias.as_ref() == Some(&self.alias)
                    && link.controller == Some(bridge.0)
                    && link.up
                    && link.mtu == port.mtu
                    && link.no_auto_address
            })
    }
}

impl Links for KernelLinks {
    fn look(&mut self) -> Result<(), LinksError> {
        self.present = links::dump_links(&mut self.kernel)?;
        Ok(())
    }

    fn ensure_devices(&mut self) -> Result<(), LinksError> {
        self.devices = None;
        let port = self.settings.udp_port;
        self.devices = Some(devices::ensure_devices(&mut self.kernel, &mut self.present, port)?);
        Ok(())
    }

    fn observe(&mut self, remotes: &[&[IpAddr]], settled: bool) -> Result<Local, LinksError> {
        let addresses = veths::dump_addresses(&mut self.kernel)?;
        self.underlay_faults = self.settings.underlay.follow(&self.present, &addresses);
        let mut ways = BTreeMap::new();
        for addresses in remotes {
            let own = &self.settings.underlay.addresses;
            let usable = |to: &&IpAddr| own.iter().any(|own| own.is_ipv4() == to.is_ipv4());
            if let Some(to) = addresses.iter().find(usable) {
                ways.insert(*to, self.way(*to)?);
            }
        }
        let hops: BTreeSet<NextHop> = ways
            .iter()
            .filter_map(|(to, way)| Some((to, &way.as_ref()?.0)))
            .flat_map(|(to, route)| next_hops(*to, route))
            .filter(|(device, _address)| {
                by_index(&self.present, *device).is_some_and(|link| link.mac.is_some())
            })
            .collect();
        let known = neighbors::dump_neighbors(&mut self.kernel)?;
        self.keep_hops(&hops, &known, settled);
        Ok(Local {
            ports: BTreeMap::new(),
            uplinks: self.settings.underlay.uplinks(&self.present, self.settings.xdp),
            addresses: self.settings.underlay.addresses.clone(),
            paths: ways
                .into_iter()
                .filter_map(|(to, way)| Some((to, paths(to, way?, &self.present, &known))))
                .collect(),
            vxlan: self.devices.map(|devices| devices.vxlan),
            udp_port: self.settings.udp_port,
            mark: self.settings.mark,
            slow_path_blocked: false,
        })
    }

    fn underlay_faults(&self) -> Vec<String> {
        self.underlay_faults.clone()
    }

    fn ensure_ports(
        &mut self,
        ports: &BTreeMap<ObjectKey, Port>,
    ) -> Result<PortOutcomes, LinksError> {
        self.seen.retain(|key, _seen| ports.contains_key(key));
        if ports.is_empty() {
            return Ok(BTreeMap::new());
        }
        if self.devices.is_none() {
            self.look()?;
            self.ensure_devices()?;
        }
        let bridge = self.devices.map_or(IfIndex(0), |devices| devices.bridge);
        let mut outcomes = BTreeMap::new();
        for (key, port) in ports {
            let outcome = self.ensure_port(bridge, key, port);
            if outcome.is_err() {
                self.seen.remove(key);
            }
            outcomes.insert(key.clone(), outcome);
        }
        Ok(outcomes)
    }

    fn own_ports(&self) -> BTreeMap<String, IfIndex> {
        let ours = self.present.iter().filter(|link| link.is_our_veth());
        ours.map(|link| (link.name.clone(), IfIndex(link.index))).collect()
    }

    fn remove_ports(&mut self, ports: &BTreeMap<String, IfIndex>) -> BTreeMap<String, LinksError> {
        let mut stay = BTreeMap::new();
        let all: Vec<_> = ports.iter().collect();
        for some in all.chunks(REMOVED_AT_ONCE) {
            let indexes: BTreeSet<u32> = some.iter().map(|(_name, device)| device.0).collect();
            if some.len() > 1
                && let Err(why) = remove::delete_at_once(&mut self.kernel, &self.present, &indexes)
            {
                tracing::debug!(%why, "removed one by one");
            }
            // What is gone by now is no error.
            for (name, device) in some {
                tracing::info!(device = name, "veth removed");
                match links::delete_link(&mut self.kernel, device.0) {
                    Ok(()) => self.present.retain(|link| link.index != device.0),
                    Err(why) => drop(stay.insert((*name).clone(), why.into())),
                }
            }
        }
        stay
    }
}

impl KernelLinks {
    /// Next hops that cannot be kept are only logged: the slow path resolves them.
    fn keep_hops(
        &mut self,
        hops: &BTreeSet<NextHop>,
        known: &BTreeMap<NextHop, Neighbor>,
        settled: bool,
    ) {
        if self.probed.is_none_or(|probed| probed.elapsed() >= PROBE_EVERY) {
            self.probed = Some(Instant::now());
            if let Err(why) = neighbors::probe(&mut self.kernel, hops, known) {
                tracing::debug!(%why, "a next hop is not asked");
            }
        }
        if let Err(why) = neighbors::keep_resolved(&mut self.kernel, hops, known) {
            tracing::debug!(%why, "a next hop is not kept resolved");
        }
        let idle = known.iter().filter(|(hop, entry)| settled && entry.ours && !hops.contains(hop));
        for (hop, _entry) in idle {
            if let Err(why) = neighbors::release(&mut self.kernel, *hop) {
                tracing::debug!(%why, next_hop = %hop.1, "not let go of");
            }
        }
    }
}

/// One of some links that are in order of their ifindexes.
fn by_index(links: &[Link], index: u32) -> Option<&Link> {
    let place = links.binary_search_by_key(&index, |link| link.index).ok()?;
    links.get(place)
}

fn next_hops(to: IpAddr, route: &Route) -> impl Iterator<Item = NextHop> {
    route.hops.iter().map(move |hop| (hop.device, hop.gateway.unwrap_or(to)))
}

fn paths(
    to: IpAddr,
    (route, source): (Route, IpAddr),
    links: &[Link],
    known: &BTreeMap<NextHop, Neighbor>,
) -> Vec<Path> {
    next_hops(to, &route)
        .filter_map(|hop| {
            let link = by_index(links, hop.0)?;
            Some(Path {
                device: IfIndex(link.index),
                source,
                mtu: route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
                source_mac: link.mac,
                next_hop: known
                    .get(&hop)
                    .and_then(|neighbor| neighbor.mac)
                    .filter(|_mac| link.mac.is_some()),
            })
        })
        .collect()
}
