//! Attachments whose namespace is gone are released, though nobody said so.

use std::{collections::BTreeSet, time::Duration};

use l2sm_core::model::ObjectKey;
use tokio::time::sleep;

use super::{Controller, Node, Service, Unseen};

/// Namespaces are looked for this often, and whenever a pass misses one.
const PERIOD: Duration = Duration::from_secs(30);
/// Reason of a pass that misses a namespace.
const MISSING: &str = "NetworkNamespaceGone";

impl<C: Controller, N: Node> Service<C, N> {
    /// Releases for as long as the agent runs.
    pub async fn release_gone_forever(&self) {
        let mut outcomes = self.outcomes.clone();
        loop {
            let missed = outcomes
                .wait_for(|outcome| outcome.errors.iter().any(|error| error.reason == MISSING));
            tokio::select! {
                missed = missed => if missed.is_err() { return },
                () = sleep(PERIOD) => {}
            }
            self.release_gone().await;
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Releases what is gone now. Where an operator makes attachments, it also removes them.
    pub(super) async fn release_gone(&self) {
        let complete = self.desired.borrow().complete;
        if !complete || self.controller.attaches_by_request() != Some(true) {
            return;
        }
        let known = self.desired.borrow().effective();
        let mut gone = BTreeSet::new();
        for (key, port) in &known.ports {
            let Some(path) = &port.netns else { continue };
            if self.is_gone(path, port.netns_inode) {
                gone.insert(key.clone());
            }
        }
        if !gone.is_empty() {
            let names: Vec<String> = gone.iter().map(ObjectKey::to_string).collect();
            tracing::info!(attachments = ?names, "released: their namespaces are gone");
            self.release(&gone).await;
        }
    }

    pub(super) fn is_gone(&self, path: &str, inode: u64) -> bool {
        match self.node.inode(path) {
            Ok(found) => inode != 0 && found != inode,
            Err(Unseen::Gone(_)) => true,
            Err(Unseen::Failed(_)) => false,
        }
    }
}
