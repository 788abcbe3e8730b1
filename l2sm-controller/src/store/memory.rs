//! A store without a file.

use std::collections::BTreeMap;

use l2sm_api::objects::Object;

use super::{Batch, Contents, Meta, Store, StoreError};

/// Objects in memory: the twin of [`super::RedbStore`] for tests and for trying things out.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    meta: Meta,
    objects: BTreeMap<String, String>,
}

impl MemoryStore {
    /// An empty store of `source`, opened for the first time.
    pub fn new(source: impl Into<String>) -> Self {
        let meta = Meta { source: source.into(), epoch: 1, ..Meta::default() };
        Self { meta, objects: BTreeMap::new() }
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Contents, StoreError> {
        let objects = self.objects.iter().map(|(key, json)| (key.clone(), json.clone()));
        Ok(Contents { meta: self.meta.clone(), objects: objects.collect() })
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Object>, StoreError> {
        self.objects.extend(batch.put.iter().cloned());
        for key in &batch.remove {
            drop(self.objects.remove(key));
        }
        self.meta.revision = batch.revision;
        self.meta.last_vni = batch.last_vni;
        Ok(Vec::new())
    }
}
