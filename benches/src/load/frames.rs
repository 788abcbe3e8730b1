//! Frames that no socket makes.

use l2sm_common::mac::Mac;

/// A VNI that no network of the benchmark has.
const UNKNOWN: u32 = 0x00ab_cdef;

/// What a tunnel packet of a network that nobody has carries behind its UDP header: VXLAN, Ethernet,
/// and 46 bytes of an EtherType for experiments.
pub fn of_unknown_network() -> Vec<u8> {
    let mut datagram = vec![8, 0, 0, 0];
    datagram.extend((UNKNOWN << 8).to_be_bytes());
    datagram.extend(Mac([2, 0, 0, 0, 0, 2]).0);
    datagram.extend(Mac([2, 0, 0, 0, 0, 1]).0);
    datagram.extend([0x88, 0xb5]);
    datagram.resize(8 + 14 + 46, 0);
    datagram
}
