//! All objects, and the world that they describe.

use std::{collections::BTreeMap, fmt, sync::Arc};

use l2sm_api::objects::{Kind, L2Attachment, L2Network, L2Node, Object};
use l2sm_common::vni::Vni;
use l2sm_core::{
    model::{Attachment, Network, Node, ObjectKey},
    world::World,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::store::StoreError;

/// All objects of a store. Copies share the objects.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Networks.
    pub networks: BTreeMap<ObjectKey, Arc<L2Network>>,
    /// Attachments.
    pub attachments: BTreeMap<ObjectKey, Arc<L2Attachment>>,
    /// Nodes, by keys without namespace.
    pub nodes: BTreeMap<ObjectKey, Arc<L2Node>>,
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
            match kind {
                Some(Kind::L2Network) => {
                    let network: L2Network = read(key, json)?;
                    catalog.networks.insert(network.metadata.key(), Arc::new(network));
                }
                Some(Kind::L2Attachment) => {
                    let attachment: L2Attachment = read(key, json)?;
                    catalog.attachments.insert(attachment.metadata.key(), Arc::new(attachment));
                }
                Some(Kind::L2Node) => {
                    let node: L2Node = read(key, json)?;
                    catalog.nodes.insert(node.metadata.key(), Arc::new(node));
                }
                None => {
                    let why = "its kind is not known".to_owned();
                    return Err(StoreError::Object { key: key.clone(), why });
                }
            }
        }
        Ok(catalog)
    }

    /// An object's JSON as it is kept; `None`: it is not there.
    ///
    /// # Errors
    /// Never for objects that were read or made here.
    pub fn json(&self, object: &ObjectRef) -> Result<Option<String>, StoreError> {
        match object.kind {
            Kind::L2Network => write(object, self.networks.get(&object.key)),
            Kind::L2Attachment => write(object, self.attachments.get(&object.key)),
            Kind::L2Node => write(object, self.nodes.get(&object.key)),
        }
    }

    /// Whether an object is there.
    pub fn contains(&self, object: &ObjectRef) -> bool {
        match object.kind {
            Kind::L2Network => self.networks.contains_key(&object.key),
            Kind::L2Attachment => self.attachments.contains_key(&object.key),
            Kind::L2Node => self.nodes.contains_key(&object.key),
        }
    }

    /// Puts an object in the place of the one of its key.
    pub fn put(&mut self, object: Object) {
        match object {
            Object::L2Network(network) => {
                self.networks.insert(network.metadata.key(), Arc::from(network));
            }
            Object::L2Attachment(attachment) => {
                self.attachments.insert(attachment.metadata.key(), Arc::from(attachment));
            }
            Object::L2Node(node) => {
                self.nodes.insert(node.metadata.key(), Arc::from(node));
            }
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, object: &ObjectRef) {
        match object.kind {
            Kind::L2Network => drop(self.networks.remove(&object.key)),
            Kind::L2Attachment => drop(self.attachments.remove(&object.key)),
            Kind::L2Node => drop(self.nodes.remove(&object.key)),
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

    /// The world that the objects describe. What has no VNI or MAC yet is not in it.
    pub fn world(&self) -> World {
        let networks = self.networks.iter().filter_map(|(key, network)| {
            let spec = &network.spec;
            let model = Network {
                vni: vni_of(network)?,
                mtu: spec.mtu,
                mac_check: spec.mac_spoof_check,
                flood: spec.flood == l2sm_api::objects::network::Flood::All,
                learning: spec.learning,
            };
            Some((key.clone(), model))
        });
        let attachments = self.attachments.iter().filter_map(|(key, attachment)| {
            let spec = &attachment.spec;
            let model = Attachment {
                network: attachment.network(),
                node: spec.node.clone(),
                netns: spec.netns.clone(),
                netns_inode: spec.netns_inode,
                pod: spec.pod.clone(),
                ifname: spec.ifname.clone(),
                mac: spec.station()?,
                ips: spec.addresses(),
            };
            Some((key.clone(), model))
        });
        let nodes = self.nodes.iter().map(|(key, node)| {
            let spec = &node.spec;
            let model =
                Node { vteps: spec.vtep_addresses.clone(), underlay_mtu: spec.underlay_mtu };
            (key.name.clone(), model)
        });
        World {
            networks: networks.collect(),
            attachments: attachments.collect(),
            nodes: nodes.collect(),
        }
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
