//! The files that are part of this program: what is installed, and what cleans nodes.

use anyhow::{Context, Result};
use kube::core::DynamicObject;
use serde_json::Value;

/// Everything of an installation.
const INSTALLED: &str = include_str!("../../../deploy/l2sm.yaml");
/// What removes ours from the nodes.
const CLEANUP: &str = include_str!("../../../deploy/cleanup.yaml");

/// The objects of an installation, in the order in which they are applied.
///
/// # Errors
/// The file is not what it should be.
pub(crate) fn installed() -> Result<Vec<DynamicObject>> {
    objects(INSTALLED)
}

/// The objects that clean nodes.
///
/// # Errors
/// As [`installed`].
pub(crate) fn cleanup() -> Result<Vec<DynamicObject>> {
    objects(CLEANUP)
}

fn objects(text: &str) -> Result<Vec<DynamicObject>> {
    let documents = text.split("\n---\n").map(|document| {
        serde_saphyr::from_str::<Value>(document).context("a document of the built-in manifest")
    });
    let documents = documents.collect::<Result<Vec<_>>>()?;
    let objects = documents.into_iter().filter(|document| !document.is_null());
    let objects = objects
        .map(|object| serde_json::from_value(object).context("an object of the built-in manifest"));
    objects.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(objects: &[DynamicObject]) -> Vec<String> {
        objects.iter().map(|object| object.types.clone().unwrap_or_default().kind).collect()
    }

    #[test]
    fn what_is_installed_begins_with_the_namespace_and_has_all_of_ours() {
        let objects = installed().unwrap();
        let kinds = kinds(&objects);
        assert_eq!(kinds.first().map(String::as_str), Some("Namespace"));
        let count = |name: &str| kinds.iter().filter(|kind| *kind == name).count();
        assert_eq!(count("CustomResourceDefinition"), 6);
        assert_eq!((count("Deployment"), count("DaemonSet")), (1, 1));
    }

    #[test]
    fn nodes_are_cleaned_by_one_daemon_set() {
        assert_eq!(kinds(&cleanup().unwrap()), ["DaemonSet"]);
    }
}
