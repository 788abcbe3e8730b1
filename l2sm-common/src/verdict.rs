//! What to do with a frame.

use crate::{
    ids::{FloodId, Group, IfIndex, VtepId},
    mac::Mac,
    reason::DropReason,
    vni::Vni,
};

/// What to do with a frame.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not ours: the next program, then the stack, get it unchanged.
    Pass,
    /// Ours, but for `l2sm-vxlan` to decapsulate: mark it and let the stack have it.
    HandUp,
    /// Bytes are needed that are not in reach: pull them and decide again.
    Pull,
    /// To a port of this node.
    Deliver {
        /// The port's host end.
        port: IfIndex,
        /// How.
        delivery: Delivery,
        /// The outer headers to take off first.
        decap: Option<Decap>,
    },
    /// To a VTEP.
    ToVtep(ToVtep),
    /// To everybody on a flood list.
    Flood(Flood),
    /// An ARP request that is answered in the owner's name: back out of the port it came from.
    Answer {
        /// Who has the address asked for.
        owner: Mac,
    },
    /// An IPv6 neighbour solicitation that is answered in the owner's name.
    Advertise {
        /// Who has the address asked for.
        owner: Mac,
        /// It is a router.
        router: bool,
    },
    /// Nowhere.
    Drop(DropReason),
}

/// How a frame gets into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Delivery {
    /// `bpf_redirect_peer`: straight to the other end of the veth. Only where `skb->protocol` is
    /// right for the inner frame.
    Peer = 0,
    /// `bpf_redirect`: out of the host end, whose transmission sets the protocol anew.
    Device = 1,
}

/// Outer headers to take off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decap {
    /// Their length, bytes: 50 or 70.
    pub length: u32,
    /// Family of the inner packet.
    pub inner: Inner,
    /// ECN field to set in the inner packet (RFC 6040).
    pub ecn: Option<u8>,
}

/// Family of an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Inner {
    /// IPv4.
    V4 = 0,
    /// IPv6.
    V6 = 1,
    /// Anything else.
    Other = 2,
}

/// A frame's way to a VTEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToVtep {
    /// The VTEP.
    pub vtep: VtepId,
    /// Segment.
    pub vni: Vni,
    /// Outer TOS or traffic class.
    pub tos: u8,
    /// Encapsulate here, or leave it to `l2sm-vxlan`.
    pub way: Way,
}

/// How a frame is encapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In BPF, by the path with this index.
    Fast {
        /// Index into [`crate::maps::VtepEntry::paths`].
        path: u32,
        /// The outer header is IPv6.
        v6: bool,
    },
    /// By `l2sm-vxlan`.
    Slow,
}

/// A frame's way along a flood list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// The list.
    pub list: FloodId,
    /// Segment.
    pub vni: Vni,
    /// The device it came from gets no copy.
    pub from: IfIndex,
    /// Nor does this split-horizon group.
    pub group: Group,
    /// Only who may have unlisted stations.
    pub unknown: bool,
    /// Outer TOS or traffic class of copies to VTEPs.
    pub tos: u8,
    /// The outer headers to take off first.
    pub decap: Option<Decap>,
}
