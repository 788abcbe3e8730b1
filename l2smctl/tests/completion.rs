//! What shells make of the scripts of `l2smctl completion`.
#![expect(clippy::unwrap_used, reason = "a test fails so")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

/// `l2smctl completion SHELL`, called by a name.
fn completion(called: &str, shell: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l2smctl"));
    command.arg0(called).args(["completion", shell]).output().unwrap()
}

fn script(called: &str, shell: &str) -> String {
    let output = completion(called, shell);
    assert!(output.status.success(), "{shell}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words.
fn offered(script: &str, words: &[&str]) -> Vec<String> {
    let (program, last) = (words.first().unwrap(), words.last().unwrap());
    let ask = "eval \"$SCRIPT\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               function=$(complete -p \"$1\" | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
               \"$function\" \"$1\" \"$LAST\" \"\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ask, program]).args(words);
    let output = bash.env("SCRIPT", script).env("LAST", last).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_and_what_follows_them() {
    let script = script("l2smctl", "bash");
    assert_eq!(offered(&script, &["l2smctl", "conn"]), ["connectivity"]);
    assert_eq!(offered(&script, &["l2smctl", "connectivity", "te"]), ["test"]);
    assert_eq!(offered(&script, &["l2smctl", "uninstall", "--pu"]), ["--purge"]);
}

#[test]
fn as_kubectls_plugin_it_completes_that_name() {
    let script = script("/usr/local/bin/kubectl-l2sm", "bash");
    assert_eq!(offered(&script, &["kubectl-l2sm", "unin"]), ["uninstall"]);
}

#[test]
fn zsh_and_fish_have_scripts_of_their_own() {
    assert!(script("l2smctl", "zsh").starts_with("#compdef l2smctl\n"));
    let fish = script("l2smctl", "fish");
    assert!(fish.lines().any(|line| line.starts_with("complete -c l2smctl ")), "{fish}");
}

#[test]
fn another_shell_is_bad_usage_that_names_the_ones_there_are() {
    let output = completion("l2smctl", "csh");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("csh") && error.contains("bash") && error.contains("zsh"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
