//! The workspace we work on. Every verb runs with its root as the current directory, so paths are
//! relative to it, in the code and in what is printed.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where the verbs leave their own files.
const TARGET: &str = "target";

/// Makes the root of the workspace the current directory.
pub(crate) fn enter() -> Result<()> {
    let root = root().context("cannot find the workspace: run this as `cargo xtask` inside it")?;
    env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))
}

/// The directory above ours as cargo names it, else the nearest one that holds us.
fn root() -> Option<PathBuf> {
    if let Some(ours) = env::var_os("CARGO_MANIFEST_DIR") {
        return Path::new(&ours).parent().map(Path::to_owned);
    }
    let here = env::current_dir().ok()?;
    let root = here.ancestors().find(|directory| directory.join("xtask/Cargo.toml").is_file());
    root.map(Path::to_owned)
}

/// A file of ours under `target`, whose directory exists.
pub(crate) fn target_file(name: &str) -> Result<PathBuf> {
    fs::create_dir_all(TARGET).with_context(|| format!("cannot make {TARGET}"))?;
    Ok(Path::new(TARGET).join(name))
}

/// Removes a file, which need not exist.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The toolchain that `rust-toolchain.toml` pins.
pub(crate) fn channel() -> Result<String> {
    let file = "rust-toolchain.toml";
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    pinned(&text).with_context(|| format!("{file}: no line `channel = \"…\"`"))
}

/// The version that the workspace's packages have, which is also that of the images.
pub(crate) fn version() -> Result<String> {
    let file = "Cargo.toml";
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let package = text.split_once("[workspace.package]").map_or("", |(_, package)| package);
    let line = package.lines().find_map(|line| line.strip_prefix("version = "));
    let version = line.map(|version| version.trim_matches('"').to_owned());
    version.with_context(|| format!("{file}: the workspace has no version"))
}

fn pinned(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("channel")?.split_once('='));
    value.map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::pinned;

    #[test]
    fn the_pinned_channel_is_read() {
        assert_eq!(pinned("[toolchain]\nchannel = \"1.95.0\"\n").as_deref(), Some("1.95.0"));
        assert_eq!(pinned("[toolchain]\n"), None);
    }
}
