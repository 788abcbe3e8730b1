//! Where objects are kept.

mod memory;
mod redb;

use std::path::PathBuf;

use l2sm_api::objects::Object;
use thiserror::Error;

pub use self::{memory::MemoryStore, redb::RedbStore};

/// Version of what is in a store; a store of a later version is left alone.
pub const SCHEMA: u64 = 1;

/// Keeps objects and the counters that go with them. What [`Store::commit`] returned from is kept,
/// whatever happens to the process.
pub trait Store: Send {
    /// Everything in the store.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&self) -> Result<Contents, StoreError>;

    /// Writes all of a batch or, with an error, nothing of it. The result is those objects that the
    /// store itself completed (with a UID, say), as it keeps them; most stores complete none.
    ///
    /// # Errors
    /// It cannot be written, or the store does not want it.
    fn commit(&mut self, batch: &Batch) -> Result<Vec<Object>, StoreError>;
}

/// What stands in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Counters.
    pub meta: Meta,
    /// Key (`Kind/namespace/name`) and JSON of each object, by key.
    pub objects: Vec<(String, String)>,
}

/// A store's identity and counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Made with the store.
    pub source: String,
    /// Rises each time the store is opened.
    pub epoch: u64,
    /// Rises with each batch.
    pub revision: u64,
    /// The VNI allocated last; 0: none yet.
    pub last_vni: u32,
}

/// Changes that are made together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Keys and JSON of objects that are new or changed.
    pub put: Vec<(String, String)>,
    /// Keys of objects that are gone.
    pub remove: Vec<String>,
    /// The revision that this makes.
    pub revision: u64,
    /// [`Meta::last_vni`] from now on.
    pub last_vni: u32,
}

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file is something else.
    #[error("{} is not a store of l2sm: {why}", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it is, as far as that is known.
        why: String,
    },
    /// A later version of l2sm wrote it.
    #[error("{} was written by a newer version: it has schema {found}, this version knows {SCHEMA}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: String,
    },
    /// Another process has it open.
    #[error("{} is in use: another controller has it open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It can be opened, but not read or written.
    #[error("cannot {verb} {}: {why}", path.display())]
    Failed {
        /// `open`, `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is elsewhere, and cannot be reached or does not answer as it should.
    #[error("{0}")]
    Away(String),
    /// It has rules of its own, and this breaks one.
    #[error("{0}")]
    Refused(String),
    /// An object in it is not one.
    #[error("object {key} of the store cannot be read: {why}")]
    Object {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
}
