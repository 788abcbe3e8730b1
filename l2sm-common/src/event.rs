//! Records of dropped frames, in the ring `EVENTS`: samples for people. What counts is in `DROPS`.

use crate::{abi, maps::map_type};

/// Bytes of a frame in a record: outer headers over IPv6 and the inner Ethernet header, and more.
pub const CAPTURE: usize = 96;
/// Records of one reason that one CPU makes in [`WINDOW_NS`].
pub const PER_WINDOW: u32 = 10;
/// Length of the window in which [`PER_WINDOW`] records are made, nanoseconds.
pub const WINDOW_NS: u64 = 1_000_000_000;

/// One dropped frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropEvent {
    /// When: `CLOCK_MONOTONIC`, nanoseconds.
    pub time_ns: u64,
    /// [`crate::reason::DropReason`] as a number.
    pub reason: u32,
    /// [`Program`] as a number.
    pub program: u32,
    /// The device that the program ran on.
    pub ifindex: u32,
    /// The network's slot; 0 where no network is known.
    pub slot: u32,
    /// Length of the frame as it was then, bytes.
    pub length: u32,
    /// Bytes of `frame` that are the frame's; the rest is undefined.
    pub captured: u32,
    /// How the frame begins.
    pub frame: [u8; CAPTURE],
}
map_type!(DropEvent, size 128, align 8);

#[cfg(any(test, feature = "std"))]
impl DropEvent {
    /// A record as it lies in the ring; `None`: not so long.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, frame) = bytes.split_at_checked(size_of::<Self>() - CAPTURE)?;
        let (time, words) = head.split_first_chunk()?;
        let word = |at: usize| {
            let (words, _rest) = words.as_chunks();
            words.get(at).copied().map(u32::from_ne_bytes)
        };
        Some(Self {
            time_ns: u64::from_ne_bytes(*time),
            reason: word(0)?,
            program: word(1)?,
            ifindex: word(2)?,
            slot: word(3)?,
            length: word(4)?,
            captured: word(5)?,
            frame: frame.try_into().ok()?,
        })
    }

    /// How the frame begins.
    pub fn start(&self) -> &[u8] {
        let captured = usize::try_from(self.captured).unwrap_or(CAPTURE);
        self.frame.get(..captured).unwrap_or(&self.frame)
    }
}

/// Value of `EVENT_LIMIT` (key: number of the reason, `u32`), per CPU: how many records were made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLimit {
    /// Begin of the running window, nanoseconds of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// Records made in it.
    pub admitted: u32,
    /// Records for which the ring had no room, ever.
    pub lost: u32,
}
map_type!(EventLimit, size 16, align 8);

impl EventLimit {
    /// Whether one more record may be made at `now_ns`; then it is counted.
    #[inline(always)]
    pub const fn admit(&mut self, now_ns: u64) -> bool {
        if now_ns.wrapping_sub(self.start_ns) >= WINDOW_NS {
            self.start_ns = now_ns;
            self.admitted = 0;
        }
        if self.admitted >= PER_WINDOW {
            return false;
        }
        self.admitted += 1;
        true
    }
}

/// A program that drops frames.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// [`abi::PORT_RX`].
    PortRx = 1,
    /// [`abi::UPLINK_RX`].
    UplinkRx = 2,
    /// [`abi::UPLINK_TX`].
    UplinkTx = 3,
    /// [`abi::TUNNEL_RX`].
    TunnelRx = 4,
    /// [`abi::FLOOD_TX`].
    FloodTx = 5,
    /// [`abi::UPLINK_XDP`].
    UplinkXdp = 6,
}

impl Program {
    /// The number in a record.
    #[inline(always)]
    #[expect(clippy::as_conversions, reason = "the number of a variant, in a const function")]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The name of the program with this number.
    pub const fn name(number: u32) -> Option<&'static str> {
        match number {
            1 => Some(abi::PORT_RX),
            2 => Some(abi::UPLINK_RX),
            3 => Some(abi::UPLINK_TX),
            4 => Some(abi::TUNNEL_RX),
            5 => Some(abi::FLOOD_TX),
            6 => Some(abi::UPLINK_XDP),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reason::DropReason;

    #[test]
    fn every_reason_has_a_limit() {
        let highest = DropReason::ALL.iter().map(|reason| reason.number()).max().unwrap();
        assert!(highest < u32::try_from(abi::REASONS_CAPACITY).unwrap());
    }

    #[test]
    fn a_record_is_read_as_it_lies_in_the_ring() {
        let mut bytes = Vec::from(7u64.to_ne_bytes());
        bytes.extend([13u32, 2, 9, 1, 60, 14].into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend([0xaa; CAPTURE]);
        let event = DropEvent::from_bytes(&bytes).unwrap();
        assert_eq!((event.time_ns, event.reason, event.program, event.ifindex), (7, 13, 2, 9));
        assert_eq!((event.slot, event.length, event.start()), (1, 60, &[0xaa; 14][..]));
        assert_eq!(DropEvent::from_bytes(&bytes[1..]), None);
    }

    #[test]
    fn a_flood_makes_ten_records_and_a_second_later_ten_more() {
        let mut limit = EventLimit::default();
        let begin = 5 * WINDOW_NS;
        let admitted = |limit: &mut EventLimit, from: u64| {
            (0..10_000).filter(|step| limit.admit(from + step)).count()
        };
        assert_eq!(admitted(&mut limit, begin), 10);
        assert_eq!(admitted(&mut limit, begin + WINDOW_NS - 20_000), 0);
        assert_eq!(admitted(&mut limit, begin + WINDOW_NS), 10);
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_ten(steps in proptest::collection::vec(0..WINDOW_NS / 4, 1..500)) {
            let mut limit = EventLimit::default();
            let mut now = WINDOW_NS;
            let mut admitted = Vec::new();
            for step in steps {
                now += step;
                if limit.admit(now) {
                    admitted.push(now);
                }
            }
            for pair in admitted.windows(20 + 1) {
                prop_assert!(pair[20] - pair[0] >= WINDOW_NS, "21 records within a window's length");
            }
        }
    }

    #[test]
    fn a_number_leads_to_the_programs_name() {
        for (program, name) in [(Program::PortRx, abi::PORT_RX), (Program::FloodTx, abi::FLOOD_TX)]
        {
            assert_eq!(Program::name(program.number()), Some(name));
        }
        assert_eq!(Program::name(0), None);
    }
}
