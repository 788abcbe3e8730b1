//! What the hub lists: objects with what is, and since when.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use l2sm_api::objects::{Kind, Object};
use l2sm_core::model::ObjectKey;

use super::{Hub, State};
use crate::status::View;

impl Hub {
    /// Objects of a kind with their status, by namespace and name. `namespace` and `name` choose
    /// among them where they are given.
    pub fn list(&self, kind: Kind, namespace: Option<&str>, name: Option<&str>) -> Vec<Object> {
        let now = self.now();
        let mut state = self.lock();
        let wanted = |key: &ObjectKey| {
            let in_namespace = !kind.is_namespaced()
                || namespace.is_none_or(|namespace| key.namespace == namespace);
            in_namespace && name.is_none_or(|name| key.name == name)
        };
        let mut objects = self.statuses(&state, kind, &wanted);
        for object in &mut objects {
            state.see(object, now);
        }
        objects
    }

    /// The objects of a kind that are wanted, with their statuses, without times.
    pub(super) fn statuses(
        &self,
        state: &State,
        kind: Kind,
        wanted: &dyn Fn(&ObjectKey) -> bool,
    ) -> Vec<Object> {
        let published = Arc::clone(&self.published.borrow());
        let catalog = &state.catalog;
        let members = catalog.members(&state.node_names);
        let view = View::new(catalog, &published.plan, &state.progress, &members);
        match kind {
            Kind::L2Network => wanted_of(&catalog.networks, wanted)
                .map(|(key, held)| Object::L2Network(Box::new(view.network(key, held))))
                .collect(),
            Kind::L2Attachment => wanted_of(&catalog.attachments, wanted)
                .map(|(key, held)| Object::L2Attachment(Box::new(view.attachment(key, held))))
                .collect(),
            Kind::L2Node => wanted_of(&catalog.nodes, wanted)
                .map(|(key, held)| Object::L2Node(Box::new(view.node(key, held))))
                .collect(),
            Kind::ExternalVtep => wanted_of(&catalog.externals, wanted)
                .map(|(key, held)| Object::ExternalVtep(Box::new(view.external_vtep(key, held))))
                .collect(),
            Kind::Overlay => wanted_of(&catalog.overlays, wanted)
                .map(|(_, held)| Object::Overlay(Box::new(view.overlay(held))))
                .collect(),
            Kind::NetworkEdgeDevice => wanted_of(&catalog.devices, wanted)
                .map(|(_, held)| Object::NetworkEdgeDevice(Box::new(view.device(held))))
                .collect(),
        }
    }
}

impl State {
    /// Fills in when an object's conditions changed last.
    pub(super) fn see(&mut self, object: &mut Object, now: Timestamp) {
        let uid = object.metadata().uid.clone();
        if let Some(conditions) = object.conditions_mut() {
            self.transitions.observe(&uid, conditions, now);
        }
    }
}

/// The objects of a map that are wanted.
fn wanted_of<'a, T>(
    objects: &'a BTreeMap<ObjectKey, Arc<T>>,
    wanted: &'a dyn Fn(&ObjectKey) -> bool,
) -> impl Iterator<Item = (&'a ObjectKey, &'a T)> {
    objects.iter().filter(|(key, _)| wanted(key)).map(|(key, held)| (key, held.as_ref()))
}
