//! A frame over `xdp_md`: as the device brings it, before the kernel has an skb.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use l2sm_common::{event::Program, frame::Frame, ids::IfIndex, tables::Tables as _};

use crate::{
    event::Recorded,
    packet,
    skb::{Errno, result},
    tables::Maps,
};

/// The running program's frame. It knows less than [`Skb`](crate::skb::Skb): a tag that the device
/// took off is not seen, and neither is that the kernel aggregated it (generic XDP runs after GRO).
pub(crate) struct Received {
    md: *mut xdp_md,
}

/// Reads a field of the context.
macro_rules! field {
    ($self:ident.$field:ident) => {{
        // SAFETY: the context pointer is valid for the run, so the field is inside its object.
        let place = unsafe { &raw const (*$self.md).$field };
        // SAFETY: the place is valid, and the verifier checks that it may be read. Volatile: the
        // compiler must not merge or move context accesses, which the verifier refuses.
        unsafe { ptr::read_volatile(place) }
    }};
}

impl Received {
    /// The frame of the running program.
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { md: ctx.ctx }
    }
}

/// The device that a frame came in by.
#[inline(always)]
pub(crate) fn ingress(ctx: &XdpContext) -> IfIndex {
    IfIndex(ctx.ingress_ifindex() as u32)
}

impl Recorded for Received {
    #[inline(always)]
    fn program(&self) -> Program {
        Program::UplinkXdp
    }

    #[inline(always)]
    fn device(&self) -> IfIndex {
        IfIndex(field!(self.ingress_ifindex))
    }

    #[inline(always)]
    fn packets(&self) -> u64 {
        1
    }

    #[inline(always)]
    unsafe fn copy_start(&self, to: *mut c_void, length: u32) -> Result<(), Errno> {
        // SAFETY: the caller says that `length` bytes can be written there.
        result(unsafe { bpf_xdp_load_bytes(self.md, 0, to, length) })
    }
}

impl Frame for Received {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let at = field!(self.data) as usize + offset;
        if at + N > field!(self.data_end) as usize {
            return None;
        }
        // SAFETY: `at..at + N` lies inside the packet's first buffer (checked above, and again by the
        // verifier).
        Some(unsafe { packet::read(at) })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context of the running program.
        unsafe { bpf_xdp_get_buff_len(self.md) as u32 }
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn has_tag(&self) -> bool {
        false
    }

    #[inline(always)]
    fn flow_hash(&self) -> u32 {
        0
    }

    /// As `eth_type_trans` sets `PACKET_HOST`: neither a group's nor another's MAC. Nothing is for a
    /// device that is no uplink any more.
    #[inline(always)]
    fn is_for_host(&self) -> bool {
        Maps::default().uplink(self.device()).is_some_and(|own| self.load::<6>(0) == Some(own.mac))
    }

    #[inline(always)]
    fn mark(&self) -> u32 {
        0
    }
}
