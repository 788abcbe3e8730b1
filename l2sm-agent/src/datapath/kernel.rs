//! The kernel behind [`Datapath`]: loads the object, opens or makes the pinned
//! maps, and keeps the pinned links running this object's programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use l2sm_common::{
    abi,
    maps::{DropKey, PortEntry, SegmentEntry, Traffic},
};
use l2sm_core::{
    diff::Change,
    image::{Image, keep_forwarder},
    slow_path::SlowPathCount,
};

use super::{
    Attaching, Capacities, Datapath, DatapathError,
    bpffs::Pins,
    layout,
    links::Links,
    maps::Maps,
    object::{load_object, load_program, set_tail_calls},
};

/// The node's kernel.
///
/// Nothing in it is lost with the process: maps and links are pinned, and what holds no pin (a tc
/// filter of a kernel before 6.6) stays with its device.
pub struct KernelDatapath {
    maps: Maps,
    links: Links,
    capacities: Capacities,
}

impl KernelDatapath {
    /// Loads the programs, opens the pinned maps of this ABI or makes them, and has every pinned link
    /// that uses them run the new programs. Links that use the maps of another ABI stay as they are
    /// until [`Change::Attach`] moves them, when the new maps are filled.
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
        Self::open_as(bpffs, Attaching::probe(), wanted)
    }

    /// The same, attaching in the given way: [`Attaching::Filter`] works on every kernel.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(bpffs: &Path, attaching: Attaching) -> Result<Self, DatapathError> {
        Self::open_as(bpffs, attaching, &Capacities::new())
    }

    fn open_as(
        bpffs: &Path,
        attaching: Attaching,
        wanted: &Capacities,
    ) -> Result<Self, DatapathError> {
        let pins = Pins::new(bpffs);
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
        let mut links = Links::new(pins, object, attaching)?;
        links.update_all()?;
        Ok(Self { maps, links, capacities })
    }

    /// Entries that each map holds at most.
    pub fn capacities(&self) -> &Capacities {
        &self.capacities
    }

    /// How programs are attached here.
    pub fn attaching(&self) -> Attaching {
        self.links.attaching()
    }

    /// Writes a segment. A slot that it did not have before starts from zero: what another network
    /// counted there is not its own.
    fn put_segment(&mut self, vni: u32, segment: SegmentEntry) -> Result<(), DatapathError> {
        let before = self.maps.segments.get(&vni)?;
        if segment.slot != 0 && before.is_none_or(|before| before.slot != segment.slot) {
            self.maps.counters.reset(segment.slot)?;
        }
        self.maps.segments.put(&vni, &segment)
    }

    /// Writes a port, without taking back what the programs have seen of it.
    fn put_port(&mut self, device: u32, port: PortEntry) -> Result<(), DatapathError> {
        let before = self.maps.ports.get(&device)?;
        let port = before.map_or(port, |before| keep_forwarder(port, &before));
        self.maps.ports.put(&device, &port)
    }
}

impl Datapath for KernelDatapath {
    fn read(&mut self) -> Result<Image, DatapathError> {
        let Self { maps, links, .. } = self;
        Ok(Image {
            config: maps.config.read()?,
            uplinks: maps.uplinks.read()?,
            locals: maps.locals.read()?,
            vteps: maps.vteps.read()?,
            sources: maps.sources.read()?,
            flood: maps.flood.read()?,
            segments: maps.segments.read()?,
            members: maps.members.read()?,
            fdb: maps.fdb.read()?,
            neigh: maps.neigh.read()?,
            ports: maps.ports.read()?,
            hooks: links.read()?,
        })
    }

    fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        let Self { maps, links, .. } = self;
        match change {
            Change::PutConfig(entry) => maps.config.put(Some(*entry)),
            Change::ClearConfig => maps.config.put(None),
            Change::PutUplink(key, value) => maps.uplinks.put(key, value),
            Change::DeleteUplink(key) => maps.uplinks.delete(key),
            Change::PutLocal(key, value) => maps.locals.put(key, value),
            Change::DeleteLocal(key) => maps.locals.delete(key),
            Change::PutVtep(key, value) => maps.vteps.put(key, value),
            Change::DeleteVtep(key) => maps.vteps.delete(key),
            Change::PutSource(key, value) => maps.sources.put(key, value),
            Change::DeleteSource(key) => maps.sources.delete(key),
            Change::PutFlood(key, value) => maps.flood.put(key, value),
            Change::DeleteFlood(key) => maps.flood.delete(key),
            Change::PutSegment(key, value) => self.put_segment(*key, *value),
            Change::DeleteSegment(key) => maps.segments.delete(key),
            Change::PutMember(key, value) => maps.members.put(key, value),
            Change::DeleteMember(key) => maps.members.delete(key),
            Change::PutFdb(key, value) => maps.fdb.put(key, value),
            Change::DeleteFdb(key) => maps.fdb.delete(key),
            Change::PutNeigh(key, value) => maps.neigh.put(key, value),
            Change::DeleteNeigh(key) => maps.neigh.delete(key),
            Change::PutPort(key, value) => self.put_port(*key, *value),
            Change::DeletePort(key) => maps.ports.delete(key),
            Change::Attach(hook) => links.attach(*hook),
            Change::Detach(hook) => links.detach(*hook),
        }
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
