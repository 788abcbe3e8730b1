//! The tables of the documents and the code say the same.

use l2sm_common::{abi, reason::DropReason};

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
