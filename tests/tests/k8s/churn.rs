//! A Deployment that comes and goes, and what is left of it: nothing, at the API server and on the nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use l2sm_tests::{
    figures,
    k8s::{Kubernetes, PATIENCE, network},
};
use serde_json::{Deserializer, Value, json};

const NAMESPACE: &str = "churn";

/// How many times it is scaled up and down.
const ROUNDS: usize = 200;
/// Its pods. There is room for four times as many: an address that leaks is soon missed.
const REPLICAS: usize = 2;
/// In one of so many rounds the pods become Ready before they go; in the others they go once they have
/// their attachments, which is while their nodes start them.
const READY: usize = 10;
/// Nodes on which nothing changes for so long are done with what was asked of them before.
const QUIET: Duration = Duration::from_secs(5);

/// Names what there is on a node because of pods: devices, links of programs, records and notes, and
/// of each map how many entries.
const LEFT: &str = r#"
ip -br link | grep -o '^l2sm[^ @]*' | sed 's/^/device /'
ls /sys/fs/bpf/l2sm/links | sed 's/^/link /'
for kind in pods releases; do ls /run/l2sm/$kind | sed "s/^/$kind /"; done
for map in PORTS SEGMENTS FDB NEIGH VTEPS MEMBERS SOURCES FLOOD; do
    echo "$map $(bpftool map dump pinned /sys/fs/bpf/l2sm/v*/maps/$map -j | grep -o '"key"' | wc -l)"
done"#;
/// What pods in networks make there, besides notes, which are for agents that are away.
const KINDS: [&str; 7] = ["FDB ", "NEIGH ", "PORTS ", "SEGMENTS ", "device ", "link ", "pods "];

pub(crate) fn leaves_nothing(cluster: &Kubernetes) {
    cluster.namespace(NAMESPACE);
    let spec = r#"{"type": "vnet", "networkCIDR": "10.42.0.0/24",
                   "podAddressRange": "10.42.0.8/29"}"#;
    cluster.apply(NAMESPACE, &(network("small", spec) + &deployment()));
    let scale = |replicas| {
        let many = format!("deployment/many -n {NAMESPACE}");
        cluster.kubectl(&format!("scale {many} --replicas={replicas}"));
    };
    let before = left_when_quiet(cluster);
    let mut attachments = Attachments::watch(cluster);
    let began = Instant::now();

    for round in 1..=ROUNDS {
        scale(REPLICAS);
        attachments
            .until(&format!("those of round {round}"), |all| all.seen.len() >= round * REPLICAS);
        if round % READY == 0 {
            cluster.until_succeeds(&format!("rollout status deployment/many -n {NAMESPACE}"));
            // A port works before its program has a link: links are made one after the other.
            cluster.until("what may leak to be seen while it is there", || {
                let seen = kinds(&before, &left(cluster));
                (seen == BTreeSet::from(KINDS)).then_some(())
            });
        }
        scale(0);
        attachments.until(&format!("to be gone in round {round}"), |all| all.there.is_empty());
    }

    figures::say("a Deployment up and down 200 times", &format!("{:.0?}", began.elapsed()));
    assert_eq!(attachments.seen.len(), ROUNDS * REPLICAS, "one for each pod");
    let mut now = BTreeMap::new();
    // Nodes are behind: they end what was taken away while they started it.
    let is_released = || {
        let status = cluster.get(&format!("l2network small -n {NAMESPACE}"))["status"].clone();
        let assigned = status["assignedIPs"].as_object().map_or(0, serde_json::Map::len);
        assigned == 0 && status["connectedPodCount"].as_u64().unwrap_or_default() == 0
    };
    cluster.until("the network to have no addresses", || is_released().then_some(()));
    let deadline = Instant::now() + PATIENCE;
    while now != before && Instant::now() < deadline {
        now = left(cluster);
    }
    assert_eq!(now, before, "what there was on each node before, and what there is");
    assert!(cluster.list(&format!("pods -n {NAMESPACE}")).is_empty());
    assert!(cluster.list(&format!("l2attachments -n {NAMESPACE}")).is_empty());
    cluster.until_succeeds(&format!("delete namespace {NAMESPACE}"));
}

/// Of no pods.
fn deployment() -> String {
    let container = json!({"name": "main", "image": "busybox:1", "command": ["sleep", "86400"]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {
                    "labels": {"app": "many"}, "annotations": {"l2sm/networks": "small"},
                },
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    });
    deployment.to_string()
}

/// What there is, by node.
type Left = BTreeMap<String, BTreeSet<String>>;

fn left(cluster: &Kubernetes) -> Left {
    let nodes = cluster.nodes().iter().map(|node| {
        let text = node.machine.run("sh", &["-c", LEFT]).expect("it runs");
        (node.machine.name().to_owned(), text.lines().map(str::to_owned).collect())
    });
    nodes.collect()
}

/// The same, once pods of earlier stories have come or gone: it has been so for a while.
fn left_when_quiet(cluster: &Kubernetes) -> Left {
    let mut last = left(cluster);
    let mut since = Instant::now();
    cluster.until("the nodes to be quiet", || {
        let now = left(cluster);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() >= QUIET).then(|| last.clone())
    })
}

/// What there is more of, or another number of, than before, on any node: how each line begins.
fn kinds(before: &Left, now: &Left) -> BTreeSet<&'static str> {
    let lines = now.iter().flat_map(|(node, now)| now.difference(&before[node]));
    let lines: Vec<_> = lines.collect();
    let is_there = |kind: &&str| lines.iter().any(|line| line.starts_with(*kind));
    KINDS.into_iter().filter(is_there).collect()
}

/// The attachments of the namespace, as a watch tells of them.
struct Attachments {
    kubectl: Child,
    events: Receiver<Value>,
    /// All that there have been.
    seen: BTreeSet<String>,
    there: BTreeSet<String>,
}

impl Attachments {
    fn watch(cluster: &Kubernetes) -> Self {
        let watch =
            format!("get l2attachments -n {NAMESPACE} --watch --output-watch-events -o json");
        let mut kubectl = cluster.command(&watch);
        let mut kubectl = kubectl.stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let stdout = kubectl.stdout.take().expect("piped");
        let (to, events) = channel();
        thread::spawn(move || {
            let events = Deserializer::from_reader(stdout).into_iter().map_while(Result::ok);
            events.map_while(|event| to.send(event).ok()).count()
        });
        Self { kubectl, events, seen: BTreeSet::new(), there: BTreeSet::new() }
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.take(&event),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("not in time: attachments: {what}; there are {:?}", self.there)
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the watch has ended"),
            }
        }
    }

    fn take(&mut self, event: &Value) {
        let name = event["object"]["metadata"]["name"].as_str().expect("a name").to_owned();
        if event["type"] == "DELETED" {
            self.there.remove(&name);
            return;
        }
        let ips = event["object"]["spec"]["ips"].as_array().map_or(0, Vec::len);
        assert_eq!(ips, 1, "it is made with its address: {event}");
        self.seen.insert(name.clone());
        self.there.insert(name);
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        self.kubectl.kill().expect("it can be ended");
        self.kubectl.wait().expect("it ends");
    }
}
