//! `ExternalVTEP`: a tunnel endpoint that is no agent of ours (a switch, a kernel `vxlan` device,
//! OVS, FRR), and the networks that it takes part in.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use l2sm_common::mac::Mac;
use l2sm_core::model::ObjectKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Column, Condition, DEFAULT_NAMESPACE, FieldError, Object,
    column::Shows,
    field::{is_mapped, name_fault, namespace_fault, none_or_more, parse_address, parse_station},
    kind::{Definition, Kind},
    manifest::from_value,
    metadata::Metadata,
};

/// A tunnel endpoint that is no agent of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalVtep {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// `ExternalVTEP`.
    pub kind: String,
    /// Name; no namespace.
    pub metadata: Metadata,
    /// What the user says of it.
    pub spec: ExternalVtepSpec,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ExternalVtepStatus>,
}

/// What the user says of an external VTEP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "crd",
    derive(kube_derive::CustomResource),
    kube(
        group = "l2sm.l2sm.k8s.local",
        version = "v1",
        kind = "ExternalVTEP",
        root = "ExternalVtepResource"
    ),
    kube(
        doc = "A tunnel endpoint that is no agent of ours: a switch, a kernel vxlan device, OVS, FRR."
    ),
    kube(status = "ExternalVtepStatus", crates(kube_core = "::kube_core"))
)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalVtepSpec {
    /// Its address in the underlay.
    pub address: String,
    /// The networks that it takes part in.
    #[serde(default, deserialize_with = "none_or_more")]
    pub networks: Vec<ExternalNetwork>,
    /// Outer UDP checksums that it wants: `zero` (none, RFC 7348 section 5) or `full` (slower).
    #[serde(default)]
    pub udp_checksum: UdpChecksum,
}

/// A network that an external VTEP takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExternalNetwork {
    /// The network.
    pub name: String,
    /// Its namespace; none: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Stations known to be behind it there; others may be.
    #[serde(default, deserialize_with = "none_or_more", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<ListedHost>,
}

/// A station known to be behind an external VTEP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListedHost {
    /// MAC address.
    pub mac: String,
    /// Its addresses; a prefix length says nothing here.
    #[serde(default, deserialize_with = "none_or_more", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}

/// Outer UDP checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UdpChecksum {
    /// None: the field is zero (RFC 7348 section 5).
    #[default]
    Zero,
    /// On every packet; slower.
    Full,
}

/// What is, of an external VTEP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalVtepStatus {
    /// Its networks with their numbers on the wire: what the other end must be set to.
    pub networks: Vec<ExternalNetworkStatus>,
    /// `metadata.generation` that this is about.
    pub observed_generation: u64,
    /// `Ready`, and what stands in its way.
    pub conditions: Vec<Condition>,
}

/// A network of an external VTEP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct ExternalNetworkStatus {
    /// The network.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its number on the wire; none: there is no such network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// Its MTU, bytes; none: no node has a port in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

pub(super) const DEFINITION: Definition = Definition {
    kind: "ExternalVTEP",
    plural: "externalvteps",
    singular: "externalvtep",
    short: "xvtep",
    aliases: &["extvtep"],
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text("ADDRESS", "/spec/address"),
        Column::new("NETWORKS", Shows::Computed(networks)),
        Column::READY,
        Column::AGE,
        Column::new("VNIS", Shows::Computed(vnis)).wide(),
        Column::text("CHECKSUM", "/spec/udpChecksum").wide(),
    ],
    read: |value, default_namespace| {
        let mut vtep: ExternalVtep = from_value(value)?;
        let mut faults = vtep.metadata.complete(Kind::ExternalVtep, default_namespace);
        faults.extend(vtep.spec.faults());
        if faults.is_empty() { Ok(Object::ExternalVtep(Box::new(vtep))) } else { Err(faults) }
    },
};

