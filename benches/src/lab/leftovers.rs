//! What a run leaves behind: of this one when it ends in whatever way, of earlier ones that were killed.

use std::{fs, path::Path, process};

use super::{
    netns::{DIRECTORIES, PREFIX, run},
    owner::owner,
    settings,
};

/// Removes namespaces, pins and directories of runs whose process is gone, and sets back what they set. Before this
/// run makes anything: what has its own number is of an earlier process that had it.
pub fn remove_earlier() {
    remove(|of| of == owner() || !Path::new(&format!("/proc/{of}")).exists());
}

/// Removes those of this run. Complete only when all of its processes have ended: one at work goes on making things.
pub fn remove_own() {
    remove(|of| of == owner());
}

/// Removes what processes of which `is_gone` holds have made, and sets back what they have set. What cannot be removed stays: there is
/// nobody to tell.
fn remove(is_gone: impl Fn(u32) -> bool) {
    for name in entries(Path::new("/run/netns")).into_iter().filter(|name| owned(name, &is_gone)) {
        drop(run(process::Command::new("ip").args(["netns", "delete", &name])));
    }
    for parent in ["/sys/fs/bpf", DIRECTORIES].map(Path::new) {
        for name in entries(parent).into_iter().filter(|name| owned(name, &is_gone)) {
            settings::restore(&parent.join(&name));
            drop(fs::remove_dir_all(parent.join(name)));
        }
    }
}

fn owned(name: &str, is_gone: impl Fn(u32) -> bool) -> bool {
    owner_of(name).is_some_and(is_gone)
}

/// The process that made what has this name.
fn owner_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::owner_of;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner_of("l2sm-bench-12-kernel-n1"), Some(12));
        assert_eq!(owner_of("l2sm-bench-x"), None);
        assert_eq!(owner_of("l2sm-t12-1-pod"), None);
    }
}
