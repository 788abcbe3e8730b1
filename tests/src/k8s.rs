//! The Kubernetes cluster of the tests: kubectl as a user types it, and what its answers say.
//!
//! One cluster serves all tests of a binary. It ends with the binary, however that ends. Where
//! `L2SM_CLUSTER` is `running`, the one that `cargo xtask cluster up` made is used, and left alone.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use l2sm_cluster::{lab::Lab, machine::Machine, node::Node, places, programs};
use nix::unistd::Pid;
use serde_json::Value;

/// Time that anything may take in a cluster on one machine before it counts as failed.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// How often a condition is looked at: each look starts kubectl.
const LOOK: Duration = Duration::from_millis(200);

/// What the operator calls itself.
const OPERATOR: &str = "l2sm-operator";

/// A cluster that is up.
pub struct Kubernetes {
    lab: Lab,
    /// What holds it up as long as its standard input is open; none for a cluster of somebody else.
    holder: Option<Child>,
}

impl Kubernetes {
    /// Brings one up, or takes the one that is up.
    pub fn up() -> Self {
        if env::var("L2SM_CLUSTER").is_ok_and(|value| value == "running") {
            return Self { lab: Lab::here(), holder: None };
        }
        let mut command = Command::new(programs::ourselves().expect("it is built"));
        command.args(["up", "--hold"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("it starts");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut said).expect("it speaks");
        assert!(said.contains("is up"), "no cluster: its message is above");
        println!("{}", said.trim());
        Self { lab: Lab::here(), holder: Some(holder) }
    }

    /// Ends it, if it is ours; panics when something of it is left.
    pub fn down(&mut self) {
        let Some(mut holder) = self.holder.take() else { return };
        drop(holder.stdin.take());
        let status = holder.wait().expect("it ends");
        assert!(status.success(), "the cluster did not end: its message is above");
        assert!(!places::state().exists());
    }

    /// A node, from 1.
    pub fn node(&self, number: usize) -> &Node {
        &self.lab.nodes[number - 1]
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.lab.nodes
    }

    /// The machine of the API server.
    pub fn control_plane(&self) -> &Machine {
        &self.lab.control_plane
    }

    /// Runs kubectl, whether or not it succeeds.
    pub fn output(&self, arguments: &str) -> Output {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.lab.kubectl(&arguments).expect("kubectl runs")
    }

    /// Runs kubectl; what it printed. Panics when it fails.
    pub fn kubectl(&self, arguments: &str) -> String {
        succeeded(arguments, self.output(arguments))
    }

    /// What kubectl says when it fails. Panics when it does not.
    pub fn refused(&self, arguments: &str) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "kubectl {arguments}: was not refused");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    /// An object, or a list, as JSON.
    pub fn get(&self, what: &str) -> Value {
        let text = self.kubectl(&format!("get {what} -o json"));
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Items of a list.
    pub fn list(&self, what: &str) -> Vec<Value> {
        self.get(what)["items"].as_array().expect("a list").clone()
    }

    /// kubectl, not yet started.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.lab.control_plane.command_in_netns("kubectl").expect("kubectl");
        command.env("KUBECONFIG", places::kubeconfig()).args(arguments.split_whitespace());
        command
    }

    /// Runs kubectl with a manifest on standard input.
    pub fn with_input(&self, arguments: &str, manifest: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(manifest.as_bytes()).expect("kubectl reads");
        drop(stdin);
        child.wait_with_output().expect("kubectl ends")
    }

    /// Applies a manifest, in a namespace; what kubectl printed.
    pub fn apply(&self, namespace: &str, manifest: &str) -> String {
        let arguments = format!("apply -n {namespace} -f -");
        succeeded(&arguments, self.with_input(&arguments, manifest))
    }

    /// Runs a program in a pod, whether or not it succeeds.
    pub fn exec(&self, pod: &PodRef<'_>, command: &str) -> Output {
        let PodRef { namespace, name } = pod;
        self.output(&format!("exec -n {namespace} {name} -- {command}"))
    }

    /// Runs a program in a pod; what it printed. Panics when it fails.
    pub fn run(&self, pod: &PodRef<'_>, command: &str) -> String {
        succeeded(&format!("exec {} -- {command}", pod.name), self.exec(pod, command))
    }

