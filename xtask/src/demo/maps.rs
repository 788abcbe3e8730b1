//! A map of a node, as bpftool shows it: with the names of its fields.

use anyhow::{Context, Result};
use serde_json::Value;

use super::checks::Checks;
use super::lab::Lab;
use crate::command;
use crate::say::say;

/// Lines that are shown.
const LINES: usize = 24;

/// The first node's FDB has an entry for every pod, and bpftool names its fields.
pub(crate) fn check(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let map = lab.first_node().map("FDB");
    let arguments = ["map", "dump", "pinned", &map];
    say!("  $ bpftool {}", arguments.join(" "));
    let text = command::read(command::new("bpftool").args(arguments))?;
    for line in text.lines().take(LINES) {
        say!("  {line}");
    }
    let more = text.lines().count().saturating_sub(LINES);
    if more > 0 {
        say!("  … {more} more lines");
    }
    let json = command::read(command::new("bpftool").arg("-j").args(arguments))?;
    let entries: Vec<Value> = serde_json::from_str(&json).context("bpftool: not JSON")?;
    let named = entries.iter().filter(|entry| is_named(entry)).count();
    let pods = lab.pods.len();
    checks.record(
        named == pods && entries.len() == pods,
        &format!(
            "FDB of {}: {pods} pods, {} entries, {named} with named fields",
            lab.first_node().name,
            entries.len()
        ),
    );
    Ok(())
}

/// Whether bpftool found the fields' names in the map's BTF.
fn is_named(entry: &Value) -> bool {
    let has = |pointer| entry.pointer(pointer).is_some();
    has("/formatted/key/vni") && has("/formatted/key/mac") && has("/formatted/value/target")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_named;

    #[test]
    fn an_entry_without_btf_has_no_names() {
        let named = json!({"key": ["0x01"], "formatted": {
            "key": {"vni": 1, "mac": [2, 0, 0, 0, 0, 1]}, "value": {"kind": 1, "target": 3}}});
        assert!(is_named(&named));
        assert!(!is_named(&json!({"key": ["0x01"], "value": ["0x00"]})));
    }
}
