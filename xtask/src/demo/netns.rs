//! Work inside a network namespace.

use std::fs::File;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

/// Does `work` inside the namespace `netns`, on a thread of its own: only that enters it. Sockets
/// made there stay there, wherever they are used.
///
/// # Errors
/// When the namespace is gone; those of `work`.
pub(crate) fn inside<T: Send>(netns: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = Path::new("/run/netns").join(netns);
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let result = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter {netns}"))?;
            work()
        });
        thread.join()
    });
    result.unwrap_or_else(|_panicked| Err(anyhow!("work inside {netns} failed")))
}
