//! Removing l2sm from a cluster: nodes first, while there is something that can clean them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{DynamicObject, ObjectMeta};
use kube::{Api, Client};
use l2sm_api::annotation::NETWORKS;
use l2sm_api::objects::{IN_USE, Kind};
use serde_json::{Value, json};

use super::{NAMESPACE, fault, manifest, objects, until};
use crate::say;

/// Name of the pods that clean nodes.
const CLEANUP: &str = "l2sm-cleanup";
/// Pods that are named when there are too many to name all.
const NAMED: usize = 5;

/// What to remove, and until when.
pub(crate) struct Wish {
    /// Although pods use networks.
    pub(crate) force: bool,
    /// The definitions too, and with them all objects of ours.
    pub(crate) purge: bool,
    /// When to give up.
    pub(crate) deadline: Instant,
}

/// Removes everything that [`super::install::install`] made, and what the agents made on nodes; `false`:
/// there was nothing.
///
/// # Errors
/// Pods use networks; the API server refuses something; something is not gone in time.
pub(crate) async fn uninstall(client: &Client, wish: &Wish) -> Result<bool> {
    if !wish.force {
        refuse_used(&users(client).await?)?;
    }
    let installed = manifest::installed()?;
    let mut found = remove_kind(client, &installed, "DaemonSet", wish).await?;
    if can_clean(client).await? {
        Box::pin(clean_nodes(client, wish)).await?;
    }
    found |= remove_kind(client, &installed, "Deployment", wish).await?;
    release_networks(client).await?;
    for kind in [Kind::L2Attachment, Kind::L2Node] {
        delete_all(client, kind).await?;
    }
    let kept =
        |object: &&DynamicObject| wish.purge || objects::kind(object) != "CustomResourceDefinition";
    for object in installed.iter().rev().filter(kept) {
        found |= remove(client, object, wish).await?;
    }
    Ok(found)
}

/// Pods that have the annotation, or an attachment, and are not at their end.
async fn users(client: &Client) -> Result<BTreeSet<String>> {
    let pods: Api<Pod> = Api::all(client.clone());
    let pods = pods.list(&ListParams::default()).await.map_err(fault)?;
    let attachments = objects::of_kind(client, Kind::L2Attachment).await?;
    let attached: BTreeSet<_> = attachments.iter().filter_map(pod_of).collect();
    let users = pods.iter().filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        !ended && (is_annotated(pod) || attached.contains(&full_name(pod)))
    });
    Ok(users.map(full_name).collect())
}

fn pod_of(attachment: &DynamicObject) -> Option<String> {
    let pod = attachment.data.pointer("/spec/pod")?.as_str()?;
    Some(format!("{}/{pod}", attachment.metadata.namespace.as_deref()?))
}

fn full_name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}

fn is_annotated(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(NETWORKS)).is_some_and(|value| !value.trim().is_empty())
}

fn refuse_used(users: &BTreeSet<String>) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = users.iter().take(NAMED).map(String::as_str).collect();
    let more = users.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    bail!(
        "pods use networks: {}{more}: delete them or their annotation {NETWORKS}, or give --force, \
         which takes their interfaces away",
        named.join(", ")
    )
}

async fn remove_kind(
    client: &Client,
    installed: &[DynamicObject],
    kind: &str,
    wish: &Wish,
) -> Result<bool> {
    let mut found = false;
    for object in installed.iter().filter(|object| objects::kind(object) == kind) {
        found |= remove(client, object, wish).await?;
    }
    Ok(found)
}

async fn remove(client: &Client, object: &DynamicObject, wish: &Wish) -> Result<bool> {
    let found = Box::pin(objects::delete(client, object, wish.deadline)).await?;
    if found {
        say::line(format_args!("{} deleted", objects::name(object)));
    }
    Ok(found)
}

/// Whether pods can start in our namespace: not once it is gone, or about to go.
async fn can_clean(client: &Client) -> Result<bool> {
    let namespace = Api::<Namespace>::all(client.clone()).get_opt(NAMESPACE).await;
    let namespace = namespace.map_err(fault)?;
    Ok(namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none()))
}

/// Runs the clean-up on each node that is up, waits for it, and removes what ran it.
async fn clean_nodes(client: &Client, wish: &Wish) -> Result<()> {
    let cleanup = manifest::cleanup()?;
    for object in &cleanup {
        objects::apply(client, object).await?;
    }
    let cleaned = until(wish.deadline, async || progress(client).await).await;
    let cleaned = cleaned.context("cleaning the nodes")?;
    say::line(format_args!("{cleaned}"));
    for object in &cleanup {
        objects::delete(client, object, wish.deadline).await?;
    }
    Ok(())
}

/// What has been cleaned, once that is every node that is up; else what is waited for.
async fn progress(client: &Client) -> Result<Result<String, String>> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    let set = sets.get_status(CLEANUP).await.map_err(fault)?;
    let status = set.status.unwrap_or_default();
    if status.observed_generation != set.metadata.generation {
        return Ok(Err("the clean-up has not started".to_owned()));
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={CLEANUP}"));
    let pods = pods.list(&ours).await.map_err(fault)?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    let nodes: BTreeMap<_, _> = nodes.map_err(fault)?.iter().map(up).collect();
    let wanted = usize::try_from(status.desired_number_scheduled).unwrap_or_default();
    Ok(judge(wanted, &pods.items, &nodes))
}

