//! Objects that cannot both act, and which of them does.
//!
//! Stores refuse such objects when they are written; what appears only later (two stores merged, a
//! node whose address an external VTEP has) is settled here, on every node alike: the older one
//! acts, then the one of the lower UID, then the first by key.

use core::fmt;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    slice,
};

use l2sm_common::{mac::Mac, vni::Vni};

use crate::{
    model::{Attachment, ExternalHost, ExternalVtep, Holder, ObjectKey, Seniority},
    world::World,
};

/// Which objects of a world act, and which do not because of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The network that has each VNI.
    pub networks: BTreeMap<Vni, ObjectKey>,
    /// Networks whose VNI another one has.
    pub networks_out: BTreeMap<ObjectKey, Clash>,
    /// Nodes and external VTEPs whose address another one has.
    pub vteps_out: BTreeMap<Holder, Clash>,
    /// Attachments that act, by segment, the oldest first.
    pub attachments: BTreeMap<Vni, Vec<ObjectKey>>,
    /// Attachments whose MAC or address another station of the segment has.
    pub attachments_out: BTreeMap<ObjectKey, Clash>,
    /// External VTEPs of each segment by name, with those of their hosts that act.
    pub externals: BTreeMap<Vni, BTreeMap<String, Vec<ExternalHost>>>,
    /// What of external VTEPs' hosts another station of the segment has, by VTEP.
    pub hosts_out: BTreeMap<String, Vec<Clash>>,
}

/// Why an object does not act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// What both claim.
    pub over: Claim,
    /// Who has it.
    pub holder: Holder,
}

/// Something that only one object can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A number on the wire.
    Vni(Vni),
    /// A MAC address in a segment.
    Mac(Mac),
    /// An IP address in a segment.
    Ip(IpAddr),
    /// A tunnel endpoint's address in the underlay.
    Vtep(IpAddr),
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = &self.holder;
        match self.over {
            Claim::Vni(vni) => write!(f, "VNI {vni} is in use by {holder}"),
            Claim::Mac(mac) => write!(f, "MAC address {mac} is in use by {holder}"),
            Claim::Ip(ip) => write!(f, "address {ip} is in use by {holder}"),
            Claim::Vtep(address) => write!(f, "VTEP address {address} is in use by {holder}"),
        }
    }
}

/// Settles who acts. An attachment without network is in neither list: it waits.
pub fn settle(world: &World) -> Settled {
    let mut settled = Settled::default();
    settled.settle_networks(world);
    settled.settle_vteps(world);
    settled.settle_stations(world);
    settled
}

impl Settled {
    fn settle_networks(&mut self, world: &World) {
        let mut networks: Vec<_> = world.networks.iter().collect();
        networks.sort_by_key(|(_, network)| &network.seniority);
        for (key, network) in networks {
            match self.networks.entry(network.vni) {
                Entry::Vacant(free) => {
                    free.insert(key.clone());
                }
                Entry::Occupied(holder) => {
                    let holder = Holder::Network(holder.get().clone());
                    let clash = Clash { over: Claim::Vni(network.vni), holder };
                    self.networks_out.insert(key.clone(), clash);
                }
            }
        }
    }

    fn settle_vteps(&mut self, world: &World) {
        let nodes = world.nodes.iter().map(|(name, node)| {
            (&node.seniority, Holder::Node(name.clone()), node.vteps.as_slice())
        });
        let externals = world.externals.iter().map(|(name, vtep)| {
            let address = slice::from_ref(&vtep.address);
            (&vtep.seniority, Holder::ExternalVtep(name.clone()), address)
        });
        let mut vteps: Vec<_> = nodes.chain(externals).collect();
        vteps.sort_by_key(|(seniority, ..)| *seniority);
        let mut holders: BTreeMap<IpAddr, Holder> = BTreeMap::new();
        for (_, claimant, addresses) in vteps {
            let taken =
                addresses.iter().find_map(|address| Some((*address, holders.get(address)?)));
            if let Some((address, holder)) = taken {
                let clash = Clash { over: Claim::Vtep(address), holder: holder.clone() };
                self.vteps_out.insert(claimant, clash);
                continue;
            }
            holders.extend(addresses.iter().map(|address| (*address, claimant.clone())));
        }
    }

