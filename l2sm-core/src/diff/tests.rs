use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::{
    abi::FLOOD_CHUNK,
    ids::{IfIndex, Ip16, VtepId, ip16_from_v4},
    maps::{
        ConfigEntry, FdbEntry, FdbKey, FloodChunk, FloodEntry, FloodKey, HEADER_CAPACITY,
        LocalEntry, MemberEntry, MemberKey, NeighEntry, NeighKey, PATHS_MAX, PathEntry, PortEntry,
        SegmentEntry, UplinkEntry, VtepEntry, target_kind,
    },
};
use proptest::{collection::btree_map, option, prelude::*, sample::subsequence};

use super::*;
use crate::image::{Hook, Image, Program};

proptest! {
    #[test]
    fn applying_the_changes_reaches_the_desired_image(actual in images(), desired in images()) {
        let mut image = actual.clone();
        for change in diff(&desired, &actual) {
            apply(&mut image, &change);
        }
        prop_assert_eq!(&image, &desired);
        prop_assert_eq!(diff(&desired, &image), Vec::new());
    }

    #[test]
    fn nothing_ever_refers_to_what_is_not_there(actual in images(), desired in images()) {
        let mut image = actual.clone();
        prop_assert_eq!(dangling(&image), None, "the generator's images hold together");
        for change in diff(&desired, &actual) {
            apply(&mut image, &change);
            prop_assert_eq!(dangling(&image), None, "after {}", change);
        }
    }

    #[test]
    fn what_both_images_have_is_never_absent(actual in images(), desired in images()) {
        let both: BTreeSet<String> = keys(&actual).intersection(&keys(&desired)).cloned().collect();
        let mut image = actual.clone();
        for change in diff(&desired, &actual) {
            apply(&mut image, &change);
            let missing: Vec<_> = both.difference(&keys(&image)).cloned().collect();
            prop_assert!(missing.is_empty(), "{missing:?} absent after {change}");
        }
    }

    #[test]
    fn a_value_is_put_once_and_only_where_it_changes(actual in images(), desired in images()) {
        let changes = diff(&desired, &actual);
        let mut lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
        lines.sort();
        let count = lines.len();
        lines.dedup();
        prop_assert_eq!(lines.len(), count, "no change twice: {:?}", lines);
        let mut image = actual.clone();
        for change in &changes {
            let before = image.clone();
            apply(&mut image, change);
            prop_assert_ne!(&image, &before, "{} changes something", change);
        }
    }

    #[test]
    fn a_map_never_holds_more_than_both_need(actual in images(), desired in images()) {
        // Maps that nothing refers to: what goes makes room for what comes.
        let most = |of: fn(&Image) -> usize| of(&actual).max(of(&desired));
        let sizes: [fn(&Image) -> usize; 7] = [
            |image| image.ports.len(),
            |image| image.neigh.len(),
            |image| image.fdb.len(),
            |image| image.members.len(),
            |image| image.segments.len(),
            |image| image.sources.len(),
            |image| image.uplinks.len(),
        ];
        let mut image = actual.clone();
        for change in diff(&desired, &actual) {
            apply(&mut image, &change);
            for size in sizes {
                prop_assert!(size(&image) <= most(size), "after {change}");
            }
        }
    }

    #[test]
    fn a_change_is_one_line(actual in images(), desired in images()) {
        for change in diff(&desired, &actual) {
            let line = change.to_string();
            prop_assert!(!line.is_empty() && !line.contains('\n'), "{line}");
            let map = change.map().unwrap_or("device");
            prop_assert!(line.contains(map), "{line}");
        }
    }
}

#[test]
fn a_moved_address_is_one_put() {
    let vtep = |id| FdbEntry::vtep(VtepId(id), l2sm_common::ids::Group::MESH);
    let mut actual = Image::default();
    actual.vteps.extend([(1, VTEP), (2, VTEP)]);
    actual.fdb.insert(FDB_KEY, vtep(1));
    let mut desired = actual.clone();
    desired.fdb.insert(FDB_KEY, vtep(2));
    assert_eq!(diff(&desired, &actual), [Change::PutFdb(FDB_KEY, vtep(2))]);
}

#[test]
fn a_changed_flood_list_is_written_beside_the_old_one_which_goes_last() {
    let list = |id| FloodKey {
        flood_id: id,
        chunk: 0,
    };
    let chunk = |count| FloodChunk { count, ..CHUNK };
    let mut actual = Image::default();
    actual.flood.insert(list(1), chunk(1));
    actual.segments.insert(
        7,
        SegmentEntry {
            flood_id: 1,
            ..SEGMENT
        },
    );
    let mut desired = Image::default();
    desired.flood.insert(list(2), chunk(2));
    desired.segments.insert(
        7,
        SegmentEntry {
            flood_id: 2,
            ..SEGMENT
        },
    );
    let changes = diff(&desired, &actual);
    assert_eq!(
        changes,
        [
            Change::PutFlood(list(2), Box::new(chunk(2))),
            Change::PutSegment(
                7,
                SegmentEntry {
                    flood_id: 2,
                    ..SEGMENT
                }
            ),
            Change::DeleteFlood(list(1)),
        ]
    );
    let retired: Vec<_> = changes.iter().map(Change::retires_flood_list).collect();
    assert_eq!(retired, [None, None, Some(1)]);
}

