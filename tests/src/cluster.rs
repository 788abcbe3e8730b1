//! Two or more nodes made by hand, as a user would without the lab: namespaces, one controller, an
//! agent per node, all of them the real programs with the flags of their `--help`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    netns::{Netns, join, pod_netns},
    pki::Pki,
    wait,
};

/// MTU of the underlay.
pub const UNDERLAY_MTU: u32 = 1600;

/// A controller and its nodes; everything is gone when it is dropped.
pub struct Cluster {
    /// Nodes, from the first.
    pub nodes: Vec<ClusterNode>,
    underlay: Netns,
    directory: tempfile::TempDir,
    controller: Option<Child>,
    others: Vec<Child>,
    pki: Option<Pki>,
    /// Where its programs are.
    find: fn(&str) -> PathBuf,
}

/// A node with its agent.
pub struct ClusterNode {
    /// The node's namespace; its underlay device is `eth0`.
    pub netns: Netns,
    name: String,
    directory: PathBuf,
    bpffs: PathBuf,
    agent: Option<Child>,
    /// Controllers that its agent is told of, from its next start on.
    pub controllers: Vec<String>,
    /// Further flags of its agent, from its next start on.
    pub flags: Vec<String>,
    /// The agent's program, from its next start on.
    pub program: PathBuf,
    /// Environment of its agent, from its next start on.
    pub environment: Vec<(String, String)>,
}

/// A namespace that was attached.
#[derive(Debug)]
pub struct ClusterPod {
    /// The pod's namespace.
    pub netns: Netns,
    /// What `l2smctl attach -o json` printed.
    pub attached: Value,
}

impl Cluster {
    /// Makes `count` nodes, waits until their agents are connected.
    pub fn new(count: u8) -> Self {
        Self::make(count, false, program)
    }

    /// The same with the programs that `cargo xtask build --release` makes.
    pub fn of_release(count: u8) -> Self {
        Self::make(count, false, release_program)
    }

    /// The same with TLS: node `n1` has the certificate `node-n1`, and so on.
    pub fn with_tls(count: u8) -> Self {
        Self::make(count, true, program)
    }

    /// Makes `count` nodes and their controller's certificates, and starts nothing: the controller
    /// is the test's own.
    pub fn unstarted(count: u8) -> Self {
        let mut cluster = Self::bare(count, true, program);
        cluster.add_nodes(count);
        cluster
    }

    fn make(count: u8, tls: bool, find: fn(&str) -> PathBuf) -> Self {
        let mut cluster = Self::bare(count, tls, find);
        cluster.start_controller();
        cluster.add_nodes(count);
        for node in &mut cluster.nodes {
            node.start_agent();
        }
        cluster.until_connected();
        cluster
    }

    /// The underlay alone.
    fn bare(count: u8, tls: bool, find: fn(&str) -> PathBuf) -> Self {
        let underlay = Netns::new("underlay").without_ipv6();
        underlay.ip("link add ul type bridge mcast_snooping 0");
        underlay.ip(&format!("link set ul mtu {UNDERLAY_MTU} up"));
        underlay.ip("address add 192.0.2.254/24 dev ul");
        let directory = tempfile::tempdir().expect("a directory");
        let pki = directory.path().join("pki");
        let pki = tls.then(|| Pki::new(&pki, "192.0.2.254", count));
        let (nodes, others) = (Vec::new(), Vec::new());
        Self { nodes, underlay, directory, controller: None, others, pki, find }
    }

    fn add_nodes(&mut self, count: u8) {
        for number in 1..=count {
            let mut node = ClusterNode::new(number, &self.underlay, self.directory.path());
            node.controllers = vec![self.url()];
            node.program = (self.find)("l2sm-agent");
            node.flags = match &self.pki {
                Some(pki) => pki.client_flags(&format!("node-n{number}")),
                None => vec!["--insecure".to_owned()],
            };
            self.nodes.push(node);
        }
    }

    /// Starts the controller on the store that is there, and waits until it answers.
    pub fn start_controller(&mut self) {
        let child = self.spawn_controller(30808, "store.redb");
        self.controller = Some(child);
        wait::until("the controller answers", || {
            self.ctl(&["get", "nodes"]).status.success().then_some(())
        });
    }

