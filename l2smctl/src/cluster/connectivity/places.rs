//! Where the pods of the test go: to nodes that take part.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client};
use l2sm_api::objects::Kind;
use serde_json::Value;

use crate::cluster::{fault, objects};
use crate::condition;

/// By what an Overlay lists a node, before its name.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Two nodes that take part, else one twice.
///
/// # Errors
/// There is none, with what is in the way of each; the API server refuses something.
pub(super) async fn places(client: &Client) -> Result<(String, String)> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    let nodes = nodes.map_err(fault)?;
    let l2nodes = objects::of_kind(client, Kind::L2Node).await?;
    let overlays = objects::of_kind(client, Kind::Overlay).await?;
    choose(&nodes.items, &l2nodes, &overlays)
}

fn choose(
    nodes: &[Node],
    l2nodes: &[DynamicObject],
    overlays: &[DynamicObject],
) -> Result<(String, String)> {
    let members = members(nodes, overlays);
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for node in nodes {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let l2node = l2nodes.iter().find(|l2node| l2node.metadata.name.as_deref() == Some(name));
        match obstacle(node, l2node, members.as_ref()) {
            None => chosen.push(name.to_owned()),
            Some(why) => others.push(format!("{name}: {why}")),
        }
    }
    let mut chosen = chosen.into_iter();
    let Some(first) = chosen.next() else {
        bail!("no node takes part: {}", others.join("; "));
    };
    let second = chosen.next().unwrap_or_else(|| first.clone());
    Ok((first, second))
}

/// Why a node takes no part; `None`: it does.
fn obstacle(
    node: &Node,
    l2node: Option<&DynamicObject>,
    members: Option<&BTreeSet<&str>>,
) -> Option<String> {
    if !takes_pods(node) {
        return Some("it is not Ready, or takes no pods".to_owned());
    }
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if members.is_some_and(|members| !members.contains(name)) {
        return Some("it is not in the Overlay in force".to_owned());
    }
    let Some(l2node) = l2node else {
        return Some("its agent has not reported yet".to_owned());
    };
    condition::obstacle(&l2node.data, "Ready", "True").map(|why| format!("its L2Node: {why}"))
}

fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let mut taints = spec.taints.into_iter().flatten();
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|at| at.type_ == "Ready" && at.status == "True");
    ready
        && !spec.unschedulable.unwrap_or_default()
        && taints.all(|taint| taint.effect != "NoSchedule" && taint.effect != "NoExecute")
}

/// The nodes in the Overlay in force, the oldest, then the first by name; `None`: all are. A node is
/// listed by its label, else by its name, as the operator reads it.
fn members<'a>(nodes: &'a [Node], overlays: &'a [DynamicObject]) -> Option<BTreeSet<&'a str>> {
    let in_force = overlays.iter().min_by_key(|overlay| {
        let metadata = &overlay.metadata;
        (&metadata.creation_timestamp, &metadata.namespace, &metadata.name)
    })?;
    let listed = in_force.data.pointer("/spec/topology/nodes").and_then(Value::as_array)?;
    let mut members = BTreeSet::new();
    for listed in listed.iter().filter_map(Value::as_str) {
        let labelled = nodes.iter().filter(|node| label(node) == Some(listed));
        let labelled: Vec<_> = labelled.filter_map(|node| node.metadata.name.as_deref()).collect();
        if labelled.is_empty() {
            members.insert(listed);
        }
        members.extend(labelled);
    }
    Some(members)
}

fn label(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(HOSTNAME).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A node that takes pods, with this label.
    fn node(name: &str, host: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {(HOSTNAME): host}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap()
    }

    fn l2node(name: &str, ready: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Node", "metadata": {"name": name},
            "status": {"conditions": [{
                "type": "Ready", "status": ready, "reason": "AgentAway", "message": "no words",
            }]},
        }))
        .unwrap()
    }

    fn overlay(name: &str, created: &str, topology: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "Overlay",
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
            "spec": {"topology": topology},
        }))
        .unwrap()
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-02-01T00:00:00Z";

    fn two(first: &str, second: &str) -> (String, String) {
        (first.to_owned(), second.to_owned())
    }

    #[test]
    fn pods_go_where_an_agent_is_ready() {
        let nodes = ["n1", "n2", "n3", "n4"].map(|name| node(name, name));
        let l2nodes = [l2node("n2", "False"), l2node("n3", "True"), l2node("n4", "True")];
        assert_eq!(choose(&nodes, &l2nodes, &[]).unwrap(), two("n3", "n4"));
        assert_eq!(choose(&nodes, &l2nodes[..2], &[]).unwrap(), two("n3", "n3"));
        let why = choose(&nodes[..2], &l2nodes, &[]).unwrap_err().to_string();
        assert_eq!(
            why,
            "no node takes part: n1: its agent has not reported yet; \
             n2: its L2Node: Ready is False: AgentAway: no words"
        );
    }

    #[test]
    fn pods_go_to_nodes_of_the_overlay_in_force_by_label_then_by_name() {
        let nodes = [node("n1", "h1"), node("n2", "h2"), node("n3", "h3"), node("n4", "n2")];
        let l2nodes = ["n1", "n2", "n3", "n4"].map(|name| l2node(name, "True"));
        let listing = |nodes: &[&str]| overlay("few", OLD, &json!({"nodes": nodes}));
        let younger = overlay("a", NEW, &json!({"nodes": ["n1"]}));
        let among = |overlays: &[DynamicObject]| choose(&nodes, &l2nodes, overlays);
        assert_eq!(among(&[younger, listing(&["h3", "n1"])]).unwrap(), two("n1", "n3"));
        assert_eq!(among(&[listing(&["n2"])]).unwrap(), two("n4", "n4"), "a label is meant");
        assert_eq!(among(&[overlay("all", OLD, &Value::Null)]).unwrap(), two("n1", "n2"));
        let why = among(&[listing(&["n9"])]).unwrap_err().to_string();
        assert!(why.contains("n1: it is not in the Overlay in force; n2: "), "{why}");
    }

    #[test]
    fn nodes_that_take_no_pods_are_left_out() {
        let mut nodes = ["n1", "n2", "n3"].map(|name| node(name, name));
        let taint = json!({"taints": [{"key": "x", "effect": "NoSchedule"}]});
        nodes[0].spec = serde_json::from_value(taint).unwrap();
        nodes[1].spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
        let l2nodes = ["n1", "n2", "n3"].map(|name| l2node(name, "True"));
        assert_eq!(choose(&nodes, &l2nodes, &[]).unwrap(), two("n3", "n3"));
    }
}
