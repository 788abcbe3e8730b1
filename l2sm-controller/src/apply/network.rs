//! An `L2Network` of a manifest.

use std::{net::IpAddr, sync::Arc};

use l2sm_api::objects::{L2Attachment, L2Network, L2NetworkStatus, Object};
use l2sm_common::vni::Vni;
use l2sm_core::{ipam::Pool, model::ObjectKey};

use super::{Objection, Outcome, names};
use crate::{catalog::vni_of, draft::Draft};

/// Creates or updates a network. It has its VNI before anybody hears of it.
pub(super) fn apply(draft: &mut Draft, mut network: L2Network) -> Result<Outcome, Objection> {
    let key = network.metadata.key();
    let old = draft.catalog.networks.get(&key).map(Arc::clone);
    let mut kept = None;
    if let Some(old) = &old {
        let labels = (&old.metadata.labels, &old.metadata.annotations);
        if old.spec == network.spec
            && labels == (&network.metadata.labels, &network.metadata.annotations)
        {
            return Ok(Outcome::Unchanged);
        }
        check_fixed(draft, old, &network)?;
        kept = vni_of(old).filter(|_| old.spec.vni == network.spec.vni);
    }
    let vni = match (kept, network.spec.vni) {
        (Some(vni), _) => vni,
        (None, Some(raw)) => chosen_vni(draft, &network, raw)?,
        (None, None) => {
            draft.take_vni().ok_or_else(|| Objection::taken("spec.vni", "no VNI is free"))?
        }
    };
    network.status = Some(L2NetworkStatus { vni: Some(vni.get()), ..L2NetworkStatus::default() });
    draft.put(Object::L2Network(Box::new(network)));
    Ok(if old.is_some() { Outcome::Configured } else { Outcome::Created })
}

/// The VNI that the user chose, unless another network has it.
fn chosen_vni(draft: &Draft, network: &L2Network, raw: u32) -> Result<Vni, Objection> {
    let key = network.metadata.key();
    let vni = Vni::new(raw)
        .ok_or_else(|| Objection::wrong("spec.vni", format!("{raw} is out of range")))?;
    let holder = draft
        .catalog
        .networks
        .iter()
        .find(|(other, held)| **other != key && vni_of(held) == Some(vni));
    match holder {
        None => Ok(vni),
        Some((holder, _)) => {
            Err(Objection::taken("spec.vni", format!("{raw} is taken by network {holder}")))
        }
    }
}

/// What must not change while attachments use it: the VNI (a node would still send on the old one),
/// and the addresses, where some that were given out would not be the network's any more.
fn check_fixed(draft: &Draft, old: &L2Network, new: &L2Network) -> Result<(), Objection> {
    let key = new.metadata.key();
    let users: Vec<_> = draft.catalog.attachments_of(&key).collect();
    if users.is_empty() {
        return Ok(());
    }
    let number = |vni: Option<u32>| vni.map_or_else(|| "none".to_owned(), |vni| vni.to_string());
    if old.spec.vni != new.spec.vni {
        let (before, after) = (number(old.spec.vni), number(new.spec.vni));
        let users: Vec<_> = users.iter().map(|(user, _)| user).collect();
        let users = names(&users);
        let why =
            format!("cannot change from {before} to {after} while attachments use it: {users}");
        return Err(Objection::wrong("spec.vni", why));
    }
    let fields = [
        ("spec.networkCIDR", &old.spec.network_cidr, &new.spec.network_cidr),
        ("spec.podAddressRange", &old.spec.pod_address_range, &new.spec.pod_address_range),
    ];
    let changed = fields.into_iter().find(|(_, before, after)| before != after);
    let left_out = left_out(&new.spec.pools(), &users);
    if let Some((field, before, after)) = changed
        && !left_out.is_empty()
    {
        let show = |cidr: &Option<String>| cidr.clone().unwrap_or_else(|| "none".to_owned());
        let (before, after, left_out) = (show(before), show(after), names(&left_out));
        let why = format!(
            "cannot change from {before} to {after} while attachments have addresses outside it: {left_out}"
        );
        return Err(Objection::wrong(field, why));
    }
    Ok(())
}

/// Addresses of attachments that are in none of `pools`, as `default/a (10.34.0.1)`. Without pools
/// any address will do.
pub(crate) fn left_out(pools: &[Pool], users: &[(&ObjectKey, &L2Attachment)]) -> Vec<String> {
    let addresses = users
        .iter()
        .flat_map(|(user, held)| held.spec.addresses().into_iter().map(move |net| (user, net)));
    let outside = addresses.filter(|(_, net)| is_outside(pools, &net.addr()));
    outside.map(|(user, net)| format!("{user} ({})", net.addr())).collect()
}

/// Whether an address is in none of a network's `pools`. Without pools any address will do.
pub fn is_outside(pools: &[Pool], ip: &IpAddr) -> bool {
    let has =
        |pool: &Pool| pool.cidr.contains(ip) || pool.range.is_some_and(|range| range.contains(ip));
    !pools.is_empty() && !pools.iter().any(has)
}
