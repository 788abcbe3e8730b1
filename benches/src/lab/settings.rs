//! Settings of the whole machine that make BPF programs slower than where they run in earnest: as
//! they should be for the run, and as they were after it.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

/// A setting, what it should be, and what it does otherwise.
const WANTED: [(&str, &str, &str); 3] = [
    ("kernel/bpf_stats_enabled", "0", "takes the time of each run of a program"),
    ("net/core/bpf_jit_enable", "1", "interprets programs"),
    ("net/core/bpf_jit_harden", "0", "hides constants in programs"),
];

/// What was changed, with the value before.
static CHANGED: Mutex<Vec<(&str, String)>> = Mutex::new(Vec::new());

/// Keeps the settings until it is dropped.
#[derive(Debug)]
pub struct Settings(());

impl Settings {
    /// Sets what is not as it should be; a line for each.
    ///
    /// # Errors
    /// A setting cannot be written.
    pub fn arrange() -> Result<(Self, Vec<String>)> {
        let (settings, mut lines) = (Self(()), Vec::new());
        for (name, wanted, why) in WANTED {
            let Some(value) = read(name).filter(|value| value != wanted) else { continue };
            fs::write(path(name), wanted).with_context(|| format!("cannot set {name}"))?;
            lines.push(format!("{name} is {value}, which {why}: {wanted} for this run"));
            CHANGED.lock().unwrap_or_else(PoisonError::into_inner).push((name, value));
        }
        Ok((settings, lines))
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
        restore();
    }
}

/// Sets everything back.
pub(super) fn restore() {
    for (name, value) in CHANGED.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // Nothing to do about a failure on the way out.
        drop(fs::write(path(name), value));
    }
}

/// The value; `None`: the kernel has no such setting.
fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).ok()?.trim().to_owned())
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}
