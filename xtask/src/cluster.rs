//! `cargo xtask cluster`: a Kubernetes of two nodes on this machine, in namespaces.

mod golang;
mod kubernetes;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{build, command, images, setup};

/// The package of the program that does it.
const PACKAGE: &str = "l2sm-cluster";

/// A Kubernetes of two nodes on this machine, in namespaces. As root.
///
/// A real API server, kubelets, containerd and kube-proxy, none of which touches this machine's own
/// network. `up` gets and builds what is missing (Kubernetes itself once, by Go: some minutes);
/// images that `cargo xtask images` has left are imported. One at a time is on a machine.
#[derive(clap::Args)]
#[command(disable_help_flag = true, arg_required_else_help = true)]
pub(crate) struct Args {
    /// up, down, status, kubectl ARGUMENTS, exec MACHINE PROGRAM, load ARCHIVE; or --help.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

/// Gets what a cluster takes and hands over to its program.
///
/// # Errors
/// When something cannot be got, or built.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.arguments.first().is_some_and(|verb| verb == "up") {
        if !setup::is_root()? {
            bail!("a cluster needs root: it makes namespaces");
        }
        setup::run()?;
        prepare()?;
    }
    let error = Command::new(program()?).args(&args.arguments).exec();
    Err(error).context("cannot run the cluster's program")
}

/// Gets what a cluster takes: Kubernetes' programs and the images of pods that are not ours.
///
/// # Errors
/// When something cannot be got, or built.
pub(crate) fn prepare() -> Result<()> {
    kubernetes::build()?;
    images::lab()
}

/// Builds the program.
///
/// # Errors
/// When it does not build.
pub(crate) fn program() -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--quiet", "--package", PACKAGE]);
    let programs = build::quietly(cargo)?;
    programs.into_iter().next().map(PathBuf::from).context("cargo built no l2sm-cluster")
}
