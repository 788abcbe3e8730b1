//! Settings of the whole machine that make BPF programs slower than where they run in earnest: as
//! they should be for the run, and as they were after it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::netns::own_prefix;

/// A setting, what it should be, and what it does otherwise.
const WANTED: [(&str, &str, &str); 3] = [
    ("kernel/bpf_stats_enabled", "0", "takes the time of each run of a program"),
    ("net/core/bpf_jit_enable", "1", "interprets programs"),
    ("net/core/bpf_jit_harden", "0", "hides constants in programs"),
];
/// End of the name of the directory that holds the values before, a file for each setting changed: the
/// next run finds it when this one is killed.
const BEFORE: &str = "settings";

/// Keeps the settings until it is dropped.
#[derive(Debug)]
pub struct Settings(PathBuf);

impl Settings {
    /// Sets what is not as it should be; a line for each.
    ///
    /// # Errors
    /// A setting cannot be written, or its value not be kept.
    pub fn arrange() -> Result<(Self, Vec<String>)> {
        let settings = Self(env::temp_dir().join(own_prefix() + BEFORE));
        let mut lines = Vec::new();
        for (name, wanted, why) in WANTED {
            let Some(value) = read(name).filter(|value| value != wanted) else { continue };
            settings.keep(name, &value)?;
            fs::write(path(name), wanted).with_context(|| format!("cannot set {name}"))?;
            lines.push(format!("{name} is {value}, which {why}: {wanted} for this run"));
        }
        Ok((settings, lines))
    }

    fn keep(&self, name: &str, value: &str) -> Result<()> {
        let file = self.0.join(name);
        let parent = file.parent().context("a setting has a directory")?;
        fs::create_dir_all(parent).and_then(|()| fs::write(&file, value)).with_context(|| {
            format!("cannot keep what {name} was in {}: nothing is changed", file.display())
        })
    }

    /// What somebody has changed meanwhile: a line for each.
    pub fn disturbed(&self) -> Vec<String> {
        let other = |(name, wanted, why): (&str, &str, &str)| {
            let value = read(name).filter(|value| value != wanted)?;
            Some(format!("{name} became {value} during the run, which {why}: measure again"))
        };
        WANTED.into_iter().filter_map(other).collect()
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        restore(&self.0);
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Sets back what this directory of a run holds; nothing where it holds none.
pub(super) fn restore(directory: &Path) {
    for (name, _, _) in WANTED {
        if let Ok(value) = fs::read_to_string(directory.join(name)) {
            // Nothing to do about a failure on the way out.
            drop(fs::write(path(name), value));
        }
    }
}

/// The value; `None`: the kernel has no such setting.
fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).ok()?.trim().to_owned())
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}
