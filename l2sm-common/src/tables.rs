//! The tables that a decision may consult.

use crate::{
    ids::{IfIndex, Ip16, VtepId},
    maps::{
        ConfigEntry, FdbEntry, FdbKey, MemberEntry, MemberKey, NeighEntry, NeighKey, PortEntry,
        SegmentEntry, UplinkEntry,
    },
    vni::Vni,
};

/// Look-ups. They return copies: no reference outlives a concurrent update.
pub trait Tables {
    /// `CONFIG`.
    fn config(&self) -> Option<ConfigEntry>;
    /// `PORTS`.
    fn port(&self, port: IfIndex) -> Option<PortEntry>;
    /// `SEGMENTS`.
    fn segment(&self, vni: Vni) -> Option<SegmentEntry>;
    /// `FDB`.
    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry>;
    /// `NEIGH`.
    fn neighbor(&self, key: &NeighKey) -> Option<NeighEntry>;
    /// `VTEPS`: the path that a flow with this hash takes to a VTEP.
    fn route(&self, vtep: VtepId, hash: u32) -> Option<Route>;
    /// `MEMBERS`.
    fn member(&self, key: &MemberKey) -> Option<MemberEntry>;
    /// `SOURCES`: whether the address is a VTEP's.
    fn is_source(&self, address: &Ip16) -> bool;
    /// `LOCALS`: whether the address is ours.
    fn is_local(&self, address: &Ip16) -> bool;
    /// `UPLINKS`.
    fn uplink(&self, device: IfIndex) -> Option<UplinkEntry>;
}

/// What `VTEPS` says about one flow to one VTEP, without the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Bits of [`crate::maps::vtep_flags`].
    pub flags: u32,
    /// Index of the path; meaningless unless `resolved`.
    pub path: u32,
    /// The path's MTU, bytes.
    pub mtu: u32,
    /// There is such a path, and its header is complete.
    pub resolved: bool,
}

/// Index of the path that a flow takes among `n_paths`, below [`crate::maps::PATHS_MAX`].
#[inline(always)]
pub const fn pick_path(n_paths: u32, hash: u32) -> u32 {
    // The low bits pick the source port and often the NIC's queue; these are independent of them.
    let pick = hash >> 16;
    let path = if n_paths <= 1 { 0 } else { pick % n_paths };
    path & 3
}

const _: () = assert!(crate::maps::PATHS_MAX == 4);
