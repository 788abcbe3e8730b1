//! The VXLAN network identifier.

use core::fmt;

/// A VXLAN network identifier: 24 bits, `1..=0xff_ffff`.
///
/// Zero is legal on the wire (RFC 7348 section 5) but refused here: map values are
/// zero-initialised, so a zero VNI in a map always means "unset".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vni(u32);

impl Vni {
    /// Smallest VNI.
    pub const MIN: Self = Self(1);
    /// Largest VNI, `2^24 - 1`.
    pub const MAX: u32 = 0x00ff_ffff;

    /// The VNI `raw`, or `None` when it is zero or does not fit in 24 bits.
    #[inline(always)]
    pub const fn new(raw: u32) -> Option<Self> {
        if raw == 0 || raw > Self::MAX { None } else { Some(Self(raw)) }
    }

    /// The number, in host order.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twenty_four_bits_without_zero_are_a_vni() {
        assert_eq!(Vni::new(0), None);
        assert_eq!(Vni::new(1).map(Vni::get), Some(1));
        assert_eq!(Vni::new(Vni::MAX).map(Vni::get), Some(0xff_ffff));
        assert_eq!(Vni::new(Vni::MAX + 1), None);
    }
}
