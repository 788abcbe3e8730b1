//! The benchmark itself, with one row: what it prints and leaves, and what it does not leave.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// The benchmark, in a directory of its own.
fn bench(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l2sm-bench"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// What is there of the run of a process: namespaces, pins, directories.
fn things_of(pid: u32) -> Vec<String> {
    let prefix = format!("l2sm-bench-{pid}-");
    let parents = ["/run/netns".into(), "/sys/fs/bpf".into(), std::env::temp_dir()];
    let parents = parents.map(fs::read_dir).into_iter().flatten();
    let names = parents.flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

#[test]
fn a_row_is_measured_written_down_and_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "pingpong_p50", "--rounds", "1"];
    let child = bench(directory.path(), &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();

    let output = child.wait_with_output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let results = fs::read(directory.path().join("target/bench/results.json")).unwrap();
    let results: Value = serde_json::from_slice(&results).unwrap();
    assert_eq!(results["rounds"], 1);
    let names: Vec<_> =
        results["rows"].as_array().unwrap().iter().map(|row| &row["measure"]).collect();
    assert_eq!(names, ["pingpong_p50", "pingpong_p99", "pingpong_p999", "pingpong_cpu"]);
    for variant in ["veth", "bridge", "kernel", "l2sm"] {
        assert!(results["rows"][0][variant].as_f64().unwrap() > 0.0, "{variant}: {text}");
    }
    assert_eq!(things_of(pid), [""; 0]);
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "udp64_pps", "--rounds", "500"];
    // While it makes the one after these, and once while it measures.
    for things in [1, 3, 6, 9, 12, 13] {
        let mut child = bench(directory.path(), &arguments).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        until("it has made so many", || things_of(pid).len() >= things);

        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGINT).unwrap();

        let status = wait(&mut child);
        assert_eq!(status.code(), Some(128 + 2), "with {things}");
        assert_eq!(things_of(pid), [""; 0], "with {things}");
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "udp64_pps", "--rounds", "500"];
    let mut child = bench(directory.path(), &arguments).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    until("it has made its namespaces", || things_of(pid).len() > 10);
    child.kill().unwrap();
    child.wait().unwrap();
    until_quiet(pid);
    assert!(!things_of(pid).is_empty(), "SIGKILL leaves no time to remove anything");

    let output =
        bench(directory.path(), &["--only", "encap_ns", "--rounds", "1"]).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(things_of(pid), [""; 0]);
}

#[test]
fn an_unknown_measure_is_refused_in_one_line_that_names_those_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let output = bench(directory.path(), &["--only", "pingpong"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with("error: --only pingpong: no such measure; there are pingpong_p50, "));
    assert_eq!(error.lines().count(), 1);
    assert!(output.stdout.is_empty());
}

#[expect(clippy::expect_used, reason = "part of a test")]
fn wait(child: &mut Child) -> std::process::ExitStatus {
    until("it ends", || child.try_wait().is_ok_and(|status| status.is_some()));
    child.wait().expect("it has ended")
}

/// Waits until what a process started, and did not live to see the end of, is done: for a second nothing
/// has come or gone.
fn until_quiet(pid: u32) {
    let (mut last, mut since) = (things_of(pid), Instant::now());
    until("it is quiet", || {
        let now = things_of(pid);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_secs(1)
    });
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
