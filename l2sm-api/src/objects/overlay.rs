//! `Overlay`: which nodes have tunnels to which, as upstream 2.8.7 has it, with the older spellings.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Column, Condition, FieldError, Object,
    column::Shows,
    field::{name_fault, none_or_more},
    kind::{Definition, Kind},
    manifest::from_value,
    metadata::Metadata,
    monitor::{LinkMetric, Monitor},
    provider::Provider,
};

/// Most nodes of a topology. Without a topology there may be any number.
pub const NODES_MAX: usize = 500;

/// Most links of a topology: every node of 55 to every other.
pub const LINKS_MAX: usize = 1_500;

/// The tunnels of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overlay {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `Overlay`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What the user wants.
    pub spec: OverlaySpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<OverlayStatus>,
}

/// What the user wants of the tunnels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "crd",
    derive(kube_derive::CustomResource),
    kube(
        group = "l2sm.l2sm.k8s.local",
        version = "v1",
        kind = "Overlay",
        root = "OverlayResource"
    ),
    kube(
        doc = "The tunnels of a cluster. One Overlay is in force; without one every node has a tunnel to every other."
    ),
    kube(namespaced, status = "OverlayStatus", crates(kube_core = "::kube_core"))
)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverlaySpec {
    /// Upstream: its controller (older spelling: `networkController`).
    #[serde(alias = "networkController")]
    pub provider: Provider,
    /// Nodes and tunnels; none: all nodes, each to each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// Upstream: the pod of its switch. Stored; nothing here runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch_template: Option<Map<String, Value>>,
    /// Upstream: ports a node (older spelling: `numberInterfaces`). Stored; ports are made when they
    /// are needed.
    #[serde(default, alias = "numberInterfaces", skip_serializing_if = "Option::is_none")]
    pub interface_number: Option<u32>,
    /// Upstream: link measurements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
}

/// Nodes, and the tunnels between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Nodes, by the label `kubernetes.io/hostname` or by name.
    #[serde(deserialize_with = "none_or_more")]
    pub nodes: Vec<String>,
    /// Tunnels, in both directions. None: no tunnels.
    #[serde(default, deserialize_with = "none_or_more")]
    pub links: Vec<Link>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// One end, a node of the topology.
    #[serde(rename = "endpointA")]
    pub endpoint_a: String,
    /// The other.
    #[serde(rename = "endpointB")]
    pub endpoint_b: String,
}

/// What is, of the tunnels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct OverlayStatus {
    /// Figures of the links.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_metrics: Vec<LinkMetric>,
    /// `metadata.generation` that this is about.
    pub observed_generation: u64,
    /// `Ready`, and what stands in its way.
    pub conditions: Vec<Condition>,
}

pub(super) const DEFINITION: Definition = Definition {
    kind: "Overlay",
    plural: "overlays",
    singular: "overlay",
    short: "ovl",
    aliases: &["l2overlay"],
    namespaced: true,
    columns: &[
        Column::NAME,
        Column::new("NODES", Shows::Count("/spec/topology/nodes")),
        Column::new("LINKS", Shows::Count("/spec/topology/links")),
        Column::text("PROVIDER", "/spec/provider/name"),
        Column::READY,
        Column::AGE,
        Column::text("DOMAIN", "/spec/provider/domain").wide(),
        Column::text("NODE-NAMES", "/spec/topology/nodes").wide(),
    ],
    read: |value, default_namespace| {
        let mut overlay: Overlay = from_value(value)?;
        let mut faults = overlay.metadata.complete(Kind::Overlay, default_namespace);
        faults.extend(overlay.spec.faults());
        if faults.is_empty() { Ok(Object::Overlay(Box::new(overlay))) } else { Err(faults) }
    },
};

impl OverlaySpec {
    /// Fields that are set, stored, and do not act. Upstream requires its controller: naming it is no
    /// wish.
    pub fn not_acting(&self) -> Vec<&'static str> {
        let set = [
            (self.switch_template.is_some(), "spec.switchTemplate"),
            (self.interface_number.is_some(), "spec.interfaceNumber"),
            (self.monitor.is_some(), "spec.monitor"),
            (self.topology.as_ref().is_some_and(Topology::is_no_mesh), "spec.topology.links"),
        ];
        set.into_iter().filter_map(|(is_set, field)| is_set.then_some(field)).collect()
    }

    /// What is wrong with it.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = self.provider.faults("spec.provider");
        faults.extend(self.topology.iter().flat_map(Topology::faults));
        faults.extend(self.monitor.iter().flat_map(|monitor| monitor.faults("spec.monitor")));
        faults
    }
}

impl Topology {
    /// Some two nodes have no tunnel; that no pair is linked twice was checked.
    const fn is_no_mesh(&self) -> bool {
        let nodes = self.nodes.len();
        self.links.len() < nodes * nodes.saturating_sub(1) / 2
    }

    fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        for (field, found, most) in
            [("nodes", self.nodes.len(), NODES_MAX), ("links", self.links.len(), LINKS_MAX)]
        {
            if found > most {
                let why = format!("holds {found}; expected at most {most}");
                faults.push(FieldError::new(format!("spec.topology.{field}"), why));
            }
        }
        let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let field = format!("spec.topology.nodes[{index}]");
            if let Some(why) = name_fault(node) {
                faults.push(FieldError::new(field, why));
            } else if let Some(first) = nodes.get(node.as_str()) {
                let why = format!("{node:?} is given twice, first in nodes[{first}]");
                faults.push(FieldError::new(field, why));
            } else {
                nodes.insert(node, index);
            }
        }
        let mut links = BTreeMap::new();
        for (index, link) in self.links.iter().enumerate() {
            let field = format!("spec.topology.links[{index}]");
            faults.extend(link.faults(&field, &nodes.keys().copied().collect()));
            if let Some(first) = links.insert(link.ends(), index) {
                let why = format!(
                    "{:?} and {:?} are linked twice, first in links[{first}]",
                    link.endpoint_a, link.endpoint_b
                );
                faults.push(FieldError::new(field, why));
            }
        }
        faults
    }
}

impl Link {
    /// Both ends, in an order that does not depend on which is called A.
    fn ends(&self) -> [&str; 2] {
        let mut ends = [self.endpoint_a.as_str(), self.endpoint_b.as_str()];
        ends.sort_unstable();
        ends
    }

    fn faults(&self, field: &str, nodes: &BTreeSet<&str>) -> Vec<FieldError> {
        let ends = [("endpointA", &self.endpoint_a), ("endpointB", &self.endpoint_b)];
        let strangers = ends.into_iter().filter(|(_, node)| !nodes.contains(node.as_str()));
        let mut faults: Vec<_> = strangers
            .map(|(end, node)| {
                let why = format!(
                    "{node:?} is not a node of the topology; expected one of spec.topology.nodes"
                );
                FieldError::new(format!("{field}.{end}"), why)
            })
            .collect();
        if faults.is_empty() && self.endpoint_a == self.endpoint_b {
            let why = format!("links {:?} to itself; expected two nodes", self.endpoint_a);
            faults.push(FieldError::new(field, why));
        }
        faults
    }
}
