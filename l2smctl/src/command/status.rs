//! `l2smctl status`: the controller and its nodes; or, on a node, what its agent does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use l2sm_api::grpc::v1::{NodeStatus, StatusReply};
use l2sm_api::socket::Status;
use serde_json::{Value, json};

use super::{Common, Misuse};
use crate::agent;
use crate::client::Unreachable;
use crate::cluster::{self, Access, PATIENCE};
use crate::output::AnswerFormat;
use crate::output::table::Table;

/// How often a cluster is looked at with `--wait`.
const LOOK: Duration = Duration::from_millis(500);

/// Show the state of a cluster, of a controller and its nodes, or of this node.
///
/// A cluster (with --kubeconfig, --context or --wait; as `kubectl l2sm status`; where no controller
/// answers): operator, agents, and of each node version, fast path and conditions. The controller:
/// which nodes follow it, and how far behind they are. A node (with --socket, or where no controller
/// answers): what it forwards, and what it drops and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl status
  l2smctl status --context staging --wait
  l2smctl --server lab status
  l2smctl status --socket /run/l2sm-lab/n1/agent.sock")]
pub(crate) struct Args {
    /// How to show it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: AnswerFormat,
    /// Wait until the cluster's operator and every node are ready.
    #[arg(long)]
    wait: bool,
}

/// Shows the state of a cluster, a controller or a node.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let cluster = common.access.is_given() || args.wait || crate::is_kubectls();
    let elsewhere = common.server.is_some() || common.socket.is_some();
    if cluster && elsewhere && (common.access.is_given() || args.wait) {
        let why =
            "--server, --socket: expected no cluster's option (--kubeconfig, --context, --wait)";
        return Err(Misuse(why.to_owned()).into());
    }
    if cluster && !elsewhere {
        return show_cluster(args, common);
    }
    if common.socket.is_some() {
        return show_node(args, common);
    }
    match common.with(async |client| client.status().await) {
        Ok(reply) => show_controller(args, &reply),
        Err(error) if common.server.is_some() || !error.is::<Unreachable>() => Err(error),
        Err(_unreachable) if common.socket().exists() => show_node(args, common),
        Err(_unreachable) if Access::is_found() => show_cluster(args, common),
        Err(error) => Err(error),
    }
}

