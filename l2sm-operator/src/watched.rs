//! What the operator needs to know of pods, nodes, namespaces and NADs; the rest of them is not kept.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, Object};
use l2sm_api::annotation::{APP_LABEL, MULTUS_NETWORKS, NETWORK_STATUS, NETWORKS};
use l2sm_core::model::ObjectKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stored::key_of;

/// Of a static pod, the UID by which its container runtime knows it.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// By which a kubelet marks the object that it makes for a static pod: the same value again.
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// By which an Overlay knows a node.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// A pod, as far as it is read.
pub type RawPod = Object<PodSpec, PodStatus>;
/// A node, as far as it is read.
pub type RawNode = Object<Nothing, NodeStatus>;
/// A namespace, as far as it is read.
pub type RawNamespace = Object<Nothing, Nothing>;

/// Of a pod's spec.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    node_name: Option<String>,
    host_network: bool,
}

/// Of a pod's status.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    phase: String,
}

/// Of a node's status.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    addresses: Vec<NodeAddress>,
}

/// One address of a node, or its host name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeAddress {
    address: String,
}

/// A part that is not read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Nothing {}

/// How far a pod is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// None of its containers has started yet.
    #[default]
    Starting,
    /// One has.
    Running,
    /// All have ended for good.
    Ended,
}

/// A pod as its container runtime knows it. Objects of other namespaces are never its own, whatever
/// they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimePod {
    /// Its namespace.
    pub namespace: String,
    /// Its UID there.
    pub uid: String,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID of its API object.
    pub uid: String,
    /// The UID by which its container runtime knows it.
    pub runtime_uid: String,
    /// Where it is to run; `None`: not scheduled yet.
    pub node: Option<String>,
    /// It has no network namespace of its own.
    pub host_network: bool,
    /// How far it is.
    pub stage: Stage,
    /// Somebody wants it gone.
    pub deleting: bool,
    /// Label `l2sm/app`.
    pub app: Option<String>,
    /// Annotation `l2sm/networks`.
    pub networks: Option<String>,
    /// Annotation `k8s.v1.cni.cncf.io/networks`.
    pub multus_networks: Option<String>,
    /// Annotation `l2sm/network-status`.
    pub network_status: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its label `kubernetes.io/hostname`.
    pub hostname: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A `NetworkAttachmentDefinition`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nad {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// `spec.config`.
    pub config: String,
    /// The `L2Network` that owns it, by UID.
    pub owner: Option<String>,
}

impl Pod {
    /// What is kept of a pod.
    pub fn read(raw: RawPod) -> Self {
        let key = key_of(&raw.metadata);
        let node = raw.spec.node_name.filter(|name| !name.is_empty());
        let static_uid = node.as_deref().and_then(|node| static_uid(&raw.metadata, node));
        let annotations = raw.metadata.annotations.unwrap_or_default();
        let annotation = |name: &str| annotations.get(name).cloned();
        let uid = raw.metadata.uid.unwrap_or_default();
        let status = raw.status.unwrap_or_default();
        Self {
            key,
            runtime_uid: static_uid.unwrap_or_else(|| uid.clone()),
            uid,
            node,
            host_network: raw.spec.host_network,
            stage: match status.phase.as_str() {
                "Running" => Stage::Running,
                "Succeeded" | "Failed" => Stage::Ended,
                _ => Stage::Starting,
            },
            deleting: raw.metadata.deletion_timestamp.is_some(),
            app: raw.metadata.labels.and_then(|labels| labels.get(APP_LABEL).cloned()),
            networks: annotation(NETWORKS),
            multus_networks: annotation(MULTUS_NETWORKS),
            network_status: annotation(NETWORK_STATUS),
        }
    }

    /// As its container runtime knows it.
    pub fn at_runtime(&self) -> RuntimePod {
        RuntimePod { namespace: self.key.namespace.clone(), uid: self.runtime_uid.clone() }
    }

    /// It asks for networks, or did.
    pub const fn concerns_us(&self) -> bool {
        self.networks.is_some() || self.multus_networks.is_some() || self.network_status.is_some()
    }
}

