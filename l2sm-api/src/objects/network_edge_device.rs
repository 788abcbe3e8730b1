//! `NetworkEdgeDevice`: a cluster's tunnels to other clusters, as upstream 2.8.7 has it, with the
//! older spellings.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Column, Condition, FieldError, Object,
    column::Shows,
    field::none_or_more,
    kind::{Definition, Kind},
    manifest::from_value,
    metadata::Metadata,
    monitor::{LinkMetric, Monitor},
    provider::Provider,
};

/// A cluster's tunnels to other clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkEdgeDevice {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `NetworkEdgeDevice`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What the user wants.
    pub spec: NetworkEdgeDeviceSpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<NetworkEdgeDeviceStatus>,
}

/// What the user wants of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "crd",
    derive(kube_derive::CustomResource),
    kube(
        group = "l2sm.l2sm.k8s.local",
        version = "v1",
        kind = "NetworkEdgeDevice",
        root = "NetworkEdgeDeviceResource"
    ),
    kube(doc = "A cluster's tunnels to other clusters. Accepted and stored; acts later."),
    kube(namespaced, status = "NetworkEdgeDeviceStatus", crates(kube_core = "::kube_core"))
)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkEdgeDeviceSpec {
    /// The controller shared by the clusters (older spelling: `networkController`). Networks that
    /// name the same provider are extended.
    #[serde(alias = "networkController")]
    pub provider: Provider,
    /// Where it runs; none: upstream takes the first control-plane node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_config: Option<NodeConfig>,
    /// The other clusters' devices.
    #[serde(default, deserialize_with = "none_or_more", skip_serializing_if = "Vec::is_empty")]
    pub neighbors: Vec<Neighbor>,
    /// Upstream: the pod of its switch. Stored; nothing here runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch_template: Option<Map<String, Value>>,
    /// Upstream: link measurements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
}

/// Where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// The node.
    pub node_name: String,
    /// Its address for the other clusters.
    pub ip_address: String,
}

/// Another cluster's device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Neighbor {
    /// What it is called.
    pub node: String,
    /// Address or host name where it is reached.
    pub domain: String,
    /// Address of its probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lpm_ip: Option<String>,
}

/// What is, of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkEdgeDeviceStatus {
    /// `Available`, `Unavailable` or `Unknown`.
    pub availability: String,
    /// Neighbors with a tunnel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connected_neighbors: Vec<Neighbor>,
    /// Upstream: id of its switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openflow_id: Option<String>,
    /// Figures of the links.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_metrics: Vec<LinkMetric>,
    /// `metadata.generation` that this is about.
    pub observed_generation: u64,
    /// `Ready`, and what stands in its way.
    pub conditions: Vec<Condition>,
}

impl Default for NetworkEdgeDeviceStatus {
    fn default() -> Self {
        Self {
            availability: "Unavailable".to_owned(),
            connected_neighbors: Vec::new(),
            openflow_id: None,
            link_metrics: Vec::new(),
            observed_generation: 0,
            conditions: Vec::new(),
        }
    }
}

pub(super) const DEFINITION: Definition = Definition {
    kind: "NetworkEdgeDevice",
    plural: "networkedgedevices",
    singular: "networkedgedevice",
    short: "ned",
    aliases: &["neds"],
    namespaced: true,
    columns: &[
        Column::NAME,
        Column::text("STATUS", "/status/availability"),
        Column::text("PROVIDER", "/spec/provider/name"),
        Column::text("NODE", "/spec/nodeConfig/nodeName"),
        Column::READY,
        Column::AGE,
        Column::text("ADDRESS", "/spec/nodeConfig/ipAddress").wide(),
        Column::text("DOMAIN", "/spec/provider/domain").wide(),
        Column::new("NEIGHBORS", Shows::Computed(neighbors)).wide(),
    ],
    read: |value, default_namespace| {
        let mut device: NetworkEdgeDevice = from_value(value)?;
        let mut faults = device.metadata.complete(Kind::NetworkEdgeDevice, default_namespace);
        faults.extend(device.spec.faults());
        if faults.is_empty() {
            Ok(Object::NetworkEdgeDevice(Box::new(device)))
        } else {
            Err(faults)
        }
    },
};

impl NetworkEdgeDeviceSpec {
    /// Fields that are set, stored, and will not act when the kind does.
    pub fn not_acting(&self) -> Vec<&'static str> {
        let set = [
            (self.switch_template.is_some(), "spec.switchTemplate"),
            (self.monitor.is_some(), "spec.monitor"),
        ];
        set.into_iter().filter_map(|(is_set, field)| is_set.then_some(field)).collect()
    }

    /// What is wrong with it. Names and addresses only must not be empty, as in upstream's schema:
    /// [`Self::unusable`] tells which of them cannot act.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = self.provider.faults("spec.provider");
        let mut require = |field: String, text: &str| {
            if text.is_empty() {
                faults.push(FieldError::new(field, "is required"));
            }
        };
        if let Some(node) = &self.node_config {
            require("spec.nodeConfig.nodeName".to_owned(), &node.node_name);
            require("spec.nodeConfig.ipAddress".to_owned(), &node.ip_address);
        }
        for (index, neighbor) in self.neighbors.iter().enumerate() {
            require(format!("spec.neighbors[{index}].node"), &neighbor.node);
            require(format!("spec.neighbors[{index}].domain"), &neighbor.domain);
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, neighbor) in self.neighbors.iter().enumerate() {
            if let Some(first) = seen.get(neighbor.node.as_str()) {
                let node = &neighbor.node;
                let why = format!("{node:?} is given twice, first in neighbors[{first}]");
                faults.push(FieldError::new(format!("spec.neighbors[{index}].node"), why));
            } else {
                seen.insert(&neighbor.node, index);
            }
        }
        faults.extend(self.monitor.iter().flat_map(|monitor| monitor.faults("spec.monitor")));
        faults
    }

    /// Addresses that are none, as the `<node-ip-address>` of upstream's guide: nothing can be
    /// reached there.
    pub fn unusable(&self) -> Vec<FieldError> {
        let mut unusable = Vec::new();
        let own = self.node_config.as_ref().map(|node| node.ip_address.as_str());
        if let Some(text) = own.filter(|text| text.parse::<IpAddr>().is_err()) {
            let why = format!("{text:?} is not an IP address");
            unusable.push(FieldError::new("spec.nodeConfig.ipAddress", why));
        }
        for (index, neighbor) in self.neighbors.iter().enumerate() {
            let text = &neighbor.domain;
            if text.parse::<IpAddr>().is_err() && !is_host_name(text) {
                let why = format!("{text:?} is neither an IP address nor a host name");
                unusable.push(FieldError::new(format!("spec.neighbors[{index}].domain"), why));
            }
        }
        unusable
    }
}

/// Letters, digits, `-` and `.` (RFC 952, RFC 1123 section 2.1).
fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn neighbors(object: &Value) -> String {
    let neighbors = object.pointer("/spec/neighbors").and_then(Value::as_array);
    let names = neighbors.into_iter().flatten().filter_map(|neighbor| neighbor.get("node"));
    let names: Vec<_> = names.filter_map(Value::as_str).collect();
    if names.is_empty() { super::column::NONE.to_owned() } else { names.join(",") }
}
