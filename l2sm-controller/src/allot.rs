//! Addresses and the MAC of an attachment.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use l2sm_api::objects::L2Network;
use l2sm_common::mac::Mac;
use l2sm_core::{
    ipam::{IpamError, Wanted, allocate},
    mac_plan::{MacIdentity, plan_mac},
    model::{Holder, ObjectKey},
};
use thiserror::Error;

use crate::{draft::Draft, refusal::Refusal};

/// What an attachment asks for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The attachment, new or there.
    pub attachment: &'a ObjectKey,
    /// Its node.
    pub node: &'a str,
    /// The pod's name, else the attachment's.
    pub name: &'a str,
    /// Interface name.
    pub ifname: &'a str,
    /// Addresses; none: the network's choice.
    pub ips: &'a [Wanted],
    /// MAC; none: planned.
    pub mac: Option<Mac>,
    /// Addresses that it names wait, as chosen ones do, until the node that had them last has let go
    /// of them.
    pub waits: bool,
}

/// What an attachment gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allotted {
    /// Addresses with prefix lengths.
    pub ips: Vec<IpNet>,
    /// MAC.
    pub mac: Mac,
}

/// Why it gets nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AllotError {
    /// No such address.
    #[error(transparent)]
    Ip(#[from] IpamError),
    /// Another station has the MAC.
    #[error("MAC address {mac} is in use by {holder}")]
    Mac {
        /// The MAC.
        mac: Mac,
        /// Who has it.
        holder: Holder,
    },
}

impl AllotError {
    /// The field of an attachment that it is about.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Ip(_) => "spec.ips",
            Self::Mac { .. } => "spec.mac",
        }
    }

    /// Somebody else has what is wanted.
    pub const fn is_taken(&self) -> bool {
        matches!(self, Self::Ip(IpamError::InUse { .. }) | Self::Mac { .. })
    }

    /// The answer to a request about `network`.
    pub fn refuse(&self, network: &ObjectKey) -> Refusal {
        let message = format!("network {network}: {self}");
        match self {
            Self::Ip(IpamError::Exhausted(_)) => Refusal::Exhausted(message),
            _ if self.is_taken() => Refusal::AlreadyExists(message),
            Self::Ip(_) | Self::Mac { .. } => Refusal::Invalid(message),
        }
    }
}

/// Addresses and the MAC for an attachment to `network`. An address that another node has not let go
/// of yet is not given out by itself; where the attachment names it, it may have it unless it waits.
///
/// # Errors
/// See [`AllotError`].
pub fn allot(
    draft: &mut Draft,
    network: &L2Network,
    wish: &Wish<'_>,
) -> Result<Allotted, AllotError> {
    let key = network.metadata.key();
    let elsewhere = if wish.ips.is_empty() || wish.waits {
        draft.held_elsewhere(&key, wish.node)
    } else {
        BTreeMap::new()
    };
    let source = draft.ground.source.clone();
    let tenants = draft.tenants(&key);
    let own = Holder::Attachment(wish.attachment.clone());
    let other = |holder: &&Holder| **holder != own;
    let taken =
        |ip: &IpAddr| tenants.ips.get(ip).filter(other).or_else(|| elsewhere.get(ip)).cloned();
    let ips = allocate(&network.spec.pools(), &taken, wish.ips)?;
    let holder = |mac: Mac| tenants.macs.get(&mac).filter(other);
    let identity = MacIdentity {
        source: &source,
        network_uid: &network.metadata.uid,
        namespace: &wish.attachment.namespace,
        name: wish.name,
        ifname: wish.ifname,
    };
    let Some(mac) = wish.mac else {
        return Ok(Allotted { ips, mac: plan_mac(&identity, |mac| holder(mac).is_some()) });
    };
    match holder(mac) {
        Some(holder) => Err(AllotError::Mac { mac, holder: holder.clone() }),
        None => Ok(Allotted { ips, mac }),
    }
}
