//! `l2smctl detach`: takes a network namespace of this node out of a network.

use std::process::ExitCode;

use anyhow::Result;
use l2sm_api::socket::Detach;

use super::{Common, Netns};
use crate::agent;
use crate::say::{self, say};

/// Take a network namespace of this node out of a network.
///
/// Succeeds when there is nothing to undo.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl detach blue --netns /run/netns/web
  l2smctl detach blue --pid 4711 --ifname eth1")]
pub(crate) struct Args {
    /// The network.
    network: String,
    #[command(flatten)]
    netns: Netns,
    /// Name of the interface [default: all of that network].
    #[arg(long, value_name = "NAME")]
    ifname: Option<String>,
}

/// Detaches, and names the interfaces that are gone.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let request = Detach {
        network: Some(args.network.clone()),
        namespace: common.namespace().to_owned(),
        netns: args.netns.path()?,
        ifname: args.ifname.clone(),
        container_id: None,
    };
    let netns = request.netns.clone();
    let removed = agent::detach(common.socket(), request, common.timeout())?;
    if removed.is_empty() {
        say::progress(format_args!("{netns} is not attached to {}\n", args.network));
    }
    for ifname in removed {
        say!("{ifname} detached from {}", args.network);
    }
    Ok(ExitCode::SUCCESS)
}
