//! `l2smctl uninstall`: removes l2sm from a cluster.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use super::Common;
use crate::cluster::uninstall::{self, Wish};
use crate::cluster::{self, PATIENCE};
use crate::say::say;

/// Remove l2sm from a Kubernetes cluster and from its nodes.
///
/// Refuses while pods use networks. Networks and the other objects stay for a later installation,
/// unless --purge removes the definitions and with them all objects.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl uninstall
  l2smctl uninstall --purge --force")]
pub(crate) struct Args {
    /// Although pods use networks: they lose those interfaces.
    #[arg(long)]
    force: bool,
    /// Remove the definitions too, and all networks with them.
    #[arg(long)]
    purge: bool,
}

/// Removes everything.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let deadline = Instant::now() + common.timeout_or(PATIENCE);
    let wish = Wish { force: args.force, purge: args.purge, deadline };
    cluster::with(common, async |client| {
        if !Box::pin(uninstall::uninstall(client, &wish)).await? {
            say!("l2sm is not on this cluster");
        }
        Ok(ExitCode::SUCCESS)
    })
}
