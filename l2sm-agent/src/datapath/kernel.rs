//! The kernel behind [`Datapath`]: loads the object, opens or makes the pinned
//! maps, and keeps the pinned links running this object's programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use l2sm_common::{
    abi,
    maps::{DropKey, Traffic},
};
use l2sm_core::{
    diff::Change,
    image::{Hook, Image},
    slow_path::SlowPathCount,
};

use super::{
    Attaching, Capacities, Datapath, DatapathError, Generation,
    bpffs::Pins,
    layout,
    links::Links,
    maps::Maps,
    object::{load_object, load_program, set_tail_calls},
    older::Older,
};

/// The node's kernel.
///
/// Nothing in it is lost with the process: maps and links are pinned, and what holds no pin (a tc
/// filter of a kernel before 6.6) stays with its device.
pub struct KernelDatapath {
    maps: Maps,
    /// Maps of other ABIs that programs on devices still read.
    older: Older,
    links: Links,
    /// Hooks with a program of ours that is not this object's.
    outdated: BTreeSet<Hook>,
    capacities: Capacities,
}

impl KernelDatapath {
    /// Loads the programs, and opens the pinned maps of this ABI or makes them. Programs that are
    /// attached stay as they are until [`take_over`](Self::take_over), or until
    /// [`Change::Attach`] moves them, one by one.
    ///
    /// # Errors
    /// When `bpffs` is no bpffs, a pinned map is laid out differently, a capability is missing, or the
    /// kernel refuses a program.
    pub fn open(bpffs: &Path) -> Result<Self, DatapathError> {
        Self::open_with(bpffs, Attaching::probe())
    }

    /// The same, with maps of these sizes where they are made now. A pinned map keeps its size: what is
    /// in it stays.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_sized(bpffs: &Path, wanted: &Capacities) -> Result<Self, DatapathError> {
        Self::open_as(bpffs, Attaching::probe(), wanted, &Generation::current())
    }

    /// The same, attaching in the given way: [`Attaching::Filter`] works on every kernel.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(bpffs: &Path, attaching: Attaching) -> Result<Self, DatapathError> {
        Self::open_as(bpffs, attaching, &Capacities::new(), &Generation::current())
    }

    /// The same, with the maps of another version of the layout.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(
        bpffs: &Path,
        attaching: Attaching,
        wanted: &Capacities,
        generation: &Generation,
    ) -> Result<Self, DatapathError> {
        let pins = Pins::new(bpffs, generation.abi);
        pins.create()?;
        layout::check_pins(&pins.maps())?;
        let mut object = load_object(&pins, wanted)?;
        let capacities = layout::read_capacities(&pins.maps())?;
        for (map, entries) in wanted.iter().filter(|(map, n)| capacities.get(*map) != Some(*n)) {
            let has = capacities.get(map).copied().unwrap_or_default();
            tracing::warn!(
                "map {map} is pinned with {has} entries and keeps them: {entries} come with \
                 `l2sm-agent cleanup`, or the next version of the layout"
            );
        }
        let mut maps = Maps::take(&mut object, &capacities)?;
        for (_index, program) in abi::PROGS {
            load_program(&mut object, program)?;
        }
        set_tail_calls(&mut maps, &mut object)?;
        #[cfg(feature = "log")]
        super::log::follow(&mut object)?;
        let mut links = Links::new(pins.clone(), object, attaching)?;
        let outdated = links.outdated()?;
        let current = outdated.is_empty() || links.reads_these_maps()?;
        let older = Older::open(pins, generation, &mut maps, current);
        Ok(Self { maps, older, links, outdated, capacities })
    }

    /// Has every hook that runs a program of ours run this object's, in place: there is never no
    /// program, and never two. Not where the new maps lack what the old ones hold; then
    /// [`Change::Attach`] does it, when they have been filled. Returns what failed, which the next
    /// [`Change::Attach`] tries again.
    ///
    /// # Errors
    /// When what is attached cannot be looked at.
    pub fn take_over(&mut self) -> Result<Vec<DatapathError>, DatapathError> {
        let mut failed = Vec::new();
        if self.older.is_filled() {
            for hook in self.outdated.clone() {
                failed.extend(self.apply(&Change::Attach(hook)).err());
            }
        }
        self.collect()?;
        Ok(failed)
    }

    /// Entries that each map holds at most.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// How programs are attached here.
    pub fn attaching(&self) -> Attaching {
        self.links.attaching()
    }

    /// Removes the maps of other ABIs once no program reads them any more.
    fn collect(&mut self) -> Result<(), DatapathError> {
        self.outdated = self.links.outdated()?;
        if self.outdated.is_empty() { self.older.collect() } else { Ok(()) }
    }

    /// A hook has changed.
    fn note(&mut self, hook: Hook) -> Result<(), DatapathError> {
        if self.outdated.remove(&hook) && self.outdated.is_empty() {
            return self.collect();
        }
        Ok(())
    }
}

impl Datapath for KernelDatapath {
    fn read(&mut self) -> Result<Image, DatapathError> {
        self.collect()?;
        Ok(Image { hooks: self.links.read()?, ..self.maps.read()? })
    }

    fn outdated(&self) -> BTreeSet<Hook> {
        self.outdated.clone()
    }

    fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        if let Change::Attach(hook) = change {
            self.links.attach(*hook)?;
            return self.note(*hook);
        }
        if let Change::Detach(hook) = change {
            self.links.detach(*hook)?;
            return self.note(*hook);
        }
        self.maps.apply(change)?;
        self.older.apply(change)
    }

    fn settle(&mut self) -> Result<bool, DatapathError> {
        self.links.settle()
    }

    fn traffic(&self) -> Result<BTreeMap<u32, Traffic>, DatapathError> {
        self.maps.counters.traffic()
    }

    fn slow_path(&self, slots: &BTreeSet<u32>) -> Result<SlowPathCount, DatapathError> {
        self.maps.counters.slow_path(slots)
    }

    fn drops(&self) -> Result<BTreeMap<DropKey, u64>, DatapathError> {
        self.maps.counters.drops()
    }
}
