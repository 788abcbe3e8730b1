//! An image with something in every map.

use l2sm_common::{
    abi,
    ids::ip16_from_v4,
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, FloodChunk, FloodEntry, FloodKey, HEADER_CAPACITY,
        LocalEntry, MemberEntry, MemberKey, NeighEntry, NeighKey, PATHS_MAX, PathEntry, PortEntry,
        SegmentEntry, UplinkEntry, VtepEntry, target_kind,
    },
};
use l2sm_core::image::{Hook, Image, Program};

use crate::sandbox::port;

/// Something in every map, and every program on a device that this makes.
pub(crate) fn full_image() -> Image {
    let address = ip16_from_v4([192, 0, 2, 1]);
    let uplink = port("eth0").device;
    let tunnel = port("vx0").device;
    let fdb = FdbKey { vni: 7, mac: [2; 6], pad: [0; 2] };
    let neigh = NeighKey { vni: 7, ip: address };
    let member = MemberKey { vni: 7, source: [1; 16] };
    let list = FloodKey { flood_id: 9, chunk: 0 };
    Image {
        config: Some(CONFIG),
        uplinks: [(uplink.0, UplinkEntry::new(Some(Mac([2; 6]))))].into(),
        locals: [(address, LocalEntry { flags: 0 })].into(),
        vteps: [(1, VTEP), (u32::MAX, VTEP)].into(),
        sources: [([1; 16], 1)].into(),
        flood: [(list, LIST)].into(),
        segments: [(7, SEGMENT)].into(),
        members: [(member, MemberEntry { vtep: 1, group: 1, flags: 0, slot: 1 })].into(),
        fdb: [(fdb, STATION)].into(),
        neigh: [(neigh, NeighEntry { mac: [2; 6], flags: 1 })].into(),
        ports: [(5, PORT)].into(),
        hooks: [
            port("pod0"),
            Hook { device: uplink, program: Program::UplinkRx },
            Hook { device: tunnel, program: Program::TunnelRx },
        ]
        .into(),
    }
}

/// A port.
pub(crate) const PORT: PortEntry = PortEntry {
    vni: 7,
    flags: 0,
    slot: 4,
    ipv4: [10, 0, 0, 1],
    ipv6: [0; 16],
    mac: [2; 6],
    group: 0,
};

const CONFIG: ConfigEntry = ConfigEntry {
    abi: abi::ABI,
    port: 7000,
    mark: 0x2000,
    vxlan_ifindex: 3,
    flags: 1,
    local: [0; 16],
};
const SEGMENT: SegmentEntry = SegmentEntry { flood_id: 9, flags: 1, slot: 4, mtu: 1450 };
const STATION: FdbEntry = FdbEntry { kind: target_kind::VTEP, flags: 0, group: 1, target: 1 };
const RECEIVER: FloodEntry = FloodEntry { kind: target_kind::VTEP, flags: 1, group: 1, target: 1 };
const LIST: FloodChunk = FloodChunk { count: 1, more: 0, entries: [RECEIVER; abi::FLOOD_CHUNK] };
const PATH: PathEntry = PathEntry { ifindex: 2, mtu: 1500, state: 1, header: [7; HEADER_CAPACITY] };
const VTEP: VtepEntry =
    VtepEntry { flags: 1, n_paths: 1, remote: [1; 16], local: [2; 16], paths: [PATH; PATHS_MAX] };
