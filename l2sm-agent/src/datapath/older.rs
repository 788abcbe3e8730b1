//! The maps of other ABIs, while programs that read them are still attached.

use l2sm_common::maps::ConfigEntry;
use l2sm_core::diff::Change;

use super::{DatapathError, Generation, bpffs::Pins, maps::Maps};

/// What an upgrade has not left behind yet.
pub(super) struct Older {
    pins: Pins,
    /// Maps that are kept alike, so that a device forwards the same whichever program it has.
    twins: Vec<(u32, Maps)>,
    /// There are directories of other ABIs.
    any: bool,
    /// The maps of this ABI hold all that programs need which read those of another.
    filled: bool,
}

impl Older {
    /// Opens the maps of the other ABIs that this build knows, and makes them and `maps` alike.
    /// `current`: programs read `maps` already, or none is attached, so they are the newer ones.
    ///
    /// An ABI that is not known, or that cannot be copied, is left as it is: its programs forward on
    /// as they were told last, until the reconciler has filled the new maps and moves the links.
    pub(super) fn open(
        pins: Pins,
        generation: &Generation,
        maps: &mut Maps,
        current: bool,
    ) -> Self {
        let others = pins.others().unwrap_or_default();
        let any = !others.is_empty();
        let mut older = Self { pins, twins: Vec::new(), any, filled: current };
        // The newest first: the others hold no more than it does.
        for abi in others.into_iter().rev().filter(|abi| generation.known.contains(abi)) {
            match older.join(abi, maps) {
                Ok(twin) => {
                    older.filled = true;
                    older.twins.push((abi, twin));
                }
                Err(why) => tracing::warn!(%why, abi, "the maps of another ABI are left alone"),
            }
        }
        older
    }

    /// Opens the maps of one ABI, and makes them and ours alike.
    fn join(&self, abi: u32, maps: &mut Maps) -> Result<Maps, DatapathError> {
        let mut twin = Maps::open(&self.pins.of(abi).maps())?;
        if self.filled {
            twin.copy_from(maps, abi)?;
        } else {
            maps.copy_from(&twin, self.pins.abi())?;
        }
        Ok(twin)
    }

    /// Whether programs may be moved to the maps of this ABI.
    pub(super) fn is_filled(&self) -> bool {
        self.filled
    }

    /// Makes a change that this ABI's maps have got.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        for (abi, maps) in &mut self.twins {
            if let Change::PutConfig(entry) = change {
                maps.apply(&Change::PutConfig(ConfigEntry { abi: *abi, ..*entry }))?;
            } else {
                maps.apply(change)?;
            }
        }
        Ok(())
    }

    /// Removes the maps: nothing reads them any more.
    pub(super) fn collect(&mut self) -> Result<(), DatapathError> {
        if !self.any {
            return Ok(());
        }
        self.twins.clear();
        for abi in self.pins.others()? {
            self.pins.of(abi).remove_maps()?;
            tracing::info!(abi, "the maps of another ABI are removed: no program reads them");
        }
        self.any = false;
        Ok(())
    }
}
