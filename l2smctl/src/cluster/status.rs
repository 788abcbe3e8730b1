//! How l2sm is on a cluster: operator, agents, nodes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client};
use l2sm_api::objects::Kind;
use serde::Serialize;
use serde_json::{Value, json};

use super::{NAMESPACE, fault, objects};
use crate::condition;
use crate::output::table::Table;

/// Name of the operator's deployment.
const OPERATOR: &str = "l2sm-operator";
/// Name of the agents' daemon set.
const AGENT: &str = "l2sm-agent";

/// What there is of l2sm on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// This program's version.
    client: &'static str,
    /// The operator's pods.
    operator: Workload,
    /// The agents' pods.
    agents: Workload,
    /// The nodes, by name.
    nodes: BTreeMap<String, Node>,
    /// Networks in all namespaces.
    networks: usize,
    /// Attachments in all namespaces.
    attachments: usize,
    /// What is not as it should be; empty: all is well.
    problems: Vec<String>,
}

/// Pods of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Workload {
    /// The image that they run; empty: not installed.
    image: String,
    /// How many are ready.
    ready: i32,
    /// How many there should be.
    wanted: i32,
    /// The newest change of it is under way everywhere.
    current: bool,
}

/// What a node's agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    version: String,
    fast_path: Vec<String>,
    ready: bool,
    connected: bool,
    vteps: Vec<String>,
    udp_port: u64,
    #[serde(rename = "underlayMTU")]
    underlay_mtu: u64,
    revision: u64,
    conditions: Vec<Value>,
}

/// Looks at the cluster.
///
/// # Errors
/// The API server refuses something.
pub(crate) async fn look(client: &Client) -> Result<Report> {
    let operator = Api::<Deployment>::namespaced(client.clone(), NAMESPACE).get_opt(OPERATOR).await;
    let agents = Api::<DaemonSet>::namespaced(client.clone(), NAMESPACE).get_opt(AGENT).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={AGENT}"));
    let pods = pods.list(&ours).await.map_err(fault)?;
    let l2nodes = objects::of_kind(client, Kind::L2Node).await?;
    let mut report = Report {
        client: crate::VERSION,
        operator: operator.map_err(fault)?.map(deployment).unwrap_or_default(),
        agents: agents.map_err(fault)?.map(daemon_set).unwrap_or_default(),
        nodes: l2nodes.iter().filter_map(node).collect(),
        networks: objects::of_kind(client, Kind::L2Network).await?.len(),
        attachments: objects::of_kind(client, Kind::L2Attachment).await?.len(),
        problems: Vec::new(),
    };
    let expected = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
    report.problems = problems(&report, &expected.collect(), &l2nodes);
    Ok(report)
}

impl Report {
    /// What is in the way of everything being well.
    pub(crate) fn obstacle(&self) -> Option<String> {
        (!self.problems.is_empty()).then(|| self.problems.join("; "))
    }

    /// For people.
    pub(crate) fn text(&self, wide: bool) -> String {
        let mut text = format!(
            "operator      {}\nagents        {}\nnetworks      {}\nattachments   {}\n",
            self.operator.text(),
            self.agents.text(),
            self.networks,
            self.attachments
        );
        for problem in &self.problems {
            text.extend(["problem       ", problem, "\n"]);
        }
        let nodes = if self.nodes.is_empty() { "no nodes yet\n".into() } else { self.table(wide) };
        format!("{text}\n{nodes}")
    }

    fn table(&self, wide: bool) -> String {
        let mut heading = vec!["NODE", "VERSION", "FASTPATH", "READY", "CONNECTED", "CONDITIONS"];
        if wide {
            heading.extend(["VTEP", "PORT", "UNDERLAY-MTU", "REVISION"]);
        }
        let mut table = Table::new(heading);
        for (name, node) in &self.nodes {
            let mut row = vec![
                name.clone(),
                or_dash(node.version.clone()),
                or_dash(node.fast_path.join(",")),
                yes(node.ready),
                yes(node.connected),
                or_dash(node.conditions.iter().map(condition_text).collect::<Vec<_>>().join(",")),
            ];
            if wide {
                row.push(or_dash(node.vteps.join(",")));
                row.extend(
                    [node.udp_port, node.underlay_mtu, node.revision].map(|n| n.to_string()),
                );
            }
            table.row(row);
        }
        table.to_string()
    }

    /// Versions only: of this program, of the operator, and of how many agents.
    pub(crate) fn versions(&self) -> Value {
        let mut agents = BTreeMap::<&str, usize>::new();
        for node in self.nodes.values() {
            *agents.entry(node.version.as_str()).or_default() += 1;
        }
        json!({"client": self.client, "operator": self.operator.image, "agents": agents})
    }

    /// The same for people.
    pub(crate) fn versions_text(&self) -> String {
        let versions = self.versions();
        let agents = versions.get("agents").and_then(Value::as_object).into_iter().flatten();
        let agents: Vec<_> =
            agents.map(|(version, count)| format!("{version} ({count})")).collect();
        let or_none =
            |text: String| if text.is_empty() { "not installed".to_owned() } else { text };
        format!(
            "client     {}\noperator   {}\nagents     {}\n",
            self.client,
            or_none(self.operator.image.clone()),
            or_none(agents.join(", "))
        )
    }
}

impl Workload {
    fn text(&self) -> String {
        if self.image.is_empty() {
            return "not installed".to_owned();
        }
        format!("{} of {} ready, {}", self.ready, self.wanted, self.image)
    }

