//! What came up the slow path: `l2sm-vxlan` has taken the outer headers off.

use crate::{
    decision::Decision,
    frame::{Frame, read},
    ids::{Group, IfIndex, Ip16, Slot},
    reason::DropReason,
    tables::Tables,
    verdict::Verdict,
    vni::Vni,
    wire::ethernet::{self, Header},
};

use super::{
    station::{self, Place},
    uplink,
};

/// What the kernel read from the outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey {
    /// VNI as on the wire.
    pub vni: u32,
    /// Outer source.
    pub source: Ip16,
}

/// Decides about a frame that came in by `l2sm-vxlan`: the same decision as on the underlay,
/// without headers to take off.
#[inline(always)]
pub fn from_tunnel<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    from: IfIndex,
    key: Option<TunnelKey>,
) -> Decision {
    let mark = tables.config().map_or(0, |config| config.mark);
    if frame.mark() & mark == 0 {
        return Decision::drop(Slot(0), DropReason::NoMark);
    }
    let Some(key) = key else {
        return Decision::drop(Slot(0), DropReason::NoTunnelKey);
    };
    let Some(vni) = Vni::new(key.vni) else {
        return Decision::drop(Slot(0), DropReason::UnknownVni);
    };
    let member = match uplink::admit(tables, vni, key.source) {
        Ok(admitted) => admitted,
        Err((slot, reason)) => return Decision::drop(slot, reason),
    };
    let slot = Slot(member.slot);
    let Ok(header) = read::<{ ethernet::LEN }, F>(frame, 0) else {
        return Decision::new(slot, Verdict::Pull);
    };
    let Some(header) = header.map(Header::parse) else {
        return Decision::drop(slot, DropReason::Truncated);
    };
    if let Err(reason) = uplink::check_source(tables, vni, &member, header) {
        return Decision::drop(slot, reason);
    }
    let place = Place { vni, slot, from, group: Group(member.group), tos: 0, decap: None };
    let inner = station::family(header.ethertype);
    uplink::into_segment(tables, &place, header, inner)
}
