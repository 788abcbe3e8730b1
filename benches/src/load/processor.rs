//! Processors: pinning threads, and what they spent.

use std::fs;

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, gettid},
};

/// The processors that clients and servers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// Of clients.
    pub first: usize,
    /// Of servers; `None`: there is one processor only.
    pub second: Option<usize>,
}

impl Processors {
    /// The first two that this process may use.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn allowed() -> Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0)).context("cannot read the CPU affinity")?;
        let mut allowed = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
        let first = allowed.next().context("no CPU is allowed")?;
        Ok(Self { first, second: allowed.next() })
    }

    /// Where servers run.
    pub fn of_servers(&self) -> usize {
        self.second.unwrap_or(self.first)
    }
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// It is not allowed there.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// The schedstat file of the calling thread.
pub fn own_account() -> String {
    format!("/proc/self/task/{}/schedstat", gettid())
}

/// The schedstat files of the kernel's softirq threads.
///
/// # Errors
/// `/proc` cannot be read.
pub fn softirq_accounts() -> Result<Vec<String>> {
    let mut accounts = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let path = entry?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            accounts.push(path.join("schedstat").to_string_lossy().into_owned());
        }
    }
    Ok(accounts)
}

/// Time that the task of an account has run, ns.
///
/// # Errors
/// The task is gone, or the kernel keeps no such account (`CONFIG_SCHED_INFO`).
pub fn read_account(account: &str) -> Result<u64> {
    let text = fs::read_to_string(account).with_context(|| format!("cannot read {account}"))?;
    let time = text.split_whitespace().next().and_then(|time| time.parse().ok());
    time.with_context(|| format!("{account}: expected a number"))
}
