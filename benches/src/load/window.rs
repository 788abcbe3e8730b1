//! A slot of traffic: threads start, settle, are watched for a while, and stop.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{
    Ends,
    processor::{own_account, pin, read_account},
};

/// How long traffic runs.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Before it is watched.
    pub settle: Duration,
    /// While it is watched.
    pub watch: Duration,
}

/// Time that a slot takes besides: sockets, threads.
const BESIDES: Duration = Duration::from_millis(50);

impl Slot {
    /// About how long it takes.
    pub fn total(&self) -> Duration {
        self.settle + self.watch + BESIDES
    }
}

/// What was seen while traffic was watched.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Units of work: what the receiving end counted.
    pub work: u64,
    /// Time spent by the crew's threads and the kernel's softirq threads, ns.
    pub cpu_ns: u64,
    /// How long it was.
    pub elapsed: Duration,
}

impl Window {
    /// Work a second.
    pub fn rate(&self) -> f64 {
        self.work as f64 / self.elapsed.as_secs_f64()
    }

    /// Itself, unless nothing was done: then something is broken, and 0 is no figure.
    ///
    /// # Errors
    /// No work, called `what` (one of them).
    pub fn with_work(self, what: &str) -> Result<Self> {
        ensure!(self.work > 0, "no {what} arrived within {} ms", self.elapsed.as_millis());
        Ok(self)
    }

    /// CPU time for one unit of work, ns; `None`: nothing was done.
    pub fn cpu_per_unit(&self) -> Option<f64> {
        (self.work > 0).then(|| self.cpu_ns as f64 / self.work as f64)
    }
}

/// The threads of a slot.
#[derive(Debug)]
pub struct Crew {
    name: String,
    stop: AtomicBool,
    watched: AtomicBool,
    work: AtomicU64,
    accounts: Mutex<Vec<String>>,
}

impl Crew {
    /// Nobody yet; `softirq`: accounts of the kernel's own threads. The threads are called after the
    /// client's namespace: `perf report --comm l2sm-a` shows ours alone.
    pub fn new(ends: &Ends<'_>, softirq: &[String]) -> Self {
        Self {
            name: ends.client.role().to_owned(),
            stop: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            work: AtomicU64::new(0),
            accounts: Mutex::new(softirq.to_vec()),
        }
    }

    /// Starts a thread on a processor; its time counts.
    pub fn spawn<'scope, 'env, T: Send + 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        cpu: usize,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, Result<T>> {
        self.start(scope, cpu, true, work)
    }

    /// Starts a thread whose time does not count: background load.
    pub fn spawn_aside<'scope, 'env, T: Send + 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        cpu: usize,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, Result<T>> {
        self.start(scope, cpu, false, work)
    }

    fn start<'scope, 'env, T: Send + 'scope>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        cpu: usize,
        counts: bool,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, Result<T>> {
        scope.spawn(move || {
            pin(cpu)?;
            name_thread(&self.name)?;
            if counts {
                self.accounts.lock().unwrap_or_else(PoisonError::into_inner).push(own_account());
            }
            work(self)
        })
    }

    /// Whether the slot is over.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether it is being watched.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Counts work that was done.
    pub fn count(&self, units: u64) {
        self.work.fetch_add(units, Ordering::Relaxed);
    }

    /// Lets traffic settle, watches it, and ends the slot whatever happens.
    ///
    /// # Errors
    /// An account cannot be read: a thread has ended, for instance.
    pub fn watch(&self, slot: Slot) -> Result<Window> {
        thread::sleep(slot.settle);
        let window = self.window(slot.watch);
        self.watched.store(false, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        window
    }

    fn window(&self, time: Duration) -> Result<Window> {
        let cpu_before = self.cpu_ns()?;
        let (work_before, before) = (self.work.load(Ordering::Relaxed), Instant::now());
        self.watched.store(true, Ordering::Relaxed);
        thread::sleep(time);
        let (work, elapsed) = (self.work.load(Ordering::Relaxed) - work_before, before.elapsed());
        Ok(Window { work, cpu_ns: self.cpu_ns()? - cpu_before, elapsed })
    }

    fn cpu_ns(&self) -> Result<u64> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        accounts.iter().map(|account| read_account(account)).sum()
    }
}

fn name_thread(name: &str) -> Result<()> {
    let name = std::ffi::CString::new(name).context("a name has no zero byte")?;
    nix::sys::prctl::set_name(&name).context("cannot name a thread")
}

/// What a thread of the crew returned.
///
/// # Errors
/// Its own.
pub(super) fn join<T>(handle: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().map_err(|_panic| anyhow!("a thread of the load generator panicked"))?
}
