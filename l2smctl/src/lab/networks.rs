//! The lab's networks and attachments, by the ways that users have: the controller's service and
//! the agents' sockets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use l2sm_api::socket::{Attach, Attached};

use super::plan::{NAMESPACE, Plan, Pod, netns_path};
use crate::agent;
use crate::client::{Client, Server};
use crate::condition;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(20);
/// How often what changes is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Whether the controller answers.
pub(crate) fn controller_answers() -> bool {
    Server::of_lab().with(ANSWER, async |client| client.status().await).is_ok()
}

/// The nodes whose agents the controller knows and hears.
pub(crate) fn connected_nodes() -> Result<Vec<String>> {
    let reply = Server::of_lab().with(ANSWER, async |client| client.status().await)?;
    let connected = reply.nodes.into_iter().filter(|node| node.connected);
    Ok(connected.map(|node| node.name).collect())
}

/// Makes the networks.
pub(crate) fn apply(plan: &Plan) -> Result<()> {
    let objects = crate::manifest::read_text("the lab's manifest", &plan.manifest())?;
    let applied =
        Server::of_lab().with(ANSWER, async |client| client.apply(objects, false).await)?;
    if applied.len() != plan.networks.len() {
        bail!("the controller made {} of {} networks", applied.len(), plan.networks.len());
    }
    Ok(())
}

/// Attaches a pod.
pub(crate) fn attach(plan: &Plan, pod: &Pod) -> Result<Attached> {
    let node = plan.nodes.iter().find(|node| node.name == pod.node);
    let node = node.with_context(|| format!("{} is on no node", pod.name))?;
    let request = Attach {
        network: pod.network.clone(),
        namespace: NAMESPACE.into(),
        netns: netns_path(&pod.netns).display().to_string(),
        pod: Some(pod.name.clone()),
        ..Attach::default()
    };
    let attached = agent::attach(&node.socket(), request, ANSWER);
    attached.with_context(|| format!("cannot attach {} to {}", pod.name, pod.network))
}

/// Waits until every network is programmed on every node.
///
/// # Errors
/// When that takes longer than `patience`; the error says what is in the way.
pub(crate) fn wait_ready(patience: Duration) -> Result<()> {
    Server::of_lab().with(ANSWER, async |client| {
        let deadline = Instant::now() + patience;
        while let Some(obstacle) = obstacle(client).await? {
            if Instant::now() >= deadline {
                bail!("not ready after {} s: {obstacle}", patience.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    })
}

/// What keeps some network from being ready.
async fn obstacle(client: &mut Client) -> Result<Option<String>> {
    let networks = client.list("L2Network", NAMESPACE, "").await?;
    let obstacles = networks.iter().map(|network| {
        let name = network.pointer("/metadata/name").and_then(|name| name.as_str());
        let obstacle = condition::obstacle(network, "Ready", "True")?;
        Some(format!("network {}: {obstacle}", name.unwrap_or("?")))
    });
    Ok(obstacles.flatten().next())
}
