//! The order of changes.

use std::collections::{BTreeMap, BTreeSet, btree_map::Range};

use l2sm_common::maps::target_kind;

use super::Change;
use crate::image::{Image, InSegment};

/// The changes that lead from `actual` to `desired`, to be made in this order.
///
/// First goes what nothing needs any more, referrers before what they refer to; so a full map has
/// room. Then the puts, referred before referrers. What the old state still referred to until
/// then goes last: segments that ports leave, flood lists that `SEGMENTS` named, VTEPs that were
/// targets.
pub fn diff(desired: &Image, actual: &Image) -> Vec<Change> {
    diff_within(desired, actual, &Extent::All)
}

/// The segments whose known stations may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Any.
    All,
    /// These, by VNI.
    Segments(BTreeSet<u32>),
}

/// [`diff`] of images that have the same stations but for those of some segments: of the others, `FDB`
/// and `NEIGH` are not looked at.
pub fn diff_within(desired: &Image, actual: &Image, extent: &Extent) -> Vec<Change> {
    let left = left(desired, actual);
    let mut plan = Plan { desired, actual, extent, left, changes: Vec::new() };
    plan.detach();
    plan.delete_referrers();
    let lists = plan.delete_flood(None);
    let vteps = plan.delete_vteps(None);
    plan.put_referred();
    plan.put_referrers();
    plan.attach();
    plan.delete_left_segments();
    plan.delete_flood(Some(&lists));
    plan.delete_vteps(Some(&vteps));
    plan.changes
}

/// A plan in the making.
struct Plan<'a> {
    desired: &'a Image,
    actual: &'a Image,
    extent: &'a Extent,
    /// Segments that go when the ports have left them.
    left: BTreeSet<u32>,
    changes: Vec<Change>,
}

impl Plan<'_> {
    /// Programs go before what they read.
    fn detach(&mut self) {
        let gone = self.actual.hooks.difference(&self.desired.hooks);
        self.changes.extend(gone.map(|hook| Change::Detach(*hook)));
    }

    /// Programs come when all that they read is there.
    fn attach(&mut self) {
        let new = self.desired.hooks.difference(&self.actual.hooks);
        self.changes.extend(new.map(|hook| Change::Attach(*hook)));
    }

    /// Deletes from the maps that no other map refers to, and then segments, which ports, members
    /// and known addresses refer to.
    fn delete_referrers(&mut self) {
        let Self { desired, actual, extent, left, changes } = self;
        delete(&actual.ports, &desired.ports, changes, Change::DeletePort);
        for (actual, desired) in extent.of(&actual.neigh, &desired.neigh) {
            delete(actual, desired, changes, Change::DeleteNeigh);
        }
        for (actual, desired) in extent.of(&actual.fdb, &desired.fdb) {
            delete(actual, desired, changes, Change::DeleteFdb);
        }
        delete(&actual.members, &desired.members, changes, Change::DeleteMember);
        let segments = actual.segments.keys();
        let gone =
            segments.filter(|vni| !desired.segments.contains_key(vni) && !left.contains(vni));
        changes.extend(gone.map(|vni| Change::DeleteSegment(*vni)));
        delete(&actual.sources, &desired.sources, changes, Change::DeleteSource);
    }

    /// Deletes the segments that ports named until they were put.
    fn delete_left_segments(&mut self) {
        self.changes.extend(self.left.iter().map(|vni| Change::DeleteSegment(*vni)));
    }

    /// Deletes the chunks that are not desired. Before the puts (`done` is `None`): of lists that no
    /// remaining segment names; returns their numbers. After the puts: of all others.
    fn delete_flood(&mut self, done: Option<&BTreeSet<u32>>) -> BTreeSet<u32> {
        let Self { desired, actual, left, changes, .. } = self;
        let kept: BTreeSet<u32> = desired.flood.keys().map(|key| key.flood_id).collect();
        let named: BTreeSet<u32> = remaining(&actual.segments, &desired.segments)
            .chain(left.iter().filter_map(|vni| actual.segments.get(vni)))
            .map(|segment| segment.flood_id)
            .collect();
        let mut deleted = BTreeSet::new();
        for key in actual.flood.keys().filter(|key| !desired.flood.contains_key(key)) {
            let list = key.flood_id;
            let now = match done {
                Some(done) => !done.contains(&list),
                None => !kept.contains(&list) && !named.contains(&list),
            };
            if now {
                changes.push(Change::DeleteFlood(*key));
                deleted.insert(list);
            }
        }
        deleted
    }

    /// Deletes the VTEPs that are not desired. Before the puts (`done` is `None`): those that
    /// nothing of what remains refers to; returns their numbers. After the puts: all others.
    fn delete_vteps(&mut self, done: Option<&BTreeSet<u32>>) -> BTreeSet<u32> {
        let gone = self.actual.vteps.keys().filter(|id| !self.desired.vteps.contains_key(id));
        let mut gone: BTreeSet<u32> = gone.copied().collect();
        if gone.is_empty() {
            return gone;
        }
        if let Some(done) = done {
            gone.retain(|id| !done.contains(id));
        } else {
            let targets = self.remaining_targets();
            gone.retain(|id| !targets.contains(id));
        }
        self.changes.extend(gone.iter().map(|id| Change::DeleteVtep(*id)));
        gone
    }

    /// The VTEPs that are referred to when the referrers that are not desired have gone and nothing
    /// has been put. Flood lists count whole: those that no segment names may be walked still.
    fn remaining_targets(&self) -> BTreeSet<u32> {
        let Self { desired, actual, .. } = self;
        let stations = remaining(&actual.fdb, &desired.fdb)
            .filter(|entry| entry.kind == target_kind::VTEP)
            .map(|entry| entry.target);
        let members = remaining(&actual.members, &desired.members).map(|member| member.vtep);
        let sources = remaining(&actual.sources, &desired.sources).copied();
        let receivers = actual.flood.values().flat_map(|chunk| &chunk.entries);
        let receivers =
            receivers.filter(|entry| entry.kind == target_kind::VTEP).map(|entry| entry.target);
        stations.chain(members).chain(sources).chain(receivers).collect()
    }

    /// Puts what others refer to.
    fn put_referred(&mut self) {
        let Self { desired, actual, changes, .. } = self;
        match (desired.config, actual.config) {
            (Some(config), before) if before != Some(config) => {
                changes.push(Change::PutConfig(config));
            }
            (None, Some(_)) => changes.push(Change::ClearConfig),
            _ => {}
        }
        delete(&actual.uplinks, &desired.uplinks, changes, Change::DeleteUplink);
        put(&desired.uplinks, &actual.uplinks, changes, Change::PutUplink);
        delete(&actual.locals, &desired.locals, changes, Change::DeleteLocal);
        put(&desired.locals, &actual.locals, changes, Change::PutLocal);
        let vtep = |id, vtep| Change::PutVtep(id, Box::new(vtep));
        put(&desired.vteps, &actual.vteps, changes, vtep);
        put(&desired.sources, &actual.sources, changes, Change::PutSource);
        let chunks = changes.len();
        let chunk = |key, chunk| Change::PutFlood(key, Box::new(chunk));
        put(&desired.flood, &actual.flood, changes, chunk);
        // Last chunk first: the one before it says "more" only when there is more.
        if let Some(chunks) = changes.get_mut(chunks..) {
            chunks.reverse();
        }
    }

    /// Puts what refers to others.
    fn put_referrers(&mut self) {
        let Self { desired, actual, extent, changes, .. } = self;
        put(&desired.segments, &actual.segments, changes, Change::PutSegment);
        put(&desired.members, &actual.members, changes, Change::PutMember);
        for (desired, actual) in extent.of(&desired.fdb, &actual.fdb) {
            put(desired, actual, changes, Change::PutFdb);
        }
        for (desired, actual) in extent.of(&desired.neigh, &actual.neigh) {
            put(desired, actual, changes, Change::PutNeigh);
        }
        put(&desired.ports, &actual.ports, changes, Change::PutPort);
    }
}

