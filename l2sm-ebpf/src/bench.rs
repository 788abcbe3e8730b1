//! Programs that only the benchmark's test runs call: the frame is the same after each run, so that
//! the next run finds it as this one did.
#![expect(clippy::needless_pass_by_value, reason = "the signature that aya's macro calls")]

use aya_ebpf::{
    bindings::{
        BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET, TC_ACT_SHOT, TC_ACT_UNSPEC,
    },
    btf_maps::PerCpuArray,
    macros::{btf_map, classifier},
    programs::TcContext,
};
use l2sm_common::{
    abi::{MARK, PROGS_UPLINK_RX},
    event::Program,
    forward::{port, tunnel::TunnelKey},
    frame::Frame as _,
    ids::ip16_from_v4,
    maps::Tally,
    verdict::Verdict,
    wire::vxlan::OVERHEAD_V4,
};

use crate::{
    act,
    maps::PROGS,
    program::{PORT_HEADERS, emerge},
    skb::{RoomFlags, Skb},
    tables::Maps,
};

/// Where the VNI is in a tunnel packet over IPv4: Ethernet, IPv4, UDP, four bytes of VXLAN.
const VNI_OFFSET: usize = 14 + 20 + 8 + 4;
/// VNI of the network in which the second half delivers; its FDB has the station as a port.
const FAR_VNI: [u8; 3] = [0, 0, 2];
/// A VTEP that may send into it.
const FAR_VTEP: [u8; 4] = [192, 0, 2, 1];
const BARE: RoomFlags = RoomFlags((BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) as u64);

/// Nothing: what a test run costs by itself.
#[classifier]
fn bench_empty(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Room for outer headers made and taken away again, and nothing else: half of it is what
/// [`bench_encap`] undoes.
#[classifier]
fn bench_room(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::PortRx);
    let grown = skb.adjust_room(OVERHEAD_V4 as i32, BARE);
    match grown.and_then(|()| skb.adjust_room(-(OVERHEAD_V4 as i32), BARE)) {
        Ok(()) => TC_ACT_UNSPEC,
        Err(_errno) => TC_ACT_SHOT,
    }
}

/// All that happens to a pod's frame for a VTEP, undone.
#[classifier]
fn bench_encap(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::PortRx);
    let sent = send(&skb);
    match skb.adjust_room(-(OVERHEAD_V4 as i32), BARE) {
        Ok(()) => sent,
        Err(_errno) => TC_ACT_SHOT,
    }
}

/// All that happens to a pod's frame for a VTEP, then all that happens to it there.
#[classifier]
fn bench_both(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::PortRx);
    send(&skb);
    if skb.write(VNI_OFFSET, &FAR_VNI).is_ok() {
        // SAFETY: `ctx` is the context of the running program, and the index is below the array's
        // capacity. It returns only if there is no such program.
        unsafe { PROGS.tail_call(&ctx, PROGS_UPLINK_RX) };
    }
    TC_ACT_SHOT
}

/// What `l2sm_tunnel_rx` does with a frame, which a test run cannot have come through a tunnel.
#[classifier]
fn bench_tunnel(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::TunnelRx);
    skb.set_mark(MARK);
    let [a, b, c] = FAR_VNI;
    let key = TunnelKey { vni: u32::from_be_bytes([0, a, b, c]), source: ip16_from_v4(FAR_VTEP) };
    emerge(&ctx, &skb, Some(key))
}

/// Frames that [`bench_count`] saw, each as one however many packets it stands for.
#[btf_map]
static COUNTED: PerCpuArray<Tally, 1> = PerCpuArray::new();

/// Counts frames on a pod's own device, where fast and slow path have become one.
#[classifier]
fn bench_count(ctx: TcContext) -> i32 {
    if let Some(counted) = COUNTED.get_ptr_mut(0) {
        // SAFETY: this CPU's value, in an array, so it stays; tc programs of one CPU do not
        // interrupt one another, so nothing else writes it meanwhile.
        let counted = unsafe { &mut *counted };
        counted.packets += 1;
        counted.bytes += u64::from(Skb::new(&ctx, Program::PortRx).len());
    }
    TC_ACT_UNSPEC
}

/// What `l2sm_port_rx` does with a frame for a VTEP.
#[inline(always)]
fn send(skb: &Skb) -> i32 {
    skb.reach(PORT_HEADERS);
    let maps = Maps::default();
    let decision = port::from_port(skb, &maps, skb.ingress());
    match decision.verdict() {
        Verdict::ToVtep(to) => act::send(skb, decision.slot(), &to, maps.vtep()),
        Verdict::Deliver { .. }
        | Verdict::Flood(_)
        | Verdict::Answer { .. }
        | Verdict::Advertise { .. }
        | Verdict::Drop(_)
        | Verdict::Pull
        | Verdict::Pass
        | Verdict::HandUp => TC_ACT_SHOT,
    }
}
