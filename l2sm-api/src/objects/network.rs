//! `L2Network`: upstream's fields (as of its version 2.8.7, with the older spellings) and ours.

use std::collections::BTreeMap;

use ipnet::IpNet;
use l2sm_core::{ipam::Pool, vni_plan::VNI_CHOSEN_MAX};
use serde::{Deserialize, Serialize};

use super::{
    Column, Condition, FieldError, Object,
    field::parse_cidrs,
    kind::{Definition, Kind},
    manifest::from_value,
    metadata::Metadata,
    provider::Provider,
};

mod allowed;
mod ids;

pub use allowed::{AllowedNamespaces, LabelOperator, LabelRequirement, LabelSelector};
pub use ids::{Ids, NameRef, RuleSource};

/// A virtual Layer-2 network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L2Network {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `L2Network`.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What the user wants.
    pub spec: L2NetworkSpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<L2NetworkStatus>,
}

/// What the user wants of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "crd",
    derive(kube_derive::CustomResource),
    kube(
        group = "l2sm.l2sm.k8s.local",
        version = "v1",
        kind = "L2Network",
        root = "L2NetworkResource"
    ),
    kube(
        doc = "A virtual Layer-2 network: all pods that join it see each other as if plugged into one switch."
    ),
    kube(namespaced, status = "L2NetworkStatus", crates(kube_core = "::kube_core"))
)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L2NetworkSpec {
    /// `vnet`: a switch. Upstream's `ext-vnet` and `vlink` are accepted and act as `vnet` for now.
    #[serde(rename = "type")]
    pub network_type: NetworkType,
    /// Upstream: the path of a `vlink`. Stored; does not act yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The controller shared by clusters (older spelling: `networkController`). Stored; does not act
    /// yet.
    #[serde(default, alias = "networkController", skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Addresses of the network: a CIDR, or an IPv4 and an IPv6 one separated by a comma. Its prefix
    /// length goes on the pods' addresses. None: plain Layer 2.
    #[serde(default, rename = "networkCIDR", skip_serializing_if = "Option::is_none")]
    pub network_cidr: Option<String>,
    /// Where pods' addresses are taken from, inside `networkCIDR`; none: all of it. May be wider than
    /// it, as in upstream's inter-cluster sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_address_range: Option<String>,
    /// Upstream: intrusion detection. Stored; does not act yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Number on the wire, 1 to 1,048,575, nobody else's; none: allocated above that. In a cluster it
    /// is fixed once the network is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// Which namespaces' pods may join: `Same` (the network's own), `All`, or a label selector of
    /// namespaces, an object with `matchLabels` and `matchExpressions`.
    #[cfg_attr(feature = "crd", schemars(with = "serde_json::Value"))]
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// Largest inner IP packet, bytes; none: from the underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// MAC addresses are learned. Stored; does not act yet.
    #[serde(default)]
    pub learning: bool,
    /// Pods send from their own MAC only.
    #[serde(default = "yes")]
    pub mac_spoof_check: bool,
    /// Broadcast and multicast: `all` (to every port of the network) or `none` (dropped).
    #[serde(default)]
    pub flood: Flood,
}

/// Upstream's types of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NetworkType {
    /// Extended to other clusters.
    ExtVnet,
    /// A switch.
    Vnet,
    /// A point-to-point link.
    Vlink,
}

/// What happens to broadcast and multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Flood {
    /// To every port of the network.
    #[default]
    All,
    /// Dropped.
    None,
}

/// What is, of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct L2NetworkStatus {
    /// `Available` when Ready, else `Unavailable`.
    pub internal_connectivity: String,
    /// `Unknown` where the network has a provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_connectivity: Option<String>,
    /// Attachments.
    pub connected_pod_count: u32,
    /// Address to pod name; display only.
    #[serde(rename = "assignedIPs", skip_serializing_if = "BTreeMap::is_empty")]
    pub assigned_ips: BTreeMap<String, String>,
    /// The address given last.
    #[serde(rename = "lastAssignedIP", skip_serializing_if = "Option::is_none")]
    pub last_assigned_ip: Option<String>,
    /// Its number on the wire. The only part of a status that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// Largest inner IP packet, bytes; none while no node has a port in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// `metadata.generation` that this is about.
    pub observed_generation: u64,
    /// `Ready`, and what stands in its way.
    pub conditions: Vec<Condition>,
}

