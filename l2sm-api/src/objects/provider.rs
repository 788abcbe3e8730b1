//! Upstream's `ProviderSpec`: the controller shared by clusters.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use super::FieldError;

/// Upstream's `ProviderSpec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// Its addresses; upstream before 1.2.12 wrote one as a bare string.
    #[serde(deserialize_with = "one_or_more")]
    pub domain: Vec<String>,
    /// Upstream's port of its HTTP API.
    #[serde(default = "sdn_port")]
    pub sdn_port: String,
    /// Upstream's port of its DNS server.
    #[serde(default = "dns_port")]
    pub dns_port: String,
    /// Upstream's port for DNS entries.
    #[serde(default = "dns_grpc_port")]
    pub dns_grpc_port: String,
    /// Upstream's `OpenFlow` port.
    #[serde(default = "of_port")]
    pub of_port: String,
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
            let fault = port_fault(port);
            faults.extend(fault.map(|why| FieldError::new(format!("{path}.{field}"), why)));
        }
        faults
    }
}

/// Why a text is no port; `None`: it is one.
fn port_fault(text: &str) -> Option<String> {
    let is_port = text.len() <= 16
        && text.parse::<u16>().is_ok_and(|port| port != 0)
        && text.bytes().all(|byte| byte.is_ascii_digit());
    (!is_port).then(|| {
        format!(
            "{text:?} is not a port; expected a number from 1 to 65535 as a string, as in \"30808\""
        )
    })
}

fn sdn_port() -> String {
    "30808".to_owned()
}

fn dns_port() -> String {
    "30053".to_owned()
}

fn dns_grpc_port() -> String {
    "30818".to_owned()
}

fn of_port() -> String {
    "6633".to_owned()
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
