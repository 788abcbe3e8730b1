//! What the API server checks of an `L2Network`.

use l2sm_core::vni_plan::VNI_CHOSEN_MAX;
use serde_json::{Value, json};

use super::{
    overlay::provider_amendments,
    rule, rule_about,
    schema::{Amendment, Renamed},
};
use crate::objects::field::CIDRS_MAX;

pub(super) const RENAMED: &[Renamed] =
    &[Renamed { at: "spec", now: "provider", before: "networkController", required: false }];

pub(super) fn amendments() -> Vec<Amendment> {
    let mut amendments = vec![
        super::conditions(),
        Amendment::new("spec/networkCIDR", cidrs()),
        Amendment::new("spec/podAddressRange", cidrs()),
        Amendment::new("spec/vni", json!({"minimum": 1, "maximum": VNI_CHOSEN_MAX})),
        Amendment::new("spec/mtu", json!({"minimum": 576, "maximum": 65_535})),
        Amendment::new("spec/allowedNamespaces", allowed_namespaces()),
        Amendment::new("spec", json!({"x-kubernetes-validations": across()})),
        Amendment::new("status/internalConnectivity", connectivity()),
        Amendment::new("status/internalConnectivity", json!({"default": "Unavailable"})),
        Amendment::new("status/providerConnectivity", connectivity()),
    ];
    amendments.extend(provider_amendments("spec/provider"));
    amendments
}

/// One CIDR, or one of each family.
pub(super) fn cidrs() -> Value {
    json!({
        "maxLength": CIDRS_MAX,
        "x-kubernetes-validations": [
            rule(
                &are_cidrs("self"),
                "is not a CIDR; expected address/prefix, as in 10.34.0.0/16, or an IPv4 and an IPv6 one separated by a comma",
            ),
            rule(
                &format!("!({}) || self.split(',').all(part, {UNICAST})", are_cidrs("self")),
                "cannot hold pods' addresses; expected a unicast range, as in 10.34.0.0/16",
            ),
            rule(
                "self.split(',').filter(part, part.contains(':')).size() <= 1 && self.split(',').filter(part, !part.contains(':')).size() <= 1",
                "has two ranges of one family; expected one, or one IPv4 and one IPv6",
            ),
        ],
    })
}

/// Every part is a CIDR.
fn are_cidrs(field: &str) -> String {
    format!("{field}.split(',').all(part, isCIDR(part.trim()))")
}

const UNICAST: &str = "cidr(part.trim()).prefixLength() > 0 \
     && !cidr('224.0.0.0/4').containsIP(cidr(part.trim()).masked().ip()) \
     && !cidr('ff00::/8').containsIP(cidr(part.trim()).masked().ip()) \
     && !cidr(part.trim()).masked().ip().isLoopback()";

/// Rules across fields. They hold where one of the fields is wrong in itself: its own rule says so.
fn across() -> Vec<Value> {
    let ranges = are_cidrs("self.podAddressRange");
    let cidrs = are_cidrs("self.networkCIDR");
    let of_family =
        "self.networkCIDR.split(',').exists(net, net.contains(':') == range.contains(':'))";
    let touching = "self.networkCIDR.split(',').exists(net, \
         cidr(net.trim()).masked().containsCIDR(cidr(range.trim()).masked()) \
         || cidr(range.trim()).masked().containsCIDR(cidr(net.trim()).masked()))";
    let each = |holds: &str| format!("self.podAddressRange.split(',').all(range, {holds})");
    vec![
        rule_about(
            ".podAddressRange",
            &format!(
                "!has(self.podAddressRange) || (has(self.networkCIDR) && {})",
                each(of_family)
            ),
            "needs a networkCIDR of its family",
        ),
        rule_about(
            ".podAddressRange",
            &format!(
                "!has(self.podAddressRange) || !has(self.networkCIDR) || !({ranges}) || !({cidrs}) || !({}) || {}",
                each(of_family),
                each(touching)
            ),
            "lies outside networkCIDR; expected a range inside it",
        ),
        rule_about(
            ".mtu",
            "!has(self.mtu) || !has(self.networkCIDR) || !self.networkCIDR.contains(':') || self.mtu >= 1280",
            "is out of range; expected 1280 to 65535 (IPv6 needs 1280)",
        ),
        rule_about(
            ".vni",
            "has(self.vni) == has(oldSelf.vni) && (!has(self.vni) || self.vni == oldSelf.vni)",
            "is fixed once the network is made; expected what it was made with",
        ),
    ]
}

/// `Same`, `All`, or an object with one or both of a label selector's fields. Each keyword speaks of
/// one type only and lets the others pass: a schema node cannot have two types.
fn allowed_namespaces() -> Value {
    json!({
        "type": null,
        "x-kubernetes-preserve-unknown-fields": true,
        "default": "Same",
        "pattern": "^(Same|All)$",
        "minItems": 1, "maxItems": 0,
        "minimum": 1, "maximum": 0,
        "not": {"enum": [true, false]},
        "anyOf": [
            {"maxProperties": 0},
            {"maxProperties": 1, "required": ["matchLabels"]},
            {"maxProperties": 1, "required": ["matchExpressions"]},
            {"maxProperties": 2, "required": ["matchLabels", "matchExpressions"]},
        ],
        "properties": {
            "matchLabels": {
                "description": "Labels that must be there with these values.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "matchExpressions": {
                "description": "Requirements that must all hold.",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "Label.", "type": "string", "minLength": 1},
                        "operator": {
                            "description": "How it relates to `values`.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values of `In` and `NotIn`.",
                            "type": "array",
                            "items": {"type": "string"},
                        },
                    },
                    "anyOf": [
                        {
                            "required": ["values"],
                            "properties": {"operator": {"enum": ["In", "NotIn"]}, "values": {"minItems": 1}},
                        },
                        {"properties": {
                            "operator": {"enum": ["Exists", "DoesNotExist"]}, "values": {"maxItems": 0},
                        }},
                    ],
                },
            },
        },
    })
}

fn connectivity() -> Value {
    json!({"enum": ["Available", "Unavailable", "Unknown"]})
}