    /// Starts one more controller, on a port and a store of its own.
    pub fn start_other(&mut self, port: u16, store: &str) {
        let child = self.spawn_controller(port, store);
        self.others.push(child);
    }

    fn spawn_controller(&self, port: u16, store: &str) -> Child {
        let mut command = inside(&self.underlay, &(self.find)("l2sm-controller"));
        command.args(["serve", "--listen", &format!("192.0.2.254:{port}"), "--store"]);
        command.arg(self.directory.path().join(store));
        match &self.pki {
            Some(pki) => command.args(pki.server_flags()),
            None => command.args(["--insecure", "--insecure-allow-remote"]),
        };
        let log = log_file(self.directory.path(), "controller");
        command.stderr(log).spawn().expect("the controller is built")
    }

    /// The controller's URL.
    pub fn url(&self) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        format!("{scheme}://192.0.2.254:30808")
    }

    /// The certificates of a cluster with TLS.
    pub fn pki(&self) -> &Pki {
        self.pki.as_ref().expect("a cluster with TLS")
    }

    /// The namespace in which the controller is.
    pub fn underlay(&self) -> &Netns {
        &self.underlay
    }

    /// Ends the controller with SIGKILL.
    pub fn kill_controller(&mut self) {
        kill(&mut self.controller);
    }

    /// Waits until every agent follows the controller, and both say so: the stream that the controller
    /// knows may be one of an agent that was killed just now.
    pub fn until_connected(&self) {
        let count = self.nodes.len();
        wait::until_equal("agents that follow", &count, || {
            self.nodes.iter().filter(|node| node.follows()).count()
        });
        wait::until_equal("connected agents", &count, || {
            let nodes = self.get("nodes");
            let connected = nodes.iter().filter(|node| node["status"]["connected"] == true);
            connected.count()
        });
    }

    /// Waits until every node has programmed all that is in a network: pods are reached from now on.
    pub fn until_ready(&self, network: &str) {
        self.ctl_ok(&["wait", "--for=condition=Ready", &format!("l2network/{network}")]);
    }

    /// Runs `l2smctl` against the controller.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        self.ctl_as("admin", arguments)
    }

    /// Runs `l2smctl` against the controller, with TLS with the certificate `stem`.
    pub fn ctl_as(&self, stem: &str, arguments: &[&str]) -> Output {
        let mut command = command(&self.underlay, "l2smctl");
        command.args(["--server", &self.url(), "--timeout", "20s"]);
        command.args(self.pki.iter().flat_map(|pki| pki.client_flags(stem)));
        command.args(arguments).output().expect("l2smctl is built")
    }

    /// Runs `l2smctl`, which must succeed; what it printed.
    pub fn ctl_ok(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "l2smctl {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All objects of a kind.
    pub fn get(&self, kind: &str) -> Vec<Value> {
        let text = self.ctl_ok(&["get", kind, "-A", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) {
        let output = self.try_apply(manifest);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apply: {error}");
    }

    /// Applies a manifest, which may fail.
    pub fn try_apply(&self, manifest: &str) -> Output {
        let file = self.directory.path().join("manifest.yaml");
        fs::write(&file, manifest).expect("can be written");
        self.ctl(&["apply", "-f", file.to_str().expect("a name")])
    }

    /// Makes a network with addresses from `cidr`.
    pub fn network(&self, name: &str, cidr: &str) {
        self.apply(&format!(
            "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: {name}}}\n\
             spec: {{type: vnet, networkCIDR: \"{cidr}\"}}\n"
        ));
    }

    /// Makes a pod on a node and attaches it; `more`: further arguments of `l2smctl attach`.
    pub fn pod(&self, node: usize, network: &str, more: &[&str]) -> ClusterPod {
        let netns = pod_netns("cpod", more);
        let attached = self.nodes[node].attach(network, &netns, more);
        ClusterPod { netns, attached }
    }

    /// Makes a host of the underlay that is no node of ours: `192.0.2.<number>` on `eth0`.
    pub fn host(&self, number: u8) -> Netns {
        let netns = Netns::new("host").without_ipv6();
        let port = format!("h{number}");
        join((&self.underlay, &port), (&netns, "eth0"), UNDERLAY_MTU);
        self.underlay.ip(&format!("link set {port} master ul"));
        netns.ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
        netns
    }

    /// Removes a node's underlay device, as a driver that goes away does.
    pub fn unplug(&self, node: usize) {
        self.nodes[node].netns.ip("link delete eth0");
    }

    /// Makes a node's underlay device again, with its address: the same name, another ifindex.
    pub fn plug(&self, node: usize) {
        self.nodes[node].join(&self.underlay);
    }

    /// Frames dropped on all nodes, by reason.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for node in &self.nodes {
            for drops in node.status()["drops"].as_array().into_iter().flatten() {
                let reason = drops["reason"].as_str().expect("a reason").to_owned();
                *sums.entry(reason).or_default() += drops["packets"].as_u64().expect("a count");
            }
        }
        sums.retain(|_reason, packets| *packets > 0);
        sums
    }

    /// Checks that nothing was dropped on any node but for these reasons, this often.
    pub fn assert_drops(&self, expected: &[(&str, u64)]) {
        let expected: BTreeMap<String, u64> =
            expected.iter().map(|(reason, packets)| ((*reason).to_owned(), *packets)).collect();
        assert_eq!(self.drops(), expected, "frames dropped, by reason");
    }

    /// The controller's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("controller.log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        kill(&mut self.controller);
        for other in std::mem::take(&mut self.others) {
            kill(&mut Some(other));
        }
        if std::thread::panicking() {
            eprintln!("controller:\n{}", last_lines(&self.log()));
        }
    }
}

