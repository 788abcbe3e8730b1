//! The kernel side of the node: maps and programs, as images and changes.
//!
//! [`Datapath`] is what the reconciler sees; [`KernelDatapath`] is the kernel behind it,
//! [`MemoryDatapath`] its twin for tests.

mod bpffs;
mod contents;
mod error;
mod events;
mod generation;
mod kernel;
mod layout;
mod links;
#[cfg(feature = "log")]
mod log;
mod maps;
mod memory;
mod object;
mod older;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::maps::{DropKey, Traffic};
use l2sm_core::{
    diff::Change,
    image::{Hook, Image},
    slow_path::SlowPathCount,
};

pub use self::{
    bpffs::{MOUNT_POINT, ensure_bpffs, is_usable, remove_pins},
    error::DatapathError,
    events::{Events, LostEvents, device_of},
    generation::Generation,
    kernel::KernelDatapath,
    links::{
        Attaching, ForeignFilter, XdpRunning, foreign_filters, has_filters, remove_filters,
        running_xdp,
    },
    memory::MemoryDatapath,
    object::OBJECT,
    trial::{Trial, try_programs},
};

#[cfg(feature = "log")]
pub use self::object::LOG_OBJECT;

/// Entries that maps hold at most, by name.
pub type Capacities = BTreeMap<&'static str, u32>;

/// The maps and hooks of one node.
pub trait Datapath {
    /// What the maps and hooks hold now.
    ///
    /// # Errors
    /// When a map or the pins cannot be read.
    fn read(&mut self) -> Result<Image, DatapathError>;

    /// Hooks that run a program of ours which is not of this process: of an agent before it, that is
    /// not replaced yet.
    fn outdated(&self) -> BTreeSet<Hook>;

    /// Makes one change, whole or not at all. Removing what is not there is no error. A segment's
    /// new counter slot starts from zero. A port that the programs have marked as forwarder stays
    /// one ([`keep_forwarder`](l2sm_core::image::keep_forwarder)).
    ///
    /// # Errors
    /// When the kernel refuses it; a full map is [`DatapathError::MapFull`].
    fn apply(&mut self, change: &Change) -> Result<(), DatapathError>;

    /// Brings one hook from the way of attaching that is quickly made to the one that forwards best;
    /// whether there was one to bring. Others who change links may have to wait meanwhile.
    ///
    /// # Errors
    /// When the kernel refuses it: the hook stays as it is.
    fn settle(&mut self) -> Result<bool, DatapathError>;

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
