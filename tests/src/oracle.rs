//! What the host says must happen to a frame: return code, bytes, mark and counters. The other half
//! of the differential test; it acts on a byte slice as `l2sm-ebpf`'s `act` does on `__sk_buff`.

use std::collections::BTreeMap;

use l2sm_common::{
    decision::Decision,
    encap::{Patch, finish_v4, finish_v6},
    forward::memory::MemoryTables,
    frame::{Bytes, Frame as _},
    maps::{DropKey, Tally, Traffic},
    reason::DropReason,
    verdict::{Decap, Inner, ToVtep, Verdict, Way},
    wire::{
        arp, ethernet, nd,
        vxlan::{OVERHEAD_V4, OVERHEAD_V6},
    },
};

/// `TC_ACT_UNSPEC` as the kernel returns it from a test run.
pub const UNSPEC: u32 = u32::MAX;
/// `TC_ACT_SHOT`.
pub const SHOT: u32 = 2;
/// `TC_ACT_REDIRECT`.
pub const REDIRECT: u32 = 7;

/// Where a flow's UDP source port stands, for each outer family: the kernel's hash picks it.
pub const SOURCE_PORTS: [usize; 2] = [34, 54];

/// What must happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The program's return code.
    pub code: u32,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
    /// `skb->mark` afterwards.
    pub mark: u32,
    /// Counters that move, by slot.
    pub traffic: BTreeMap<u32, Traffic>,
    /// Drops that are counted.
    pub drops: BTreeMap<DropKey, u64>,
    /// The port is marked as a forwarder.
    pub forwarder: bool,
}

/// Offset of the outer UDP source port in an outcome that has one.
pub fn source_port_offset(decision: &Decision, frame: &Bytes<'_>) -> Option<usize> {
    let Verdict::ToVtep(ToVtep { way: Way::Fast { v6, .. }, .. }) = decision.verdict() else {
        return None;
    };
    (frame.gso_size == 0).then_some(SOURCE_PORTS[usize::from(v6)])
}

/// The outcome of a decision about a frame. `aggregated` frames of a test run have no type, and
/// `bpf_skb_adjust_room` refuses those (`ENOTSUPP`): the slow path, or a failed helper.
pub fn outcome(decision: &Decision, frame: &Bytes<'_>, tables: &MemoryTables) -> Outcome {
    let mut outcome = Outcome {
        bytes: frame.bytes.to_vec(),
        mark: frame.mark,
        forwarder: decision.shows_forwarder(),
        ..Outcome::default()
    };
    match decision.verdict() {
        Verdict::Pass => outcome.code = UNSPEC,
        Verdict::HandUp => {
            outcome.code = UNSPEC;
            outcome.mark |= mark(tables);
            outcome.count(decision, |traffic| &mut traffic.slow_handed_up, frame.len());
        }
        Verdict::Deliver { decap, .. } => outcome.deliver(decision, frame, decap),
        Verdict::ToVtep(to) => outcome.send(decision, frame, tables, &to),
        Verdict::Answer { owner } => {
            outcome.code = REDIRECT;
            outcome.count(decision, |traffic| &mut traffic.from_port, frame.len());
            outcome.count(decision, |traffic| &mut traffic.answered, frame.len());
            let packet = frame.load::<{ arp::LEN }>(ethernet::LEN).expect("a whole request");
            let request = arp::Request::parse(&packet).expect("a request");
            let header = frame.load::<{ ethernet::LEN }>(0).expect("a header");
            let asker = ethernet::Header::parse(header).source;
            outcome.bytes[..arp::FRAME_LEN].copy_from_slice(&request.reply(asker, owner));
        }
        Verdict::Advertise { owner, router } => {
            outcome.code = REDIRECT;
            outcome.count(decision, |traffic| &mut traffic.from_port, frame.len());
            outcome.count(decision, |traffic| &mut traffic.answered, frame.len());
            let packet = frame.load::<{ nd::SOLICITATION_LEN }>(ethernet::LEN);
            let solicited =
                nd::Solicitation::parse(&packet.expect("whole")).expect("a solicitation");
            let header = frame.load::<{ ethernet::LEN }>(0).expect("a header");
            let asker = ethernet::Header::parse(header).source;
            outcome.bytes = solicited.advertisement(asker, owner, router).to_vec();
        }
        Verdict::Drop(reason) => outcome.drop(decision, reason),
        // In memory nothing is ever out of reach; flooding sends for real and is tested so.
        Verdict::Pull | Verdict::Flood(_) => panic!("no outcome of {:?}", decision.verdict()),
    }
    outcome
}

