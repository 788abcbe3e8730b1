//! Outer headers, written by us: one copy of the path's template.

use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_ENCAP_L2_ETH, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
    BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET,
};
use l2sm_common::{
    encap::{Patch, finish_v4, finish_v6},
    forward::station::family,
    frame::Frame as _,
    ids::IfIndex,
    maps::{PathEntry, VtepEntry},
    verdict::Inner,
    vni::Vni,
    wire::{
        ethernet,
        vxlan::{OVERHEAD_V4, OVERHEAD_V6},
    },
};

use crate::{
    skb::{EINVAL, Errno, RoomFlags, Skb},
    tables::path_entry,
};

/// The inner Ethernet header as `bpf_skb_adjust_room` must know it: 14 bytes. With VXLAN's 8 added
/// small packets pass and aggregated ones are lost (`reference/perf-spike.md` 4.1).
const INNER_L2: u64 = (ethernet::LEN as u64) << 56;
const COMMON: u32 = BPF_F_ADJ_ROOM_FIXED_GSO
    | BPF_F_ADJ_ROOM_ENCAP_L4_UDP
    | BPF_F_ADJ_ROOM_NO_CSUM_RESET
    | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
const FLAGS_V4: RoomFlags = flags(BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
const FLAGS_V6: RoomFlags = flags(BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);

/// A frame that was encapsulated with flags that say so cannot be again (`EALREADY`), even after it
/// was undone: a test run that repeats leaves them out.
const fn flags(family: u32) -> RoomFlags {
    if cfg!(feature = "bench") {
        RoomFlags((BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) as u64)
    } else {
        RoomFlags((COMMON | family) as u64 | INNER_L2)
    }
}

/// Encapsulates a frame for a path, and says which device it leaves by. On error the frame is as it
/// was.
#[inline(always)]
pub(crate) fn to_path(
    skb: &Skb,
    vtep: &VtepEntry,
    path: u32,
    v6: bool,
    vni: Vni,
    tos: u8,
) -> Result<IfIndex, Errno> {
    let path = path_entry(vtep, path).ok_or(EINVAL)?;
    let patch = Patch { vni, inner_len: skb.len(), hash: skb.known_hash(), tos };
    if v6 {
        over_v6(skb, path, patch)?;
    } else {
        over_v4(skb, path, patch)?;
    }
    Ok(IfIndex(path.ifindex))
}

#[inline(always)]
fn over_v4(skb: &Skb, path: &PathEntry, patch: Patch) -> Result<(), Errno> {
    let inner = make_room_v4(skb)?;
    let header = header_v4(path, patch)?;
    match inner {
        Some(inner) => skb.write(0, &joined(&header, &inner)),
        None => skb.write(0, &header),
    }
}

#[inline(always)]
fn over_v6(skb: &Skb, path: &PathEntry, patch: Patch) -> Result<(), Errno> {
    let inner = skb.load::<{ ethernet::LEN }>(0).ok_or(EINVAL)?;
    let mut header: [u8; OVERHEAD_V6] = path.header.first_chunk().copied().ok_or(EINVAL)?;
    finish_v6(&mut header, patch);
    match family(ethernet::Header::parse(inner).ethertype) {
        Inner::V4 | Inner::V6 => {
            skb.adjust_room(OVERHEAD_V6 as i32, FLAGS_V6)?;
            skb.write(OVERHEAD_V6, &inner)?;
        }
        Inner::Other => skb.grow_head(OVERHEAD_V6 as u32)?,
    }
    skb.write(0, &header)
}

/// Makes room for outer headers over IPv4 in front of the frame. Where that moved the inner Ethernet
/// header to the front, returns it: it belongs behind the outer ones.
#[inline(always)]
pub(crate) fn make_room_v4(skb: &Skb) -> Result<Option<[u8; ethernet::LEN]>, Errno> {
    let inner = skb.load::<{ ethernet::LEN }>(0).ok_or(EINVAL)?;
    match family(ethernet::Header::parse(inner).ethertype) {
        Inner::V4 | Inner::V6 => {
            skb.adjust_room(OVERHEAD_V4 as i32, FLAGS_V4)?;
            Ok(Some(inner))
        }
        // `bpf_skb_adjust_room` takes IP only.
        Inner::Other => {
            skb.grow_head(OVERHEAD_V4 as u32)?;
            Ok(None)
        }
    }
}

/// The outer header over IPv4 for one frame on one path.
#[inline(always)]
pub(crate) fn header_v4(path: &PathEntry, patch: Patch) -> Result<[u8; OVERHEAD_V4], Errno> {
    let mut header = path.header.first_chunk().copied().ok_or(EINVAL)?;
    finish_v4(&mut header, patch);
    Ok(header)
}

/// All that `bpf_skb_adjust_room` leaves to be written: one store costs what two do, once.
#[inline(always)]
fn joined(
    header: &[u8; OVERHEAD_V4],
    inner: &[u8; ethernet::LEN],
) -> [u8; OVERHEAD_V4 + ethernet::LEN] {
    let mut bytes = [0; OVERHEAD_V4 + ethernet::LEN];
    let (outer, rest) = bytes.split_at_mut(OVERHEAD_V4);
    outer.copy_from_slice(header);
    rest.copy_from_slice(inner);
    bytes
}
