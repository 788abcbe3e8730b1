//! Keys that begin with a segment: those of one segment stand together in a map.

use core::ops::RangeInclusive;

use l2sm_common::maps::{FdbKey, NeighKey};

/// A key with a segment.
pub(crate) trait InSegment: Copy + Ord + 'static {
    /// All keys of a segment.
    fn range(vni: u32) -> RangeInclusive<Self>;
}

impl InSegment for FdbKey {
    fn range(vni: u32) -> RangeInclusive<Self> {
        let key = |byte| Self { vni, mac: [byte; 6], pad: [byte; 2] };
        key(0)..=key(u8::MAX)
    }
}

impl InSegment for NeighKey {
    fn range(vni: u32) -> RangeInclusive<Self> {
        let key = |byte| Self { vni, ip: [byte; 16] };
        key(0)..=key(u8::MAX)
    }
}
