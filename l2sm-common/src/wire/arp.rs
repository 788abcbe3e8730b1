//! ARP for IPv4 over Ethernet (RFC 826).

use crate::{mac::Mac, wire::ethernet};

/// Length of an ARP packet for IPv4 over Ethernet, bytes.
pub const LEN: usize = 28;
/// Length of the whole frame without padding, bytes.
pub const FRAME_LEN: usize = ethernet::LEN + LEN;
/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4, operation request.
const REQUEST: [u8; 8] = [0, 1, 0x08, 0x00, 6, 4, 0, 1];

/// An ARP request for an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Sender's MAC.
    pub sender_mac: Mac,
    /// Sender's address; `0.0.0.0` in a probe (RFC 5227).
    pub sender_ip: [u8; 4],
    /// The address asked for.
    pub target_ip: [u8; 4],
}

impl Request {
    /// Reads an ARP packet; `None` unless it is a request for IPv4 over Ethernet.
    #[inline(always)]
    pub fn parse(packet: &[u8; LEN]) -> Option<Self> {
        let [
            h0,
            h1,
            h2,
            h3,
            h4,
            h5,
            h6,
            h7,
            a,
            b,
            c,
            d,
            e,
            f,
            s0,
            s1,
            s2,
            s3,
            _,
            _,
            _,
            _,
            _,
            _,
            t0,
            t1,
            t2,
            t3,
        ] = *packet;
        ([h0, h1, h2, h3, h4, h5, h6, h7] == REQUEST).then_some(Self {
            sender_mac: Mac([a, b, c, d, e, f]),
            sender_ip: [s0, s1, s2, s3],
            target_ip: [t0, t1, t2, t3],
        })
    }

    /// Whether the sender announces its own address (RFC 5227 section 3).
    #[inline(always)]
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// The reply from `owner`, as a whole frame to `asker` (the request's Ethernet source).
    #[inline(always)]
    pub const fn reply(&self, asker: Mac, owner: Mac) -> [u8; FRAME_LEN] {
        let [d0, d1, d2, d3, d4, d5] = asker.0;
        let [o0, o1, o2, o3, o4, o5] = owner.0;
        let [m0, m1, m2, m3, m4, m5] = self.sender_mac.0;
        let [s0, s1, s2, s3] = self.sender_ip;
        let [t0, t1, t2, t3] = self.target_ip;
        [
            d0, d1, d2, d3, d4, d5, o0, o1, o2, o3, o4, o5, 0x08, 0x06, // Ethernet
            0, 1, 0x08, 0x00, 6, 4, 0, 2, // reply
            o0, o1, o2, o3, o4, o5, t0, t1, t2, t3, m0, m1, m2, m3, m4, m5, s0, s1, s2, s3,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_names_the_owner_and_goes_to_the_asker() {
        let asker = Mac([2, 0, 0, 0, 0, 1]);
        let owner = Mac([2, 0, 0, 0, 0, 2]);
        let mut packet = [0; LEN];
        packet[..8].copy_from_slice(&REQUEST);
        packet[8..14].copy_from_slice(&asker.0);
        packet[14..18].copy_from_slice(&[10, 0, 0, 1]);
        packet[24..28].copy_from_slice(&[10, 0, 0, 2]);
        let request = Request::parse(&packet).unwrap();

        let reply = request.reply(asker, owner);

        assert_eq!(reply[..6], asker.0);
        assert_eq!(reply[6..12], owner.0);
        assert_eq!(reply[20..22], [0, 2]);
        assert_eq!(reply[22..28], owner.0);
        assert_eq!(reply[28..32], [10, 0, 0, 2]);
        assert_eq!(reply[32..38], asker.0);
        assert_eq!(reply[38..42], [10, 0, 0, 1]);
    }

    #[test]
    fn only_requests_for_ipv4_over_ethernet_are_requests() {
        let mut packet = [0; LEN];
        packet[..8].copy_from_slice(&REQUEST);
        assert!(Request::parse(&packet).is_some());
        for at in 0..8 {
            let mut other = packet;
            other[at] ^= 0x40;
            assert_eq!(Request::parse(&other), None, "byte {at}");
        }
    }
}
