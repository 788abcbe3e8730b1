//! What a pod sends.

use crate::{
    frame::{Frame, OutOfReach, read},
    ids::{Group, IfIndex, Slot, ip16_from_v4},
    mac::Mac,
    maps::{FdbKey, NeighKey, PortEntry, port_flags},
    reason::DropReason,
    tables::Tables,
    verdict::{Decision, Inner, Verdict},
    vni::Vni,
    wire::ethernet::{self, Header},
};

use super::{
    neighbor, remote,
    station::{self, Place, Station},
};

/// Decides about a frame that came in by the host end of a pod's veth.
#[inline(always)]
pub fn from_port<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T, from: IfIndex) -> Decision {
    let Some(port) = tables.port(from) else {
        return Decision::drop(Slot(0), DropReason::NoPort);
    };
    let slot = Slot(port.slot);
    let Ok(header) = read::<{ ethernet::LEN }, F>(frame, 0) else {
        return Decision::new(slot, Verdict::Pull);
    };
    let Some(header) = header.map(Header::parse) else {
        return Decision::drop(slot, DropReason::Truncated);
    };
    if let Err(reason) = check_source(&port, header.source) {
        return Decision::drop(slot, reason);
    }
    match decide(frame, tables, from, &port, header) {
        Ok(decision) => decision,
        Err(OutOfReach) => Decision::new(slot, Verdict::Pull),
    }
}

#[inline(always)]
fn check_source(port: &PortEntry, source: Mac) -> Result<(), DropReason> {
    if !source.is_station() {
        return Err(DropReason::InvalidSourceMac);
    }
    if port.flags & port_flags::MAC_CHECK != 0 && source.0 != port.mac {
        return Err(DropReason::SpoofedMac);
    }
    Ok(())
}

#[inline(always)]
fn decide<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    from: IfIndex,
    port: &PortEntry,
    header: Header,
) -> Result<Decision, OutOfReach> {
    let slot = Slot(port.slot);
    let Some(vni) = Vni::new(port.vni) else {
        return Ok(Decision::drop(slot, DropReason::NoSegment));
    };
    let inner = station::family(header.ethertype);
    let forwarder = shows_forwarder(frame, tables, port, vni, header, inner)?;
    let tos = remote::outer_tos(frame, inner, ethernet::LEN)?;
    let verdict = if header.destination.is_group() {
        decide_group(frame, tables, from, port, vni, header, tos)?
    } else {
        decide_unicast(frame, tables, from, port, vni, header, tos)
    };
    Ok(Decision { slot, verdict, forwarder })
}

#[inline(always)]
fn decide_group<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    from: IfIndex,
    port: &PortEntry,
    vni: Vni,
    header: Header,
    tos: u8,
) -> Result<Verdict, OutOfReach> {
    if header.ethertype == ethernet::ARP
        && let Some(reply) = neighbor::answer_arp(frame, tables, vni, from, header.source)?
    {
        return Ok(Verdict::Answer(reply));
    }
    let Some(segment) = tables.segment(vni) else {
        return Ok(Verdict::Drop(DropReason::NoSegment));
    };
    let place = Place { vni, segment, from, group: Group(port.group), tos, decap: None };
    Ok(place.flood_group(header.destination))
}

#[inline(always)]
fn decide_unicast<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    from: IfIndex,
    port: &PortEntry,
    vni: Vni,
    header: Header,
    tos: u8,
) -> Verdict {
    let inner = station::family(header.ethertype);
    match station::find(tables, &FdbKey::new(vni, header.destination)) {
        Station::Port { port: to, .. } if to.0 == from.0 => Verdict::Drop(DropReason::Hairpin),
        Station::Port { port: to, peer } => {
            let delivery = station::delivery(peer, inner);
            Verdict::Deliver { port: to, delivery, decap: None }
        }
        Station::Vtep { vtep, .. } => remote::to_vtep(frame, tables, vtep, vni, inner, tos),
        Station::Unknown => {
            let Some(segment) = tables.segment(vni) else {
                return Verdict::Drop(DropReason::NoSegment);
            };
            let place = Place { vni, segment, from, group: Group(port.group), tos, decap: None };
            place.flood_unknown()
        }
    }
}

/// Whether this frame is the first to show that the pod forwards: its source address is not the
/// pod's own (`datapath.md` "Receiving").
#[inline(always)]
fn shows_forwarder<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    port: &PortEntry,
    vni: Vni,
    header: Header,
    inner: Inner,
) -> Result<bool, OutOfReach> {
    if port.flags & port_flags::FORWARDER != 0 {
        return Ok(false);
    }
    if header.source.0 != port.mac {
        return Ok(true);
    }
    let source = match inner {
        Inner::V4 => {
            let Some(source) = read::<4, F>(frame, ethernet::LEN + 12)? else {
                return Ok(false);
            };
            if source == port.ipv4 || source == [0; 4] {
                return Ok(false);
            }
            ip16_from_v4(source)
        }
        Inner::V6 => {
            let Some(source) = read::<16, F>(frame, ethernet::LEN + 8)? else {
                return Ok(false);
            };
            if source == port.ipv6 || source == [0; 16] || is_link_local(source) {
                return Ok(false);
            }
            source
        }
        Inner::Other => return Ok(false),
    };
    let owner = tables.neighbor(&NeighKey::new(vni, source));
    Ok(owner.is_none_or(|owner| owner.mac != port.mac))
}

/// Whether an IPv6 address is link-local: never forwarded (RFC 4291 section 2.5.6).
#[inline(always)]
const fn is_link_local(address: [u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}
