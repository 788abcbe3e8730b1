//! IPv6 neighbour discovery over Ethernet (RFC 4861), as far as a proxy needs it.

use crate::{
    mac::Mac,
    wire::{ethernet, ip},
};

/// Next-header number of `ICMPv6`.
const ICMPV6: u8 = 58;
/// Hop limit that shows that nobody routed the packet (RFC 4861 section 7.1).
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Length of a solicitation without options behind its Ethernet header, bytes: IPv6 40, `ICMPv6` 24.
pub const SOLICITATION_LEN: usize = ip::V6_LEN + 24;
/// Length of an advertisement with the target's link-layer address, as a frame, bytes.
pub const ADVERTISEMENT_LEN: usize = ethernet::LEN + ip::V6_LEN + 32;

/// A neighbour solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; `::` while the asker checks that nobody has the address (RFC 4862 section 5.4).
    pub source: [u8; 16],
    /// The address asked for.
    pub target: [u8; 16],
}

impl Solicitation {
    /// Reads the packet behind an Ethernet header; `None` unless it is a solicitation that nobody
    /// routed, with code 0 and without extension headers.
    #[inline(always)]
    pub fn parse(packet: &[u8; SOLICITATION_LEN]) -> Option<Self> {
        let kind = [packet[6], packet[7], packet[40], packet[41]];
        if kind != [ICMPV6, HOP_LIMIT, SOLICITATION, 0] {
            return None;
        }
        Some(Self { source: sixteen(packet, 8)?, target: sixteen(packet, 48)? })
    }

    /// Whether the asker has no address yet.
    #[inline(always)]
    pub fn is_probe(&self) -> bool {
        self.source == [0; 16]
    }

    /// The advertisement from `owner`, as a whole frame to `asker` (the solicitation's Ethernet
    /// source), or to all nodes when the asker has no address. `router`: the R flag.
    #[inline(always)]
    pub fn advertisement(&self, asker: Mac, owner: Mac, router: bool) -> [u8; ADVERTISEMENT_LEN] {
        let probe = self.is_probe();
        let (to_mac, to_ip) = if probe { (ALL_NODES_MAC, ALL_NODES) } else { (asker, self.source) };
        let mut frame = [0; ADVERTISEMENT_LEN];
        put(&mut frame, 0, &to_mac.0);
        put(&mut frame, 6, &owner.0);
        put(&mut frame, 12, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, ICMPV6, HOP_LIMIT]);
        put(&mut frame, 22, &self.target);
        put(&mut frame, 38, &to_ip);
        // Override always; solicited unless to all nodes.
        let flags = 0x20 | if router { 0x80 } else { 0 } | if probe { 0 } else { 0x40 };
        put(&mut frame, 54, &[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
        put(&mut frame, 62, &self.target);
        put(&mut frame, 78, &[2, 1]);
        put(&mut frame, 80, &owner.0);
        let sum = checksum(&frame);
        put(&mut frame, 56, &sum.to_be_bytes());
        frame
    }
}

const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Offset of the IPv6 addresses in a frame, bytes.
const ADDRESSES: usize = 22;

/// `ICMPv6` checksum of the frame (RFC 4443 section 2.3): addresses, length, next header, message.
#[inline(always)]
fn checksum(frame: &[u8; ADVERTISEMENT_LEN]) -> u16 {
    let (words, _rest) = frame.as_chunks::<2>();
    let mut sum = 32 + u32::from(ICMPV6);
    for word in words.iter().skip(ADDRESSES / 2) {
        sum += u32::from(u16::from_be_bytes(*word));
    }
    !ip::fold(sum)
}

#[inline(always)]
fn sixteen(packet: &[u8; SOLICITATION_LEN], at: usize) -> Option<[u8; 16]> {
    packet.get(at..)?.first_chunk().copied()
}

#[inline(always)]
fn put<const N: usize>(frame: &mut [u8; ADVERTISEMENT_LEN], at: usize, bytes: &[u8; N]) {
    if let Some(place) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = *bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OWNER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn packet() -> [u8; SOLICITATION_LEN] {
        let mut packet = [0; SOLICITATION_LEN];
        packet[0] = 0x60;
        packet[6..8].copy_from_slice(&[ICMPV6, HOP_LIMIT]);
        packet[8..24].copy_from_slice(&[0xaa; 16]);
        packet[40] = SOLICITATION;
        packet[48..64].copy_from_slice(&[0xbb; 16]);
        packet
    }

    /// Sums the way a receiver does: pseudo-header and message, checksum included.
    fn verify(frame: &[u8; ADVERTISEMENT_LEN]) -> bool {
        let mut bytes = frame[22..54].to_vec();
        bytes.extend([0, 0, 0, 32, 0, 0, 0, ICMPV6]);
        bytes.extend(&frame[54..]);
        let words = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        ip::fold(words.sum()) == 0xffff
    }

    #[test]
    fn an_advertisement_answers_the_asker() {
        let asked = Solicitation::parse(&packet()).unwrap();
        let frame = asked.advertisement(ASKER, OWNER, true);
        assert_eq!(frame[..12], [ASKER.0, OWNER.0].concat());
        assert_eq!(frame[22..38], [0xbb; 16]);
        assert_eq!(frame[38..54], [0xaa; 16]);
        assert_eq!(frame[58], 0xe0, "router, solicited, override");
        assert_eq!(frame[80..86], OWNER.0);
        assert!(verify(&frame));
    }

    #[test]
    fn a_probe_is_answered_to_all_nodes() {
        let mut packet = packet();
        packet[8..24].fill(0);
        let asked = Solicitation::parse(&packet).unwrap();
        let frame = asked.advertisement(ASKER, OWNER, false);
        assert_eq!(frame[..6], ALL_NODES_MAC.0);
        assert_eq!(frame[38..54], ALL_NODES);
        assert_eq!(frame[58], 0x20, "override alone");
        assert!(verify(&frame));
    }

    #[test]
    fn only_solicitations_that_nobody_routed_are_read() {
        for (at, byte) in [(6, 0), (7, 254), (40, 136), (41, 1)] {
            let mut other = packet();
            other[at] = byte;
            assert_eq!(Solicitation::parse(&other), None, "byte {at}");
        }
    }
}
