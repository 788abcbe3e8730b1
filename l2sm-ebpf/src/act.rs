//! Verdicts become helper calls. No decision here but one: when the helper that encapsulates refuses
//! a frame that tunnels already, the slow path takes it, unmodified.

pub(crate) mod encapsulate;

use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO,
        BPF_F_ADJ_ROOM_NO_CSUM_RESET, BPF_F_RECOMPUTE_CSUM, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX,
        TC_ACT_SHOT, TC_ACT_UNSPEC,
    },
    helpers::generated::{bpf_l3_csum_replace, bpf_redirect, bpf_redirect_peer},
};
use l2sm_common::{
    encap::TTL,
    frame::Frame as _,
    ids::{IfIndex, Slot},
    mac::Mac,
    maps::{VtepEntry, port_flags, vtep_flags},
    reason::DropReason,
    tables::Tables as _,
    verdict::{Decap, Delivery, Inner, ToVtep, Way},
    vni::Vni,
    wire::{arp, ecn, ethernet, nd, vxlan::OVERHEAD_V4},
};

use crate::{
    count::{self, Volume},
    maps::PORTS,
    skb::{EALREADY, EINVAL, ENOTSUPP, Errno, RoomFlags, Skb, TunnelKey, result},
    tables::Maps,
};

/// Into a pod of this node.
#[inline(always)]
pub(crate) fn deliver(skb: &Skb, port: IfIndex, delivery: Delivery) -> i32 {
    match delivery {
        Delivery::Peer => {
            // The device that it came in by took it for others: the MAC is not its own. The pod's stack
            // would believe that; kernels forget it here only since 6.16 (skb_scrub_packet).
            if !skb.is_for_host() {
                skb.set_for_host();
            }
            // SAFETY: plain integers.
            (unsafe { bpf_redirect_peer(port.0, 0) }) as i32
        }
        Delivery::Device => redirect(port),
    }
}

/// To a VTEP: encapsulated here, or by `l2sm-vxlan`.
#[inline(always)]
pub(crate) fn send(skb: &Skb, slot: Slot, to: &ToVtep, vtep: Option<&VtepEntry>) -> i32 {
    let Some(vtep) = vtep else {
        return drop(skb, slot, DropReason::NoVtep);
    };
    // Before the frame grows, which also resets its number of segments.
    let bare = Volume::of(skb);
    let Way::Fast { path, v6 } = to.way else {
        return send_slow(skb, slot, vtep, to.vni, bare);
    };
    match encapsulate::to_path(skb, vtep, path, v6, to.vni, to.tos) {
        Ok(device) => {
            count::port_to_vtep(slot, bare, false);
            redirect(device)
        }
        Err(EALREADY | ENOTSUPP) => send_slow(skb, slot, vtep, to.vni, bare),
        Err(_errno) => drop(skb, slot, DropReason::HelperFailed),
    }
}

#[inline(always)]
fn send_slow(skb: &Skb, slot: Slot, vtep: &VtepEntry, vni: Vni, bare: Volume) -> i32 {
    match prepare_slow(skb, vtep, vni) {
        Ok(device) => {
            count::port_to_vtep(slot, bare, true);
            redirect(device)
        }
        Err(_errno) => drop(skb, slot, DropReason::HelperFailed),
    }
}

/// Gives a frame what `l2sm-vxlan` needs to send it, and says which device that is.
#[inline(always)]
pub(crate) fn prepare_slow(skb: &Skb, vtep: &VtepEntry, vni: Vni) -> Result<IfIndex, Errno> {
    let config = Maps::default().config().ok_or(ENOTSUPP)?;
    let v6 = vtep.flags & vtep_flags::IPV6 != 0;
    let (remote, local) = if v6 {
        (words(vtep.remote), words(vtep.local))
    } else {
        (host_word(vtep.remote), host_word(vtep.local))
    };
    let id = vni.get();
    let mut key = TunnelKey { id, remote, tos: 0, ttl: TTL, ext: 0, label: 0, local };
    let mut flags = if v6 { u64::from(BPF_F_TUNINFO_IPV6) } else { 0 };
    if vtep.flags & vtep_flags::CHECKSUM == 0 {
        flags |= u64::from(BPF_F_ZERO_CSUM_TX);
    }
    skb.set_tunnel_key(&mut key, flags)?;
    skb.set_mark(config.mark);
    Ok(IfIndex(config.vxlan_ifindex))
}

/// A tunnel packet shorter than this is cheaper to sum than to ask for one call more, bytes.
const SMALL: u32 = 256;

/// Takes the outer headers off.
#[inline(always)]
pub(crate) fn decapsulate(skb: &Skb, decap: &Decap) -> Result<(), Errno> {
    let over_v4 = decap.length == OVERHEAD_V4 as u32;
    let at = if over_v4 { OVERHEAD_V4 } else { l2sm_common::wire::vxlan::OVERHEAD_V6 };
    let header = skb.load::<{ ethernet::LEN }>(at).ok_or(EINVAL)?;
    // The kernel takes the minimal remaining length and `skb->protocol` from the outer family unless
    // told (filter.c, bpf_skb_net_shrink).
    let family = match (decap.inner, over_v4) {
        (Inner::V6, true) => BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        (Inner::V4 | Inner::Other, false) => BPF_F_ADJ_ROOM_DECAP_L3_IPV4,
        (Inner::V4 | Inner::Other, true) | (Inner::V6, false) => 0,
    };
    // What the device verified is kept for what is inside, unless to sum that again costs less.
    let is_small = skb.gso_size() == 0 && skb.len() < SMALL;
    let keep = if is_small { 0 } else { BPF_F_ADJ_ROOM_NO_CSUM_RESET };
    let flags = BPF_F_ADJ_ROOM_FIXED_GSO | keep | family;
    skb.adjust_room(-(decap.length as i32), RoomFlags(u64::from(flags)))?;
    if !is_small {
        skb.pop_verified_checksum();
    }
    skb.store(0, &header, 0)?;
    match decap.ecn {
        None => Ok(()),
        Some(codepoint) => set_ecn(skb, decap.inner, codepoint),
    }
}

