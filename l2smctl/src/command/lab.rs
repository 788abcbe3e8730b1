//! `l2smctl lab`: nodes and pods as network namespaces of this machine.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;

use anyhow::{Context, Result};

use super::Misuse;
use crate::lab::build::{self, INTERRUPTED};
use crate::lab::plan::{Plan, Size};
use crate::lab::state::State;
use crate::lab::{exec, picture, remove, report, state};
use crate::output::AnswerFormat;
use crate::say::{self, say};

/// Build, look at and remove a lab: nodes and pods as network namespaces of this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Up(Up),
    /// Remove the lab, and all that is left of one.
    Down,
    Status(Status),
    Exec(Exec),
}

/// Build a lab: a real controller, and nodes with a real agent each.
///
/// Everything lives in network namespaces: nodes l2sm-n1, l2sm-n2, …, pods l2sm-n1-blue-1, …, and
/// l2sm-underlay, which has the switch between the nodes and the controller. All networks have the
/// same addresses, 10.10.0.0/24. Programs, sockets and logs: /run/l2sm-lab; BPF maps:
/// /sys/fs/bpf/l2sm-lab.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl lab up
  l2smctl lab up --nodes 3 --pods 2 --networks 2
  l2smctl lab exec n1-blue-1 -- ping -c 3 10.10.0.2
  l2smctl --server lab get networks")]
struct Up {
    /// Nodes.
    #[arg(long, value_name = "N", default_value_t = 2)]
    nodes: u32,
    /// Pods per network and node.
    #[arg(long, value_name = "M", default_value_t = 1)]
    pods: u32,
    /// Networks: blue, red, green, ….
    #[arg(long, value_name = "K", default_value_t = 1)]
    networks: u32,
    /// MTU of the underlay; the pods have 50 less.
    #[arg(long, value_name = "BYTES", default_value_t = 1600)]
    mtu: u32,
}

/// Show the lab: its programs, nodes and pods.
#[derive(Debug, clap::Args)]
struct Status {
    /// How to show it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: AnswerFormat,
}

/// Run a command in a pod (or a node, or beside the controller).
///
/// The exit code is the command's.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl lab exec n1-blue-1 -- ping -c 3 10.10.0.2
  l2smctl lab exec n1 -- tc filter show dev eth0 ingress
  l2smctl lab exec controller -- tcpdump -ni ul udp port 7000")]
struct Exec {
    /// n1-blue-1, n1 or controller; or the namespace's name.
    #[arg(value_name = "POD")]
    place: String,
    /// The command.
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

/// Does the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.verb {
        Verb::Up(up) => build_lab(up),
        Verb::Down => remove_lab(),
        Verb::Status(status) => show_status(status),
        Verb::Exec(exec) => exec::exec(&exec.place, &exec.command),
    }
}

fn build_lab(up: &Up) -> Result<ExitCode> {
    let &Up { nodes, pods, networks, mtu } = up;
    let size = Size { nodes, pods, networks, mtu };
    let plan = Plan::new(size).map_err(|unbuildable| Misuse(unbuildable.to_string()))?;
    notice_interrupts()?;
    let state = build::up(plan)?;
    show(&state);
    Ok(ExitCode::SUCCESS)
}

fn remove_lab() -> Result<ExitCode> {
    if !remove::down()? {
        say!("no lab is up");
    }
    Ok(ExitCode::SUCCESS)
}

fn show_status(status: &Status) -> Result<ExitCode> {
    let state = state::current()?;
    let report = report::look(&state);
    status.output.show(&report, &report)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(state: &State) {
    let table = report::pod_table(state);
    let picture = picture::draw(state);
    let next = report::next_steps(state);
    say::text(format_args!("\n{table}\n{picture}\n{next}"));
}

/// From now on Ctrl-C and a polite kill are noticed by the builder, which then removes what it
/// built.
fn notice_interrupts() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let (interrupt, terminate) = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        Ok::<_, std::io::Error>((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ))
    })?;
    let wait = async move {
        let (mut interrupt, mut terminate) = (interrupt, terminate);
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        INTERRUPTED.store(true, Ordering::Relaxed);
    };
    drop(thread::spawn(move || runtime.block_on(wait)));
    Ok(())
}
