//! What container runtimes and `l2sm-cni` say to each other: the CNI specification's network
//! configuration, result and error (<https://www.cni.dev/docs/spec/>, 1.1.0), as far as we use them.

mod version;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

pub use self::version::Version;
use crate::socket::{Attached, ContainerInterface};

/// Error codes ("Error" in section 5 of the specification; from 100 on they are the plugin's).
pub mod code {
    /// The configuration's version is not one of ours.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// There is no such container.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable is missing or wrong.
    pub const ENVIRONMENT: u32 = 4;
    /// Input or output failed.
    pub const IO: u32 = 5;
    /// The input is not JSON.
    pub const DECODE: u32 = 6;
    /// The configuration is wrong.
    pub const CONFIG: u32 = 7;
    /// What stands in the way can go away.
    pub const TRY_AGAIN: u32 = 11;
    /// No ADD can be served.
    pub const NOT_AVAILABLE: u32 = 50;
    /// No ADD can be served, and what is attached may miss changes.
    pub const LIMITED: u32 = 51;
    /// CHECK found an attachment damaged.
    pub const DAMAGED: u32 = 100;
}

/// The agent's socket, where a configuration names none.
pub const SOCKET: &str = "/run/l2sm/agent.sock";

/// The capability by which a runtime tells a plugin the annotations of its pod.
pub const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// The annotation that says what a pod joins.
pub const NETWORKS_ANNOTATION: &str = "l2sm/networks";

/// A network configuration, as the plugin gets it. Keys that are not ours are the runtime's business.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkConfig {
    /// Name of the configuration.
    pub name: String,
    /// The network to join (`L2Network`); `None`: chained mode, the pod's annotation says.
    pub network: Option<String>,
    /// Its namespace; `None`: `default`.
    pub namespace: Option<String>,
    /// The agent's socket; `None`: [`SOCKET`].
    pub socket: Option<PathBuf>,
    /// Values for the capabilities that the configuration declares.
    pub runtime_config: RuntimeConfig,
    /// Result of the plugin before, or of ADD.
    pub prev_result: Option<Map<String, Value>>,
    /// With GC, the attachments that stay. `None`: the runtime says nothing about them; null is an
    /// empty list (a nil slice of Go).
    #[serde(rename = "cni.dev/valid-attachments", deserialize_with = "nullable")]
    pub valid_attachments: Option<Vec<ContainerInterface>>,
}

/// `runtimeConfig`: what `capabilities` ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// `ips`: wanted addresses.
    #[serde(deserialize_with = "nullable_list")]
    pub ips: Vec<String>,
    /// `mac`: wanted MAC.
    pub mac: Option<String>,
    /// [`POD_ANNOTATIONS`].
    #[serde(rename = "io.kubernetes.cri.pod-annotations", deserialize_with = "nullable_map")]
    pub pod_annotations: BTreeMap<String, String>,
}

/// An error, as the plugin prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniError {
    /// Version of the specification that it follows.
    #[serde(rename = "cniVersion")]
    pub cni_version: String,
    /// One of [`code`].
    pub code: u32,
    /// One line: what, and after a colon why.
    pub msg: String,
    /// What helps, if anything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

/// The result of ADD in the form of `version`: what is in `before`, and our interface and addresses
/// after it.
pub fn result(
    version: Version,
    before: Option<Map<String, Value>>,
    netns: &str,
    attached: &Attached,
) -> Value {
    let mut result = before.unwrap_or_default();
    result.insert("cniVersion".to_owned(), json!(version.as_str()));
    let mut interface = json!({"name": attached.ifname, "mac": attached.mac, "sandbox": netns});
    if version >= Version::V1_1_0
        && let Some(interface) = interface.as_object_mut()
    {
        interface.insert("mtu".to_owned(), json!(attached.mtu));
    }
    let index = result.get("interfaces").and_then(Value::as_array).map_or(0, Vec::len);
    extend(&mut result, "interfaces", [interface]);
    let addresses = attached.ips.iter().map(|address| address_entry(version, index, address));
    extend(&mut result, "ips", addresses);
    Value::Object(result)
}

