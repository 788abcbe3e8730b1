//! What a pod is told about its interfaces.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One interface, in the form of Multus' network status (the "De-facto Standard" 1.3, section 4.3).
/// The annotation is a JSON array of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStatus {
    /// `namespace/name` of the network.
    pub name: String,
    /// Interface name.
    pub interface: String,
    /// Addresses, without prefix lengths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// MAC address.
    pub mac: String,
    /// Largest IP packet, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// It has the default route; never one of ours.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub default: bool,
    /// DNS settings; ours have none, and Multus writes them always.
    pub dns: BTreeMap<String, Value>,
}
