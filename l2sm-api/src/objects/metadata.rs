//! Metadata, as of every Kubernetes object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use l2sm_core::model::ObjectKey;
use serde::{Deserialize, Serialize};

use super::{
    DEFAULT_NAMESPACE,
    condition::is_zero,
    field::{FieldError, name_fault, namespace_fault},
    kind::Kind,
};

/// Name, namespace, labels, and what the store adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique among its kind in its namespace.
    pub name: String,
    /// Empty for cluster-scoped kinds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Made with the object; in a manifest it is ignored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Number of the store's revision that last changed the object; in a manifest it is ignored.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Rises with each change of `spec`; in a manifest it is ignored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// When the object was made; in a manifest it is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
}

impl Metadata {
    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.namespace.as_str(), self.name.as_str())
    }

    /// Number of the revision that last changed the object; 0: none yet.
    pub fn revision(&self) -> u64 {
        self.resource_version.parse().unwrap_or_default()
    }

    /// Fills in the namespace, and checks names.
    pub(super) fn complete(&mut self, kind: Kind, default_namespace: &str) -> Vec<FieldError> {
        let mut faults = Vec::new();
        faults.extend(name_fault(&self.name).map(|why| FieldError::new("metadata.name", why)));
        if kind.is_namespaced() {
            if self.namespace.is_empty() {
                default_namespace.clone_into(&mut self.namespace);
            }
            let fault = namespace_fault(&self.namespace);
            faults.extend(fault.map(|why| FieldError::new("metadata.namespace", why)));
        } else if self.namespace == DEFAULT_NAMESPACE {
            self.namespace.clear();
        } else if !self.namespace.is_empty() {
            let why = format!("{kind} belongs to no namespace; expected none");
            faults.push(FieldError::new("metadata.namespace", why));
        }
        faults
    }
}
