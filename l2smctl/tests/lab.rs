//! The lab, built and removed for real. As root, on a machine without a lab.
#![expect(clippy::unwrap_used, reason = "a test fails so")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// There is one lab on a machine: the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// The right to make a lab. At its end the lab is removed, whatever the test did.
struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Turn {
    /// Waits for it. A lab of somebody else is not touched: the test fails.
    fn take() -> Self {
        let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(traces(), Vec::<String>::new(), "a lab is up already");
        Self(guard)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(ctl(&["lab", "down"]));
        drop(run(Path::new("ip"), &["netns", "del", STRANGER]));
    }
}

/// A namespace that a lab would need, made by a test.
const STRANGER: &str = "l2sm-n2";

fn beside(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_l2smctl")).with_file_name(name);
    assert!(program.is_file(), "{} is not built", program.display());
    program
}

fn ctl(arguments: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_l2smctl")), arguments)
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env_remove("L2SM_SERVER").output().unwrap()
}

fn good(arguments: &[&str]) -> String {
    let output = ctl(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", error_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lab's namespaces, files and pins.
fn traces() -> Vec<String> {
    let ours = |name: &str| {
        let node = name.strip_prefix("l2sm-n").and_then(|rest| rest.chars().next());
        name == "l2sm-underlay" || node.is_some_and(|first| first.is_ascii_digit())
    };
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten();
    let names = namespaces.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let directories = ["/run/l2sm-lab", "/sys/fs/bpf/l2sm-lab"].map(str::to_owned);
    let left = directories.into_iter().filter(|path| Path::new(path).exists());
    names.filter(|name| ours(name)).chain(left).collect()
}

#[test]
fn a_lab_works_and_leaves_nothing() {
    let _turn = Turn::take();
    let shown = good(&["lab", "up", "--nodes", "2", "--pods", "1", "--networks", "2"]);
    assert!(shown.contains("n2-red-1") && shown.contains(" eth0 192.0.2.2 "), "{shown}");

    let ping = |from: &str, to: &str| {
        ctl(&["lab", "exec", from, "--", "ping", "-n", "-q", "-c", "1", "-W", "2", to])
    };
    let status: Value = serde_json::from_str(&good(&["lab", "status", "-o", "json"])).unwrap();
    let pods = status["pods"].as_array().unwrap();
    assert_eq!(pods.len(), 4);
    for (from, to) in [("n1-blue-1", "n2-blue-1"), ("n2-red-1", "n1-red-1")] {
        let target = pods.iter().find(|pod| pod["name"] == to).unwrap();
        let address = target["ips"][0].as_str().unwrap().split('/').next().unwrap();
        assert!(ping(from, address).status.success(), "{from} to {to}");
    }

    assert_eq!(
        ctl(&["lab", "exec", "n1-blue-1", "--", "sh", "-c", "exit 7"]).status.code(),
        Some(7)
    );
    assert!(
        error_of(&ctl(&["lab", "exec", "n9-blue-1", "--", "true"])).contains("no pod n9-blue-1")
    );
    assert!(good(&["get", "networks", "--server", "lab", "-o", "name"]).contains("/red\n"));
    assert!(good(&["status", "--socket", "/run/l2sm-lab/n1/agent.sock"]).contains("default/blue"));
    let again = ctl(&["lab", "up"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(error_of(&again).starts_with("error: a lab is up: `l2smctl lab down`"), "{again:?}");

    good(&["lab", "down"]);
    assert_eq!(traces(), Vec::<String>::new());
    assert_eq!(good(&["lab", "down"]), "no lab is up\n");
}

#[test]
fn a_lab_whose_agents_fail_leaves_nothing_and_shows_what_they_said() {
    let _turn = Turn::take();
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name);
    for name in ["l2smctl", "l2sm-controller"] {
        fs::copy(beside(name), inside(name)).unwrap();
    }
    fs::write(inside("l2sm-agent"), "#!/bin/sh\necho 'error: no underlay: a test' >&2\nexit 1\n")
        .unwrap();
    fs::set_permissions(inside("l2sm-agent"), fs::Permissions::from_mode(0o755)).unwrap();

    let output = run(&inside("l2smctl"), &["lab", "up"]);

    assert_eq!(output.status.code(), Some(1));
    let error = error_of(&output);
    assert!(error.contains("agent-n1: error: no underlay: a test\n"), "{error}");
    assert!(
        error.ends_with("error: agent-n1 ended at its start: no underlay: a test\n"),
        "{error}"
    );
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn a_namespace_of_somebody_else_is_named_and_left_alone() {
    let _turn = Turn::take();
    let ip = |arguments: &[&str]| run(Path::new("ip"), arguments);
    assert!(ip(&["netns", "add", STRANGER]).status.success());

    let output = ctl(&["lab", "up"]);

    assert!(error_of(&output).contains("network namespace l2sm-n2: it is not ours"), "{output:?}");
    assert_eq!(good(&["lab", "down"]), "no lab is up\n");
    assert_eq!(traces(), [STRANGER]);
}