impl ClusterNode {
    fn new(number: u8, underlay: &Netns, directory: &Path) -> Self {
        let netns = Netns::new(&format!("node{number}"));
        let name = format!("n{number}");
        let directory = directory.join(&name);
        fs::create_dir(&directory).expect("can be made");
        let bpffs = PathBuf::from(format!("/sys/fs/bpf/{}", netns.name()));
        let (controllers, flags) = (Vec::new(), Vec::new());
        let (program, environment) = (program("l2sm-agent"), Vec::new());
        let agent = None;
        let node =
            Self { netns, name, directory, bpffs, agent, controllers, flags, program, environment };
        node.join(underlay);
        node
    }

    /// Makes `eth0`, with the node's address.
    fn join(&self, underlay: &Netns) {
        join((underlay, &self.name), (&self.netns, "eth0"), UNDERLAY_MTU);
        underlay.ip(&format!("link set {} master ul", self.name));
        let number = self.name.trim_start_matches('n');
        self.netns.ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
    }

    /// Starts the agent.
    pub fn start_agent(&mut self) {
        self.start_agent_with(&[]);
    }

    /// Starts the agent with further arguments.
    pub fn start_agent_with(&mut self, more: &[&str]) {
        let log = log_file(&self.directory, "agent");
        let mut command = self.agent_command();
        let child = command.args(more).stderr(log).spawn().expect("the agent is built");
        self.agent = Some(child);
    }

    /// Starts the agent behind a command that becomes it, as `unshare --mount` does.
    pub fn start_agent_behind(&mut self, wrapper: &[&str]) {
        let agent = self.agent_command();
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(agent.get_program()).args(agent.get_args());
        let log = log_file(&self.directory, "agent");
        let child = command.stdin(Stdio::null()).stderr(log).spawn().expect("it is there");
        self.agent = Some(child);
    }

    /// `l2sm-agent run` with this node's flags.
    pub fn agent_command(&self) -> Command {
        let mut command = inside(&self.netns, &self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["run", "--node-name", &self.name]).args(&self.flags);
        command.args(self.controllers.iter().flat_map(|url| ["--controller", url]));
        self.with_directories(command)
    }

    /// Runs `l2sm-agent cleanup`.
    pub fn cleanup(&self) -> Output {
        self.cleanup_with(&[])
    }

    /// The same with further arguments.
    pub fn cleanup_with(&self, more: &[&str]) -> Output {
        let mut command = command(&self.netns, "l2sm-agent");
        command.arg("cleanup").args(more);
        self.with_directories(command).output().expect("the agent is built")
    }

