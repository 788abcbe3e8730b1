//! An `L2Network` of a manifest.

use std::sync::Arc;

use l2sm_api::objects::{L2Network, L2NetworkStatus, Object};
use l2sm_common::vni::Vni;

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

/// What must not change while attachments use it: the VNI (a node would still send on the old one)
/// and the CIDR (addresses given out would not fit it).
fn check_fixed(draft: &Draft, old: &L2Network, new: &L2Network) -> Result<(), Objection> {
    let key = new.metadata.key();
    let users: Vec<_> = draft.catalog.attachments_of(&key).map(|(user, _)| user).collect();
    if users.is_empty() {
        return Ok(());
    }
    let show = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let fields = [
        (
            "spec.vni",
            old.spec.vni.map(|vni| vni.to_string()),
            new.spec.vni.map(|vni| vni.to_string()),
        ),
        ("spec.networkCIDR", old.spec.network_cidr.clone(), new.spec.network_cidr.clone()),
    ];
    for (field, before, after) in fields {
        if before != after {
            let (before, after, users) = (show(before), show(after), names(&users));
            let why =
                format!("cannot change from {before} to {after} while attachments use it: {users}");
            return Err(Objection::wrong(field, why));
        }
    }
    Ok(())
}
