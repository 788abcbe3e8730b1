//! A frame over `__sk_buff`, and the helpers that change it.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_CSUM_LEVEL_DEC, BPF_F_TUNINFO_IPV6},
    helpers::generated::{
        bpf_csum_level, bpf_get_hash_recalc, bpf_skb_adjust_room, bpf_skb_change_head,
        bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_get_tunnel_key, bpf_skb_load_bytes,
        bpf_skb_pull_data, bpf_skb_set_tunnel_key, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use l2sm_common::{
    event::Program,
    forward::tunnel,
    frame::Frame,
    ids::{IfIndex, ip16_from_v4},
};

use crate::{event::Recorded, packet};

/// A helper's negative errno.
pub(crate) type Errno = i64;

/// `EALREADY`: the frame is encapsulated already.
pub(crate) const EALREADY: Errno = -114;
/// `ENOTSUPP`: the frame is not of a kind that the helper takes.
pub(crate) const ENOTSUPP: Errno = -524;
/// `EINVAL`.
pub(crate) const EINVAL: Errno = -22;
/// Bytes pulled into reach when the decision asks for more: outer headers over IPv6, inner Ethernet,
/// IPv4 with all options, TCP.
pub(crate) const PULL: u32 = 192;

const PACKET_HOST: u32 = 0;

/// Flags of `bpf_skb_adjust_room`; a type of its own because its `mode` stands next to them and is a
/// number too.
#[derive(Clone, Copy)]
pub(crate) struct RoomFlags(pub(crate) u64);

/// The running program's frame.
pub(crate) struct Skb {
    skb: *mut __sk_buff,
    program: Program,
}

/// `struct bpf_tunnel_key`: addresses of IPv4 in host order in the first word, of IPv6 in network
/// order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TunnelKey {
    pub(crate) id: u32,
    pub(crate) remote: [u32; 4],
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) ext: u16,
    pub(crate) label: u32,
    pub(crate) local: [u32; 4],
}

const _: () = assert!(size_of::<TunnelKey>() == 44);

/// Address of a place in the context.
macro_rules! place {
    ($self:ident.$($place:tt)+) => {
        // SAFETY: the context pointer is valid for the run, so the place is inside its object.
        unsafe { &raw mut (*$self.skb).$($place)+ }
    };
}

/// Reads a place in the context.
macro_rules! field {
    ($self:ident.$($place:tt)+) => {{
        let place = place!($self.$($place)+).cast_const();
        // SAFETY: the place is valid, and the verifier checks that it may be read. Volatile: the
        // compiler must not merge or move context accesses, which the verifier refuses.
        unsafe { ptr::read_volatile(place) }
    }};
}

/// Writes a place in the context.
macro_rules! set_field {
    ($self:ident.$($place:tt)+) => {
        |value| {
            let place = place!($self.$($place)+);
            // SAFETY: the place is valid, and the verifier checks that it may be written. Volatile:
            // as for reading.
            unsafe { ptr::write_volatile(place, value) }
        }
    };
}