    fn settle_stations(&mut self, world: &World) {
        let attachments = world.attachments.iter().map(|(key, attachment)| {
            (&attachment.seniority, Claimant::Attachment(key, attachment.as_ref()))
        });
        let externals = world
            .externals
            .iter()
            .filter(|(name, _)| {
                !self.vteps_out.contains_key(&Holder::ExternalVtep((*name).clone()))
            })
            .map(|(name, vtep)| (&vtep.seniority, Claimant::External(name, vtep)));
        let mut claimants: Vec<(&Seniority, Claimant<'_>)> = attachments.chain(externals).collect();
        claimants.sort_by_key(|(seniority, _)| *seniority);
        let mut claims = Claims::default();
        for (_, claimant) in claimants {
            match claimant {
                Claimant::Attachment(key, attachment) => {
                    self.settle_attachment(world, &mut claims, claimant, key, attachment);
                }
                Claimant::External(name, vtep) => {
                    self.settle_hosts(world, &mut claims, claimant, name, vtep);
                }
            }
        }
    }

    fn settle_attachment<'a>(
        &mut self,
        world: &World,
        claims: &mut Claims<'a>,
        claimant: Claimant<'a>,
        key: &ObjectKey,
        attachment: &Attachment,
    ) {
        let Some(vni) = self.segment(world, &attachment.network) else { return };
        let ips = attachment.ips.iter().map(ipnet::IpNet::addr);
        match claims.claim(vni, attachment.mac, ips, claimant) {
            Ok(()) => self.attachments.entry(vni).or_default().push(key.clone()),
            Err(clash) => drop(self.attachments_out.insert(key.clone(), clash)),
        }
    }

    fn settle_hosts<'a>(
        &mut self,
        world: &World,
        claims: &mut Claims<'a>,
        claimant: Claimant<'a>,
        name: &str,
        vtep: &ExternalVtep,
    ) {
        for (network, hosts) in &vtep.networks {
            let Some(vni) = self.segment(world, network) else { continue };
            let acting = self.externals.entry(vni).or_default().entry(name.to_owned()).or_default();
            for host in hosts {
                match claims.claim(vni, host.mac, host.ips.iter().copied(), claimant) {
                    Ok(()) => acting.push(host.clone()),
                    Err(clash) => self.hosts_out.entry(name.to_owned()).or_default().push(clash),
                }
            }
        }
    }

    /// The segment of a network that acts.
    fn segment(&self, world: &World, network: &ObjectKey) -> Option<Vni> {
        let vni = world.networks.get(network)?.vni;
        (!self.networks_out.contains_key(network)).then_some(vni)
    }
}

/// Who claims MACs and addresses.
#[derive(Clone, Copy, Debug)]
enum Claimant<'a> {
    Attachment(&'a ObjectKey, &'a Attachment),
    External(&'a str, &'a ExternalVtep),
}

impl Claimant<'_> {
    fn holder(self) -> Holder {
        match self {
            Self::Attachment(key, _) => Holder::Attachment(key.clone()),
            Self::External(name, _) => Holder::ExternalVtep(name.to_owned()),
        }
    }
}

/// Who has which MACs and addresses.
#[derive(Debug, Default)]
struct Claims<'a> {
    macs: BTreeMap<(Vni, Mac), Claimant<'a>>,
    ips: BTreeMap<(Vni, IpAddr), Claimant<'a>>,
}

impl<'a> Claims<'a> {
    /// Claims all of a station, or nothing and tells the first clash.
    fn claim(
        &mut self,
        vni: Vni,
        mac: Mac,
        ips: impl Iterator<Item = IpAddr> + Clone,
        claimant: Claimant<'a>,
    ) -> Result<(), Clash> {
        if let Some(holder) = self.macs.get(&(vni, mac)) {
            return Err(Clash { over: Claim::Mac(mac), holder: holder.holder() });
        }
        let taken = ips.clone().find_map(|ip| Some((ip, self.ips.get(&(vni, ip))?)));
        if let Some((ip, holder)) = taken {
            return Err(Clash { over: Claim::Ip(ip), holder: holder.holder() });
        }
        self.macs.insert((vni, mac), claimant);
        self.ips.extend(ips.map(|ip| ((vni, ip), claimant)));
        Ok(())
    }
}

#[cfg(test)]
#[path = "conflict_tests.rs"]
mod tests;
