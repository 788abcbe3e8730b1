//! The twin of the kernel side, in memory.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::maps::{DropKey, Traffic};
use l2sm_core::{
    diff::{Change, apply},
    image::{Hook, Image, keep_forwarder},
    slow_path::SlowPathCount,
};

use super::{Datapath, DatapathError};

/// Decides whether a change is refused.
type Refusal = Box<dyn Fn(&Change) -> bool + Send>;

/// A datapath that is an [`Image`], for tests of what stands on it.
#[derive(Default)]
pub struct MemoryDatapath {
    /// What the maps and hooks hold. A test may change it, as somebody else on the node would.
    pub image: Image,
    /// Every change that was applied, in order.
    pub applied: Vec<Change>,
    /// What [`Datapath::outdated`] says.
    pub outdated: BTreeSet<Hook>,
    /// What [`Datapath::settle`] brings to an end.
    pub unsettled: BTreeSet<Hook>,
    /// What [`Datapath::traffic`] says.
    pub traffic: BTreeMap<u32, Traffic>,
    /// What [`Datapath::drops`] says.
    pub drops: BTreeMap<DropKey, u64>,
    /// Whether [`Datapath::read`] fails.
    pub unreadable: bool,
    refusal: Option<Refusal>,
}

impl MemoryDatapath {
    /// A node where nothing is programmed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses from now on what `refuses` says, and only that.
    pub fn refuse(&mut self, refuses: impl Fn(&Change) -> bool + Send + 'static) {
        self.refusal = Some(Box::new(refuses));
    }

    /// Refuses nothing any more.
    pub fn accept_all(&mut self) {
        self.refusal = None;
    }
}

impl Datapath for MemoryDatapath {
    fn read(&mut self) -> Result<Image, DatapathError> {
        if self.unreadable {
            return Err(DatapathError::Refused("read".to_owned()));
        }
        Ok(self.image.clone())
    }

    fn outdated(&self) -> BTreeSet<Hook> {
        self.outdated.clone()
    }

    fn apply(&mut self, change: &Change) -> Result<(), DatapathError> {
        if self.refusal.as_ref().is_some_and(|refuses| refuses(change)) {
            return Err(DatapathError::Refused(change.to_string()));
        }
        self.applied.push(change.clone());
        if let Change::Attach(hook) | Change::Detach(hook) = change {
            self.outdated.remove(hook);
        }
        let Change::PutPort(device, port) = change else {
            apply(&mut self.image, change);
            return Ok(());
        };
        let before = self.image.ports.get(device);
        let port = before.map_or(*port, |before| keep_forwarder(*port, before));
        self.image.ports.insert(*device, port);
        Ok(())
    }

    fn settle(&mut self) -> Result<bool, DatapathError> {
        Ok(self.unsettled.pop_first().is_some())
    }

    fn traffic(&self) -> Result<BTreeMap<u32, Traffic>, DatapathError> {
        Ok(self.traffic.clone())
    }

    fn slow_path(&self, slots: &BTreeSet<u32>) -> Result<SlowPathCount, DatapathError> {
        let counted = slots.iter().filter_map(|slot| self.traffic.get(slot));
        Ok(counted.fold(SlowPathCount::default(), |sum, traffic| SlowPathCount {
            handed_up: sum.handed_up + traffic.slow_handed_up.packets,
            received: sum.received + traffic.slow_received.packets,
        }))
    }

    fn drops(&self) -> Result<BTreeMap<DropKey, u64>, DatapathError> {
        Ok(self.drops.clone())
    }
}

#[cfg(test)]
mod tests {
    use l2sm_common::maps::{PortEntry, port_flags};

    use super::*;

    const PORT: PortEntry =
        PortEntry { vni: 7, flags: 0, slot: 1, ipv4: [0; 4], ipv6: [0; 16], mac: [2; 6], group: 0 };

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut datapath = MemoryDatapath::new();
        datapath.refuse(|change| matches!(change, Change::PutPort(4, _)));
        let error = datapath.apply(&Change::PutPort(4, PORT)).unwrap_err();
        assert_eq!(error.to_string(), "put PORTS device 4: vni 7, 02:02:02:02:02:02: refused");
        datapath.apply(&Change::PutPort(5, PORT)).unwrap();
        assert_eq!(datapath.read().unwrap().ports, BTreeMap::from([(5, PORT)]));
    }

    #[test]
    fn a_forwarder_that_the_programs_marked_stays_one() {
        let mut datapath = MemoryDatapath::new();
        let marked = PortEntry { flags: port_flags::FORWARDER, ..PORT };
        datapath.image.ports.insert(5, marked);
        datapath.apply(&Change::PutPort(5, PORT)).unwrap();
        assert_eq!(datapath.image.ports[&5], marked);
        let other = PortEntry { mac: [4; 6], ..PORT };
        datapath.apply(&Change::PutPort(5, other)).unwrap();
        assert_eq!(datapath.image.ports[&5], other, "another pod on the same ifindex");
    }
}
