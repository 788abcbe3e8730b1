//! What a pod wants to be attached to, and what of that cannot be, in words.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use l2sm_api::{
    annotation::{Entry, MULTUS_NETWORKS, NETWORKS, interface_names, read_multus, read_networks},
    grpc::v1::entry_problem::Annotation,
    objects::{
        L2Attachment, L2Network,
        field::{ifname_fault, name_fault, namespace_fault, parse_address, parse_station},
        network::{AllowedNamespaces, LabelOperator, LabelSelector},
    },
};
use l2sm_common::mac::Mac;
use l2sm_core::{ipam::Wanted, model::ObjectKey};
use serde_json::Value;

use crate::watched::{Nad, Namespace, Pod, Stage};

/// What stands around a pod.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Networks; `Err`: there, but not as it must be.
    pub networks: &'a BTreeMap<ObjectKey, NetworkSeen>,
    /// Namespaces.
    pub namespaces: &'a BTreeMap<String, Namespace>,
    /// NADs.
    pub nads: &'a BTreeMap<ObjectKey, Nad>,
    /// Where a name is in no network of the pod's namespace, the one network of that name in all
    /// namespaces is meant: as upstream looks networks up.
    pub compat_lookup: bool,
}

/// A network, as far as pods see it.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSeen {
    /// What it says; `Err`: what is wrong with it.
    pub network: Result<Box<L2Network>, String>,
    /// It is about to go.
    pub deleting: bool,
}

/// All that a pod wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Interfaces that it can have.
    pub interfaces: Vec<Interface>,
    /// What it cannot have, and why.
    pub problems: Vec<Problem>,
    /// An annotation cannot be read: what is attached stays.
    pub unreadable: bool,
}

/// One interface that a pod wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Where it is asked for.
    pub place: Place,
    /// Its name.
    pub ifname: String,
    /// The network.
    pub network: ObjectKey,
    /// Addresses; none: the network's choice.
    pub ips: Vec<Wanted>,
    /// MAC; `None`: planned.
    pub mac: Option<Mac>,
}

/// An entry of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whether it is Multus' annotation.
    pub multus: bool,
    /// Its position, from 0 on.
    pub entry: usize,
}

/// Why a pod does not have what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is asked for.
    pub place: Place,
    /// The interface's name, where it is fixed.
    pub ifname: Option<String>,
    /// The network, where it is known.
    pub network: Option<ObjectKey>,
    /// One `CamelCase` word.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// Reason of the problem that a pod has addresses which its network has no more: it keeps them.
pub const ADDRESSES_OUTSIDE: &str = "AddressesOutside";

impl Problem {
    /// The pod lacks something because of it.
    pub fn is_in_the_way(&self) -> bool {
        self.reason != ADDRESSES_OUTSIDE
    }
}

impl Place {
    /// As it is told to agents.
    pub const fn annotation(self) -> Annotation {
        if self.multus { Annotation::MultusNetworks } else { Annotation::L2smNetworks }
    }
}

