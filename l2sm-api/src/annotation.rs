//! What a pod's annotations say: the networks that it joins, and what became of it.
//!
//! Errors are one line in words: they become events of the pod.

mod json;
mod multus;
mod names;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

pub use self::{multus::read_multus, names::interface_names, status::NetworkStatus};
pub use crate::cni::NETWORKS_ANNOTATION as NETWORKS;
use crate::objects::field::{
    ifname_fault, name_fault, namespace_fault, parse_address, parse_station,
};

/// Multus' annotation; its grammar is in the "Kubernetes Network Custom Resource Definition
/// De-facto Standard" 1.3, section 4.1.
pub const MULTUS_NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// Where a pod's interfaces are told, in the form of Multus' network status.
pub const NETWORK_STATUS: &str = "l2sm/network-status";

/// Upstream's label that chooses a pod's name in DNS. It does not act yet.
pub const APP_LABEL: &str = "l2sm/app";

/// Most entries of an annotation: every entry becomes an object.
pub const ENTRIES_MAX: usize = 64;

/// An entry of `l2sm/networks`, or of Multus' annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The network; in Multus' annotation the `NetworkAttachmentDefinition`.
    pub name: String,
    /// Addresses, the prefix length from the network where it is left out; none: the network's
    /// choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// Interface name; `None`: the next `netN`.
    #[serde(default, alias = "interface", skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
    /// Its namespace; `None`: the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// MAC address; `None`: planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The pod does not wait for it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub optional: bool,
}

/// The entries of `l2sm/networks`: a JSON array of objects, or names separated by commas. An empty
/// annotation has none.
///
/// # Errors
/// What is wrong, in words.
pub fn read_networks(text: &str) -> Result<Vec<Entry>, String> {
    let text = text.trim();
    let entries = match text.chars().next() {
        Some('[') => json::entries(text, true)?,
        Some('{' | '"') => {
            return Err(
                r#"is no JSON array; expected one, as in [{"name": "blue"}], or names separated by commas"#
                    .to_owned(),
            );
        }
        _ => names(text)?,
    };
    at_most(entries.len())?;
    for (number, entry) in (1..).zip(&entries) {
        entry.check().map_err(|why| format!("entry {number}: {why}"))?;
    }
    Ok(entries)
}

/// What of a pod's labels is stored and does not act yet.
pub fn not_acting(labels: &BTreeMap<String, String>) -> Option<&'static str> {
    labels.contains_key(APP_LABEL).then_some("label l2sm/app")
}

/// Names separated by commas; upstream drops empty ones.
fn names(text: &str) -> Result<Vec<Entry>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    (1..).zip(names).map(|(number, name)| {
        if let Some((namespace, name)) = name.split_once('/') {
            return Err(format!(
                r#"entry {number}: a namespace is named in the JSON form, as in [{{"name": {name:?}, "namespace": {namespace:?}}}]"#
            ));
        }
        Ok(Entry { name: name.to_owned(), ..Entry::default() })
    })
    .collect()
}

fn at_most(found: usize) -> Result<(), String> {
    if found > ENTRIES_MAX {
        return Err(format!("has {found} entries; expected at most {ENTRIES_MAX}"));
    }
    Ok(())
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let fault = |field: &str, fault: Option<String>| match fault {
            Some(why) => Err(format!("{field}: {why}")),
            None => Ok(()),
        };
        fault("name", name_fault(&self.name))?;
        fault("namespace", self.namespace.as_deref().and_then(namespace_fault))?;
        fault("ifname", self.ifname.as_deref().and_then(ifname_fault))?;
        fault("mac", self.mac.as_deref().and_then(|mac| parse_station(mac).err()))?;
        let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
        for (index, text) in self.ips.iter().enumerate() {
            let (ip, _) = parse_address(text).map_err(|why| format!("ips[{index}]: {why}"))?;
            if !seen.insert(ip) {
                return Err(format!("ips[{index}]: {ip} is given twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "annotation_tests.rs"]
mod tests;
