//! All objects, and the world that they describe.

use std::{collections::BTreeMap, fmt, sync::Arc};

use l2sm_api::objects::{
    ExternalVtep, Kind, L2Attachment, L2Network, L2Node, Metadata, NetworkEdgeDevice, Object,
    Overlay,
};
use l2sm_common::vni::Vni;
use l2sm_core::model::ObjectKey;
use serde::{Serialize, de::DeserializeOwned};

use crate::store::StoreError;

mod model;

pub(crate) use model::seniority;

/// All objects of a store. Copies share the objects.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Networks.
    pub networks: BTreeMap<ObjectKey, Arc<L2Network>>,
    /// Attachments.
    pub attachments: BTreeMap<ObjectKey, Arc<L2Attachment>>,
    /// Nodes, by keys without namespace.
    pub nodes: BTreeMap<ObjectKey, Arc<L2Node>>,
    /// External VTEPs, by keys without namespace.
    pub externals: BTreeMap<ObjectKey, Arc<ExternalVtep>>,
    /// Overlays.
    pub overlays: BTreeMap<ObjectKey, Arc<Overlay>>,
    /// `NetworkEdgeDevices`.
    pub devices: BTreeMap<ObjectKey, Arc<NetworkEdgeDevice>>,
    /// Attachments that are no part of the world any more, and the number of the revision without
    /// them. They hold their addresses until their nodes have let go of them.
    pub leaving: BTreeMap<ObjectKey, u64>,
}

/// Does the same with the objects of a kind, whatever their type.
macro_rules! of_kind {
    (&mut $catalog:expr, $kind:expr, $objects:ident => $body:expr) => {
        of_kind!(@ [&mut] $catalog, $kind, $objects => $body)
    };
    (& $catalog:expr, $kind:expr, $objects:ident => $body:expr) => {
        of_kind!(@ [&] $catalog, $kind, $objects => $body)
    };
    (@ [$($borrow:tt)+] $catalog:expr, $kind:expr, $objects:ident => $body:expr) => {
        match $kind {
            Kind::L2Network => { let $objects = $($borrow)+ $catalog.networks; $body }
            Kind::L2Attachment => { let $objects = $($borrow)+ $catalog.attachments; $body }
            Kind::L2Node => { let $objects = $($borrow)+ $catalog.nodes; $body }
            Kind::ExternalVtep => { let $objects = $($borrow)+ $catalog.externals; $body }
            Kind::Overlay => { let $objects = $($borrow)+ $catalog.overlays; $body }
            Kind::NetworkEdgeDevice => { let $objects = $($borrow)+ $catalog.devices; $body }
        }
    };
}

/// An object's kind and key. Prints as it is called in a store: `Kind/namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: ObjectKey,
}

impl ObjectRef {
    /// The object of `kind` called `key`.
    pub const fn new(kind: Kind, key: ObjectKey) -> Self {
        Self { kind, key }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.key.namespace, self.key.name)
    }
}

