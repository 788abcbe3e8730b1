//! The CNI plugin in the node's CNI list: a configuration of our own, first in the directory, that is
//! the cluster's with our plugin after its last. Nobody else's file is touched.
//!
//! Neither the configuration nor the plugin goes when the agent does: pods that start meanwhile need
//! both. Only [`remove`] takes them away.

mod installer;
mod list;
mod standing;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::sleep};

use self::installer::Installer;
pub use self::installer::remove;
use crate::{
    directory::DirectoryWatch,
    state::{CHAIN_NOT_INSTALLED, NodeCondition},
};

/// Reason of a step that failed.
const CANNOT_WRITE: &str = "CannotWrite";
/// Looked at this often, whatever is noticed.
const PERIOD: Duration = Duration::from_secs(30);

/// After a step that failed: what it did itself is noticed as a change.
const PAUSE: Duration = Duration::from_secs(5);

/// Where things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPlaces {
    /// The runtime's directory of CNI configurations.
    pub conf_dir: PathBuf,
    /// The runtime's directory of CNI plugins.
    pub bin_dir: PathBuf,
    /// The plugin to install.
    pub plugin: PathBuf,
    /// The agent's socket, where it is not the plugin's default.
    pub socket: Option<PathBuf>,
}

/// Keeps the plugin installed for as long as the agent runs; `report` is told when something else
/// holds than before.
pub async fn keep_installed(places: ChainPlaces, report: impl Fn(NodeCondition) + Send) {
    let directory = places.conf_dir.clone();
    let installer = Arc::new(Mutex::new(Installer::new(places)));
    let mut told = None;
    loop {
        let mut watch = DirectoryWatch::open(&directory).ok();
        loop {
            let condition = step(&installer).await;
            let failed = condition.holds && condition.reason == CANNOT_WRITE;
            if told.as_ref() != Some(&condition) {
                say(&condition);
                report(condition.clone());
                told = Some(condition);
            }
            if failed {
                sleep(PAUSE).await;
            }
            tokio::select! {
                changed = changed(watch.as_mut()) => if changed.is_err() { break },
                () = sleep(PERIOD) => if watch.is_none() { break },
            }
        }
    }
}

async fn step(installer: &Arc<Mutex<Installer>>) -> NodeCondition {
    let mut installer = Arc::clone(installer).lock_owned().await;
    let stepped = tokio::task::spawn_blocking(move || installer.step(std::time::Instant::now()));
    stepped.await.unwrap_or_else(|why| condition(Some(("Failed", why.to_string()))))
}

async fn changed(watch: Option<&mut DirectoryWatch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

fn say(condition: &NodeCondition) {
    if condition.holds {
        tracing::warn!(reason = condition.reason, "CNI list: {}", condition.message);
    } else {
        tracing::info!("CNI list: the plugin is in it");
    }
}

/// `ChainNotInstalled`, with what is wrong.
fn condition(trouble: Option<(&'static str, String)>) -> NodeCondition {
    let holds = trouble.is_some();
    let (reason, message) = trouble.unwrap_or(("Installed", String::new()));
    NodeCondition { kind: CHAIN_NOT_INSTALLED, holds, reason, message }
}