/// The segments to be deleted that ports name which move to another.
fn left(desired: &Image, actual: &Image) -> BTreeSet<u32> {
    let named = remaining(&actual.ports, &desired.ports).map(|port| port.vni);
    let gone = |vni: &u32| actual.segments.contains_key(vni) && !desired.segments.contains_key(vni);
    named.filter(gone).collect()
}

impl Extent {
    /// The parts of two maps that are to be compared with each other.
    fn of<'a, K: InSegment, V>(
        &self,
        one: &'a BTreeMap<K, V>,
        other: &'a BTreeMap<K, V>,
    ) -> Vec<(Range<'a, K, V>, Range<'a, K, V>)> {
        match self {
            Self::All => vec![(one.range(..), other.range(..))],
            Self::Segments(vnis) => {
                let part = |vni: &u32| (one.range(K::range(*vni)), other.range(K::range(*vni)));
                vnis.iter().map(part).collect()
            }
        }
    }
}

/// A deletion for each key that only `actual` has.
fn delete<'a, K: Ord + Copy + 'a, V: 'a>(
    actual: impl IntoIterator<Item = (&'a K, &'a V)>,
    desired: impl IntoIterator<Item = (&'a K, &'a V)>,
    changes: &mut Vec<Change>,
    change: impl Fn(K) -> Change,
) {
    let gone = beside(actual, desired).filter(|(_key, _value, kept)| kept.is_none());
    changes.extend(gone.map(|(key, ..)| change(*key)));
}

/// A put for each entry that `actual` lacks, or has with another value.
fn put<'a, K: Ord + Copy + 'a, V: Copy + PartialEq + 'a>(
    desired: impl IntoIterator<Item = (&'a K, &'a V)>,
    actual: impl IntoIterator<Item = (&'a K, &'a V)>,
    changes: &mut Vec<Change>,
    change: impl Fn(K, V) -> Change,
) {
    let new = beside(desired, actual).filter(|(_key, value, before)| *before != Some(*value));
    changes.extend(new.map(|(key, value, _before)| change(*key, *value)));
}

/// The values that `actual` has under keys that `desired` has too.
fn remaining<'a, K: Ord, V>(
    actual: &'a BTreeMap<K, V>,
    desired: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a V> {
    let kept = beside(actual, desired).filter(|(_key, _value, kept)| kept.is_some());
    kept.map(|(_key, value, _kept)| value)
}

/// Every entry of one map, with what the other has under its key. Both are walked once, side by side,
/// which is quicker than a look-up for each.
fn beside<'a, K: Ord + 'a, V: 'a>(
    one: impl IntoIterator<Item = (&'a K, &'a V)>,
    other: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> impl Iterator<Item = (&'a K, &'a V, Option<&'a V>)> {
    let mut others = other.into_iter().peekable();
    one.into_iter().map(move |(key, value)| {
        while others.next_if(|(other, _value)| *other < key).is_some() {}
        let same = others.next_if(|(other, _value)| *other == key);
        (key, value, same.map(|(_key, value)| value))
    })
}
