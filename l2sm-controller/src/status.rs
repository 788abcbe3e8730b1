//! Objects as they are listed: with a status that says what is.

mod external_vtep;
mod network;
mod node;
mod stored;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use l2sm_api::{
    annotation,
    objects::{Condition, ConditionStatus, L2Attachment, L2AttachmentStatus},
};
use l2sm_common::vni::Vni;
use l2sm_core::{conflict::Clash, model::ObjectKey, plan::Plan};

use crate::{
    apply::names,
    catalog::{Catalog, vni_of},
    overlay::Members,
    progress::Progress,
};

/// What statuses are worked out from.
#[derive(Debug)]
pub struct View<'a> {
    catalog: &'a Catalog,
    plan: &'a Plan,
    progress: &'a Progress,
    members: &'a Members,
    by_network: OnceCell<ByNetwork<'a>>,
    common_port: OnceCell<Option<node::CommonPort<'a>>>,
}

/// Attachments by the network that they join.
type ByNetwork<'a> = BTreeMap<ObjectKey, Vec<(&'a ObjectKey, &'a L2Attachment)>>;

impl<'a> View<'a> {
    /// A view of the objects, of their world worked out, of how far the agents are, and of which
    /// nodes are in the Overlay in force.
    pub const fn new(
        catalog: &'a Catalog,
        plan: &'a Plan,
        progress: &'a Progress,
        members: &'a Members,
    ) -> Self {
        Self {
            catalog,
            plan,
            progress,
            members,
            by_network: OnceCell::new(),
            common_port: OnceCell::new(),
        }
    }

    /// An attachment with its status.
    pub fn attachment(&self, key: &ObjectKey, attachment: &L2Attachment) -> L2Attachment {
        let network_key = attachment.network();
        let network = self.catalog.networks.get(&network_key);
        let mut conditions = vec![self.attachment_ready(key, attachment)];
        let clash = self.plan.network_clash(&network_key);
        conditions.extend(clash.map(|clash| clashing("VNIConflict", clash)));
        let clash = self.plan.attachment_clash(key);
        conditions.extend(clash.map(|clash| clashing("AddressInUse", clash)));
        conditions
            .extend(self.members.outside(&attachment.spec.node).as_deref().map(not_in_overlay));
        let label = annotation::not_acting(&attachment.metadata.labels);
        conditions.extend(not_acting(label.as_slice()));
        observe(&mut conditions, attachment.metadata.generation);
        let status = L2AttachmentStatus {
            ips: attachment.spec.ips.clone(),
            mac: attachment.spec.mac.clone(),
            vni: network.and_then(|network| vni_of(network)).map(Vni::get),
            mtu: self.plan.mtu(&network_key),
            revision: attachment.metadata.revision(),
            observed_generation: attachment.metadata.generation,
            conditions,
        };
        L2Attachment { status: Some(status), ..attachment.clone() }
    }

    /// Attachments to a network. All are looked at once a view.
    fn attachments_of(&self, network: &ObjectKey) -> &[(&'a ObjectKey, &'a L2Attachment)] {
        let by_network = self.by_network.get_or_init(|| {
            let mut by_network = ByNetwork::new();
            for (key, held) in &self.catalog.attachments {
                by_network.entry(held.network()).or_default().push((key, held.as_ref()));
            }
            by_network
        });
        by_network.get(network).map_or(&[], Vec::as_slice)
    }

    fn attachment_ready(&self, key: &ObjectKey, attachment: &L2Attachment) -> Condition {
        let network_key = attachment.network();
        let node = attachment.spec.node.as_str();
        let Some(network) = self.catalog.networks.get(&network_key) else {
            let message = format!("there is no network {network_key}");
            return Condition::ready(false, "NetworkNotFound", message);
        };
        if self.catalog.leaving.contains_key(key) {
            let message = format!("it goes once node {node} has removed it from its kernel");
            return Condition::ready(false, "Leaving", message);
        }
        if let Some(clash) = self.plan.network_clash(&network_key) {
            return Condition::ready(false, "VNIConflict", clash.to_string());
        }
        if let Some(clash) = self.plan.attachment_clash(key) {
            return Condition::ready(false, "AddressInUse", clash.to_string());
        }
        if let Some(fault) = self.node_errors("L2Attachment", key) {
            return fault;
        }
        let revision = attachment.metadata.revision().max(network.metadata.revision());
        if !self.progress.is_connected(node) {
            return Condition::ready(false, "NodeAway", format!("node {node} is not connected"));
        }
        let mut concerned: BTreeSet<_> = self.plan.nodes(&network_key).collect();
        concerned.insert(node);
        self.programmed(&concerned, revision)
    }

    /// Whether every connected node of `concerned` has `revision` in its kernel.
    fn programmed(&self, concerned: &BTreeSet<&str>, revision: u64) -> Condition {
        let (connected, away): (Vec<&str>, Vec<&str>) =
            concerned.iter().partition(|name| self.progress.is_connected(name));
        let behind: Vec<_> =
            connected.iter().copied().filter(|name| self.progress.acked(name) < revision).collect();
        let mut parts = Vec::new();
        if behind.is_empty() {
            parts
                .push(format!("revision {revision} is in the kernel of {} nodes", connected.len()));
        } else {
            parts.push(format!("not yet at revision {revision}: {}", names(&behind)));
        }
        if !away.is_empty() {
            parts.push(format!("away: {}", names(&away)));
        }
        let ready = behind.is_empty() && !connected.is_empty();
        let reason = match (ready, connected.is_empty()) {
            (true, _) => "Programmed",
            (false, true) => "NodesAway",
            (false, false) => "Programming",
        };
        Condition::ready(ready, reason, parts.join("; "))
    }

    fn node_errors(&self, kind: &str, key: &ObjectKey) -> Option<Condition> {
        let errors: Vec<_> = self.progress.errors(kind, key).collect();
        let (_, first) = errors.first()?;
        let words: Vec<_> = errors
            .iter()
            .take(5)
            .map(|(node, error)| format!("node {node}: {}", error.message))
            .collect();
        Some(Condition::ready(false, first.reason.clone(), words.join("; ")))
    }
}

/// What the user asks for and does not get yet.
fn not_acting(fields: &[&str]) -> Option<Condition> {
    if fields.is_empty() {
        return None;
    }
    let message = format!("stored, and does not act yet: {}", fields.join(", "));
    Some(Condition::new("NotActing", ConditionStatus::True, "NotImplementedYet", message))
}

/// Said of an attachment that was made before its node was left out of the Overlay: it stays.
fn not_in_overlay(why: &str) -> Condition {
    let message = format!("{why}; the attachment stays until its pod ends");
    Condition::new("NodeNotInOverlay", ConditionStatus::True, "NotInTopology", message)
}

/// The condition of an object that does not act because of another one.
fn clashing(kind: &str, clash: &Clash) -> Condition {
    Condition::new(kind, ConditionStatus::True, "HeldByAnother", clash.to_string())
}

fn observe(conditions: &mut [Condition], generation: u64) {
    for condition in conditions {
        condition.observed_generation = generation;
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
