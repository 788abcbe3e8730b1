//! The commands that make a lab's namespaces, devices and addresses, as data.

use std::fmt;

use super::plan::{BRIDGE, CONTROLLER, Node, Plan, UNDERLAY};

/// The commands that make the underlay and the nodes, in order.
pub(crate) fn underlay(plan: &Plan) -> Vec<IpCommand> {
    let mtu = plan.mtu;
    let mut commands = vec![
        IpCommand::host(format!("netns add {UNDERLAY}")),
        IpCommand::inside(UNDERLAY, "link set lo up"),
        IpCommand::inside(UNDERLAY, format!("link add {BRIDGE} mtu {mtu} type bridge")),
        IpCommand::inside(UNDERLAY, format!("addr add {CONTROLLER}/24 dev {BRIDGE}")),
        IpCommand::inside(UNDERLAY, format!("link set {BRIDGE} up")),
    ];
    for Node { name, netns, address } in &plan.nodes {
        commands.extend([
            IpCommand::host(format!("netns add {netns}")),
            IpCommand::inside(netns, "link set lo up"),
            // Made inside a namespace of ours: nothing ever shows up in the host's.
            IpCommand::inside(
                netns,
                format!(
                    "link add eth0 mtu {mtu} type veth peer name {name} mtu {mtu} netns {UNDERLAY}"
                ),
            ),
            IpCommand::inside(UNDERLAY, format!("link set {name} master {BRIDGE} up")),
            IpCommand::inside(netns, format!("addr add {address}/24 dev eth0")),
            IpCommand::inside(netns, "link set eth0 up"),
        ]);
    }
    commands
}

/// The commands that make the pods' namespaces, in order.
pub(crate) fn pods(plan: &Plan) -> Vec<IpCommand> {
    let commands = plan.pods.iter().flat_map(|pod| {
        [
            IpCommand::host(format!("netns add {}", pod.netns)),
            IpCommand::inside(&pod.netns, "link set lo up"),
        ]
    });
    commands.collect()
}

/// A call of `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpCommand {
    /// Arguments.
    pub(crate) arguments: Vec<String>,
}

impl IpCommand {
    /// In our own namespace.
    pub(crate) fn host(words: impl AsRef<str>) -> Self {
        Self { arguments: words.as_ref().split(' ').map(str::to_owned).collect() }
    }

    /// In a named namespace: `ip -n NETNS`, which unlike `ip netns exec` mounts nothing.
    pub(crate) fn inside(netns: &str, words: impl AsRef<str>) -> Self {
        Self::host(format!("-n {netns} {}", words.as_ref()))
    }
}

impl fmt::Display for IpCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip {}", self.arguments.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lab::plan::Size;

    #[test]
    fn every_namespace_is_made_once_and_before_it_is_used() {
        let plan = Plan::new(Size { nodes: 2, pods: 2, networks: 2, mtu: 1600 }).unwrap();
        let mut made = BTreeSet::new();
        for command in [underlay(&plan), pods(&plan)].concat() {
            match command.arguments.as_slice() {
                [netns, add, name] if netns == "netns" && add == "add" => {
                    assert!(made.insert(name.clone()), "{name} twice");
                }
                [flag, name, ..] if flag == "-n" => assert!(made.contains(name), "{command}"),
                other => panic!("a command that touches the host: {other:?}"),
            }
        }
        assert!(plan.namespaces().all(|name| made.contains(name)));
    }
}