impl Outcome {
    fn deliver(&mut self, decision: &Decision, frame: &Bytes<'_>, decap: Option<Decap>) {
        self.code = REDIRECT;
        let Some(decap) = decap else {
            self.count(decision, |traffic| &mut traffic.from_port, frame.len());
            self.count(decision, |traffic| &mut traffic.to_port, frame.len());
            return;
        };
        let inner = frame.len() - decap.length;
        self.count(decision, |traffic| &mut traffic.from_vtep, inner);
        self.count(decision, |traffic| &mut traffic.to_port, inner);
        if frame.gso_size != 0 {
            self.drop(decision, DropReason::HelperFailed);
            return;
        }
        let length = usize::try_from(decap.length).expect("small");
        self.bytes = frame.bytes[length..].to_vec();
        if let Some(codepoint) = decap.ecn {
            set_ecn(&mut self.bytes, decap.inner, codepoint);
        }
    }

    fn send(&mut self, decision: &Decision, frame: &Bytes<'_>, tables: &MemoryTables, to: &ToVtep) {
        self.code = REDIRECT;
        self.count(decision, |traffic| &mut traffic.from_port, frame.len());
        self.count(decision, |traffic| &mut traffic.to_vtep, frame.len());
        let Way::Fast { path, v6 } = to.way else {
            return self.send_slow(decision, frame, tables);
        };
        if frame.gso_size != 0 {
            return self.send_slow(decision, frame, tables);
        }
        let vtep = tables.vteps.get(&to.vtep.0).expect("the decision saw it");
        let header = vtep.paths[usize::try_from(path).expect("small")].header;
        let patch = Patch { vni: to.vni, inner_len: frame.len(), hash: frame.hash, tos: to.tos };
        let mut bytes = if v6 {
            let mut outer: [u8; OVERHEAD_V6] = header[..OVERHEAD_V6].try_into().expect("fits");
            finish_v6(&mut outer, patch);
            outer.to_vec()
        } else {
            let mut outer: [u8; OVERHEAD_V4] = header[..OVERHEAD_V4].try_into().expect("fits");
            finish_v4(&mut outer, patch);
            outer.to_vec()
        };
        bytes.extend(frame.bytes);
        self.bytes = bytes;
    }

    fn send_slow(&mut self, decision: &Decision, frame: &Bytes<'_>, tables: &MemoryTables) {
        self.count(decision, |traffic| &mut traffic.slow_sent, frame.len());
        self.mark |= mark(tables);
    }

    fn drop(&mut self, decision: &Decision, reason: DropReason) {
        self.code = SHOT;
        *self.drops.entry(DropKey::new(decision.slot(), reason)).or_default() += 1;
    }

    fn count(&mut self, decision: &Decision, pick: fn(&mut Traffic) -> &mut Tally, bytes: u32) {
        let tally = pick(self.traffic.entry(decision.slot().0).or_default());
        tally.packets += 1;
        tally.bytes += u64::from(bytes);
    }
}

fn mark(tables: &MemoryTables) -> u32 {
    tables.config.expect("configured").mark
}

/// Sets the ECN field the long way: the whole header is summed again.
fn set_ecn(frame: &mut [u8], inner: Inner, codepoint: u8) {
    match inner {
        Inner::V4 => {
            // RFC 1624: only the changed word may change the sum, whatever else is wrong with it.
            let before = u16::from_be_bytes([frame[14], frame[15]]);
            frame[15] = (frame[15] & 0xfc) | codepoint;
            let after = u16::from_be_bytes([frame[14], frame[15]]);
            let sum = u16::from_be_bytes([frame[24], frame[25]]);
            let total = u32::from(!sum) + u32::from(!before) + u32::from(after);
            let folded = l2sm_common::wire::ip::fold(total);
            frame[24..26].copy_from_slice(&(!folded).to_be_bytes());
        }
        Inner::V6 => frame[15] = (frame[15] & 0xcf) | (codepoint << 4),
        Inner::Other => {}
    }
}
