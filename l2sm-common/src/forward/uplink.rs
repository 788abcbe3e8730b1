//! What arrives on an underlay device.

use crate::{
    decision::Decision,
    frame::{Frame, OutOfReach, read},
    ids::{Group, IfIndex, Ip16, Slot, ip16_from_v4},
    maps::{ConfigEntry, FdbKey, MemberEntry, MemberKey, config_flags, member_flags, port_flags},
    reason::DropReason,
    tables::Tables,
    verdict::{Decap, Inner, Verdict},
    vni::Vni,
    wire::{
        ecn, ethernet,
        ethernet::Header,
        ip,
        vxlan::{self, OVERHEAD_V4, OVERHEAD_V6},
    },
};

use super::{
    ends, remote,
    station::{self, Place, Station},
};

/// Decides about a frame that came in by an underlay device.
#[inline(always)]
pub fn from_uplink<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T, from: IfIndex) -> Decision {
    let pass = Decision::new(Slot(0), Verdict::Pass);
    // A tag beside the bytes: for a VLAN device on top of this one.
    if frame.has_tag() {
        return pass;
    }
    let Some(config) = tables.config() else {
        return pass;
    };
    if ends::packet_offset(tables, &config, from) == 0 {
        return from_bare_uplink(frame, tables, &config);
    }
    let parsed = parse_outer(frame, tables, &config);
    // What is not ours costs no question about its MAC, which XDP has to look up.
    if matches!(parsed, Ok(Parsed::Foreign)) || !frame.is_for_host() {
        return pass;
    }
    let Ok(parsed) = parsed else {
        return Decision::new(Slot(0), Verdict::Pull);
    };
    let outer = match parsed {
        Parsed::Tunnel(outer) => outer,
        Parsed::Short => return Decision::drop(Slot(0), DropReason::Truncated),
        Parsed::Irregular | Parsed::Foreign => return Decision::new(Slot(0), Verdict::HandUp),
    };
    decide(frame, tables, from, &config, &outer)
}

/// Decides about a packet of a device that has no link-layer header (`WireGuard`, a tunnel over IP): BPF
/// cannot make a frame with one out of it, the kernel's device can.
#[inline(always)]
fn from_bare_uplink<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
) -> Decision {
    let verdict = match ends::to_our_port(frame, config, 0) {
        Ok(Some(ends)) if is_local(tables, config, &ends.destination) => Verdict::HandUp,
        Ok(_) => Verdict::Pass,
        Err(OutOfReach) => Verdict::Pull,
    };
    Decision::new(Slot(0), verdict)
}

/// Whether an address is one of our own. Most nodes have just the one that is compared first.
#[inline(always)]
fn is_local<T: Tables>(tables: &T, config: &ConfigEntry, address: &Ip16) -> bool {
    config.local == *address || tables.is_local(address)
}

/// What an outer IP header says of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OuterIp {
    source: Ip16,
    destination: Ip16,
    tos: u8,
    /// Where it says that it ends, bytes from the frame's start.
    at: usize,
}

/// What the outer headers of one frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outer {
    source: Ip16,
    tos: u8,
    vxlan: [u8; vxlan::LEN],
    /// Length of all outer headers, bytes.
    length: usize,
}

enum Parsed {
    /// Not to one of our addresses and our port.
    Foreign,
    /// Ours, but with options, extension headers, in fragments or with bytes behind its end: for the
    /// kernel.
    Irregular,
    /// Ours, and shorter than its headers or than they say.
    Short,
    /// Ours.
    Tunnel(Outer),
}

/// Whether a frame may be a tunnel packet of ours, by its first 42 bytes (58 over IPv6) alone: all else
/// needs no more of its headers in reach. What cannot be told may be one.
#[inline(always)]
pub fn may_be_ours<F: Frame + ?Sized>(frame: &F, config: &ConfigEntry) -> bool {
    if config.flags & config_flags::ETHERNET == 0 {
        return true;
    }
    let Some(ethertype) = frame.load::<2>(ethernet::TYPE_OFFSET) else {
        return true;
    };
    let (plain, udp) = match u16::from_be_bytes(ethertype) {
        ethernet::IPV4 => {
            match (frame.load::<1>(ethernet::LEN), frame.load::<1>(ethernet::LEN + 9)) {
                (Some([first]), Some([protocol])) => {
                    if protocol != ip::UDP {
                        return false;
                    }
                    (first == 0x45, ethernet::LEN + ip::V4_LEN)
                }
                _ => return true,
            }
        }
        ethernet::IPV6 => match frame.load::<1>(ethernet::LEN + 6) {
            Some([ip::UDP]) => (true, ethernet::LEN + ip::V6_LEN),
            Some([next]) => return next == ip::V6_FRAGMENT,
            None => return true,
        },
        _ => return false,
    };
    match frame.load::<2>(udp + 2) {
        Some(port) if plain => u32::from(u16::from_be_bytes(port)) == config.port,
        _ => true,
    }
}