    fn problem(&self, name: &str) -> Option<String> {
        if self.image.is_empty() {
            return Some(format!("{name}: not installed (`l2smctl install`)"));
        }
        if self.ready < self.wanted || self.wanted == 0 {
            return Some(format!("{name}: {} of {} ready", self.ready, self.wanted));
        }
        (!self.current).then(|| format!("{name}: a change is being rolled out"))
    }
}

fn deployment(deployment: Deployment) -> Workload {
    let status = deployment.status.unwrap_or_default();
    let spec = deployment.spec.unwrap_or_default();
    let wanted = spec.replicas.unwrap_or(1);
    Workload {
        image: image(spec.template.spec),
        ready: status.ready_replicas.unwrap_or_default(),
        wanted,
        current: status.observed_generation == deployment.metadata.generation
            && status.updated_replicas.unwrap_or_default() >= wanted,
    }
}

fn daemon_set(set: DaemonSet) -> Workload {
    let status = set.status.unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    Workload {
        image: image(set.spec.and_then(|spec| spec.template.spec)),
        ready: status.number_ready,
        wanted,
        current: status.observed_generation == set.metadata.generation
            && status.updated_number_scheduled.unwrap_or_default() >= wanted,
    }
}

fn image(pod: Option<PodSpec>) -> String {
    let container = pod.and_then(|pod| pod.containers.into_iter().next());
    container.and_then(|container| container.image).unwrap_or_default()
}

fn node(object: &DynamicObject) -> Option<(String, Node)> {
    let number = |path: &str| object.data.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let texts = |path: &str| {
        let values = object.data.pointer(path).and_then(Value::as_array).into_iter().flatten();
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let version = object.data.pointer("/status/agentVersion").and_then(Value::as_str);
    let node = Node {
        version: version.unwrap_or_default().to_owned(),
        fast_path: texts("/status/features"),
        ready: not_ready(object).is_none(),
        connected: object.data.pointer("/status/connected") == Some(&Value::Bool(true)),
        vteps: texts("/spec/vtepAddresses"),
        udp_port: number("/spec/udpPort"),
        underlay_mtu: number("/spec/underlayMTU"),
        revision: number("/status/ackedRevision"),
        conditions: condition::all(&object.data)
            .filter(|found| is_notable(found))
            .cloned()
            .collect(),
    };
    Some((object.metadata.name.clone()?, node))
}

/// Whether a condition is to be seen: all but `Ready`, when they hold.
fn is_notable(found: &Value) -> bool {
    condition::text(found, "type") != "Ready" && condition::text(found, "status") == "True"
}

fn condition_text(found: &Value) -> String {
    format!("{}({})", condition::text(found, "type"), condition::text(found, "reason"))
}

fn not_ready(object: &DynamicObject) -> Option<String> {
    condition::obstacle(&object.data, "Ready", "True")
}

fn problems(
    report: &Report,
    expected: &BTreeSet<String>,
    l2nodes: &[DynamicObject],
) -> Vec<String> {
    let mut problems: Vec<_> =
        [report.operator.problem("operator"), report.agents.problem("agents")]
            .into_iter()
            .flatten()
            .collect();
    let unheard = expected.iter().filter(|node| !report.nodes.contains_key(*node));
    problems.extend(unheard.map(|node| format!("{node}: its agent has not reported yet")));
    for object in l2nodes {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let Some(node) = report.nodes.get(name) else { continue };
        problems.extend(not_ready(object).map(|why| format!("{name}: {why}")));
        if !node.connected {
            problems.push(format!("{name}: its agent is not connected to the operator"));
        }
        let words = node.conditions.iter().map(|found| {
            format!("{name}: {}: {}", condition_text(found), condition::text(found, "message"))
        });
        problems.extend(words);
    }
    problems
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l2node(ready: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Node",
            "metadata": {"name": "n1"},
            "spec": {"vtepAddresses": ["192.0.2.1"], "udpPort": 7000, "underlayMTU": 1500},
            "status": {
                "agentVersion": "0.1.0", "features": ["tcx"], "connected": true, "ackedRevision": 7,
                "conditions": [
                    {"type": "Ready", "status": ready, "reason": "Why", "message": "words"},
                    {"type": "ChainNotInstalled", "status": "True", "reason": "TakenAway",
                     "message": "gone"},
                ],
            },
        }))
        .unwrap()
    }

    fn report(ready: &str) -> Report {
        let running = Workload { image: "x:1".into(), ready: 1, wanted: 1, current: true };
        let nodes = [l2node(ready)];
        let mut report = Report {
            client: "0.1.0",
            operator: running.clone(),
            agents: running,
            nodes: nodes.iter().filter_map(node).collect(),
            ..Report::default()
        };
        let expected = ["n1", "n2"].map(str::to_owned).into_iter().collect();
        report.problems = problems(&report, &expected, &nodes);
        report
    }

    #[test]
    fn each_node_shows_version_fast_path_and_conditions() {
        let text = report("True").text(true);
        let line = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        let conditions = "ChainNotInstalled(TakenAway)";
        let expected =
            ["n1", "0.1.0", "tcx", "yes", "yes", conditions, "192.0.2.1", "7000", "1500", "7"];
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_missing_is_a_problem() {
        let problems = report("False").problems;
        assert_eq!(
            problems,
            [
                "n2: its agent has not reported yet",
                "n1: Ready is False: Why: words",
                "n1: ChainNotInstalled(TakenAway): gone",
            ]
        );
        let nothing = Workload::default().problem("operator").unwrap();
        assert!(nothing.contains("not installed"), "{nothing}");
    }

    #[test]
    fn agents_are_counted_by_version() {
        assert_eq!(report("True").versions()["agents"], json!({"0.1.0": 1}));
        assert!(report("True").versions_text().contains("agents     0.1.0 (1)\n"));
    }
}
