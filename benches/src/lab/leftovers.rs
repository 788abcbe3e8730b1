//! What a killed run left behind, and the way out when this one is interrupted.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process, thread,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use super::{
    netns::{PREFIX, run},
    settings,
};

/// Removes namespaces, pins and directories of runs whose process is gone, and sets back what they set.
pub fn remove_of_others() {
    remove(|owner| !Path::new(&format!("/proc/{owner}")).exists());
}

/// Has SIGINT, SIGTERM and SIGHUP remove everything of this run and end it. Before any other thread.
///
/// # Errors
/// The kernel refuses.
pub fn remove_on_interrupt() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signals), None).context("cannot mask signals")?;
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if let Ok(signal) = signals.wait() {
                remove_own();
                // The agents die with us (PR_SET_PDEATHSIG).
                process::exit(128 + signal as i32);
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

fn remove_own() {
    remove(|owner| owner == process::id());
}

/// Removes what processes of which `is_gone` holds have made, and sets back what they have set. What cannot be removed stays: there is
/// nobody to tell.
fn remove(is_gone: impl Fn(u32) -> bool) {
    for name in entries(Path::new("/run/netns")).into_iter().filter(|name| owned(name, &is_gone)) {
        drop(run(process::Command::new("ip").args(["netns", "delete", &name])));
    }
    for parent in [PathBuf::from("/sys/fs/bpf"), env::temp_dir()] {
        for name in entries(&parent).into_iter().filter(|name| owned(name, &is_gone)) {
            settings::restore(&parent.join(&name));
            drop(fs::remove_dir_all(parent.join(name)));
        }
    }
}

fn owned(name: &str, is_gone: impl Fn(u32) -> bool) -> bool {
    owner(name).is_some_and(is_gone)
}

/// The process that made what has this name.
fn owner(name: &str) -> Option<u32> {
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
    use super::owner;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner("l2sm-bench-12-kernel-n1"), Some(12));
        assert_eq!(owner("l2sm-bench-x"), None);
        assert_eq!(owner("l2sm-t12-1-pod"), None);
    }
}
