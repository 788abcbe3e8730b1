//! A change in the making: a copy of the catalog in which a request is tried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;
use l2sm_api::objects::{Kind, Object};
use l2sm_common::vni::Vni;
use l2sm_core::{
    model::{Holder, ObjectKey},
    vni_plan::allocate_vni,
};

mod occupancy;

use self::occupancy::Occupancy;
pub use self::occupancy::Tenants;
use crate::{
    catalog::{Catalog, ObjectRef, vni_of},
    progress::Released,
    store::{Batch, StoreError},
};

/// What a request is decided with besides the objects.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The store's identity.
    pub source: String,
    /// The revision that the change makes.
    pub revision: u64,
    /// When it is made; whole seconds.
    pub now: Timestamp,
    /// Makes a UID for a new object.
    pub new_uid: fn() -> String,
    /// The VNI allocated last.
    pub last_vni: Option<Vni>,
    /// Addresses that nodes have not let go of yet.
    pub released: Vec<Released>,
}

/// A change in the making. Dropped, it leaves no trace.
#[derive(Debug)]
pub struct Draft {
    /// The objects as they will be.
    pub catalog: Catalog,
    /// What it is decided with.
    pub ground: Ground,
    changed: BTreeSet<ObjectRef>,
    occupancy: Occupancy,
}

impl Draft {
    /// A change of `catalog` that changes nothing yet.
    pub const fn new(catalog: Catalog, ground: Ground) -> Self {
        Self { catalog, ground, changed: BTreeSet::new(), occupancy: Occupancy::new() }
    }

    /// Puts an object in the place of the one of its key, if any, and completes its metadata.
    pub fn put(&mut self, mut object: Object) {
        let reference = ObjectRef::new(object.kind(), object.metadata().key());
        let spec_changed = !self.catalog.has_spec_of(&object);
        let old = self.catalog.metadata(&reference).cloned();
        let metadata = object.metadata_mut();
        if let Some(old) = old {
            metadata.uid = old.uid;
            metadata.creation_timestamp = old.creation_timestamp;
            metadata.generation = old.generation + u64::from(spec_changed);
        } else {
            metadata.uid = (self.ground.new_uid)();
            metadata.creation_timestamp = Some(self.ground.now);
            metadata.generation = 1;
        }
        metadata.resource_version = self.ground.revision.to_string();
        self.occupancy.leave(&self.catalog, &reference);
        self.occupancy.enter(&object);
        self.catalog.put(object);
        self.changed.insert(reference);
    }

    /// Takes over an object that stands in the store already, as it stands there. It counts as
    /// changed where it is another object or has another spec.
    pub fn see(&mut self, mut object: Object) {
        let reference = ObjectRef::new(object.kind(), object.metadata().key());
        let old = self.catalog.metadata(&reference);
        let same = old.filter(|old| old.uid == object.metadata().uid);
        let same = same.filter(|_| self.catalog.has_spec_of(&object));
        let is_new = same.is_none();
        object.metadata_mut().resource_version = same
            .map_or_else(|| self.ground.revision.to_string(), |old| old.resource_version.clone());
        if is_new {
            self.occupancy.leave(&self.catalog, &reference);
            self.occupancy.enter(&object);
            self.changed.insert(reference);
        }
        self.catalog.put(object);
    }

    /// Notes which address a network gave last. That is shown, and not written with the change.
    pub fn note_assigned(&mut self, network: &ObjectKey, ip: IpAddr) {
        if let Some(network) = self.catalog.networks.get_mut(network) {
            let status = Arc::make_mut(network).status.get_or_insert_default();
            status.last_assigned_ip = Some(ip.to_string());
        }
    }

    /// What the store made of an object that was put.
    pub fn complete(&mut self, mut object: Object) {
        let revision = self.ground.revision.to_string();
        object.metadata_mut().resource_version = revision;
        self.catalog.put(object);
    }

    /// Takes an attachment out of the world. The object stays, and with it its addresses.
    pub fn leave(&mut self, attachment: ObjectKey) {
        self.catalog.leaving.insert(attachment.clone(), self.ground.revision);
        self.changed.insert(ObjectRef::new(Kind::L2Attachment, attachment));
    }

    /// Takes an object out.
    pub fn remove(&mut self, object: ObjectRef) {
        self.occupancy.leave(&self.catalog, &object);
        self.catalog.remove(&object);
        self.changed.insert(object);
    }

    /// The next free VNI, which is then taken; `None`: all are.
    pub fn take_vni(&mut self) -> Option<Vni> {
        let taken: BTreeSet<_> =
            self.catalog.networks.values().filter_map(|network| vni_of(network)).collect();
        let vni = allocate_vni(self.ground.last_vni, &taken)?;
        self.ground.last_vni = Some(vni);
        Some(vni)
    }

    /// Who has which addresses and MACs of `network`. Worked out once a draft.
    pub fn tenants(&mut self, network: &ObjectKey) -> &Tenants {
        self.occupancy.tenants(&self.catalog, network)
    }

    /// Attachments of `node` with the interface name `ifname`, in whatever namespace.
    pub fn same_ifname(&mut self, node: &str, ifname: &str) -> Vec<ObjectKey> {
        self.occupancy.same_ifname(&self.catalog, node, ifname)
    }

    /// What is new, changed or gone.
    pub const fn changed(&self) -> &BTreeSet<ObjectRef> {
        &self.changed
    }

    /// What the store must write.
    ///
    /// # Errors
    /// An object has no JSON form.
    pub fn batch(&self) -> Result<Batch, StoreError> {
        let mut batch = Batch {
            revision: self.ground.revision,
            last_vni: self.ground.last_vni.map(Vni::get).unwrap_or_default(),
            ..Batch::default()
        };
        for object in &self.changed {
            match self.catalog.json(object)? {
                Some(json) => batch.put.push((object.to_string(), json)),
                None => batch.remove.push(object.to_string()),
            }
        }
        Ok(batch)
    }

    /// Addresses of `network` that nodes other than `node` have not let go of yet, and who had them.
    pub fn held_elsewhere(&self, network: &ObjectKey, node: &str) -> BTreeMap<IpAddr, Holder> {
        let held = self.ground.released.iter();
        held.filter(|released| released.network == *network && released.node != node)
            .map(|released| (released.ip, Holder::Attachment(released.holder.clone())))
            .collect()
    }
}
