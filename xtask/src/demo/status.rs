//! A node's own counters, as `l2smctl status` has them.

use anyhow::{Context, Result};
use serde_json::Value;

use super::lab::{Lab, Node};
use crate::command;
use crate::say::say;

/// Shows the counters of the first node.
pub(crate) fn show(lab: &Lab) -> Result<()> {
    let text = command::read(lab.ctl().args(["status", "--socket", &lab.first_node().socket]))?;
    for line in text.lines() {
        say!("  {line}");
    }
    Ok(())
}

/// Packets that a node dropped for `reason`, in all networks.
pub(crate) fn dropped(lab: &Lab, node: &Node, reason: &str) -> Result<u64> {
    let arguments = ["status", "--socket", &node.socket, "-o", "json"];
    let text = command::read(lab.ctl().args(arguments))?;
    let status: Value = serde_json::from_str(&text).context("status is not JSON")?;
    Ok(count(&status, reason))
}

fn count(status: &Value, reason: &str) -> u64 {
    let drops = status.get("drops").and_then(Value::as_array).into_iter().flatten();
    let of_reason =
        drops.filter(|drops| drops.get("reason").and_then(Value::as_str) == Some(reason));
    of_reason.filter_map(|drops| drops.get("packets")?.as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::count;

    #[test]
    fn drops_are_added_up_over_networks() {
        let status = json!({"drops": [
            {"network": "default/red", "reason": "unknown_unicast", "packets": 3},
            {"network": "default/blue", "reason": "unknown_unicast", "packets": 4},
            {"network": "", "reason": "unknown_vtep", "packets": 5},
        ]});
        assert_eq!(count(&status, "unknown_unicast"), 7);
        assert_eq!(count(&status, "no_port"), 0);
    }
}
