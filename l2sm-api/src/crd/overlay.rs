//! What the API server checks of an `Overlay` and of a `NetworkEdgeDevice`.

use serde_json::{Value, json};

use super::{
    network::cidrs,
    rule,
    schema::{Amendment, Renamed},
};
use crate::objects::overlay::{LINKS_MAX, NODES_MAX};

pub(super) const RENAMED: &[Renamed] = &[
    Renamed { at: "spec", now: "provider", before: "networkController", required: true },
    Renamed { at: "spec", now: "interfaceNumber", before: "numberInterfaces", required: false },
];

pub(super) const DEVICE_RENAMED: &[Renamed] =
    &[Renamed { at: "spec", now: "provider", before: "networkController", required: true }];

pub(super) fn amendments() -> Vec<Amendment> {
    let mut amendments = vec![
        super::conditions(),
        Amendment::new("spec/switchTemplate", opaque_object()),
        Amendment::new(
            "spec/topology/nodes",
            json!({"maxItems": NODES_MAX, "x-kubernetes-list-type": "set"}),
        ),
        Amendment::new("spec/topology/nodes/*", object_name()),
        Amendment::new(
            "spec/topology/links",
            json!({
                "maxItems": LINKS_MAX,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["endpointA", "endpointB"],
            }),
        ),
        Amendment::new(
            "spec/topology/links/*",
            json!({"x-kubernetes-validations": [
                rule("self.endpointA != self.endpointB", "links a node to itself; expected two nodes"),
            ]}),
        ),
        Amendment::new("spec/topology/links/*/endpointA", json!({"maxLength": 253})),
        Amendment::new("spec/topology/links/*/endpointB", json!({"maxLength": 253})),
        Amendment::new("spec/topology", json!({"x-kubernetes-validations": links()})),
    ];
    amendments.extend(provider_amendments("spec/provider"));
    amendments.extend(monitor_amendments());
    amendments
}

pub(super) fn device_amendments() -> Vec<Amendment> {
    let required = || json!({"minLength": 1});
    let by_node =
        || json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["node"]});
    let mut amendments = vec![
        super::conditions(),
        Amendment::new("spec/switchTemplate", opaque_object()),
        Amendment::new("spec/nodeConfig/nodeName", required()),
        Amendment::new("spec/nodeConfig/ipAddress", required()),
        Amendment::new("spec/neighbors", by_node()),
        Amendment::new("spec/neighbors/*/node", required()),
        Amendment::new("spec/neighbors/*/domain", required()),
        Amendment::new(
            "status/availability",
            json!({"enum": ["Available", "Unavailable", "Unknown"], "default": "Unavailable"}),
        ),
    ];
    amendments.extend(provider_amendments("spec/provider"));
    amendments.extend(monitor_amendments());
    amendments
}

/// What holds for a provider, whoever has it.
pub(super) fn provider_amendments(at: &str) -> Vec<Amendment> {
    let mut amendments = vec![
        Amendment::new(format!("{at}/name"), json!({"minLength": 1})),
        Amendment::new(format!("{at}/domain"), one_or_more()),
    ];
    let number = rule(
        &format!("self.matches('{PORT}')"),
        "is not a port; expected a number from 1 to 65535 as a string, as in \"30808\"",
    );
    let port = json!({"maxLength": 16, "x-kubernetes-validations": [number]});
    let fields = ["sdnPort", "dnsPort", "dnsGrpcPort", "ofPort"];
    amendments.extend(fields.map(|field| Amendment::new(format!("{at}/{field}"), port.clone())));
    amendments
}

/// The name of an object: an RFC 1123 subdomain.
pub(super) fn object_name() -> Value {
    json!({"maxLength": 253, "pattern": SUBDOMAIN})
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";
const SUBDOMAIN: &str =
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";

/// The name of a namespace: an RFC 1123 label.
pub(super) fn namespace_name() -> Value {
    json!({"maxLength": 63, "pattern": format!("^{LABEL}$")})
}

/// A number from 1 to 65535 as a string.
const PORT: &str =
    "^0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

/// A text, or a list of them. Each keyword speaks of one type only and lets the others pass: a
/// schema node cannot have two types.
fn one_or_more() -> Value {
    json!({
        "type": null,
        "x-kubernetes-preserve-unknown-fields": true,
        "minLength": 1,
        "minItems": 1,
        "items": {"type": "string", "minLength": 1},
        "minProperties": 1, "maxProperties": 0,
        "minimum": 1, "maximum": 0,
        "not": {"enum": [true, false]},
    })
}

fn opaque_object() -> Value {
    json!({"type": "object", "additionalProperties": null, "x-kubernetes-preserve-unknown-fields": true})
}

/// Rules of a topology. Above 700 links the last one would cost more than a cluster lets a rule
/// cost; we look at all of them.
fn links() -> Vec<Value> {
    let ends = ["endpointA", "endpointB"].map(|end| {
        rule(
            &format!("!has(self.links) || self.links.all(link, link.{end} in self.nodes)"),
            &format!("{end} of a link is not a node of the topology; expected one of nodes"),
        )
    });
    let twice = rule(
        "!has(self.links) || size(self.links) > 700 \
         || [self.links.map(link, link.endpointA + ' ' + link.endpointB)].all(pairs, \
         self.links.all(link, link.endpointA == link.endpointB || !((link.endpointB + ' ' + link.endpointA) in pairs)))",
        "two nodes are linked twice; a link goes in both directions",
    );
    ends.into_iter().chain([twice]).collect()
}

fn monitor_amendments() -> Vec<Amendment> {
    let by_name = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
    vec![
        Amendment::new("spec/monitor/metrics", by_name),
        Amendment::new("spec/monitor/metrics/*/name", json!({"minLength": 1})),
        Amendment::new(
            "spec/monitor/spreadFactor",
            json!({"maxLength": 16, "pattern": "^([0-9]+\\.?[0-9]*|\\.[0-9]+)$"}),
        ),
        Amendment::new("spec/monitor/networkCIDR", cidrs()),
        Amendment::new("spec/monitor/ipCIDR", cidrs()),
    ]
}
