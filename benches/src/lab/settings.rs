//! Settings of the whole machine that make BPF programs slower than where they run in earnest: as
//! they should be for the run, and as they were after it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::netns::{DIRECTORIES, own_prefix};

/// Whether programs become instructions of the processor.
const JIT: &str = "net/core/bpf_jit_enable";
/// A setting, what it should be, and what it does otherwise.
const WANTED: [(&str, &str, &str); 3] = [
    ("kernel/bpf_stats_enabled", "0", "takes the time of each run of a program"),
    (JIT, "1", "interprets programs"),
    ("net/core/bpf_jit_harden", "0", "hides constants in programs"),
];
/// End of the name of the directory that holds the values before, a file for each setting changed: the
/// next run finds it when this one is killed.
const BEFORE: &str = "settings";

/// Keeps the settings until it is dropped.
#[derive(Debug)]
pub struct Settings {
    directory: PathBuf,
    /// Whether this run has made the directory.
    is_made: bool,
}

impl Settings {
    /// Sets what is not as it should be; a line for each.
    ///
    /// # Errors
    /// A setting cannot be written, or its value not be kept.
    pub fn arrange() -> Result<(Self, Vec<String>)> {
        let directory = Path::new(DIRECTORIES).join(own_prefix() + BEFORE);
        let mut settings = Self { directory, is_made: false };
        let mut lines = Vec::new();
        if read(JIT).is_none() {
            lines.push(format!(
                "there is no {JIT}: this kernel has no JIT, and interprets programs"
            ));
        }
        for (name, wanted, why) in WANTED {
            let Some(value) = read(name).filter(|value| value != wanted) else { continue };
            settings.keep(name, &value)?;
            fs::write(path(name), wanted).with_context(|| format!("cannot set {name}"))?;
            lines.push(format!("{name} is {value}, which {why}: {wanted} for this run"));
        }
        Ok((settings, lines))
    }

    fn keep(&mut self, name: &str, value: &str) -> Result<()> {
        let file = self.directory.join(name);
        let kept = self.make().and_then(|()| {
            fs::create_dir_all(file.parent().unwrap_or(&self.directory))?;
            fs::write(&file, value)
        });
        kept.with_context(|| {
            format!("cannot keep what {name} was in {}: nothing is changed", file.display())
        })
    }

    /// Makes the directory for root alone, unless this run has made it. Nobody else's is taken.
    fn make(&mut self) -> io::Result<()> {
        if !self.is_made {
            DirBuilder::new().mode(0o700).create(&self.directory)?;
            self.is_made = true;
        }
        Ok(())
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
        if self.is_made {
            restore(&self.directory);
            drop(fs::remove_dir_all(&self.directory));
        }
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
