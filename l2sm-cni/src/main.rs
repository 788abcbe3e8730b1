//! `l2sm-cni`: the CNI plugin. A runtime runs it for each interface; it asks the agent of the node,
//! over its socket, and prints what the CNI specification wants (<https://www.cni.dev/docs/spec/>).
//!
//! Small on purpose: no threads, no runtime, no state of its own. Where no agent answers, DEL leaves
//! a note that the agent finds when it starts.
#![forbid(unsafe_code)]

mod agent;
mod chained;
mod environment;
mod failure;
mod input;
mod verbs;

use std::{
    env,
    io::{self, Read, Write},
    process::ExitCode,
};

use l2sm_api::cni::Version;
use serde_json::Value;

use self::{environment::Environment, failure::Failure};

/// Longest configuration, bytes: a result of many plugins fits.
const INPUT_MAX: u64 = 4 << 20;

/// What `--help` prints.
const HELP: &str = "\
l2sm-cni: the CNI plugin of l2sm. Container runtimes run it, with the environment variables
CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS, VERSION), CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME and
CNI_ARGS, and a network configuration on standard input:

  {\"cniVersion\": \"1.1.0\", \"name\": \"blue\", \"type\": \"l2sm\", \"network\": \"blue\"}

  network     the L2Network to join
  namespace   its namespace (default: K8S_POD_NAMESPACE of CNI_ARGS, else default)
  socket      the agent's socket (default: /run/l2sm/agent.sock)
  runtimeConfig: ips, mac   what the capabilities of these names ask for

Without network it is chained after the cluster's own plugin: what to join is in the pod's annotation
l2sm/networks (capability io.kubernetes.cri.pod-annotations), and the result is the plugin's before it.

Options: --help, --version
";

fn main() -> ExitCode {
    if let Some(option) = env::args().nth(1) {
        return answer_option(&option);
    }
    let mut input = Vec::new();
    let read = io::stdin().lock().take(INPUT_MAX).read_to_end(&mut input);
    let (version, done) = match read {
        Ok(_length) => run(&|name| env::var(name).ok(), &input),
        Err(why) => (Version::NEWEST, Err(Failure::io(format!("standard input: {why}")))),
    };
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(output)) => print(&output),
        Err(failure) => {
            print(&failure.into_json(version));
            ExitCode::FAILURE
        }
    }
}

/// Does what the environment says with the configuration `input`; the version in which to answer,
/// and what to print.
fn run(
    variable: &dyn Fn(&str) -> Option<String>,
    input: &[u8],
) -> (Version, Result<Option<Value>, Failure>) {
    // The version first, so that all else is told in it.
    let version = input::version(input);
    let done = Environment::read(variable).and_then(|environment| {
        let config = input::read(&environment, input)?;
        verbs::run(&environment, &config)
    });
    (version.unwrap_or(Version::NEWEST), done)
}

fn print(output: &Value) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{output}").and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line's own answer")]
fn answer_option(option: &str) -> ExitCode {
    match option {
        "--help" | "-h" => print!("{HELP}"),
        "--version" | "-V" => {
            println!("l2sm-cni {} (git {})", env!("CARGO_PKG_VERSION"), env!("L2SM_GIT_REVISION"));
        }
        other => {
            eprintln!("l2sm-cni: {other}: unknown option; see --help");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
