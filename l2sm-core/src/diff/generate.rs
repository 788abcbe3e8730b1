//! Images for property tests.

use std::collections::BTreeMap;

use l2sm_common::{
    abi::FLOOD_CHUNK,
    ids::{IfIndex, ip16_from_v4},
    maps::{
        ConfigEntry, FdbEntry, FdbKey, FloodChunk, FloodEntry, FloodKey, HEADER_CAPACITY,
        LocalEntry, MemberEntry, MemberKey, NeighEntry, NeighKey, PATHS_MAX, PathEntry, PortEntry,
        SegmentEntry, UplinkEntry, VtepEntry, target_kind,
    },
};
use proptest::{collection::btree_map, option, prelude::*, sample::subsequence};

use crate::image::{Hook, Image, Program};

/// Images whose references all lead somewhere; small, so that two have much in common.
pub(super) fn images() -> impl Strategy<Value = Image> {
    let vteps = btree_map(1u32..6, 0u8..3, 1..5);
    vteps.prop_flat_map(|vteps| {
        let ids: Vec<u32> = vteps.keys().copied().collect();
        (Just(vteps), lists(ids.clone()), referrers(ids), node()).prop_flat_map(with_segments)
    })
}

type Lists = BTreeMap<u32, Vec<Vec<u32>>>;

/// Flood lists: the VTEPs of each chunk.
fn lists(ids: Vec<u32>) -> impl Strategy<Value = Lists> {
    let count = ids.len();
    btree_map(1u32..5, prop::collection::vec(subsequence(ids, 0..=count), 1..4), 1..4)
}

type Referrers = (BTreeMap<u8, u32>, BTreeMap<u8, u32>, BTreeMap<u8, (bool, u32)>);

/// Sources, members and stations, with the VTEPs that they name.
fn referrers(ids: Vec<u32>) -> impl Strategy<Value = Referrers> {
    let id = proptest::sample::select(ids);
    (
        btree_map(0u8..6, id.clone(), 0..4),
        btree_map(0u8..6, id.clone(), 0..4),
        btree_map(0u8..6, (any::<bool>(), id), 0..4),
    )
}

type Node = (Option<u32>, BTreeMap<u32, u32>, BTreeMap<u8, u8>, BTreeMap<u32, u32>);

/// Configuration, uplinks, addresses of stations, ports.
fn node() -> impl Strategy<Value = Node> {
    (
        option::of(1u32..4),
        btree_map(1u32..4, 0u32..2, 0..3),
        btree_map(0u8..6, 0u8..3, 0..4),
        btree_map(4u32..9, 1u32..4, 0..4),
    )
}

fn with_segments(
    (vteps, lists, referrers, node): (BTreeMap<u32, u8>, Lists, Referrers, Node),
) -> impl Strategy<Value = Image> {
    let mut ids: Vec<u32> = lists.keys().copied().collect();
    ids.push(0);
    // Those of ports, and the one of all else.
    let vnis = proptest::sample::select(vec![1, 2, 3, 7]);
    btree_map(vnis, proptest::sample::select(ids), 0..5)
        .prop_map(move |segments| build(&vteps, &lists, &referrers, &node, &segments))
}

fn build(
    vteps: &BTreeMap<u32, u8>,
    lists: &Lists,
    referrers: &Referrers,
    node: &Node,
    segments: &BTreeMap<u32, u32>,
) -> Image {
    let mut image = Image::default();
    for (id, remote) in vteps {
        let remote = [*remote; 16];
        image.vteps.insert(*id, VtepEntry { remote, ..VTEP });
    }
    for (vni, flood_id) in segments {
        let flood_id = *flood_id;
        image.segments.insert(*vni, SegmentEntry { flood_id, ..SEGMENT });
    }
    write_lists(&mut image, lists);
    write_referrers(&mut image, referrers);
    write_node(&mut image, node);
    keep_in_segments(&mut image);
    image
}

/// Removes what is in no segment.
fn keep_in_segments(image: &mut Image) {
    let Image { segments, members, fdb, neigh, ports, .. } = image;
    members.retain(|key, _| segments.contains_key(&key.vni));
    fdb.retain(|key, _| segments.contains_key(&key.vni));
    neigh.retain(|key, _| segments.contains_key(&key.vni));
    ports.retain(|_, port| segments.contains_key(&port.vni));
}

