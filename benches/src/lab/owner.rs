//! The process that answers for a run: it has another do the work, waits until that one and all that it
//! started have ended, and then removes what is left. So nothing is made any more while it removes,
//! however the run ended.

use std::{
    env, io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _, parent_id},
    process::{self, Child, Command, ExitCode, ExitStatus},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::waitpid,
    },
};

use super::leftovers;

/// The owner's number, told to the process that does the work.
const OWNER: &str = "L2SM_BENCH_OWNER";
/// What ends a run early.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Does `work` in a process of its own, which is this program once more, and leaves nothing of it. Before any other thread.
///
/// # Errors
/// The kernel refuses; in the process that works, its own.
pub fn run_owned(work: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    if told_owner().is_some() {
        return work();
    }
    prctl::set_child_subreaper(true).context("cannot adopt what the run leaves behind")?;
    let mut signals = SigSet::from_iter(ENDING);
    signals.add(Signal::SIGCHLD);
    signals.thread_block().context("cannot mask signals")?;
    let mut worker = start_worker().context("cannot start the process that measures")?;
    let code = wait(&mut worker, &signals);
    while matches!(waitpid(None, None), Ok(_) | Err(Errno::EINTR)) {}
    leftovers::remove_own();
    code
}

/// The process whose number is in the name of all that this run makes.
pub fn owner() -> u32 {
    told_owner().unwrap_or_else(process::id)
}

/// The owner, where this is the process that works for it.
fn told_owner() -> Option<u32> {
    let told = env::var(OWNER).ok()?.parse().ok()?;
    (told == parent_id()).then_some(told)
}

/// Starts this program once more, to die with this one.
fn start_worker() -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(OWNER, process::id().to_string());
    let before = || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(SigSet::all().thread_unblock()?)
    };
    // SAFETY: between fork and exec the closure only calls prctl and pthread_sigmask, which are async-signal-safe.
    unsafe { command.pre_exec(before) };
    command.spawn()
}

/// Waits for the end of the work, or ends it; what this process ends with.
fn wait(worker: &mut Child, signals: &SigSet) -> Result<ExitCode> {
    loop {
        let signal = signals.wait().context("cannot wait for a signal")?;
        if ENDING.contains(&signal) {
            worker.kill().and_then(|()| worker.wait()).context("cannot end the run")?;
            return Ok(code_of(signal as i32));
        }
        if let Some(status) = worker.try_wait().context("cannot wait for the run")? {
            return Ok(passed_on(status));
        }
    }
}

/// As a shell tells of it.
fn passed_on(status: ExitStatus) -> ExitCode {
    status.code().map_or_else(|| code_of(status.signal().unwrap_or(0)), code)
}

fn code_of(signal: i32) -> ExitCode {
    code(128 + signal)
}

fn code(number: i32) -> ExitCode {
    u8::try_from(number).map_or(ExitCode::FAILURE, ExitCode::from)
}
