//! Known stations, kept by segment: what is the same in two instructions is there once, and is found to
//! be the same without a look at each station.

use std::{collections::BTreeMap, sync::Arc};

use l2sm_common::{mac::Mac, vni::Vni};

use super::Host;

/// Known stations by segment and MAC, in this order. A copy shares all segments with its origin until
/// one of both changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// None of them is empty.
    segments: BTreeMap<Vni, SegmentHosts>,
}

/// The stations of one segment by MAC.
pub type SegmentHosts = Arc<BTreeMap<Mac, Host>>;

impl Hosts {
    /// How many stations.
    pub fn len(&self) -> usize {
        self.segments.values().map(|hosts| hosts.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// One station.
    pub fn get(&self, (vni, mac): &(Vni, Mac)) -> Option<&Host> {
        self.segments.get(vni)?.get(mac)
    }

    /// One station, to change it.
    pub fn get_mut(&mut self, (vni, mac): &(Vni, Mac)) -> Option<&mut Host> {
        Arc::make_mut(self.segments.get_mut(vni)?).get_mut(mac)
    }

    /// Puts a station; what was known of it before.
    pub fn insert(&mut self, (vni, mac): (Vni, Mac), host: Host) -> Option<Host> {
        Arc::make_mut(self.segments.entry(vni).or_default()).insert(mac, host)
    }

    /// Forgets a station; what was known of it.
    pub fn remove(&mut self, (vni, mac): &(Vni, Mac)) -> Option<Host> {
        let hosts = self.segments.get_mut(vni)?;
        hosts.get(mac)?;
        let removed = Arc::make_mut(hosts).remove(mac);
        if hosts.is_empty() {
            self.segments.remove(vni);
        }
        removed
    }

    /// Puts all that `others` has.
    pub fn put_all(&mut self, others: Self) {
        for (vni, hosts) in others.segments {
            if let Some(before) = self.segments.get_mut(&vni) {
                Arc::make_mut(before).extend(Arc::unwrap_or_clone(hosts));
            } else {
                self.segments.insert(vni, hosts);
            }
        }
    }

    /// Forgets the stations that `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(&(Vni, Mac), &Host) -> bool) {
        for (vni, hosts) in &mut self.segments {
            if hosts.iter().any(|(mac, host)| !keep(&(*vni, *mac), host)) {
                Arc::make_mut(hosts).retain(|mac, host| keep(&(*vni, *mac), host));
            }
        }
        self.segments.retain(|_vni, hosts| !hosts.is_empty());
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = ((Vni, Mac), &Host)> {
        self.segments
            .iter()
            .flat_map(|(vni, hosts)| hosts.iter().map(|(mac, host)| ((*vni, *mac), host)))
    }

    /// Their keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = (Vni, Mac)> {
        self.iter().map(|(key, _host)| key)
    }

    /// What is known of them, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &Host> {
        self.iter().map(|(_key, host)| host)
    }

    /// Those of one segment; `None`: it has none.
    pub fn of_segment(&self, vni: Vni) -> Option<&SegmentHosts> {
        self.segments.get(&vni)
    }

    /// What turns `self` into `new`: stations to put, and keys of those gone.
    pub(super) fn compare(&self, new: &Self) -> (Self, Vec<(Vni, Mac)>) {
        let (mut put, mut gone) = (Self::default(), Vec::new());
        for (vni, hosts) in &new.segments {
            let before = self.segments.get(vni);
            if before.is_some_and(|before| Arc::ptr_eq(before, hosts)) {
                continue;
            }
            let before = |mac: &Mac| before.and_then(|before| before.get(mac));
            let changed = hosts.iter().filter(|(mac, host)| before(mac) != Some(*host));
            put.extend(changed.map(|(mac, host)| ((*vni, *mac), host.clone())));
        }
        for (vni, hosts) in &self.segments {
            let after = new.segments.get(vni);
            if after.is_some_and(|after| Arc::ptr_eq(after, hosts)) {
                continue;
            }
            let lost = hosts.keys().filter(|mac| !after.is_some_and(|all| all.contains_key(mac)));
            gone.extend(lost.map(|mac| (*vni, *mac)));
        }
        (put, gone)
    }
}

impl Extend<((Vni, Mac), Host)> for Hosts {
    fn extend<T: IntoIterator<Item = ((Vni, Mac), Host)>>(&mut self, stations: T) {
        for (key, host) in stations {
            self.insert(key, host);
        }
    }
}

impl FromIterator<((Vni, Mac), Host)> for Hosts {
    fn from_iter<T: IntoIterator<Item = ((Vni, Mac), Host)>>(stations: T) -> Self {
        let mut hosts = Self::default();
        hosts.extend(stations);
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::Place;

    fn key(vni: u32, mac: u8) -> (Vni, Mac) {
        (Vni::new(vni).unwrap(), Mac([2, 0, 0, 0, 0, mac]))
    }

    fn host(vtep: &str) -> Host {
        Host { ips: Vec::new(), place: Place::Vtep(vtep.to_owned()), router: None }
    }

    fn two_segments() -> Hosts {
        [(key(7, 1), host("a")), (key(7, 2), host("a")), (key(8, 1), host("a"))]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_copy_shares_the_segments_that_neither_changes() {
        let before = two_segments();
        let mut after = before.clone();
        after.insert(key(7, 1), host("b"));
        let shared = |number| {
            let vni = Vni::new(number).unwrap();
            let both = before.of_segment(vni).zip(after.of_segment(vni)).unwrap();
            Arc::ptr_eq(both.0, both.1)
        };
        assert_eq!((shared(7), shared(8)), (false, true));
        assert_eq!(before.get(&key(7, 1)), Some(&host("a")), "the origin stays as it was");
        let (put, gone) = before.compare(&after);
        assert_eq!((put, gone), ([(key(7, 1), host("b"))].into_iter().collect(), Vec::new()));
    }

    #[test]
    fn a_segment_ends_with_its_last_station() {
        let mut hosts = two_segments();
        assert_eq!(hosts.remove(&key(8, 9)), None);
        assert_eq!(hosts.remove(&key(8, 1)), Some(host("a")));
        assert_eq!((hosts.len(), hosts.of_segment(Vni::new(8).unwrap())), (2, None));
        hosts.retain(|_key, _host| false);
        assert_eq!(hosts, Hosts::default());
    }

    #[test]
    fn keeping_all_changes_nothing() {
        let before = two_segments();
        let mut after = before.clone();
        after.retain(|_key, _host| true);
        let vni = Vni::new(7).unwrap();
        assert!(Arc::ptr_eq(before.of_segment(vni).unwrap(), after.of_segment(vni).unwrap()));
    }
}
