//! Runs `l2sm-cni` as a container runtime does.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use l2sm_tests::{
    cluster::{Cluster, ClusterNode, program},
    netns::Netns,
};
use serde_json::{Value, json};

/// Versions of the specification that the plugin speaks.
pub(crate) const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The plugin, with a configuration for one node and the network `blue`.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) config: Value,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    /// What it printed; null: nothing.
    pub(crate) output: Value,
}

impl Plugin {
    pub(crate) fn new(node: &ClusterNode) -> Self {
        let config = json!({
            "cniVersion": "1.1.0", "name": "blue-by-cni", "type": "l2sm", "network": "blue",
            "socket": node.socket(),
        });
        Self { config }
    }

    /// The same with another value in its configuration.
    #[must_use]
    pub(crate) fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut other = self.clone();
        other.config[key] = value.into();
        other
    }

    /// Runs a verb for the interface `net1` of a container.
    pub(crate) fn run(&self, verb: &str, container: &str, netns: &str) -> Ran {
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", netns),
            ("CNI_IFNAME", "net1"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        run(&variables, self.config.to_string().as_bytes())
    }

    /// ADD, which must succeed; its result.
    pub(crate) fn add(&self, container: &str, netns: &Netns) -> Value {
        let ran = self.run("ADD", container, &netns.path());
        assert!(ran.succeeded, "ADD {container}: {}", ran.output);
        ran.output
    }

    /// DEL, which must succeed and say nothing.
    pub(crate) fn del(&self, container: &str, netns: &str) {
        let ran = self.run("DEL", container, netns);
        assert!(ran.succeeded && ran.output.is_null(), "DEL {container}: {}", ran.output);
    }

    /// CHECK with the result of ADD; `None`: nothing is wrong.
    pub(crate) fn check(&self, container: &str, netns: &Netns, result: &Value) -> Option<String> {
        let told = self.with("prevResult", result.clone());
        let ran = told.run("CHECK", container, &netns.path());
        if ran.succeeded {
            assert!(ran.output.is_null(), "CHECK: {}", ran.output);
            return None;
        }
        assert_eq!(ran.output["code"], 100, "{}", ran.output);
        ran.output["msg"].as_str().map(str::to_owned)
    }
}

impl Ran {
    /// The code of an error that has the specification's form.
    pub(crate) fn code(&self) -> u64 {
        let Self { succeeded, output } = self;
        assert!(!succeeded, "succeeded: {output}");
        assert!(output["cniVersion"].is_string() && output["msg"].is_string(), "{output}");
        let message = self.message();
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        output["code"].as_u64().unwrap_or_else(|| panic!("{output}"))
    }

    pub(crate) fn message(&self) -> &str {
        self.output["msg"].as_str().unwrap_or_default()
    }
}

/// Runs the plugin with just these variables.
pub(crate) fn run(variables: &[(&str, &str)], input: &[u8]) -> Ran {
    let mut command = Command::new(program("l2sm-cni"));
    command.env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the plugin is built");
    child.stdin.take().expect("piped").write_all(input).expect("it reads its input");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "errors go to standard output");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let output_value = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{text}: {why}"))
    };
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "exit code {code:?}: {text}");
    Ran { succeeded: code == Some(0), output: output_value }
}

/// Names of our host veths on a node.
pub(crate) fn host_veths(node: &ClusterNode) -> Vec<String> {
    let links = node.netns.ip("-json link show type veth");
    let links: Value = serde_json::from_str(&links).expect("JSON");
    let names = links.as_array().into_iter().flatten();
    let names = names.filter_map(|link| link["ifname"].as_str());
    names.filter(|name| name.starts_with("l2sm")).map(str::to_owned).collect()
}

/// Asserts that there is nothing of any attachment: no object, no veth, no note.
pub(crate) fn assert_nothing_left(cluster: &Cluster) {
    assert_eq!(cluster.get("attachments"), Vec::<Value>::new());
    for node in &cluster.nodes {
        assert_eq!(host_veths(node), Vec::<String>::new());
        assert_eq!(notes(node), Vec::<PathBuf>::new());
    }
}

/// Notes of releases beside the agent's socket.
pub(crate) fn notes(node: &ClusterNode) -> Vec<PathBuf> {
    let directory = node.socket().parent().expect("a directory").join("releases");
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.expect("can be read").path()).collect()
}

/// The process of a node's agent: it has the socket's path in its command line.
pub(crate) fn agent_pid(node: &ClusterNode) -> nix::unistd::Pid {
    let socket = node.socket();
    let of = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let is_agent = words.next().is_some_and(|word| word.ends_with(b"l2sm-agent"));
        let is_its = words.any(|word| Path::new(&*String::from_utf8_lossy(word)) == socket);
        (is_agent && is_its).then_some(nix::unistd::Pid::from_raw(pid))
    };
    let found = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).find_map(of);
    found.expect("the agent runs")
}
