//! Counters.

use l2sm_common::{
    frame::Frame as _,
    ids::Slot,
    maps::{DropKey, Tally, Traffic},
    reason::DropReason,
};

use crate::{
    maps::{DROPS, TRAFFIC},
    skb::Skb,
};

/// A frame from a pod to a pod of this node.
#[inline(always)]
pub(crate) fn port_to_port(skb: &Skb, slot: Slot) {
    with(slot, |traffic| {
        let packets = skb.packets();
        let bytes = u64::from(skb.len());
        add(&mut traffic.from_port, packets, bytes);
        add(&mut traffic.to_port, packets, bytes);
    });
}

/// A frame from a pod to a VTEP.
#[inline(always)]
pub(crate) fn port_to_vtep(skb: &Skb, slot: Slot, bytes: u32, slow: bool) {
    with(slot, |traffic| {
        let packets = skb.packets();
        add(&mut traffic.from_port, packets, u64::from(bytes));
        add(&mut traffic.to_vtep, packets, u64::from(bytes));
        if slow {
            add(&mut traffic.slow_sent, packets, u64::from(bytes));
        }
    });
}

/// A frame from a pod to many.
#[inline(always)]
pub(crate) fn from_port(skb: &Skb, slot: Slot) {
    with(slot, |traffic| add(&mut traffic.from_port, skb.packets(), u64::from(skb.len())));
}

/// A pod's question that is answered here.
#[inline(always)]
pub(crate) fn answered(skb: &Skb, slot: Slot) {
    with(slot, |traffic| {
        let bytes = u64::from(skb.len());
        add(&mut traffic.from_port, 1, bytes);
        add(&mut traffic.answered, 1, bytes);
    });
}

/// A tunnel packet for a pod of this node; `outer`: length of its outer headers, bytes.
#[inline(always)]
pub(crate) fn vtep_to_port(skb: &Skb, slot: Slot, outer: u32) {
    with(slot, |traffic| {
        let packets = skb.packets();
        let bytes = u64::from(skb.len().wrapping_sub(outer));
        add(&mut traffic.from_vtep, packets, bytes);
        add(&mut traffic.to_port, packets, bytes);
    });
}

/// A tunnel packet for many.
#[inline(always)]
pub(crate) fn from_vtep(skb: &Skb, slot: Slot, outer: u32) {
    let bytes = u64::from(skb.len().wrapping_sub(outer));
    with(slot, |traffic| add(&mut traffic.from_vtep, skb.packets(), bytes));
}

/// A tunnel packet left to `l2sm-vxlan`.
#[inline(always)]
pub(crate) fn handed_up(skb: &Skb, slot: Slot) {
    with(slot, |traffic| add(&mut traffic.slow_handed_up, skb.packets(), u64::from(skb.len())));
}

/// A frame from the slow path for a pod of this node.
#[inline(always)]
pub(crate) fn tunnel_to_port(skb: &Skb, slot: Slot) {
    with(slot, |traffic| {
        let packets = skb.packets();
        let bytes = u64::from(skb.len());
        add(&mut traffic.from_vtep, packets, bytes);
        add(&mut traffic.slow_received, packets, bytes);
        add(&mut traffic.to_port, packets, bytes);
    });
}

/// A frame from the slow path for many.
#[inline(always)]
pub(crate) fn from_tunnel(skb: &Skb, slot: Slot) {
    with(slot, |traffic| {
        let packets = skb.packets();
        let bytes = u64::from(skb.len());
        add(&mut traffic.from_vtep, packets, bytes);
        add(&mut traffic.slow_received, packets, bytes);
    });
}

/// Copies of a flooded frame of `bytes` bytes: so many to ports, to VTEPs, and of those by the slow
/// path.
#[inline(always)]
pub(crate) fn copies(slot: Slot, bytes: u32, ports: u64, vteps: u64, slow: u64) {
    with(slot, |traffic| {
        let bytes = u64::from(bytes);
        add(&mut traffic.to_port, ports, ports * bytes);
        add(&mut traffic.to_vtep, vteps, vteps * bytes);
        add(&mut traffic.slow_sent, slow, slow * bytes);
    });
}

/// Dropped packets.
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
fn add(tally: &mut Tally, packets: u64, bytes: u64) {
    tally.packets += packets;
    tally.bytes += bytes;
}
