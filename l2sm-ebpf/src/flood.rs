//! Head-end replication along a flood list.
//!
//! A list is walked twice. Bare: copies to ports, and by the slow path to VTEPs that need it. Then,
//! if some VTEP has a fast path, the frame is encapsulated once and the list is walked again: for
//! each of those the outer bytes are rewritten and a copy sent. A run does two chunks and tail-calls
//! itself; state travels in `skb->cb`. If the frame cannot be encapsulated here, the second walk
//! sends by the slow path.

use aya_ebpf::{
    bindings::TC_ACT_SHOT, helpers::generated::bpf_clone_redirect, programs::TcContext,
};
use l2sm_common::{
    abi::{
        FLOOD_CHUNK, FLOOD_CHUNKS_MAX, FLOOD_CHUNKS_PER_RUN, PROGS_FLOOD_TX, REASONS_CAPACITY,
        SLOTS_CAPACITY,
    },
    encap::Patch,
    event::Program,
    forward::{flood::gets_copy, remote},
    frame::Frame as _,
    ids::{FloodId, Group, IfIndex, Slot, VtepId},
    maps::{FloodChunk, FloodEntry, FloodKey, VtepEntry, target_kind},
    reason::DropReason,
    tables::{Route, Tables as _},
    verdict::{Flood, Way},
    vni::Vni,
    wire::vxlan::OVERHEAD_V4,
};

use crate::{
    act::{self, encapsulate},
    count::{self, Volume},
    event,
    maps::{FLOOD, PROGS},
    skb::{Skb, result},
    tables::{Maps, path_entry},
};

/// Bits of the walk's state.
const UNKNOWN: u32 = 1 << 0;
/// Some VTEP has a fast path: there is a second walk.
const FAST: u32 = 1 << 1;
/// This is the second walk.
const SECOND: u32 = 1 << 2;
/// The frame is encapsulated.
const ENCAPSULATED: u32 = 1 << 3;
/// Some copy was sent.
const COPIED: u32 = 1 << 4;

/// Bits of the word with the slot; those above: why a copy of this run failed, the last that did.
const SLOT: u32 = 0xffff;
const FAILED: u32 = 16;
const _: () = assert!(SLOTS_CAPACITY <= SLOT as usize);
const _: () = assert!(REASONS_CAPACITY <= SLOT as usize);

/// Starts copying a bare frame along a list. The frame itself ends here.
#[inline(always)]
pub(crate) fn start(ctx: &TcContext, skb: &Skb, slot: Slot, flood: &Flood) -> i32 {
    let bits = if flood.unknown { UNKNOWN } else { 0 };
    let walk = Walk {
        list: flood.list,
        vni: flood.vni,
        from: flood.from,
        group: flood.group,
        slot,
        chunk: 0,
        bits,
        tos: flood.tos,
    };
    walk.save(skb);
    // SAFETY: `ctx` is the context of the running program, and the index is below the array's
    // capacity. It returns only if there is no such program.
    unsafe { PROGS.tail_call(ctx, PROGS_FLOOD_TX) };
    act::drop(skb, slot, DropReason::FloodFailed)
}

/// Where a walk is.
struct Walk {
    list: FloodId,
    vni: Vni,
    from: IfIndex,
    group: Group,
    slot: Slot,
    chunk: u32,
    bits: u32,
    tos: u8,
}

impl Walk {
    #[inline(always)]
    fn save(&self, skb: &Skb) {
        skb.set_control::<0>(self.list.0);
        skb.set_control::<1>(self.vni.get() | (self.bits << 24));
        skb.set_control::<2>(self.from.0);
        skb.set_control::<3>(
            u32::from(self.group.0) | (self.chunk << 16) | (u32::from(self.tos) << 24),
        );
        skb.set_control::<4>(self.slot.0);
    }

