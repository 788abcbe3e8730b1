//! What a machine has of all that building and testing takes. Looks and changes nothing.

use std::fs;

use anyhow::{Context, Result};

use crate::{command, workspace};

/// Programs that the tests and the demo call, and the Debian package of each.
pub(super) const PROGRAMS: [(&str, &str); 16] = [
    ("ip", "iproute2"),
    ("bpftool", "bpftool"),
    ("ping", "iputils-ping"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("nsenter", "util-linux"),
    ("dmesg", "util-linux"),
    ("git", "git"),
    ("nft", "nftables"),
    ("ovs-vswitchd", "openvswitch-switch"),
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("busybox", "busybox-static"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
];

/// Debian packages that bpf-linker is built with.
const LINKER_NEEDS: [&str; 4] = ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev"];

/// The bpf-linker that we build with: any release of this series.
const LINKER: &str = "bpf-linker 0.13.";

/// Debian's toolchain, for the kernel object alone, where rustup has no rust-src.
pub(super) const DEBIAN_RUST: [&str; 4] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];

/// Where the BPF file system belongs.
pub(super) const BPFFS: &str = "/sys/fs/bpf";

/// What a machine has.
pub(super) struct Found {
    pub(super) system: System,
    pub(super) root: bool,
    pub(super) rust: Rust,
    /// Version of bpf-linker, when it is one that we can use.
    pub(super) linker: Option<String>,
    /// Packages that bpf-linker is built with and that are missing; empty when `linker` is there.
    pub(super) linker_needs: Vec<&'static str>,
    /// Programs that are missing, with their Debian packages.
    pub(super) missing: Vec<(&'static str, &'static str)>,
    pub(super) bpffs: bool,
}

/// The operating system, as far as installing goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum System {
    /// Debian, or something that says it is like it.
    Debian,
    /// Anything else, by name.
    Other(String),
}

/// The Rust toolchain.
pub(super) struct Rust {
    /// The version that `rust-toolchain.toml` pins.
    pub(super) channel: String,
    pub(super) rustup: bool,
    pub(super) toolchain: bool,
    /// Whether clippy and rustfmt are there.
    pub(super) checkers: bool,
    pub(super) source: Source,
}

/// Where the source of Rust's core library, which the kernel object is built from, comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Rustup's component for the pinned toolchain.
    Rustup,
    /// Debian's toolchain, [`DEBIAN_RUST`].
    Debian,
    /// It is missing.
    Nowhere,
}

impl Found {
    /// Looks at this machine.
    ///
    /// # Errors
    /// When one of the kernel's or the workspace's own files cannot be read.
    pub(super) fn look() -> Result<Self> {
        let system = System::look();
        let linker = linker();
        let linker_needs = match (&linker, &system) {
            (None, System::Debian) => LINKER_NEEDS.into_iter().filter(|p| !package(p)).collect(),
            _ => Vec::new(),
        };
        let missing = PROGRAMS.into_iter().filter(|(name, _)| command::find(name).is_none());
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        Ok(Self {
            rust: Rust::look(&system)?,
            root: root()?,
            linker,
            linker_needs,
            missing: missing.collect(),
            bpffs: mounted(&mounts),
            system,
        })
    }

    /// What is there, in a few lines for the user.
    pub(super) fn describe(&self) -> Vec<String> {
        let source = match self.rust.source {
            Source::Rustup => "rust-src",
            Source::Debian => "rust-src of Debian's toolchain",
            Source::Nowhere => "no rust-src",
        };
        let programs: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
        vec![
            format!("rust {} with clippy, rustfmt, {source}", self.rust.channel),
            self.linker.clone().unwrap_or_else(|| "no bpf-linker".to_owned()),
            programs.join(", "),
            format!("BPF file system on {BPFFS}"),
        ]
    }
}

impl System {
    fn look() -> Self {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self::parse(&release)
    }

    /// Reads `ID` and `ID_LIKE` of os-release(5).
    fn parse(release: &str) -> Self {
        let field = |name: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches(['"', '\''])
        };
        let mut names = field("ID").split(' ').chain(field("ID_LIKE").split(' '));
        if names.any(|name| name == "debian") {
            return Self::Debian;
        }
        match field("ID") {
            "" => Self::Other("a system without /etc/os-release".to_owned()),
            name => Self::Other(name.to_owned()),
        }
    }
}

impl Rust {
    fn look(system: &System) -> Result<Self> {
        let channel = workspace::channel()?;
        let rustup = command::find("rustup").is_some();
        let parts = if rustup { installed(&channel) } else { None };
        let has = |name: &str| parts.iter().flatten().any(|part| part.starts_with(name));
        let source = match system {
            _ if has("rust-src") => Source::Rustup,
            System::Debian if DEBIAN_RUST.iter().all(|name| package(name)) => Source::Debian,
            System::Debian | System::Other(_) => Source::Nowhere,
        };
        Ok(Self {
            toolchain: parts.is_some(),
            checkers: has("clippy") && has("rustfmt"),
            source,
            channel,
            rustup,
        })
    }
}

/// The parts of the pinned toolchain that rustup installed; none when it has not installed it.
fn installed(channel: &str) -> Option<Vec<String>> {
    let mut list = command::new("rustup");
    list.args(["component", "list", "--installed", "--toolchain", channel]);
    Some(command::read(&mut list).ok()?.lines().map(str::to_owned).collect())
}

/// What bpf-linker calls itself, when it starts and is one that we can use.
fn linker() -> Option<String> {
    let version = command::read(command::new("bpf-linker").arg("--version")).ok()?;
    version.starts_with(LINKER).then(|| version.trim().to_owned())
}

/// Whether Debian's package `name` is installed.
fn package(name: &str) -> bool {
    let mut query = command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}", name]);
    command::read(&mut query).is_ok_and(|status| status == "installed")
}

/// Whether the table of mounts has the BPF file system where it belongs.
fn mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    })
}

/// Whether we run as root.
///
/// # Errors
/// When the kernel's own description of this process cannot be read.
pub(super) fn root() -> Result<bool> {
    let file = "/proc/self/status";
    let status = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    // Real, effective, saved and file-system user id.
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_what_is_like_it_are_told_from_the_rest() {
        assert_eq!(System::parse("NAME=x\nID=debian\n"), System::Debian);
        assert_eq!(System::parse("ID=ubuntu\nID_LIKE=\"debian\"\n"), System::Debian);
        assert_eq!(System::parse("ID=mint\nID_LIKE='ubuntu debian'\n"), System::Debian);
        assert_eq!(System::parse("ID=\"fedora\"\n"), System::Other("fedora".to_owned()));
        assert!(matches!(System::parse(""), System::Other(_)));
    }

    #[test]
    fn only_a_bpf_file_system_at_its_place_counts_as_mounted() {
        assert!(mounted("sysfs /sys sysfs rw 0 0\nnone /sys/fs/bpf bpf rw 0 0\n"));
        assert!(!mounted("none /mnt/sys/fs/bpf bpf rw 0 0\n"));
        assert!(!mounted("tmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
    }
}
