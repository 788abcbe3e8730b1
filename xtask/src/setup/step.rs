//! The things that setup can do, each of them one command.

use std::process::Command;

use super::found::BPFFS;
use crate::command;

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Fetch Debian's lists of packages.
    AptUpdate,
    /// Install these Debian packages.
    Apt(Vec<&'static str>),
    /// Install this Rust toolchain.
    Toolchain(String),
    /// Add clippy and rustfmt to this toolchain.
    Checkers(String),
    /// Add the source of the core library to this toolchain.
    RustSrc(String),
    /// Build and install bpf-linker.
    Linker,
    /// Mount the BPF file system.
    Bpffs,
}

impl Step {
    /// What the step does, for the user.
    pub(super) fn title(&self) -> String {
        match self {
            Self::AptUpdate => "fetching Debian's package lists".to_owned(),
            Self::Apt(packages) => format!("installing {}", packages.join(", ")),
            Self::Toolchain(channel) => format!("installing Rust {channel}"),
            Self::Checkers(channel) => format!("adding clippy and rustfmt to Rust {channel}"),
            Self::RustSrc(channel) => format!("adding rust-src to Rust {channel}"),
            Self::Linker => "building bpf-linker 0.13 with LLVM 22 (a minute)".to_owned(),
            Self::Bpffs => format!("mounting the BPF file system on {BPFFS}"),
        }
    }

    /// Whether only root may.
    pub(super) fn needs_root(&self) -> bool {
        match self {
            Self::AptUpdate | Self::Apt(_) | Self::Bpffs => true,
            Self::Toolchain(_) | Self::Checkers(_) | Self::RustSrc(_) | Self::Linker => false,
        }
    }

    /// The command that does it.
    pub(super) fn command(&self) -> Command {
        match self {
            Self::AptUpdate => words("apt-get update"),
            Self::Apt(packages) => apt_install(packages),
            Self::Toolchain(channel) => {
                words(&format!("rustup toolchain install {channel} --profile minimal"))
            }
            Self::Checkers(channel) => add(channel, "clippy rustfmt"),
            Self::RustSrc(channel) => add(channel, "rust-src"),
            Self::Linker => linker(),
            Self::Bpffs => words(&format!("mount -t bpf bpf {BPFFS}")),
        }
    }
}

/// The command that these words, none of which holds a blank, make.
fn words(words: &str) -> Command {
    let mut words = words.split(' ');
    let mut command = command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

fn add(channel: &str, components: &str) -> Command {
    words(&format!("rustup component add --toolchain {channel} {components}"))
}

fn apt_install(packages: &[&str]) -> Command {
    // Another apt may be at work, on a machine that has just started above all: wait for it.
    let options = "--yes --no-install-recommends -o DPkg::Lock::Timeout=120";
    let mut command = words(&format!("apt-get install {options}"));
    command.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    // Tests start what they need by themselves: systemd is not to start a package's service
    // (openvswitch-switch has one). Without an init system, `invoke-rc.d` starts none.
    command.env("SYSTEMD_OFFLINE", "1");
    command
}

fn linker() -> Command {
    let mut command = command::cargo();
    command.args(["install", "bpf-linker", "--version", "^0.13", "--locked"]);
    command.args(["--no-default-features", "--features", "llvm-22"]);
    command.env("LLVM_PREFIX", "/usr/lib/llvm-22");
    command
}
