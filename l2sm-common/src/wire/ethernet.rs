//! Ethernet II (IEEE 802.3 clause 3).

use crate::mac::Mac;

/// Length of a header without a VLAN tag, bytes.
pub const LEN: usize = 14;
/// Offset of the EtherType, bytes.
pub const TYPE_OFFSET: usize = 12;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination.
    pub destination: Mac,
    /// Source.
    pub source: Mac,
    /// EtherType, or a length when below `0x0600`.
    pub ethertype: u16,
}

impl Header {
    /// Reads the header's bytes.
    #[inline(always)]
    pub const fn parse(bytes: [u8; LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = bytes;
        Self {
            destination: Mac([a, b, c, d, e, f]),
            source: Mac([g, h, i, j, k, l]),
            ethertype: u16::from_be_bytes([m, n]),
        }
    }
}
