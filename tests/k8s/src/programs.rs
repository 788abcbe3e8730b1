//! Where the programs of the lab are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::places;

/// The variable by which envtest, too, is told of a directory of Kubernetes' programs.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// Directories that a login shell may leave out of `PATH`.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Plugins of the node's main network, where Debian has them.
pub const CNI_PLUGINS: &str = "/usr/lib/cni";

/// The program of that name.
///
/// # Errors
/// When it is nowhere.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let built = places::kept().join("bin");
    let places = env::var_os(ASSETS).map(PathBuf::from).into_iter().chain([built]);
    let mut places = places.chain(env::split_paths(&path)).chain(SYSTEM.map(PathBuf::from));
    let found = places.find(|place| place.join(name).is_file()).map(|place| place.join(name));
    found.with_context(|| format!("no program {name}: run `cargo xtask cluster up`, which gets it"))
}

/// The program of this library, which is also a machine's first process.
///
/// # Errors
/// When it is not built.
pub fn ourselves() -> Result<PathBuf> {
    let ours = env::current_exe().context("cannot find my own program file")?;
    let places = [ours.parent(), ours.parent().and_then(Path::parent)];
    let mut files = places.into_iter().flatten().map(|place| place.join("l2sm-cluster"));
    files.find(|file| file.is_file()).context("l2sm-cluster is not built: run `cargo xtask test`")
}
