//! `l2smctl install`: puts l2sm on a cluster.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use super::Common;
use crate::cluster::objects::Outcome;
use crate::cluster::{self, PATIENCE, install, status};
use crate::progress;
use crate::say::say;

/// Put l2sm on a Kubernetes cluster, or bring an installation up to date.
///
/// Applies what `kubectl apply -f deploy/l2sm.yaml` of this release would. The nodes need the images
/// l2sm/agent and l2sm/operator.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl install --wait
  l2smctl install --context staging --wait --timeout 10m")]
pub(crate) struct Args {
    /// Wait until the operator and every node are ready.
    #[arg(long)]
    wait: bool,
}

/// Installs, and waits if that is wished.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let deadline = Instant::now() + common.timeout_or(PATIENCE);
    cluster::with(common, async |client| {
        let said = |name: &str, outcome: Outcome| say!("{name} {}", outcome.word());
        Box::pin(install::install(client, said)).await?;
        if args.wait {
            let ready = cluster::until(deadline, async || {
                Ok(Box::pin(status::look(client)).await?.obstacle().map_or(Ok(()), Err))
            });
            Box::pin(progress::step_of("waiting for the operator and the nodes", ready)).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