/// What `pod`, which has the attachments `held`, wants, in the order of its annotations.
pub fn read_wishes(pod: &Pod, held: &[&L2Attachment], around: Surroundings<'_>) -> Wishes {
    let mut wishes = Wishes::default();
    if pod.networks.is_none() && pod.multus_networks.is_none() {
        return wishes;
    }
    let multus = wishes.entries(pod.multus_networks.as_deref(), true, read_multus);
    let ours = wishes.entries(pod.networks.as_deref(), false, read_networks);
    if pod.host_network {
        let ours_there =
            pod.networks.is_some() || multus.iter().any(|entry| is_ours(pod, entry, around));
        if ours_there {
            let message = "the pod is on the host's network: it has no interfaces of its own";
            let place = Place { multus: false, entry: 0 };
            wishes.problem(place, None, None, ("HostNetwork", message.to_owned()));
        }
        return wishes;
    }
    for (index, entry) in multus.iter().enumerate() {
        let ifname = entry.ifname.clone().unwrap_or_else(|| format!("net{}", index + 1));
        let place = Place { multus: true, entry: index };
        match network_of_nad(pod, entry, around) {
            Ok(None) => {
                // A running pod keeps what it has: only a NAD that says otherwise takes it away.
                let has = held.iter().any(|held| held.spec.ifname == ifname);
                if let Some(why) = nad_fault(pod, entry, around).filter(|_| has) {
                    wishes.settle(place, ifname, None, Err(("InvalidNAD", why)));
                }
            }
            Ok(Some(key)) => {
                let settled = usable(&ifname)
                    .and_then(|()| wish(pod, entry, place, ifname.clone(), key.clone(), around));
                wishes.settle(place, ifname, Some(key), settled);
            }
            Err(why) => wishes.settle(place, ifname, None, Err(why)),
        }
    }
    let found: Vec<_> = ours.iter().map(|entry| find_network(pod, entry, around)).collect();
    let theirs = names_of_multus(pod, &multus, around);
    let (fixed, kept) = keep_names(&theirs, &ours, &found, held);
    // It is not the interface of Multus' entry that has no NAD.
    wishes.problems.retain(|problem| !problem.ifname.as_ref().is_some_and(|it| kept.contains(it)));
    let names = interface_names(&multus, &fixed, &kept);
    for (((index, entry), found), name) in ours.iter().enumerate().zip(found).zip(names) {
        let place = Place { multus: false, entry: index };
        let network = found.as_ref().ok().cloned();
        let ifname = match name {
            Ok(ifname) => ifname,
            Err(why) => {
                wishes.problem(place, None, network, ("InterfaceNameInUse", why));
                continue;
            }
        };
        let settled = found.and_then(|key| wish(pod, entry, place, ifname.clone(), key, around));
        wishes.settle(place, ifname, network, settled);
    }
    wishes
}

/// Names that Multus' entries have, and whether they have them for good. Multus counts when a pod
/// starts: the name of an entry that a running pod got since may be an interface's that was there before.
fn names_of_multus(
    pod: &Pod,
    multus: &[Entry],
    around: Surroundings<'_>,
) -> BTreeMap<String, bool> {
    let counted = |entry: &Entry| pod.stage != Stage::Running || is_ours(pod, entry, around);
    let names = (1..).zip(multus).map(|(number, entry)| {
        let name = entry.ifname.clone().unwrap_or_else(|| format!("net{number}"));
        (name, entry.ifname.is_some() || counted(entry))
    });
    let mut all = BTreeMap::new();
    for (name, fixed) in names {
        *all.entry(name).or_default() |= fixed;
    }
    all
}

/// `ours`, where an entry without a name whose network the pod is in already has the name that its
/// interface got there: what stands before it in the annotation may go without it. With them, the
/// names that are kept so.
fn keep_names(
    theirs: &BTreeMap<String, bool>,
    ours: &[Entry],
    found: &[Result<ObjectKey, Fault>],
    held: &[&L2Attachment],
) -> (Vec<Entry>, BTreeSet<String>) {
    let fixed = theirs.iter().filter(|(_, fixed)| **fixed).map(|(name, _)| name.clone());
    let mut taken: BTreeSet<String> =
        fixed.chain(ours.iter().filter_map(|entry| entry.ifname.clone())).collect();
    let mut all_kept = BTreeSet::new();
    let mut named = ours.to_vec();
    for (entry, found) in named.iter_mut().zip(found).filter(|(entry, _)| entry.ifname.is_none()) {
        let is_there = |held: &L2Attachment| match found {
            Ok(network) => held.network() == *network,
            Err(_unclear) => held.spec.network == entry.name,
        };
        let wanted: BTreeSet<_> =
            entry.ips.iter().filter_map(|text| Some(parse_address(text).ok()?.0)).collect();
        let there = held.iter().filter(|held| is_there(held) && !taken.contains(&held.spec.ifname));
        let kept = there.min_by_key(|held| {
            let has: BTreeSet<_> = held.spec.addresses().iter().map(IpNet::addr).collect();
            let other = !wanted.is_empty() && has != wanted;
            let ifname = held.spec.ifname.as_str();
            (other, theirs.contains_key(ifname), ifname.len(), ifname)
        });
        if let Some(kept) = kept {
            taken.insert(kept.spec.ifname.clone());
            all_kept.insert(kept.spec.ifname.clone());
            entry.ifname = Some(kept.spec.ifname.clone());
        }
    }
    (named, all_kept)
}

