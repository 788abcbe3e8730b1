//! A Kubernetes cluster of two nodes on this host: the program behind `cargo xtask cluster`, and the
//! first process of each of its machines.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to people")]

use std::{
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use l2sm_cluster::{init, lab::Lab, machine::Machine, places};
use nix::sys::signal::{SigSet, Signal};

#[derive(Parser)]
#[command(name = "l2sm-cluster", bin_name = "cargo xtask cluster")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring the cluster up.
    Up {
        /// Stay, and end the cluster when standard input ends or whoever started us does.
        #[arg(long)]
        hold: bool,
    },
    /// End the cluster, and remove all of it but its logs.
    Down {
        /// Fail as a program does that Ctrl-C ended.
        #[arg(long, hide = true)]
        interrupted: bool,
    },
    /// What runs, and where its files are.
    Status,
    /// Run kubectl as the administrator.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a program on a machine: control-plane, node1, node2.
    Exec {
        /// The machine.
        machine: String,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Import image archives on every node.
    Load {
        /// OCI archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// A machine's first process.
    #[command(hide = true)]
    Init {
        /// The machine.
        machine: String,
    },
}

fn main() -> ExitCode {
    run(Cli::parse().verb).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up { hold } => up(hold)?,
        Verb::Down { interrupted } => return down(interrupted),
        Verb::Status => status()?,
        Verb::Kubectl { arguments } => kubectl(&arguments)?,
        Verb::Exec { machine, command } => exec(&machine, &command)?,
        Verb::Load { archives } => load(&archives)?,
        Verb::Init { machine } => init::run(&machine)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings it up; Ctrl-C on the way ends it again.
fn up(hold: bool) -> Result<()> {
    end_on_signals()?;
    let began = Instant::now();
    Lab::up()?;
    println!("the cluster is up after {:.1} s", began.elapsed().as_secs_f64());
    if hold {
        io::copy(&mut io::stdin().lock(), &mut io::sink()).context("cannot read standard input")?;
        Lab::down()?;
    }
    Ok(())
}

/// Has a thread end the cluster when somebody wants this program to end.
fn end_on_signals() -> Result<()> {
    let mut stop = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        stop.add(signal);
    }
    // In all threads made from here on. The programs that we start begin with no signal blocked.
    stop.thread_block().context("cannot block signals")?;
    let ourselves = std::env::current_exe().context("cannot find my own program file")?;
    thread::spawn(move || {
        if let Ok(signal) = stop.wait() {
            eprintln!("{signal}: ending the cluster");
            // Ends all other threads, whatever they are doing, and lets go of the lock.
            let error = Command::new(ourselves).args(["down", "--interrupted"]).exec();
            eprintln!("error: cannot end the cluster: {error}");
        }
    });
    Ok(())
}

fn down(interrupted: bool) -> Result<ExitCode> {
    println!("{}", if Lab::down()? { "the cluster is gone" } else { "no cluster is up" });
    Ok(if interrupted { ExitCode::from(130) } else { ExitCode::SUCCESS })
}

fn status() -> Result<()> {
    let lab = Lab::here();
    let output = lab.kubectl(&["get", "nodes,pods", "-A", "-o", "wide"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    print!("{}", String::from_utf8_lossy(&output.stdout));
    println!(
        "kubeconfig {} (in network namespace {})",
        places::kubeconfig().display(),
        lab.control_plane.netns()
    );
    println!("logs {}", places::logs().display());
    Ok(())
}

fn kubectl(arguments: &[String]) -> Result<()> {
    let mut command = Lab::here().control_plane.command_in_netns("kubectl")?;
    command.env("KUBECONFIG", places::kubeconfig()).args(arguments);
    Err(command.exec()).context("cannot run kubectl")
}

fn exec(machine: &str, command: &[String]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("no program") };
    let error = Machine::named(machine).command(program)?.args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}

fn load(archives: &[PathBuf]) -> Result<()> {
    let absolute = archives.iter().map(std::path::absolute).collect::<io::Result<Vec<_>>>();
    Lab::here().load(&absolute.context("no current directory")?)
}
