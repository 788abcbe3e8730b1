//! What to do with a frame.

use crate::{
    ids::{FloodId, Group, IfIndex, Slot, VtepId},
    reason::DropReason,
    vni::Vni,
    wire::arp,
};

/// A verdict, with what counters and the port's entry need besides.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where it is counted.
    pub slot: Slot,
    /// What to do.
    pub verdict: Verdict,
    /// The frame shows that the port it came from forwards traffic of others: mark the port.
    pub forwarder: bool,
}

impl Decision {
    /// `verdict`, counted in `slot`.
    #[inline(always)]
    pub const fn new(slot: Slot, verdict: Verdict) -> Self {
        Self { slot, verdict, forwarder: false }
    }

    /// A drop, counted in `slot`.
    #[inline(always)]
    pub const fn drop(slot: Slot, reason: DropReason) -> Self {
        Self::new(slot, Verdict::Drop(reason))
    }
}

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
    /// Back out of the port it came from, with these first bytes.
    Answer([u8; arp::FRAME_LEN]),
    /// Nowhere.
    Drop(DropReason),
}

/// How a frame gets into a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `bpf_redirect_peer`: straight to the other end of the veth. Only where `skb->protocol` is
    /// right for the inner frame.
    Peer,
    /// `bpf_redirect`: out of the host end, whose transmission sets the protocol anew.
    Device,
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
pub enum Inner {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Anything else.
    Other,
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
