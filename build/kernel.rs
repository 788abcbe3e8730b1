//! Builds the kernel programs (`l2sm-ebpf`) and puts the object where a crate embeds it from.
//! Part of build scripts (`#[path]`).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the object is made of, below the workspace.
const INPUTS: &[&str] = &[
    "build",
    "l2sm-ebpf/src",
    "l2sm-ebpf/Cargo.toml",
    "l2sm-common/src",
    "l2sm-common/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
];
/// The target of BPF on little-endian machines.
const TARGET: &str = "bpfel-unknown-none";
/// Where Debian has its compiler, with sources of the standard library in a package (rust-web-src).
const DEBIAN_BIN: &str = "/usr/bin";

/// Builds the object below `target/<directory>`, with these arguments of cargo besides, and copies it to
/// `name` in `OUT_DIR`. Objects that are built otherwise need directories of their own.
pub(crate) fn build(directory: &str, more: &[&str], name: &str) -> Result<(), String> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().ok_or("the crate is not in a workspace")?;
    for input in INPUTS {
        say(&format!("cargo::rerun-if-changed={}", workspace.join(input).display()));
    }
    let linker = find_linker()?;
    let toolchain = find_toolchain()?;
    let directory = workspace.join("target").join(directory);
    let mut cargo = Command::new("cargo");
    forget_outer_build(&mut cargo);
    cargo
        .current_dir(workspace)
        .args(["build", "--release", "--package", "l2sm-ebpf", "--target", TARGET])
        .args(["-Z", "build-std=core"])
        .args(more)
        .arg("--target-dir")
        .arg(&directory)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, &toolchain).join("\x1f"));
    if toolchain.is_debian {
        cargo.env_remove("RUSTUP_TOOLCHAIN");
    }
    let first = toolchain.is_debian.then(|| PathBuf::from(DEBIAN_BIN));
    cargo.env("PATH", search_path(first, linker)?);
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        // The rest of what it said is for whoever builds with -vv.
        let log = String::from_utf8_lossy(&output.stderr);
        say(&log);
        let errors = log.lines().filter(|line| line.starts_with("error"));
        let first = errors.map(str::to_owned).next();
        return Err(first.unwrap_or_else(|| format!("cargo ended with {}", output.status)));
    }
    let object = directory.join(TARGET).join("release/l2sm");
    let copy = PathBuf::from(variable("OUT_DIR")?).join(name);
    fs::copy(&object, copy).map(drop).map_err(|error| format!("{}: {error}", object.display()))
}

/// Flags for the object: with BTF, for which debug information is needed, and without paths of this
/// machine in it.
fn flags(workspace: &Path, toolchain: &Toolchain) -> Vec<String> {
    let mut flags: Vec<String> =
        ["-C", "debuginfo=2", "-C", "link-arg=--btf"].map(str::to_owned).into();
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    remap(workspace, "l2sm");
    if let Some(home) = cargo_home() {
        remap(&home, "cargo");
    }
    remap(&toolchain.sysroot, "rust");
    flags
}

/// Removes what the outer cargo told this script about another package, target and compiler (under
/// clippy: a wrapper that makes no objects).
fn forget_outer_build(cargo: &mut Command) {
    const PREFIXES: &[&str] = &["CARGO_", "RUSTC", "RUSTDOC", "DEP_"];
    const NAMES: &[&str] =
        &["RUSTFLAGS", "TARGET", "HOST", "OUT_DIR", "PROFILE", "DEBUG", "OPT_LEVEL", "NUM_JOBS"];
    const KEPT: &[&str] = &["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR"];
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names {
        let outer = NAMES.contains(&name.as_str())
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if outer && !KEPT.iter().any(|kept| name.starts_with(kept)) {
            cargo.env_remove(name);
        }
    }
}

/// A compiler that has the sources of `core`.
struct Toolchain {
    sysroot: PathBuf,
    is_debian: bool,
}

/// The compiler that builds this script, else Debian's.
fn find_toolchain() -> Result<Toolchain, String> {
    let ours = sysroot(Path::new(&variable("RUSTC")?));
    if let Some(sysroot) = ours.filter(|sysroot| has_sources(sysroot)) {
        return Ok(Toolchain { sysroot, is_debian: false });
    }
    let debian = Path::new(DEBIAN_BIN).join("rustc");
    if let Some(sysroot) = sysroot(&debian).filter(|sysroot| has_sources(sysroot)) {
        return Ok(Toolchain { sysroot, is_debian: true });
    }
    Err("the sources of the standard library (rust-src) are not installed; run `cargo xtask setup`"
        .to_owned())
}

/// Where a compiler's library is; `None`: it does not run.
fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// Whether `core` can be built from this sysroot.
fn has_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
}

/// The directory that has bpf-linker.
fn find_linker() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = cargo_home().map(|home| home.join("bin"));
    let mut places = env::split_paths(&path).chain(installed);
    places
        .find(|place| place.join("bpf-linker").is_file())
        .ok_or_else(|| "bpf-linker 0.13 is not installed; run `cargo xtask setup`".to_owned())
}

/// `PATH` with `first` before, and `last` after, what it has.
fn search_path(first: Option<PathBuf>, last: PathBuf) -> Result<std::ffi::OsString, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = first.into_iter().chain(env::split_paths(&path)).chain([last]);
    env::join_paths(places).map_err(|error| error.to_string())
}

/// Cargo's directory.
fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// A variable that cargo sets.
fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// Tells cargo, or whoever reads the log.
fn say(line: &str) {
    println!("{line}");
}
