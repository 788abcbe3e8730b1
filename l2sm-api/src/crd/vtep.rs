//! What the API server checks of an `ExternalVTEP` and of an `L2Node`.

use serde_json::{Value, json};

use super::{
    attachment::station,
    overlay::{namespace_name, object_name},
    rule,
    schema::Amendment,
};

pub(super) fn amendments() -> Vec<Amendment> {
    let networks = json!({
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "namespace"],
    });
    let mut namespace = namespace_name();
    if let Some(fields) = namespace.as_object_mut() {
        fields.insert("default".to_owned(), crate::objects::DEFAULT_NAMESPACE.into());
    }
    vec![
        super::conditions(),
        Amendment::new("spec/address", address()),
        Amendment::new("spec/networks", networks),
        Amendment::new("spec/networks/*/name", object_name()),
        Amendment::new("spec/networks/*/namespace", namespace),
        Amendment::new(
            "spec/networks/*/hosts",
            json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mac"]}),
        ),
        Amendment::new("spec/networks/*/hosts/*/mac", station()),
        Amendment::new("spec/networks/*/hosts/*/ips/*", host_address()),
    ]
}

pub(super) fn node_amendments() -> Vec<Amendment> {
    let address = rule(
        &format!("isIP(self) && {REACHABLE}"),
        "is no node's address; expected one that other nodes reach",
    );
    vec![
        super::conditions(),
        Amendment::new("spec/vtepAddresses", json!({"minItems": 1, "maxItems": 16})),
        Amendment::new(
            "spec/vtepAddresses/*",
            json!({"maxLength": 45, "x-kubernetes-validations": [address]}),
        ),
        Amendment::new("spec/udpPort", json!({"minimum": 1})),
        Amendment::new("spec/underlayMTU", json!({"minimum": 576})),
    ]
}

/// No loopback, multicast or unspecified address.
const REACHABLE: &str = "!ip(self).isLoopback() && !ip(self).isUnspecified() \
     && !cidr('224.0.0.0/4').containsIP(self) && !cidr('ff00::/8').containsIP(self)";

fn address() -> Value {
    let endpoint = format!(
        "!isIP(self) || ({REACHABLE} && self != '255.255.255.255' && !cidr('fe80::/10').containsIP(self))"
    );
    json!({
        "maxLength": 45,
        "x-kubernetes-validations": [
            rule("isIP(self)", "is not an address; expected an IPv4 or IPv6 address, as in 192.0.2.9"),
            rule(&endpoint, "is no tunnel endpoint's; expected a unicast address that nodes reach, as in 192.0.2.9"),
        ],
    })
}

/// By formats and patterns: there may be too many hosts for rules.
fn host_address() -> Value {
    json!({
        "maxLength": 49,
        "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"format": "cidr"}],
        "not": {"pattern": "^(127\\.|22[4-9]\\.|23[0-9]\\.|0\\.0\\.0\\.0(/|$)|255\\.255\\.255\\.255(/|$)|[fF]{2}[0-9a-fA-F]{2}:|::1?(/|$))"},
    })
}