impl Skb {
    /// The frame that `program` runs on.
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext, program: Program) -> Self {
        Self { skb: ctx.skb.skb, program }
    }

    /// The device that the frame came in by.
    #[inline(always)]
    pub(crate) fn ingress(&self) -> IfIndex {
        IfIndex(field!(self.ifindex))
    }

    /// The device that the packet came to this host by, before it was sent on; 0: it was made here.
    #[inline(always)]
    pub(crate) fn came_in_by(&self) -> IfIndex {
        IfIndex(field!(self.ingress_ifindex))
    }

    /// Brings the first `length` bytes, or all if fewer, into reach of direct reads.
    #[inline(always)]
    pub(crate) fn reach(&self, length: u32) {
        if !self.reaches(length) {
            // On failure the decision sees what there is, and asks again.
            let _errno: Result<(), Errno> = self.pull(length);
        }
    }

    /// Whether the first `length` bytes, or all if fewer, are in reach.
    #[inline(always)]
    pub(crate) fn reaches(&self, length: u32) -> bool {
        let linear = field!(self.data_end).wrapping_sub(field!(self.data));
        linear >= length.min(self.len())
    }

    /// `bpf_skb_pull_data`.
    #[inline(always)]
    pub(crate) fn pull(&self, length: u32) -> Result<(), Errno> {
        let length = length.min(self.len());
        // SAFETY: plain integers, and the context of the running program.
        result(unsafe { bpf_skb_pull_data(self.skb, length) })
    }

    /// `bpf_skb_adjust_room` in `BPF_ADJ_ROOM_MAC` mode: after the Ethernet header.
    #[inline(always)]
    pub(crate) fn adjust_room(&self, difference: i32, flags: RoomFlags) -> Result<(), Errno> {
        const BPF_ADJ_ROOM_MAC: u32 = 1;
        // SAFETY: plain integers, and the context of the running program.
        result(unsafe { bpf_skb_adjust_room(self.skb, difference, BPF_ADJ_ROOM_MAC, flags.0) })
    }

    /// `bpf_skb_change_head`: room before the Ethernet header.
    #[inline(always)]
    pub(crate) fn grow_head(&self, length: u32) -> Result<(), Errno> {
        // SAFETY: plain integers, and the context of the running program.
        result(unsafe { bpf_skb_change_head(self.skb, length, 0) })
    }

    /// `bpf_skb_change_tail`: the frame gets this length.
    #[inline(always)]
    pub(crate) fn change_tail(&self, length: u32) -> Result<(), Errno> {
        // SAFETY: plain integers, and the context of the running program.
        result(unsafe { bpf_skb_change_tail(self.skb, length, 0) })
    }

    /// Forgets the outermost of the checksums that the device or GRO verified
    /// (`__skb_decr_checksum_unnecessary`), as the kernel does when it takes a UDP header off.
    #[inline(always)]
    pub(crate) fn pop_verified_checksum(&self) {
        // SAFETY: plain integers, and the context of the running program. The result is the level,
        // or an error that says that nothing was verified: both are fine.
        let _level = unsafe { bpf_csum_level(self.skb, u64::from(BPF_CSUM_LEVEL_DEC)) };
    }

    /// The flow's hash, once [`Frame::flow_hash`] was asked for it.
    #[inline(always)]
    pub(crate) fn known_hash(&self) -> u32 {
        field!(self.hash)
    }

    /// Writes bytes at `offset` straight into the frame, whose headers must be writable: they are after
    /// any helper that moved them.
    ///
    /// # Errors
    /// `EINVAL`: the frame is shorter.
    #[inline(always)]
    pub(crate) fn write<const N: usize>(
        &self,
        offset: usize,
        bytes: &[u8; N],
    ) -> Result<(), Errno> {
        let at = field!(self.data) as usize + offset;
        if at + N > field!(self.data_end) as usize {
            return Err(EINVAL);
        }
        // SAFETY: `at..at + N` lies inside the packet (checked above, and again by the verifier).
        unsafe { packet::write(at, bytes) };
        Ok(())
    }

    /// Writes bytes at `offset`.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(
        &self,
        offset: u32,
        bytes: &[u8; N],
        flags: u64,
    ) -> Result<(), Errno> {
        let from = bytes.as_ptr().cast::<c_void>();
        // SAFETY: `from` points to `N` initialised bytes; the helper checks the offset.
        result(unsafe { bpf_skb_store_bytes(self.skb, offset, from, N as u32, flags) })
    }

    /// `skb->mark |= bit`.
    #[inline(always)]
    pub(crate) fn set_mark(&self, bit: u32) {
        set_field!(self.mark)(field!(self.mark) | bit);
    }

    /// `skb->mark &= !bit`.
    #[inline(always)]
    pub(crate) fn clear_mark(&self, bit: u32) {
        set_field!(self.mark)(field!(self.mark) & !bit);
    }

    /// Word `index` of the control buffer, which survives tail calls.
    #[inline(always)]
    pub(crate) fn control<const INDEX: usize>(&self) -> u32 {
        const { assert!(INDEX < 5) };
        field!(self.cb[INDEX])
    }

    /// Sets word `index` of the control buffer.
    #[inline(always)]
    pub(crate) fn set_control<const INDEX: usize>(&self, word: u32) {
        const { assert!(INDEX < 5) };
        set_field!(self.cb[INDEX])(word);
    }

    /// `PACKET_HOST`: the device that a frame came in by marked it as for others, since its MAC is not the
    /// device's own, and a receiver behind `bpf_redirect_peer` would believe it.
    #[inline(always)]
    pub(crate) fn set_for_host(&self) {
        // SAFETY: plain integers, and the context of the running program. It fails only for types
        // that it cannot set, which `PACKET_HOST` is not.
        let _errno = unsafe { bpf_skb_change_type(self.skb, PACKET_HOST) };
    }

    /// What `l2sm-vxlan` read from the outer headers.
    #[inline(always)]
    pub(crate) fn tunnel_key(&self) -> Option<tunnel::TunnelKey> {
        let mut key =
            TunnelKey { id: 0, remote: [0; 4], tos: 0, ttl: 0, ext: 0, label: 0, local: [0; 4] };
        if self.read_tunnel_key(&mut key, 0).is_ok() {
            let source = ip16_from_v4(key.remote[0].to_be_bytes());
            return Some(tunnel::TunnelKey { vni: key.id, source });
        }
        self.read_tunnel_key(&mut key, u64::from(BPF_F_TUNINFO_IPV6)).ok()?;
        let [a, b, c, d] = key.remote.map(u32::to_ne_bytes);
        let mut source = [0; 16];
        source[..4].copy_from_slice(&a);
        source[4..8].copy_from_slice(&b);
        source[8..12].copy_from_slice(&c);
        source[12..].copy_from_slice(&d);
        Some(tunnel::TunnelKey { vni: key.id, source })
    }

    #[inline(always)]
    fn read_tunnel_key(&self, key: &mut TunnelKey, flags: u64) -> Result<(), Errno> {
        let key = ptr::from_mut(key).cast();
        // SAFETY: `key` points to a whole `bpf_tunnel_key`, whose size is given.
        result(unsafe {
            bpf_skb_get_tunnel_key(self.skb, key, size_of::<TunnelKey>() as u32, flags)
        })
    }

    /// `bpf_skb_set_tunnel_key`: what `l2sm-vxlan` shall send the frame with.
    #[inline(always)]
    pub(crate) fn set_tunnel_key(&self, key: &mut TunnelKey, flags: u64) -> Result<(), Errno> {
        let key = ptr::from_mut(key).cast();
        // SAFETY: `key` points to a whole `bpf_tunnel_key`, whose size is given.
        result(unsafe {
            bpf_skb_set_tunnel_key(self.skb, key, size_of::<TunnelKey>() as u32, flags)
        })
    }

    /// The raw context, for helpers that are called in one place.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut __sk_buff {
        self.skb
    }
}