#[test]
fn a_full_map_of_vteps_has_room_for_one_that_replaces_another() {
    let mut actual = Image::default();
    actual.vteps.insert(1, VTEP);
    actual.sources.insert([1; 16], 1);
    let mut desired = Image::default();
    desired.vteps.insert(2, VTEP);
    desired.sources.insert([2; 16], 2);
    let changes = diff(&desired, &actual);
    let place = |wanted: &Change| changes.iter().position(|change| change == wanted);
    let put = place(&Change::PutVtep(2, Box::new(VTEP)));
    assert!(
        place(&Change::DeleteVtep(1)) < put && put.is_some(),
        "{changes:?}"
    );
}

#[test]
fn a_program_is_attached_last_and_detached_first() {
    let hook = Hook {
        device: IfIndex(7),
        program: Program::PortRx,
    };
    let mut image = Image::default();
    image.ports.insert(7, PORT);
    image.hooks.insert(hook);
    let (port, empty) = (Change::PutPort(7, PORT), Image::default());
    assert_eq!(diff(&image, &empty), [port, Change::Attach(hook)]);
    assert_eq!(
        diff(&empty, &image),
        [Change::Detach(hook), Change::DeletePort(7)]
    );
}

/// The first reference of an image that leads nowhere.
fn dangling(image: &Image) -> Option<String> {
    let vtep = |id: &u32| image.vteps.contains_key(id);
    let lists = image.segments.iter().filter(|(_, segment)| {
        let first = FloodKey {
            flood_id: segment.flood_id,
            chunk: 0,
        };
        segment.flood_id != 0 && !image.flood.contains_key(&first)
    });
    let lists = lists.map(|(vni, segment)| format!("vni {vni}: flood list {}", segment.flood_id));
    let more = image.flood.iter().filter(|(key, chunk)| {
        let next = FloodKey {
            chunk: key.chunk + 1,
            ..**key
        };
        chunk.more != 0 && !image.flood.contains_key(&next)
    });
    let more = more.map(|(key, _)| format!("{key:?}: next chunk"));
    let stations = image
        .fdb
        .iter()
        .filter(|(_, entry)| entry.kind == target_kind::VTEP && !vtep(&entry.target));
    let stations = stations.map(|(key, entry)| format!("{key:?}: vtep {}", entry.target));
    let members = image
        .members
        .iter()
        .filter(|(_, member)| !vtep(&member.vtep));
    let members = members.map(|(key, member)| format!("{key:?}: vtep {}", member.vtep));
    let sources = image.sources.iter().filter(|(_, id)| !vtep(id));
    let sources = sources.map(|(key, id)| format!("{key:?}: vtep {id}"));
    let receivers = image.flood.iter().filter(|(_, chunk)| {
        chunk
            .entries
            .iter()
            .any(|entry| entry.kind == target_kind::VTEP && !vtep(&entry.target))
    });
    let receivers = receivers.map(|(key, _)| format!("{key:?}: a receiver"));
    lists
        .chain(more)
        .chain(stations)
        .chain(members)
        .chain(sources)
        .chain(receivers)
        .next()
}

/// Every key of an image.
fn keys(image: &Image) -> BTreeSet<String> {
    fn of<K: core::fmt::Debug, V>(name: &'static str, map: &BTreeMap<K, V>) -> Vec<String> {
        map.keys().map(|key| format!("{name} {key:?}")).collect()
    }
    let hooks = image.hooks.iter().map(ToString::to_string).collect();
    let tables = [
        of("UPLINKS", &image.uplinks),
        of("LOCALS", &image.locals),
        of("VTEPS", &image.vteps),
        of("SOURCES", &image.sources),
        of("FLOOD", &image.flood),
        of("SEGMENTS", &image.segments),
        of("MEMBERS", &image.members),
        of("FDB", &image.fdb),
        of("NEIGH", &image.neigh),
        of("PORTS", &image.ports),
        hooks,
    ];
    tables.into_iter().flatten().collect()
}

/// Images whose references all lead somewhere; small, so that two have much in common.
fn images() -> impl Strategy<Value = Image> {
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
    btree_map(
        1u32..5,
        prop::collection::vec(subsequence(ids, 0..=count), 1..4),
        1..4,
    )
}

type Referrers = (
    BTreeMap<u8, u32>,
    BTreeMap<u8, u32>,
    BTreeMap<u8, (bool, u32)>,
);

/// Sources, members and stations, with the VTEPs that they name.
fn referrers(ids: Vec<u32>) -> impl Strategy<Value = Referrers> {
    let id = proptest::sample::select(ids);
    (
        btree_map(0u8..6, id.clone(), 0..4),
        btree_map(0u8..6, id.clone(), 0..4),
        btree_map(0u8..6, (any::<bool>(), id), 0..4),
    )
}