    fn with_directories(&self, mut command: Command) -> Command {
        command.arg("--bpffs").arg(&self.bpffs);
        command.arg("--socket").arg(self.socket());
        command.arg("--state-dir").arg(&self.directory);
        command
    }

    /// Ends the agent with SIGKILL.
    pub fn kill_agent(&mut self) {
        kill(&mut self.agent);
    }

    /// Process number of the agent (nsenter becomes it); `None`: it was not started.
    pub fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// The pin directory.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// Runs `l2smctl` against the agent's socket.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("l2smctl"));
        command.arg("--socket").arg(self.socket());
        command.args(arguments).output().expect("l2smctl is built")
    }

    /// Attaches a namespace; panics where that fails.
    pub fn attach(&self, network: &str, netns: &Netns, more: &[&str]) -> Value {
        let path = netns.path();
        let mut arguments = vec!["attach", network, "--netns", &path, "-o", "json"];
        arguments.extend(more);
        let output = self.ctl(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("JSON alone on standard output")
    }

    /// What the agent says of itself.
    pub fn status(&self) -> Value {
        let output = self.ctl(&["status", "-o", "json"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "status: {error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Whether the agent answers, and follows a controller.
    fn follows(&self) -> bool {
        let output = self.ctl(&["status", "-o", "json"]);
        let status = serde_json::from_slice::<Value>(&output.stdout);
        status.is_ok_and(|status| status["controller"].is_string())
    }

    /// A counter of a network here, as `status` calls it: `fromPort`, `toVtep`, ...
    pub fn counted(&self, network: &str, counter: &str) -> u64 {
        let status = self.status();
        let networks = status["networks"].as_array().cloned().unwrap_or_default();
        let found = networks.iter().find(|of| of["network"] == format!("default/{network}"));
        found.and_then(|of| of[counter].as_u64()).unwrap_or_else(|| panic!("{counter}: {status}"))
    }

    /// Frames dropped for a reason, over all networks.
    pub fn dropped(&self, reason: &str) -> u64 {
        let status = self.status();
        let drops = status["drops"].as_array().cloned().unwrap_or_default();
        let matching = drops.iter().filter(|drop| drop["reason"] == reason);
        matching.filter_map(|drop| drop["packets"].as_u64()).sum()
    }

    /// The agent's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        kill(&mut self.agent);
        if std::thread::panicking() {
            eprintln!("agent of {}:\n{}", self.name, last_lines(&self.log()));
        }
        drop(fs::remove_dir_all(&self.bpffs));
    }
}

impl ClusterPod {
    /// Its first address, without the prefix length.
    pub fn address(&self) -> &str {
        let address = self.attached["ips"][0].as_str().expect("an address");
        address.split('/').next().expect("an address")
    }

    /// Its interface.
    pub fn ifname(&self) -> &str {
        self.attached["ifname"].as_str().expect("a name")
    }

    /// Its MAC.
    pub fn mac(&self) -> l2sm_common::mac::Mac {
        self.attached["mac"].as_str().and_then(|mac| mac.parse().ok()).expect("a MAC")
    }
}

/// Path of a program of ours, built beside the test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test runs");
    let built = test.ancestors().nth(2).expect("target/debug/deps/test").join(name);
    assert!(built.exists(), "{name} is not built: run `cargo xtask test`, or `cargo build` first");
    built
}

/// Path of a program of ours, built by `cargo xtask build --release`.
pub fn release_program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test runs");
    let target = test.ancestors().nth(3).expect("target/debug/deps/test");
    let built = target.join("release").join(name);
    assert!(built.exists(), "{name} is not built: run `cargo xtask build --release`");
    built
}

fn command(netns: &Netns, name: &str) -> Command {
    inside(netns, &program(name))
}

fn inside(netns: &Netns, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.path())).arg(program).stdin(Stdio::null());
    command
}

fn log_file(directory: &Path, name: &str) -> fs::File {
    let path = directory.join(format!("{name}.log"));
    fs::OpenOptions::new().create(true).append(true).open(path).expect("can be written")
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        // It may have ended by itself; then there is nothing to end.
        drop(child.kill());
        drop(child.wait());
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
