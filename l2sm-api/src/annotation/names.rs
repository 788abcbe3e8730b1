//! Names of interfaces: Multus' first, then ours.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, MULTUS_NETWORKS, NETWORKS};

/// The pod's own interface, which the cluster's network makes.
const MAIN: &str = "eth0";

/// The name of each interface of `ours`, in order. Who chooses none gets the next `netN`, counted
/// from the entries of `multus` on; names that others chose are passed over. Of the names in `kept`,
/// which a running pod's interfaces have, Multus' count takes none.
///
/// For each entry whose name another one has, the words for it.
pub fn interface_names(
    multus: &[Entry],
    ours: &[Entry],
    kept: &BTreeSet<String>,
) -> Vec<Result<String, String>> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    owners.insert(MAIN.to_owned(), "the cluster's network".to_owned());
    for (number, entry) in (1..).zip(multus) {
        // Multus counts entries, with or without a name of their own.
        let counted = || Some(format!("net{number}")).filter(|name| !kept.contains(name));
        let Some(name) = entry.ifname.clone().or_else(counted) else { continue };
        owners.entry(name).or_insert_with(|| format!("entry {number} of {MULTUS_NETWORKS}"));
    }
    let mut claimed: Vec<Option<Result<String, String>>> = Vec::new();
    for (number, entry) in (1..).zip(ours) {
        claimed.push(entry.ifname.as_deref().map(|name| claim(name, number, &mut owners)));
    }
    let mut next = multus.len();
    let names = claimed.into_iter().map(|claimed| {
        claimed.unwrap_or_else(|| {
            loop {
                next += 1;
                let name = format!("net{next}");
                if !owners.contains_key(&name) {
                    break Ok(name);
                }
            }
        })
    });
    names.collect()
}

fn claim(
    name: &str,
    number: usize,
    owners: &mut BTreeMap<String, String>,
) -> Result<String, String> {
    if let Some(owner) = owners.get(name) {
        return Err(format!("interface {name:?} belongs to {owner}; expected another ifname"));
    }
    owners.insert(name.to_owned(), format!("entry {number} of {NETWORKS}"));
    Ok(name.to_owned())
}
