//! Which nodes take part, and what a node that does not answer holds back.

use l2sm_tests::k8s::{Kubernetes, PodRef, network, pod};
use serde_json::Value;

const SYSTEM: &str = "l2sm-system";

/// An Overlay with these nodes.
fn overlay(nodes: &str) -> String {
    format!(
        r#"{{"apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "Overlay", "metadata": {{"name": "few"}},
            "spec": {{"provider": {{"name": "a", "domain": "b"}}, "topology": {{"nodes": {nodes}}}}}}}"#
    )
}

/// What the events of a pod say, with their reasons.
fn events(cluster: &Kubernetes, pod: &PodRef<'_>) -> Vec<String> {
    let of =
        format!("events -n {} --field-selector involvedObject.name={}", pod.namespace, pod.name);
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let events = cluster.list(&of).into_iter();
    events.map(|event| format!("{}: {}", text(&event, "reason"), text(&event, "message"))).collect()
}

/// The one attachment of a pod; `None`: it has none.
fn attachment(cluster: &Kubernetes, pod: &PodRef<'_>) -> Option<Value> {
    let all = cluster.list(&format!("l2attachments -n {}", pod.namespace));
    all.into_iter().find(|attachment| attachment["spec"]["pod"] == pod.name)
}

/// Reason and message of a condition.
fn condition(object: &Value, kind: &str) -> Option<(String, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    Some((found["reason"].as_str()?.to_owned(), found["message"].as_str()?.to_owned()))
}

pub(crate) fn listed_nodes_take_part(cluster: &Kubernetes) {
    let namespace = "overlay";
    cluster.namespace(namespace);
    let blue = r#"{"type": "vnet", "networkCIDR": "10.90.0.0/24"}"#;
    let before = r#"[{"name": "blue", "ips": ["10.90.0.1/24"]}]"#;
    cluster.apply(namespace, &(network("blue", blue) + &pod("before", "node2", before)));
    let of = |name| PodRef { namespace, name };
    cluster.until_ready(&of("before"));

    cluster.apply(namespace, &overlay(r#"["node1", "rack2"]"#));
    let said = cluster.until("the attachment to say that its node is left out", || {
        condition(&attachment(cluster, &of("before"))?, "NodeNotInOverlay")
    });
    assert!(said.1.contains("node node2 is not in Overlay overlay/few"), "{said:?}");
    let ovl = cluster.until("the Overlay to be in force", || {
        condition(&cluster.get(&format!("overlay few -n {namespace}")), "Ready")
    });
    assert_eq!(ovl.0, "InForce");
    assert!(ovl.1.ends_with("no node is called rack2"), "{ovl:?}");

    cluster.apply(namespace, &(pod("inside", "node1", "blue") + &pod("outside", "node2", "blue")));
    cluster.until_ready(&of("inside"));
    assert_eq!(cluster.ping(&of("inside"), "10.90.0.1", 3), 3, "what was attached stays");
    let held = "node node2 is not in Overlay overlay/few";
    for reason in ["NodeNotInOverlay", "FailedCreatePodSandBox"] {
        cluster.until("the pod outside to be held, with the cause", || {
            let said = events(cluster, &of("outside"));
            said.iter().any(|it| it.starts_with(reason) && it.contains(held)).then_some(())
        });
    }
    assert_eq!(attachment(cluster, &of("outside")), None);

    // A node is listed by its label before its name.
    cluster.kubectl("label node node2 kubernetes.io/hostname=rack2 --overwrite");
    cluster.until_ready(&of("outside"));
    assert_eq!(cluster.ping(&of("outside"), "10.90.0.1", 3), 3);
    cluster.kubectl("label node node2 kubernetes.io/hostname=node2 --overwrite");
    cluster.kubectl(&format!("delete overlay few -n {namespace}"));
    cluster.until("nobody to be left out", || {
        let before = attachment(cluster, &of("before"))?;
        condition(&before, "NodeNotInOverlay").is_none().then_some(())
    });
}

/// Has agents run on the nodes with a label only, or on all again.
fn choose_agents(cluster: &Kubernetes, label: &str) {
    let patch =
        format!(r#"{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"agents":{label}}}}}}}}}}}"#);
    cluster.kubectl(&format!("patch daemonset l2sm-agent -n {SYSTEM} -p {patch}"));
    cluster.until_succeeds(&format!("rollout status daemonset/l2sm-agent -n {SYSTEM}"));
}

pub(crate) fn an_address_waits_for_its_node(cluster: &Kubernetes) {
    let namespace = "held";
    cluster.namespace(namespace);
    let wish = r#"[{"name": "blue", "ips": ["10.91.0.7/24"]}]"#;
    let blue = r#"{"type": "vnet", "networkCIDR": "10.91.0.0/24"}"#;
    cluster.apply(namespace, &(network("blue", blue) + &pod("old", "node2", wish)));
    let of = |name| PodRef { namespace, name };
    cluster.until_ready(&of("old"));
    cluster.kubectl("label node node1 agents=on");
    choose_agents(cluster, r#""on""#);

    let machine = &cluster.node(2).machine;
    cluster.until("the agent to have left node2", || {
        machine.processes_of("l2sm-agent").ok()?.is_empty().then_some(())
    });

    // Nobody removes it from node2's kernel now; not even another operator gives its address away.
    cluster.until_succeeds(&format!("delete pod old -n {namespace}"));
    cluster.until("the garbage collector to leave the node as its owner", || {
        let old = attachment(cluster, &of("old")).expect("it stays");
        let owners = old["metadata"]["ownerReferences"].as_array()?;
        (owners.len() == 1 && owners[0]["kind"] == "Node").then_some(())
    });
    cluster.kubectl(&format!("rollout restart deployment/l2sm-operator -n {SYSTEM}"));
    cluster.until_succeeds(&format!("rollout status deployment/l2sm-operator -n {SYSTEM}"));
    cluster.apply(namespace, &pod("new", "node1", wish));
    cluster.until("the address to be refused", || {
        let said = events(cluster, &of("new"));
        said.iter().any(|it| it.starts_with("AddressInUse: ") && it.contains("old")).then_some(())
    });
    let old = attachment(cluster, &of("old")).expect("it stays");
    assert_eq!(condition(&old, "Ready").expect("Ready").0, "Leaving");

    choose_agents(cluster, "null");
    cluster.kubectl("label node node1 agents-");
    cluster.until_ready(&of("new"));
    assert_eq!(attachment(cluster, &of("old")), None);
}
