//! The outer headers: a template per path, made by the agent; what the data path patches into it.

use crate::{
    ids::Ip16,
    mac::Mac,
    maps::HEADER_CAPACITY,
    vni::Vni,
    wire::{
        ethernet, ip,
        vxlan::{self, OVERHEAD_V4, OVERHEAD_V6},
    },
};

/// TTL, or hop limit, of tunnel packets.
pub const TTL: u8 = 64;
/// Offset of the template's IP header, bytes.
const IP: usize = ethernet::LEN;

/// The outer header to `remote`: everything but lengths, IPv4 checksum, ECN, source port and VNI.
///
/// An IPv4 header (50 bytes) has "don't fragment" set and identification 0 (an atomic datagram,
/// RFC 6864 section 4.1: what does not fit the path goes by the slow path), and in its checksum
/// field the *uninverted* sum of the rest, for [`finish_v4`]. An IPv6 header has 70 bytes. The
/// UDP checksum is zero (RFC 7348 section 5; RFC 6935 for IPv6). Unused bytes are zero.
pub fn outer_header(
    source_mac: Mac,
    next_hop: Mac,
    source: Ip16,
    remote: Ip16,
    udp_port: u16,
) -> [u8; HEADER_CAPACITY] {
    let mut header = [0; HEADER_CAPACITY];
    let v4 = is_v4(remote);
    put(&mut header, 0, &next_hop.0);
    put(&mut header, 6, &source_mac.0);
    let ethertype = if v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    put(&mut header, ethernet::TYPE_OFFSET, &ethertype.to_be_bytes());
    let udp = if v4 {
        put_v4(&mut header, source, remote);
        IP + ip::V4_LEN
    } else {
        put_v6(&mut header, source, remote);
        IP + ip::V6_LEN
    };
    put(&mut header, udp + 2, &udp_port.to_be_bytes());
    put(&mut header, udp + ip::UDP_LEN, &[vxlan::FLAG_VNI]);
    header
}

/// Whether these 16 bytes are an IPv4 address.
#[inline(always)]
pub fn is_v4(address: Ip16) -> bool {
    let [a @ .., _, _, _, _] = address;
    a == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
}

/// What one frame adds to the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Segment.
    pub vni: Vni,
    /// Length of the inner frame from its Ethernet header on, bytes.
    pub inner_len: u32,
    /// Hash of the inner flow.
    pub hash: u32,
    /// TOS or traffic class of the outer header.
    pub tos: u8,
}

/// UDP source port for a flow: the upper quarter of the port space, so that equal-cost paths and
/// receive queues are picked by flow (RFC 7348 section 5; range of RFC 6335 section 6).
#[inline(always)]
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "takes 16 of 32 bits")]
pub const fn source_port(hash: u32) -> u16 {
    ((hash ^ (hash >> 16)) | 0xc000) as u16
}

/// Completes the first 50 bytes of a header that [`outer_header`] made over IPv4.
#[inline(always)]
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "lengths on the wire have 16 bits; an aggregated frame's is truncated and rewritten at segmentation, as in the kernel"
)]
pub fn finish_v4(header: &mut [u8; OVERHEAD_V4], patch: Patch) {
    let total = patch.inner_len + (OVERHEAD_V4 - ethernet::LEN) as u32;
    header[15] = patch.tos;
    [header[16], header[17]] = (total as u16).to_be_bytes();
    let partial = u16::from_be_bytes([header[24], header[25]]);
    let sum = u32::from(partial) + u32::from(total as u16) + u32::from(patch.tos);
    [header[24], header[25]] = (!ip::fold(sum)).to_be_bytes();
    [header[34], header[35]] = source_port(patch.hash).to_be_bytes();
    [header[38], header[39]] = ((total - ip::V4_LEN as u32) as u16).to_be_bytes();
    let [_, a, b, c] = patch.vni.get().to_be_bytes();
    [header[46], header[47], header[48]] = [a, b, c];
}

