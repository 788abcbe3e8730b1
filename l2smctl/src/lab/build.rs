//! Builds a lab, all or nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::commands::{self, IpCommand};
use super::daemon::Daemon;
use super::plan::{Plan, netns_path};
use super::process::{self, Process};
use super::state::State;
use super::{networks, remove, state};
use crate::agent;
use crate::progress::step;
use crate::say;

/// How long the controller or an agent may take to start. The agent loads its programs, which the
/// kernel verifies.
const START: Duration = Duration::from_secs(30);
/// How long the networks may take to be programmed everywhere.
const READY: Duration = Duration::from_secs(30);
/// How long one look at an agent may take.
const LOOK: Duration = Duration::from_secs(2);
/// Lines of the log that are shown of a program that failed.
const LOG_LINES: usize = 8;

/// Set when the user wants us to stop (Ctrl-C): what is built so far is removed.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Builds the lab of `plan`.
///
/// # Errors
/// When it cannot be built, and then nothing of it is left; when a lab is up, or something has the
/// name of one of its namespaces, and then nothing is touched.
pub(crate) fn up(plan: Plan) -> Result<State> {
    check(&plan)?;
    state::claim()?;
    let mut state = State::planned(plan);
    match build(&mut state) {
        Ok(()) => Ok(state),
        Err(error) => {
            show_logs(&state);
            let removed = step("removing what was built", || remove::all(&state));
            Err(match removed {
                Ok(()) => error,
                Err(left) => anyhow!("{error:#}; and something is left: {left:#}"),
            })
        }
    }
}

fn check(plan: &Plan) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("cannot build a lab: only root can make network namespaces");
    }
    if state::load()?.is_some() {
        bail!(state::ALREADY_UP);
    }
    if let Some(taken) = plan.namespaces().find(|netns| netns_path(netns).exists()) {
        bail!("there is a network namespace {taken}: it is not ours, and the lab needs the name");
    }
    Ok(())
}

fn build(state: &mut State) -> Result<()> {
    state.save()?;
    let plan = state.plan.clone();
    let nodes = plan.nodes.len();
    step(&format!("underlay and {}", count(nodes, "node")), || run(&commands::underlay(&plan)))?;
    step("controller", || start_controller(state))?;
    step(&count(nodes, "agent"), || start_agents(state))?;
    step(&count(plan.networks.len(), "network"), || networks::apply(&plan))?;
    step(&count(plan.pods.len(), "pod"), || attach_pods(state))?;
    step("every network on every node", || networks::wait_ready(READY))?;
    state.complete = true;
    state.save()
}

/// `1 node`, `2 nodes`.
fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn run(commands: &[IpCommand]) -> Result<()> {
    for command in commands {
        uninterrupted()?;
        ip(command)?;
    }
    Ok(())
}

/// Runs `ip`.
///
/// # Errors
/// With the command and what it said, when it fails.
pub(crate) fn ip(command: &IpCommand) -> Result<()> {
    let output = Command::new("ip").args(&command.arguments).stdin(Stdio::null()).output();
    let output = output.context("cannot run ip (of iproute2)")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("`{command}` failed: {}", said.lines().next().unwrap_or("it said nothing"))
}

fn start_controller(state: &mut State) -> Result<()> {
    let daemon = Daemon::controller();
    let process = start(state, &daemon)?;
    wait_started(&daemon, &process, networks::controller_answers)
}

fn start_agents(state: &mut State) -> Result<()> {
    let plan = state.plan.clone();
    let mut started = Vec::new();
    for node in &plan.nodes {
        make_directory(&node.directory())?;
        let daemon = Daemon::agent(node);
        started.push((node, start(state, &daemon)?, daemon));
    }
    for (node, process, daemon) in started {
        let answers = || agent::status(&node.socket(), LOOK).is_ok();
        wait_started(&daemon, &process, answers)?;
        let connected =
            || networks::connected_nodes().is_ok_and(|connected| connected.contains(&node.name));
        wait_started(&daemon, &process, connected)?;
    }
    Ok(())
}

fn attach_pods(state: &mut State) -> Result<()> {
    run(&commands::pods(&state.plan))?;
    for pod in state.plan.pods.clone() {
        uninterrupted()?;
        state.attached.push(networks::attach(&state.plan, &pod)?);
    }
    state.save()
}

/// Starts a program and records it.
fn start(state: &mut State, daemon: &Daemon) -> Result<Process> {
    uninterrupted()?;
    let process = Process::start(daemon)?;
    state.processes.push(process.clone());
    state.save()?;
    Ok(process)
}

fn wait_started(
    daemon: &Daemon,
    process: &Process,
    mut answers: impl FnMut() -> bool,
) -> Result<()> {
    let mut dead = false;
    let answered = process::wait_for(START, || {
        dead = !process.is_alive();
        dead || INTERRUPTED.load(Ordering::Relaxed) || answers()
    });
    uninterrupted()?;
    let log = daemon.log();
    if dead {
        let last = process::last_lines(&log, 1).join("");
        let said = last.strip_prefix("error: ").unwrap_or(&last);
        let said = if said.is_empty() { "it said nothing" } else { said };
        bail!("{} ended at its start: {said}", daemon.name);
    }
    if !answered {
        bail!("{} does not work: no answer in {} s", daemon.name, START.as_secs());
    }
    Ok(())
}

fn uninterrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted")
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot make {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Shows the ends of the logs: they are removed with the lab.
fn show_logs(state: &State) {
    let plan = &state.plan;
    let daemons = plan.nodes.iter().map(Daemon::agent).chain([Daemon::controller()]);
    for daemon in daemons {
        for line in process::last_lines(&daemon.log(), LOG_LINES) {
            say::progress(format_args!("{}: {line}\n", daemon.name));
        }
    }
}
