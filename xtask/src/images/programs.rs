//! The programs of the images: static, so that an image holds nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::say::say;
use crate::{build, command, workspace};

/// The packages.
const PACKAGES: [&str; 3] = ["l2sm-agent", "l2sm-cni", "l2sm-operator"];

/// Builds the programs; the directory that they are in.
///
/// # Errors
/// When they do not build, or rustup has no standard library for the target.
pub(super) fn build(release: bool) -> Result<PathBuf> {
    let target = target();
    add(&target)?;
    let profile = if release { "image" } else { "image-test" };
    let mut cargo = command::cargo();
    cargo.args(["build", "--profile", profile, "--target", &target]);
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    // Of C there is only what works with any C library (ring): this host's compiler will do.
    cargo.env(format!("CC_{}", target.replace('-', "_")), "cc");
    let programs = build::build(cargo)?;
    for program in &programs {
        say!("built {program}");
    }
    let first = programs.first().context("cargo built no program")?;
    Path::new(first).parent().map(Path::to_owned).context("cargo built it nowhere")
}

/// The target: its C library is linked statically and resolves names by itself.
fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Has rustup add the standard library for the target, where it is missing.
fn add(target: &str) -> Result<()> {
    let library =
        command::read(command::new("rustc").args(["--print=target-libdir", "--target", target]));
    if library.is_ok_and(|directory| Path::new(directory.trim()).is_dir()) {
        return Ok(());
    }
    let channel = workspace::channel()?;
    let mut add = command::new("rustup");
    add.args(["target", "add", "--toolchain", &channel, target]);
    if !command::show(&mut add)? {
        bail!("rustup has no standard library for {target}: its message is above");
    }
    Ok(())
}