/// The UID by which the runtime of `node` knows a static pod, of which this is the kubelet's mirror: an
/// MD5 sum, twice, and the node as owner. Whoever writes the annotation alone gets no other pod's UID.
fn static_uid(metadata: &ObjectMeta, node: &str) -> Option<String> {
    let annotation = |name: &str| metadata.annotations.as_ref()?.get(name);
    let hash = annotation(CONFIG_HASH).filter(|hash| annotation(CONFIG_MIRROR) == Some(hash))?;
    let is_sum = hash.len() == 32 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut owners = metadata.owner_references.iter().flatten();
    let of_node =
        owners.any(|owner| owner.api_version == "v1" && owner.kind == "Node" && owner.name == node);
    (is_sum && of_node).then(|| hash.clone())
}

impl Node {
    /// What is kept of a node.
    pub fn read(raw: RawNode) -> Self {
        let addresses = raw.status.unwrap_or_default().addresses;
        Self {
            name: raw.metadata.name.unwrap_or_default(),
            uid: raw.metadata.uid.unwrap_or_default(),
            hostname: raw.metadata.labels.and_then(|labels| labels.get(HOSTNAME).cloned()),
            addresses: addresses.iter().filter_map(|line| line.address.parse().ok()).collect(),
        }
    }
}

impl Namespace {
    /// What is kept of a namespace.
    pub fn read(raw: RawNamespace) -> Self {
        let metadata = raw.metadata;
        Self {
            name: metadata.name.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
        }
    }
}

impl Nad {
    /// What is kept of a NAD.
    pub fn read(raw: &DynamicObject) -> Self {
        let owners = raw.metadata.owner_references.iter().flatten();
        let owner = owners.clone().find(|owner| owner.kind == "L2Network");
        let config = raw.data.pointer("/spec/config").and_then(Value::as_str);
        Self {
            uid: raw.metadata.uid.clone().unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.clone()),
            config: config.unwrap_or_default().to_owned(),
            key: key_of(&raw.metadata),
        }
    }
}

/// How the API server calls pods, nodes and namespaces.
pub fn core_resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// How the API server calls NADs.
pub fn nad_resource() -> ApiResource {
    ApiResource {
        group: "k8s.cni.cncf.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "k8s.cni.cncf.io/v1".to_owned(),
        kind: "NetworkAttachmentDefinition".to_owned(),
        plural: "network-attachment-definitions".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod_only_what_matters_is_kept() {
        let raw = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "u1", "managedFields": [],
                "annotations": {"l2sm/networks": "blue"},
                "labels": {"l2sm/app": "ping", "team": "a"},
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        let pod = Pod::read(serde_json::from_value(raw).unwrap());
        let expected = Pod {
            key: ObjectKey::new("shop", "a"),
            uid: "u1".into(),
            runtime_uid: "u1".into(),
            node: Some("n1".into()),
            stage: Stage::Running,
            app: Some("ping".into()),
            networks: Some("blue".into()),
            ..Pod::default()
        };
        assert_eq!(pod, expected);
    }

    #[test]
    fn only_a_kubelets_mirror_has_the_uid_that_it_says() {
        let sum = "0123456789abcdef0123456789abcdef";
        let mirror = json!({
            "metadata": {
                "name": "a-n1", "namespace": "shop", "uid": "u1",
                "annotations": {
                    "kubernetes.io/config.hash": sum, "kubernetes.io/config.mirror": sum,
                    "kubernetes.io/config.source": "file",
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n", "controller": true},
                ],
            },
            "spec": {"nodeName": "n1"},
        });
        let uid = |raw: Value| Pod::read(serde_json::from_value(raw).unwrap()).runtime_uid;
        assert_eq!(uid(mirror.clone()), sum);
        let forged = [
            ("/metadata/annotations/kubernetes.io~1config.mirror", json!("other")),
            ("/metadata/ownerReferences/0/kind", json!("ReplicaSet")),
            ("/metadata/ownerReferences/0/name", json!("n2")),
            ("/spec/nodeName", json!("")),
        ];
        for (at, value) in forged {
            let mut pod = mirror.clone();
            *pod.pointer_mut(at).unwrap() = value;
            assert_eq!(uid(pod), "u1", "{at}");
        }
        for other in ["b7c5a1de-0000-4000-8000-000000000001", "short"] {
            let mut pod = mirror.clone();
            for name in ["hash", "mirror"] {
                pod["metadata"]["annotations"][format!("kubernetes.io/config.{name}")] =
                    json!(other);
            }
            assert_eq!(uid(pod), "u1", "it is no sum: {other}");
        }
    }
}
