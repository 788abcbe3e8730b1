//! `cargo xtask demo`: two nodes, two networks with the same addresses, and what can be seen of them.

mod checks;
mod crossing;
mod forged;
mod lab;
mod maps;
mod netns;
mod pings;
mod sniffer;
mod status;
mod stream;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::checks::{Checks, heading};
use self::lab::Lab;
use crate::say::say;
use crate::{build, setup};

/// Show l2sm at work on this machine, in a lab of network namespaces. As root.
///
/// Sets up what is missing, builds, and makes a lab of two nodes with two networks that have the
/// same addresses. Then pings and TCP inside each network, over both nodes; frames sent from one
/// network at the other, of which none arrives; the drop counters that say why; and a BPF map as
/// bpftool shows it. Every check is a line with its figures. The lab stays up to look around in.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove the lab at the end, and fail unless every check held.
    #[arg(long)]
    check: bool,
}

/// Builds the lab, checks it, and leaves it up or removes it.
///
/// # Errors
/// When the lab cannot be built or looked at: no root, setup or build failed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !setup::is_root()? {
        bail!("the demo needs root: it loads programs and makes network namespaces");
    }
    setup::run()?;
    build::run(&build::Args { release: false })?;
    let lab = Lab::up()?;
    let mut checks = Checks::default();
    let shown = show(&lab, &mut checks);
    if args.check {
        lab.down(&mut checks)?;
    }
    shown?;
    say!("");
    say!("{}", checks.summary());
    if !args.check {
        look_around(&lab);
    }
    Ok(if checks.all_held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(lab: &Lab, checks: &mut Checks) -> Result<()> {
    heading("Inside each network, over both nodes");
    pings::check(lab, checks)?;
    stream::check(lab, checks)?;
    heading("From one network to the other");
    crossing::check(lab, checks)?;
    forged::check(lab, checks)?;
    heading("What a node counts (l2smctl status)");
    status::show(lab)?;
    heading("What is in the kernel (bpftool)");
    maps::check(lab, checks)
}

/// What to do in the lab that stays.
fn look_around(lab: &Lab) {
    let ctl = lab.l2smctl();
    say!("");
    say!("The lab is still up. Look around:");
    say!("  {ctl} lab status");
    say!("  {ctl} get networks,attachments,nodes --server lab");
    say!("  {ctl} lab exec {}", lab.example_ping());
    say!("  {ctl} status --socket {}", lab.first_node().socket);
    say!("  bpftool map dump pinned {}", lab.first_node().map("NEIGH"));
    say!("End it with:");
    say!("  {ctl} lab down");
}
