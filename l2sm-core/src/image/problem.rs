//! What of the instructions cannot be done as said.

use std::net::IpAddr;

use l2sm_common::{
    abi::{FLOOD_CHUNK, FLOOD_CHUNKS_MAX, SEGMENTS_CAPACITY},
    mac::Mac,
    vni::Vni,
};

use crate::model::ObjectKey;

/// Something that the image had to leave out, although nothing that the node will see later can
/// bring it in. What only waits (a device that is not made yet) is no problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// A flood list has more receivers than chunks can hold; the rest gets no broadcast.
    #[error(
        "network {network} floods to {receivers} receivers: at most {most} fit, the others get \\
         no broadcast", most = FLOOD_CHUNK * FLOOD_CHUNKS_MAX
    )]
    FloodListTooLong {
        /// The network.
        network: ObjectKey,
        /// Receivers that it should have.
        receivers: usize,
    },
    /// No counter slot is free.
    #[error(
        "network {network} (VNI {vni}) is not counted: all {SEGMENTS_CAPACITY} counter slots are \\
         in use"
    )]
    NoSlot {
        /// The network.
        network: ObjectKey,
        /// Its VNI.
        vni: Vni,
    },
    /// A VTEP has no address that this node can send to.
    #[error("VTEP {vtep} cannot be reached: this node has no VTEP address of the same IP family")]
    NoFamily {
        /// Name of the VTEP.
        vtep: String,
    },
    /// Two VTEPs have the same address, or one has an address of this node.
    #[error("VTEP {vtep} is left out: its address {address} belongs to {holder}")]
    VtepAddressTaken {
        /// Name of the VTEP.
        vtep: String,
        /// The address.
        address: IpAddr,
        /// Who has it: another VTEP's name, or "this node".
        holder: String,
    },
    /// Two stations of a network have the same address; the first by MAC is programmed.
    #[error("{address} of {mac} in VNI {vni} is left out: it belongs to {holder}")]
    AddressTaken {
        /// The segment.
        vni: Vni,
        /// The address.
        address: IpAddr,
        /// The station that does not get it.
        mac: Mac,
        /// The station that has it.
        holder: Mac,
    },
}
