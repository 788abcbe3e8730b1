//! `L2Node`: a node with an agent. Made from the agent's hello, kept until somebody deletes it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Column, Condition, FieldError, Object,
    column::{age, condition, text},
    kind::{Definition, Kind},
    manifest::from_value,
    metadata::Metadata,
};

/// A node with an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L2Node {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `L2Node`.
    pub kind: String,
    /// Name; no namespace.
    pub metadata: Metadata,
    /// Its tunnel endpoint.
    pub spec: L2NodeSpec,
    /// What its agent says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<L2NodeStatus>,
}

/// A node's tunnel endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L2NodeSpec {
    /// VTEP addresses, preferred first.
    pub vtep_addresses: Vec<IpAddr>,
    /// UDP port of tunnels.
    pub udp_port: u16,
    /// MTU of its underlay, bytes.
    #[serde(rename = "underlayMTU")]
    pub underlay_mtu: u32,
}

/// What a node's agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L2NodeStatus {
    /// Version of the agent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Layout version of the agent's maps.
    pub abi: u32,
    /// Features in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Its agent follows the controller now.
    pub connected: bool,
    /// Number of the revision that is in its kernel; 0: not known.
    pub acked_revision: u64,
    /// `metadata.generation` that this is about.
    pub observed_generation: u64,
    /// `Ready`, and what the agent reports.
    pub conditions: Vec<Condition>,
}

pub(super) const DEFINITION: Definition = Definition {
    kind: "L2Node",
    plural: "l2nodes",
    singular: "l2node",
    short: &["nodes", "node"],
    namespaced: false,
    columns: &[
        Column::new("NAME", |object, _| text(object, "/metadata/name")),
        Column::new("VTEP", |object, _| text(object, "/spec/vtepAddresses")),
        Column::new("PORT", |object, _| text(object, "/spec/udpPort")),
        Column::new("CONNECTED", |object, _| text(object, "/status/connected")),
        Column::new("READY", |object, _| condition(object, "Ready")),
        Column::new("AGE", age),
        Column::wide("UNDERLAY-MTU", |object, _| text(object, "/spec/underlayMTU")),
        Column::wide("REVISION", |object, _| text(object, "/status/ackedRevision")),
        Column::wide("VERSION", |object, _| text(object, "/status/agentVersion")),
        Column::wide("FEATURES", |object, _| text(object, "/status/features")),
    ],
    read: |value, default_namespace| {
        let mut node: L2Node = from_value(value)?;
        let mut faults = node.metadata.complete(Kind::L2Node, default_namespace);
        faults.extend(node.spec.faults());
        if faults.is_empty() { Ok(Object::L2Node(Box::new(node))) } else { Err(faults) }
    },
};

impl L2NodeSpec {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if self.vtep_addresses.is_empty() {
            let why = "is empty; expected at least one address";
            faults.push(FieldError::new("spec.vtepAddresses", why));
        }
        for (index, address) in self.vtep_addresses.iter().enumerate() {
            if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
                let why =
                    format!("{address} is no node's address; expected one that other nodes reach");
                faults.push(FieldError::new(format!("spec.vtepAddresses[{index}]"), why));
            }
        }
        if self.udp_port == 0 {
            faults.push(FieldError::new("spec.udpPort", "0 is no port; expected 1 to 65535"));
        }
        if self.underlay_mtu < 576 {
            let why = format!("{} is out of range; expected at least 576", self.underlay_mtu);
            faults.push(FieldError::new("spec.underlayMTU", why));
        }
        faults
    }
}
