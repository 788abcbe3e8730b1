//! Part of the build scripts: which git revision a program is built from, for `--version`.

use std::{path::Path, process::Command};

/// Sets `L2SM_GIT_REVISION` for the crate that is built; `unknown` outside a git worktree (a source
/// archive).
pub(crate) fn tell() {
    // The reflog changes with every commit and checkout.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let revision = git(&["rev-parse", "--short=12", "HEAD"]);
    let revision = revision.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=L2SM_GIT_REVISION={revision}");
}

/// What git says; `None`: it is not there, or this is no worktree.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
