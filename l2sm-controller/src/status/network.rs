//! A network with its status.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use l2sm_api::objects::{Condition, ConditionStatus, L2Attachment, L2Network, L2NetworkStatus};
use l2sm_common::vni::Vni;
use l2sm_core::model::ObjectKey;

use super::{View, clashing, not_acting, observe};
use crate::{
    apply::{left_out, names},
    catalog::vni_of,
};

impl View<'_> {
    /// A network with its status.
    pub fn network(&self, key: &ObjectKey, network: &L2Network) -> L2Network {
        let attachments = self.attachments_of(key);
        let newest = attachments.iter().max_by_key(|(_, attachment)| {
            let metadata = &attachment.metadata;
            (metadata.revision(), metadata.creation_timestamp)
        });
        let given = network.status.as_ref().and_then(|status| status.last_assigned_ip.clone());
        let assigned: BTreeMap<_, _> = attachments
            .iter()
            .flat_map(|(name, attachment)| {
                let pod = attachment.spec.pod.clone().unwrap_or_else(|| name.name.clone());
                attachment.spec.addresses().into_iter().map(move |net| (net.addr(), pod.clone()))
            })
            .collect();
        let changed = attachments.iter().map(|(_, attachment)| attachment.metadata.revision());
        let revision = changed.max().unwrap_or_default().max(network.metadata.revision());
        let mut conditions = vec![self.network_ready(key, revision)];
        conditions.extend(self.plan.network_clash(key).map(|clash| clashing("VNIConflict", clash)));
        conditions.extend(not_acting(&network.spec.not_acting()));
        conditions.extend(truncated(assigned.len()));
        conditions.extend(outside(network, attachments));
        conditions.extend(self.too_large(key));
        observe(&mut conditions, network.metadata.generation);
        let ready = conditions.first().is_some_and(|ready| ready.status == ConditionStatus::True);
        let status = L2NetworkStatus {
            internal_connectivity: if ready { "Available" } else { "Unavailable" }.to_owned(),
            provider_connectivity: network.spec.provider.as_ref().map(|_| "Unknown".to_owned()),
            connected_pod_count: self.count_pods(attachments),
            assigned_ips: shown(assigned),
            last_assigned_ip: given.or_else(|| {
                let (_, newest) = newest?;
                newest.spec.addresses().first().map(|net| net.addr().to_string())
            }),
            vni: vni_of(network).map(Vni::get),
            mtu: self.plan.mtu(key),
            observed_generation: network.metadata.generation,
            conditions,
        };
        L2Network { status: Some(status), ..network.clone() }
    }

    fn network_ready(&self, key: &ObjectKey, revision: u64) -> Condition {
        if let Some(clash) = self.plan.network_clash(key) {
            return Condition::ready(false, "VNIConflict", clash.to_string());
        }
        if let Some(fault) = self.node_errors("L2Network", key) {
            return fault;
        }
        let concerned: BTreeSet<_> = self.plan.nodes(key).collect();
        if !concerned.is_empty() {
            return self.programmed(&concerned, revision);
        }
        // Attachments on nodes whose agents have never said hello.
        let attachments = self.attachments_of(key).iter();
        let attachments = attachments.filter(|(at, _)| !self.catalog.leaving.contains_key(*at));
        let waiting: BTreeSet<_> = attachments.map(|(_, held)| held.spec.node.as_str()).collect();
        if waiting.is_empty() {
            return Condition::ready(true, "NoPorts", "no node has a port in it");
        }
        let waiting: Vec<_> = waiting.into_iter().collect();
        Condition::ready(false, "NodesAway", format!("away: {}", names(&waiting)))
    }

    /// Said where `spec.mtu` is more than the underlay takes.
    fn too_large(&self, key: &ObjectKey) -> Option<Condition> {
        let (fits, mtu) = (self.plan.less_than_mtu(key)?, self.plan.mtu(key)?);
        let message = format!(
            "spec.mtu is {mtu}, and the underlay between its nodes takes {fits}: larger packets go in fragments \
             by the slow path, or are refused where they may not be fragmented"
        );
        Some(Condition::new("MTUTooLarge", ConditionStatus::True, "UnderlaySmaller", message))
    }

    /// Pods among attachments: one may have several. Those that are leaving have none any more.
    fn count_pods(&self, attachments: &[(&ObjectKey, &L2Attachment)]) -> u32 {
        let stay = attachments.iter().filter(|(key, _)| !self.catalog.leaving.contains_key(*key));
        let pods: BTreeSet<_> = stay
            .map(|(key, held)| {
                let pod = held.spec.pod_uid.as_ref().or(held.spec.pod.as_ref());
                let pod = pod.unwrap_or(&key.name);
                (key.namespace.as_str(), held.spec.node.as_str(), pod)
            })
            .collect();
        u32::try_from(pods.len()).unwrap_or(u32::MAX)
    }
}

/// Most addresses that a status shows.
const ASSIGNED_MAX: usize = 1_000;

/// The first addresses of a network.
fn shown(assigned: BTreeMap<IpAddr, String>) -> BTreeMap<String, String> {
    let first = assigned.into_iter().take(ASSIGNED_MAX);
    first.map(|(ip, pod)| (ip.to_string(), pod)).collect()
}

/// Said where a network has more addresses than its status shows.
fn truncated(assigned: usize) -> Option<Condition> {
    let message = format!("assignedIPs shows the first {ASSIGNED_MAX} of {assigned} addresses");
    let status = ConditionStatus::True;
    (assigned > ASSIGNED_MAX)
        .then(|| Condition::new("AssignedIPsTruncated", status, "TooMany", message))
}

/// Said where the network was changed under addresses that pods have.
fn outside(network: &L2Network, attachments: &[(&ObjectKey, &L2Attachment)]) -> Option<Condition> {
    let left_out = left_out(&network.spec.pools(), attachments);
    if left_out.is_empty() {
        return None;
    }
    let left_out = names(&left_out);
    let message =
        format!("outside of networkCIDR and podAddressRange, kept as they are: {left_out}");
    Some(Condition::new("AddressesOutside", ConditionStatus::True, "NetworkChanged", message))
}
