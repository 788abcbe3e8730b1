//! `check`: whether this node can do what the agent needs. It changes nothing.

mod firewall;
mod xdp;

use std::{fmt, io::Write as _, path::Path, process::ExitCode};

use aya::programs::{SchedClassifier, TcAttachType};
use l2sm_common::abi::VXLAN_DEVICE;
use serde::Serialize;

use super::{feature, privilege};
use crate::{
    config::{Check, CheckOutput},
    datapath::{is_usable, try_programs},
    netlink::{
        links::{Link, dump_links},
        socket::Conversation,
        underlay::Underlay,
    },
};

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok  ",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}

/// One line.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    name: &'static str,
    verdict: Verdict,
    what: String,
}

/// Looks at everything, prints it; the exit code is 0 if nothing fails.
pub(super) fn run(check: &Check) -> ExitCode {
    let mut findings = vec![capabilities(), bpffs(&check.places.bpffs), btf()];
    findings.extend(programs());
    findings.extend(network(check));
    findings.push(firewall::look(check.vxlan_port));
    let text = match check.output {
        CheckOutput::Table => findings
            .iter()
            .map(|one| format!("{} {}: {}\n", one.verdict, one.name, one.what))
            .collect::<Vec<_>>()
            .concat(),
        CheckOutput::Json => serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n",
    };
    // Whoever reads no further has seen what they wanted; the exit code says the rest.
    drop(std::io::stdout().write_all(text.as_bytes()));
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn finding(name: &'static str, verdict: Verdict, what: impl Into<String>) -> Finding {
    Finding { name, verdict, what: what.into() }
}

fn capabilities() -> Finding {
    match privilege::check() {
        Ok(()) => finding("capabilities", Verdict::Ok, "all that is needed"),
        Err(why) => finding("capabilities", Verdict::Fail, why.to_string()),
    }
}

fn bpffs(path: &Path) -> Finding {
    match is_usable(path) {
        Ok(true) => finding("bpffs", Verdict::Ok, format!("{} is on one", path.display())),
        Ok(false) => {
            let what = "/sys/fs/bpf is not mounted; the agent mounts it where it may";
            finding("bpffs", Verdict::Warn, what)
        }
        Err(why) => finding("bpffs", Verdict::Fail, why.to_string()),
    }
}

fn btf() -> Finding {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        return finding("btf", Verdict::Ok, path);
    }
    finding("btf", Verdict::Warn, format!("{path} is not there: map fields have no names"))
}

fn programs() -> Vec<Finding> {
    let trial = match try_programs() {
        Ok(trial) => trial,
        Err(why) => return vec![finding("programs", Verdict::Fail, why.to_string())],
    };
    let loaded = format!("{} programs load", trial.loaded);
    let attaching = format!("programs are attached by {}", feature(trial.attaching));
    let fast = match trial.encapsulated {
        Ok(()) => finding("fast path", Verdict::Ok, "a frame was encapsulated in BPF"),
        Err(why) => {
            let what = format!("no frame is encapsulated in BPF, all take the slow path: {why}");
            finding("fast path", Verdict::Fail, what)
        }
    };
    let attaching = finding("attaching", Verdict::Ok, attaching);
    vec![finding("programs", Verdict::Ok, loaded), attaching, fast]
}

fn network(check: &Check) -> Vec<Finding> {
    let looked = Conversation::open().and_then(|mut kernel| {
        let links = dump_links(&mut kernel)?;
        Ok((kernel, links))
    });
    let (mut kernel, links) = match looked {
        Ok(looked) => looked,
        Err(why) => return vec![finding("netlink", Verdict::Fail, why.to_string())],
    };
    let mut findings = vec![port(check.vxlan_port, &links)];
    let devices = &check.underlay_device;
    let underlay = match Underlay::choose(&mut kernel, devices, &check.vtep_ip, &[]) {
        Ok(underlay) => underlay,
        Err(why) => {
            findings.push(finding("underlay", Verdict::Fail, why.to_string()));
            return findings;
        }
    };
    for link in links.iter().filter(|link| underlay.devices.contains(&link.name)) {
        findings.push(uplink(link));
        findings.push(before_ours(&link.name));
        findings.push(xdp::look(link, check.xdp));
    }
    findings
}

/// Who holds the UDP port.
fn port(port: u16, links: &[Link]) -> Finding {
    let holds = |link: &&Link| link.vxlan.is_some_and(|vxlan| vxlan.port == port);
    let holder = links.iter().find(holds);
    match holder {
        Some(link) if link.name == VXLAN_DEVICE && link.is_aliased_ours() => {
            return finding("port", Verdict::Ok, format!("UDP {port} is {VXLAN_DEVICE}'s"));
        }
        Some(link) => {
            let what = format!(
                "UDP {port} is used by the vxlan device {}: choose another with --vxlan-port",
                link.name
            );
            return finding("port", Verdict::Fail, what);
        }
        None => {}
    }
    for table in ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"] {
        let sockets = std::fs::read_to_string(table).unwrap_or_default();
        if has_socket(&sockets, port) {
            let what = format!("a socket of another program is bound to UDP {port}");
            return finding("port", Verdict::Fail, what);
        }
    }
    finding("port", Verdict::Ok, format!("UDP {port} is free"))
}

/// Whether a table of `/proc/net` has a socket on a port.
fn has_socket(table: &str, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    let mut sockets = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    sockets.any(|local| local.ends_with(&suffix))
}

fn uplink(link: &Link) -> Finding {
    let inside = link.mtu.saturating_sub(50);
    let what = format!("{}, MTU {}: pods get {inside} over IPv4", link.name, link.mtu);
    let verdict = if !link.up {
        return finding("underlay", Verdict::Fail, format!("{} is down", link.name));
    } else if link.mtu < 1500 {
        Verdict::Warn
    } else {
        Verdict::Ok
    };
    finding("underlay", verdict, what)
}

/// Programs that see a frame of the device before `l2sm_uplink_rx`.
fn before_ours(device: &str) -> Finding {
    let name = "order";
    let Ok((_revision, programs)) = SchedClassifier::query_tcx(device, TcAttachType::Ingress)
    else {
        return finding(name, Verdict::Ok, format!("{device} has no tcx: clsact, priority 1"));
    };
    let names: Vec<String> = programs
        .iter()
        .map(|program| program.name_as_str().unwrap_or("(unnamed)").to_owned())
        .collect();
    match names.iter().position(|found| found == l2sm_common::abi::UPLINK_RX) {
        Some(0) => finding(name, Verdict::Ok, format!("l2sm_uplink_rx is first on {device}")),
        Some(place) => {
            let before = names.get(..place).unwrap_or_default().join(", ");
            let what = format!("before l2sm_uplink_rx on {device}: {before}");
            finding(name, Verdict::Warn, what)
        }
        None => {
            let what = format!("{} programs on {device}; ours goes before them", names.len());
            finding(name, Verdict::Ok, what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_port_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st\n\
                     11: 00000000:1B58 00000000:0000 07\n";
        assert!(has_socket(table, 7000));
        assert!(!has_socket(table, 7001) && !has_socket(table, 0));
    }
}
