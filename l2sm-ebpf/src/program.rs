//! The table of programs.
#![expect(clippy::needless_pass_by_value, reason = "the signature that aya's macro calls")]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use l2sm_common::{
    abi::{PROGS_PORT_RX, PROGS_TUNNEL_RX, PROGS_UPLINK_RX, PROGS_UPLINK_TX},
    decision::Decision,
    event::Program,
    forward::{egress, port, tunnel, uplink},
    reason::DropReason,
    tables::Tables as _,
    verdict::Verdict,
};

use crate::{
    act,
    count::{self, Volume},
    flood,
    maps::PROGS,
    skb::{PULL, Skb},
    tables::Maps,
    xdp::{Received, ingress},
};

/// Headers that the decision about a pod's frame reads: Ethernet and IPv6, or IPv4 and TCP without
/// options. Not more: TCP keeps just its headers in reach, 66 bytes over IPv4, and to bring two more
/// there costs a new head for each frame. IPv6 with TCP asks for more where it is not in reach.
pub(crate) const PORT_HEADERS: u32 = 54;
/// Headers that tell whether a packet is of our tunnel: outer over IPv4.
const OUTER_HEADERS: u32 = 42;
/// Headers that the decision about a tunnel packet reads: outer over IPv4, inner Ethernet and IPv4. Not
/// more than [`OUTER_HEADERS`] of what is not ours: it costs the host's own TCP a new head for each frame.
const UPLINK_HEADERS: u32 = 88;

/// What a pod sends: tc ingress of the host end of its veth. REDIRECT or SHOT, never passed on.
#[classifier]
fn l2sm_port_rx(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::PortRx);
    skb.reach(PORT_HEADERS);
    let maps = Maps::default();
    let decision = port::from_port(&skb, &maps, skb.ingress());
    if decision.shows_forwarder() {
        act::mark_forwarder(&skb);
    }
    match decision.verdict() {
        Verdict::Deliver { port, delivery, .. } => {
            count::port_to_port(decision.slot(), Volume::of(&skb));
            act::deliver(&skb, port, delivery)
        }
        Verdict::ToVtep(to) => act::send(&skb, decision.slot(), &to, maps.vtep()),
        Verdict::Flood(flood) => {
            count::from_port(decision.slot(), Volume::of(&skb));
            flood::start(&ctx, &skb, decision.slot(), &flood)
        }
        Verdict::Answer { owner } => {
            count::answered(decision.slot(), Volume::of(&skb));
            act::answer_arp(&skb, decision.slot(), owner)
        }
        Verdict::Advertise { owner, router } => {
            count::answered(decision.slot(), Volume::of(&skb));
            act::advertise(&skb, decision.slot(), owner, router)
        }
        Verdict::Drop(reason) => act::drop(&skb, decision.slot(), reason),
        Verdict::Pull => pull_and_retry(&ctx, &skb, decision, PROGS_PORT_RX),
        // No such verdicts here: fail closed.
        Verdict::Pass | Verdict::HandUp => TC_ACT_SHOT,
    }
}

/// What arrives on the underlay: tc ingress of each underlay device.
#[classifier]
fn l2sm_uplink_rx(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::UplinkRx);
    let maps = Maps::default();
    skb.reach(OUTER_HEADERS);
    if !maps.config().is_some_and(|config| uplink::may_be_ours(&skb, &config)) {
        return TC_ACT_UNSPEC;
    }
    skb.reach(UPLINK_HEADERS);
    let decision = uplink::from_uplink(&skb, &maps, skb.ingress());
    match decision.verdict() {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::HandUp => act::hand_up(&skb, decision.slot()),
        Verdict::Deliver { port, delivery, decap: Some(decap) } => {
            count::vtep_to_port(decision.slot(), Volume::inside(&skb, decap.length));
            match act::decapsulate(&skb, &decap) {
                Ok(()) => act::deliver(&skb, port, delivery),
                Err(_errno) => act::drop(&skb, decision.slot(), DropReason::HelperFailed),
            }
        }
        Verdict::Flood(flood) => {
            let outer = flood.decap.map_or(0, |decap| decap.length);
            count::from_vtep(decision.slot(), Volume::inside(&skb, outer));
            match flood.decap.map_or(Ok(()), |decap| act::decapsulate(&skb, &decap)) {
                Ok(()) => flood::start(&ctx, &skb, decision.slot(), &flood),
                Err(_errno) => act::drop(&skb, decision.slot(), DropReason::HelperFailed),
            }
        }
        Verdict::Drop(reason) => act::drop(&skb, decision.slot(), reason),
        Verdict::Pull => pull_and_retry(&ctx, &skb, decision, PROGS_UPLINK_RX),
        // No such verdicts here: fail closed.
        Verdict::Deliver { .. }
        | Verdict::ToVtep(_)
        | Verdict::Answer { .. }
        | Verdict::Advertise { .. } => TC_ACT_SHOT,
    }
}

