//! Wire formats: offsets and lengths in bytes, numbers as they are on the wire.

pub mod arp;
pub mod ecn;
pub mod ethernet;
pub mod ip;
pub mod nd;
pub mod vxlan;
