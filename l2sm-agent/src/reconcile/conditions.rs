//! What holds of the node itself, and how full its maps are.

use std::collections::BTreeMap;

use l2sm_core::image::Image;

use crate::state::{MAP_FULL, NodeCondition, SLOW_PATH_BLOCKED, UNDERLAY_MISSING, XDP_MISSING};

/// `SlowPathBlocked`.
pub(super) fn slow_path(blocked: bool, port: u16) -> NodeCondition {
    let message = if blocked {
        format!(
            "the host drops UDP port {port}: nothing that was handed up to l2sm-vxlan came back; \
             let the host's firewall accept it from the other nodes"
        )
    } else {
        String::new()
    };
    let reason = if blocked { "TunnelPacketsLost" } else { "NothingLost" };
    NodeCondition { kind: SLOW_PATH_BLOCKED, holds: blocked, reason, message }
}

/// `UnderlayMissing`.
pub(super) fn underlay(faults: &[String]) -> NodeCondition {
    let reason = if faults.is_empty() { "UnderlayPresent" } else { "NoUnderlay" };
    NodeCondition {
        kind: UNDERLAY_MISSING,
        holds: !faults.is_empty(),
        reason,
        message: faults.join("; "),
    }
}

/// `XDPMissing`.
pub(super) fn xdp(without: &[String]) -> NodeCondition {
    let reason = if without.is_empty() { "NothingMissing" } else { "DeviceRefuses" };
    NodeCondition {
        kind: XDP_MISSING,
        holds: !without.is_empty(),
        reason,
        message: without.join("; "),
    }
}

/// `MapFull`; `full`: which, in a line.
pub(super) fn maps(full: Option<&str>) -> NodeCondition {
    let message = full.map(|full| {
        format!("{full}; what did not fit is not reachable: raise it with --map-capacity")
    });
    NodeCondition {
        kind: MAP_FULL,
        holds: message.is_some(),
        reason: if message.is_some() { "NoRoom" } else { "RoomLeft" },
        message: message.unwrap_or_default(),
    }
}

/// Entries of each map that only the agent writes.
pub(super) fn entries(image: &Image) -> BTreeMap<&'static str, u64> {
    let counts = [
        ("UPLINKS", image.uplinks.len()),
        ("LOCALS", image.locals.len()),
        ("VTEPS", image.vteps.len()),
        ("SOURCES", image.sources.len()),
        ("FLOOD", image.flood.len()),
        ("SEGMENTS", image.segments.len()),
        ("MEMBERS", image.members.len()),
        ("FDB", image.fdb.len()),
        ("NEIGH", image.neigh.len()),
        ("PORTS", image.ports.len()),
    ];
    counts.into_iter().map(|(map, count)| (map, u64::try_from(count).unwrap_or(u64::MAX))).collect()
}
