use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::{
    ids::{Group, IfIndex, VtepId},
    maps::{FdbEntry, FloodChunk, FloodKey, PortEntry, SegmentEntry, target_kind},
};
use proptest::prelude::*;

use super::{
    generate::{CHUNK, FDB_KEY, MEMBER, MEMBER_KEY, PORT, SEGMENT, VTEP, images},
    *,
};
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
            prop_assert!(has_receivers(&image), "after {}", change);
        }
    }

    /// Any changes may fail: those that would lean on them wait.
    #[test]
    fn changes_without_obstacle_leave_nothing_dangling_whatever_failed(
        actual in images(), desired in images(), failing in any::<u64>(),
    ) {
        let mut image = actual.clone();
        for (place, change) in diff(&desired, &actual).iter().enumerate() {
            let fails = failing >> (place % 64) & 1 == 1;
            if fails || obstacle(change, &image).is_some() {
                continue;
            }
            apply(&mut image, change);
            prop_assert_eq!(dangling(&image), None, "after {}", change);
        }
    }

    #[test]
    fn no_change_of_a_plan_that_succeeds_meets_an_obstacle(
        actual in images(), desired in images()
    ) {
        let mut image = actual.clone();
        for change in diff(&desired, &actual) {
            prop_assert_eq!(obstacle(&change, &image), None, "before {}", change);
            apply(&mut image, &change);
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
        let sizes: [fn(&Image) -> usize; 6] = [
            |image| image.ports.len(),
            |image| image.neigh.len(),
            |image| image.fdb.len(),
            |image| image.members.len(),
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
    let vtep = |id| FdbEntry::vtep(VtepId(id), Group::MESH);
    let mut actual = Image::default();
    actual.vteps.extend([(1, VTEP), (2, VTEP)]);
    actual.fdb.insert(FDB_KEY, vtep(1));
    let mut desired = actual.clone();
    desired.fdb.insert(FDB_KEY, vtep(2));
    assert_eq!(diff(&desired, &actual), [Change::PutFdb(FDB_KEY, vtep(2))]);
}

#[test]
fn a_changed_flood_list_is_written_beside_the_old_one_which_goes_last() {
    let list = |id| FloodKey { flood_id: id, chunk: 0 };
    let chunk = |count| FloodChunk { count, ..CHUNK };
    let mut actual = Image::default();
    actual.flood.insert(list(1), chunk(1));
    actual.segments.insert(7, SegmentEntry { flood_id: 1, ..SEGMENT });
    let mut desired = Image::default();
    desired.flood.insert(list(2), chunk(2));
    desired.segments.insert(7, SegmentEntry { flood_id: 2, ..SEGMENT });
    let changes = diff(&desired, &actual);
    assert_eq!(
        changes,
        [
            Change::PutFlood(list(2), Box::new(chunk(2))),
            Change::PutSegment(7, SegmentEntry { flood_id: 2, ..SEGMENT }),
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
    assert!(place(&Change::DeleteVtep(1)) < put && put.is_some(), "{changes:?}");
}

#[test]
fn a_segment_waits_for_a_member_that_could_not_be_deleted() {
    let mut image = Image::default();
    image.segments.insert(7, SEGMENT);
    image.members.insert(MEMBER_KEY, MEMBER);
    let why = obstacle(&Change::DeleteSegment(7), &image);
    assert_eq!(why.as_deref(), Some("segment 7 is in use"));
    image.members.clear();
    assert_eq!(obstacle(&Change::DeleteSegment(7), &image), None);
}

#[test]
fn a_segment_goes_after_the_port_that_leaves_it() {
    let (mut actual, mut desired) = (Image::default(), Image::default());
    actual.segments.insert(7, SEGMENT);
    actual.ports.insert(4, PORT);
    let moved = PortEntry { vni: 8, ..PORT };
    desired.segments.insert(8, SEGMENT);
    desired.ports.insert(4, moved);
    let put = [Change::PutSegment(8, SEGMENT), Change::PutPort(4, moved)];
    assert_eq!(diff(&desired, &actual), [&put[..], &[Change::DeleteSegment(7)]].concat());
}

#[test]
fn a_program_is_attached_last_and_detached_first() {
    let hook = Hook { device: IfIndex(7), program: Program::PortRx };
    let mut image = Image::default();
    image.ports.insert(7, PORT);
    image.hooks.insert(hook);
    let (port, empty) = (Change::PutPort(7, PORT), Image::default());
    assert_eq!(diff(&image, &empty), [port, Change::Attach(hook)]);
    assert_eq!(diff(&empty, &image), [Change::Detach(hook), Change::DeletePort(7)]);
}

/// Whether every receiver of every flood list is there.
fn has_receivers(image: &Image) -> bool {
    let receivers = image.flood.values().flat_map(|chunk| &chunk.entries);
    let mut vteps = receivers.filter(|entry| entry.kind == target_kind::VTEP);
    vteps.all(|entry| image.vteps.contains_key(&entry.target))
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
