//! The tables of the documents and the code say the same.

use l2sm_common::{
    abi,
    event::{DropEvent, EventLimit},
    maps::{
        ConfigEntry, DropKey, FdbEntry, FdbKey, FloodChunk, FloodKey, LocalEntry, MemberEntry,
        MemberKey, NeighEntry, NeighKey, PortEntry, SegmentEntry, Traffic, UplinkEntry, VtepEntry,
    },
    reason::DropReason,
};

const DROPS: &str = include_str!("../../docs/drops.md");
const MAPS: &str = include_str!("../../docs/maps.md");
const LAYOUTS: &str = include_str!("../../l2sm-ebpf/src/maps.rs");

#[test]
fn every_drop_reason_has_its_row() {
    let rows = DROPS.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows, DropReason::ALL.len() + 1, "a row each, and the header");
    for reason in DropReason::ALL {
        let start = format!("| {} | `{}` | {} |", reason.number(), reason.label(), reason.help());
        assert!(DROPS.contains(&start), "docs/drops.md lacks: {start}");
    }
}

#[test]
fn every_map_has_its_row() {
    let statics = LAYOUTS.lines().filter_map(|line| line.split_once("static "));
    let names: Vec<_> = statics.filter_map(|(_, rest)| rest.split(':').next()).collect();
    assert!(names.len() >= 14, "{names:?}");
    for name in names {
        assert!(MAPS.contains(&format!("| `{name}` |")), "docs/maps.md lacks {name}");
    }
    assert!(MAPS.starts_with(&format!("# The maps: layout version {}\n", abi::ABI)));
}

/// Names and sizes of these types, as the table writes them.
macro_rules! sizes {
    ($($type:ident),* $(,)?) => { [$((stringify!($type), size_of::<$type>())),*] };
}

#[test]
fn every_key_and_value_has_its_size() {
    let sizes = sizes![
        ConfigEntry,
        DropEvent,
        DropKey,
        EventLimit,
        FdbEntry,
        FdbKey,
        FloodChunk,
        FloodKey,
        LocalEntry,
        MemberEntry,
        MemberKey,
        NeighEntry,
        NeighKey,
        PortEntry,
        SegmentEntry,
        Traffic,
        UplinkEntry,
        VtepEntry,
    ];
    let rows: Vec<_> = MAPS.lines().filter(|line| line.starts_with("| `")).collect();
    let told = |cell: &str| rows.iter().any(|row| row.contains(cell));
    for (name, size) in sizes {
        assert!(told(&format!("`{name}` ({size})")), "docs/maps.md: {name} has {size} bytes");
    }
    let types =
        rows.iter().flat_map(|row| row.split('|').skip(3)).filter(|cell| cell.contains("` ("));
    assert_eq!(types.count(), sizes.len(), "no other type has a size");
}
