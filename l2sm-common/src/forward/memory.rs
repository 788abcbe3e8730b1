//! The tables as host maps: for tests, and for asking what would happen to a frame.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{IfIndex, Ip16, VtepId},
    maps::{
        ConfigEntry, FdbEntry, FdbKey, MemberEntry, MemberKey, NeighEntry, NeighKey, PortEntry,
        SegmentEntry, UplinkEntry, VtepEntry, path_state,
    },
    tables::{Route, Tables, pick_path},
    vni::Vni,
};

/// Every table that a decision consults, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the map of that name")]
pub struct MemoryTables {
    pub config: Option<ConfigEntry>,
    pub ports: BTreeMap<u32, PortEntry>,
    pub segments: BTreeMap<u32, SegmentEntry>,
    pub fdb: BTreeMap<FdbKey, FdbEntry>,
    pub neigh: BTreeMap<NeighKey, NeighEntry>,
    pub vteps: BTreeMap<u32, VtepEntry>,
    pub members: BTreeMap<MemberKey, MemberEntry>,
    pub sources: BTreeMap<Ip16, u32>,
    pub locals: BTreeSet<Ip16>,
    pub uplinks: BTreeMap<u32, UplinkEntry>,
}

impl Tables for MemoryTables {
    fn config(&self) -> Option<ConfigEntry> {
        self.config
    }

    fn port(&self, port: IfIndex) -> Option<PortEntry> {
        self.ports.get(&port.0).copied()
    }

    fn segment(&self, vni: Vni) -> Option<SegmentEntry> {
        self.segments.get(&vni.get()).copied()
    }

    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry> {
        self.fdb.get(key).copied()
    }

    fn neighbor(&self, key: &NeighKey) -> Option<NeighEntry> {
        self.neigh.get(key).copied()
    }

    fn route(&self, vtep: VtepId, hash: u32) -> Option<Route> {
        let vtep = self.vteps.get(&vtep.0)?;
        let index = pick_path(vtep.n_paths, hash);
        let path = vtep.paths.get(usize::try_from(index).ok()?)?;
        Some(Route {
            flags: vtep.flags,
            path: index,
            mtu: path.mtu,
            resolved: vtep.n_paths > 0 && path.state == path_state::RESOLVED,
        })
    }

    fn member(&self, key: &MemberKey) -> Option<MemberEntry> {
        self.members.get(key).copied()
    }

    fn is_source(&self, address: &Ip16) -> bool {
        self.sources.contains_key(address)
    }

    fn is_local(&self, address: &Ip16) -> bool {
        self.locals.contains(address)
    }

    fn uplink(&self, device: IfIndex) -> Option<UplinkEntry> {
        self.uplinks.get(&device.0).copied()
    }
}
