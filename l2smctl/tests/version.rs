//! `l2smctl version` where no cluster answers.
#![expect(clippy::unwrap_used, reason = "a test fails so")]

use std::process::{Command, Output};

/// `l2smctl version` of somebody who has no kubeconfig.
fn version(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_l2smctl"));
    command.arg("version").args(arguments).env_clear().env("HOME", home.path());
    command.output().unwrap()
}

#[test]
fn without_a_cluster_its_own_version_is_shown_and_then_the_error() {
    let output = version(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let own = format!("client     {} (git ", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&own) && text.lines().count() == 1, "{text}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: no cluster is known: "), "{error}");
}

#[test]
fn programs_get_it_as_json() {
    let output = version(&["-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["client"].as_str().unwrap().starts_with(env!("CARGO_PKG_VERSION")), "{answer}");
}

#[test]
fn of_itself_alone_it_asks_nobody() {
    let output = version(&["--client"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
