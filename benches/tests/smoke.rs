//! The benchmark itself, with one row: what it prints and leaves, and what it does not leave.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Where results go.
const RESULTS: &str = "target/bench/results.json";

/// The benchmark, in a directory of its own.
fn bench(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l2sm-bench"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// Held by each test: a run removes what runs that are gone left, and so would what another test made a
/// killed run leave.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is there of the run of a process: namespaces, pins, directories.
fn things_of(pid: u32) -> Vec<String> {
    let prefix = format!("l2sm-bench-{pid}-");
    let parents = ["/run/netns", "/sys/fs/bpf", "/run"].map(fs::read_dir).into_iter().flatten();
    let names = parents.flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Directories of the run of a process.
fn directories_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("/run/l2sm-bench-{pid}-");
    let entries = fs::read_dir("/run").into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().starts_with(&prefix)).collect()
}

#[test]
fn a_row_is_measured_written_down_and_nothing_is_left() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "pingpong_p50", "--rounds", "1"];
    let child = bench(directory.path(), &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();

    let output = child.wait_with_output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let results = fs::read(directory.path().join(RESULTS)).unwrap();
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
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "udp64_pps", "--rounds", "500"];
    let results = directory.path().join(RESULTS);
    fs::create_dir_all(results.parent().unwrap()).unwrap();
    fs::write(&results, "of an earlier run").unwrap();
    // While it makes the one after these, and once while it measures.
    for things in [1, 5, 12, 18, 22, 26] {
        let mut child = bench(directory.path(), &arguments).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        until("it has made so many", || things_of(pid).len() >= things);

        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGINT).unwrap();

        let status = wait(&mut child);
        assert_eq!(status.code(), Some(128 + 2), "with {things}");
        assert_eq!(things_of(pid), [""; 0], "with {things}");
        assert!(!results.exists(), "figures of an earlier run are still there");
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "udp64_pps", "--rounds", "500"];
    let mut child = bench(directory.path(), &arguments).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    until("it has made its directory", || !directories_of(pid).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    until_quiet(pid);
    assert!(!things_of(pid).is_empty(), "SIGKILL leaves no time to remove anything");
    let modes = directories_of(pid).into_iter().map(|path| fs::metadata(path).unwrap().mode());
    let modes: Vec<_> = modes.map(|mode| mode & 0o777).collect();
    assert_eq!(modes, [0o700], "a directory that nobody but root reads or writes");

    let output =
        bench(directory.path(), &["--only", "encap_ns", "--rounds", "1"]).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(things_of(pid), [""; 0]);
}

#[test]
fn a_full_disk_costs_the_file_and_not_the_verdict() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), Some("size=4k")).unwrap();
    let output = bench(directory.path(), &["--only", "encap_ns", "--check"]).output();
    let left = target.join("bench/results.json").exists();
    umount2(&target, MntFlags::MNT_DETACH).unwrap();

    let output = output.unwrap();
    let (text, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("encap_ns + decap_ns"), "{text}");
    assert!(text.contains("gate <= 120, target 90: "), "{text}");
    assert!(
        error.starts_with("error: cannot write target/bench/results.json: No space"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(!left, "half of a file");
}

#[test]
fn where_no_pods_can_be_made_the_rest_is_measured_and_the_run_fails() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    // Alone in its directory: the programs of the lab are not beside it.
    let program = directory.path().join("l2sm-bench");
    fs::copy(env!("CARGO_BIN_EXE_l2sm-bench"), &program).unwrap();
    let arguments = ["--only", "pingpong_p50", "--only", "encap_ns", "--rounds", "1"];
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(directory.path()).output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("left out: ")).unwrap();
    assert!(
        line.contains("needs pods: cannot make the lab: l2sm-controller is not built"),
        "{line}"
    );
    let results: Value =
        serde_json::from_slice(&fs::read(directory.path().join(RESULTS)).unwrap()).unwrap();
    assert_eq!(results["rows"][0]["measure"], "encap_ns");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with("error: 1 of 2 rows could not be measured"), "{error}");
}

#[test]
fn what_was_missed_before_the_rows_is_told_after_them_and_fails_the_run() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--only", "flood8_copy_ns", "--check", "--missed", "CNI ADD, p50"];
    let output = bench(directory.path(), &arguments).output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    let expected = [
        "written to target/bench/results.json",
        "before these rows: CNI ADD, p50",
        "--check: no bar is about flood8_copy_ns: nothing is judged",
    ];
    assert_eq!(lines, expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_unknown_measure_is_refused_in_one_line_that_names_those_that_there_are() {
    let _alone = alone();
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
