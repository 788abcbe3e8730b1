//! The lab's programs: started in their namespaces, known by process id and start time, and ended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{collections::BTreeSet, env};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::daemon::Daemon;
use super::plan::netns_path;

/// How long a program may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// A process, told from a later one with the same number by when it started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Name in listings.
    pub(crate) name: String,
    /// Process id.
    pub(crate) pid: i32,
    /// When it started, clock ticks after the machine did (field 22 of `/proc/PID/stat`).
    pub(crate) started: u64,
}

impl Process {
    /// Starts a daemon in its namespace. It outlives us: it has a session of its own, and what it
    /// prints goes to its log.
    pub(crate) fn start(daemon: &Daemon) -> Result<Self> {
        let program = find(daemon.program)?;
        let log = daemon.log();
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        // Not `ip netns exec`: that mounts a new /sys, where no pinned map is to be seen.
        let mut command = Command::new("setsid");
        command.arg("nsenter").arg(format!("--net={}", netns_path(&daemon.netns).display()));
        command.arg(&program).args(&daemon.arguments).current_dir("/");
        for flag in env::vars_os().filter_map(|(name, _)| is_flag(&name).then_some(name)) {
            command.env_remove(flag);
        }
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().context("cannot run setsid (of util-linux)")?;
        let pid = i32::try_from(child.id()).context("a process id out of range")?;
        // `setsid` and `nsenter` replace themselves by the program: all are one process.
        let started = started(pid).with_context(|| format!("{} ended at once", daemon.name))?;
        Ok(Self { name: daemon.name.clone(), pid, started })
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Sends a signal. Whether there was a process to get it.
    fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && signal::kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// Ends processes: asks all, waits, and kills those that do not.
///
/// # Errors
/// When one does not even end when killed.
pub(crate) fn end(processes: &[Process]) -> Result<()> {
    for way in [Signal::SIGTERM, Signal::SIGKILL] {
        for process in processes {
            process.signal(way);
        }
        if wait_for(PATIENCE, || processes.iter().all(|process| !process.is_alive())) {
            return Ok(());
        }
    }
    let left: Vec<_> = processes.iter().filter(|process| process.is_alive()).collect();
    let names: Vec<_> = left.iter().map(|left| format!("{} ({})", left.name, left.pid)).collect();
    bail!("cannot end {}: killed, and still there", names.join(", "))
}

/// Whether `condition` holds within `patience`.
pub(crate) fn wait_for(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// The processes whose network namespace is one of these, whoever started them.
pub(crate) fn inside(namespaces: &[&str]) -> Result<Vec<Process>> {
    let inode = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let ours: BTreeSet<_> = namespaces.iter().filter_map(|name| inode(&netns_path(name))).collect();
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.filter_map(|pid| {
        let namespace = inode(Path::new(&format!("/proc/{pid}/ns/net")))?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
        ours.contains(&namespace).then_some(Process { name, pid, started: started(pid)? })
    });
    Ok(found.collect())
}

/// The last lines of a log, without blank ones.
pub(crate) fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(count)).map(|&line| line.to_owned()).collect()
}

/// A program of ours: the file next to this program, else the one in `PATH`.
fn find(program: &str) -> Result<PathBuf> {
    let ourselves = env::current_exe().context("cannot find my own program file")?;
    let beside = ourselves.parent().map(|directory| directory.join(program));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|directory| directory.join(program));
    let found = beside.into_iter().chain(in_path).find(|file| file.is_file());
    found.with_context(|| {
        format!("cannot find {program}: neither beside {} nor in PATH", ourselves.display())
    })
}

/// Whether a variable stands for a flag of our programs. In the lab they have their own, but for
/// what is logged.
fn is_flag(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("L2SM_") && !name.starts_with("L2SM_LOG_")
}

/// When a process that runs started; `None` when there is none, or only what is left of one.
fn started(pid: i32) -> Option<u64> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(_unreadable) => return None,
    };
    start_time(&stat)
}

/// Field 22 of `/proc/PID/stat`; `None` for a zombie. Field 2, the name, may hold anything, so
/// counting begins after its closing parenthesis (`man proc_pid_stat`).
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // `state` is field 3.
    fields.nth(22 - 4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_past_any_name() {
        let rest = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 200";
        assert_eq!(start_time(&format!("7 (a) b) c) S {rest}")), Some(4711));
        assert_eq!(start_time(&format!("7 (dead) Z {rest}")), None);
        assert_eq!(start_time("nonsense"), None);
    }

    #[test]
    fn a_process_is_alive_until_it_is_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process { name: "sleep".into(), pid, started: started(pid).unwrap() };
        let other = Process { started: process.started + 1, ..process.clone() };
        assert!(process.is_alive());
        assert!(!other.is_alive(), "a later process with the same number is another one");
        end(std::slice::from_ref(&other)).unwrap();
        assert!(process.is_alive(), "ending the other one must not touch it");
        end(std::slice::from_ref(&process)).unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn the_last_lines_of_a_log_are_its_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(last_lines(&log, 2), ["two", "three"]);
        assert_eq!(last_lines(&directory.path().join("none"), 2), Vec::<String>::new());
    }

    #[test]
    fn flags_of_the_user_do_not_reach_the_lab() {
        assert!(is_flag(OsStr::new("L2SM_VTEP_IP")));
        assert!(!is_flag(OsStr::new("L2SM_LOG_LEVEL")) && !is_flag(OsStr::new("PATH")));
    }

    #[test]
    fn a_program_that_is_nowhere_is_named() {
        let error = find("l2sm-no-such-program").unwrap_err().to_string();
        assert!(error.starts_with("cannot find l2sm-no-such-program: neither beside "), "{error}");
    }
}