impl Catalog {
    /// The objects of a store, by key.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn load(objects: &[(String, String)]) -> Result<Self, StoreError> {
        let mut catalog = Self::default();
        for (key, json) in objects {
            let kind = key.split('/').next().and_then(|kind| Kind::find(kind).ok());
            let kind = kind.ok_or_else(|| {
                let why = "its kind is not known".to_owned();
                StoreError::Object { key: key.clone(), why }
            })?;
            catalog.put(match kind {
                Kind::L2Network => Object::L2Network(read(key, json)?),
                Kind::L2Attachment => Object::L2Attachment(read(key, json)?),
                Kind::L2Node => Object::L2Node(read(key, json)?),
                Kind::ExternalVtep => Object::ExternalVtep(read(key, json)?),
                Kind::Overlay => Object::Overlay(read(key, json)?),
                Kind::NetworkEdgeDevice => Object::NetworkEdgeDevice(read(key, json)?),
            });
        }
        Ok(catalog)
    }

    /// An object's JSON as it is kept; `None`: it is not there.
    ///
    /// # Errors
    /// Never for objects that were read or made here.
    pub fn json(&self, object: &ObjectRef) -> Result<Option<String>, StoreError> {
        of_kind!(&self, object.kind, objects => write(object, objects.get(&object.key)))
    }

    /// Whether an object is there.
    pub fn contains(&self, object: &ObjectRef) -> bool {
        of_kind!(&self, object.kind, objects => objects.contains_key(&object.key))
    }

    /// An object's metadata; `None`: it is not there.
    pub fn metadata(&self, object: &ObjectRef) -> Option<&Metadata> {
        of_kind!(&self, object.kind, objects => Some(&objects.get(&object.key)?.metadata))
    }

    /// Whether an object is there with the same spec.
    pub fn has_spec_of(&self, object: &Object) -> bool {
        let key = object.metadata().key();
        match object {
            Object::L2Network(new) => {
                self.networks.get(&key).is_some_and(|old| old.spec == new.spec)
            }
            Object::L2Attachment(new) => {
                self.attachments.get(&key).is_some_and(|old| old.spec == new.spec)
            }
            Object::L2Node(new) => self.nodes.get(&key).is_some_and(|old| old.spec == new.spec),
            Object::ExternalVtep(new) => {
                self.externals.get(&key).is_some_and(|old| old.spec == new.spec)
            }
            Object::Overlay(new) => self.overlays.get(&key).is_some_and(|old| old.spec == new.spec),
            Object::NetworkEdgeDevice(new) => {
                self.devices.get(&key).is_some_and(|old| old.spec == new.spec)
            }
        }
    }

    /// Puts an object in the place of the one of its key.
    pub fn put(&mut self, object: Object) {
        let key = object.metadata().key();
        match object {
            Object::L2Network(network) => drop(self.networks.insert(key, Arc::from(network))),
            Object::L2Attachment(attachment) => {
                let uid = attachment.metadata.uid.clone();
                let old = self.attachments.insert(key.clone(), Arc::from(attachment));
                if old.is_none_or(|old| old.metadata.uid != uid) {
                    self.leaving.remove(&key);
                }
            }
            Object::L2Node(node) => drop(self.nodes.insert(key, Arc::from(node))),
            Object::ExternalVtep(vtep) => drop(self.externals.insert(key, Arc::from(vtep))),
            Object::Overlay(overlay) => drop(self.overlays.insert(key, Arc::from(overlay))),
            Object::NetworkEdgeDevice(device) => {
                drop(self.devices.insert(key, Arc::from(device)));
            }
        }
    }

    /// Copies of all objects.
    pub fn objects(&self) -> Vec<Object> {
        fn boxed<T: Clone>(held: &Arc<T>) -> Box<T> {
            Box::new(held.as_ref().clone())
        }
        let networks = self.networks.values().map(|held| Object::L2Network(boxed(held)));
        let attachments = self.attachments.values().map(|held| Object::L2Attachment(boxed(held)));
        let nodes = self.nodes.values().map(|held| Object::L2Node(boxed(held)));
        let externals = self.externals.values().map(|held| Object::ExternalVtep(boxed(held)));
        let overlays = self.overlays.values().map(|held| Object::Overlay(boxed(held)));
        let devices = self.devices.values().map(|held| Object::NetworkEdgeDevice(boxed(held)));
        let first = networks.chain(externals).chain(attachments).chain(nodes);
        first.chain(overlays).chain(devices).collect()
    }

    /// Takes an object out.
    pub fn remove(&mut self, object: &ObjectRef) {
        of_kind!(&mut self, object.kind, objects => drop(objects.remove(&object.key)));
        if object.kind == Kind::L2Attachment {
            self.leaving.remove(&object.key);
        }
    }

    /// Attachments to a network.
    pub fn attachments_of<'a>(
        &'a self,
        network: &'a ObjectKey,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a L2Attachment)> {
        let all = self.attachments.iter().map(|(key, attachment)| (key, attachment.as_ref()));
        all.filter(|(_, attachment)| {
            attachment.spec.network == network.name && attachment.network() == *network
        })
    }
}

/// The number that a network has on the wire.
pub fn vni_of(network: &L2Network) -> Option<Vni> {
    Vni::new(network.status.as_ref()?.vni?)
}

/// The key of a node.
pub fn node_key(name: &str) -> ObjectKey {
    ObjectKey::new("", name)
}

fn read<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, StoreError> {
    let fail =
        |why: serde_json::Error| StoreError::Object { key: key.to_owned(), why: why.to_string() };
    serde_json::from_str(json).map_err(fail)
}

fn write<T: Serialize>(
    object: &ObjectRef,
    value: Option<&Arc<T>>,
) -> Result<Option<String>, StoreError> {
    let fail = |why: serde_json::Error| StoreError::Object {
        key: object.to_string(),
        why: why.to_string(),
    };
    value.map(|value| serde_json::to_string(value.as_ref()).map_err(fail)).transpose()
}
