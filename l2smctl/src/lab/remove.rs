//! Removes a lab: everything that is ours, whatever state it is in, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::build::ip;
use super::commands::IpCommand;
use super::plan::{BPFFS, DIRECTORY, netns_path};
use super::process;
use super::state::{self, State};
use crate::progress::step;

/// Removes the lab that is up. Whether there was one.
///
/// # Errors
/// When something resists; it can be tried again.
pub(crate) fn down() -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        bail!("cannot remove the lab: only root can");
    }
    if let Some(state) = state::load()? {
        return step("removing the lab", || all(&state)).map(|()| true);
    }
    // A directory without a record is the trace of a start that got no further.
    let there = Path::new(DIRECTORY).exists();
    remove_tree(Path::new(DIRECTORY)).map(|()| there)
}

/// Removes all that the record names.
///
/// # Errors
/// After everything was tried, with all that failed.
pub(crate) fn all(state: &State) -> Result<()> {
    let steps = [
        ("programs", process::end(&state.processes)),
        ("processes in its namespaces", end_inside(state)),
        ("pins", remove_tree(Path::new(BPFFS))),
        ("namespaces", remove_namespaces(state)),
    ];
    let failed = steps.into_iter().filter_map(|(what, result)| Some((what, result.err()?)));
    let failed: Vec<_> = failed.map(|(what, error)| format!("{what}: {error:#}")).collect();
    if !failed.is_empty() {
        bail!("cannot remove the lab: {}", failed.join("; "));
    }
    // The record goes last: as long as something is left, `lab down` finds it.
    remove_tree(Path::new(DIRECTORY))
}

/// Ends what the user started in the lab: a namespace lives as long as a process in it.
fn end_inside(state: &State) -> Result<()> {
    let namespaces: Vec<_> = state.plan.namespaces().collect();
    process::end(&process::inside(&namespaces)?)
}

fn remove_namespaces(state: &State) -> Result<()> {
    let there = state.plan.namespaces().filter(|netns| netns_path(netns).exists());
    for netns in there {
        ip(&IpCommand::host(format!("netns del {netns}")))?;
    }
    Ok(())
}

/// Removes a directory and all in it. Succeeds when there is none.
fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_and_what_a_link_points_to_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, other) = (directory.path().join("tree"), directory.path().join("other"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/file"), "x").unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&other, tree.join("link")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(other.join("kept").exists());
    }
}
