//! Numbers that this node's agent gives out. Each keeps its meaning for as long as anything may
//! refer to it, across restarts of the agent: they are read back from the pinned maps.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::{
    abi::SLOTS_CAPACITY,
    ids::{FloodId, Ip16, VtepId},
    maps::target_kind,
};

use super::Image;

/// Numbers of VTEPs, by remote address.
pub(super) struct VtepIds<'a> {
    previous: &'a Image,
    known: BTreeMap<Ip16, u32>,
    /// Looked for when the first new one is wanted: it takes a look at every station.
    numbers: Option<Numbers>,
}

impl<'a> VtepIds<'a> {
    /// The numbers that `previous` gives out.
    pub(super) fn read(previous: &'a Image) -> Self {
        let known = previous.vteps.iter().map(|(id, vtep)| (vtep.remote, *id)).collect();
        Self { previous, known, numbers: None }
    }

    /// The number of the VTEP at `remote`.
    pub(super) fn number(&mut self, remote: Ip16) -> VtepId {
        if let Some(known) = self.known.get(&remote) {
            return VtepId(*known);
        }
        let numbers = self.numbers.get_or_insert_with(|| Numbers::new(vteps_in_use(self.previous)));
        let number = numbers.next();
        self.known.insert(remote, number);
        VtepId(number)
    }
}

/// The numbers of VTEPs that an image gives out or refers to.
fn vteps_in_use(image: &Image) -> BTreeSet<u32> {
    let stations = image.fdb.values();
    let stations =
        stations.filter(|entry| entry.kind == target_kind::VTEP).map(|entry| entry.target);
    let receivers = image.flood.values().flat_map(|chunk| &chunk.entries);
    let receivers =
        receivers.filter(|entry| entry.kind == target_kind::VTEP).map(|entry| entry.target);
    let used = image.vteps.keys().copied().chain(image.sources.values().copied());
    let used = used.chain(image.members.values().map(|member| member.vtep));
    used.chain(stations).chain(receivers).collect()
}

/// Numbers of flood lists.
pub(super) struct FloodIds(Numbers);

impl FloodIds {
    /// All but the numbers that `previous` has lists for, or names.
    pub(super) fn read(previous: &Image) -> Self {
        let lists = previous.flood.keys().map(|key| key.flood_id);
        let named = previous.segments.values().map(|segment| segment.flood_id);
        Self(Numbers::new(lists.chain(named).collect()))
    }

    /// A number that no list has.
    pub(super) fn new_number(&mut self) -> FloodId {
        FloodId(self.0.next())
    }
}

/// Counter slots, by VNI.
pub(super) struct Slots {
    known: BTreeMap<u32, u32>,
    used: BTreeSet<u32>,
    next: u32,
}

impl Slots {
    /// The slots of `previous`. Of two segments that claim one slot the first keeps it.
    pub(super) fn read(previous: &Image) -> Self {
        let mut known = BTreeMap::new();
        let mut used = BTreeSet::new();
        for (vni, segment) in &previous.segments {
            let fits = usize::try_from(segment.slot).is_ok_and(|slot| slot < SLOTS_CAPACITY);
            if segment.slot != 0 && fits && used.insert(segment.slot) {
                known.insert(*vni, segment.slot);
            }
        }
        Self { known, used, next: 1 }
    }

    /// The slot of `vni`; `None` when all are in use.
    pub(super) fn slot(&mut self, vni: u32) -> Option<u32> {
        if let Some(slot) = self.known.get(&vni) {
            return Some(*slot);
        }
        while self.used.contains(&self.next) {
            self.next += 1;
        }
        if usize::try_from(self.next).is_ok_and(|slot| slot >= SLOTS_CAPACITY) {
            return None;
        }
        self.used.insert(self.next);
        self.known.insert(vni, self.next);
        Some(self.next)
    }
}

/// Gives out numbers from 1 on. A number just freed comes back as late as can be: a frame in flight
/// may still carry it.
struct Numbers {
    used: BTreeSet<u32>,
    last: u32,
}

impl Numbers {
    fn new(used: BTreeSet<u32>) -> Self {
        let last = used.last().copied().unwrap_or(0);
        Self { used, last }
    }

    fn next(&mut self) -> u32 {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if self.used.insert(self.last) {
                return self.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_one_and_skip_what_is_used() {
        let mut numbers = Numbers::new(BTreeSet::new());
        assert_eq!([numbers.next(), numbers.next()], [1, 2]);
        let mut numbers = Numbers::new(BTreeSet::from([1, u32::MAX]));
        assert_eq!([numbers.next(), numbers.next()], [2, 3], "wraps without using zero");
    }

    #[test]
    fn slots_end() {
        let mut slots = Slots::read(&Image::default());
        let last = u32::try_from(SLOTS_CAPACITY).unwrap() - 1;
        for vni in 1..=last {
            assert_eq!(slots.slot(vni), Some(vni));
        }
        assert_eq!(slots.slot(last + 1), None);
        assert_eq!(slots.slot(last), Some(last), "a known one keeps its slot");
    }
}
