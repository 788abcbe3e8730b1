//! A decision as plain words.

use crate::{
    ids::{FloodId, Group, IfIndex, Slot, VtepId},
    mac::Mac,
    reason::DropReason,
    verdict::{Decap, Delivery, Flood, Inner, ToVtep, Verdict, Way},
    vni::Vni,
};

/// A verdict, with what counters and the port's entry need besides.
///
/// Kept as plain words, all of them always set: where ways through the decision join, the compiler
/// would carry an enum's unset bytes along, and the verifier refuses to read those. [`Self::verdict`]
/// gives the enum back.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    slot: u32,
    kind: u32,
    target: u32,
    vni: u32,
    detail: u64,
    decap: u32,
    forwarder: u32,
}

mod kind {
    pub(super) const PASS: u32 = 0;
    pub(super) const HAND_UP: u32 = 1;
    pub(super) const PULL: u32 = 2;
    pub(super) const DELIVER: u32 = 3;
    pub(super) const TO_VTEP: u32 = 4;
    pub(super) const FLOOD: u32 = 5;
    pub(super) const ANSWER: u32 = 6;
    pub(super) const DROP: u32 = 7;
    pub(super) const ADVERTISE: u32 = 8;
}

impl Decision {
    /// `verdict`, counted in `slot`.
    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "widening, in a const function")]
    pub const fn new(slot: Slot, verdict: Verdict) -> Self {
        let words = match verdict {
            Verdict::Pass => Self::words(kind::PASS, 0, 0, 0, None),
            Verdict::HandUp => Self::words(kind::HAND_UP, 0, 0, 0, None),
            Verdict::Pull => Self::words(kind::PULL, 0, 0, 0, None),
            Verdict::Deliver { port, delivery, decap } => {
                Self::words(kind::DELIVER, port.0, 0, delivery as u64, decap)
            }
            Verdict::ToVtep(ToVtep { vtep, vni, tos, way }) => {
                let detail = tos as u64 | (way.pack() << 8);
                Self::words(kind::TO_VTEP, vtep.0, vni.get(), detail, None)
            }
            Verdict::Flood(flood) => {
                let (target, vni) = (flood.list.0, flood.vni.get());
                Self::words(kind::FLOOD, target, vni, flood.pack(), flood.decap)
            }
            Verdict::Answer { owner } => Self::words(kind::ANSWER, 0, 0, pack_mac(owner), None),
            Verdict::Advertise { owner, router } => {
                Self::words(kind::ADVERTISE, router as u32, 0, pack_mac(owner), None)
            }
            Verdict::Drop(reason) => Self::words(kind::DROP, reason.number(), 0, 0, None),
        };
        Self { slot: slot.0, ..words }
    }

    #[inline(always)]
    const fn words(kind: u32, target: u32, vni: u32, detail: u64, decap: Option<Decap>) -> Self {
        let decap = Decap::pack(decap);
        Self { slot: 0, kind, target, vni, detail, decap, forwarder: 0 }
    }

    /// A drop, counted in `slot`.
    #[inline(always)]
    pub const fn drop(slot: Slot, reason: DropReason) -> Self {
        Self::new(slot, Verdict::Drop(reason))
    }

    /// The same, from a port that was just seen to forward traffic of others, or not.
    #[inline(always)]
    pub const fn with_forwarder(self, forwarder: bool) -> Self {
        Self { forwarder: if forwarder { 1 } else { 0 }, ..self }
    }

    /// Where it is counted.
    #[inline(always)]
    pub const fn slot(&self) -> Slot {
        Slot(self.slot)
    }

    /// The frame is to be copied along a flood list.
    #[inline(always)]
    pub const fn floods(&self) -> bool {
        self.kind == kind::FLOOD
    }

    /// The frame shows that the port it came from forwards traffic of others: mark the port.
    #[inline(always)]
    pub const fn shows_forwarder(&self) -> bool {
        self.forwarder != 0
    }

    /// What to do.
    #[inline(always)]
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "unpacks fields")]
    pub const fn verdict(&self) -> Verdict {
        let vni = match Vni::new(self.vni) {
            Some(vni) => vni,
            None => Vni::MIN,
        };
        let tos = self.detail as u8;
        match self.kind {
            kind::PASS => Verdict::Pass,
            kind::HAND_UP => Verdict::HandUp,
            kind::PULL => Verdict::Pull,
            kind::DELIVER => Verdict::Deliver {
                port: IfIndex(self.target),
                delivery: if self.detail == 0 { Delivery::Peer } else { Delivery::Device },
                decap: Decap::unpack(self.decap),
            },
            kind::TO_VTEP => {
                let way = Way::unpack(self.detail >> 8);
                Verdict::ToVtep(ToVtep { vtep: VtepId(self.target), vni, tos, way })
            }
            kind::FLOOD => Verdict::Flood(self.flood(vni)),
            kind::ANSWER => Verdict::Answer { owner: unpack_mac(self.detail) },
            kind::ADVERTISE => {
                let (owner, router) = (unpack_mac(self.detail), self.target != 0);
                Verdict::Advertise { owner, router }
            }
            _ => Verdict::Drop(match DropReason::from_number(self.target) {
                Some(reason) => reason,
                None => DropReason::HelperFailed,
            }),
        }
    }

    #[inline(always)]
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "unpacks fields")]
    const fn flood(&self, vni: Vni) -> Flood {
        Flood {
            list: FloodId(self.target),
            vni,
            from: IfIndex((self.detail >> 32) as u32),
            group: Group((self.detail >> 16) as u16),
            unknown: (self.detail >> 8) & 1 != 0,
            tos: self.detail as u8,
            decap: Decap::unpack(self.decap),
        }
    }
}

