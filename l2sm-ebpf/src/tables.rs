//! The decision's tables over the maps.

use core::cell::Cell;

use l2sm_common::{
    ids::{IfIndex, Ip16, VtepId},
    maps::{
        ConfigEntry, FdbEntry, FdbKey, MemberEntry, MemberKey, NeighEntry, NeighKey, PATHS_MAX,
        PathEntry, PortEntry, SegmentEntry, UplinkEntry, VtepEntry, path_state,
    },
    tables::{Route, Tables, pick_path},
    vni::Vni,
};

use crate::maps::{CONFIG, FDB, LOCALS, MEMBERS, NEIGH, PORTS, SEGMENTS, SOURCES, UPLINKS, VTEPS};

/// The maps of this object.
#[derive(Default)]
pub(crate) struct Maps {
    /// The VTEP looked up last: the action that follows the decision needs no second look-up.
    vtep: Cell<Option<&'static VtepEntry>>,
}

impl Maps {
    /// The VTEP that the decision looked up.
    #[inline(always)]
    pub(crate) fn vtep(&self) -> Option<&'static VtepEntry> {
        self.vtep.get()
    }
}

/// Copies a value out of a hash map.
macro_rules! copy {
    ($map:ident, $key:expr) => {
        // SAFETY: the value is copied before anything else runs. The agent may delete the entry
        // meanwhile and the slot may be reused, so the copy can be another entry's: one misdirected
        // frame, never an invalid value, since every bit pattern of these types is valid.
        unsafe { $map.get($key) }.copied()
    };
}

impl Tables for Maps {
    #[inline(always)]
    fn config(&self) -> Option<ConfigEntry> {
        CONFIG.get(0).copied()
    }

    #[inline(always)]
    fn port(&self, port: IfIndex) -> Option<PortEntry> {
        copy!(PORTS, port.0)
    }

    #[inline(always)]
    fn segment(&self, vni: Vni) -> Option<SegmentEntry> {
        copy!(SEGMENTS, vni.get())
    }

    #[inline(always)]
    fn fdb(&self, key: &FdbKey) -> Option<FdbEntry> {
        copy!(FDB, key)
    }

    #[inline(always)]
    fn neighbor(&self, key: &NeighKey) -> Option<NeighEntry> {
        copy!(NEIGH, key)
    }

    #[inline(always)]
    fn route(&self, vtep: VtepId, hash: u32) -> Option<Route> {
        let vtep = vtep_entry(vtep)?;
        self.vtep.set(Some(vtep));
        let path = pick_path(vtep.n_paths, hash);
        let entry = path_entry(vtep, path)?;
        Some(Route {
            flags: vtep.flags,
            path,
            mtu: entry.mtu,
            resolved: vtep.n_paths > 0 && entry.state == path_state::RESOLVED,
        })
    }

    #[inline(always)]
    fn member(&self, key: &MemberKey) -> Option<MemberEntry> {
        copy!(MEMBERS, key)
    }

    #[inline(always)]
    fn is_source(&self, address: &Ip16) -> bool {
        SOURCES.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn is_local(&self, address: &Ip16) -> bool {
        LOCALS.get_ptr(address).is_some()
    }

    #[inline(always)]
    fn uplink(&self, device: IfIndex) -> Option<UplinkEntry> {
        copy!(UPLINKS, device.0)
    }
}

/// A VTEP's entry in place: too large for the stack. It may change under the reader, at worst into
/// another VTEP's: one misdirected frame.
#[inline(always)]
pub(crate) fn vtep_entry(vtep: VtepId) -> Option<&'static VtepEntry> {
    // SAFETY: map memory outlives the program run (RCU), and every bit pattern is valid.
    unsafe { VTEPS.get(vtep.0) }
}

/// One path of a VTEP.
#[inline(always)]
pub(crate) fn path_entry(vtep: &VtepEntry, path: u32) -> Option<&PathEntry> {
    const _: () = assert!(PATHS_MAX == 4);
    vtep.paths.get((path & 3) as usize)
}
