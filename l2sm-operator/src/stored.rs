//! Our objects as the API server has them.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject};
pub use l2sm_api::objects::IN_USE;
use l2sm_api::objects::{API_VERSION, Kind, Metadata, Object, field::parse_address, read_object};
use l2sm_controller::catalog::ObjectRef;
use l2sm_core::model::ObjectKey;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Label of attachments: the UID of their pod's API object.
pub const POD_UID: &str = "l2sm.l2sm.k8s.local/pod-uid";
/// Label of attachments: the UID of the node that their pod is on.
pub const NODE_UID: &str = "l2sm.l2sm.k8s.local/node-uid";

/// An object of ours, as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its kind and key.
    pub reference: ObjectRef,
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub version: u64,
    /// Rises with each change of its spec.
    pub generation: u64,
    /// Somebody wants it gone.
    pub deleting: bool,
    /// It has the finalizer [`IN_USE`].
    pub in_use: bool,
    /// It is owned by a pod, or by the node that its pod was on: when the pod goes before the operator
    /// removed the attachment, the garbage collector leaves the node as its owner.
    pub of_pod: bool,
    /// Its status as it is shown.
    pub status: Value,
    /// What it says, or what is wrong with it in words.
    pub object: Result<Object, String>,
    /// Of an attachment that cannot be read: its addresses with their network, as far as they can.
    pub claims: Vec<(ObjectKey, IpAddr)>,
}

/// How the API server calls a kind.
pub fn resource(kind: Kind) -> ApiResource {
    let definition = kind.definition();
    let (group, version) = API_VERSION.split_once('/').unwrap_or(("", API_VERSION));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: definition.kind.to_owned(),
        plural: definition.plural.to_owned(),
    }
}

impl Stored {
    /// Reads what the API server sent.
    pub fn read(kind: Kind, raw: DynamicObject) -> Self {
        let DynamicObject { metadata, mut data, .. } = raw;
        let status = data.get_mut("status").map(Value::take).unwrap_or_default();
        let owners = metadata.owner_references.iter().flatten();
        let has_pod = metadata.labels.iter().flatten().any(|(name, _)| name == POD_UID);
        let reference = ObjectRef::new(kind, key_of(&metadata));
        let spec = data.get_mut("spec").map(Value::take).unwrap_or_default();
        let claims = claims(&reference, &spec);
        let object = read(kind, &metadata, &spec, &status);
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            version: version_of(&metadata),
            generation: generation_of(&metadata),
            deleting: metadata.deletion_timestamp.is_some(),
            in_use: metadata.finalizers.iter().flatten().any(|name| name == IN_USE),
            of_pod: owners
                .clone()
                .filter(|owner| owner.api_version == "v1")
                .any(|owner| owner.kind == "Pod" || owner.kind == "Node" && has_pod),
            claims: if object.is_ok() { Vec::new() } else { claims },
            object,
            reference,
            status,
        }
    }
}

/// Namespace and name.
pub fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    ObjectKey::new(text(&metadata.namespace), text(&metadata.name))
}

/// The resource version as a number: they rise, and compare among all objects of an API server.
pub fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn generation_of(metadata: &ObjectMeta) -> u64 {
    metadata.generation.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}

/// What an attachment holds, whatever else is wrong with it.
fn claims(attachment: &ObjectRef, spec: &Value) -> Vec<(ObjectKey, IpAddr)> {
    let text = |field: &str| spec.get(field).and_then(Value::as_str);
    let Some(network) = text("network").filter(|_| attachment.kind == Kind::L2Attachment) else {
        return Vec::new();
    };
    let namespace = text("networkNamespace").unwrap_or(&attachment.key.namespace);
    let ips = spec.get("ips").and_then(Value::as_array).into_iter().flatten();
    let ips = ips.filter_map(|ip| Some(parse_address(ip.as_str()?).ok()?.0));
    ips.map(|ip| (ObjectKey::new(namespace, network), ip)).collect()
}

