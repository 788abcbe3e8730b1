//! What a lab looks like now: its programs, nodes and pods.

use std::fmt;
use std::time::Duration;

use l2sm_api::socket::Attached;
use serde::Serialize;

use super::plan::{DIRECTORY, Node, Pod};
use super::state::State;
use crate::agent;
use crate::output::table::Table;

/// How long an agent may take to answer.
const LOOK: Duration = Duration::from_secs(2);

/// The lab as it is.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    programs: Vec<ProgramReport>,
    nodes: Vec<NodeReport>,
    pods: Vec<PodReport>,
}

#[derive(Debug, Serialize)]
struct ProgramReport {
    name: String,
    pid: i32,
    alive: bool,
    log: String,
}

#[derive(Debug, Serialize)]
struct NodeReport {
    name: String,
    netns: String,
    address: String,
    socket: String,
    bpffs: String,
    /// The revision in its kernel; none when its agent does not answer.
    revision: Option<u64>,
    /// Frames dropped, for whatever reason.
    dropped: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PodReport {
    name: String,
    node: String,
    netns: String,
    network: String,
    #[serde(flatten)]
    attached: Attached,
}

/// Looks at the lab.
pub(crate) fn look(state: &State) -> Report {
    let programs = state.processes.iter().map(|process| ProgramReport {
        name: process.name.clone(),
        pid: process.pid,
        alive: process.is_alive(),
        log: format!("{DIRECTORY}/{}.log", process.name),
    });
    Report {
        programs: programs.collect(),
        nodes: state.plan.nodes.iter().map(look_at).collect(),
        pods: state.pods().map(describe).collect(),
    }
}

/// The pods as a table.
pub(crate) fn pod_table(state: &State) -> Table {
    let pods: Vec<_> = state.pods().map(describe).collect();
    table(&pods)
}

/// What to try in the lab that was just built.
pub(crate) fn next_steps(state: &State) -> String {
    let here = state.pods().next();
    let there = here.and_then(|(pod, _)| {
        state
            .pods()
            .filter(|(other, _)| other.network == pod.network && other.name != pod.name)
            .last()
    });
    let mut lines = vec!["Try:".to_owned()];
    if let (Some((from, _)), Some((_, to))) = (here, there) {
        let address = to.ips.first().and_then(|ip| ip.split('/').next()).unwrap_or_default();
        lines.push(format!("  l2smctl lab exec {} -- ping -c 3 {address}", from.name));
    }
    lines.push("  l2smctl get networks,attachments,nodes --server lab".to_owned());
    if let Some(node) = state.plan.nodes.first() {
        lines.push(format!("  l2smctl status --socket {}", node.socket().display()));
        let map = node.bpffs().join(format!("v{}/maps/FDB", l2sm_core::image::ABI));
        lines.push(format!("  bpftool map dump pinned {}", map.display()));
    }
    lines.push("  l2smctl lab down".to_owned());
    lines.join("\n") + "\n"
}

impl Report {
    /// Whether everything runs.
    pub(crate) fn is_good(&self) -> bool {
        self.programs.iter().all(|program| program.alive)
            && self.nodes.iter().all(|node| node.revision.is_some())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut programs = Table::new(["PROGRAM", "PID", "RUNS", "LOG"]);
        for ProgramReport { name, pid, alive, log } in &self.programs {
            let runs = if *alive { "yes" } else { "no" };
            programs.row([name.as_str(), &pid.to_string(), runs, log]);
        }
        let mut nodes = Table::new(["NODE", "ADDRESS", "REVISION", "DROPPED", "SOCKET"]);
        for node in &self.nodes {
            let figure = |figure: Option<u64>| figure.map_or("?".to_owned(), |n| n.to_string());
            let (revision, dropped) = (figure(node.revision), figure(node.dropped));
            nodes.row([&node.name, &node.address, &revision, &dropped, &node.socket]);
        }
        write!(f, "{programs}\n{nodes}\n{}", table(&self.pods))
    }
}

fn look_at(node: &Node) -> NodeReport {
    let status = agent::status(&node.socket(), LOOK).ok();
    let dropped =
        |status: &l2sm_api::socket::Status| status.drops.iter().map(|drops| drops.packets).sum();
    NodeReport {
        name: node.name.clone(),
        netns: node.netns.clone(),
        address: node.address.to_string(),
        socket: node.socket().display().to_string(),
        bpffs: node.bpffs().display().to_string(),
        revision: status.as_ref().map(|status| status.revision),
        dropped: status.as_ref().map(dropped),
    }
}

fn describe((pod, attached): (&Pod, &Attached)) -> PodReport {
    PodReport {
        name: pod.name.clone(),
        node: pod.node.clone(),
        netns: pod.netns.clone(),
        network: pod.network.clone(),
        attached: attached.clone(),
    }
}

fn table(pods: &[PodReport]) -> Table {
    let mut table = Table::new(["NODE", "POD", "NETWORK", "IFNAME", "ADDRESS", "MAC", "VNI"]);
    for PodReport { node, name, network, attached, .. } in pods {
        let Attached { ifname, mac, ips, vni, .. } = attached;
        table.row([node, name, network, ifname, &ips.join(","), mac, &vni.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{Plan, Size};
    use crate::lab::process::Process;

    fn state() -> State {
        let size = Size { nodes: 2, pods: 1, networks: 1, mtu: 1600 };
        let mut state = State::planned(Plan::new(size).unwrap());
        let attached = |number: u8| Attached {
            ifname: "net1".into(),
            mac: format!("02:00:00:00:00:0{number}"),
            ips: vec![format!("10.10.0.{number}/24")],
            vni: 7,
            mtu: 1550,
        };
        state.attached = vec![attached(1), attached(2)];
        state
    }

    #[test]
    fn the_table_has_a_row_for_each_pod() {
        assert_eq!(
            pod_table(&state()).to_string(),
            "NODE   POD         NETWORK   IFNAME   ADDRESS        MAC                 VNI\n\
             n1     n1-blue-1   blue      net1     10.10.0.1/24   02:00:00:00:00:01   7\n\
             n2     n2-blue-1   blue      net1     10.10.0.2/24   02:00:00:00:00:02   7\n"
        );
    }

    #[test]
    fn what_to_try_next_works_as_it_is_typed() {
        let text = next_steps(&state());
        assert!(text.contains("l2smctl lab exec n1-blue-1 -- ping -c 3 10.10.0.2\n"), "{text}");
        assert!(text.contains("/sys/fs/bpf/l2sm-lab/n1/v2/maps/FDB\n"), "{text}");
    }

    #[test]
    fn a_lab_whose_programs_are_gone_is_not_good() {
        let mut state = state();
        state.processes.push(Process { name: "controller".into(), pid: 1, started: u64::MAX });
        let report = look(&state);
        assert!(!report.is_good());
        assert!(
            report.to_string().contains("controller   1     no     /run/l2sm-lab/"),
            "{report}"
        );
    }
}
