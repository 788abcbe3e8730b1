//! Runs a command in a pod of the lab.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::plan::{Plan, UNDERLAY, netns_path};
use super::state;

/// Runs `command` in the namespace of `place`; its exit code.
///
/// # Errors
/// When there is no such place, or the command cannot be started.
pub(crate) fn exec(place: &str, command: &[OsString]) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("cannot enter {place}: only root can");
    }
    let state = state::current()?;
    let netns = namespace(&state.plan, place)?;
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net={}", netns_path(netns).display())).arg("--").args(command);
    let status = nsenter.status().context("cannot run nsenter (of util-linux)")?;
    // A shell says 128 and the signal's number when a command was killed by one.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The namespace of a pod or node, by its name or the namespace's; or of the controller.
fn namespace<'a>(plan: &'a Plan, place: &str) -> Result<&'a str> {
    let named = |name: &str, netns: &str| place == name || place == netns;
    let pod = plan.pods.iter().find(|pod| named(&pod.name, &pod.netns));
    let node = plan.nodes.iter().find(|node| named(&node.name, &node.netns));
    if let Some(pod) = pod {
        return Ok(&pod.netns);
    }
    if let Some(node) = node {
        return Ok(&node.netns);
    }
    if named("controller", UNDERLAY) {
        return Ok(UNDERLAY);
    }
    let pods: Vec<_> = plan.pods.iter().take(4).map(|pod| pod.name.as_str()).collect();
    let more = if plan.pods.len() > pods.len() { ", …" } else { "" };
    bail!(
        "no pod {place} in the lab: there are {}{more}, the nodes, and `controller`",
        pods.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::Size;

    #[test]
    fn places_are_found_by_name_and_by_namespace() {
        let plan = Plan::new(Size { nodes: 2, pods: 3, networks: 2, mtu: 1600 }).unwrap();
        for (place, netns) in [
            ("n1-blue-1", "l2sm-n1-blue-1"),
            ("l2sm-n2-red-3", "l2sm-n2-red-3"),
            ("n2", "l2sm-n2"),
            ("controller", "l2sm-underlay"),
        ] {
            assert_eq!(namespace(&plan, place).unwrap(), netns);
        }
        let error = namespace(&plan, "n3-blue-1").unwrap_err().to_string();
        assert!(error.starts_with("no pod n3-blue-1 in the lab: there are n1-blue-1, "), "{error}");
    }
}
