//! Who sends a packet to our UDP port, and to whom: what is asked of packets that BPF does not take apart.

use crate::{
    frame::{Frame, OutOfReach, read},
    ids::{IfIndex, Ip16, ip16_from_v4},
    maps::{ConfigEntry, config_flags},
    tables::Tables,
    wire::{ethernet, ip},
};

/// The two ends of a packet to our UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who sent it, or says so.
    pub source: Ip16,
    /// For whom it is.
    pub destination: Ip16,
}

/// Where the packet begins in a frame of an underlay device, bytes: behind an Ethernet header, or at once.
#[inline(always)]
pub fn packet_offset<T: Tables>(tables: &T, config: &ConfigEntry, device: IfIndex) -> usize {
    if config.flags & config_flags::ETHERNET != 0 {
        return ethernet::LEN;
    }
    match tables.uplink(device) {
        Some(uplink) if uplink.l2_len == 0 => 0,
        _ => ethernet::LEN,
    }
}

/// The ends of a packet at offset `at` to our UDP port; `None`: it is another. Only a first fragment has
/// the port; without it the rest is nothing.
///
/// # Errors
///
/// [`OutOfReach`]: its headers are in fragments.
#[inline(always)]
pub fn to_our_port<F: Frame + ?Sized>(
    frame: &F,
    config: &ConfigEntry,
    at: usize,
) -> Result<Option<Ends>, OutOfReach> {
    let found = match family(frame, at)? {
        4 => ends_v4(frame, at)?,
        6 => ends_v6(frame, at)?,
        _ => None,
    };
    let Some((ends, udp)) = found else {
        return Ok(None);
    };
    let Some(port) = read::<2, F>(frame, udp + 2)? else {
        return Ok(None);
    };
    Ok((u32::from(u16::from_be_bytes(port)) == config.port).then_some(ends))
}

/// The IP version that the frame names: by its EtherType, or where it has none by the packet itself.
#[inline(always)]
fn family<F: Frame + ?Sized>(frame: &F, at: usize) -> Result<u8, OutOfReach> {
    if at == 0 {
        // Two bytes: the verifier takes no look at the first one alone for a check of the frame's end.
        return Ok(read::<2, F>(frame, 0)?.map_or(0, |[first, _]| first >> 4));
    }
    let ethertype = read::<2, F>(frame, ethernet::TYPE_OFFSET)?.map(u16::from_be_bytes);
    Ok(match ethertype {
        Some(ethernet::IPV4) => 4,
        Some(ethernet::IPV6) => 6,
        _ => 0,
    })
}

/// The ends of an IPv4 packet with UDP, and where UDP begins.
#[inline(always)]
fn ends_v4<F: Frame + ?Sized>(frame: &F, at: usize) -> Result<Option<(Ends, usize)>, OutOfReach> {
    let Some(packet) = read::<{ ip::V4_LEN }, F>(frame, at)? else {
        return Ok(None);
    };
    let [first, _, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = packet;
    let offset = u16::from_be_bytes([f0, f1]) & 0x1fff;
    if protocol != ip::UDP || offset != 0 {
        return Ok(None);
    }
    let source = ip16_from_v4([s0, s1, s2, s3]);
    let destination = ip16_from_v4([d0, d1, d2, d3]);
    Ok(Some((Ends { source, destination }, at + usize::from(first & 0x0f) * 4)))
}

/// The ends of an IPv6 packet with UDP, at once or behind the header of a first fragment, which the far
/// end would put together and take; and where UDP begins.
#[inline(always)]
fn ends_v6<F: Frame + ?Sized>(frame: &F, at: usize) -> Result<Option<(Ends, usize)>, OutOfReach> {
    let Some([next]) = read::<1, F>(frame, at + 6)? else {
        return Ok(None);
    };
    let Some(source) = read::<16, F>(frame, at + 8)? else {
        return Ok(None);
    };
    let Some(destination) = read::<16, F>(frame, at + 24)? else {
        return Ok(None);
    };
    let ends = Ends { source, destination };
    let payload = at + ip::V6_LEN;
    if next == ip::UDP {
        return Ok(Some((ends, payload)));
    }
    if next != ip::V6_FRAGMENT {
        return Ok(None);
    }
    let Some([next, _, o0, o1]) = read::<4, F>(frame, payload)? else {
        return Ok(None);
    };
    let is_first = u16::from_be_bytes([o0, o1]) & 0xfff8 == 0;
    Ok((next == ip::UDP && is_first).then_some((ends, payload + 8)))
}