fn read(kind: Kind, metadata: &ObjectMeta, spec: &Value, status: &Value) -> Result<Object, String> {
    let key = key_of(metadata);
    let mut named = json!({"name": key.name});
    if kind.is_namespaced() {
        named = json!({"name": key.name, "namespace": key.namespace});
    }
    let document = json!({
        "apiVersion": API_VERSION,
        "kind": kind.name(),
        "metadata": named,
        "spec": spec,
    });
    let mut object = read_object(document, &key.namespace)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let map = |map: &Option<BTreeMap<String, String>>| map.clone().unwrap_or_default();
    *object.metadata_mut() = Metadata {
        name: key.name,
        namespace: key.namespace,
        labels: map(&metadata.labels),
        annotations: BTreeMap::new(),
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: String::new(),
        generation: generation_of(metadata),
        creation_timestamp: metadata.creation_timestamp.as_ref().map(|time| time.0),
    };
    show(&mut object, status);
    Ok(object)
}

/// Puts a status into its object, as far as it can be read.
fn show(object: &mut Object, status: &Value) {
    if !status.is_object() {
        return;
    }
    match object {
        Object::L2Network(network) => {
            // Whatever else somebody wrote there: the VNI is a fact.
            let only_vni = || json!({"vni": status.get("vni")});
            network.status = of(status).or_else(|| of(&only_vni()));
        }
        Object::L2Attachment(attachment) => attachment.status = of(status),
        Object::L2Node(node) => node.status = of(status),
        Object::ExternalVtep(vtep) => vtep.status = of(status),
        Object::Overlay(overlay) => overlay.status = of(status),
        Object::NetworkEdgeDevice(device) => device.status = of(status),
    }
}

fn of<T: DeserializeOwned>(status: &Value) -> Option<T> {
    T::deserialize(status).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn network(spec: &Value, status: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "L2Network",
            "metadata": {
                "name": "blue", "namespace": "shop", "uid": "u1", "resourceVersion": "42",
                "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": [IN_USE], "managedFields": [],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": spec, "status": status,
        })
    }

    #[test]
    fn a_networks_vni_is_read_whatever_else_its_status_says() {
        for status in [json!({"vni": 7}), json!({"vni": 7, "conditions": "none"})] {
            let stored =
                Stored::read(Kind::L2Network, raw(network(&json!({"type": "vnet"}), &status)));
            assert_eq!((stored.version, stored.in_use, stored.generation), (42, true, 3));
            let Ok(Object::L2Network(network)) = stored.object else { panic!() };
            assert_eq!(network.status.unwrap().vni, Some(7));
            assert_eq!(network.metadata.uid, "u1");
            assert_eq!(network.metadata.creation_timestamp.unwrap().as_second(), 1_767_225_600);
        }
    }

    #[test]
    fn an_attachment_that_cannot_be_read_still_claims_its_addresses() {
        let read = |ifname: &str| {
            let spec = json!({
                "network": "blue", "networkNamespace": "lab", "node": "n1", "ifname": ifname,
                "ips": ["10.0.0.5/24", "2001:db8::5", "none"],
            });
            let raw_json = json!({
                "apiVersion": API_VERSION, "kind": "L2Attachment",
                "metadata": {"name": "a", "namespace": "shop", "uid": "u1"}, "spec": spec,
            });
            Stored::read(Kind::L2Attachment, raw(raw_json))
        };
        let stored = read("not a name/of one");
        assert!(stored.object.is_err());
        let blue = ObjectKey::new("lab", "blue");
        let ips = ["10.0.0.5", "2001:db8::5"].map(|ip| (blue.clone(), ip.parse().unwrap()));
        assert_eq!(stored.claims, ips);
    }

    #[test]
    fn what_is_wrong_with_an_object_is_said_in_words() {
        let bad = network(&json!({"type": "vnet", "networkCIDR": "10.0.0.0/99"}), &Value::Null);
        let stored = Stored::read(Kind::L2Network, raw(bad));
        let why = stored.object.unwrap_err();
        assert!(why.starts_with("spec.networkCIDR: \"10.0.0.0/99\" is not a CIDR"), "{why}");
    }
}
