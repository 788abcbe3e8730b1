//! Attachments that agents ask for, without Kubernetes.

use std::{collections::BTreeSet, sync::Arc};

use l2sm_api::objects::{
    API_VERSION, Kind, L2Attachment, L2AttachmentSpec, L2Network, Metadata, Object,
    field::{ifname_fault, name_fault},
};
use l2sm_common::mac::Mac;
use l2sm_core::{ipam::Wanted, model::ObjectKey};
use sha2::{Digest, Sha256};

use crate::{
    allot::{Wish, allot},
    apply::same_netns,
    catalog::ObjectRef,
    draft::Draft,
    overlay::NodeNames,
    refusal::Refusal,
};

/// What an agent asks for on behalf of a namespace of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachOrder {
    /// The agent's node.
    pub node: String,
    /// The network.
    pub network: Option<ObjectKey>,
    /// Path of the namespace.
    pub netns: String,
    /// Its inode; 0: not known, the path tells it.
    pub netns_inode: u64,
    /// Interface name; empty: the first free `netN`.
    pub ifname: String,
    /// Addresses; none: the network's choice.
    pub ips: Vec<Wanted>,
    /// MAC; none: planned.
    pub mac: Option<Mac>,
    /// Name for listings; empty: the namespace's.
    pub pod: String,
    /// The runtime's id; may be empty.
    pub container_id: String,
}

/// Which attachments an agent wants removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetachOrder {
    /// This one.
    One(ObjectKey),
    /// Those of a namespace, to a network (none: all) with an interface name (none: any).
    Netns {
        /// Inode of the namespace.
        inode: u64,
        /// The network.
        network: Option<ObjectKey>,
        /// The interface name.
        ifname: Option<String>,
    },
}

/// The attachment that `order` asks for: the one that is there, or a new one on the draft.
///
/// # Errors
/// See `Dataplane.Attach` in `dataplane.proto`.
pub fn attach(draft: &mut Draft, order: &AttachOrder) -> Result<ObjectKey, Refusal> {
    let network = check(draft, order)?;
    let mut spec = L2AttachmentSpec {
        network: network.metadata.name.clone(),
        node: order.node.clone(),
        pod: Some(pod_name(order)),
        container_id: Some(order.container_id.clone()).filter(|id| !id.is_empty()),
        netns: Some(order.netns.clone()).filter(|path| !path.is_empty()),
        netns_inode: order.netns_inode,
        ifname: order.ifname.clone(),
        ..L2AttachmentSpec::default()
    };
    let network_key = network.metadata.key();
    if let Some((key, there)) = present(draft, &spec, &network_key) {
        check_same(&key, &there, &network_key, order)?;
        return Ok(key);
    }
    // Without a cluster nodes have no labels: they are listed by name.
    if let Some(why) = draft.catalog.members(&NodeNames::new()).outside(&order.node) {
        return Err(Refusal::Precondition(why));
    }
    if spec.ifname.is_empty() {
        spec.ifname = free_ifname(draft, &spec);
    }
    let key = free_key(draft, &network_key.namespace, &spec);
    let wish = Wish {
        attachment: &key,
        node: &order.node,
        name: spec.pod.as_deref().unwrap_or(&key.name),
        ifname: &spec.ifname,
        ips: &order.ips,
        mac: order.mac,
        // Who asks here moved the address by hand.
        waits: false,
    };
    let allotted = allot(draft, &network, &wish).map_err(|error| error.refuse(&network_key))?;
    spec.ips = allotted.ips.iter().map(ToString::to_string).collect();
    spec.mac = Some(allotted.mac.to_string());
    let metadata = Metadata {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        ..Metadata::default()
    };
    draft.put(Object::L2Attachment(Box::new(L2Attachment {
        api_version: API_VERSION.to_owned(),
        kind: Kind::L2Attachment.name().to_owned(),
        metadata,
        spec,
        status: None,
    })));
    Ok(key)
}

/// Removes what `order` names on `node` from the draft; nothing there is fine.
pub fn detach(draft: &mut Draft, node: &str, order: &DetachOrder) -> Vec<ObjectKey> {
    let matches = |key: &ObjectKey, held: &L2Attachment| match order {
        DetachOrder::One(one) => key == one,
        DetachOrder::Netns { inode, network, ifname } => {
            held.spec.netns_inode == *inode
                && network.as_ref().is_none_or(|network| held.network() == *network)
                && ifname.as_ref().is_none_or(|ifname| held.spec.ifname == *ifname)
        }
    };
    let gone: Vec<_> = draft
        .catalog
        .attachments
        .iter()
        .filter(|(key, held)| held.spec.node == node && matches(key, held))
        .map(|(key, _)| key.clone())
        .collect();
    for key in &gone {
        draft.remove(ObjectRef::new(Kind::L2Attachment, key.clone()));
    }
    gone
}

