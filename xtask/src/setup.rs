//! `cargo xtask setup`: makes a machine able to build and test l2sm.
//!
//! In three parts: [`found`] looks, [`plan`] decides what to do about it, and this file does it.

mod found;
mod plan;
mod step;

use anyhow::{Result, bail};

use self::found::{Found, System};
use self::plan::Plan;
use self::step::Step;
use crate::say::say;
use crate::{command, progress, workspace};

/// Install what building and testing takes, where it is missing.
///
/// On Debian, as root: packages by apt (iproute2, bpftool, ping, ethtool, tcpdump, nsenter, nftables,
/// Open vSwitch; etcd, containerd, runc, CNI plugins, busybox for the cluster of the tests; LLVM 22 to
/// build bpf-linker), the pinned Rust toolchain with rust-src, clippy and
/// rustfmt by rustup, bpf-linker by cargo, and the BPF file system mounted. Elsewhere it names what
/// to install. Doing it twice does nothing the second time.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Installs what is missing and says each thing it does in one line.
///
/// # Errors
/// When something is missing that it cannot install: not root, not Debian, or a step that failed.
pub(crate) fn run() -> Result<()> {
    let found = Found::look()?;
    let plan = plan::plan(&found);
    let found = if plan.is_empty() {
        say!("setup: everything is there");
        found
    } else {
        allowed(&plan, &found)?;
        for step in &plan.steps {
            take(step, &found.system)?;
        }
        complete(Found::look()?)?
    };
    for line in found.describe() {
        say!("  {line}");
    }
    Ok(())
}

/// Fails, naming all that is in the way, when the plan cannot be carried out by us.
fn allowed(plan: &Plan, found: &Found) -> Result<()> {
    if !plan.by_hand.is_empty() {
        say!("setup: install these by hand, then run this again:");
        for item in &plan.by_hand {
            say!("  {item}");
        }
        let why = match &found.system {
            System::Debian => "apt has none of it".to_owned(),
            System::Other(name) => format!("this is {name}, not Debian"),
        };
        bail!("setup: {} missing and not ours to install: {why}", plan.by_hand.len());
    }
    let steps = plan.steps.iter().filter(|step| step.needs_root());
    let commands: Vec<String> = steps.map(|step| command::typed(&step.command())).collect();
    if !found.root && !commands.is_empty() {
        bail!("setup needs root: run this as root, or there: {}", commands.join(" && "));
    }
    Ok(())
}

/// What was found after every step succeeded.
///
/// # Errors
/// When something is missing all the same: the steps did not do what they should have.
fn complete(found: Found) -> Result<Found> {
    let plan = plan::plan(&found);
    let titles = plan.steps.iter().map(Step::title).chain(plan.by_hand);
    let left: Vec<String> = titles.collect();
    if !left.is_empty() {
        bail!("setup: every step succeeded and this is still to do: {}", left.join("; "));
    }
    say!("setup: done");
    Ok(found)
}

/// Takes one step; where rustup has no rust-src, Debian's toolchain takes its place.
fn take(step: &Step, system: &System) -> Result<()> {
    let outcome = install(step);
    let (Step::RustSrc(_), System::Debian, Err(error)) = (step, system, &outcome) else {
        return outcome;
    };
    say!("setup: rustup has no rust-src ({error:#}): Debian's toolchain instead");
    install(&Step::AptUpdate)?;
    install(&Step::Apt(found::DEBIAN_RUST.to_vec()))
}

/// Whether we run as root.
///
/// # Errors
/// When the kernel's description of this process cannot be read.
pub(crate) fn is_root() -> Result<bool> {
    found::root()
}

fn install(step: &Step) -> Result<()> {
    let log = workspace::target_file("setup.log")?;
    let title = format!("setup: {}", step.title());
    progress::step(&title, || command::logged(&mut step.command(), &log))
}