/// Sets the ECN field of an IP packet behind an Ethernet header.
#[inline(always)]
fn set_ecn(skb: &Skb, inner: Inner, codepoint: u8) -> Result<(), Errno> {
    const CHECKSUM: u32 = ethernet::LEN as u32 + 10;
    let [first, second] = skb.load::<2>(ethernet::LEN).ok_or(EINVAL)?;
    match inner {
        Inner::V4 => {
            let tos = (second & !ecn::MASK) | codepoint;
            let from = u64::from(u16::from_ne_bytes([first, second]));
            let to = u64::from(u16::from_ne_bytes([first, tos]));
            // SAFETY: plain integers, and the context of the running program.
            result(unsafe { bpf_l3_csum_replace(skb.as_ptr(), CHECKSUM, from, to, 2) })?;
            skb.store(ethernet::LEN as u32 + 1, &[tos], 0)
        }
        Inner::V6 => {
            let class = (second & !(ecn::MASK << 4)) | (codepoint << 4);
            let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
            skb.store(ethernet::LEN as u32 + 1, &[class], flags)
        }
        Inner::Other => Ok(()),
    }
}

/// Answers an ARP request in the owner's name, back out of the port that it came in by.
#[inline(always)]
pub(crate) fn answer_arp(skb: &Skb, slot: Slot, owner: Mac) -> i32 {
    let Some(header) = skb.load::<{ ethernet::LEN }>(0) else {
        return drop(skb, slot, DropReason::Truncated);
    };
    let Some(packet) = skb.load::<{ arp::LEN }>(ethernet::LEN) else {
        return drop(skb, slot, DropReason::Truncated);
    };
    let Some(request) = arp::Request::parse(&packet) else {
        return drop(skb, slot, DropReason::Truncated);
    };
    let asker = ethernet::Header::parse(header).source;
    match skb.store(0, &request.reply(asker, owner), 0) {
        Ok(()) => redirect(skb.ingress()),
        Err(_errno) => drop(skb, slot, DropReason::HelperFailed),
    }
}

/// Answers a neighbour solicitation in the owner's name, back out of the port that it came in by.
#[inline(always)]
pub(crate) fn advertise(skb: &Skb, slot: Slot, owner: Mac, router: bool) -> i32 {
    let Some(header) = skb.load::<{ ethernet::LEN }>(0) else {
        return drop(skb, slot, DropReason::Truncated);
    };
    let Some(packet) = skb.load::<{ nd::SOLICITATION_LEN }>(ethernet::LEN) else {
        return drop(skb, slot, DropReason::Truncated);
    };
    let Some(asked) = nd::Solicitation::parse(&packet) else {
        return drop(skb, slot, DropReason::Truncated);
    };
    let asker = ethernet::Header::parse(header).source;
    let advertisement = asked.advertisement(asker, owner, router);
    let sized = skb.change_tail(nd::ADVERTISEMENT_LEN as u32);
    match sized.and_then(|()| skb.store(0, &advertisement, 0)) {
        Ok(()) => redirect(skb.ingress()),
        Err(_errno) => drop(skb, slot, DropReason::HelperFailed),
    }
}

/// Leaves a tunnel packet to the stack, and so to `l2sm-vxlan`, with our mark.
#[inline(always)]
pub(crate) fn hand_up(skb: &Skb, slot: Slot) -> i32 {
    if let Some(config) = Maps::default().config() {
        skb.set_mark(config.mark);
    }
    count::handed_up(slot, Volume::of(skb));
    #[cfg(feature = "log")]
    crate::log::handed_up(skb, slot);
    TC_ACT_UNSPEC
}

/// Takes our mark off a frame that goes into a pod, whose own rules might see it.
#[inline(always)]
pub(crate) fn forget_mark(skb: &Skb) {
    if let Some(config) = Maps::default().config() {
        skb.clear_mark(config.mark);
    }
}

/// Nowhere, and counted.
#[inline(always)]
pub(crate) fn drop(skb: &Skb, slot: Slot, reason: DropReason) -> i32 {
    count::dropped(skb, slot, reason);
    TC_ACT_SHOT
}

/// Remembers that the pod behind this port forwards traffic of others.
#[inline(always)]
pub(crate) fn mark_forwarder(skb: &Skb) {
    let Some(port) = PORTS.get_ptr_mut(skb.ingress().0) else {
        return;
    };
    // SAFETY: map memory outlives the run. The agent replaces whole entries and reads this bit back
    // before it does; the other bits are not changed here.
    unsafe { (*port).flags |= port_flags::FORWARDER };
}

/// Out of a device.
#[inline(always)]
pub(crate) fn redirect(device: IfIndex) -> i32 {
    // SAFETY: plain integers.
    (unsafe { bpf_redirect(device.0, 0) }) as i32
}

#[inline(always)]
fn words(address: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_ne_bytes)
}

/// An IPv4 address as `bpf_skb_set_tunnel_key` takes it: in host order, in the first word.
#[inline(always)]
fn host_word(address: [u8; 16]) -> [u32; 4] {
    let [.., a, b, c, d] = address;
    [u32::from_be_bytes([a, b, c, d]), 0, 0, 0]
}
