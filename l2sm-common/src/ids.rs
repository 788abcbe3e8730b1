//! Numbers that must not be confused with one another.

/// A network device of the node's namespace; never zero for a real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct IfIndex(pub u32);

/// A tunnel endpoint, as this node's agent numbers it: the key of `VTEPS`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VtepId(pub u32);

/// A flood list, as this node's agent numbers it: half of the key of `FLOOD`. Never zero; a changed
/// list gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct FloodId(pub u32);

/// An index into `TRAFFIC` and half of the key of `DROPS`. A network has one on each node; slot 0
/// counts what belongs to no network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Slot(pub u32);

/// A split-horizon group: a frame never goes back to the group it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Group(pub u16);

impl Group {
    /// Local ports: no split horizon among them (only the port itself is left out).
    pub const PORTS: Self = Self(0);
    /// The full mesh of VTEPs of one cluster.
    pub const MESH: Self = Self(1);
}

/// An IP address as 16 bytes in network order: IPv6, or IPv4 mapped into it
/// (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
pub type Ip16 = [u8; 16];

/// The 16-byte form of an IPv4 address.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "widening, in a const function")]
pub const fn ip16_from_v4(v4: [u8; 4]) -> Ip16 {
    // As a number: an array literal becomes a call of memset in a BPF program.
    (0xffff_0000_0000 | u32::from_be_bytes(v4) as u128).to_be_bytes()
}

/// The 16-byte form of an address.
#[cfg(any(test, feature = "std"))]
pub const fn ip16(address: core::net::IpAddr) -> Ip16 {
    match address {
        core::net::IpAddr::V4(v4) => ip16_from_v4(v4.octets()),
        core::net::IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address that [`ip16`] made these bytes from.
#[cfg(any(test, feature = "std"))]
pub fn ip_from_16(bytes: Ip16) -> core::net::IpAddr {
    core::net::Ipv6Addr::from(bytes).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_sixteen_byte_form() {
        for text in ["192.0.2.7", "2001:db8::7", "::", "0.0.0.0"] {
            let address: core::net::IpAddr = text.parse().unwrap();
            assert_eq!(ip_from_16(ip16(address)), address);
        }
    }
}