/// MAC and addresses that a result tells of the interface `ifname` in the namespace `netns`.
pub fn told(
    result: &Map<String, Value>,
    ifname: &str,
    netns: &str,
) -> (Option<String>, Vec<String>) {
    let all = |key: &str| result.get(key).and_then(Value::as_array).into_iter().flatten();
    let is_it = |interface: &&Value| {
        interface.get("name").is_some_and(|name| name == ifname)
            && interface.get("sandbox").is_some_and(|sandbox| sandbox == netns)
    };
    let Some(index) = all("interfaces").position(|interface| is_it(&interface)) else {
        return (None, Vec::new());
    };
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let mac = all("interfaces").nth(index).and_then(|interface| text(interface, "mac"));
    let ours = |address: &&Value| address.get("interface").is_some_and(|of| *of == json!(index));
    let ips = all("ips").filter(ours).filter_map(|address| text(address, "address"));
    (mac, ips.collect())
}

/// Before 1.0.0 an address says its family too.
fn address_entry(version: Version, interface: usize, address: &str) -> Value {
    if version >= Version::V1_0_0 {
        return json!({"interface": interface, "address": address});
    }
    let family = if address.contains(':') { "6" } else { "4" };
    json!({"version": family, "interface": interface, "address": address})
}

/// Appends to the list `key` of a result, which need not be there.
fn extend(result: &mut Map<String, Value>, key: &str, more: impl IntoIterator<Item = Value>) {
    let mut list = match result.remove(key) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    list.extend(more);
    result.insert(key.to_owned(), Value::Array(list));
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

fn nullable_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn nullable_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attached() -> Attached {
        Attached {
            ifname: "net1".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            ips: vec!["10.0.0.2/24".to_owned(), "fd00::2/64".to_owned()],
            vni: 7,
            mtu: 1450,
        }
    }

    #[test]
    fn each_version_has_its_form_of_a_result() {
        let old = result(Version::V0_3_1, None, "/run/netns/a", &attached());
        let form = json!({
            "cniVersion": "0.3.1",
            "interfaces": [
                {"name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/a"}
            ],
            "ips": [
                {"version": "4", "interface": 0, "address": "10.0.0.2/24"},
                {"version": "6", "interface": 0, "address": "fd00::2/64"}
            ]
        });
        assert_eq!(old, form);
        let middle = result(Version::V1_0_0, None, "/run/netns/a", &attached());
        assert_eq!(middle["ips"][1], json!({"interface": 0, "address": "fd00::2/64"}));
        assert_eq!(middle["interfaces"][0].get("mtu"), None);
        let new = result(Version::V1_1_0, None, "/run/netns/a", &attached());
        assert_eq!(new["interfaces"][0]["mtu"], 1450);
    }

    #[test]
    fn what_the_plugins_before_made_is_passed_on() {
        let before = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": "/run/netns/a"}],
            "ips": [{"interface": 1, "address": "10.1.0.2/24", "gateway": "10.1.0.1"}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["10.1.0.1"]}
        });
        let before = before.as_object().cloned();
        let all = result(Version::V1_1_0, before.clone(), "/run/netns/a", &attached());
        let (before, all) = (before.unwrap(), all.as_object().cloned().unwrap());
        assert_eq!((&all["routes"], &all["dns"]), (&before["routes"], &before["dns"]));
        assert_eq!(
            all["interfaces"].as_array().unwrap()[..2],
            *before["interfaces"].as_array().unwrap()
        );
        assert_eq!(all["ips"][0], before["ips"][0]);
        assert_eq!(all["ips"][1], json!({"interface": 2, "address": "10.0.0.2/24"}));
        let (mac, ips) = told(&all, "net1", "/run/netns/a");
        assert_eq!((mac.as_deref(), ips), (Some("02:00:00:00:00:01"), attached().ips));
        assert_eq!(told(&all, "net2", "/run/netns/a"), (None, Vec::new()));
        assert_eq!(told(&all, "net1", "/run/netns/b"), (None, Vec::new()));
    }

    #[test]
    fn lists_that_are_null_are_empty_and_those_that_are_missing_are_told_apart() {
        let read = |text: &str| serde_json::from_str::<NetworkConfig>(text).unwrap();
        assert_eq!(read("{}").valid_attachments, None);
        let null = read(r#"{"cni.dev/valid-attachments": null, "runtimeConfig": {"ips": null}}"#);
        assert_eq!(null.valid_attachments, Some(Vec::new()));
        let one = r#"{"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "net1"}]}"#;
        let valid = read(one).valid_attachments.unwrap();
        assert_eq!((valid[0].container_id.as_str(), valid[0].ifname.as_str()), ("a", "net1"));
        let text = r#"{"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a/b": "c"}}}"#;
        assert_eq!(read(text).runtime_config.pod_annotations["a/b"], "c");
        let text = r#"{"runtimeConfig": {"io.kubernetes.cri.pod-annotations": null}}"#;
        assert!(read(text).runtime_config.pod_annotations.is_empty());
    }
}
