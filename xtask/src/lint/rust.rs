//! The gates that are cargo's: format, clippy for both targets, documentation.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::finding::Tally;
use crate::command;

/// The target of the kernel object.
const BPF: &str = "bpfel-unknown-none";

/// Its own target directory: `-Z build-std` there would spoil the caches of the host's builds.
const BPF_TARGET_DIR: &str = "target/bpf";

/// Formatting.
pub(super) fn fmt() -> Result<Tally> {
    gate(command::cargo().args(["fmt", "--all", "--check"]))
}

/// Clippy for this machine.
pub(super) fn clippy() -> Result<Tally> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    gate(command::cargo().args(arguments))
}

/// Clippy for the BPF target: the crate that needs it most is mostly configured out elsewhere.
pub(super) fn bpf() -> Result<Tally> {
    let mut cargo = cargo_with_source()?;
    cargo.args(["clippy", "--release", "--package", "l2sm-ebpf", "-Z", "build-std=core"]);
    cargo.args(["--target", BPF, "--target-dir", BPF_TARGET_DIR, "--", "-D", "warnings"]);
    gate(cargo.env("RUSTC_BOOTSTRAP", "1"))
}

/// Documentation, of private items too.
pub(super) fn doc() -> Result<Tally> {
    let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    gate(command::cargo().args(arguments).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs a gate that is one command; what it finds it prints itself, and it counts as one.
fn gate(command: &mut Command) -> Result<Tally> {
    let passed = command::show(command)?;
    Ok(Tally { findings: usize::from(!passed), warnings: 0 })
}

/// A cargo that can build the core library: the pinned one, else Debian's (`cargo xtask setup`).
fn cargo_with_source() -> Result<Command> {
    let sysroot = command::read(command::new("rustc").args(["--print", "sysroot"]))?;
    if has_source(Path::new(sysroot.trim())) {
        return Ok(command::cargo());
    }
    let debian = Path::new("/usr");
    if !has_source(debian) || !debian.join("bin/cargo-clippy").is_file() {
        bail!("rust-src is missing: run `cargo xtask setup`");
    }
    let mut cargo = command::new(debian.join("bin/cargo"));
    cargo.env_remove("RUSTUP_TOOLCHAIN").env("RUSTC", debian.join("bin/rustc"));
    let path = format!("/usr/bin:{}", command::path().to_string_lossy());
    cargo.env("PATH", path);
    Ok(cargo)
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}
