//! The kernel side of the node: maps and programs, as images and changes.
//!
//! [`Datapath`] is what the reconciler sees; [`KernelDatapath`] is the kernel behind it,
//! [`MemoryDatapath`] its twin for tests.

mod bpffs;
mod error;
mod kernel;
mod layout;
mod links;
mod maps;
mod memory;
mod object;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::maps::{DropKey, Traffic};
use l2sm_core::{diff::Change, image::Image, slow_path::SlowPathCount};

pub use self::{
    bpffs::{ensure_bpffs, is_usable, remove_pins},
    error::DatapathError,
    kernel::KernelDatapath,
    links::Attaching,
    memory::MemoryDatapath,
    object::OBJECT,
    trial::{Trial, try_programs},
};

/// Entries that maps hold at most, by name.
pub type Capacities = BTreeMap<&'static str, u32>;

/// The maps and hooks of one node.
pub trait Datapath {
    /// What the maps and hooks hold now.
    ///
    /// # Errors
    /// When a map or the pins cannot be read.
    fn read(&mut self) -> Result<Image, DatapathError>;

    /// Makes one change, whole or not at all. Removing what is not there is no error. A segment's
    /// new counter slot starts from zero. A port that the programs have marked as forwarder stays
    /// one ([`keep_forwarder`](l2sm_core::image::keep_forwarder)).
    ///
    /// # Errors
    /// When the kernel refuses it; a full map is [`DatapathError::MapFull`].
    fn apply(&mut self, change: &Change) -> Result<(), DatapathError>;

    /// The counters of every slot that has counted something, all CPUs together.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn traffic(&self) -> Result<BTreeMap<u32, Traffic>, DatapathError>;

    /// Packets on the slow path, over these slots and all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn slow_path(&self, slots: &BTreeSet<u32>) -> Result<SlowPathCount, DatapathError>;

    /// Drops by slot and reason, all CPUs together.
    ///
    /// # Errors
    /// When the map cannot be read.
    fn drops(&self) -> Result<BTreeMap<DropKey, u64>, DatapathError>;
}
