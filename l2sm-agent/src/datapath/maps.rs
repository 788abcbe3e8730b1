//! The maps, open and typed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
        ProgramArray,
    },
};
use l2sm_common::{
    ids::{Ip16, Slot},
    maps::{
        ConfigEntry, DropKey, FdbEntry, FdbKey, FloodChunk, FloodKey, LocalEntry, MemberEntry,
        MemberKey, NeighEntry, NeighKey, PortEntry, SegmentEntry, Tally, Traffic, UplinkEntry,
        VtepEntry,
    },
    reason::DropReason,
};
use l2sm_core::slow_path::SlowPathCount;
use nix::errno::Errno;

use super::{
    Capacities, DatapathError,
    layout::{self, Layout},
};

/// Every map of the object.
pub(super) struct Maps {
    pub(super) config: Config,
    pub(super) uplinks: Table<u32, UplinkEntry>,
    pub(super) locals: Table<Ip16, LocalEntry>,
    pub(super) vteps: Table<u32, VtepEntry>,
    pub(super) sources: Table<Ip16, u32>,
    pub(super) flood: Table<FloodKey, FloodChunk>,
    pub(super) segments: Table<u32, SegmentEntry>,
    pub(super) members: Table<MemberKey, MemberEntry>,
    pub(super) fdb: Table<FdbKey, FdbEntry>,
    pub(super) neigh: Table<NeighKey, NeighEntry>,
    pub(super) ports: Table<u32, PortEntry>,
    pub(super) counters: Counters,
    pub(super) progs: Box<ProgramArray<MapData>>,
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(object: &mut Ebpf, capacities: &Capacities) -> Result<Self, DatapathError> {
        Self::from_source(object, capacities)
    }

    /// Opens the maps that are pinned in a directory.
    pub(super) fn open(directory: &Path) -> Result<Self, DatapathError> {
        layout::check_pins(directory)?;
        let capacities = layout::read_capacities(directory)?;
        Self::from_source(&mut Pinned(directory), &capacities)
    }

    fn from_source(
        object: &mut impl Source,
        capacities: &Capacities,
    ) -> Result<Self, DatapathError> {
        let sized = |layout: Layout| layout.sized(capacities);
        Ok(Self {
            config: Config(take(object, layout::CONFIG)?),
            uplinks: Table::take(object, sized(layout::UPLINKS))?,
            locals: Table::take(object, sized(layout::LOCALS))?,
            vteps: Table::take(object, sized(layout::VTEPS))?,
            sources: Table::take(object, sized(layout::SOURCES))?,
            flood: Table::take(object, sized(layout::FLOOD))?,
            segments: Table::take(object, sized(layout::SEGMENTS))?,
            members: Table::take(object, sized(layout::MEMBERS))?,
            fdb: Table::take(object, sized(layout::FDB))?,
            neigh: Table::take(object, sized(layout::NEIGH))?,
            ports: Table::take(object, sized(layout::PORTS))?,
            counters: Counters {
                traffic: take(object, layout::TRAFFIC)?,
                drops: take(object, layout::DROPS)?,
            },
            progs: take(object, layout::PROGS)?,
        })
    }
}

/// Where maps come from.
trait Source {
    /// One map, which nobody else takes.
    fn take_map(&mut self, layout: Layout) -> Result<Map, DatapathError>;
}

impl Source for Ebpf {
    fn take_map(&mut self, layout: Layout) -> Result<Map, DatapathError> {
        let missing = || DatapathError::Object(format!("it has no map {}", layout.name));
        self.take_map(layout.name).ok_or_else(missing)
    }
}

/// A directory of pinned maps.
struct Pinned<'a>(&'a Path);

impl Source for Pinned<'_> {
    fn take_map(&mut self, layout: Layout) -> Result<Map, DatapathError> {
        let map = MapData::from_pin(self.0.join(layout.name)).and_then(Map::from_map_data);
        map.map_err(|error| DatapathError::map("open", layout.name, &error))
    }
}

/// One map, typed.
fn take<T: TryFrom<Map, Error = MapError>>(
    source: &mut impl Source,
    layout: Layout,
) -> Result<Box<T>, DatapathError> {
    let map = source.take_map(layout)?;
    let map = T::try_from(map).map_err(|error| wrong(layout, &error))?;
    Ok(Box::new(map))
}

/// The error of a map that the object has with another type.
fn wrong(layout: Layout, error: &MapError) -> DatapathError {
    DatapathError::Object(format!("map {}: {error}", layout.name))
}

/// A hash map that only the agent adds to.
pub(super) struct Table<K, V> {
    layout: Layout,
    map: Box<HashMap<MapData, K, V>>,
}

impl<K: Pod + Ord, V: Pod> Table<K, V> {
    fn take(source: &mut impl Source, layout: Layout) -> Result<Self, DatapathError> {
        let map = take(source, layout)?;
        Ok(Self { layout, map })
    }

    /// Everything in it. Two system calls an entry.
    pub(super) fn read(&self) -> Result<BTreeMap<K, V>, DatapathError> {
        let entries = self.map.iter().collect::<Result<_, _>>();
        entries.map_err(|error| DatapathError::map("read", self.layout.name, &error))
    }

    pub(super) fn get(&self, key: &K) -> Result<Option<V>, DatapathError> {
        match self.map.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(DatapathError::map("read", self.layout.name, &error)),
        }
    }

    pub(super) fn put(&mut self, key: &K, value: &V) -> Result<(), DatapathError> {
        let Layout { name: map, capacity, .. } = self.layout;
        self.map.insert(key, value, 0).map_err(|error| {
            if is_errno(&error, Errno::E2BIG) {
                DatapathError::MapFull { map, capacity }
            } else {
                DatapathError::map("write", map, &error)
            }
        })
    }

    pub(super) fn delete(&mut self, key: &K) -> Result<(), DatapathError> {
        match self.map.remove(key) {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(DatapathError::map("delete from", self.layout.name, &error)),
        }
    }
}

