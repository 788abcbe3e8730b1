//! Upstream's `ProviderSpec`: the controller shared by clusters.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use super::FieldError;

/// Upstream's `ProviderSpec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// Its addresses; upstream before 1.2.12 wrote one as a bare string.
    #[serde(deserialize_with = "one_or_more")]
    pub domain: Vec<String>,
    /// Upstream's port of its HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdn_port: Option<String>,
    /// Upstream's port of its DNS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_port: Option<String>,
    /// Upstream's port for DNS entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_grpc_port: Option<String>,
    /// Upstream's `OpenFlow` port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_port: Option<String>,
}

impl Provider {
    /// What is wrong with it, below the field `path`.
    pub fn faults(&self, path: &str) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if self.name.is_empty() {
            faults.push(FieldError::new(format!("{path}.name"), "is required"));
        }
        if self.domain.is_empty() || self.domain.iter().any(String::is_empty) {
            let why = "is required; expected an address or a list of them";
            faults.push(FieldError::new(format!("{path}.domain"), why));
        }
        let ports = [
            ("sdnPort", &self.sdn_port),
            ("dnsPort", &self.dns_port),
            ("dnsGrpcPort", &self.dns_grpc_port),
            ("ofPort", &self.of_port),
        ];
        for (field, port) in ports {
            let fault = port.as_deref().and_then(port_fault);
            faults.extend(fault.map(|why| FieldError::new(format!("{path}.{field}"), why)));
        }
        faults
    }
}

/// Why a text is no port; `None`: it is one.
fn port_fault(text: &str) -> Option<String> {
    let is_port = text.parse::<u16>().is_ok_and(|port| port != 0)
        && text.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port).then(|| {
        format!(
            "{text:?} is not a port; expected a number from 1 to 65535 as a string, as in \"30808\""
        )
    })
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let fault = |found: &Value| {
        D::Error::custom(format!("{found} is no address; expected an address or a list of them"))
    };
    let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| fault(item));
    match value.as_array() {
        Some(items) => items.iter().map(text).collect(),
        None => text(&value).map(|one| vec![one]),
    }
}
