//! Upstream's intrusion detection: accepted and stored.

use serde::{Deserialize, Serialize};

/// Upstream's intrusion detection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ids {
    /// Switched on.
    #[serde(default = "super::yes")]
    pub enabled: bool,
    /// Upstream knows `suricata`.
    pub profile: String,
    /// Where it runs.
    pub node: String,
    /// Its namespace; none: the network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `HOME_NET`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub home_net_cidr: Vec<String>,
    /// Use the Emerging Threats Open rules.
    #[serde(default = "super::yes")]
    pub use_emerging_threats_open: bool,
    /// Ports not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_ports: Vec<i32>,
    /// The user's rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_rule_sources: Vec<RuleSource>,
}

/// Where rules come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSource {
    /// Its name.
    pub name: String,
    /// The rules themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A `ConfigMap` that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<NameRef>,
    /// Where to fetch them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// An object by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NameRef {
    /// Its name.
    pub name: String,
}
