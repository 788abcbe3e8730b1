//! IPv4 (RFC 791) and IPv6 (RFC 8200), as far as a tunnel endpoint needs them.

/// Length of an IPv4 header without options, bytes.
pub const V4_LEN: usize = 20;
/// Length of an IPv6 header without extensions, bytes.
pub const V6_LEN: usize = 40;
/// Length of a UDP header, bytes (RFC 768).
pub const UDP_LEN: usize = 8;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Next-header number of the IPv6 fragment header.
pub const V6_FRAGMENT: u8 = 44;
/// "More fragments" and the fragment offset, of the word at offset 6 of an IPv4 header.
pub const V4_FRAGMENT_MASK: u16 = 0x3fff;

/// Adds 16-bit words with end-around carry (RFC 1071), without inverting.
///
/// # Examples
///
/// ```
/// use l2sm_common::wire::ip::fold;
/// assert_eq!(fold(0x1_fffe), 0xffff);
/// ```
#[inline(always)]
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "folded to 16 bits")]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}
