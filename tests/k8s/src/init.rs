//! A machine's first process: makes the machine's view of files, then waits on those whom nobody else
//! waits on. Runs in namespaces of its own (mounts, processes, host name) and in the machine's network.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::{
        signal::{SigSet, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
};

use crate::places;

/// Directories that a machine writes to without this host's seeing it.
const OWN: [&str; 3] = ["etc", "opt", "var"];

/// Directories that hold other overlays or many mounts: not overlays themselves.
const PLAIN: [(&str, &str); 2] =
    [("kubelet", "/var/lib/kubelet"), ("containerd", "/var/lib/containerd")];

/// What a kubelet sets when it starts (`pkg/kubelet/cm/container_manager_linux.go`,
/// `setupKernelTunables`). They are the whole host's: the kubelet finds them set, and they are not.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The file in a machine's directory that has its first process' id; empty until all is mounted.
pub const PID_FILE: &str = "pid";

/// Makes the machine and stays.
///
/// # Errors
/// When something cannot be mounted.
pub fn run(machine: &str) -> Result<()> {
    let directory = places::machine_directory(machine);
    // Through this host's /proc: the id that this host knows us by.
    let pid = fs::read_link("/proc/self").context("cannot read /proc/self")?;
    for name in OWN {
        overlay(&directory, name)?;
    }
    for (name, place) in PLAIN {
        fs::create_dir_all(place).with_context(|| format!("cannot make {place}"))?;
        bind(&made(directory.join(name))?, Path::new(place))?;
    }
    let shown = made(directory.join("shown"))?;
    // Opened before this host's /run goes out of view.
    let mut told = File::create(directory.join(PID_FILE)).context("cannot write the pid")?;
    fresh("proc", "/proc")?;
    tunables(&shown)?;
    fresh("bpf", "/sys/fs/bpf")?;
    fs::write("/proc/sys/kernel/hostname", machine).context("cannot name the host")?;
    hide_run()?;
    share()?;
    told.write_all(pid.as_os_str().as_encoded_bytes()).context("cannot write the pid")?;
    reap()
}

/// An own layer of files over a directory of this host.
fn overlay(directory: &Path, name: &str) -> Result<()> {
    let place = Path::new("/").join(name);
    let upper = made(directory.join(name))?;
    let work = made(directory.join("work").join(name))?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        place.display(),
        upper.display(),
        work.display()
    );
    mount(Some("overlay"), &place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("cannot mount an overlay on {}", place.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot bind {} to {}", from.display(), to.display()))
}

fn fresh(kind: &str, place: &str) -> Result<()> {
    mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {kind} on {place}"))
}

/// Has the kubelet see its tunables set.
fn tunables(shown: &Path) -> Result<()> {
    for (name, value) in TUNABLES {
        let file = shown.join(name.replace('/', "."));
        fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        bind(&file, &Path::new("/proc/sys").join(name))?;
    }
    Ok(())
}

/// Mounts made below pass on to the containers of this machine, as on a machine of its own.
fn share() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("cannot share mounts")
}

/// A `/run` without this host's sockets.
fn hide_run() -> Result<()> {
    fresh("tmpfs", "/run")?;
    made(PathBuf::from("/run/netns")).map(drop)
}

fn made(directory: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// Waits on children, our own and those that lost their parents, for ever.
fn reap() -> Result<()> {
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    ended.thread_block().context("cannot block SIGCHLD")?;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => {
                ended.wait().context("cannot wait for SIGCHLD")?;
            }
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for children"),
        }
    }
}
