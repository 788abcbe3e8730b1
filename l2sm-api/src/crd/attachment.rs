//! What the API server checks of an `L2Attachment`.

use serde_json::{Value, json};

use super::{
    overlay::{namespace_name, object_name},
    rule,
    schema::Amendment,
};

pub(super) fn amendments() -> Vec<Amendment> {
    let ip = rule(
        "isIP(self) || isCIDR(self)",
        "is not an address; expected address or address/prefix, as in 10.34.0.5/16",
    );
    vec![
        super::conditions(),
        Amendment::new("spec/network", object_name()),
        Amendment::new("spec/networkNamespace", namespace_name()),
        Amendment::new("spec/node", object_name()),
        Amendment::new("spec/ifname", interface_name()),
        Amendment::new("spec/mac", station()),
        Amendment::new("spec/ips", json!({"maxItems": 64})),
        Amendment::new("spec/ips/*", json!({"maxLength": 49, "x-kubernetes-validations": [ip]})),
        Amendment::new("spec/netns", json!({"pattern": "^/"})),
    ]
}

/// A unicast MAC address.
pub(super) fn station() -> Value {
    json!({
        "pattern": "^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$",
        "not": {"enum": ["00:00:00:00:00:00"]},
    })
}

/// What the kernel takes as the name of an interface: ASCII without `%`, `/` and `:`.
fn interface_name() -> Value {
    json!({
        "minLength": 1,
        "maxLength": 15,
        "pattern": "^[!-$&-.0-9;-~]+$",
        "not": {"enum": [".", "..", "lo"]},
    })
}
