//! Objects of any kind: applied and deleted as a manifest has them.

use std::time::Instant;

use anyhow::{Context, Result};
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind, ObjectMeta, TypeMeta};
use kube::{Api, Client};
use l2sm_api::objects::{API_VERSION, Kind};

use super::{fault, until};

/// Who we are to the API server.
const FIELD_MANAGER: &str = "l2smctl";

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there.
    Created,
    /// It was there, otherwise.
    Configured,
    /// It was there.
    Unchanged,
}

impl Outcome {
    /// As kubectl says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// `deployment/l2sm-operator`.
pub(crate) fn name(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map(|types| types.kind.to_lowercase());
    format!("{}/{}", kind.unwrap_or_default(), name_of(object))
}

/// The kind of an object; empty without one.
pub(crate) fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// Applies an object, server-side.
///
/// # Errors
/// The API server refuses it.
pub(crate) async fn apply(client: &Client, object: &DynamicObject) -> Result<Outcome> {
    let api = api(client, object)?;
    let context = || format!("cannot apply {}", name(object));
    let before = api.get_opt(name_of(object)).await.map_err(fault).with_context(context)?;
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let after = api.patch(name_of(object), &parameters, &Patch::Apply(object)).await;
    let after = after.map_err(fault).with_context(context)?;
    Ok(match before {
        None => Outcome::Created,
        Some(before) if is_same(&before.metadata, &after.metadata) => Outcome::Unchanged,
        Some(_) => Outcome::Configured,
    })
}

/// Whether nothing but the status, which has no generation, can have changed between two looks.
fn is_same(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    let what = |seen: &ObjectMeta| (seen.generation, seen.labels.clone(), seen.annotations.clone());
    before.resource_version == after.resource_version
        || (before.generation.is_some() && what(before) == what(after))
}

/// Deletes an object and waits until it and what it owns are gone; `false`: it was not there.
///
/// # Errors
/// The API server refuses it, or it is not gone before the deadline.
pub(crate) async fn delete(
    client: &Client,
    object: &DynamicObject,
    deadline: Instant,
) -> Result<bool> {
    let api = api(client, object)?;
    let context = || format!("cannot delete {}", name(object));
    match api.delete(name_of(object), &DeleteParams::foreground()).await {
        Ok(_) => {}
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(fault(error)).with_context(context),
    }
    until(deadline, async || {
        let left = api.get_metadata_opt(name_of(object)).await.map_err(fault)?;
        Ok(left.map_or(Ok(()), |_| Err(format!("{} is still there", name(object)))))
    })
    .await?;
    Ok(true)
}

/// Objects of one of our kinds, in all namespaces; none where the cluster does not know the kind.
///
/// # Errors
/// The API server refuses it.
pub(crate) async fn of_kind(client: &Client, kind: Kind) -> Result<Vec<DynamicObject>> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
    match api.list(&kube::api::ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(fault(error)),
    }
}

/// How one of our kinds is addressed.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
    let gvk = GroupVersionKind::gvk(group, version, kind.name());
    ApiResource::from_gvk_with_plural(&gvk, kind.definition().plural)
}

/// Whether the API server says that there is no such thing.
pub(crate) fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The API of an object. Objects of our manifests say their namespace when they have one.
fn api(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types: &TypeMeta = object.types.as_ref().context("an object without a kind")?;
    let gvk = GroupVersionKind::try_from(types).context("an object's apiVersion")?;
    let resource = ApiResource::from_gvk(&gvk);
    Ok(match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

fn name_of(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_changes_meanwhile_is_no_change_of_the_object() {
        let seen = |version: &str, generation| ObjectMeta {
            resource_version: Some(version.to_owned()),
            generation,
            ..ObjectMeta::default()
        };
        assert!(is_same(&seen("1", Some(1)), &seen("2", Some(1))));
        assert!(!is_same(&seen("1", Some(1)), &seen("2", Some(2))));
        assert!(is_same(&seen("1", None), &seen("1", None)));
        assert!(!is_same(&seen("1", None), &seen("2", None)));
    }

    #[test]
    fn our_kinds_are_addressed_by_their_plural() {
        let resource = resource(Kind::ExternalVtep);
        assert_eq!((resource.plural.as_str(), resource.version.as_str()), ("externalvteps", "v1"));
    }
}