/// Reason and words.
type Fault = (&'static str, String);

impl Wishes {
    fn entries(
        &mut self,
        text: Option<&str>,
        multus: bool,
        read: fn(&str) -> Result<Vec<Entry>, String>,
    ) -> Vec<Entry> {
        match text.map(read) {
            None => Vec::new(),
            Some(Ok(entries)) => entries,
            Some(Err(why)) => {
                let name = if multus { MULTUS_NETWORKS } else { NETWORKS };
                let message = format!("annotation {name}: {why}");
                let place = Place { multus, entry: 0 };
                self.problem(place, None, None, ("InvalidAnnotation", message));
                self.unreadable = true;
                Vec::new()
            }
        }
    }

    fn settle(
        &mut self,
        place: Place,
        ifname: String,
        network: Option<ObjectKey>,
        settled: Result<Interface, Fault>,
    ) {
        match settled {
            Ok(interface) => self.interfaces.push(interface),
            Err(why) => self.problem(place, Some(ifname), network, why),
        }
    }

    fn problem(
        &mut self,
        place: Place,
        ifname: Option<String>,
        network: Option<ObjectKey>,
        (reason, message): Fault,
    ) {
        self.problems.push(Problem { place, ifname, network, reason, message });
    }
}

fn usable(ifname: &str) -> Result<(), Fault> {
    ifname_fault(ifname).map_or(Ok(()), |why| Err(("InvalidAnnotation", why)))
}

/// The network that an entry names.
fn find_network(pod: &Pod, entry: &Entry, around: Surroundings<'_>) -> Result<ObjectKey, Fault> {
    let invalid = |why: String| Err(("InvalidAnnotation", why));
    if let Some(why) = name_fault(&entry.name) {
        return invalid(format!("network name {why}"));
    }
    if let Some(why) = entry.namespace.as_deref().and_then(namespace_fault) {
        return invalid(why);
    }
    let namespace = entry.namespace.as_deref().unwrap_or(&pod.key.namespace);
    let key = ObjectKey::new(namespace, entry.name.as_str());
    if around.networks.contains_key(&key) || entry.namespace.is_some() || !around.compat_lookup {
        return Ok(key);
    }
    let mut named = around.networks.keys().filter(|other| other.name == entry.name);
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Ok(key),
        (Some(one), Some(other)) => Err((
            "NetworkAmbiguous",
            format!(
                "network '{}' exists in namespaces '{}' and '{}': say which with \"namespace\"",
                entry.name, one.namespace, other.namespace
            ),
        )),
    }
}

/// The network that an entry of Multus' annotation names; `None`: its NAD is none of ours, or is not
/// there, which Multus says itself.
fn network_of_nad(
    pod: &Pod,
    entry: &Entry,
    around: Surroundings<'_>,
) -> Result<Option<ObjectKey>, Fault> {
    let namespace = entry.namespace.as_deref().unwrap_or(&pod.key.namespace);
    let key = ObjectKey::new(namespace, entry.name.as_str());
    let Some(config) = around.nads.get(&key).and_then(|nad| our_config(&nad.config)) else {
        return Ok(None);
    };
    let text = |field: &str| config.get(field).and_then(Value::as_str);
    let text = |field: &str| text(field).filter(|text| !text.is_empty()).map(str::to_owned);
    let network = text("network").unwrap_or_else(|| entry.name.clone());
    if let Some(why) = name_fault(&network) {
        return Err(("InvalidNAD", format!("NAD {key}: network: {why}")));
    }
    // A NAD names a network of its own namespace, unless it says another.
    Ok(Some(ObjectKey::new(text("namespace").unwrap_or(key.namespace), network)))
}

