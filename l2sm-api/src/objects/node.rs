//! `L2Node`: a node with an agent. Made from the agent's hello, kept until somebody deletes it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Column, Condition, FieldError, Object,
    field::is_mapped,
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
#[cfg_attr(
    feature = "crd",
    derive(kube_derive::CustomResource),
    kube(group = "l2sm.l2sm.k8s.local", version = "v1", kind = "L2Node", root = "L2NodeResource"),
    kube(doc = "A node with an agent. Made from what the agent says of itself."),
    kube(status = "L2NodeStatus", crates(kube_core = "::kube_core"))
)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
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
    short: "l2node",
    aliases: &["nodes", "node"],
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text("VTEP", "/spec/vtepAddresses"),
        Column::text("PORT", "/spec/udpPort"),
        Column::text("CONNECTED", "/status/connected"),
        Column::READY,
        Column::AGE,
        Column::text("UNDERLAY-MTU", "/spec/underlayMTU").wide(),
        Column::text("REVISION", "/status/ackedRevision").wide(),
        Column::text("VERSION", "/status/agentVersion").wide(),
        Column::text("FEATURES", "/status/features").wide(),
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
            if address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || is_mapped(*address)
            {
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