#[inline(always)]
fn parse_outer<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
) -> Result<Parsed, OutOfReach> {
    let Some(ethertype) = read::<2, F>(frame, ethernet::TYPE_OFFSET)? else {
        return Ok(Parsed::Foreign);
    };
    match u16::from_be_bytes(ethertype) {
        ethernet::IPV4 => parse_v4(frame, tables, config),
        ethernet::IPV6 => parse_v6(frame, tables, config),
        _ => Ok(Parsed::Foreign),
    }
}

#[inline(always)]
fn parse_v4<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
) -> Result<Parsed, OutOfReach> {
    let Some(packet) = read::<{ ip::V4_LEN }, F>(frame, ethernet::LEN)? else {
        return Ok(Parsed::Foreign);
    };
    let [first, tos, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        packet;
    if first >> 4 != 4 || protocol != ip::UDP {
        return Ok(Parsed::Foreign);
    }
    let fragment = u16::from_be_bytes([f0, f1]) & ip::V4_FRAGMENT_MASK;
    let length = usize::from(first & 0x0f) * 4;
    if length < ip::V4_LEN {
        return Ok(Parsed::Foreign);
    }
    // Only a first fragment has the port; the mark that it gets is the reassembled packet's.
    if fragment & 0x1fff != 0 {
        return Ok(Parsed::Foreign);
    }
    let udp = ethernet::LEN + length;
    let regular = fragment == 0 && length == ip::V4_LEN;
    let outer = OuterIp {
        source: ip16_from_v4([s0, s1, s2, s3]),
        destination: ip16_from_v4([d0, d1, d2, d3]),
        tos,
        at: ethernet::LEN + usize::from(u16::from_be_bytes([l0, l1])),
    };
    parse_udp(frame, tables, config, udp, regular, &outer)
}

#[inline(always)]
fn parse_v6<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
) -> Result<Parsed, OutOfReach> {
    let Some([first, second, _, _, l0, l1, next]) = read::<7, F>(frame, ethernet::LEN)? else {
        return Ok(Parsed::Foreign);
    };
    let Some(source) = read::<16, F>(frame, ethernet::LEN + 8)? else {
        return Ok(Parsed::Foreign);
    };
    let Some(destination) = read::<16, F>(frame, ethernet::LEN + 24)? else {
        return Ok(Parsed::Foreign);
    };
    if first >> 4 != 6 {
        return Ok(Parsed::Foreign);
    }
    let udp = ethernet::LEN + ip::V6_LEN;
    let at = udp + usize::from(u16::from_be_bytes([l0, l1]));
    let outer = OuterIp { source, destination, tos: (first << 4) | (second >> 4), at };
    match next {
        ip::UDP => parse_udp(frame, tables, config, udp, true, &outer),
        ip::V6_FRAGMENT => parse_v6_fragment(frame, tables, config, &outer),
        _ => Ok(Parsed::Foreign),
    }
}

#[inline(always)]
fn parse_v6_fragment<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
    outer: &OuterIp,
) -> Result<Parsed, OutOfReach> {
    let at = ethernet::LEN + ip::V6_LEN;
    let Some([next, _, o0, o1]) = read::<4, F>(frame, at)? else {
        return Ok(Parsed::Foreign);
    };
    if next != ip::UDP || u16::from_be_bytes([o0, o1]) & 0xfff8 != 0 {
        return Ok(Parsed::Foreign);
    }
    parse_udp(frame, tables, config, at + 8, false, outer)
}

