//! The kinds as custom resources: what is applied to a cluster before anything else.
//!
//! Names, columns and fields come from the types of [`crate::objects`]; what the types cannot say
//! (ranges, patterns, rules across fields) stands in the modules below, and repeats what
//! [`crate::objects::read_object`] checks. `tests/manifests` holds documents about which both must
//! say the same. A cluster checks less where a rule would cost too much: addresses that are given
//! twice among the hosts of an `ExternalVTEP`.

mod attachment;
mod network;
mod overlay;
mod schema;
mod text;
mod vtep;

use kube_core::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::objects::{
    Column, Kind, attachment::L2AttachmentResource, column::Shows, columns,
    external_vtep::ExternalVtepResource, network::L2NetworkResource,
    network_edge_device::NetworkEdgeDeviceResource, node::L2NodeResource, overlay::OverlayResource,
};
use schema::{Amendment, Renamed};

/// Number of the definitions as they are here; it rises when an operator needs newer ones.
pub const SCHEMA_VERSION: u32 = 1;

/// The annotation that carries [`SCHEMA_VERSION`].
pub const SCHEMA_VERSION_ANNOTATION: &str = "l2sm.l2sm.k8s.local/schema-version";

/// The category that holds all kinds, as in `kubectl get l2sm`.
const CATEGORY: &str = "l2sm";

/// Why a definition cannot be made: a rule and the types differ.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A rule is about a field that the kind does not have.
    #[error("{kind}: the types have no field {field}, and there is a rule about it")]
    NoField {
        /// The kind.
        kind: Kind,
        /// Path of the field.
        field: String,
    },
    /// The definition is no JSON or no YAML.
    #[error("{kind}: {why}")]
    NotWritten {
        /// The kind.
        kind: Kind,
        /// Why.
        why: String,
    },
}

/// The `CustomResourceDefinition` of a kind, its fields in alphabetical order.
///
/// # Errors
/// A rule is about a field that does not exist.
pub fn definition(kind: Kind) -> Result<Value, DefinitionError> {
    let (derived, amendments, renamed) = match kind {
        Kind::L2Network => (L2NetworkResource::crd(), network::amendments(), network::RENAMED),
        Kind::Overlay => (OverlayResource::crd(), overlay::amendments(), overlay::RENAMED),
        Kind::NetworkEdgeDevice => (
            NetworkEdgeDeviceResource::crd(),
            overlay::device_amendments(),
            overlay::DEVICE_RENAMED,
        ),
        Kind::ExternalVtep => (ExternalVtepResource::crd(), vtep::amendments(), NONE_RENAMED),
        Kind::L2Attachment => (L2AttachmentResource::crd(), attachment::amendments(), NONE_RENAMED),
        Kind::L2Node => (L2NodeResource::crd(), vtep::node_amendments(), NONE_RENAMED),
    };
    let not_written =
        |why: serde_json::Error| DefinitionError::NotWritten { kind, why: why.to_string() };
    let derived = serde_json::to_value(derived).map_err(not_written)?;
    let schema = derived.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned();
    let schema = schema::complete(schema.unwrap_or_default(), &amendments, renamed)
        .map_err(|field| DefinitionError::NoField { kind, field })?;
    Ok(schema::sorted(assembled(kind, &derived, &schema)))
}

/// The definition of a kind as a file.
///
/// # Errors
/// As [`definition`].
pub fn yaml(kind: Kind) -> Result<String, DefinitionError> {
    text::yaml(&definition(kind)?)
        .map_err(|why| DefinitionError::NotWritten { kind, why: why.to_string() })
}

/// Name of the file of a kind.
pub fn file_name(kind: Kind) -> String {
    format!("{}.yaml", kind.definition().plural)
}

const NONE_RENAMED: &[Renamed] = &[];

/// What kube derives, with our names, columns and schema.
fn assembled(kind: Kind, derived: &Value, schema: &Value) -> Value {
    let definition = kind.definition();
    let spec = |pointer: &str| derived.pointer(pointer).cloned().unwrap_or_default();
    let columns: Vec<Value> =
        columns(kind).iter().filter_map(|column| printer_column(column, schema)).collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": spec("/metadata/name"),
            "annotations": {SCHEMA_VERSION_ANNOTATION: SCHEMA_VERSION.to_string()},
            "labels": {"app.kubernetes.io/name": "l2sm", "app.kubernetes.io/part-of": "l2sm"},
        },
        "spec": {
            "group": spec("/spec/group"),
            "scope": spec("/spec/scope"),
            "names": {
                "kind": definition.kind,
                "plural": definition.plural,
                "singular": definition.singular,
                "shortNames": [definition.short],
                "categories": [CATEGORY],
            },
            "versions": [{
                "name": spec("/spec/versions/0/name"),
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

/// The column as the API server prints it; `None`: kubectl prints it by itself, or cannot.
fn printer_column(column: &Column, schema: &Value) -> Option<Value> {
    let (path, kind) = match column.shows {
        Shows::Text("/metadata/name") | Shows::Count(_) | Shows::Computed(_) => return None,
        Shows::Text(pointer) => (pointer.replace('/', "."), type_of(pointer, schema)),
        Shows::Condition(kind) => {
            (format!(".status.conditions[?(@.type==\"{kind}\")].status"), "string")
        }
        Shows::Age => (".metadata.creationTimestamp".to_owned(), "date"),
    };
    let mut fields = Map::new();
    fields.insert("name".to_owned(), column.name.into());
    fields.insert("jsonPath".to_owned(), path.into());
    fields.insert("type".to_owned(), kind.into());
    if column.wide {
        fields.insert("priority".to_owned(), 1.into());
    }
    Some(Value::Object(fields))
}

/// What a column of the field at a JSON pointer is declared as.
fn type_of(pointer: &str, schema: &Value) -> &'static str {
    let path = pointer.replace('/', "/properties/");
    match schema.pointer(&format!("{path}/type")).and_then(Value::as_str) {
        Some("integer") => "integer",
        Some("boolean") => "boolean",
        _ => "string",
    }
}

/// What holds for the conditions of every kind.
fn conditions() -> Amendment {
    Amendment::new(
        "status/conditions",
        json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    )
}

/// A rule in the Common Expression Language, with what was expected.
fn rule(expression: &str, message: &str) -> Value {
    json!({"rule": expression, "message": message})
}

/// As [`rule`], about a field below the one where it stands.
fn rule_about(field: &str, expression: &str, message: &str) -> Value {
    json!({"rule": expression, "message": message, "fieldPath": field})
}

#[cfg(test)]
#[path = "crd_tests.rs"]
mod tests;
