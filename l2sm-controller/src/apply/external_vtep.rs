//! An `ExternalVTEP` of a manifest.

use std::net::IpAddr;

use l2sm_api::objects::{ExternalVtep, Object};
use l2sm_core::model::{Holder, ObjectKey};

use super::{Objection, Outcome, keep};
use crate::draft::Draft;

/// Creates or updates an external VTEP, unless it claims what somebody else has. A network that does
/// not exist yet is no obstacle: the VTEP joins it when it appears.
pub(super) fn apply(draft: &mut Draft, vtep: ExternalVtep) -> Result<Outcome, Objection> {
    if let Some(address) = vtep.spec.vtep()
        && let Some(holder) = vtep_holder(draft, &vtep.metadata.key(), address)
    {
        let why = format!("{address} is a VTEP address of {holder}");
        return Err(Objection::taken("spec.address", why));
    }
    check_hosts(draft, &vtep)?;
    Ok(keep(draft, Object::ExternalVtep(Box::new(vtep))))
}

/// The node or other external VTEP at an address of the underlay.
fn vtep_holder(draft: &Draft, own: &ObjectKey, address: IpAddr) -> Option<Holder> {
    let node =
        draft.catalog.nodes.iter().find(|(_, node)| node.spec.vtep_addresses.contains(&address));
    if let Some((key, _)) = node {
        return Some(Holder::Node(key.name.clone()));
    }
    let mut others = draft.catalog.externals.iter().filter(|(key, _)| *key != own);
    let (key, _) = others.find(|(_, other)| other.spec.vtep() == Some(address))?;
    Some(Holder::ExternalVtep(key.name.clone()))
}

/// Its hosts' MACs and addresses are nobody else's in their networks.
fn check_hosts(draft: &mut Draft, vtep: &ExternalVtep) -> Result<(), Objection> {
    let own = Holder::ExternalVtep(vtep.metadata.name.clone());
    for (number, network) in vtep.spec.networks.iter().enumerate() {
        let key = network.key();
        let tenants = draft.tenants(&key);
        for (index, host) in network.hosts.iter().enumerate() {
            let field = format!("spec.networks[{number}].hosts[{index}]");
            let mac = host.station();
            let holder = mac.and_then(|mac| tenants.macs.get(&mac));
            if let (Some(mac), Some(holder)) = (mac, holder.filter(|holder| **holder != own)) {
                let why = format!("{mac} is in use by {holder} in network {key}");
                return Err(Objection::taken(&format!("{field}.mac"), why));
            }
            for ip in host.addresses() {
                if let Some(holder) = tenants.ips.get(&ip).filter(|holder| **holder != own) {
                    let why = format!("{ip} is in use by {holder} in network {key}");
                    return Err(Objection::taken(&format!("{field}.ips"), why));
                }
            }
        }
    }
    Ok(())
}
