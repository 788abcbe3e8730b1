//! `cnitool` of the CNI project drives the plugin, by its own library as Multus and containerd do.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use l2sm_tests::{cluster::program, netns::Netns};
use serde_json::{Value, json};

use super::{
    cluster,
    plugin::{Plugin, VERSIONS, assert_nothing_left, host_veths},
    pod,
};

/// Its source, by the Go module proxy.
const SOURCE: &str = "github.com/containernetworking/cni/cnitool@v1.3.0";
/// A test that cannot run leaves a line in the file that this variable names (`cargo xtask test`).
const NOT_RUN: &str = "L2SM_NOT_RUN_FILE";

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
    let Some(tool) = build() else { return };
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

/// Builds `cnitool`, once; `None`: it cannot be had here, and the line that says so is left.
fn build() -> Option<PathBuf> {
    // target/debug/l2sm-cni
    let tools = program("l2sm-cni").ancestors().nth(2).expect("a target directory").join("tools");
    let built = tools.join("cnitool");
    if built.is_file() {
        return Some(built);
    }
    fs::create_dir_all(&tools).expect("can be made");
    let go = Command::new("go").args(["install", SOURCE]).env("GOBIN", &tools).output();
    let why = match go {
        Ok(output) if output.status.success() => return Some(built),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("go install {SOURCE}: {}", said.lines().last().unwrap_or_default())
        }
        Err(why) => format!("go, which builds {SOURCE}: {why}"),
    };
    leave_line(&format!("NOT RUN: cnitool_drives_every_verb_in_every_version, {why}"));
    None
}

fn leave_line(line: &str) {
    println!("{line}");
    let Some(file) = env::var_os(NOT_RUN) else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(Path::new(&file));
    writeln!(file.expect("can be written"), "{line}").expect("can be written");
}
