//! Whether the host's firewall takes tunnel packets, as far as its rules can be read.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Finding, Verdict, finding};

const NAME: &str = "firewall";

/// Reads the rules of nftables (those of iptables-nft too), where `nft` is installed.
pub(super) fn look(port: u16) -> Finding {
    let listed = Command::new("nft").args(["-j", "list", "ruleset"]).stdin(Stdio::null()).output();
    let listed = listed.ok().filter(|output| output.status.success());
    let Some(rules) = listed.and_then(|output| serde_json::from_slice(&output.stdout).ok()) else {
        let what = "its rules cannot be read (no nft); the condition SlowPathBlocked tells";
        return finding(NAME, Verdict::Ok, what);
    };
    match obstacle(&rules, port) {
        Some(why) => finding(NAME, Verdict::Warn, why)
            .with_cure(format!("let it accept UDP {port} from the other nodes")),
        None => finding(NAME, Verdict::Ok, format!("nothing drops UDP {port} on its way in")),
    }
}

/// What may stand in the way of UDP to `port`: a rule that drops it, or an input chain that drops
/// by default and says nothing of it.
fn obstacle(ruleset: &Value, port: u16) -> Option<String> {
    let objects: Vec<&Value> = ruleset["nftables"].as_array()?.iter().collect();
    let rules: Vec<&Value> =
        objects.iter().map(|object| &object["rule"]).filter(|rule| !rule.is_null()).collect();
    let named = |rule: &&&Value| names_port(rule, port);
    let drops = |rule: &&&Value| has_verdict(rule, "drop") || has_verdict(rule, "reject");
    if let Some(rule) = rules.iter().filter(named).find(drops) {
        return Some(format!("a rule of {} drops UDP {port}", place(rule)));
    }
    if rules.iter().filter(named).any(|rule| has_verdict(rule, "accept")) {
        return None;
    }
    let chains = objects.iter().map(|object| &object["chain"]);
    let mut closed = chains.filter(|chain| chain["hook"] == "input" && chain["policy"] == "drop");
    closed.next().map(|chain| {
        let (table, name) = (text(&chain["table"]), text(&chain["name"]));
        format!("chain {table} {name} drops by default and no rule accepts UDP {port}")
    })
}

fn place(rule: &Value) -> String {
    format!("{} {}", text(&rule["table"]), text(&rule["chain"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn has_verdict(rule: &Value, verdict: &str) -> bool {
    let statements = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
    statements.iter().any(|statement| statement.get(verdict).is_some())
}

/// Whether a rule matches the destination port.
fn names_port(rule: &Value, port: u16) -> bool {
    let statements = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
    statements.iter().any(|statement| {
        let field = statement.pointer("/match/left/payload/field");
        let value = statement.pointer("/match/right");
        field.is_some_and(|field| field == "dport") && value.is_some_and(|value| holds(value, port))
    })
}

/// Whether a port is a value, or in a set or range.
fn holds(value: &Value, port: u16) -> bool {
    if let Some(range) = value["range"].as_array() {
        let bound = |end: usize| range.get(end).and_then(Value::as_u64);
        let port = u64::from(port);
        return bound(0).is_some_and(|low| low <= port) && bound(1).is_some_and(|top| port <= top);
    }
    let set = value["set"].as_array();
    value.as_u64() == Some(port.into())
        || set.is_some_and(|set| set.iter().any(|one| holds(one, port)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(port: &Value, verdict: &str) -> Value {
        let left = json!({"payload": {"protocol": "udp", "field": "dport"}});
        json!({"rule": {"table": "filter", "chain": "INPUT", "expr": [
            {"match": {"op": "==", "left": left, "right": port}}, {verdict: null}]}})
    }

    fn found(objects: &[Value]) -> Option<String> {
        obstacle(&json!({ "nftables": objects }), 7000)
    }

    #[test]
    fn a_rule_that_drops_the_port_is_named() {
        assert_eq!(found(&[]), None);
        let expected = Some("a rule of filter INPUT drops UDP 7000".to_owned());
        assert_eq!(found(&[rule(&json!(7000), "drop")]), expected);
        assert_eq!(found(&[rule(&json!({"set": [53, 7000]}), "reject")]), expected);
        assert_eq!(found(&[rule(&json!({"range": [6000, 8000]}), "drop")]), expected);
        assert_eq!(found(&[rule(&json!(53), "drop")]), None);
    }

    #[test]
    fn a_chain_that_drops_by_default_must_accept_the_port() {
        let chain = json!({"chain": {
            "table": "filter", "name": "INPUT", "hook": "input", "policy": "drop"}});
        let why = found(std::slice::from_ref(&chain)).unwrap();
        let expected = "chain filter INPUT drops by default and no rule accepts UDP 7000";
        assert_eq!(why, expected);
        assert_eq!(found(&[chain, rule(&json!(7000), "accept")]), None);
    }
}