/// What arrives on the underlay, before the kernel has an skb: XDP of underlay devices, run by the
/// driver.
#[xdp(frags)]
fn l2sm_uplink_xdp(ctx: XdpContext) -> u32 {
    drop_early(&ctx)
}

/// The same, run by the kernel. Not declared to take frames in several buffers: a kernel that copies a
/// frame for a program that does (6.18) forgets its `mac_len`, and tc programs behind it see the frame
/// without its Ethernet header.
#[xdp]
fn l2sm_uplink_xdp_generic(ctx: XdpContext) -> u32 {
    drop_early(&ctx)
}

/// Drops what `l2sm_uplink_rx` would drop; all else passes, and is decided there. Counts nothing but
/// drops.
#[inline(always)]
fn drop_early(ctx: &XdpContext) -> u32 {
    let device = ingress(ctx);
    let frame = Received::new(ctx);
    let decision = uplink::from_uplink(&frame, &Maps::default(), device);
    match decision.verdict() {
        Verdict::Drop(reason) => {
            count::dropped(&frame, decision.slot(), reason);
            xdp_action::XDP_DROP
        }
        Verdict::Pass
        | Verdict::HandUp
        | Verdict::Pull
        | Verdict::Deliver { .. }
        | Verdict::ToVtep(_)
        | Verdict::Flood(_)
        | Verdict::Answer { .. }
        | Verdict::Advertise { .. } => xdp_action::XDP_PASS,
    }
}

/// What leaves by the underlay: tc egress of each underlay device. Drops what somebody else sends in
/// the node's name.
#[classifier]
fn l2sm_uplink_tx(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::UplinkTx);
    let decision = egress::leaves(&skb, &Maps::default(), skb.ingress(), skb.came_in_by());
    match decision.verdict() {
        Verdict::Drop(reason) => act::drop(&skb, decision.slot(), reason),
        Verdict::Pull => pull_and_retry(&ctx, &skb, decision, PROGS_UPLINK_TX),
        // No other verdicts here.
        Verdict::Pass
        | Verdict::HandUp
        | Verdict::Deliver { .. }
        | Verdict::ToVtep(_)
        | Verdict::Flood(_)
        | Verdict::Answer { .. }
        | Verdict::Advertise { .. } => TC_ACT_UNSPEC,
    }
}

/// What came up the slow path: tc ingress of `l2sm-vxlan`. REDIRECT or SHOT, never passed on.
#[classifier]
fn l2sm_tunnel_rx(ctx: TcContext) -> i32 {
    let skb = Skb::new(&ctx, Program::TunnelRx);
    emerge(&ctx, &skb, skb.tunnel_key())
}

/// What [`l2sm_tunnel_rx`] does with a frame that came in by this tunnel.
#[inline(always)]
pub(crate) fn emerge(ctx: &TcContext, skb: &Skb, key: Option<tunnel::TunnelKey>) -> i32 {
    skb.reach(PORT_HEADERS);
    let decision = tunnel::from_tunnel(skb, &Maps::default(), skb.ingress(), key);
    match decision.verdict() {
        Verdict::Deliver { port, delivery, .. } => {
            count::tunnel_to_port(decision.slot(), Volume::of(skb));
            act::forget_mark(skb);
            act::deliver(skb, port, delivery)
        }
        Verdict::Flood(flood) => {
            count::from_tunnel(decision.slot(), Volume::of(skb));
            flood::start(ctx, skb, decision.slot(), &flood)
        }
        Verdict::Drop(reason) => act::drop(skb, decision.slot(), reason),
        Verdict::Pull => pull_and_retry(ctx, skb, decision, PROGS_TUNNEL_RX),
        // No such verdicts here: fail closed.
        Verdict::Pass
        | Verdict::HandUp
        | Verdict::ToVtep(_)
        | Verdict::Answer { .. }
        | Verdict::Advertise { .. } => TC_ACT_SHOT,
    }
}

/// Copies a frame along a flood list; reached by tail call only.
#[classifier]
fn l2sm_flood_tx(ctx: TcContext) -> i32 {
    flood::run(&ctx)
}

/// Brings a frame's headers into reach and decides again. A frame whose headers cannot be had is
/// dropped as truncated.
#[inline(always)]
fn pull_and_retry(ctx: &TcContext, skb: &Skb, decision: Decision, again: u32) -> i32 {
    if !skb.reaches(PULL) && skb.pull(PULL).is_ok() {
        // SAFETY: `ctx` is the context of the running program, and the index is below the array's
        // capacity. It returns only if there is no such program.
        unsafe { PROGS.tail_call(ctx, again) };
    }
    act::drop(skb, decision.slot(), DropReason::Truncated)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual BSD/GPL\0";
