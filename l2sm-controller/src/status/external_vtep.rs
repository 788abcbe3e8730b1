//! An external VTEP with its status.

use std::collections::BTreeSet;

use l2sm_api::objects::{
    Condition, ConditionStatus, ExternalVtep, ExternalVtepStatus,
    external_vtep::{ExternalNetwork, ExternalNetworkStatus},
};
use l2sm_common::vni::Vni;
use l2sm_core::model::{Holder, ObjectKey};

use super::{View, clashing, observe};
use crate::{apply::names, catalog::vni_of};

impl View<'_> {
    /// An external VTEP with its status.
    pub fn external_vtep(&self, key: &ObjectKey, vtep: &ExternalVtep) -> ExternalVtep {
        let faults = self.external_faults(key, vtep);
        let ready = faults.first().map_or_else(
            || self.external_programmed(vtep),
            |fault| Condition::ready(false, fault.kind.as_str(), fault.message.as_str()),
        );
        let mut conditions = vec![ready];
        conditions.extend(faults);
        observe(&mut conditions, vtep.metadata.generation);
        let networks = vtep.spec.networks.iter().map(|network| {
            let network = network.key();
            let held = self.catalog.networks.get(&network);
            ExternalNetworkStatus {
                vni: held.and_then(|held| vni_of(held)).map(Vni::get),
                mtu: self.plan.mtu(&network),
                name: network.name,
                namespace: network.namespace,
            }
        });
        let status = ExternalVtepStatus {
            networks: networks.collect(),
            observed_generation: vtep.metadata.generation,
            conditions,
        };
        ExternalVtep { status: Some(status), ..vtep.clone() }
    }

    /// What of it does not act because of others, the gravest first.
    fn external_faults(&self, key: &ObjectKey, vtep: &ExternalVtep) -> Vec<Condition> {
        let mut faults = Vec::new();
        let clash = self.plan.vtep_clash(&Holder::ExternalVtep(key.name.clone()));
        faults.extend(clash.map(|clash| clashing("VTEPConflict", clash)));
        let hosts = self.plan.host_clashes(&key.name);
        if !hosts.is_empty() {
            let message = format!("hosts left out: {}", names(hosts));
            let status = ConditionStatus::True;
            faults.push(Condition::new("AddressInUse", status, "HeldByAnother", message));
        }
        let networks: Vec<_> = vtep.spec.networks.iter().map(ExternalNetwork::key).collect();
        let missing = networks.iter().filter(|key| !self.catalog.networks.contains_key(key));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            let message =
                format!("there is no network {}: it takes part once there is", names(&missing));
            let status = ConditionStatus::True;
            faults.push(Condition::new("NetworkNotFound", status, "NetworkNotFound", message));
        }
        let clashes = networks.iter().filter_map(|network| self.plan.network_clash(network));
        faults.extend(clashes.take(1).map(|clash| clashing("VNIConflict", clash)));
        faults
    }

    /// Whether the nodes with a port in its networks have it in their kernels.
    fn external_programmed(&self, vtep: &ExternalVtep) -> Condition {
        let mut concerned = BTreeSet::new();
        let mut revision = vtep.metadata.revision();
        for network in &vtep.spec.networks {
            let key = network.key();
            concerned.extend(self.plan.nodes(&key).map(str::to_owned));
            let held = self.catalog.networks.get(&key);
            revision = revision.max(held.map_or(0, |held| held.metadata.revision()));
            // A port made since then brings it to another node.
            let ports = self.attachments_of(&key).iter();
            let newest = ports.map(|(_, attachment)| attachment.metadata.revision()).max();
            revision = revision.max(newest.unwrap_or_default());
        }
        if concerned.is_empty() {
            return Condition::ready(true, "NoPorts", "no node has a port in its networks");
        }
        self.programmed(&concerned.iter().map(String::as_str).collect(), revision)
    }
}
