//! A node with its status.

use std::collections::BTreeMap;

use l2sm_api::objects::{Condition, ConditionStatus, L2Node, L2NodeStatus};
use l2sm_core::model::{Holder, ObjectKey, Seniority};

use super::{View, clashing, observe};
use crate::{
    apply::names,
    catalog::{Catalog, seniority},
};

/// The UDP port that most nodes' tunnels use; of equally common ones, the oldest node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommonPort<'a> {
    port: u16,
    /// Who uses it, the oldest first.
    nodes: Vec<&'a str>,
}

impl<'a> View<'a> {
    /// A node with its status.
    pub fn node(&self, key: &ObjectKey, node: &L2Node) -> L2Node {
        let progress = self.progress.node(&key.name);
        let said = node.status.clone().unwrap_or_default();
        let connected = progress.stream.is_some();
        let clash = self.plan.vtep_clash(&Holder::Node(key.name.clone()));
        let clash = clash.map(|clash| clashing("VTEPConflict", clash));
        let mismatch = self.port_mismatch(node);
        let own = said.conditions.iter().find(|condition| condition.kind == "Ready");
        let ready = match own {
            _ if !connected => Condition::ready(false, "Away", "its agent is not connected"),
            Some(own) if own.status != ConditionStatus::True => own.clone(),
            Some(_) | None => {
                let stands_in_its_way = clash.as_ref().or(mismatch.as_ref());
                stands_in_its_way.map_or_else(
                    || self.node_programmed(&key.name),
                    |fault| Condition::ready(false, fault.kind.as_str(), fault.message.as_str()),
                )
            }
        };
        let mut conditions = vec![ready];
        conditions.extend(clash);
        conditions.extend(mismatch);
        let others = said.conditions.iter().filter(|condition| condition.kind != "Ready");
        conditions.extend(others.cloned());
        observe(&mut conditions, node.metadata.generation);
        let status = L2NodeStatus {
            connected,
            acked_revision: progress.acked,
            observed_generation: node.metadata.generation,
            conditions,
            ..said
        };
        L2Node { status: Some(status), ..node.clone() }
    }

    /// Whether a connected node has all in its kernel.
    fn node_programmed(&self, name: &str) -> Condition {
        let progress = self.progress.node(name);
        if progress.errors.is_empty() {
            let message = format!("revision {} is in its kernel", progress.acked);
            return Condition::ready(progress.acked > 0, "Connected", message);
        }
        let errors = progress
            .errors
            .iter()
            .map(|((kind, at), error)| format!("{kind} {at}: {}", error.message));
        let errors = errors.take(5).collect::<Vec<_>>().join("; ");
        Condition::ready(false, "NotProgrammed", errors)
    }

    /// What is said of a node whose tunnels use another UDP port than the others'.
    fn port_mismatch(&self, node: &L2Node) -> Option<Condition> {
        let common = self.common_port.get_or_init(|| self.find_common_port()).as_ref()?;
        let (own, port) = (node.spec.udp_port, common.port);
        if own == port {
            return None;
        }
        let others = names(&common.nodes);
        let message = format!(
            "its tunnels use UDP port {own}, those of {others} use {port}: start its agent with --vxlan-port {port}"
        );
        Some(Condition::new("PortMismatch", ConditionStatus::True, "OtherPort", message))
    }

    fn find_common_port(&self) -> Option<CommonPort<'a>> {
        let catalog: &'a Catalog = self.catalog;
        let mut by_port: BTreeMap<u16, Vec<(Seniority, &str)>> = BTreeMap::new();
        for (key, node) in &catalog.nodes {
            let of_port = by_port.entry(node.spec.udp_port).or_default();
            of_port.push((seniority(&node.metadata), key.name.as_str()));
        }
        for nodes in by_port.values_mut() {
            nodes.sort_unstable();
        }
        let (port, nodes) = by_port.into_iter().max_by(|(_, one), (_, other)| {
            let older = || other.first().cmp(&one.first());
            one.len().cmp(&other.len()).then_with(older)
        })?;
        Some(CommonPort { port, nodes: nodes.into_iter().map(|(_, name)| name).collect() })
    }
}
