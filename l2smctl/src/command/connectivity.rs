//! `l2smctl connectivity test`: pods of its own on a cluster try each other.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};

use super::Common;
use crate::cluster::connectivity::{self, Check, Settings};
use crate::cluster::{self, PATIENCE};
use crate::output::AnswerFormat;
use crate::output::table::Table;
use crate::progress;
use crate::say;

/// Time to clean up, however the test ended.
const CLEAN_UP: Duration = Duration::from_mins(2);

/// Test networks on a Kubernetes cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Test(Test),
}

/// Start pods on two nodes in the namespace l2sm-test, and have them try each other.
///
/// Unicast, broadcast, isolation of another network, frames as large as the MTU. The namespace is
/// removed afterwards, also after Ctrl-C. Exit code 1 when a check fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl connectivity test
  l2smctl connectivity test --image registry.example/busybox:1")]
struct Test {
    /// The pods' image: it needs sh, awk and ping.
    #[arg(long, value_name = "IMAGE", default_value = "busybox:1")]
    image: String,
    /// How to show the checks.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: AnswerFormat,
}

/// Does the verb.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let Verb::Test(test) = &args.verb;
    let deadline = Instant::now() + common.timeout_or(PATIENCE);
    let settings = Settings { image: test.image.clone(), deadline };
    let checks = cluster::with(common, async |client| {
        let checks = tokio::select! {
            checks = Box::pin(try_each_other(client, &settings)) => checks,
            interrupted = Box::pin(interrupted()) => interrupted,
        };
        let cleaned = connectivity::clean_up(client, Instant::now() + CLEAN_UP);
        Box::pin(progress::step_of("cleaning up", cleaned)).await?;
        checks
    })?;
    test.output.show(&checks, table(&checks))?;
    let passed = checks.iter().all(|check| check.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn try_each_other(client: &Client, settings: &Settings) -> Result<Vec<Check>> {
    connectivity::run(client, settings, |line| say::progress(format_args!("{line}\n"))).await
}

/// Ends when the user wants the test to end.
async fn interrupted() -> Result<Vec<Check>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    bail!("interrupted")
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(["CHECK", "RESULT", "DETAIL"]);
    for check in checks {
        let result = if check.passed { "ok" } else { "FAILED" };
        table.row([check.name, result, &check.detail]);
    }
    table
}