type Node = (
    Option<u32>,
    BTreeMap<u32, u32>,
    BTreeMap<u8, u8>,
    BTreeMap<u32, u32>,
);

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
    btree_map(1u32..6, proptest::sample::select(ids), 0..4)
        .prop_map(move |segments| build(&vteps, &lists, &referrers, &node, &segments))
}

fn build(
    vteps: &BTreeMap<u32, u8>,
    lists: &Lists,
    (sources, members, stations): &Referrers,
    (config, uplinks, neigh, ports): &Node,
    segments: &BTreeMap<u32, u32>,
) -> Image {
    let mut image = Image {
        config: config.map(|port| ConfigEntry { port, ..CONFIG }),
        ..Image::default()
    };
    image.uplinks = uplinks
        .iter()
        .map(|(k, v)| {
            (
                *k,
                UplinkEntry {
                    l2_len: *v,
                    flags: 0,
                },
            )
        })
        .collect();
    image.locals = uplinks
        .keys()
        .map(|k| (address(*k), LocalEntry { flags: 0 }))
        .collect();
    let vtep = |(id, remote): (&u32, &u8)| {
        (
            *id,
            VtepEntry {
                remote: [*remote; 16],
                ..VTEP
            },
        )
    };
    image.vteps = vteps.iter().map(vtep).collect();
    image.sources = sources.iter().map(|(k, v)| ([*k; 16], *v)).collect();
    for (list, chunks) in lists {
        for (index, ids) in (0u32..).zip(chunks) {
            let last = usize::try_from(index).unwrap() + 1 == chunks.len();
            image.flood.insert(
                FloodKey {
                    flood_id: *list,
                    chunk: index,
                },
                chunk(ids, !last),
            );
        }
    }
    let segment = |(vni, list): (&u32, &u32)| {
        (
            *vni,
            SegmentEntry {
                flood_id: *list,
                ..SEGMENT
            },
        )
    };
    image.segments = segments.iter().map(segment).collect();
    for (key, vtep) in members {
        let member = MemberEntry {
            vtep: *vtep,
            group: 1,
            flags: 0,
        };
        image.members.insert(
            MemberKey {
                vni: 7,
                source: [*key; 16],
            },
            member,
        );
    }
    for (mac, (is_port, id)) in stations {
        let kind = if *is_port {
            target_kind::PORT
        } else {
            target_kind::VTEP
        };
        let entry = FdbEntry {
            kind,
            flags: 0,
            group: 1,
            target: *id,
        };
        image.fdb.insert(
            FdbKey {
                mac: [*mac; 6],
                ..FDB_KEY
            },
            entry,
        );
    }
    for (ip, mac) in neigh {
        let entry = NeighEntry {
            mac: [*mac; 6],
            flags: 0,
        };
        image.neigh.insert(
            NeighKey {
                vni: 7,
                ip: [*ip; 16],
            },
            entry,
        );
    }
    for (device, vni) in ports {
        image.ports.insert(*device, PortEntry { vni: *vni, ..PORT });
        image.hooks.insert(Hook {
            device: IfIndex(*device),
            program: Program::PortRx,
        });
    }
    image
}

fn chunk(ids: &[u32], more: bool) -> FloodChunk {
    let mut chunk = FloodChunk {
        count: u32::try_from(ids.len()).unwrap(),
        more: u32::from(more),
        ..CHUNK
    };
    for (entry, id) in chunk.entries.iter_mut().zip(ids) {
        *entry = FloodEntry {
            kind: target_kind::VTEP,
            flags: 0,
            group: 1,
            target: *id,
        };
    }
    chunk
}

fn address(number: u32) -> Ip16 {
    ip16_from_v4(number.to_be_bytes())
}

const CONFIG: ConfigEntry = ConfigEntry {
    abi: 1,
    port: 0,
    mark: 0,
    vxlan_ifindex: 0,
    flags: 0,
};
const SEGMENT: SegmentEntry = SegmentEntry {
    flood_id: 0,
    flags: 0,
    slot: 1,
    mtu: 1400,
};
const FDB_KEY: FdbKey = FdbKey {
    vni: 7,
    mac: [2; 6],
    pad: [0; 2],
};
const PORT: PortEntry = PortEntry {
    vni: 7,
    flags: 0,
    slot: 1,
    ipv4: [0; 4],
    ipv6: [0; 16],
    mac: [2; 6],
    group: 0,
};
const NO_PATH: PathEntry = PathEntry {
    ifindex: 0,
    mtu: 0,
    state: 0,
    header: [0; HEADER_CAPACITY],
};
const VTEP: VtepEntry = VtepEntry {
    flags: 0,
    n_paths: 0,
    remote: [0; 16],
    local: [0; 16],
    paths: [NO_PATH; PATHS_MAX],
};
const CHUNK: FloodChunk = FloodChunk {
    count: 0,
    more: 0,
    entries: [FloodEntry {
        kind: 0,
        flags: 0,
        group: 0,
        target: 0,
    }; FLOOD_CHUNK],
};
