//! An `L2Attachment` of a manifest.

use std::sync::Arc;

use l2sm_api::objects::{
    L2Attachment, L2AttachmentSpec, L2Network, Object, field::parse_address,
    network::AllowedNamespaces,
};
use l2sm_core::{ipam::Wanted, model::ObjectKey};

use super::{Objection, Outcome};
use crate::{
    allot::{Wish, allot},
    draft::Draft,
};

/// Creates or updates an attachment. Addresses and MAC that the manifest leaves out are chosen and
/// written into it; they stay as long as it stays in its network.
pub(super) fn apply(draft: &mut Draft, mut attachment: L2Attachment) -> Result<Outcome, Objection> {
    let key = attachment.metadata.key();
    let network = joined_network(draft, &attachment)?;
    if let Some(fault) = interface_fault(draft, &key, &attachment.spec) {
        return Err(Objection::taken("spec.ifname", fault));
    }
    let old = draft.catalog.attachments.get(&key).map(Arc::clone);
    let stays = old.as_ref().filter(|old| old.network() == attachment.network());
    if let Some(old) = stays {
        keep_choices(&mut attachment.spec, &old.spec);
    }
    let settled = stays.is_some_and(|old| {
        old.spec.ips == attachment.spec.ips && old.spec.mac == attachment.spec.mac
    });
    if !settled {
        settle(draft, &network, &mut attachment)?;
    }
    let Some(old) = old else {
        draft.put(Object::L2Attachment(Box::new(attachment)));
        return Ok(Outcome::Created);
    };
    let same = old.spec == attachment.spec
        && old.metadata.labels == attachment.metadata.labels
        && old.metadata.annotations == attachment.metadata.annotations;
    if same {
        return Ok(Outcome::Unchanged);
    }
    draft.put(Object::L2Attachment(Box::new(attachment)));
    Ok(Outcome::Configured)
}

/// The network that it may join.
fn joined_network(draft: &Draft, attachment: &L2Attachment) -> Result<Arc<L2Network>, Objection> {
    let key = attachment.network();
    let network = draft.catalog.networks.get(&key).map(Arc::clone);
    let network = network
        .ok_or_else(|| Objection::wrong("spec.network", format!("there is no network {key}")))?;
    let namespace = &attachment.metadata.namespace;
    let allowed = match &network.spec.allowed_namespaces {
        AllowedNamespaces::All => true,
        // Namespaces have no labels here: only Kubernetes keeps them.
        AllowedNamespaces::Same | AllowedNamespaces::Selector(_) => *namespace == key.namespace,
    };
    if allowed {
        return Ok(network);
    }
    let why = format!(
        "network {key} does not let namespace {namespace:?} in (its spec.allowedNamespaces)"
    );
    Err(Objection::wrong("spec.networkNamespace", why))
}

/// Who has the interface name in the same namespace of the same node, in words.
fn interface_fault(draft: &mut Draft, key: &ObjectKey, spec: &L2AttachmentSpec) -> Option<String> {
    let holders = draft.same_ifname(&spec.node, &spec.ifname);
    let attachments = &draft.catalog.attachments;
    let holder = holders
        .iter()
        .filter(|holder| *holder != key)
        .find(|holder| attachments.get(*holder).is_some_and(|held| same_netns(&held.spec, spec)))?;
    let netns = spec.netns.as_deref().unwrap_or("this namespace");
    Some(format!("{:?} of {netns} on {} is attachment {holder}", spec.ifname, spec.node))
}

/// Whether two attachments are in one network namespace of one node.
pub(crate) fn same_netns(one: &L2AttachmentSpec, other: &L2AttachmentSpec) -> bool {
    if one.node != other.node {
        return false;
    }
    match (one.netns_inode, other.netns_inode) {
        (0, _) | (_, 0) => one.netns.is_some() && one.netns == other.netns,
        (one, other) => one == other,
    }
}

/// Takes over what was chosen before where the manifest leaves it open.
fn keep_choices(spec: &mut L2AttachmentSpec, old: &L2AttachmentSpec) {
    if spec.mac.is_none() {
        spec.mac.clone_from(&old.mac);
    }
    if spec.netns_inode == 0 && spec.netns == old.netns {
        spec.netns_inode = old.netns_inode;
    }
    let bare = |ip: &String| parse_address(ip).map(|(ip, _)| ip).ok();
    let same = spec.ips.len() == old.ips.len()
        && spec
            .ips
            .iter()
            .zip(&old.ips)
            .all(|(new, old)| new == old || (!new.contains('/') && bare(new) == bare(old)));
    if spec.ips.is_empty() || same {
        spec.ips.clone_from(&old.ips);
    }
}

/// Allots addresses and MAC, and writes them into the spec.
fn settle(
    draft: &mut Draft,
    network: &L2Network,
    attachment: &mut L2Attachment,
) -> Result<(), Objection> {
    let key = attachment.metadata.key();
    let spec = &attachment.spec;
    let wanted = spec.ips.iter().filter_map(|ip| parse_address(ip).ok());
    let wanted: Vec<_> = wanted.map(|(ip, prefix_len)| Wanted { ip, prefix_len }).collect();
    let wish = Wish {
        attachment: &key,
        node: &spec.node,
        name: spec.pod.as_deref().unwrap_or(&key.name),
        ifname: &spec.ifname,
        ips: &wanted,
        mac: spec.station(),
        waits: false,
    };
    let allotted = allot(draft, network, &wish).map_err(|error| {
        let (field, why) = (error.field(), error.to_string());
        if error.is_taken() { Objection::taken(field, why) } else { Objection::wrong(field, why) }
    })?;
    attachment.spec.ips = allotted.ips.iter().map(ToString::to_string).collect();
    attachment.spec.mac = Some(allotted.mac.to_string());
    Ok(())
}
