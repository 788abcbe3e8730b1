//! The maps as this version lays them out, and whether a pinned one is so.

use std::path::Path;

use aya::maps::{MapInfo, MapType};
use l2sm_common::{
    abi,
    event::EventLimit,
    ids::Ip16,
    maps::{
        ConfigEntry, DropKey, FdbEntry, FdbKey, FloodChunk, FloodKey, LocalEntry, MemberEntry,
        MemberKey, NeighEntry, NeighKey, PortEntry, SegmentEntry, Traffic, UplinkEntry, VtepEntry,
    },
};

use super::{Capacities, DatapathError};

/// Type and sizes of one map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    pub(super) capacity: usize,
}

pub(super) const CONFIG: Layout = layout::<u32, ConfigEntry>("CONFIG", MapType::Array, 1);
pub(super) const UPLINKS: Layout =
    layout::<u32, UplinkEntry>("UPLINKS", MapType::Hash, abi::UPLINKS_CAPACITY);
pub(super) const LOCALS: Layout =
    layout::<Ip16, LocalEntry>("LOCALS", MapType::Hash, abi::LOCALS_CAPACITY);
pub(super) const VTEPS: Layout =
    layout::<u32, VtepEntry>("VTEPS", MapType::Hash, abi::VTEPS_CAPACITY);
pub(super) const SOURCES: Layout =
    layout::<Ip16, u32>("SOURCES", MapType::Hash, abi::VTEPS_CAPACITY);
pub(super) const FLOOD: Layout =
    layout::<FloodKey, FloodChunk>("FLOOD", MapType::Hash, abi::FLOOD_CAPACITY);
pub(super) const SEGMENTS: Layout =
    layout::<u32, SegmentEntry>("SEGMENTS", MapType::Hash, abi::SEGMENTS_CAPACITY);
pub(super) const MEMBERS: Layout =
    layout::<MemberKey, MemberEntry>("MEMBERS", MapType::Hash, abi::MEMBERS_CAPACITY);
pub(super) const FDB: Layout = layout::<FdbKey, FdbEntry>("FDB", MapType::Hash, abi::FDB_CAPACITY);
pub(super) const NEIGH: Layout =
    layout::<NeighKey, NeighEntry>("NEIGH", MapType::Hash, abi::NEIGH_CAPACITY);
pub(super) const PORTS: Layout =
    layout::<u32, PortEntry>("PORTS", MapType::Hash, abi::PORTS_CAPACITY);
pub(super) const TRAFFIC: Layout =
    layout::<u32, Traffic>("TRAFFIC", MapType::PerCpuArray, abi::SLOTS_CAPACITY);
pub(super) const DROPS: Layout =
    layout::<DropKey, u64>("DROPS", MapType::PerCpuHash, abi::DROPS_CAPACITY);
pub(super) const PROGS: Layout =
    layout::<u32, u32>("PROGS", MapType::ProgramArray, abi::PROGS_CAPACITY);

pub(super) const EVENTS: Layout =
    layout::<(), ()>("EVENTS", MapType::RingBuf, abi::EVENTS_CAPACITY);
pub(super) const EVENT_LIMIT: Layout =
    layout::<u32, EventLimit>("EVENT_LIMIT", MapType::PerCpuArray, abi::REASONS_CAPACITY);

/// The maps that an image is made of, and the counters.
const TABLES: [Layout; 14] = [
    CONFIG, UPLINKS, LOCALS, VTEPS, SOURCES, FLOOD, SEGMENTS, MEMBERS, FDB, NEIGH, PORTS, TRAFFIC,
    DROPS, PROGS,
];

/// The maps of drop records.
const RECORDS: [Layout; 2] = [EVENTS, EVENT_LIMIT];

/// Every map.
pub(super) fn all() -> impl Iterator<Item = Layout> {
    TABLES.into_iter().chain(RECORDS)
}

/// A layout by its key and value types.
const fn layout<K, V>(name: &'static str, kind: MapType, capacity: usize) -> Layout {
    Layout { name, kind, key: size_of::<K>(), value: size_of::<V>(), capacity }
}

/// Whether a pin of this name is a map of ours.
pub(super) fn is_ours(name: &str) -> bool {
    all().any(|layout| layout.name == name)
}

/// Checks the maps that are pinned in `directory`. aya takes any map that it finds under a name,
/// and the verifier notices only some of what can be wrong with it. Sizes may differ: they are chosen.
pub(super) fn check_pins(directory: &Path) -> Result<(), DatapathError> {
    for layout in all() {
        let path = directory.join(layout.name);
        if !path.exists() {
            continue;
        }
        let found = match MapInfo::from_pin(&path) {
            Ok(info) => print_info(&info),
            Err(error) => super::error::chain(&error),
        };
        let expected = layout.print();
        if found != expected {
            return Err(DatapathError::Layout { path, found, expected });
        }
    }
    Ok(())
}

/// The sizes of the tables that are pinned in `directory`.
pub(super) fn read_capacities(directory: &Path) -> Result<Capacities, DatapathError> {
    let read = |layout: &Layout| {
        let info = MapInfo::from_pin(directory.join(layout.name));
        let info = info.map_err(|error| DatapathError::map("read", layout.name, &error))?;
        Ok((layout.name, info.max_entries()))
    };
    TABLES.iter().map(read).collect()
}

impl Layout {
    /// This map with the size that it has in the kernel.
    pub(super) fn sized(self, capacities: &Capacities) -> Self {
        let capacity = capacities.get(self.name).and_then(|entries| usize::try_from(*entries).ok());
        Self { capacity: capacity.unwrap_or(self.capacity), ..self }
    }

    /// Type and sizes in words.
    fn print(&self) -> String {
        print_sizes(Some(self.kind), self.key, self.value)
    }
}

/// Type and sizes of a map in the kernel, in the same words.
fn print_info(info: &MapInfo) -> String {
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    let [key, value] = [info.key_size(), info.value_size()].map(size);
    print_sizes(info.map_type().ok(), key, value)
}

fn print_sizes(kind: Option<MapType>, key: usize, value: usize) -> String {
    let kind = kind.map_or_else(|| "unknown".to_owned(), |kind| format!("{kind:?}"));
    format!("{kind}, key {key} bytes, value {value} bytes")
}
