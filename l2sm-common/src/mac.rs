//! Ethernet addresses.

use core::fmt;

/// An Ethernet (MAC) address, as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set: multicast, or broadcast (IEEE 802-2014 section 8.2.2).
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether all bits are zero: no address.
    #[inline(always)]
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Whether a frame may come from here: neither a group nor no address
    /// (`is_valid_ether_addr` in the kernel).
    #[inline(always)]
    pub const fn is_station(self) -> bool {
        !self.is_group() && !self.is_zero()
    }

    /// Whether this is `01:80:c2:00:00:01` to `0f`, which no bridge forwards (IEEE 802.1Q-2018 table
    /// 8-1). The group of the spanning tree protocol, `00`, is none of them: a bridge without it, as
    /// ours and as the kernel's by default, floods it (`br_handle_frame`).
    #[inline(always)]
    pub const fn is_link_local(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, 0x01..=0x0f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is not a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected six pairs of hex digits with colons, as in 02:00:5e:10:00:01")
    }
}

impl core::error::Error for NotAMac {}

impl core::str::FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut mac = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().ok_or(NotAMac)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = match u8::from_str_radix(part, 16) {
                Ok(value) => value,
                Err(_not_hex) => return Err(NotAMac),
            };
        }
        if parts.next().is_some() { Err(NotAMac) } else { Ok(Self(mac)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn groups_and_nothing_are_no_stations() {
        assert!(Mac([2, 0, 0, 0, 0, 1]).is_station());
        assert!(!Mac([0; 6]).is_station());
        assert!(!Mac::BROADCAST.is_station());
        assert!(!Mac([0x33, 0x33, 0, 0, 0, 1]).is_station());
    }

    #[test]
    fn only_the_fifteen_reserved_groups_are_link_local() {
        assert!(!Mac([0x01, 0x80, 0xc2, 0, 0, 0]).is_link_local());
        assert!(Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]).is_link_local());
        assert!(!Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local());
        assert!(!Mac([0x01, 0x80, 0xc2, 0, 1, 0]).is_link_local());
    }

    #[test]
    fn odd_spellings_are_refused() {
        for text in [
            "",
            "02:00",
            "02:00:00:00:00:1",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:+1",
            "02-00-00-00-00-01",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes: [u8; 6]) {
            prop_assert_eq!(Mac(bytes).to_string().parse(), Ok(Mac(bytes)));
        }
    }
}
