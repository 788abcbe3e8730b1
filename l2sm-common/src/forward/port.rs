//! What a pod sends.

use crate::{
    decision::Decision,
    frame::{Frame, OutOfReach, read},
    ids::{Group, IfIndex, Slot, ip16_from_v4},
    mac::Mac,
    maps::{FdbKey, NeighKey, PortEntry, port_flags},
    reason::DropReason,
    tables::Tables,
    verdict::{Inner, Verdict},
    vni::Vni,
    wire::ethernet::{self, Header},
};

use super::{
    neighbor::{self, Solicited},
    remote,
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
    let Some(vni) = Vni::new(port.vni) else {
        return Decision::drop(slot, DropReason::NoSegment);
    };
    let inner = station::family(header.ethertype);
    let Ok(forwarder) = shows_forwarder(frame, tables, &port, vni, header, inner) else {
        return Decision::new(slot, Verdict::Pull);
    };
    let Ok(tos) = remote::outer_tos(frame, inner, ethernet::LEN) else {
        return Decision::new(slot, Verdict::Pull);
    };
    let sender = Sender { from, port: &port, vni, tos };
    let decision = if header.destination.is_group() {
        decide_group(frame, tables, &sender, header)
    } else {
        decide_unicast(frame, tables, &sender, header)
    };
    decision.with_forwarder(forwarder)
}

/// Where a frame came from.
struct Sender<'a> {
    from: IfIndex,
    port: &'a PortEntry,
    vni: Vni,
    /// Outer TOS of copies to VTEPs.
    tos: u8,
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
fn decide_group<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    sender: &Sender<'_>,
    header: Header,
) -> Decision {
    let slot = Slot(sender.port.slot);
    if header.ethertype == ethernet::ARP {
        match neighbor::answer_arp(frame, tables, sender.vni, sender.from) {
            Ok(Some(owner)) => return Decision::new(slot, Verdict::Answer { owner }),
            Ok(None) => {}
            Err(OutOfReach) => return Decision::new(slot, Verdict::Pull),
        }
    }
    if header.ethertype == ethernet::IPV6 {
        match neighbor::solicited(frame, tables, sender.vni, sender.from) {
            Ok(Solicited::Everybody) => {}
            Ok(Solicited::Answer { owner, router }) => {
                return Decision::new(slot, Verdict::Advertise { owner, router });
            }
            Ok(Solicited::Owner(station)) => {
                return to_station(frame, tables, sender, header, station);
            }
            Err(OutOfReach) => return Decision::new(slot, Verdict::Pull),
        }
    }
    place(sender).flood_group(tables, header.destination)
}

#[inline(always)]
fn decide_unicast<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    sender: &Sender<'_>,
    header: Header,
) -> Decision {
    let station = station::find(tables, &FdbKey::new(sender.vni, header.destination));
    to_station(frame, tables, sender, header, station)
}

/// To where a station is.
#[inline(always)]
fn to_station<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    sender: &Sender<'_>,
    header: Header,
    station: Station,
) -> Decision {
    let slot = Slot(sender.port.slot);
    let inner = station::family(header.ethertype);
    match station {
        Station::Port { port, .. } if port.0 == sender.from.0 => {
            Decision::drop(slot, DropReason::Hairpin)
        }
        Station::Port { port, peer } => {
            let delivery = station::delivery(peer, inner);
            Decision::new(slot, Verdict::Deliver { port, delivery, decap: None })
        }
        Station::Vtep { vtep, .. } => {
            remote::to_vtep(frame, tables, slot, vtep, sender.vni, inner, sender.tos)
        }
        Station::Unknown => place(sender).flood_unknown(tables),
    }
}

#[inline(always)]
const fn place(sender: &Sender<'_>) -> Place {
    Place {
        vni: sender.vni,
        slot: Slot(sender.port.slot),
        from: sender.from,
        group: Group(sender.port.group),
        tos: sender.tos,
        decap: None,
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
    let Some(owner) = tables.neighbor(&NeighKey::new(vni, source)) else {
        return Ok(true);
    };
    Ok(owner.mac != port.mac)
}

/// Whether an IPv6 address is link-local: never forwarded (RFC 4291 section 2.5.6).
#[inline(always)]
const fn is_link_local(address: [u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}
