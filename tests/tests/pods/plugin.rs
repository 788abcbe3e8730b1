//! The plugin as a runtime runs it for a pod, and what is seen of it on the node.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use l2sm_tests::{
    cluster::{ClusterNode, program},
    netns::Netns,
};
use serde_json::{Value, json};

/// A pod, whose cluster network another plugin has made.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    uid: String,
    netns: String,
    ifname: String,
    arguments: String,
    config: Value,
    /// The result of the plugin before.
    pub(crate) previous: Value,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    /// What it printed; null: nothing.
    pub(crate) output: Value,
}

impl Pod {
    /// A pod of namespace `shop`, named as its UID, without the annotation.
    pub(crate) fn new(node: &ClusterNode, uid: &str, netns: &Netns) -> Self {
        let previous = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": netns.path(), "unknown": [1, {"x": null}]}],
            "ips": [{"interface": 0, "address": "10.244.0.5/24", "gateway": "10.244.0.1"}],
            "dns": {},
        });
        let config = json!({
            "cniVersion": "1.0.0", "name": "cluster", "type": "l2sm", "socket": node.socket(),
            "capabilities": {"io.kubernetes.cri.pod-annotations": true},
            "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a/b": "c"}},
            "prevResult": previous,
        });
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={uid};\
             K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID={uid}"
        );
        let (uid, ifname) = (uid.to_owned(), "eth0".to_owned());
        Self { uid, netns: netns.path(), ifname, arguments, config, previous }
    }

    /// The same with the annotation.
    #[must_use]
    pub(crate) fn networks(&self, annotation: &str) -> Self {
        let mut pod = self.clone();
        pod.config["runtimeConfig"]["io.kubernetes.cri.pod-annotations"]["l2sm/networks"] =
            annotation.into();
        pod
    }

    /// The same by a configuration with a network of its own, as Multus hands it on.
    #[must_use]
    pub(crate) fn network(&self, name: &str, namespace: &str) -> Self {
        let mut pod = self.clone();
        pod.config = json!({
            "cniVersion": "1.0.0", "name": name, "type": "l2sm", "network": name,
            "namespace": namespace, "socket": self.config["socket"],
        });
        pod
    }

    /// The same for another interface.
    #[must_use]
    pub(crate) fn interface(&self, name: &str) -> Self {
        Self { ifname: name.to_owned(), ..self.clone() }
    }

    /// The same from a runtime that does not tell the UID.
    #[must_use]
    pub(crate) fn without_uid(&self) -> Self {
        Self { arguments: "IgnoreUnknown=1".to_owned(), ..self.clone() }
    }

    /// Runs a verb for the container `<prefix>-<uid>`.
    pub(crate) fn run(&self, verb: &str, prefix: &str) -> Ran {
        let mut config = self.config.clone();
        if ["STATUS", "GC"].contains(&verb) {
            config["cniVersion"] = "1.1.0".into();
        }
        let container = format!("{prefix}-{}", self.uid);
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &container),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", &self.ifname),
            ("CNI_ARGS", &self.arguments),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        let mut command = Command::new(program("l2sm-cni"));
        command.env_clear().envs(variables);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the plugin is built");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(config.to_string().as_bytes()).expect("it reads its input");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "errors go to standard output");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        let value = value.unwrap_or_else(|why| panic!("{text}: {why}"));
        Ran { succeeded: output.status.success(), output: value }
    }
}

impl Ran {
    /// The code of an error.
    pub(crate) fn code(&self) -> u64 {
        assert!(!self.succeeded, "succeeded: {}", self.output);
        self.output["code"].as_u64().unwrap_or_else(|| panic!("{}", self.output))
    }

    pub(crate) fn message(&self) -> &str {
        self.output["msg"].as_str().unwrap_or_default()
    }
}

/// The record of a container, if there is one.
pub(crate) fn record(node: &ClusterNode, container: &str) -> Option<Value> {
    let record = fs::read(beside(node, "pods").join(container)).ok()?;
    Some(serde_json::from_slice(&record).expect("JSON"))
}

/// Notes of releases.
pub(crate) fn notes(node: &ClusterNode) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(beside(node, "releases")) else { return Vec::new() };
    entries.map(|entry| entry.expect("can be read").path()).collect()
}

/// Names of our host veths.
pub(crate) fn host_veths(node: &ClusterNode) -> Vec<String> {
    let links = node.netns.ip("-json link show type veth");
    let links: Value = serde_json::from_str(&links).expect("JSON");
    let names = links.as_array().into_iter().flatten();
    let names = names.filter_map(|link| link["ifname"].as_str());
    names.filter(|name| name.starts_with("l2sm")).map(str::to_owned).collect()
}

/// The process of the node's agent: it has the socket's path in its command line.
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

fn beside(node: &ClusterNode, name: &str) -> PathBuf {
    node.socket().parent().expect("a directory").join(name)
}
