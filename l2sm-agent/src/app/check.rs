//! `check`: whether this node can do what the agent needs. It changes nothing.

mod firewall;
mod memory;
mod order;
mod programs;
mod xdp;

use std::{fmt, io::Write as _, path::Path, process::ExitCode};

use l2sm_common::abi::VXLAN_DEVICE;
use serde::Serialize;

use super::privilege;
use crate::{
    config::{Check, CheckOutput},
    datapath::is_usable,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Finding {
    /// What to do about it.
    fn with_cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, verdict, what, cure } = self;
        write!(f, "{verdict} {name}: {what}")?;
        cure.as_ref().map_or(Ok(()), |cure| write!(f, "; {cure}"))
    }
}

/// Looks at everything, prints it; the exit code is 0 if nothing fails.
pub(super) fn run(check: &Check) -> ExitCode {
    let mut findings = vec![capabilities(), bpffs(&check.places.bpffs), btf()];
    findings.extend(programs::look());
    findings.extend(network(check));
    findings.push(firewall::look(check.vxlan_port));
    let text = match check.output {
        CheckOutput::Table => {
            findings.iter().map(|one| format!("{one}\n")).collect::<Vec<_>>().concat()
        }
        CheckOutput::Json => serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n",
    };
    // Whoever reads no further has seen what they wanted; the exit code says the rest.
    drop(std::io::stdout().write_all(text.as_bytes()));
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn finding(name: &'static str, verdict: Verdict, what: impl Into<String>) -> Finding {
    Finding { name, verdict, what: what.into(), cure: None }
}

fn capabilities() -> Finding {
    match privilege::check() {
        Ok(()) => finding("capabilities", Verdict::Ok, "all that is needed"),
        Err(why) => finding("capabilities", Verdict::Fail, why.to_string())
            .with_cure("run it as root, or give them, as by a pod's securityContext"),
    }
}

fn bpffs(path: &Path) -> Finding {
    match is_usable(path) {
        Ok(true) => finding("bpffs", Verdict::Ok, format!("{} is on one", path.display())),
        Ok(false) => {
            let what = "/sys/fs/bpf is not mounted; the agent mounts it where it may";
            let cure = "`mount -t bpf bpf /sys/fs/bpf` where it may not";
            finding("bpffs", Verdict::Warn, what).with_cure(cure)
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
        .with_cure("a kernel with CONFIG_DEBUG_INFO_BTF has it")
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
        findings.push(order::look(link));
        findings.push(xdp::look(link, check.xdp));
    }
    findings
}

/// What to do where the port is taken.
const OTHER_PORT: &str = "choose another on every node with --vxlan-port";

/// Who holds the UDP port.
fn port(port: u16, links: &[Link]) -> Finding {
    let holds = |link: &&Link| link.vxlan.is_some_and(|vxlan| vxlan.port == port);
    let holder = links.iter().find(holds);
    match holder {
        Some(link) if link.name == VXLAN_DEVICE && link.is_aliased_ours() => {
            return finding("port", Verdict::Ok, format!("UDP {port} is {VXLAN_DEVICE}'s"));
        }
        Some(link) => {
            let what = format!("UDP {port} is used by the vxlan device {}", link.name);
            return finding("port", Verdict::Fail, what).with_cure(OTHER_PORT);
        }
        None => {}
    }
    for table in ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"] {
        let sockets = std::fs::read_to_string(table).unwrap_or_default();
        if has_socket(&sockets, port) {
            let what = format!("a socket of another program is bound to UDP {port}");
            return finding("port", Verdict::Fail, what).with_cure(OTHER_PORT);
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
        let cure = format!("`ip link set {} up`", link.name);
        return finding("underlay", Verdict::Fail, format!("{} is down", link.name))
            .with_cure(cure);
    } else if link.mtu < 1500 {
        Verdict::Warn
    } else {
        Verdict::Ok
    };
    finding("underlay", verdict, what)
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
