//! What a Kubernetes node has in its packet filter: connection tracking, and the chains that
//! kube-proxy keeps for services.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};

use super::netns::Netns;

/// Services, with an endpoint each.
const SERVICES: u8 = 100;

/// Gives a node its rules, or takes them away.
pub(super) fn set(node: &Netns, is_on: bool) -> Result<()> {
    // Whatever is there, and be it nothing, goes first.
    let empty = "table ip l2sm-bench\ndelete table ip l2sm-bench\n";
    let text = if is_on { empty.to_owned() + &rules() } else { empty.to_owned() };
    let mut command = node.command("nft");
    let child = command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.context("cannot run nft")?;
    child.stdin.take().context("nft has no input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = said.lines().next().unwrap_or_default();
    ensure!(output.status.success(), "nft in {}: {why}", node.name());
    Ok(())
}

fn rules() -> String {
    let service = |number| {
        format!(
            "chain service-{number} {{\nmeta l4proto tcp numgen random mod 2 0 dnat to 10.244.1.{number}:8080\n\
             meta l4proto tcp dnat to 10.244.2.{number}:8080\n}}\n"
        )
    };
    let jump = |number| format!("ip daddr 10.96.0.{number} tcp dport 80 jump service-{number}\n");
    let services: String = (0..SERVICES).map(service).collect();
    let jumps: String = (0..SERVICES).map(jump).collect();
    format!(
        "table ip l2sm-bench {{\n{services}chain services {{\n{jumps}}}\n\
         chain prerouting {{\ntype nat hook prerouting priority -100\njump services\n}}\n\
         chain output {{\ntype nat hook output priority -100\njump services\n}}\n\
         chain postrouting {{\ntype nat hook postrouting priority 100\n\
         meta mark and 0x4000 == 0x4000 masquerade\n}}\n\
         chain forward {{\ntype filter hook forward priority 0\n\
         ct state invalid drop\nct state established,related accept\n}}\n\
         chain input {{\ntype filter hook input priority 0\n\
         ct state established,related accept\nct state new accept\n}}\n}}\n"
    )
}