pub(super) const DEFINITION: Definition = Definition {
    kind: "L2Network",
    plural: "l2networks",
    singular: "l2network",
    short: "l2net",
    aliases: &["networks", "network"],
    namespaced: true,
    columns: &[
        Column::NAME,
        Column::text("AVAILABILITY", "/status/internalConnectivity"),
        Column::text("CONNECTED_PODS", "/status/connectedPodCount"),
        Column::text("VNI", "/status/vni"),
        Column::READY,
        Column::AGE,
        Column::text("MTU", "/status/mtu").wide(),
        Column::text("CIDR", "/spec/networkCIDR").wide(),
        Column::text("RANGE", "/spec/podAddressRange").wide(),
    ],
    read: |value, default_namespace| {
        let mut network: L2Network = from_value(value)?;
        let mut faults = network.metadata.complete(Kind::L2Network, default_namespace);
        faults.extend(network.spec.faults());
        if faults.is_empty() { Ok(Object::L2Network(Box::new(network))) } else { Err(faults) }
    },
};

impl L2NetworkSpec {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = self.address_faults();
        if let Some(vni) = self.vni
            && !(1..=VNI_CHOSEN_MAX).contains(&vni)
        {
            let why = format!("{vni} is out of range; expected 1 to {VNI_CHOSEN_MAX}");
            faults.push(FieldError::new("spec.vni", why));
        }
        let has_v6 = self.cidrs().iter().any(|net| net.addr().is_ipv6());
        let (least, because) = if has_v6 { (1_280, " (IPv6 needs 1280)") } else { (576, "") };
        if let Some(mtu) = self.mtu
            && !(least..=65_535).contains(&mtu)
        {
            let why = format!("{mtu} is out of range; expected {least} to 65535{because}");
            faults.push(FieldError::new("spec.mtu", why));
        }
        faults.extend(self.allowed_namespaces.faults("spec.allowedNamespaces"));
        if let Some(provider) = &self.provider {
            faults.extend(provider.faults("spec.provider"));
        }
        faults
    }

    fn address_faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut read = |field: &str, text: &Option<String>| match text.as_deref().map(parse_cidrs) {
            None => Vec::new(),
            Some(Ok(nets)) => nets,
            Some(Err(why)) => {
                faults.push(FieldError::new(field, why));
                Vec::new()
            }
        };
        let cidrs = read("spec.networkCIDR", &self.network_cidr);
        let ranges = read("spec.podAddressRange", &self.pod_address_range);
        if faults.is_empty()
            && let Some(range) = ranges.iter().find(|range| {
                !cidrs.iter().any(|net| net.addr().is_ipv4() == range.addr().is_ipv4())
            })
        {
            let family = if range.addr().is_ipv4() { "IPv4" } else { "IPv6" };
            let why = format!(
                "\"{range}\" needs a networkCIDR of its family; expected spec.networkCIDR with an {family} range"
            );
            faults.push(FieldError::new("spec.podAddressRange", why));
        } else if let Some(range) = ranges.iter().find(|range| !touches(range, &cidrs)) {
            let why = format!("\"{range}\" lies outside networkCIDR; expected a range inside it");
            faults.push(FieldError::new("spec.podAddressRange", why));
        }
        faults
    }

    /// The CIDRs of `networkCIDR`, of a checked spec; empty: plain Layer 2.
    pub fn cidrs(&self) -> Vec<IpNet> {
        self.network_cidr.as_deref().and_then(|text| parse_cidrs(text).ok()).unwrap_or_default()
    }

    /// Where addresses come from, one a family.
    pub fn pools(&self) -> Vec<Pool> {
        let ranges = self.pod_address_range.as_deref().and_then(|text| parse_cidrs(text).ok());
        let ranges = ranges.unwrap_or_default();
        let of_family = |net: &IpNet| {
            ranges.iter().copied().find(|range| range.addr().is_ipv4() == net.addr().is_ipv4())
        };
        self.cidrs().into_iter().map(|cidr| Pool { cidr, range: of_family(&cidr) }).collect()
    }

    /// Fields that are set, stored, and do not act yet.
    pub fn not_acting(&self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        match self.network_type {
            NetworkType::Vnet => {}
            NetworkType::Vlink => fields.push("spec.type vlink (acts as vnet)"),
            NetworkType::ExtVnet => fields.push("spec.type ext-vnet (acts as vnet)"),
        }
        if self.config.is_some() {
            fields.push("spec.config");
        }
        if self.provider.is_some() {
            fields.push("spec.provider");
        }
        if self.ids.is_some() {
            fields.push("spec.ids");
        }
        if self.learning {
            fields.push("spec.learning");
        }
        fields
    }
}

/// A range lies in one of the CIDRs, or around one.
fn touches(range: &IpNet, cidrs: &[IpNet]) -> bool {
    cidrs.iter().any(|cidr| cidr.contains(range) || range.contains(cidr))
}

const fn yes() -> bool {
    true
}
