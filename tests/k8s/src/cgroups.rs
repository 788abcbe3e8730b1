//! A machine's control groups: one directory in each hierarchy (version 1), or one at all (version 2).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::places;

/// Where the kernel has them.
const ROOT: &str = "/sys/fs/cgroup";

/// What a group of `cpuset` has to have before a process can be in it.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// The name of a machine's group, as the kubelet is told of it.
pub fn name(machine: &str) -> String {
    format!("{}-{machine}", places::lab("l2sm"))
}

/// Makes the group of that name in each hierarchy.
///
/// # Errors
/// When the kernel does not let us.
pub fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        for file in CPUSET.iter().filter(|file| hierarchy.join(file).exists()) {
            let value = fs::read_to_string(hierarchy.join(file));
            value
                .and_then(|value| fs::write(group.join(file), value.trim()))
                .with_context(|| format!("cannot set {file} of {}", group.display()))?;
        }
    }
    Ok(())
}

/// Processes that are in the group, or below it, in any hierarchy.
///
/// # Errors
/// When the hierarchies cannot be listed.
pub fn processes(name: &str) -> Result<Vec<i32>> {
    let groups = hierarchies()?.into_iter().flat_map(|hierarchy| below(&hierarchy.join(name)));
    let listed = groups.filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
    let ids =
        listed.flat_map(|list| list.lines().filter_map(|id| id.parse().ok()).collect::<Vec<_>>());
    Ok(ids.collect())
}

/// Removes the group and those below it, from which all processes are gone.
///
/// # Errors
/// When one is not empty.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        for group in below(&hierarchy.join(name)) {
            fs::remove_dir(&group).with_context(|| format!("cannot remove {}", group.display()))?;
        }
    }
    Ok(())
}

/// Hierarchies that are mounted.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).context("no control groups")? {
        let path = entry.context("cannot list control groups")?.path();
        // Names for two at once (`cpu,cpuacct`) may have links beside them.
        if path.is_dir() && !path.is_symlink() {
            found.push(path);
        }
    }
    Ok(found)
}

/// A group and those below it, the deepest first; none when it is not there.
fn below(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        found.extend(below(&path));
    }
    if group.is_dir() {
        found.push(group.to_owned());
    }
    found
}
