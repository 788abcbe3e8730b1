//! A machine of the lab: namespaces, a first process that keeps them, services inside.

use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{cgroups, init, places, programs};

/// Time that a machine may take to come up or go, and a service to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time that processes have to end with their machine before each is ended.
const GRACE: Duration = Duration::from_secs(1);

/// How often we look whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// A machine, by name.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
}

/// A program that runs on a machine until it is stopped.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its program, which also names its log.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Service {
    /// A program with these arguments.
    pub fn new(program: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { program, arguments }
    }
}

impl Machine {
    /// The machine of that name, which need not be there.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of its network namespace.
    pub fn netns(&self) -> String {
        format!("{}-{}", places::lab("l2sm-k8s"), self.name)
    }

    /// A file of it, for which `path` is absolute there: for writing before the machine is there.
    pub fn own_file(&self, path: &str) -> PathBuf {
        places::machine_directory(&self.name).join(path.trim_start_matches('/'))
    }

    /// Makes its namespaces and starts its first process.
    ///
    /// # Errors
    /// When this host has one of that name, or cannot make it.
    pub fn create(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.netns()]))?;
        run(Command::new("ip").args(["-n", &self.netns(), "link", "set", "lo", "up"]))?;
        cgroups::create(&cgroups::name(&self.name))?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns()));
        command.args(["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"]);
        command.arg(programs::ourselves()?).args(["init", &self.name]);
        self.detach(command, "init")?;
        let what = format!("{} to come up", self.name);
        wait(&what, || Ok(self.init().is_ok())).with_context(|| tail(&self.name, "init"))
    }

    /// A program inside, not yet started.
    ///
    /// # Errors
    /// When the machine is not there.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init()?));
        command.args(["--mount", "--uts", "--ipc", "--pid", "--net", "--"]);
        command.arg(programs::find(program).unwrap_or_else(|_elsewhere| program.into()));
        Ok(command)
    }

    /// Runs a program inside; what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(program)?.args(arguments))
    }

    /// A program in its network namespace alone, with this host's files, not yet started.
    ///
    /// # Errors
    /// When the program is nowhere.
    pub fn command_in_netns(&self, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns())).arg(programs::find(program)?);
        Ok(command)
    }

    /// Starts a service, which stays when this program ends.
    ///
    /// # Errors
    /// When its program is not there.
    pub fn start(&self, service: &Service) -> Result<()> {
        programs::find(service.program)?;
        let mut command = self.command(service.program)?;
        command.args(&service.arguments);
        self.detach(command, service.program)
    }

    /// Ends a service by this signal, and waits until it is gone.
    ///
    /// # Errors
    /// When it was not running, or stays.
    pub fn stop(&self, program: &str, signal: Signal) -> Result<()> {
        let running = self.processes_of(program)?;
        ensure!(!running.is_empty(), "{program} does not run on {}", self.name);
        for id in &running {
            kill(*id, signal).with_context(|| format!("cannot end {program}"))?;
        }
        wait(&format!("{program} to end"), || Ok(self.processes_of(program)?.is_empty()))
    }

    /// Processes of a program inside, as this host numbers them. Containers' are among them.
    ///
    /// # Errors
    /// When the machine is not there.
    pub fn processes_of(&self, program: &str) -> Result<Vec<Pid>> {
        let ours = namespace(self.init()?, "pid")?;
        // Containers have process namespaces of their own, unless they ask for the host's.
        let contained = cgroups::processes(&cgroups::name(&self.name))?;
        let runs = |id: &Pid| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let here = || namespace(*id, "pid").is_ok_and(|theirs| theirs == ours);
            name == program.as_bytes() && (contained.contains(&id.as_raw()) || here())
        };
        Ok(all_processes().filter(runs).collect())
    }

    /// Ends everything inside and removes the machine. Does nothing where there is none.
    ///
    /// # Errors
    /// When something of it stays, with what that is.
    pub fn destroy(&self) -> Result<()> {
        if let Ok(init) = self.init() {
            // Ends all processes of its namespace, and those below, with it.
            kill(init, Signal::SIGKILL).with_context(|| format!("cannot end {}", self.name))?;
        }
        let group = cgroups::name(&self.name);
        let began = Instant::now();
        wait(&format!("the processes of {} to end", self.name), || {
            let mut left = self.processes_in_netns();
            left.extend(cgroups::processes(&group)?.into_iter().map(Pid::from_raw));
            // They are ending, or are ours to end: somebody's shell in the namespace, a half-made lab.
            for id in left.iter().filter(|_| began.elapsed() > GRACE) {
                kill(*id, Signal::SIGKILL).unwrap_or_default();
            }
            Ok(left.is_empty())
        })?;
        wait(&format!("the control groups of {} to go", self.name), || {
            Ok(cgroups::remove(&group).is_ok())
        })?;
        if PathBuf::from(format!("/run/netns/{}", self.netns())).exists() {
            run(Command::new("ip").args(["netns", "delete", &self.netns()]))?;
        }
        let directory = places::machine_directory(&self.name);
        match fs::remove_dir_all(&directory) {
            Err(error) if directory.exists() => {
                Err(error).with_context(|| format!("cannot remove {}", directory.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The first process, as this host numbers it.
    fn init(&self) -> Result<Pid> {
        let file = places::machine_directory(&self.name).join(init::PID_FILE);
        let id = fs::read_to_string(file).with_context(|| format!("{} is not up", self.name))?;
        let id = Pid::from_raw(id.parse().with_context(|| format!("{} is not up", self.name))?);
        // The number may be another's by now.
        let ours = fs::metadata(format!("/run/netns/{}", self.netns()));
        let ours = ours.with_context(|| format!("{} has no network", self.name))?.ino();
        ensure!(namespace(id, "net")? == ours, "{} is not up", self.name);
        Ok(id)
    }

    fn processes_in_netns(&self) -> Vec<Pid> {
        let Ok(netns) = fs::metadata(format!("/run/netns/{}", self.netns())) else {
            return Vec::new();
        };
        all_processes().filter(|id| namespace(*id, "net").is_ok_and(|n| n == netns.ino())).collect()
    }

    /// Starts a program that stays, with a log.
    fn detach(&self, mut command: Command, name: &str) -> Result<()> {
        let path = places::log(&self.name, name);
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let also = log.try_clone().context("cannot share a log")?;
        command.stdin(Stdio::null()).stdout(log).stderr(also).process_group(0);
        // Whoever started it may be this host's own terminal; a cluster does not end with it.
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        // Waited on by a thread: where this program stays, an ended service is not left a zombie.
        thread::spawn(move || drop(child.wait()));
        Ok(())
    }
}

/// Runs a command; what it printed.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until `ready` says so.
///
/// # Errors
/// When it does not in time, or fails.
pub fn wait(what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !ready()? {
        ensure!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        thread::sleep(LOOK);
    }
    Ok(())
}

/// The last lines of a log, for an error.
pub fn tail(machine: &str, service: &str) -> String {
    let path = places::log(machine, service);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let last = text.trim().lines().next_back().unwrap_or("it said nothing");
    format!("{} ends with: {last}", path.display())
}

fn all_processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}

/// The inode of a process' namespace.
fn namespace(id: Pid, kind: &str) -> Result<u64> {
    let path = format!("/proc/{id}/ns/{kind}");
    Ok(fs::metadata(&path).with_context(|| format!("no {path}"))?.ino())
}