    /// How many of `count` pings from a pod are answered.
    pub fn ping(&self, pod: &PodRef<'_>, address: &str, count: u32) -> u32 {
        let output = self.exec(pod, &format!("ping -c {count} -i 0.2 -W 1 {address}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let received = text.split(", ").find_map(|part| part.strip_suffix(" packets received"));
        received.and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            panic!("ping {address}: {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// The process of a program in the first container of a pod, as this host numbers it.
    pub fn process_of(&self, pod: &Value, program: &str) -> Pid {
        let container = pod["status"]["containerStatuses"][0]["containerID"].as_str();
        let container = container.expect("it runs").trim_start_matches("containerd://");
        let node = self.nodes().iter().find(|node| pod["spec"]["nodeName"] == node.machine.name());
        let processes = node.expect("a node").machine.processes_of(program).expect("it is up");
        let holds = |process: &&Pid| {
            let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
            groups.contains(container)
        };
        *processes.iter().find(holds).expect("its process")
    }

    /// Waits until the pod runs and is ready.
    pub fn until_ready(&self, pod: &PodRef<'_>) {
        let PodRef { namespace, name } = pod;
        self.until_succeeds(&format!("wait -n {namespace} --for=condition=Ready pod/{name}"));
    }

    /// Waits by `kubectl wait`, `kubectl rollout status` or `kubectl delete`. Panics, with what the pods
    /// say, when it takes too long.
    pub fn until_succeeds(&self, arguments: &str) {
        let output = self.output(&format!("{arguments} --timeout={}s", PATIENCE.as_secs()));
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            panic!("kubectl {arguments}: {error}\n{}", self.picture());
        }
    }

    /// Waits for the operator's warning about a pod: an event of this reason with all these words in it.
    pub fn until_warned(&self, pod: &PodRef<'_>, reason: &str, words: &[&str]) {
        let PodRef { namespace, name } = pod;
        let selector = format!("involvedObject.kind=Pod,involvedObject.name={name}");
        let events = format!("events -n {namespace} --field-selector {selector}");
        let is_it = |event: &Value| {
            let note = event["message"].as_str().unwrap_or_default();
            event["reportingComponent"] == OPERATOR
                && event["type"] == "Warning"
                && event["reason"] == reason
                && words.iter().all(|word| note.contains(word))
        };
        self.until(&format!("the operator's event {reason} of {name} with {words:?}"), || {
            self.list(&events).iter().any(is_it).then_some(())
        });
    }

    /// What one wants to see of a cluster in which a test failed.
    pub fn picture(&self) -> String {
        let mut text = String::new();
        for what in [
            "get nodes,pods -A -o wide",
            "get l2networks,l2attachments,l2nodes -A -o wide",
            "get events -A --sort-by=.lastTimestamp",
        ] {
            let output = self.output(what);
            text += &String::from_utf8_lossy(&output.stdout);
            text += &String::from_utf8_lossy(&output.stderr);
        }
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// Asks until the answer is `Some`; panics with `what` when it takes too long.
    pub fn until<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        self.until_within(PATIENCE, what, ask)
    }

    /// The same with a time of its own.
    pub fn until_within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut ask: impl FnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < deadline, "not in time: {what}\n{}", self.picture());
            thread::sleep(LOOK);
        }
    }

    /// Makes a namespace for a test, and an empty one where there was one.
    pub fn namespace(&self, name: &str) {
        self.until_succeeds(&format!("delete namespace {name} --ignore-not-found"));
        self.kubectl(&format!("create namespace {name}"));
        self.until("a service account", || {
            let account = format!("get serviceaccount default -n {name}");
            self.output(&account).status.success().then_some(())
        });
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            drop(holder.wait());
        }
    }
}

/// A pod, by name.
#[derive(Clone, Copy, Debug)]
pub struct PodRef<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// A pod's manifest: busybox that sleeps, on a node, with `l2sm/networks` as given.
pub fn pod(name: &str, node: &str, networks: &str) -> String {
    let annotations = match networks {
        "" => serde_json::json!({}),
        networks => serde_json::json!({"l2sm/networks": networks}),
    };
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "busybox:1", "command": ["sleep", "86400"],
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
            }],
        },
    });
    format!("{manifest}\n---\n")
}

/// The same pod, which may change its network's sysctls.
pub fn privileged(pod: &str) -> String {
    pod.replace(r#""capabilities":{"add":["NET_ADMIN"]}"#, r#""privileged":true"#)
}

/// A network's manifest, with its `spec` as JSON.
pub fn network(name: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Network",
            "metadata": {{"name": "{name}"}}, "spec": {spec}}}
---
"#
    )
}

fn succeeded(arguments: &str, output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments}: {}", error.trim());
    String::from_utf8(output.stdout).expect("kubectl prints text")
}