/// The name of a node, and whether it is up.
fn up(node: &Node) -> (String, bool) {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let up = conditions.into_iter().any(|found| found.type_ == "Ready" && found.status == "True");
    (node.metadata.name.clone().unwrap_or_default(), up)
}

fn judge(wanted: usize, pods: &[Pod], nodes: &BTreeMap<String, bool>) -> Result<String, String> {
    if pods.len() < wanted {
        return Err(format!("the clean-up runs on {} of {wanted} nodes", pods.len()));
    }
    let mut down = BTreeSet::new();
    for pod in pods {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.unwrap_or_default();
        if is_initialized(pod) {
            continue;
        }
        if nodes.get(node).copied().unwrap_or_default() {
            return Err(format!("{node} is not clean yet"));
        }
        down.insert(node);
    }
    let cleaned = pods.len() - down.len();
    let down: Vec<_> = down.into_iter().collect();
    let left = if down.is_empty() {
        String::new()
    } else {
        format!("; not cleaned, since they are down: {}", down.join(", "))
    };
    Ok(format!("nodes cleaned: {cleaned}{left}"))
}

fn is_initialized(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|found| found.type_ == "Initialized" && found.status == "True")
}

/// Takes the operator's finalizer from networks: nobody would do it any more. Others' stay.
async fn release_networks(client: &Client) -> Result<()> {
    for mut network in objects::of_kind(client, Kind::L2Network).await? {
        let metadata = &network.metadata;
        let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let resource = objects::resource(Kind::L2Network);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        while let Some(patch) = release(&network.metadata) {
            match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => break,
                Err(error) if objects::is_absent(&error) => break,
                // Somebody changed it meanwhile.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(fault(error)),
            }
            let Some(found) = api.get_opt(&name).await.map_err(fault)? else { break };
            network = found;
        }
    }
    Ok(())
}

/// The change that leaves a network without our finalizer, as it is now; `None`: it has none of ours.
fn release(metadata: &ObjectMeta) -> Option<Value> {
    let before = metadata.finalizers.as_deref().unwrap_or_default();
    let others: Vec<_> = before.iter().filter(|finalizer| *finalizer != IN_USE).collect();
    if others.len() == before.len() {
        return None;
    }
    let version = &metadata.resource_version;
    Some(json!({"metadata": {"finalizers": others, "resourceVersion": version}}))
}

/// Deletes all objects of a kind that only the operator makes.
async fn delete_all(client: &Client, kind: Kind) -> Result<()> {
    for object in objects::of_kind(client, kind).await? {
        let resource = objects::resource(kind);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = object.metadata.name.as_deref().unwrap_or_default();
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(error) if objects::is_absent(&error) => {}
            Err(error) => return Err(fault(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: &str, initialized: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": node},
            "spec": {"nodeName": node, "containers": []},
            "status": {"conditions": [{"type": "Initialized", "status": initialized}]},
        }))
        .unwrap()
    }

    #[test]
    fn pods_that_use_networks_are_named() {
        let users = |count: usize| (0..count).map(|n| format!("shop/p{n}")).collect();
        assert!(refuse_used(&users(0)).is_ok());
        let why = refuse_used(&users(7)).unwrap_err().to_string();
        assert!(why.starts_with("pods use networks: shop/p0, shop/p1, "), "{why}");
        assert!(why.contains("shop/p4 and 2 more: "), "{why}");
    }

    #[test]
    fn networks_lose_our_finalizer_and_keep_others() {
        let metadata = |finalizers: &[&str]| ObjectMeta {
            finalizers: Some(finalizers.iter().map(|name| (*name).to_owned()).collect()),
            resource_version: Some("7".to_owned()),
            ..ObjectMeta::default()
        };
        let left = |others: &[&str]| {
            Some(json!({"metadata": {"finalizers": others, "resourceVersion": "7"}}))
        };
        let both = metadata(&["backup.example/keep", IN_USE]);
        assert_eq!(release(&both), left(&["backup.example/keep"]));
        assert_eq!(release(&metadata(&[IN_USE])), left(&[]));
        assert_eq!(release(&metadata(&["backup.example/keep"])), None);
        assert_eq!(release(&ObjectMeta::default()), None);
    }

    #[test]
    fn the_clean_up_is_over_when_each_node_that_is_up_is_clean() {
        let nodes: BTreeMap<_, _> =
            [("n1".to_owned(), true), ("n2".to_owned(), false)].into_iter().collect();
        let halfway = [pod("n1", "False")];
        assert_eq!(judge(2, &halfway, &nodes).unwrap_err(), "the clean-up runs on 1 of 2 nodes");
        let waiting = [pod("n1", "False"), pod("n2", "False")];
        assert_eq!(judge(2, &waiting, &nodes).unwrap_err(), "n1 is not clean yet");
        let done = [pod("n1", "True"), pod("n2", "False")];
        assert_eq!(
            judge(2, &done, &nodes).unwrap(),
            "nodes cleaned: 1; not cleaned, since they are down: n2"
        );
    }
}
