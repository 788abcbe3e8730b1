//! Objects that others write into the store: the hub follows what it sees there.

use std::{collections::BTreeMap, net::IpAddr};

use l2sm_api::objects::{Kind, L2Network, L2NetworkStatus, L2Node, L2NodeStatus, Object};
use l2sm_common::vni::Vni;
use l2sm_core::model::ObjectKey;

use super::Hub;
use crate::{
    catalog::{Catalog, ObjectRef, vni_of},
    draft::Draft,
    overlay::NodeNames,
    progress::Released,
    store::StoreError,
    transitions::Transitions,
};

impl Hub {
    /// Takes over objects as the store has them, and lets go of those that are gone. Nothing is
    /// refused here: what cannot act because of others stands aside, and its conditions say so. A
    /// network without VNI gets one, written before anybody hears of it.
    ///
    /// # Errors
    /// A VNI cannot be written: that network waits, everything else is taken over.
    pub fn observe(&self, puts: Vec<Object>, gone: &[ObjectRef]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        for object in puts {
            let object = draft.catalog.without_shown(object);
            draft.see(object);
        }
        for object in gone.iter().filter(|object| state.catalog.contains(object)) {
            draft.remove(object.clone());
        }
        let nodes = gone.iter().filter(|object| object.kind == Kind::L2Node);
        nodes.for_each(|node| state.progress.forget(&node.key.name));
        if draft.changed().is_empty() {
            state.catalog = draft.catalog;
        } else {
            self.publish(&mut state, draft);
        }
        let waiting = state.catalog.networks.iter().filter(|(_, held)| vni_of(held).is_none());
        let waiting: Vec<ObjectKey> = waiting.map(|(key, _)| key.clone()).collect();
        for key in waiting {
            let mut draft = self.draft(&mut state);
            draft.number(&key);
            self.commit(&mut state, draft)?;
        }
        Ok(())
    }

    /// Says which addresses stand in attachments that cannot be read, with their networks: nobody else
    /// gets them.
    pub fn withhold(&self, claims: &BTreeMap<ObjectKey, Vec<(ObjectKey, IpAddr)>>) {
        let claims = claims.iter().flat_map(|(holder, claims)| {
            claims.iter().map(move |(network, ip)| Released {
                network: network.clone(),
                ip: *ip,
                holder: holder.clone(),
                // For no node an exception is made.
                node: String::new(),
                revision: u64::MAX,
            })
        });
        self.lock().withheld = claims.collect();
    }

    /// Says which nodes there are: an Overlay lists them by label or name.
    pub fn name_nodes(&self, names: NodeNames) {
        self.lock().node_names = names;
        self.stir();
    }

    /// All objects, as they are now.
    pub fn catalog(&self) -> Catalog {
        self.lock().catalog.clone()
    }
}

impl Catalog {
    /// An object as it is kept: with what is known here of a network's VNI and the address that it gave
    /// last, and of what a node's agent said. The rest of its status is only shown, and never read back.
    fn without_shown(&self, object: Object) -> Object {
        match object {
            Object::L2Network(network) => {
                let old = self.networks.get(&network.metadata.key());
                let vni = known_vni(old.map(AsRef::as_ref), &network);
                let last_assigned_ip = last_assigned(old.map(AsRef::as_ref), &network);
                let kept = vni.is_some() || last_assigned_ip.is_some();
                let status = kept.then(|| L2NetworkStatus {
                    vni: vni.map(Vni::get),
                    last_assigned_ip,
                    ..Default::default()
                });
                Object::L2Network(Box::new(L2Network { status, ..*network }))
            }
            Object::L2Node(node) => {
                let old = self.nodes.get(&node.metadata.key());
                let said = old.filter(|old| old.metadata.uid == node.metadata.uid);
                let status = said.map_or_else(|| said_of(&node), |old| old.status.clone());
                Object::L2Node(Box::new(L2Node { status, ..*node }))
            }
            Object::L2Attachment(mut attachment) => {
                attachment.status = None;
                Object::L2Attachment(attachment)
            }
            object @ (Object::ExternalVtep(_)
            | Object::Overlay(_)
            | Object::NetworkEdgeDevice(_)) => object,
        }
    }

    /// The same objects without what their statuses only show.
    pub(super) fn bare(self) -> Self {
        let mut bare = Self::default();
        for object in self.objects() {
            bare.put(self.without_shown(object));
        }
        bare
    }

    /// Notes since when the conditions of its objects hold, where their statuses say so.
    pub(super) fn recall(&self, transitions: &mut Transitions) {
        for mut object in self.objects() {
            let conditions = object.conditions_mut().map(std::mem::take).unwrap_or_default();
            transitions.recall(&object.metadata().uid, &conditions);
        }
    }
}

/// The VNI that a network has for good.
fn known_vni(old: Option<&L2Network>, seen: &L2Network) -> Option<Vni> {
    let old =
        old.filter(|old| old.metadata.uid == seen.metadata.uid && old.spec.vni == seen.spec.vni);
    let vni = old.and_then(vni_of).or_else(|| vni_of(seen))?;
    seen.spec.vni.is_none_or(|chosen| chosen == vni.get()).then_some(vni)
}

/// The address that a network gave last, whose attachment may be gone: as it is known here, else as the
/// holder before showed it. Nothing is decided by it.
fn last_assigned(old: Option<&L2Network>, seen: &L2Network) -> Option<String> {
    let old = old.filter(|old| old.metadata.uid == seen.metadata.uid);
    let of = |network: &L2Network| network.status.as_ref()?.last_assigned_ip.clone();
    old.and_then(of).or_else(|| of(seen))
}

impl Draft {
    /// Gives a network its VNI: the one that its user chose, or the next free one. None is free: it
    /// stays without.
    fn number(&mut self, key: &ObjectKey) {
        let Some(network) = self.catalog.networks.get(key).map(|held| held.as_ref().clone()) else {
            return;
        };
        let vni = network.spec.vni.and_then(Vni::new).or_else(|| self.take_vni());
        let Some(vni) = vni else { return };
        let vni = Some(vni.get());
        let status = L2NetworkStatus { vni, ..network.status.clone().unwrap_or_default() };
        self.put(Object::L2Network(Box::new(L2Network { status: Some(status), ..network })));
    }
}

/// What a node's agent said before this process looked. Its conditions it says again.
fn said_of(node: &L2Node) -> Option<L2NodeStatus> {
    let shown = node.status.clone()?;
    Some(L2NodeStatus {
        agent_version: shown.agent_version,
        abi: shown.abi,
        features: shown.features,
        ..L2NodeStatus::default()
    })
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