#[inline(always)]
#[expect(clippy::as_conversions, reason = "u32 fits usize on every target")]
fn parse_udp<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
    udp: usize,
    regular: bool,
    outer: &OuterIp,
) -> Result<Parsed, OutOfReach> {
    let Some([_, _, p0, p1, l0, l1]) = read::<6, F>(frame, udp)? else {
        return Ok(Parsed::Foreign);
    };
    // The port first: it is compared without a look-up, and most of the host's traffic has another.
    if u32::from(u16::from_be_bytes([p0, p1])) != config.port
        || !is_local(tables, config, &outer.destination)
    {
        return Ok(Parsed::Foreign);
    }
    if !regular {
        return Ok(Parsed::Irregular);
    }
    // An aggregated packet says what it will.
    let end = frame.len() as usize;
    let says = udp + usize::from(u16::from_be_bytes([l0, l1]));
    if (outer.at != end || says != end) && frame.gso_size() == 0 {
        let is_cut = outer.at > end || says > end;
        return Ok(if is_cut { Parsed::Short } else { Parsed::Irregular });
    }
    let Some(vxlan) = read::<{ vxlan::LEN }, F>(frame, udp + ip::UDP_LEN)? else {
        return Ok(Parsed::Short);
    };
    let length = udp + ip::UDP_LEN + vxlan::LEN;
    Ok(Parsed::Tunnel(Outer { source: outer.source, tos: outer.tos, vxlan, length }))
}

#[inline(always)]
fn decide<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    from: IfIndex,
    config: &ConfigEntry,
    outer: &Outer,
) -> Decision {
    let vni = match check_vxlan(outer.vxlan) {
        Ok(vni) => vni,
        Err(reason) => return Decision::drop(Slot(0), reason),
    };
    let member = match admit(tables, vni, outer.source) {
        Ok(admitted) => admitted,
        Err((slot, reason)) => return Decision::drop(slot, reason),
    };
    let slot = Slot(member.slot);
    let Ok(header) = read::<{ ethernet::LEN }, F>(frame, outer.length) else {
        return Decision::new(slot, Verdict::Pull);
    };
    let Some(header) = header.map(Header::parse) else {
        return Decision::drop(slot, DropReason::Truncated);
    };
    if let Err(reason) = check_source(tables, vni, &member, header) {
        return Decision::drop(slot, reason);
    }
    let inner = station::family(header.ethertype);
    let at = outer.length + ethernet::LEN;
    if is_too_short_here(frame, inner, at) {
        // The kernel's device drops a packet shorter than its IP header, and takes other frames.
        return match inner {
            Inner::V4 | Inner::V6 => Decision::drop(slot, DropReason::Truncated),
            Inner::Other => Decision::new(slot, Verdict::HandUp),
        };
    }
    let ecn = match remote::inner_tos(frame, inner, at) {
        Ok(Some(tos)) => ecn::decapsulate(outer.tos, tos),
        Ok(None) => ecn::Decapsulated::Keep,
        Err(OutOfReach) => return Decision::new(slot, Verdict::Pull),
    };
    let ecn = match ecn {
        ecn::Decapsulated::Keep => None,
        ecn::Decapsulated::Set(codepoint) => Some(codepoint),
        ecn::Decapsulated::Drop => return Decision::drop(slot, DropReason::EcnInvalid),
    };
    let length = if outer.length == OVERHEAD_V6 { OVERHEAD_V6_U32 } else { OVERHEAD_V4_U32 };
    let decap = Some(Decap { length, inner, ecn });
    let place = Place { vni, slot, from, group: Group(member.group), tos: 0, decap };
    if frame.gso_size() == 0 {
        return into_segment(tables, &place, header, inner);
    }
    decide_aggregated(frame, tables, config, &place, header, at)
}

/// Whether what is inside is too short to be decapsulated in BPF: `bpf_skb_adjust_room` leaves at
/// least a header of the family that it is told (`len_min` in filter.c). The kernel's device takes any
/// length.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "u32 fits usize on every target")]
fn is_too_short_here<F: Frame + ?Sized>(frame: &F, inner: Inner, at: usize) -> bool {
    let least = if matches!(inner, Inner::V6) { ip::V6_LEN } else { ip::V4_LEN };
    (frame.len() as usize) < at + least
}

/// Lengths of all outer headers, as the verdict has them.
const OVERHEAD_V4_U32: u32 = 50;
const OVERHEAD_V6_U32: u32 = 70;
const _: () = assert!(OVERHEAD_V4 == 50 && OVERHEAD_V6 == 70);

