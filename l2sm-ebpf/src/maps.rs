//! Every map, with capacity and writer. Layouts: `l2sm_common::maps`.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf},
    macros::btf_map,
};
use l2sm_common::{
    abi::{
        DROPS_CAPACITY, EVENTS_CAPACITY, FDB_CAPACITY, FLOOD_CAPACITY, LOCALS_CAPACITY,
        MEMBERS_CAPACITY, NEIGH_CAPACITY, PORTS_CAPACITY, PROGS_CAPACITY, REASONS_CAPACITY,
        SEGMENTS_CAPACITY, SLOTS_CAPACITY, UPLINKS_CAPACITY, VTEPS_CAPACITY,
    },
    event::EventLimit,
    ids::Ip16,
    maps::{
        ConfigEntry, DropKey, FdbEntry, FdbKey, FloodChunk, FloodKey, LocalEntry, MemberEntry,
        MemberKey, NeighEntry, NeighKey, PortEntry, SegmentEntry, Traffic, UplinkEntry, VtepEntry,
    },
};

/// `BPF_F_NO_PREALLOC`: memory by use. The big tables are mostly empty on most nodes.
const BY_USE: usize = 1;

/// Settings. Written by the agent.
#[btf_map]
pub(crate) static CONFIG: Array<ConfigEntry, 1> = Array::new();
/// Pods' plugs, by ifindex. Written by the agent, but for the FORWARDER bit.
#[btf_map]
pub(crate) static PORTS: HashMap<u32, PortEntry, PORTS_CAPACITY> = HashMap::new();
/// Networks, by VNI. Written by the agent.
#[btf_map]
pub(crate) static SEGMENTS: HashMap<u32, SegmentEntry, SEGMENTS_CAPACITY> = HashMap::new();
/// Where each MAC is. Written by the agent.
#[btf_map]
pub(crate) static FDB: HashMap<FdbKey, FdbEntry, FDB_CAPACITY, BY_USE> = HashMap::new();
/// Who has each address. Written by the agent.
#[btf_map]
pub(crate) static NEIGH: HashMap<NeighKey, NeighEntry, NEIGH_CAPACITY, BY_USE> = HashMap::new();
/// Remote tunnel endpoints, by the agent's number. Written by the agent.
#[btf_map]
pub(crate) static VTEPS: HashMap<u32, VtepEntry, VTEPS_CAPACITY, BY_USE> = HashMap::new();
/// Which VTEP may send into which segment. Written by the agent.
#[btf_map]
pub(crate) static MEMBERS: HashMap<MemberKey, MemberEntry, MEMBERS_CAPACITY, BY_USE> =
    HashMap::new();
/// VTEPs by outer source address. Written by the agent.
#[btf_map]
pub(crate) static SOURCES: HashMap<Ip16, u32, VTEPS_CAPACITY, BY_USE> = HashMap::new();
/// Own VTEP addresses. Written by the agent.
#[btf_map]
pub(crate) static LOCALS: HashMap<Ip16, LocalEntry, LOCALS_CAPACITY> = HashMap::new();
/// Underlay devices, by ifindex. Written by the agent.
#[btf_map]
pub(crate) static UPLINKS: HashMap<u32, UplinkEntry, UPLINKS_CAPACITY> = HashMap::new();
/// Flood lists. Written by the agent.
#[btf_map]
pub(crate) static FLOOD: HashMap<FloodKey, FloodChunk, FLOOD_CAPACITY, BY_USE> = HashMap::new();
/// Packets and bytes, by slot. Written by the programs.
#[btf_map]
pub(crate) static TRAFFIC: PerCpuArray<Traffic, SLOTS_CAPACITY> = PerCpuArray::new();
/// Dropped packets, by slot and reason. Written by the programs.
#[btf_map]
pub(crate) static DROPS: PerCpuHashMap<DropKey, u64, DROPS_CAPACITY, BY_USE> = PerCpuHashMap::new();
/// Records of dropped frames (`DropEvent`), samples. Written by the programs, read by the agent; full, it takes no
/// more.
#[btf_map]
pub(crate) static EVENTS: RingBuf<(), EVENTS_CAPACITY> = RingBuf::new();
/// How many records were made, by reason. Written by the programs.
#[btf_map]
pub(crate) static EVENT_LIMIT: PerCpuArray<EventLimit, REASONS_CAPACITY> = PerCpuArray::new();
/// Programs reached by tail call. Written by the agent.
#[btf_map]
pub(crate) static PROGS: ProgramArray<PROGS_CAPACITY> = ProgramArray::new();
