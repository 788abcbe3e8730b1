//! Network namespaces of the benchmark. All have one prefix and the number of the process that answers
//! for the run, so that what a killed run left is found by the next one.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use super::owner::owner;

/// What the names of all of them begin with.
pub const PREFIX: &str = "l2sm-bench-";
/// Where the directories of a run are. Only root makes anything there, so that what is found under
/// our names is ours: what a killed run left is read, and written to `/proc/sys`.
pub const DIRECTORIES: &str = "/run";

/// A network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

/// One end of a measurement: a namespace with its device and addresses.
#[derive(Debug)]
pub struct Pod {
    /// The namespace.
    pub netns: Netns,
    /// Its device.
    pub device: String,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its other address.
    pub v6: Ipv6Addr,
}

/// What the names of all that this run makes begin with.
pub fn own_prefix() -> String {
    format!("{PREFIX}{}-", owner())
}

impl Pod {
    /// Its address of a family.
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }
}

impl Netns {
    /// Makes `l2sm-bench-<pid>-<role>`, with loopback up.
    ///
    /// # Errors
    /// `ip` is missing, or a privilege.
    pub fn new(role: &str) -> Result<Self> {
        let name = format!("{}{role}", own_prefix());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self { name };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, without what all names begin with.
    pub fn role(&self) -> &str {
        self.name.strip_prefix(&own_prefix()).unwrap_or(&self.name)
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// A pin directory of its own.
    pub fn bpffs(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf").join(&self.name)
    }

    /// Runs `ip ARGUMENTS` inside.
    ///
    /// # Errors
    /// With what `ip` said.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Runs a program inside, in the mount namespace of the host: bpffs stays in view.
    ///
    /// # Errors
    /// With what the program said.
    pub fn run_program(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// A command that runs inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        command
    }

    /// Runs a closure inside, on a thread of its own.
    ///
    /// # Errors
    /// Its own, and those of entering.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter()?;
                inside()
            });
            worker.join().map_err(|_panic| anyhow!("a thread in {} panicked", self.name))?
        })
    }

    /// Moves the calling thread inside, for good.
    ///
    /// # Errors
    /// It is gone, or a privilege is missing.
    pub fn enter(&self) -> Result<()> {
        let file =
            File::open(self.path()).with_context(|| format!("cannot open {}", self.path()))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", self.name))
    }

    /// Writes a setting below `/proc/sys/net`.
    ///
    /// # Errors
    /// The kernel has no such setting.
    pub fn set(&self, path: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{path}");
        self.run(|| std::fs::write(&path, value).with_context(|| format!("cannot write {path}")))
    }

    /// Whether there is such a setting.
    pub fn has(&self, path: &str) -> bool {
        let path = format!("/proc/sys/net/{path}");
        self.run(|| Ok(std::fs::exists(&path)?)).unwrap_or(false)
    }

    /// MAC of a device inside, as text.
    ///
    /// # Errors
    /// There is no such device.
    pub fn mac(&self, device: &str) -> Result<String> {
        let links = self.ip(&format!("-json link show {device}"))?;
        let links: serde_json::Value = serde_json::from_str(&links).context("ip prints JSON")?;
        let mac = links.get(0).and_then(|link| link.get("address")?.as_str());
        mac.map(str::to_owned).with_context(|| format!("no device {device}"))
    }

    /// ifindex of a device inside.
    ///
    /// # Errors
    /// There is no such device.
    pub fn ifindex(&self, device: &str) -> Result<u32> {
        self.run(|| Ok(nix::net::if_::if_nametoindex(device)?))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Nothing to do about a failure on the way out; the next run removes what is left.
        drop(Command::new("ip").args(["netns", "delete", &self.name]).output());
    }
}

/// Joins two namespaces by a veth pair, both ends up.
///
/// # Errors
/// With what `ip` said.
pub fn join(a: (&Netns, &str), b: (&Netns, &str), mtu: u32) -> Result<()> {
    let ((netns_a, device_a), (netns_b, device_b)) = (a, b);
    netns_a.ip(&format!(
        "link add name {device_a} mtu {mtu} type veth peer name {device_b} mtu {mtu} netns {}",
        netns_b.name()
    ))?;
    netns_a.ip(&format!("link set {device_a} addrgenmode none up"))?;
    netns_b.ip(&format!("link set {device_b} addrgenmode none up"))?;
    Ok(())
}

/// Runs a program; what it printed.
///
/// # Errors
/// With what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
