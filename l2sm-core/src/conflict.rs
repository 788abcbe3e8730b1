//! Objects that cannot both act, and which of them does.
//!
//! Stores refuse such objects when they are written; where two writers (or an older version) let
//! them through all the same, the first by key acts, on every node alike.

use core::fmt;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use l2sm_common::{mac::Mac, vni::Vni};

use crate::{
    model::{Attachment, ObjectKey},
    world::World,
};

/// Which objects of a world act, and which do not because of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The network that has each VNI.
    pub networks: BTreeMap<Vni, ObjectKey>,
    /// Networks whose VNI another one has.
    pub networks_out: BTreeMap<ObjectKey, Clash>,
    /// Attachments that act, by segment, in the order of their keys.
    pub attachments: BTreeMap<Vni, Vec<ObjectKey>>,
    /// Attachments whose MAC or address another one of the segment has.
    pub attachments_out: BTreeMap<ObjectKey, Clash>,
}

/// Why an object does not act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// What both claim.
    pub over: Claim,
    /// Who has it.
    pub holder: ObjectKey,
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
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = &self.holder;
        match self.over {
            Claim::Vni(vni) => write!(f, "VNI {vni} is in use by {holder}"),
            Claim::Mac(mac) => write!(f, "MAC address {mac} is in use by {holder}"),
            Claim::Ip(ip) => write!(f, "address {ip} is in use by {holder}"),
        }
    }
}

/// Settles who acts: the first by key. An attachment without network is in neither list: it waits.
pub fn settle(world: &World) -> Settled {
    let mut settled = Settled::default();
    for (key, network) in &world.networks {
        match settled.networks.entry(network.vni) {
            Entry::Vacant(free) => {
                free.insert(key.clone());
            }
            Entry::Occupied(holder) => {
                let clash = Clash { over: Claim::Vni(network.vni), holder: holder.get().clone() };
                settled.networks_out.insert(key.clone(), clash);
            }
        }
    }
    let mut macs: BTreeMap<(Vni, Mac), &ObjectKey> = BTreeMap::new();
    let mut ips: BTreeMap<(Vni, IpAddr), &ObjectKey> = BTreeMap::new();
    for (key, attachment) in &world.attachments {
        let Some(network) = world.networks.get(&attachment.network) else {
            continue;
        };
        let vni = network.vni;
        if settled.networks_out.contains_key(&attachment.network) {
            continue;
        }
        if let Some(clash) = clash(vni, attachment, &macs, &ips) {
            settled.attachments_out.insert(key.clone(), clash);
            continue;
        }
        macs.insert((vni, attachment.mac), key);
        ips.extend(attachment.ips.iter().map(|ip| ((vni, ip.addr()), key)));
        settled.attachments.entry(vni).or_default().push(key.clone());
    }
    settled
}

fn clash(
    vni: Vni,
    attachment: &Attachment,
    macs: &BTreeMap<(Vni, Mac), &ObjectKey>,
    ips: &BTreeMap<(Vni, IpAddr), &ObjectKey>,
) -> Option<Clash> {
    if let Some(holder) = macs.get(&(vni, attachment.mac)) {
        return Some(Clash { over: Claim::Mac(attachment.mac), holder: (*holder).clone() });
    }
    attachment.ips.iter().find_map(|ip| {
        let ip = ip.addr();
        let holder = ips.get(&(vni, ip))?;
        Some(Clash { over: Claim::Ip(ip), holder: (*holder).clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::{attachment, key, network};

    #[test]
    fn the_first_by_key_keeps_a_vni_a_mac_and_an_address() {
        let mut world = World::default();
        world.networks.insert(key("blue"), network(7));
        world.networks.insert(key("red"), network(7));
        world.attachments.insert(key("a"), attachment("blue", "n1", 1));
        world.attachments.insert(key("b"), attachment("blue", "n2", 1));
        let mut same_ip = attachment("blue", "n2", 2);
        same_ip.ips = attachment("blue", "n1", 1).ips;
        world.attachments.insert(key("c"), same_ip);
        world.attachments.insert(key("d"), attachment("red", "n1", 4));

        let settled = settle(&world);
        let vni = Vni::new(7).unwrap();
        assert_eq!(settled.networks, BTreeMap::from([(vni, key("blue"))]));
        assert_eq!(
            settled.networks_out[&key("red")].to_string(),
            "VNI 7 is in use by default/blue"
        );
        assert_eq!(settled.attachments, BTreeMap::from([(vni, vec![key("a")])]));
        assert_eq!(
            settled.attachments_out[&key("b")].to_string(),
            "MAC address 02:00:00:00:00:01 is in use by default/a"
        );
        assert_eq!(
            settled.attachments_out[&key("c")].to_string(),
            "address 10.0.0.1 is in use by default/a"
        );
        assert!(!settled.attachments_out.contains_key(&key("d")), "it waits for its network");
    }

    #[test]
    fn different_segments_share_addresses() {
        let mut world = World::default();
        world.networks.insert(key("blue"), network(7));
        world.networks.insert(key("red"), network(8));
        world.attachments.insert(key("a"), attachment("blue", "n1", 1));
        world.attachments.insert(key("b"), attachment("red", "n1", 1));
        assert!(settle(&world).attachments_out.is_empty());
    }
}
