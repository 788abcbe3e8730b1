//! What the programs say, one line a frame (feature `log`).

use aya_log_ebpf::debug;
use l2sm_common::ids::Slot;

use crate::event::Recorded;

/// A frame was dropped; `reason`: its number.
#[inline(never)]
pub(crate) fn dropped(frame: &impl Recorded, slot: Slot, reason: u32) {
    let (program, device) = (frame.program().number(), frame.device().0);
    debug!(
        &(),
        "dropped: reason {}, slot {}, program {}, device {}, length {}",
        reason,
        slot.0,
        program,
        device,
        frame.len()
    );
}

/// A frame was left to `l2sm-vxlan`.
#[inline(never)]
pub(crate) fn handed_up(frame: &impl Recorded, slot: Slot) {
    debug!(&(), "handed up: slot {}, device {}, length {}", slot.0, frame.device().0, frame.len());
}