/// Exit code 1 when something is not as it should be.
fn show_cluster(args: &Args, common: &Common) -> Result<ExitCode> {
    let deadline = Instant::now() + common.timeout_or(PATIENCE);
    let report = cluster::with(common, async |client| {
        loop {
            let report = Box::pin(cluster::status::look(client)).await?;
            if report.obstacle().is_none() || !args.wait || Instant::now() >= deadline {
                return Ok(report);
            }
            tokio::time::sleep(LOOK).await;
        }
    })?;
    args.output.show(&report, report.text(args.output == AnswerFormat::Wide))?;
    let well = report.obstacle().is_none();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_controller(args: &Args, reply: &StatusReply) -> Result<ExitCode> {
    args.output.show(&controller_json(reply), controller_text(reply))?;
    Ok(ExitCode::SUCCESS)
}

fn show_node(args: &Args, common: &Common) -> Result<ExitCode> {
    let status = agent::status(common.socket(), common.timeout())?;
    args.output.show(&status, node_text(&status))?;
    Ok(ExitCode::SUCCESS)
}

fn controller_text(reply: &StatusReply) -> String {
    let StatusReply { source, epoch, revision, version, nodes, networks, attachments } = reply;
    let mut table = Table::new(["NODE", "CONNECTED", "ACKED", "LAG", "ERRORS", "AGENT"]);
    for node in nodes {
        let connected = if node.connected { "yes" } else { "no" };
        let (acked, lag) = (node.acked_revision.to_string(), lag(reply, node).to_string());
        let errors = node.errors.to_string();
        table.row([&node.name, connected, &acked, &lag, &errors, &node.agent_version]);
    }
    let nodes = if nodes.is_empty() { "no nodes yet\n".to_owned() } else { table.to_string() };
    format!(
        "controller    {version}\nsource        {source}, epoch {epoch}\nrevision      {revision}\n\
         networks      {networks}\nattachments   {attachments}\n\n{nodes}"
    )
}

fn controller_json(reply: &StatusReply) -> Value {
    let node = |node: &NodeStatus| {
        json!({
            "name": node.name,
            "connected": node.connected,
            "ackedRevision": node.acked_revision,
            "lag": lag(reply, node),
            "errors": node.errors,
            "agentVersion": node.agent_version,
        })
    };
    json!({
        "version": reply.version,
        "source": reply.source,
        "epoch": reply.epoch,
        "revision": reply.revision,
        "networks": reply.networks,
        "attachments": reply.attachments,
        "nodes": reply.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

/// How many revisions a node is behind.
fn lag(reply: &StatusReply, node: &NodeStatus) -> u64 {
    reply.revision.saturating_sub(node.acked_revision)
}

fn node_text(status: &Status) -> String {
    let vteps: Vec<_> = status.vteps.iter().map(ToString::to_string).collect();
    let none = |text: String| {
        if text.is_empty() { "none".to_owned() } else { text }
    };
    let mut text = format!(
        "node          {}\nagent         {}\nVTEPs         {}, UDP port {}\nuplinks       {}\n\
         controller    {}\nrevision      {}\nfeatures      {}\n",
        status.node,
        status.version,
        none(vteps.join(", ")),
        status.udp_port,
        none(status.uplinks.join(", ")),
        none(status.controller.clone().unwrap_or_default()),
        status.revision,
        none(status.features.join(", ")),
    );
    for error in &status.errors {
        text.extend(["error         ", error, "\n"]);
    }
    text.push('\n');
    text.push_str(&traffic(status));
    text.push('\n');
    text.push_str(&drops(status));
    text
}

/// Packets of each network.
fn traffic(status: &Status) -> String {
    if status.networks.is_empty() {
        return "no network has a port here\n".to_owned();
    }
    let mut table = Table::new([
        "NETWORK",
        "VNI",
        "PORTS",
        "VTEPS",
        "FROM-PODS",
        "TO-PODS",
        "FROM-VTEPS",
        "TO-VTEPS",
        "SLOW",
    ]);
    for network in &status.networks {
        let figures = [
            network.vni.into(),
            network.ports.into(),
            network.vteps.into(),
            network.from_port,
            network.to_port,
            network.from_vtep,
            network.to_vtep,
            network.slow_sent + network.slow_received,
        ];
        let figures = figures.iter().map(u64::to_string);
        table.row([network.network.clone()].into_iter().chain(figures));
    }
    table.to_string()
}

/// Packets dropped, with what that means.
fn drops(status: &Status) -> String {
    let mut table = Table::new(["NETWORK", "DROPPED", "REASON", "MEANING"]);
    let mut any = false;
    for drops in status.drops.iter().filter(|drops| drops.packets > 0) {
        any = true;
        let network = if drops.network.is_empty() { "-" } else { &drops.network };
        table.row([network, &drops.packets.to_string(), &drops.reason, drops.help().unwrap_or("")]);
    }
    if any { table.to_string() } else { "nothing dropped\n".to_owned() }
}

#[cfg(test)]
mod tests {
    use l2sm_api::socket::{Drops, NetworkStatus};

    use super::*;

    #[test]
    fn a_node_that_is_behind_shows_by_how_much() {
        let node = NodeStatus {
            name: "n1".into(),
            connected: true,
            acked_revision: 40,
            errors: 0,
            agent_version: "0.1.0".into(),
        };
        let reply = StatusReply {
            source: "abc".into(),
            epoch: 1,
            revision: 42,
            version: "0.1.0".into(),
            nodes: vec![node],
            networks: 2,
            attachments: 3,
        };
        let text = controller_text(&reply);
        assert!(text.contains("n1     yes         40      2     0        0.1.0\n"), "{text}");
        assert_eq!(controller_json(&reply).pointer("/nodes/0/lag"), Some(&json!(2)));
    }

    #[test]
    fn drops_come_with_their_meaning_and_zeros_are_left_out() {
        let drop_of = |reason: &str, packets| Drops {
            network: "default/red".into(),
            reason: reason.into(),
            packets,
        };
        let status = Status {
            node: "n1".into(),
            version: "0.1.0".into(),
            vteps: vec!["192.0.2.1".parse().unwrap()],
            udp_port: 7000,
            uplinks: vec!["eth0".into()],
            controller: None,
            revision: 7,
            errors: vec!["default/x: no such namespace".into()],
            networks: vec![NetworkStatus {
                network: "default/red".into(),
                vni: 9,
                ports: 2,
                vteps: 1,
                from_port: 10,
                to_port: 20,
                from_vtep: 30,
                to_vtep: 40,
                slow_sent: 1,
                slow_received: 2,
            }],
            drops: vec![drop_of("unknown_unicast", 5), drop_of("truncated", 0)],
            features: Vec::new(),
        };
        let text = node_text(&status);
        assert!(
            text.contains("default/red   5         unknown_unicast   to a MAC that no"),
            "{text}"
        );
        assert!(!text.contains("truncated"), "{text}");
        assert!(text.contains("controller    none\n"), "{text}");
        assert!(text.contains("error         default/x: no such namespace\n"), "{text}");
        assert!(text.contains("40         3\n"), "{text}");
    }
}