/// `CONFIG`: an array of one entry, which zeroes mean "not written".
pub(super) struct Config(Box<Array<MapData, ConfigEntry>>);

impl Config {
    pub(super) fn read(&self) -> Result<Option<ConfigEntry>, DatapathError> {
        let entry = self.0.get(&0, 0);
        let entry =
            entry.map_err(|error| DatapathError::map("read", layout::CONFIG.name, &error))?;
        Ok(Some(entry).filter(|entry| *entry != UNWRITTEN))
    }

    /// Writes the entry; `None`: clears it.
    pub(super) fn put(&mut self, entry: Option<ConfigEntry>) -> Result<(), DatapathError> {
        let entry = entry.unwrap_or(UNWRITTEN);
        let put = self.0.set(0, entry, 0);
        put.map_err(|error| DatapathError::map("write", layout::CONFIG.name, &error))
    }
}

/// What a new array holds.
const UNWRITTEN: ConfigEntry =
    ConfigEntry { abi: 0, port: 0, mark: 0, vxlan_ifindex: 0, flags: 0, local: [0; 16] };

/// `TRAFFIC` and `DROPS`: written by the programs, one copy a CPU.
pub(super) struct Counters {
    traffic: Box<PerCpuArray<MapData, Traffic>>,
    drops: Box<PerCpuHashMap<MapData, DropKey, u64>>,
}

impl Counters {
    /// Sets everything that one slot counted to zero.
    pub(super) fn reset(&mut self, slot: u32) -> Result<(), DatapathError> {
        let write = |map| move |error: &MapError| DatapathError::map("write", map, error);
        let traffic = write(layout::TRAFFIC.name);
        let before = self.traffic.get(&slot, 0).map_err(|error| traffic(&error))?;
        let zeros = vec![Traffic::default(); before.len()];
        let zeros =
            PerCpuValues::try_from(zeros).map_err(|error| traffic(&MapError::IoError(error)))?;
        self.traffic.set(slot, zeros, 0).map_err(|error| traffic(&error))?;
        for reason in DropReason::ALL {
            let key = DropKey::new(Slot(slot), *reason);
            match self.drops.remove(&key) {
                Err(error) if !is_gone(&error) => return Err(write(layout::DROPS.name)(&error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Slots that have counted something, all CPUs together.
    pub(super) fn traffic(&self) -> Result<BTreeMap<u32, Traffic>, DatapathError> {
        let mut slots = BTreeMap::new();
        for (slot, cpus) in (0..).zip(self.traffic.iter()) {
            let cpus =
                cpus.map_err(|error| DatapathError::map("read", layout::TRAFFIC.name, &error))?;
            let sum = cpus.iter().fold(Traffic::default(), add);
            if sum != Traffic::default() {
                slots.insert(slot, sum);
            }
        }
        Ok(slots)
    }

    /// Packets on the slow path, over some slots and all CPUs.
    pub(super) fn slow_path(&self, slots: &BTreeSet<u32>) -> Result<SlowPathCount, DatapathError> {
        let mut count = SlowPathCount::default();
        for slot in slots {
            let cpus = self.traffic.get(slot, 0);
            let cpus =
                cpus.map_err(|error| DatapathError::map("read", layout::TRAFFIC.name, &error))?;
            let sum = cpus.iter().fold(Traffic::default(), add);
            count.handed_up = count.handed_up.wrapping_add(sum.slow_handed_up.packets);
            count.received = count.received.wrapping_add(sum.slow_received.packets);
        }
        Ok(count)
    }

    /// Drops, all CPUs together.
    pub(super) fn drops(&self) -> Result<BTreeMap<DropKey, u64>, DatapathError> {
        let sum = |(key, cpus): (DropKey, PerCpuValues<u64>)| {
            (key, cpus.iter().fold(0u64, |sum, count| sum.wrapping_add(*count)))
        };
        let drops = self.drops.iter().map(|entry| entry.map(sum)).collect::<Result<_, _>>();
        drops.map_err(|error| DatapathError::map("read", layout::DROPS.name, &error))
    }
}

/// Adds one CPU's counters.
fn add(sum: Traffic, cpu: &Traffic) -> Traffic {
    let tally = |a: Tally, b: Tally| Tally {
        packets: a.packets.wrapping_add(b.packets),
        bytes: a.bytes.wrapping_add(b.bytes),
    };
    Traffic {
        from_port: tally(sum.from_port, cpu.from_port),
        to_port: tally(sum.to_port, cpu.to_port),
        from_vtep: tally(sum.from_vtep, cpu.from_vtep),
        to_vtep: tally(sum.to_vtep, cpu.to_vtep),
        slow_sent: tally(sum.slow_sent, cpu.slow_sent),
        slow_handed_up: tally(sum.slow_handed_up, cpu.slow_handed_up),
        slow_received: tally(sum.slow_received, cpu.slow_received),
        answered: tally(sum.answered, cpu.answered),
    }
}

/// Whether an entry was not there.
fn is_gone(error: &MapError) -> bool {
    matches!(error, MapError::KeyNotFound) || is_errno(error, Errno::ENOENT)
}

/// Whether a system call failed with this number.
fn is_errno(error: &MapError, errno: Errno) -> bool {
    let MapError::SyscallError(error) = error else {
        return false;
    };
    error.io_error.raw_os_error().map(Errno::from_raw) == Some(errno)
}