/// Completes the first 70 bytes of a header that [`outer_header`] made over IPv6.
#[inline(always)]
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "as in `finish_v4`")]
pub fn finish_v6(header: &mut [u8; OVERHEAD_V6], patch: Patch) {
    let payload = patch.inner_len + (ip::UDP_LEN + vxlan::LEN) as u32;
    header[14] = 0x60 | (patch.tos >> 4);
    header[15] = patch.tos << 4;
    [header[18], header[19]] = (payload as u16).to_be_bytes();
    [header[54], header[55]] = source_port(patch.hash).to_be_bytes();
    [header[58], header[59]] = (payload as u16).to_be_bytes();
    let [_, a, b, c] = patch.vni.get().to_be_bytes();
    [header[66], header[67], header[68]] = [a, b, c];
}

fn put_v4(header: &mut [u8; HEADER_CAPACITY], source: Ip16, remote: Ip16) {
    let [.., a, b, c, d] = source;
    let [.., e, f, g, h] = remote;
    let fixed = [0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, ip::UDP, 0, 0, a, b, c, d, e, f, g, h];
    let sum = fixed.chunks_exact(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        _ => 0,
    });
    let partial = ip::fold(sum.sum());
    put(header, IP, &fixed);
    put(header, IP + 10, &partial.to_be_bytes());
}

fn put_v6(header: &mut [u8; HEADER_CAPACITY], source: Ip16, remote: Ip16) {
    put(header, IP, &[0x60, 0, 0, 0, 0, 0, ip::UDP, TTL]);
    put(header, IP + 8, &source);
    put(header, IP + 24, &remote);
}

fn put(header: &mut [u8; HEADER_CAPACITY], at: usize, bytes: &[u8]) {
    if let Some(place) = header.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ip16_from_v4;
    use proptest::prelude::*;

    /// RFC 1071 over whole bytes: the independent sum.
    fn checksum(bytes: &[u8]) -> u16 {
        let sum: u64 = bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(w[1])).sum();
        let mut sum = sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn the_ipv4_header_adds_up(
            source: [u8; 4], remote: [u8; 4], tos: u8, hash: u32,
            inner_len in 14u32..65_000, vni in 1u32..=Vni::MAX, port: u16,
        ) {
            let template = outer_header(
                Mac([2; 6]), Mac([4; 6]), ip16_from_v4(source), ip16_from_v4(remote), port,
            );
            let mut header: [u8; OVERHEAD_V4] = template[..OVERHEAD_V4].try_into().unwrap();
            let vni = Vni::new(vni).unwrap();
            finish_v4(&mut header, Patch { vni, inner_len, hash, tos });

            prop_assert_eq!(checksum(&header[14..34]), 0xffff);
            let total = u32::from(u16::from_be_bytes([header[16], header[17]]));
            prop_assert_eq!(total, inner_len + 36);
            let udp = u32::from(u16::from_be_bytes([header[38], header[39]]));
            prop_assert_eq!(udp, inner_len + 16);
            prop_assert!(u16::from_be_bytes([header[34], header[35]]) >= 0xc000);
            prop_assert_eq!(u16::from_be_bytes([header[36], header[37]]), port);
            prop_assert_eq!(header[42..46].to_vec(), vec![8, 0, 0, 0]);
            prop_assert_eq!(u32::from_be_bytes([0, header[46], header[47], header[48]]), vni.get());
            prop_assert_eq!(header[49], 0);
        }

        #[test]
        fn the_ipv6_header_has_its_lengths_and_class(
            tos: u8, hash: u32, inner_len in 14u32..65_000, vni in 1u32..=Vni::MAX,
        ) {
            let template = outer_header(Mac([2; 6]), Mac([4; 6]), [1; 16], [2; 16], 7000);
            let mut header: [u8; OVERHEAD_V6] = template[..OVERHEAD_V6].try_into().unwrap();
            let vni = Vni::new(vni).unwrap();
            finish_v6(&mut header, Patch { vni, inner_len, hash, tos });

            let class = u16::from_be_bytes([header[14], header[15]]);
            prop_assert_eq!((class >> 4) & 0xff, u16::from(tos));
            prop_assert_eq!(class >> 12, 6);
            let payload = u32::from(u16::from_be_bytes([header[18], header[19]]));
            prop_assert_eq!(payload, inner_len + 16);
            prop_assert_eq!(&header[18..20], &header[58..60]);
            prop_assert_eq!(header[20], 17);
            prop_assert_eq!(u32::from_be_bytes([0, header[66], header[67], header[68]]), vni.get());
        }
    }
}
