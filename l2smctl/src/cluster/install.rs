//! Installing l2sm on a cluster.

use anyhow::{Result, bail};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client};

use super::objects::{self, Outcome};
use super::{fault, manifest};

/// Name of the webhook of L2S-M.
const UPSTREAM_WEBHOOK: &str = "l2sm-mutating-webhook-configuration";
/// In the name of the image of the operator of L2S-M.
const UPSTREAM_OPERATOR: &str = "l2sm-controller-manager";

/// Applies what the manifest has; `said` is told what happened to each object.
///
/// # Errors
/// L2S-M is there, or the API server refuses an object.
pub(crate) async fn install(client: &Client, said: impl Fn(&str, Outcome)) -> Result<()> {
    if let Some(found) = upstream(client).await? {
        bail!(
            "{found} of L2S-M is on this cluster: remove L2S-M first (docs/kubernetes.md, \"Moving \
             from L2S-M\")"
        );
    }
    for object in manifest::installed()? {
        let outcome = Box::pin(objects::apply(client, &object)).await?;
        said(&objects::name(&object), outcome);
    }
    Ok(())
}

/// What there is of L2S-M itself: its webhook and ours would both act on pods.
async fn upstream(client: &Client) -> Result<Option<String>> {
    let webhooks: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    if webhooks.get_metadata_opt(UPSTREAM_WEBHOOK).await.map_err(fault)?.is_some() {
        return Ok(Some(format!("the webhook {UPSTREAM_WEBHOOK}")));
    }
    let deployments: Api<Deployment> = Api::all(client.clone());
    let deployments = deployments.list(&ListParams::default()).await.map_err(fault)?;
    Ok(deployments.iter().find(|deployment| is_upstreams(deployment)).map(|deployment| {
        let metadata = &deployment.metadata;
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        format!("the operator {}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
    }))
}

fn is_upstreams(deployment: &Deployment) -> bool {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut containers = pod.into_iter().flat_map(|pod| &pod.containers);
    containers.any(|container| {
        container.image.as_ref().is_some_and(|image| image.contains(UPSTREAM_OPERATOR))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_operator_of_l2s_m_is_known_by_its_image_and_ours_is_not_taken_for_it() {
        let with_image = |image: &str| -> Deployment {
            let pod = json!({"spec": {"containers": [{"name": "manager", "image": image}]}});
            let spec = json!({"selector": {}, "template": pod});
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        assert!(is_upstreams(&with_image("alexdecb/l2sm-controller-manager:2.8.7")));
        assert!(!is_upstreams(&with_image("l2sm/operator:0.1.0")));
    }
}