/// Reads a VXLAN header: the I flag set, everything reserved zero, as the kernel's device wants it.
///
/// # Errors
///
/// The reason to drop the packet.
#[inline(always)]
pub fn check_vxlan(header: [u8; vxlan::LEN]) -> Result<Vni, DropReason> {
    let [flags, r0, r1, r2, v0, v1, v2, r3] = header;
    if flags & vxlan::FLAG_VNI == 0 {
        return Err(DropReason::InvalidVxlan);
    }
    if flags != vxlan::FLAG_VNI || (r0 | r1 | r2 | r3) != 0 {
        return Err(DropReason::ReservedBits);
    }
    Vni::new(u32::from_be_bytes([0, v0, v1, v2])).ok_or(DropReason::UnknownVni)
}

/// Whether `source` may send into `vni`: the segment, and the sender's membership.
///
/// # Errors
///
/// The reason to drop the packet, and where that is counted.
#[inline(always)]
pub fn admit<T: Tables>(
    tables: &T,
    vni: Vni,
    source: Ip16,
) -> Result<MemberEntry, (Slot, DropReason)> {
    if let Some(member) = tables.member(&MemberKey::new(vni, source)) {
        return Ok(member);
    }
    let known = tables.is_source(&source);
    Err(match tables.segment(vni) {
        _ if !known => (Slot(0), DropReason::UnknownVtep),
        None => (Slot(0), DropReason::UnknownVni),
        Some(segment) => (Slot(segment.slot), DropReason::VtepNotInSegment),
    })
}

/// Whether a tunnelled frame may come from its source MAC.
///
/// # Errors
///
/// The reason to drop the frame.
#[inline(always)]
pub fn check_source<T: Tables>(
    tables: &T,
    vni: Vni,
    member: &MemberEntry,
    header: Header,
) -> Result<(), DropReason> {
    if !header.source.is_station() {
        return Err(DropReason::InvalidSourceMac);
    }
    if member.flags & member_flags::EXTERNAL == 0 {
        return Ok(());
    }
    match station::find(tables, &FdbKey::new(vni, header.source)) {
        Station::Unknown => Ok(()),
        Station::Vtep { vtep, .. } if vtep.0 == member.vtep => Ok(()),
        Station::Vtep { .. } | Station::Port { .. } => Err(DropReason::MacElsewhere),
    }
}

/// Where a tunnelled frame goes inside its segment.
#[inline(always)]
pub fn into_segment<T: Tables>(
    tables: &T,
    place: &Place,
    header: Header,
    inner: Inner,
) -> Decision {
    if header.destination.is_group() {
        return place.flood_group(tables, header.destination);
    }
    match station::find(tables, &FdbKey::new(place.vni, header.destination)) {
        Station::Port { port, peer } => {
            let delivery = station::delivery(peer, inner);
            place.decide(Verdict::Deliver { port, delivery, decap: place.decap })
        }
        Station::Vtep { .. } => place.decide(Verdict::Drop(DropReason::SplitHorizon)),
        Station::Unknown => place.flood_unknown(tables),
    }
}

/// The decision about an aggregated tunnel packet whose inner packet is at `at`. Plain TCP to a pod
/// that ends the connection is decapsulated in BPF. The rest is handed up, since BPF cannot clear the
/// frame's tunnel-GSO state, which a pod that forwards, or a copy, would trip over (`datapath.md`
/// "Receiving").
#[inline(always)]
fn decide_aggregated<F: Frame + ?Sized, T: Tables>(
    frame: &F,
    tables: &T,
    config: &ConfigEntry,
    place: &Place,
    header: Header,
    at: usize,
) -> Decision {
    let inner = station::family(header.ethertype);
    let tcp = match remote::tcp_offset(frame, inner, at) {
        Ok(tcp) => tcp.is_some(),
        Err(OutOfReach) => return place.decide(Verdict::Pull),
    };
    let everywhere = config.flags & config_flags::SLOW_PATH_BLOCKED != 0;
    let Station::Port { port, peer } =
        station::find(tables, &FdbKey::new(place.vni, header.destination))
    else {
        let elsewhere = into_segment(tables, place, header, inner);
        let hand_up = header.destination.is_group() || (elsewhere.floods() && !everywhere);
        return if hand_up { place.decide(Verdict::HandUp) } else { elsewhere };
    };
    let ends_here =
        everywhere || tables.port(port).is_some_and(|port| port.flags & port_flags::FORWARDER == 0);
    if tcp && ends_here {
        let delivery = station::delivery(peer, inner);
        return place.decide(Verdict::Deliver { port, delivery, decap: place.decap });
    }
    place.decide(Verdict::HandUp)
}