impl Frame for Skb {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let at = field!(self.data) as usize + offset;
        if at + N > field!(self.data_end) as usize {
            return None;
        }
        // SAFETY: `at..at + N` lies inside the packet (checked above, and again by the verifier).
        Some(unsafe { packet::read(at) })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        field!(self.len)
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        field!(self.gso_size)
    }

    #[inline(always)]
    fn has_tag(&self) -> bool {
        field!(self.vlan_present) != 0
    }

    #[inline(always)]
    fn flow_hash(&self) -> u32 {
        // SAFETY: the context of the running program.
        unsafe { bpf_get_hash_recalc(self.skb) }
    }

    #[inline(always)]
    fn is_for_host(&self) -> bool {
        field!(self.pkt_type) == PACKET_HOST
    }

    #[inline(always)]
    fn mark(&self) -> u32 {
        field!(self.mark)
    }
}

impl Recorded for Skb {
    #[inline(always)]
    fn program(&self) -> Program {
        self.program
    }

    #[inline(always)]
    fn device(&self) -> IfIndex {
        self.ingress()
    }

    #[inline(always)]
    fn packets(&self) -> u64 {
        u64::from(field!(self.gso_segs).max(1))
    }

    #[inline(always)]
    unsafe fn copy_start(&self, to: *mut c_void, length: u32) -> Result<(), Errno> {
        // SAFETY: the caller says that `length` bytes can be written there.
        result(unsafe { bpf_skb_load_bytes(self.skb.cast(), 0, to, length) })
    }
}

/// A helper's return value as a result.
#[inline(always)]
pub(crate) fn result(returned: i64) -> Result<(), Errno> {
    if returned == 0 { Ok(()) } else { Err(returned) }
}
