//! Who gets a copy of a flooded frame.

use crate::{
    ids::{Group, IfIndex},
    maps::{FloodEntry, flood_flags, target_kind},
};

/// Whether a receiver gets a copy of a frame that came from device `from` and group `group`;
/// `unknown`: the frame is unicast to a MAC that nobody listed.
#[inline(always)]
pub const fn gets_copy(entry: &FloodEntry, from: IfIndex, group: Group, unknown: bool) -> bool {
    if unknown && entry.flags & flood_flags::UNKNOWN == 0 {
        return false;
    }
    if entry.kind == target_kind::PORT && entry.target == from.0 {
        return false;
    }
    entry.group == Group::PORTS.0 || entry.group != group.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: FloodEntry = FloodEntry { kind: target_kind::PORT, flags: 0, group: 0, target: 7 };
    const VTEP: FloodEntry = FloodEntry { kind: target_kind::VTEP, flags: 0, group: 1, target: 7 };

    #[test]
    fn a_frame_never_goes_back_to_its_port() {
        assert!(!gets_copy(&PORT, IfIndex(7), Group::PORTS, false));
        assert!(gets_copy(&PORT, IfIndex(8), Group::PORTS, false));
        assert!(gets_copy(&VTEP, IfIndex(7), Group::PORTS, false));
    }

    #[test]
    fn a_frame_never_goes_back_to_its_group() {
        assert!(!gets_copy(&VTEP, IfIndex(2), Group::MESH, false));
        assert!(gets_copy(&PORT, IfIndex(2), Group::MESH, false));
        assert!(gets_copy(&FloodEntry { group: 2, ..VTEP }, IfIndex(2), Group::MESH, false));
    }

    #[test]
    fn unknown_unicast_goes_where_unlisted_stations_may_be() {
        assert!(!gets_copy(&PORT, IfIndex(8), Group::PORTS, true));
        let tap = FloodEntry { flags: flood_flags::UNKNOWN, ..PORT };
        assert!(gets_copy(&tap, IfIndex(8), Group::PORTS, true));
    }
}
