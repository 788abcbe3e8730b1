//! Removing all that is ours from the node, and only that.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::lock;
use crate::{
    cni,
    config::{Places, certificate_path},
    controller::kept,
    datapath, netlink,
};

/// Removes programs and pins, devices and neighbour entries, state files; one line each. Whoever calls
/// holds the lock: no agent runs.
pub(super) fn remove_all(places: &Places) -> anyhow::Result<Vec<String>> {
    let mut removed = netlink::remove_all()?;
    removed.extend(datapath::remove_filters());
    removed.extend(datapath::remove_pins(&places.bpffs)?);
    let state = places.state_dir();
    removed.extend(cni::remove_records(&places.socket)?);
    let files: [PathBuf; 5] = [
        kept::path(state),
        cni::journal_path(state),
        certificate_path(state),
        places.socket.clone(),
        lock::beside(&places.socket),
    ];
    for (place, file) in files.iter().enumerate() {
        let is_lock = place == files.len() - 1;
        if remove_file(file)? && !is_lock {
            removed.push(file.display().to_string());
        }
    }
    Ok(removed)
}

fn remove_file(path: &Path) -> anyhow::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why).with_context(|| path.display().to_string()),
    }
}