    #[inline(always)]
    fn load(skb: &Skb) -> Option<Self> {
        let second = skb.control::<1>();
        let fourth = skb.control::<3>();
        Some(Self {
            list: FloodId(skb.control::<0>()),
            vni: Vni::new(second & Vni::MAX)?,
            from: IfIndex(skb.control::<2>()),
            group: Group(fourth as u16),
            slot: Slot(skb.control::<4>() & SLOT),
            chunk: (fourth >> 16) & 0xff,
            bits: second >> 24,
            tos: (fourth >> 24) as u8,
        })
    }

    /// Counts a copy that is not sent. A record is made once in a run: copies are many. Its reason
    /// waits in the control buffer, whose words the verifier does not follow through the loop.
    #[inline(always)]
    fn lose_copy(&self, skb: &Skb, reason: DropReason) {
        count::drops(self.slot, reason, 1);
        skb.set_control::<4>(self.slot.0 | (reason.number() << FAILED));
    }

    #[inline(always)]
    const fn is(&self, bit: u32) -> bool {
        self.bits & bit != 0
    }
}

/// One run: two chunks of one walk.
#[inline(always)]
pub(crate) fn run(ctx: &TcContext) -> i32 {
    let skb = Skb::new(ctx, Program::FloodTx);
    let Some(mut walk) = Walk::load(&skb) else {
        return TC_ACT_SHOT;
    };
    if walk.is(SECOND) && walk.chunk == 0 {
        match encapsulate::make_room_v4(&skb) {
            // The inner Ethernet header belongs behind the room for the outer ones.
            Ok(Some(inner)) if skb.store(OVERHEAD_V4 as u32, &inner, 0).is_err() => {
                return act::drop(&skb, walk.slot, DropReason::HelperFailed);
            }
            Ok(_) => walk.bits |= ENCAPSULATED,
            // The frame is as it was: the slow path takes it.
            Err(_errno) => {}
        }
    }
    let mut more = true;
    for _ in 0..FLOOD_CHUNKS_PER_RUN {
        if more {
            // SAFETY: map memory outlives the run (RCU), and every bit pattern is valid.
            let chunk = unsafe { FLOOD.get(FloodKey::new(walk.list, walk.chunk)) };
            let Some(chunk) = chunk else {
                return act::drop(&skb, walk.slot, DropReason::FloodFailed);
            };
            copy_chunk(&skb, &mut walk, chunk);
            walk.chunk += 1;
            more = chunk.more != 0 && walk.chunk < FLOOD_CHUNKS_MAX as u32;
        }
    }
    let failed = skb.control::<4>() >> FAILED;
    if failed != 0 {
        event::record(&skb, walk.slot, failed);
    }
    go_on(ctx, &skb, walk, more)
}

/// The next chunks, the second walk, or the end.
#[inline(always)]
fn go_on(ctx: &TcContext, skb: &Skb, mut walk: Walk, more: bool) -> i32 {
    if !more {
        if walk.is(SECOND) || !walk.is(FAST) {
            if walk.is(UNKNOWN) && !walk.is(COPIED) {
                return act::drop(skb, walk.slot, DropReason::UnknownUnicast);
            }
            return TC_ACT_SHOT;
        }
        walk.bits |= SECOND;
        walk.chunk = 0;
    }
    walk.save(skb);
    // SAFETY: as in `start`.
    unsafe { PROGS.tail_call(ctx, PROGS_FLOOD_TX) };
    act::drop(skb, walk.slot, DropReason::FloodFailed)
}

#[inline(always)]
fn copy_chunk(skb: &Skb, walk: &mut Walk, chunk: &FloodChunk) {
    for index in 0..FLOOD_CHUNK {
        if index as u32 >= chunk.count {
            break;
        }
        let Some(entry) = chunk.entries.get(index).copied() else {
            break;
        };
        if gets_copy(&entry, walk.from, walk.group, walk.is(UNKNOWN)) {
            copy_to(skb, walk, &entry);
        }
    }
}

