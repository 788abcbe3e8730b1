//! `l2smctl` against a real controller.
#![expect(clippy::unwrap_used, reason = "a test fails so")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const BLUE: &str = "\
apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Network
metadata: {name: blue}
spec: {type: vnet, networkCIDR: 10.10.0.0/24, vni: 7}
";

/// A controller with an empty store; it ends with this value.
struct Controller {
    child: Child,
    url: String,
    directory: tempfile::TempDir,
}

impl Controller {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(program("l2sm-controller"))
            .args(["serve", "--insecure", "--listen", "127.0.0.1:0", "--store"])
            .arg(directory.path().join("store.redb"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address: SocketAddr = lines
            .find_map(|line| {
                let line = line.unwrap();
                line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
            })
            .unwrap();
        // Keeps reading, so that the child never waits for the pipe.
        drop(thread::spawn(move || lines.for_each(drop)));
        let controller = Self { child, url: format!("http://{address}"), directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !controller.ctl(&["status"]).status.success() {
            assert!(Instant::now() < deadline, "the controller does not answer");
            thread::yield_now();
        }
        controller
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_l2smctl"));
        command.args(["--server", &self.url]).args(arguments).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", error_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error of a command that fails with exit code 1.
    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        error_of(&output)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.directory.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program of ours, which `cargo xtask test` builds before the tests.
fn program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_l2smctl")).with_file_name(name);
    assert!(program.is_file(), "{} is not built", program.display());
    program
}

fn error_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn applying_creates_then_changes_nothing_then_configures() {
    let controller = Controller::start();
    let file = controller.write("blue.yaml", BLUE);
    let apply = ["apply", "-f", &file];

    let name = "l2network.l2sm.l2sm.k8s.local/blue";
    assert_eq!(
        controller.good(&["apply", "-f", &file, "--dry-run"]),
        format!("{name} created (dry run)\n")
    );
    assert_eq!(controller.good(&["get", "networks", "-o", "name"]), "");
    assert_eq!(controller.good(&apply), format!("{name} created\n"));
    assert_eq!(controller.good(&apply), format!("{name} unchanged\n"));
    fs::write(&file, BLUE.replace("vni: 7", "vni: 7, mtu: 1400")).unwrap();
    assert_eq!(controller.good(&apply), format!("{name} configured\n"));
}

#[test]
fn json_is_an_object_for_a_name_and_a_list_otherwise() {
    let controller = Controller::start();
    let file = controller.write("blue.yaml", BLUE);
    controller.good(&["apply", "-f", &file]);

    let one: Value =
        serde_json::from_str(&controller.good(&["get", "l2net", "blue", "-o", "json"])).unwrap();
    let all: Value =
        serde_json::from_str(&controller.good(&["get", "networks", "-A", "-o", "json"])).unwrap();
    assert_eq!(one.pointer("/status/vni"), Some(&7.into()));
    assert_eq!(all.pointer("/kind"), Some(&"List".into()));
    assert_eq!(all.pointer("/items/0"), Some(&one));
    let empty: Value =
        serde_json::from_str(&controller.good(&["get", "nodes", "-o", "json"])).unwrap();
    assert_eq!(empty.pointer("/items"), Some(&Value::Array(Vec::new())));
    assert!(controller.good(&["get", "L2Network", "blue", "-o", "wide"]).contains("10.10.0.0/24"));
    assert!(controller.good(&["describe", "network/blue"]).contains("Attachments:\n  none\n"));
}

#[test]
fn one_bad_document_keeps_all_others_out() {
    let controller = Controller::start();
    let good = controller.write("good.yaml", BLUE);
    let bad = controller.write(
        "bad.yaml",
        &format!(
            "{BLUE}---\n{}",
            BLUE.replace("10.10.0.0/24", "10.10.0.0/33").replace("blue", "red")
        ),
    );
    let taken = controller.write("taken.yaml", &BLUE.replace("blue", "red"));

    let error = controller.bad(&["apply", "-f", &good, "-f", &bad]);
    let begin = format!("error: {bad}: document 2 (L2Network \"red\"): spec.networkCIDR: ");
    assert!(error.starts_with(&begin) && error.lines().count() == 1, "{error}");
    let error = controller.bad(&["apply", "-f", &good, "-f", &taken]);
    let begin = format!("error: {taken}: document 1 (L2Network \"red\"): spec.vni: 7 is taken ");
    assert!(error.starts_with(&begin) && error.lines().count() == 1, "{error}");
    assert_eq!(controller.good(&["get", "networks", "-o", "name"]), "");
}

#[test]
fn what_is_deleted_is_gone_and_what_never_was_is_an_error() {
    let controller = Controller::start();
    let file = controller.write("blue.yaml", BLUE);
    controller.good(&["apply", "-f", &file]);

    let deleted = controller.good(&["delete", "network", "blue"]);
    assert_eq!(deleted, "l2network.l2sm.l2sm.k8s.local \"blue\" deleted\n");
    controller.good(&["wait", "--for=delete", "l2network/blue"]);
    assert!(controller.bad(&["delete", "-f", &file]).starts_with("error: "));
    controller.good(&["delete", "-f", &file, "--ignore-not-found"]);
    assert!(controller.bad(&["get", "l2net", "blue"]).ends_with("/blue in default: not found\n"));
    assert!(controller.bad(&["describe", "l2net", "blue"]).ends_with("not found\n"));
}

#[test]
fn waiting_ends_with_the_condition_or_says_what_is_in_the_way() {
    let controller = Controller::start();
    let file = controller.write("blue.yaml", BLUE);
    controller.good(&["apply", "-f", &file]);

    let met = controller.good(&["wait", "--for=condition=Ready", "l2net/blue", "--timeout", "10s"]);
    assert_eq!(met, "l2network.l2sm.l2sm.k8s.local/blue condition met\n");
    let error = controller.bad(&[
        "wait",
        "--for=condition=Ready=False",
        "l2net/blue",
        "--timeout",
        "200ms",
    ]);
    assert!(error.contains("timed out") && error.contains(": Ready is True: "), "{error}");
    assert!(
        controller.bad(&["wait", "--for=condition=Ready", "l2net/red"]).ends_with("not found\n")
    );
}

#[test]
fn bad_usage_exits_with_two_and_an_absent_controller_with_one() {
    let absent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_l2smctl"));
        command.args(arguments).env("L2SM_SERVER", &absent).output().unwrap()
    };
    for usage in [
        &["frobnicate"][..],
        &["get"],
        &["get", "frogs"],
        &["get", "networks", "--server", "nonsense"],
        &["delete", "network"],
        &["wait", "--for=ready", "network/blue"],
        &["attach", "blue"],
        &["attach", "blue", "--netns", "/x", "--pid", "1"],
        &["lab", "up", "--nodes", "0"],
    ] {
        assert_eq!(ctl(usage).status.code(), Some(2), "{usage:?}");
    }
    let refused = ctl(&["get", "networks"]);
    assert_eq!(refused.status.code(), Some(1));
    let error = error_of(&refused);
    assert!(error.contains(&absent) && error.contains("l2sm-controller serve"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
