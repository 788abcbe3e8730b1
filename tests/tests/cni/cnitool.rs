//! `cnitool` of the CNI project drives the plugin, by its own library as Multus and containerd do.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use l2sm_tests::{cluster::program, cnitool::build, netns::Netns};
use serde_json::{Value, json};

use super::{
    cluster,
    plugin::{Plugin, VERSIONS, assert_nothing_left, host_veths},
    pod,
};

/// `cnitool` with one configuration.
struct Tool {
    program: PathBuf,
    directory: tempfile::TempDir,
}

impl Tool {
    fn new(tool: PathBuf, plugin: &Plugin, version: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut inner = plugin.config.clone();
        let inner = inner.as_object_mut().expect("an object");
        inner.remove("name");
        inner.remove("cniVersion");
        inner.insert("capabilities".to_owned(), json!({"ips": true, "mac": true}));
        let list = json!({"cniVersion": version, "name": "blue-by-cni", "plugins": [inner]});
        fs::write(directory.path().join("10-blue.conflist"), list.to_string()).expect("written");
        // A runtime finds the plugin by its type.
        std::os::unix::fs::symlink(program("l2sm-cni"), directory.path().join("l2sm"))
            .expect("can be linked");
        Self { program: tool, directory }
    }

    fn run(&self, verb: &str, netns: &Netns, more: &[(&str, &str)]) -> Output {
        let directory = self.directory.path();
        Command::new(&self.program)
            .args([verb, "blue-by-cni", &netns.path()])
            .env("NETCONFPATH", directory)
            .env("CNI_PATH", directory)
            .env("CNI_IFNAME", "net1")
            .envs(more.iter().copied())
            .output()
            .expect("it runs")
    }

    fn succeeds(&self, verb: &str, netns: &Netns, more: &[(&str, &str)]) -> String {
        let output = self.run(verb, netns, more);
        let error = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "cnitool {verb}: {error}{said}");
        said
    }
}

#[test]
fn cnitool_drives_every_verb_in_every_version() {
    let Some(tool) = build("cnitool_drives_every_verb_in_every_version") else { return };
    let (cluster, plugin) = cluster();
    for version in VERSIONS {
        let (tool, pod) = (Tool::new(tool.clone(), &plugin, version), pod());
        let wish = [("CAP_ARGS", r#"{"ips": ["10.9.0.60/24"], "mac": "02:00:00:00:00:60"}"#)];
        let result = tool.succeeds("add", &pod, &wish);
        let result: Value = serde_json::from_str(&result).expect("a result");
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["ips"][0]["address"], "10.9.0.60/24");
        assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:60");
        if version != "0.3.1" {
            tool.succeeds("check", &pod, &[]);
            pod.ip("link set net1 mtu 1300");
            let damaged = tool.run("check", &pod, &[]);
            let said = String::from_utf8_lossy(&damaged.stderr);
            assert!(!damaged.status.success() && said.contains("MTU 1300"), "{said}");
        }
        if version == "1.1.0" {
            tool.succeeds("status", &pod, &[]);
            tool.succeeds("gc", &pod, &[]);
            assert_eq!(host_veths(&cluster.nodes[0]), Vec::<String>::new());
        }
        tool.succeeds("del", &pod, &[]);
        assert_nothing_left(&cluster);
    }
}