fn write_lists(image: &mut Image, lists: &Lists) {
    for (list, chunks) in lists {
        let keys = (0u32..).map(|chunk| FloodKey { flood_id: *list, chunk });
        for (key, ids) in keys.zip(chunks) {
            let last = usize::try_from(key.chunk).unwrap() + 1 == chunks.len();
            image.flood.insert(key, chunk(ids, !last));
        }
    }
}

fn write_referrers(image: &mut Image, (sources, members, stations): &Referrers) {
    image.sources = sources.iter().map(|(k, v)| ([*k; 16], *v)).collect();
    for (key, vtep) in members {
        let key = MemberKey { source: [*key; 16], ..MEMBER_KEY };
        image.members.insert(key, MemberEntry { vtep: *vtep, ..MEMBER });
    }
    for (mac, (is_port, target)) in stations {
        let key = FdbKey { mac: [*mac; 6], ..FDB_KEY };
        let kind = if *is_port { target_kind::PORT } else { target_kind::VTEP };
        let entry = FdbEntry { kind, flags: 0, group: 1, target: *target };
        image.fdb.insert(key, entry);
    }
}

fn write_node(image: &mut Image, (config, uplinks, neigh, ports): &Node) {
    image.config = config.map(|port| ConfigEntry { port, ..CONFIG });
    for (device, l2_len) in uplinks {
        let entry = UplinkEntry { l2_len: *l2_len, ..UplinkEntry::new(None) };
        image.uplinks.insert(*device, entry);
        image.locals.insert(ip16_from_v4(device.to_be_bytes()), LocalEntry { flags: 0 });
    }
    for (ip, mac) in neigh {
        let key = NeighKey { vni: 7, ip: [*ip; 16] };
        image.neigh.insert(key, NeighEntry { mac: [*mac; 6], flags: 0 });
    }
    for (device, vni) in ports {
        image.ports.insert(*device, PortEntry { vni: *vni, ..PORT });
        let device = IfIndex(*device);
        image.hooks.insert(Hook { device, program: Program::PortRx });
    }
}

fn chunk(ids: &[u32], more: bool) -> FloodChunk {
    let count = u32::try_from(ids.len()).unwrap();
    let mut chunk = FloodChunk { count, more: u32::from(more), ..CHUNK };
    for (entry, id) in chunk.entries.iter_mut().zip(ids) {
        *entry = FloodEntry { kind: target_kind::VTEP, flags: 0, group: 1, target: *id };
    }
    chunk
}

pub(super) const CONFIG: ConfigEntry =
    ConfigEntry { abi: 1, port: 0, mark: 0, vxlan_ifindex: 0, flags: 0, local: [0; 16] };
pub(super) const SEGMENT: SegmentEntry = SegmentEntry { flood_id: 0, flags: 0, slot: 1, mtu: 1400 };
pub(super) const MEMBER_KEY: MemberKey = MemberKey { vni: 7, source: [0; 16] };
pub(super) const MEMBER: MemberEntry = MemberEntry { vtep: 1, group: 1, flags: 0, slot: 0 };
pub(super) const FDB_KEY: FdbKey = FdbKey { vni: 7, mac: [2; 6], pad: [0; 2] };
pub(super) const PORT: PortEntry =
    PortEntry { vni: 7, flags: 0, slot: 1, ipv4: [0; 4], ipv6: [0; 16], mac: [2; 6], group: 0 };
pub(super) const NO_PATH: PathEntry =
    PathEntry { ifindex: 0, mtu: 0, state: 0, header: [0; HEADER_CAPACITY] };
pub(super) const VTEP: VtepEntry = VtepEntry {
    flags: 0,
    n_paths: 0,
    remote: [0; 16],
    local: [0; 16],
    paths: [NO_PATH; PATHS_MAX],
};
pub(super) const CHUNK: FloodChunk = FloodChunk {
    count: 0,
    more: 0,
    entries: [FloodEntry { kind: 0, flags: 0, group: 0, target: 0 }; FLOOD_CHUNK],
};
