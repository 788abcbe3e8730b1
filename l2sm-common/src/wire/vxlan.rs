//! VXLAN (RFC 7348) and the outer headers before it.

use super::{ethernet, ip};

/// Length of a VXLAN header, bytes (RFC 7348 section 5).
pub const LEN: usize = 8;
/// "I" flag of the first byte: the VNI is valid.
pub const FLAG_VNI: u8 = 0x08;
/// What encapsulation over IPv4 adds in front of the inner frame, bytes.
pub const OVERHEAD_V4: usize = ethernet::LEN + ip::V4_LEN + ip::UDP_LEN + LEN;
/// What encapsulation over IPv6 adds in front of the inner frame, bytes.
pub const OVERHEAD_V6: usize = ethernet::LEN + ip::V6_LEN + ip::UDP_LEN + LEN;

const _: () = assert!(OVERHEAD_V4 == 50 && OVERHEAD_V6 == 70);