#[inline(always)]
fn copy_to(skb: &Skb, walk: &mut Walk, entry: &FloodEntry) {
    let length = bare_length(skb, walk);
    match entry.kind {
        target_kind::PORT if !walk.is(SECOND) => {
            copy_to_port(skb, walk, IfIndex(entry.target), length);
        }
        target_kind::VTEP => copy_to_vtep(skb, walk, VtepId(entry.target), length),
        _ => {}
    }
}

#[inline(always)]
fn copy_to_port(skb: &Skb, walk: &mut Walk, port: IfIndex, length: u32) {
    if clone_to(skb, walk, port) {
        count::copy_to_port(walk.slot, Volume::copy(length));
    }
}

#[inline(always)]
fn copy_to_vtep(skb: &Skb, walk: &mut Walk, id: VtepId, length: u32) {
    let hash = skb.flow_hash();
    let maps = Maps::default();
    let route = maps.route(id, hash);
    let (Some(route), Some(vtep)) = (route, maps.vtep()) else {
        if !walk.is(SECOND) {
            walk.lose_copy(skb, DropReason::NoVtep);
        }
        return;
    };
    let fast = fast_path(skb, &route, length);
    if !walk.is(SECOND) && fast.is_some() {
        walk.bits |= FAST;
        return;
    }
    if walk.is(SECOND) && fast.is_none() {
        return;
    }
    if walk.is(ENCAPSULATED) {
        let patch = Patch { vni: walk.vni, inner_len: length, hash, tos: walk.tos };
        if !copy_fast(skb, walk, vtep, fast, patch) {
            walk.lose_copy(skb, DropReason::HelperFailed);
        }
        return;
    }
    match act::prepare_slow(skb, vtep, walk.vni) {
        Ok(device) => {
            if clone_to(skb, walk, device) {
                count::copy_to_vtep(walk.slot, Volume::copy(length), true);
            }
        }
        Err(_errno) => walk.lose_copy(skb, DropReason::HelperFailed),
    }
}

/// A copy of the encapsulated frame, with this VTEP's outer bytes. False: they could not be written.
#[inline(always)]
fn copy_fast(
    skb: &Skb,
    walk: &mut Walk,
    vtep: &VtepEntry,
    path: Option<u32>,
    patch: Patch,
) -> bool {
    let Some(path) = path.and_then(|path| path_entry(vtep, path)) else {
        return false;
    };
    let Ok(header) = encapsulate::header_v4(path, patch) else {
        return false;
    };
    if skb.store(0, &header, 0).is_err() {
        return false;
    }
    if clone_to(skb, walk, IfIndex(path.ifindex)) {
        count::copy_to_vtep(walk.slot, Volume::copy(patch.inner_len), false);
    }
    true
}

/// Index of the path that a copy to this VTEP can be encapsulated for here. Over IPv6 it goes by the
/// slow path: one frame cannot be encapsulated for both families.
#[inline(always)]
fn fast_path(skb: &Skb, route: &Route, length: u32) -> Option<u32> {
    match remote::copy_way(route, skb.gso_size(), skb.has_tag(), length) {
        Way::Fast { path, v6: false } => Some(path),
        Way::Fast { .. } | Way::Slow => None,
    }
}

/// Length of the bare frame, bytes.
#[inline(always)]
fn bare_length(skb: &Skb, walk: &Walk) -> u32 {
    let outer = if walk.is(ENCAPSULATED) { OVERHEAD_V4 as u32 } else { 0 };
    skb.len().wrapping_sub(outer)
}

#[inline(always)]
fn clone_to(skb: &Skb, walk: &mut Walk, device: IfIndex) -> bool {
    walk.bits |= COPIED;
    // SAFETY: plain integers, and the context of the running program.
    let sent = result(unsafe { bpf_clone_redirect(skb.as_ptr(), device.0, 0) });
    if sent.is_err() {
        walk.lose_copy(skb, DropReason::CopyFailed);
    }
    sent.is_ok()
}