impl ExternalVtepSpec {
    /// What is wrong with it, as far as it can be told without nodes and networks.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if let Err(why) = parse_vtep(&self.address) {
            faults.push(FieldError::new("spec.address", why));
        }
        let mut seen: BTreeMap<ObjectKey, usize> = BTreeMap::new();
        for (index, network) in self.networks.iter().enumerate() {
            let field = format!("spec.networks[{index}]");
            faults.extend(network.faults(&field));
            if let Some(first) = seen.insert(network.key(), index) {
                let why = format!("{} is given twice, first in networks[{first}]", network.key());
                faults.push(FieldError::new(field, why));
            }
        }
        faults
    }

    /// The address of a checked spec.
    pub fn vtep(&self) -> Option<IpAddr> {
        parse_vtep(&self.address).ok()
    }
}

impl ExternalNetwork {
    /// The network.
    pub fn key(&self) -> ObjectKey {
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        ObjectKey::new(namespace, self.name.as_str())
    }

    fn faults(&self, field: &str) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let name = name_fault(&self.name);
        faults.extend(name.map(|why| FieldError::new(format!("{field}.name"), why)));
        let namespace = self.namespace.as_deref().and_then(namespace_fault);
        faults.extend(namespace.map(|why| FieldError::new(format!("{field}.namespace"), why)));
        let mut macs: BTreeMap<Mac, usize> = BTreeMap::new();
        let mut ips: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let field = format!("{field}.hosts[{index}]");
            match parse_station(&host.mac) {
                Err(why) => faults.push(FieldError::new(format!("{field}.mac"), why)),
                Ok(mac) => faults.extend(macs.insert(mac, index).map(|first| {
                    let why = format!("{mac} is given twice, first in hosts[{first}]");
                    FieldError::new(format!("{field}.mac"), why)
                })),
            }
            for (number, text) in host.ips.iter().enumerate() {
                let fault = match parse_host_address(text) {
                    Err(why) => Some(why),
                    Ok(ip) => ips
                        .insert(ip, index)
                        .map(|first| format!("{ip} is given twice, first in hosts[{first}]")),
                };
                let field = format!("{field}.ips[{number}]");
                faults.extend(fault.map(|why| FieldError::new(field, why)));
            }
        }
        faults
    }
}

impl ListedHost {
    /// The MAC of a checked host.
    pub fn station(&self) -> Option<Mac> {
        parse_station(&self.mac).ok()
    }

    /// The addresses of a checked host.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.ips.iter().filter_map(|text| parse_host_address(text).ok()).collect()
    }
}

/// An address that a tunnel endpoint can have.
fn parse_vtep(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_not_one| {
        format!("{text:?} is not an address; expected an IPv4 or IPv6 address, as in 192.0.2.9")
    })?;
    let mapped = is_mapped(address);
    let scoped = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if is_no_host(address) || mapped || scoped {
        return Err(format!(
            "{text:?} is no tunnel endpoint's; expected a unicast address that nodes reach, as in 192.0.2.9"
        ));
    }
    Ok(address)
}

fn parse_host_address(text: &str) -> Result<IpAddr, String> {
    let (ip, _) = parse_address(text)?;
    if is_no_host(ip) {
        return Err(format!("{text:?} is no host's; expected a unicast address, as in 10.34.0.5"));
    }
    Ok(ip)
}

fn is_no_host(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || broadcast
}

fn networks(object: &Value) -> String {
    let networks = object.pointer("/spec/networks").and_then(Value::as_array);
    let names = networks.into_iter().flatten().filter_map(|network| {
        let text = |field| network.get(field).and_then(Value::as_str);
        Some(format!("{}/{}", text("namespace").unwrap_or(DEFAULT_NAMESPACE), text("name")?))
    });
    joined(&names.collect::<Vec<_>>())
}

fn vnis(object: &Value) -> String {
    let networks = object.pointer("/status/networks").and_then(Value::as_array);
    let vnis = networks.into_iter().flatten().filter_map(|network| network.get("vni"));
    joined(&vnis.map(ToString::to_string).collect::<Vec<_>>())
}

fn joined(parts: &[String]) -> String {
    if parts.is_empty() { super::column::NONE.to_owned() } else { parts.join(",") }
}

#[cfg(test)]
#[path = "external_vtep_tests.rs"]
mod tests;
