//! Counters.
//!
//! A frame that is dropped goes through [`dropped`], from whichever hook.

use l2sm_common::{
    frame::Frame as _,
    ids::Slot,
    maps::{DropKey, Tally, Traffic},
    reason::DropReason,
};

use crate::{
    event::{self, Recorded},
    maps::{DROPS, TRAFFIC},
    skb::Skb,
};

/// What a frame counts for.
#[derive(Clone, Copy)]
pub(crate) struct Volume {
    packets: u64,
    bytes: u64,
}

impl Volume {
    /// A bare frame.
    #[inline(always)]
    pub(crate) fn of(skb: &Skb) -> Self {
        Self { packets: skb.packets(), bytes: u64::from(skb.len()) }
    }

    /// A tunnel packet's inner frames; `outer`: length of the outer headers, bytes.
    #[inline(always)]
    pub(crate) fn inside(skb: &Skb, outer: u32) -> Self {
        Self { packets: skb.packets(), bytes: u64::from(skb.len().wrapping_sub(outer)) }
    }

    /// One copy of a frame of this length.
    #[inline(always)]
    pub(crate) fn copy(bytes: u32) -> Self {
        Self { packets: 1, bytes: u64::from(bytes) }
    }
}

/// A frame from a pod to a pod of this node.
#[inline(always)]
pub(crate) fn port_to_port(slot: Slot, volume: Volume) {
    with(slot, |traffic| {
        add(&mut traffic.from_port, volume);
        add(&mut traffic.to_port, volume);
    });
}

/// A frame from a pod to a VTEP.
#[inline(always)]
pub(crate) fn port_to_vtep(slot: Slot, volume: Volume, slow: bool) {
    with(slot, |traffic| {
        add(&mut traffic.from_port, volume);
        add(&mut traffic.to_vtep, volume);
        if slow {
            add(&mut traffic.slow_sent, volume);
        }
    });
}

/// A frame from a pod to many.
#[inline(always)]
pub(crate) fn from_port(slot: Slot, volume: Volume) {
    with(slot, |traffic| add(&mut traffic.from_port, volume));
}

/// A pod's question that is answered here.
#[inline(always)]
pub(crate) fn answered(slot: Slot, volume: Volume) {
    with(slot, |traffic| {
        add(&mut traffic.from_port, volume);
        add(&mut traffic.answered, volume);
    });
}

/// A tunnel packet for a pod of this node.
#[inline(always)]
pub(crate) fn vtep_to_port(slot: Slot, volume: Volume) {
    with(slot, |traffic| {
        add(&mut traffic.from_vtep, volume);
        add(&mut traffic.to_port, volume);
    });
}

/// A tunnel packet for many.
#[inline(always)]
pub(crate) fn from_vtep(slot: Slot, volume: Volume) {
    with(slot, |traffic| add(&mut traffic.from_vtep, volume));
}

/// A tunnel packet left to `l2sm-vxlan`.
#[inline(always)]
pub(crate) fn handed_up(slot: Slot, volume: Volume) {
    with(slot, |traffic| add(&mut traffic.slow_handed_up, volume));
}

/// A frame from the slow path for a pod of this node.
#[inline(always)]
pub(crate) fn tunnel_to_port(slot: Slot, volume: Volume) {
    with(slot, |traffic| {
        add(&mut traffic.from_vtep, volume);
        add(&mut traffic.slow_received, volume);
        add(&mut traffic.to_port, volume);
    });
}

/// A frame from the slow path for many.
#[inline(always)]
pub(crate) fn from_tunnel(slot: Slot, volume: Volume) {
    with(slot, |traffic| {
        add(&mut traffic.from_vtep, volume);
        add(&mut traffic.slow_received, volume);
    });
}

/// A copy of a flooded frame to a port.
#[inline(always)]
pub(crate) fn copy_to_port(slot: Slot, copy: Volume) {
    with(slot, |traffic| add(&mut traffic.to_port, copy));
}

/// A copy of a flooded frame to a VTEP.
#[inline(always)]
pub(crate) fn copy_to_vtep(slot: Slot, copy: Volume, slow: bool) {
    with(slot, |traffic| {
        add(&mut traffic.to_vtep, copy);
        if slow {
            add(&mut traffic.slow_sent, copy);
        }
    });
}

/// A dropped frame: counted, and recorded if there were not enough records of late.
#[inline(always)]
pub(crate) fn dropped(frame: &impl Recorded, slot: Slot, reason: DropReason) {
    drops(slot, reason, frame.packets());
    event::record(frame, slot, reason.number());
    #[cfg(feature = "log")]
    crate::log::dropped(frame, slot, reason.number());
}

/// Dropped packets, counted only.
#[inline(always)]
pub(crate) fn drops(slot: Slot, reason: DropReason, packets: u64) {
    let key = DropKey::new(slot, reason);
    if let Some(count) = DROPS.get_ptr_mut(key) {
        // SAFETY: this CPU's value; only a program that interrupts this one could write it too, and
        // tc programs of one CPU do not interrupt one another.
        unsafe { *count += packets };
        return;
    }
    // The map is larger than all pairs in use; where it fails all the same the drop stands.
    let _full: Result<(), i32> = DROPS.insert(key, packets, 0);
}

#[inline(always)]
fn with(slot: Slot, change: impl FnOnce(&mut Traffic)) {
    let Some(traffic) = TRAFFIC.get_ptr_mut(slot.0) else {
        return;
    };
    // SAFETY: this CPU's value, in an array, so it stays; tc programs of one CPU do not interrupt
    // one another, so nothing else writes it meanwhile.
    change(unsafe { &mut *traffic });
}

#[inline(always)]
fn add(tally: &mut Tally, volume: Volume) {
    tally.packets += volume.packets;
    tally.bytes += volume.bytes;
}