#[inline(always)]
const fn pack_mac(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[inline(always)]
const fn unpack_mac(word: u64) -> Mac {
    let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
    Mac([a, b, c, d, e, f])
}

impl Decap {
    /// In one word; zero: nothing to take off.
    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "widening, in a const function")]
    const fn pack(decap: Option<Self>) -> u32 {
        let Some(Self { length, inner, ecn }) = decap else {
            return 0;
        };
        let ecn = match ecn {
            Some(codepoint) => 0x80 | codepoint as u32,
            None => 0,
        };
        length | ((inner as u32) << 8) | (ecn << 16)
    }

    #[inline(always)]
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "unpacks fields")]
    const fn unpack(word: u32) -> Option<Self> {
        if word == 0 {
            return None;
        }
        let inner = match (word >> 8) & 0xff {
            0 => Inner::V4,
            1 => Inner::V6,
            _ => Inner::Other,
        };
        let ecn = (word >> 16) as u8;
        let ecn = if ecn == 0 { None } else { Some(ecn & 0x7f) };
        Some(Self { length: word & 0xff, inner, ecn })
    }
}

impl Way {
    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "widening, in a const function")]
    const fn pack(self) -> u64 {
        match self {
            Self::Slow => 0,
            Self::Fast { path, v6 } => 1 | ((v6 as u64) << 1) | ((path as u64) << 8),
        }
    }

    #[inline(always)]
    #[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "unpacks fields")]
    const fn unpack(word: u64) -> Self {
        if word & 1 == 0 {
            Self::Slow
        } else {
            Self::Fast { path: (word >> 8) as u32, v6: word & 2 != 0 }
        }
    }
}

impl Flood {
    /// What does not fit the other words.
    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "widening, in a const function")]
    const fn pack(&self) -> u64 {
        let low = self.tos as u64 | ((self.unknown as u64) << 8) | ((self.group.0 as u64) << 16);
        low | ((self.from.0 as u64) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decaps() -> impl Strategy<Value = Option<Decap>> {
        let inner = prop_oneof![Just(Inner::V4), Just(Inner::V6), Just(Inner::Other)];
        let decap = (prop_oneof![Just(50u32), Just(70)], inner, proptest::option::of(0u8..4));
        proptest::option::of(decap.prop_map(|(length, inner, ecn)| Decap { length, inner, ecn }))
    }

    fn ways() -> impl Strategy<Value = Way> {
        let fast = (0u32..4, any::<bool>()).prop_map(|(path, v6)| Way::Fast { path, v6 });
        prop_oneof![Just(Way::Slow), fast]
    }

    fn verdicts() -> impl Strategy<Value = Verdict> {
        let vni = || (1..=Vni::MAX).prop_map(|raw| Vni::new(raw).unwrap());
        let deliver = (any::<u32>(), any::<bool>(), decaps()).prop_map(|(port, peer, decap)| {
            let delivery = if peer { Delivery::Peer } else { Delivery::Device };
            Verdict::Deliver { port: IfIndex(port), delivery, decap }
        });
        let send = (any::<u32>(), vni(), any::<u8>(), ways())
            .prop_map(|(id, vni, tos, way)| ToVtep { vtep: VtepId(id), vni, tos, way });
        let flood = (any::<(u32, u32, u16, bool, u8)>(), vni(), decaps()).prop_map(
            |((list, from, group, unknown, tos), vni, decap)| Flood {
                list: FloodId(list),
                vni,
                from: IfIndex(from),
                group: Group(group),
                unknown,
                tos,
                decap,
            },
        );
        prop_oneof![
            Just(Verdict::Pass),
            Just(Verdict::HandUp),
            Just(Verdict::Pull),
            deliver,
            send.prop_map(Verdict::ToVtep),
            flood.prop_map(Verdict::Flood),
            any::<[u8; 6]>().prop_map(|mac| Verdict::Answer { owner: Mac(mac) }),
            any::<([u8; 6], bool)>()
                .prop_map(|(mac, router)| Verdict::Advertise { owner: Mac(mac), router }),
            (0..DropReason::ALL.len()).prop_map(|at| Verdict::Drop(DropReason::ALL[at])),
        ]
    }

    proptest! {
        #[test]
        fn a_decision_gives_back_what_was_put_in(verdict in verdicts(), slot: u32, forwarder: bool) {
            let decision = Decision::new(Slot(slot), verdict).with_forwarder(forwarder);
            prop_assert_eq!(decision.verdict(), verdict);
            prop_assert_eq!(decision.slot(), Slot(slot));
            prop_assert_eq!(decision.shows_forwarder(), forwarder);
        }
    }
}
