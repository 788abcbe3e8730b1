//! Records of dropped frames: some of them, for people.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use l2sm_common::{
    event::{CAPTURE, DropEvent, Program},
    frame::Frame,
    ids::{IfIndex, Slot},
};

use crate::{
    maps::{EVENT_LIMIT, EVENTS},
    skb::Errno,
};

/// A frame that a record can be made of.
pub(crate) trait Recorded: Frame {
    /// The running program.
    fn program(&self) -> Program;
    /// The device that it runs on.
    fn device(&self) -> IfIndex;
    /// Packets that the frame stands for.
    fn packets(&self) -> u64;
    /// Copies the frame's first `length` bytes, a constant, to `to`.
    ///
    /// # Safety
    /// `length` bytes can be written at `to`.
    unsafe fn copy_start(&self, to: *mut c_void, length: u32) -> Result<(), Errno>;
}

/// Makes a record of a dropped frame, unless there were enough of its reason of late. It never waits:
/// where the ring is full the record is lost, and that is counted.
///
/// `reason`: [`DropReason`](l2sm_common::reason::DropReason) as a number, since whoever remembers one
/// for later keeps a word.
#[inline(never)]
pub(crate) fn record(frame: &impl Recorded, slot: Slot, reason: u32) {
    let Some(limit) = EVENT_LIMIT.get_ptr_mut(reason) else {
        return;
    };
    // SAFETY: this CPU's value, in an array, so it stays; programs of one CPU that drop do not
    // interrupt one another, so nothing else writes it meanwhile.
    let limit = unsafe { &mut *limit };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if !limit.admit(now) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve_untyped::<DropEvent>(0) else {
        limit.lost = limit.lost.wrapping_add(1);
        return;
    };
    fill(entry.as_mut_ptr(), frame, (now, slot, reason));
    entry.submit(0);
}

/// Writes a record field by field: a whole one would need the stack.
#[inline(always)]
fn fill(event: *mut DropEvent, frame: &impl Recorded, (time, slot, reason): (u64, Slot, u32)) {
    macro_rules! set {
        ($field:ident, $value:expr) => {{
            // SAFETY: `event` points to a reserved record, so the field is inside it.
            let field = unsafe { &raw mut (*event).$field };
            // SAFETY: reserved for us until it is submitted.
            unsafe { ptr::write_volatile(field, $value) };
        }};
    }
    set!(time_ns, time);
    set!(reason, reason);
    set!(program, frame.program().number());
    set!(ifindex, frame.device().0);
    set!(slot, slot.0);
    set!(length, frame.len());
    // SAFETY: as above.
    let bytes = unsafe { &raw mut (*event).frame };
    set!(captured, copy(bytes, frame));
}

/// Copies what there is of the frame's start, in one of a few lengths; says how much.
#[inline(always)]
fn copy(to: *mut [u8; CAPTURE], frame: &impl Recorded) -> u32 {
    macro_rules! copy {
        ($length:expr) => {
            if frame.len() >= $length {
                const { assert!($length <= CAPTURE as u32) };
                // SAFETY: `to` has `CAPTURE` bytes.
                let copied = unsafe { frame.copy_start(to.cast(), $length) };
                return if copied.is_ok() { $length } else { 0 };
            }
        };
    }
    copy!(CAPTURE as u32);
    copy!(64);
    copy!(42);
    copy!(14);
    0
}
