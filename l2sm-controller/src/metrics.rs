//! What the controller tells on `/metrics` and `/readyz`.

use std::sync::Arc;

use l2sm_api::metrics::{Page, Source};
use tokio::task::spawn_blocking;

use crate::{
    VERSION,
    hub::{Hub, HubStatus, NodeLine},
};

/// The pages of a hub.
#[derive(Clone, Debug)]
pub struct HubPages(pub Arc<Hub>);

impl Source for HubPages {
    async fn metrics(&self) -> String {
        let epoch = self.0.epoch();
        self.status().await.map(|status| print(&status, epoch)).unwrap_or_default()
    }

    async fn readiness(&self) -> Result<(), String> {
        let status = self.status().await?;
        status.commits.trouble.map_or(Ok(()), Err)
    }
}

impl HubPages {
    /// It waits for a change that is being written.
    async fn status(&self) -> Result<HubStatus, String> {
        let hub = Arc::clone(&self.0);
        spawn_blocking(move || hub.status()).await.map_err(|why| why.to_string())
    }
}

/// A metric of a node: name, help, value.
type OfNode = (&'static str, &'static str, fn(&NodeLine, u64) -> u64);

const OF_NODE: [OfNode; 4] = [
    ("l2sm_node_connected", "1: its agent follows", |node, _| u64::from(node.connected)),
    ("l2sm_node_acked_revision", "revision in its kernel; 0: not known", |node, _| node.acked),
    ("l2sm_node_lag_revisions", "how far that is behind the store's", |node, revision| {
        revision.saturating_sub(node.acked)
    }),
    ("l2sm_node_object_errors", "objects that it could not program", |node, _| count(node.errors)),
];

/// The text of `/metrics`; `epoch`: how often the store was opened.
fn print(status: &HubStatus, epoch: u64) -> String {
    let mut page = Page::default();
    page.family("l2sm_store_info", "gauge", "1; version of the controller");
    page.sample("l2sm_store_info", &[("version", VERSION)], 1);
    let connected = status.nodes.iter().filter(|node| node.connected).count();
    let gauges = [
        ("l2sm_store_epoch", "how often the store was opened", epoch),
        ("l2sm_store_revision", "number of the revision", status.revision),
        ("l2sm_store_networks", "networks", count(status.networks)),
        ("l2sm_store_attachments", "attachments", count(status.attachments)),
        ("l2sm_store_nodes", "nodes", count(status.nodes.len())),
        ("l2sm_store_connected_nodes", "nodes whose agent follows", count(connected)),
    ];
    for (name, help, value) in gauges {
        page.single(name, "gauge", help, value);
    }
    let commits = &status.commits;
    page.single("l2sm_store_commits_total", "counter", "changes kept", commits.kept);
    let help = "changes that the store did not take";
    page.single("l2sm_store_commit_failures_total", "counter", help, commits.failed);
    for (name, help, value) in OF_NODE {
        page.family(name, "gauge", help);
        for node in &status.nodes {
            page.sample(name, &[("node", &node.name)], value(node, status.revision));
        }
    }
    page.into_text()
}

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Commits;

    #[test]
    fn every_node_has_its_lag_and_the_store_its_commits() {
        let node = |name: &str, connected, acked| NodeLine {
            name: name.to_owned(),
            connected,
            acked,
            errors: 1,
            version: String::new(),
        };
        let status = HubStatus {
            revision: 9,
            networks: 2,
            attachments: 5,
            nodes: vec![node("n1", true, 7), node("n2", false, 0)],
            commits: Commits { kept: 9, failed: 1, trouble: None },
        };
        let page = print(&status, 3);
        for line in [
            "l2sm_store_epoch 3",
            "l2sm_store_networks 2",
            "l2sm_store_attachments 5",
            "l2sm_store_connected_nodes 1",
            "l2sm_store_revision 9",
            "l2sm_store_commits_total 9",
            "l2sm_store_commit_failures_total 1",
            "l2sm_node_connected{node=\"n2\"} 0",
            "l2sm_node_lag_revisions{node=\"n1\"} 2",
            "l2sm_node_lag_revisions{node=\"n2\"} 9",
            "l2sm_node_object_errors{node=\"n1\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
