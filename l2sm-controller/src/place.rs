//! Attachments of pods, as an operator wants them.

use std::{collections::BTreeMap, sync::Arc};

use l2sm_api::objects::{API_VERSION, Kind, L2Attachment, L2AttachmentSpec, Metadata, Object};
use l2sm_common::mac::Mac;
use l2sm_core::{ipam::Wanted, model::ObjectKey};

use crate::{
    allot::{Wish, allot},
    draft::Draft,
    refusal::Refusal,
};

/// One interface of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodOrder {
    /// What the attachment is called.
    pub name: String,
    /// The pod's namespace, and the attachment's.
    pub namespace: String,
    /// Labels of the attachment.
    pub labels: BTreeMap<String, String>,
    /// The network.
    pub network: Option<ObjectKey>,
    /// The pod's node.
    pub node: String,
    /// The pod.
    pub pod: String,
    /// Its UID, as its container runtime knows it.
    pub pod_uid: String,
    /// Interface name.
    pub ifname: String,
    /// Addresses; none: the network's choice.
    pub ips: Vec<Wanted>,
    /// MAC; none: planned.
    pub mac: Option<Mac>,
}

/// Makes the attachment that `order` describes.
///
/// # Errors
/// No such network; an address or MAC that is not to be had; an attachment of that name.
pub fn place(draft: &mut Draft, order: &PodOrder) -> Result<(), Refusal> {
    let key = ObjectKey::new(order.namespace.as_str(), order.name.as_str());
    if draft.catalog.attachments.contains_key(&key) {
        return Err(Refusal::AlreadyExists(format!("there is an attachment {key} already")));
    }
    let network = order.network.as_ref().and_then(|at| draft.catalog.networks.get(at));
    let network = network.map(Arc::clone).ok_or_else(|| {
        let name = order.network.as_ref().map(ToString::to_string).unwrap_or_default();
        Refusal::NotFound(format!("there is no network {name}"))
    })?;
    let at = network.metadata.key();
    let wish = Wish {
        attachment: &key,
        node: &order.node,
        name: &order.pod,
        ifname: &order.ifname,
        ips: &order.ips,
        mac: order.mac,
        waits: true,
    };
    let allotted = allot(draft, &network, &wish).map_err(|error| error.refuse(&at))?;
    if let Some(first) = allotted.ips.first() {
        draft.note_assigned(&at, first.addr());
    }
    let spec = L2AttachmentSpec {
        network_namespace: Some(at.namespace).filter(|other| *other != order.namespace),
        network: at.name,
        node: order.node.clone(),
        pod: Some(order.pod.clone()),
        pod_uid: Some(order.pod_uid.clone()),
        ifname: order.ifname.clone(),
        mac: Some(allotted.mac.to_string()),
        ips: allotted.ips.iter().map(ToString::to_string).collect(),
        ..L2AttachmentSpec::default()
    };
    let metadata = Metadata {
        name: key.name,
        namespace: key.namespace,
        labels: order.labels.clone(),
        ..Metadata::default()
    };
    draft.put(Object::L2Attachment(Box::new(L2Attachment {
        api_version: API_VERSION.to_owned(),
        kind: Kind::L2Attachment.name().to_owned(),
        metadata,
        spec,
        status: None,
    })));
    Ok(())
}
