//! Upstream's link measurements, as Overlays and `NetworkEdgeDevices` ask for them: accepted and
//! stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{FieldError, field::parse_cidrs};

/// Upstream's `MonitorSpec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitor {
    /// What is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// How far apart in time measurements are spread: a number as a string; upstream's default is
    /// `0.2`.
    #[serde(default = "spread_factor")]
    pub spread_factor: String,
    /// Where the figures go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_metric: Option<ExportMetric>,
    /// Addresses of an Overlay's probes.
    #[serde(default, rename = "networkCIDR", skip_serializing_if = "Option::is_none")]
    pub network_cidr: Option<String>,
    /// Address of a `NetworkEdgeDevice`'s probe, with its prefix length.
    #[serde(default, rename = "ipCIDR", skip_serializing_if = "Option::is_none")]
    pub ip_cidr: Option<String>,
}

/// One figure that is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// `rtt`, `jitter`, `throughput`, or the user's own.
    pub name: String,
    /// Minutes between measurements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// The user's own way to measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_source: Option<ScriptSource>,
}

/// A script in a `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScriptSource {
    /// The `ConfigMap`.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// Where figures go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportMetric {
    /// `default` or `codeco-swm`.
    #[serde(default = "default_text")]
    pub method: String,
    /// The service account that exports.
    #[serde(default = "default_text")]
    pub service_account: String,
    /// Settings of the method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// Upstream's figures of one link, in the status of an Overlay or a `NetworkEdgeDevice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LinkMetric {
    /// Where it was measured.
    pub source_node: String,
    /// Towards whom.
    pub target_node: String,
    /// `Up`, `Down` or `Degraded`.
    pub status: String,
    /// The figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricValue>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct MetricValue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Monitor {
    /// What is wrong with it, below the field `path`.
    pub fn faults(&self, path: &str) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, metric) in self.metrics.iter().enumerate() {
            let field = format!("{path}.metrics[{index}].name");
            if metric.name.is_empty() {
                faults.push(FieldError::new(field, "is required"));
            } else if !seen.insert(&metric.name) {
                faults.push(FieldError::new(field, format!("{:?} is given twice", metric.name)));
            }
        }
        if !is_decimal(&self.spread_factor) {
            let why = format!(
                "{:?} is not a number; expected one as a string, as in \"0.2\"",
                self.spread_factor
            );
            faults.push(FieldError::new(format!("{path}.spreadFactor"), why));
        }
        for (field, cidr) in [("networkCIDR", &self.network_cidr), ("ipCIDR", &self.ip_cidr)] {
            let fault = cidr.as_deref().and_then(|cidr| parse_cidrs(cidr).err());
            faults.extend(fault.map(|why| FieldError::new(format!("{path}.{field}"), why)));
        }
        faults
    }
}

/// Digits with at most one point among them, as in the schema of the cluster.
fn is_decimal(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.parse::<f64>().is_ok()
}

fn spread_factor() -> String {
    "0.2".to_owned()
}

fn default_text() -> String {
    "default".to_owned()
}
