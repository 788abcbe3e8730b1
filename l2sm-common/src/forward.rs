//! The forwarding decision, without side effects: [`port::from_port`] for what pods send,
//! [`uplink::from_uplink`] for what arrives on the underlay, [`tunnel::from_tunnel`] for what came
//! up the slow path, [`egress::leaves`] for what the node sends.
//!
//! | the frame | goes |
//! |---|---|
//! | ARP request, known target of another port | answered |
//! | broadcast, multicast | along the flood list |
//! | unicast, FDB names a port | to that port |
//! | unicast, FDB names a VTEP | to that VTEP; from the underlay: dropped (split horizon) |
//! | unicast, unknown | to UNKNOWN entries of the flood list, if any; else dropped |

pub mod egress;
pub mod ends;
pub mod flood;
pub mod neighbor;
pub mod port;
pub mod remote;
pub mod station;
pub mod tunnel;
pub mod uplink;

#[cfg(any(test, feature = "std"))]
pub mod memory;