/// Checks an order as far as it goes by itself; the result is its network.
fn check(draft: &Draft, order: &AttachOrder) -> Result<Arc<L2Network>, Refusal> {
    if let Some(why) = name_fault(&order.node) {
        return Err(Refusal::Invalid(format!("node: {why}")));
    }
    if order.netns.is_empty() && order.netns_inode == 0 {
        return Err(Refusal::Invalid("netns: is required; expected a path or an inode".to_owned()));
    }
    if !order.ifname.is_empty()
        && let Some(why) = ifname_fault(&order.ifname)
    {
        return Err(Refusal::Invalid(format!("ifname: {why}")));
    }
    if let Some(mac) = order.mac.filter(|mac| !mac.is_station()) {
        return Err(Refusal::Invalid(format!(
            "mac: {mac} is no station's; expected a unicast MAC"
        )));
    }
    let Some(key) = &order.network else {
        return Err(Refusal::Invalid("network: is required; expected a network's name".to_owned()));
    };
    let network = draft.catalog.networks.get(key).map(Arc::clone);
    network.ok_or_else(|| Refusal::NotFound(format!("there is no network {key}")))
}

/// The attachment of the same namespace with the same interface name or, where the order has none,
/// to the same network.
fn present(
    draft: &Draft,
    spec: &L2AttachmentSpec,
    network: &ObjectKey,
) -> Option<(ObjectKey, Arc<L2Attachment>)> {
    let attachments = draft.catalog.attachments.iter();
    let mut here = attachments.filter(|(_, held)| same_netns(&held.spec, spec));
    let found = if spec.ifname.is_empty() {
        here.find(|(_, held)| held.network() == *network)
    } else {
        here.find(|(_, held)| held.spec.ifname == spec.ifname)
    };
    found.map(|(key, held)| (key.clone(), Arc::clone(held)))
}

/// Whether what is there is what is asked for.
fn check_same(
    key: &ObjectKey,
    there: &L2Attachment,
    network: &ObjectKey,
    order: &AttachOrder,
) -> Result<(), Refusal> {
    let ifname = &there.spec.ifname;
    let refuse = |what: String| {
        Err(Refusal::AlreadyExists(format!(
            "interface {ifname} is attachment {key} already: it {what}"
        )))
    };
    if there.network() != *network {
        return refuse(format!("is in network {}", there.network()));
    }
    let held = there.spec.addresses();
    let has = |wanted: &Wanted| {
        held.iter().any(|net| {
            net.addr() == wanted.ip && wanted.prefix_len.is_none_or(|len| len == net.prefix_len())
        })
    };
    if !order.ips.is_empty() && (order.ips.len() != held.len() || !order.ips.iter().all(has)) {
        return refuse(format!("has {}", there.spec.ips.join(", ")));
    }
    match (order.mac, there.spec.station()) {
        (Some(wanted), Some(held)) if wanted != held => refuse(format!("has MAC address {held}")),
        _ => Ok(()),
    }
}

/// The pod's name, else the container's id, else the namespace's own name.
fn pod_name(order: &AttachOrder) -> String {
    let base = order.netns.rsplit('/').find(|part| !part.is_empty());
    [Some(order.pod.as_str()), Some(order.container_id.as_str()), base]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .map_or_else(|| format!("netns-{}", order.netns_inode), str::to_owned)
}

/// The first `netN` that no attachment of the namespace has.
fn free_ifname(draft: &Draft, spec: &L2AttachmentSpec) -> String {
    let attachments = draft.catalog.attachments.values();
    let here = attachments.filter(|held| same_netns(&held.spec, spec));
    let taken: BTreeSet<_> = here.map(|held| held.spec.ifname.as_str()).collect();
    let mut number = 1u32;
    loop {
        let name = format!("net{number}");
        if !taken.contains(name.as_str()) {
            return name;
        }
        number += 1;
    }
}

/// A key of the shape `<pod, cut>-<ifname>-<6 hex of SHA-256>` that no attachment has.
fn free_key(draft: &Draft, namespace: &str, spec: &L2AttachmentSpec) -> ObjectKey {
    let identity = format!(
        "{}\0{}\0{}",
        spec.node,
        spec.netns_inode,
        spec.netns.as_deref().unwrap_or_default()
    );
    let pod = spec.pod.as_deref().map(label).filter(|pod| !pod.is_empty());
    let pod = pod.unwrap_or_else(|| "pod".to_owned());
    let ifname = label(&spec.ifname);
    let mut attempt = 0u32;
    loop {
        let mut hash = Sha256::new();
        hash.update(identity.as_bytes());
        if attempt > 0 {
            hash.update(attempt.to_be_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, ..] = digest;
        let key = ObjectKey::new(namespace, format!("{pod}-{ifname}-{a:02x}{b:02x}{c:02x}"));
        if !draft.catalog.attachments.contains_key(&key) {
            return key;
        }
        attempt += 1;
    }
}

/// A text as part of an object's name: at most 40 characters of it, what does not fit as `-`.
fn label(text: &str) -> String {
    let lower = text.chars().map(|letter| letter.to_ascii_lowercase());
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let text: String =
        lower.map(|letter| if fits(letter) { letter } else { '-' }).take(40).collect();
    text.trim_matches('-').to_owned()
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