/// Why it cannot be told what the NAD of an entry of Multus' annotation says.
fn nad_fault(pod: &Pod, entry: &Entry, around: Surroundings<'_>) -> Option<String> {
    let namespace = entry.namespace.as_deref().unwrap_or(&pod.key.namespace);
    let key = ObjectKey::new(namespace, entry.name.as_str());
    let Some(nad) = around.nads.get(&key) else {
        return Some(format!("NAD {key} does not exist: the interface stays as it is"));
    };
    let why = serde_json::from_str::<Value>(&nad.config).err()?;
    Some(format!("NAD {key}: spec.config is not JSON: {why}: the interface stays as it is"))
}

fn is_ours(pod: &Pod, entry: &Entry, around: Surroundings<'_>) -> bool {
    !matches!(network_of_nad(pod, entry, around), Ok(None))
}

/// The part of a NAD's configuration that is ours: of type `l2sm`, alone or in a list.
fn our_config(config: &str) -> Option<Value> {
    let config: Value = serde_json::from_str(config).ok()?;
    let is_ours = |config: &Value| config.get("type").and_then(Value::as_str) == Some("l2sm");
    if is_ours(&config) {
        return Some(config);
    }
    config.get("plugins")?.as_array()?.iter().find(|plugin| is_ours(plugin)).cloned()
}

/// The interface that an entry asks for, where its network lets the pod in.
fn wish(
    pod: &Pod,
    entry: &Entry,
    place: Place,
    ifname: String,
    key: ObjectKey,
    around: Surroundings<'_>,
) -> Result<Interface, Fault> {
    let ObjectKey { namespace, name } = &key;
    let Some(seen) = around.networks.get(&key) else {
        let message = format!("network '{name}' does not exist in namespace '{namespace}'");
        return Err(("NetworkNotFound", message));
    };
    let network = seen.network.as_ref().map_err(|why| {
        (
            "NetworkInvalid",
            format!("network '{name}' in namespace '{namespace}' is not valid: {why}"),
        )
    })?;
    if seen.deleting {
        let message = format!("network '{name}' in namespace '{namespace}' is being deleted");
        return Err(("NetworkDeleting", message));
    }
    // The look-up over all namespaces finds networks that let nobody in: it is upstream's.
    let looked_up = around.compat_lookup && !place.multus && entry.namespace.is_none();
    if !looked_up && !lets_in(network, pod, around) {
        let message = format!(
            "network '{name}' in namespace '{namespace}' does not let pods of namespace '{}' in: see its spec.allowedNamespaces",
            pod.key.namespace
        );
        return Err(("NetworkNotAllowed", message));
    }
    let invalid = |why: String| ("InvalidAnnotation", why);
    let ips = entry.ips.iter().map(|text| {
        let (ip, prefix_len) = parse_address(text).map_err(invalid)?;
        Ok(Wanted { ip, prefix_len })
    });
    let ips = ips.collect::<Result<_, Fault>>()?;
    let mac = entry.mac.as_deref().map(parse_station).transpose().map_err(invalid)?;
    Ok(Interface { place, ifname, network: key, ips, mac })
}

/// Whether a network lets pods of the pod's namespace in.
fn lets_in(network: &L2Network, pod: &Pod, around: Surroundings<'_>) -> bool {
    if network.metadata.namespace == pod.key.namespace {
        return true;
    }
    match &network.spec.allowed_namespaces {
        AllowedNamespaces::Same => false,
        AllowedNamespaces::All => true,
        AllowedNamespaces::Selector(selector) => {
            let none = BTreeMap::new();
            let namespace = around.namespaces.get(&pod.key.namespace);
            selects(selector, namespace.map_or(&none, |namespace| &namespace.labels))
        }
    }
}

/// Whether a label selector selects an object with `labels`.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let is_one = value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator {
                LabelOperator::In => is_one,
                LabelOperator::NotIn => !is_one,
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        })
}

#[cfg(test)]
#[path = "wishes_tests.rs"]
mod tests;
