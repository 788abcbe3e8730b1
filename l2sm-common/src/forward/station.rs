//! Where a frame goes inside its segment: the part that all three ways in share.

use crate::{
    decision::Decision,
    ids::{FloodId, Group, IfIndex, Slot, VtepId},
    maps::{FdbEntry, FdbKey, SegmentEntry, port_flags, segment_flags, target_kind},
    reason::DropReason,
    tables::Tables,
    verdict::{Decap, Delivery, Flood, Inner, Verdict},
    vni::Vni,
    wire::ethernet,
};

/// The segment that a frame is in, and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number.
    pub vni: Vni,
    /// Where it counts.
    pub slot: Slot,
    /// Device that the frame came in by.
    pub from: IfIndex,
    /// Split-horizon group that it came from.
    pub group: Group,
    /// Outer TOS of copies to VTEPs.
    pub tos: u8,
    /// Outer headers to take off.
    pub decap: Option<Decap>,
}

impl Place {
    /// Counts here.
    #[inline(always)]
    pub const fn decide(&self, verdict: Verdict) -> Decision {
        Decision::new(self.slot, verdict)
    }

    /// The decision about a group frame.
    #[inline(always)]
    pub fn flood_group<T: Tables>(&self, tables: &T, destination: crate::mac::Mac) -> Decision {
        if destination.is_link_local() {
            return self.decide(Verdict::Drop(DropReason::LinkLocal));
        }
        let Some(segment) = tables.segment(self.vni) else {
            return self.decide(Verdict::Drop(DropReason::NoSegment));
        };
        if segment.flags & segment_flags::FLOOD == 0 {
            return self.decide(Verdict::Drop(DropReason::FloodDisabled));
        }
        self.flood(&segment, false)
    }

    /// The decision about unicast to a MAC that nobody listed.
    #[inline(always)]
    pub fn flood_unknown<T: Tables>(&self, tables: &T) -> Decision {
        let Some(segment) = tables.segment(self.vni) else {
            return self.decide(Verdict::Drop(DropReason::NoSegment));
        };
        if segment.flags & segment_flags::UNKNOWN == 0 {
            return self.decide(Verdict::Drop(DropReason::UnknownUnicast));
        }
        self.flood(&segment, true)
    }

    #[inline(always)]
    fn flood(&self, segment: &SegmentEntry, unknown: bool) -> Decision {
        if segment.flood_id == 0 {
            return self.decide(Verdict::Drop(DropReason::FloodFailed));
        }
        self.decide(Verdict::Flood(Flood {
            list: FloodId(segment.flood_id),
            vni: self.vni,
            from: self.from,
            group: self.group,
            unknown,
            tos: self.tos,
            decap: self.decap,
        }))
    }
}

/// Where the FDB says that a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// At a port of this node.
    Port {
        /// Host end.
        port: IfIndex,
        /// `bpf_redirect_peer` works there.
        peer: bool,
    },
    /// Behind a VTEP.
    Vtep {
        /// The VTEP.
        vtep: VtepId,
        /// Its split-horizon group.
        group: Group,
    },
    /// Nobody listed it.
    Unknown,
}

/// Looks a MAC up.
#[inline(always)]
pub fn find<T: Tables>(tables: &T, key: &FdbKey) -> Station {
    match tables.fdb(key) {
        Some(FdbEntry { kind: target_kind::PORT, flags, target, .. }) => {
            Station::Port { port: IfIndex(target), peer: u32::from(flags) & port_flags::PEER != 0 }
        }
        Some(FdbEntry { kind: target_kind::VTEP, group, target, .. }) => {
            Station::Vtep { vtep: VtepId(target), group: Group(group) }
        }
        _ => Station::Unknown,
    }
}

/// How to deliver a frame of this family: `bpf_redirect_peer` does not look at the frame again, so
/// `skb->protocol` must be right already.
#[inline(always)]
pub const fn delivery(peer: bool, inner: Inner) -> Delivery {
    match inner {
        Inner::V4 | Inner::V6 if peer => Delivery::Peer,
        Inner::V4 | Inner::V6 | Inner::Other => Delivery::Device,
    }
}

/// The family that an EtherType names.
#[inline(always)]
pub const fn family(ethertype: u16) -> Inner {
    match ethertype {
        ethernet::IPV4 => Inner::V4,
        ethernet::IPV6 => Inner::V6,
        _ => Inner::Other,
    }
}
