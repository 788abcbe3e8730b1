//! A frame's way to a VTEP: encapsulated here, or by `l2sm-vxlan`.

use crate::{
    decision::Decision,
    frame::{Frame, OutOfReach, read},
    ids::{Slot, VtepId},
    maps::vtep_flags,
    reason::DropReason,
    tables::{Route, Tables},
    verdict::{Inner, ToVtep, Verdict, Way},
    vni::Vni,
    wire::{
        ecn, ethernet, ip,
        vxlan::{OVERHEAD_V4, OVERHEAD_V6},
    },
};

/// The decision about a frame to `vtep`.
#[inline(always)]
pub fn to_vtep<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    slot: Slot,
    vtep: VtepId,
    vni: Vni,
    inner: Inner,
    tos: u8,
) -> Decision {
    let Some(route) = tables.route(vtep, frame.flow_hash()) else {
        return Decision::drop(slot, DropReason::NoVtep);
    };
    match way(frame, &route, inner) {
        Ok(way) => Decision::new(slot, Verdict::ToVtep(ToVtep { vtep, vni, tos, way })),
        Err(OutOfReach) => Decision::new(slot, Verdict::Pull),
    }
}

/// How a frame goes along a route. The slow path iff one of `datapath.md` "Sending to a VTEP" holds:
/// a tag beside the bytes (growing would leave it on the *outer* frame), aggregated frames that are
/// not TCP, packets larger than the path takes, an unresolved path, a VTEP that wants checksums.
///
/// # Errors
///
/// [`OutOfReach`] when headers must be pulled first.
#[inline(always)]
pub fn way<F: Frame + ?Sized>(frame: &F, route: &Route, inner: Inner) -> Result<Way, OutOfReach> {
    if !route.resolved || route.flags & vtep_flags::CHECKSUM != 0 || frame.has_tag() {
        return Ok(Way::Slow);
    }
    let v6 = route.flags & vtep_flags::IPV6 != 0;
    let Some(packet) = largest_packet(frame, inner)? else {
        return Ok(Way::Slow);
    };
    let outer = packet + overhead(v6);
    Ok(if outer <= route.mtu { Way::Fast { path: route.path, v6 } } else { Way::Slow })
}

/// How a copy of a flooded frame goes along a route; `length`: of the bare frame, bytes. Aggregated
/// frames are copied by the slow path.
#[inline(always)]
pub const fn copy_way(route: &Route, gso_size: u32, tagged: bool, length: u32) -> Way {
    let v6 = route.flags & vtep_flags::IPV6 != 0;
    let checksum = route.flags & vtep_flags::CHECKSUM != 0;
    if !route.resolved || checksum || tagged || gso_size != 0 || length + overhead(v6) > route.mtu {
        return Way::Slow;
    }
    Way::Fast { path: route.path, v6 }
}

/// Length of the largest frame that this one becomes on the wire, from the Ethernet header on,
/// bytes; `None` for an aggregated frame that is not plain TCP.
#[inline(always)]
fn largest_packet<F: Frame + ?Sized>(frame: &F, inner: Inner) -> Result<Option<u32>, OutOfReach> {
    let segment = frame.gso_size();
    if segment == 0 {
        return Ok(Some(frame.len()));
    }
    let Some(tcp) = tcp_offset(frame, inner, ethernet::LEN)? else {
        return Ok(None);
    };
    let Some([words]) = read::<1, F>(frame, tcp + 12)? else {
        return Ok(None);
    };
    let headers = tcp + usize::from(words >> 4) * 4;
    Ok(u32::try_from(headers).ok().map(|headers| headers + segment))
}

/// Offset of the TCP header of the packet at `at`; `None` when it is not plain TCP.
///
/// # Errors
///
/// [`OutOfReach`] when headers must be pulled first.
#[inline(always)]
pub fn tcp_offset<F: Frame + ?Sized>(
    frame: &F,
    inner: Inner,
    at: usize,
) -> Result<Option<usize>, OutOfReach> {
    match inner {
        Inner::V4 => {
            let Some([first, _, _, _, _, _, _, _, _, protocol]) = read::<10, F>(frame, at)? else {
                return Ok(None);
            };
            let length = usize::from(first & 0x0f) * 4;
            Ok((protocol == ip::TCP && length >= ip::V4_LEN).then_some(at + length))
        }
        Inner::V6 => {
            let Some([next]) = read::<1, F>(frame, at + 6)? else {
                return Ok(None);
            };
            Ok((next == ip::TCP).then_some(at + ip::V6_LEN))
        }
        Inner::Other => Ok(None),
    }
}

/// What the outer IP packet has besides the inner frame, bytes.
#[inline(always)]
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "constants below 100")]
const fn overhead(v6: bool) -> u32 {
    (if v6 { OVERHEAD_V6 } else { OVERHEAD_V4 } - ethernet::LEN) as u32
}

/// TOS or traffic class of the outer header: no DSCP, ECN of the inner packet at `at` (RFC 6040).
///
/// # Errors
///
/// [`OutOfReach`] when the inner header must be pulled first.
#[inline(always)]
pub fn outer_tos<F: Frame + ?Sized>(frame: &F, inner: Inner, at: usize) -> Result<u8, OutOfReach> {
    Ok(ecn::encapsulate(inner_tos(frame, inner, at)?.unwrap_or(0)))
}

/// TOS or traffic class of the packet at `at`; `None` where there is none.
///
/// # Errors
///
/// [`OutOfReach`] when the header must be pulled first.
#[inline(always)]
pub fn inner_tos<F: Frame + ?Sized>(
    frame: &F,
    inner: Inner,
    at: usize,
) -> Result<Option<u8>, OutOfReach> {
    let Some([first, second]) = (match inner {
        Inner::V4 | Inner::V6 => read::<2, F>(frame, at)?,
        Inner::Other => None,
    }) else {
        return Ok(None);
    };
    Ok(Some(if matches!(inner, Inner::V4) { second } else { (first << 4) | (second >> 4) }))
}
