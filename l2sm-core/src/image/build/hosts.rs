//! Known stations: where they are, and their addresses.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_common::{
    ids::{Group, ip16},
    mac::Mac,
    maps::{FdbEntry, FdbKey, NeighEntry, NeighKey, neigh_flags},
    vni::Vni,
};

use super::Builder;
use crate::{
    image::{Image, InSegment, LocalPort, Problem},
    instructions::{Host, Place, SegmentHosts},
    model::ObjectKey,
};

/// The stations of one segment, as they have been written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    from: Source,
    problems: Vec<Problem>,
}

/// All that the entries of one segment's stations follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Source {
    hosts: SegmentHosts,
    places: Places,
}

/// Where stations of one segment can be: ports that are there, VTEPs that can be sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    ports: BTreeMap<ObjectKey, FdbEntry>,
    vteps: BTreeMap<String, FdbEntry>,
}

impl Places {
    /// `None` while a place is not there.
    fn entry(&self, place: &Place) -> Option<FdbEntry> {
        match place {
            Place::Port(key) => self.ports.get(key).copied(),
            Place::Vtep(name) => self.vteps.get(name).copied(),
        }
    }
}

impl Builder<'_> {
    /// Writes `FDB` and `NEIGH`, which hold what was written `before`. Also which segments were changed.
    pub(super) fn write_hosts(
        &mut self,
        mut before: BTreeMap<Vni, Written>,
    ) -> (BTreeMap<Vni, Written>, BTreeSet<u32>) {
        let mut redrawn = BTreeSet::new();
        let mut written = BTreeMap::new();
        for (vni, from) in self.sources() {
            let of = match before.remove(&vni) {
                Some(same) if same.from == from => same,
                other => {
                    redrawn.insert(vni.get());
                    if other.is_some() {
                        remove_segment(vni, &mut self.image);
                    }
                    write_segment(vni, from, &mut self.image)
                }
            };
            self.problems.extend(of.problems.iter().cloned());
            written.insert(vni, of);
        }
        for vni in before.keys() {
            redrawn.insert(vni.get());
            remove_segment(*vni, &mut self.image);
        }
        (written, redrawn)
    }

    /// What the entries of each segment are to follow from.
    fn sources(&self) -> BTreeMap<Vni, Source> {
        let hosts = |vni| self.instructions.hosts.of_segment(vni).cloned().unwrap_or_default();
        let segments = self.instructions.segments.keys();
        let mut sources: BTreeMap<Vni, Source> = segments
            .map(|vni| (*vni, Source { hosts: hosts(*vni), ..Source::default() }))
            .collect();
        for (key, port) in &self.instructions.ports {
            let source = sources.get_mut(&port.vni).zip(self.local.ports.get(key));
            if let Some((source, LocalPort { device, peer })) = source {
                let entry = FdbEntry::port(*device, Group::PORTS, *peer);
                source.places.ports.insert(key.clone(), entry);
            }
        }
        for (vni, name, id, member) in self.members() {
            if let Some(source) = sources.get_mut(&vni) {
                let entry = FdbEntry::vtep(id, member.group);
                source.places.vteps.insert(name.to_owned(), entry);
            }
        }
        sources
    }
}

fn remove_segment(vni: Vni, image: &mut Image) {
    remove_from(&mut image.fdb, vni);
    remove_from(&mut image.neigh, vni);
}

fn remove_from<K: InSegment, V>(map: &mut BTreeMap<K, V>, vni: Vni) {
    let keys: Vec<K> = map.range(K::range(vni.get())).map(|(key, _value)| *key).collect();
    for key in keys {
        map.remove(&key);
    }
}

fn write_segment(vni: Vni, from: Source, image: &mut Image) -> Written {
    let mut problems = Vec::new();
    for (mac, host) in from.hosts.iter() {
        if let Some(entry) = from.places.entry(&host.place) {
            image.fdb.insert(FdbKey::new(vni, *mac), entry);
            write_addresses(vni, *mac, host, image, &mut problems);
        }
    }
    Written { from, problems }
}

/// Writes the addresses of one station.
fn write_addresses(
    vni: Vni,
    mac: Mac,
    host: &Host,
    image: &mut Image,
    problems: &mut Vec<Problem>,
) {
    let flags = match host.router {
        None => 0,
        Some(false) => neigh_flags::ROLE_KNOWN,
        Some(true) => neigh_flags::ROLE_KNOWN | neigh_flags::ROUTER,
    };
    for address in &host.ips {
        let new = NeighEntry { mac: mac.0, flags };
        let entry = image.neigh.entry(NeighKey::new(vni, ip16(*address))).or_insert(new);
        if entry.mac != mac.0 {
            let (holder, address) = (Mac(entry.mac), *address);
            problems.push(Problem::AddressTaken { vni, address, mac, holder });
        }
    }
}
