//! What a lab consists of: names, addresses and commands, as data.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the lab keeps its sockets, logs and record.
pub(crate) const DIRECTORY: &str = "/run/l2sm-lab";
/// Below it, one directory per node for the maps and links of its agent.
pub(crate) const BPFFS: &str = "/sys/fs/bpf/l2sm-lab";
/// The namespace of the underlay's switch and of the controller.
pub(crate) const UNDERLAY: &str = "l2sm-underlay";
/// The switch in it.
pub(crate) const BRIDGE: &str = "ul";
/// The controller's address in the underlay (192.0.2.0/24 is for documentation, RFC 5737).
pub(crate) const CONTROLLER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// Its port.
pub(crate) const CONTROLLER_PORT: u16 = 30808;
/// Addresses of every network: all the same, so that they overlap.
pub(crate) const NETWORK_CIDR: &str = "10.10.0.0/24";
/// Kubernetes namespace of the lab's networks.
pub(crate) const NAMESPACE: &str = "default";

/// The least MTU of the underlay: IPv6 in a pod (1,280) and 50 bytes of tunnel.
const MTU_MIN: u32 = 1_330;
/// The largest MTU of a veth (`ETH_MAX_MTU`).
const MTU_MAX: u32 = 65_535;
/// Nodes have the addresses from 192.0.2.1.
const NODES_MAX: u32 = 100;
/// Addresses in [`NETWORK_CIDR`].
const ADDRESSES: u32 = 254;
const COLOURS: [&str; 8] = ["blue", "red", "green", "yellow", "orange", "purple", "white", "black"];

/// How large the lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    /// Nodes.
    pub(crate) nodes: u32,
    /// Pods per network and node.
    pub(crate) pods: u32,
    /// Networks.
    pub(crate) networks: u32,
    /// MTU of the underlay, bytes.
    pub(crate) mtu: u32,
}

/// A lab to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// MTU of the underlay, bytes.
    pub(crate) mtu: u32,
    /// Names of the networks.
    pub(crate) networks: Vec<String>,
    /// The nodes.
    pub(crate) nodes: Vec<Node>,
    /// The pods, by node, network and number.
    pub(crate) pods: Vec<Pod>,
}

/// A node: a namespace with an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Name, as the controller knows it: `n1`.
    pub(crate) name: String,
    /// Its namespace: `l2sm-n1`.
    pub(crate) netns: String,
    /// Its address in the underlay.
    pub(crate) address: Ipv4Addr,
}

/// A pod: a namespace that is attached to one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pod {
    /// Name: `n1-blue-1`.
    pub(crate) name: String,
    /// Its namespace: `l2sm-n1-blue-1`.
    pub(crate) netns: String,
    /// The node it is on.
    pub(crate) node: String,
    /// The network it is in.
    pub(crate) network: String,
}

/// A size that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unbuildable {
    /// Not within the bounds that a flag has.
    Outside {
        /// The flag.
        flag: &'static str,
        /// Least value.
        least: u32,
        /// Largest value.
        most: u32,
        /// What was asked for.
        given: u32,
    },
    /// More pods in a network than it has addresses.
    Addresses {
        /// Pods of one network.
        pods: u32,
    },
}

impl fmt::Display for Unbuildable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { flag, least, most, given } => {
                write!(f, "{flag} {given}: expected a number from {least} to {most}")
            }
            Self::Addresses { pods } => write!(
                f,
                "{pods} pods in one network: {NETWORK_CIDR} has {ADDRESSES} addresses; \
                 take fewer --nodes or --pods"
            ),
        }
    }
}

impl std::error::Error for Unbuildable {}

impl Plan {
    /// The lab of this size.
    ///
    /// # Errors
    /// When a figure is out of its bounds, or a network would have more pods than addresses.
    pub(crate) fn new(size: Size) -> Result<Self, Unbuildable> {
        size.check()?;
        let networks: Vec<String> = (0..size.networks).map(network_name).collect();
        let nodes: Vec<Node> = (1..=size.nodes).map(Node::numbered).collect();
        let pod = |node: &Node, network: &str, number| Pod::new(node, network, number);
        let mut pods = Vec::new();
        for node in &nodes {
            for network in &networks {
                pods.extend((1..=size.pods).map(|number| pod(node, network, number)));
            }
        }
        Ok(Self { mtu: size.mtu, networks, nodes, pods })
    }

    /// Every namespace of the lab, the underlay's first.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        let nodes = self.nodes.iter().map(|node| node.netns.as_str());
        let pods = self.pods.iter().map(|pod| pod.netns.as_str());
        [UNDERLAY].into_iter().chain(nodes).chain(pods)
    }

    /// The manifest of the lab's networks.
    pub(crate) fn manifest(&self) -> String {
        let document = |name: &String| {
            format!(
                "apiVersion: l2sm.l2sm.k8s.local/v1\n\
                 kind: L2Network\n\
                 metadata: {{name: {name}, namespace: {NAMESPACE}}}\n\
                 spec: {{type: vnet, networkCIDR: {NETWORK_CIDR}}}\n"
            )
        };
        self.networks.iter().map(document).collect::<Vec<_>>().join("---\n")
    }
}

impl Size {
    fn check(self) -> Result<(), Unbuildable> {
        let bounds = [
            ("--nodes", 1, NODES_MAX, self.nodes),
            ("--pods", 1, ADDRESSES, self.pods),
            ("--networks", 1, 100, self.networks),
            ("--mtu", MTU_MIN, MTU_MAX, self.mtu),
        ];
        for (flag, least, most, given) in bounds {
            if !(least..=most).contains(&given) {
                return Err(Unbuildable::Outside { flag, least, most, given });
            }
        }
        let pods = self.nodes * self.pods;
        if pods > ADDRESSES { Err(Unbuildable::Addresses { pods }) } else { Ok(()) }
    }
}

impl Node {
    fn numbered(number: u32) -> Self {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(192, 0, 2, 0).to_bits() + number);
        Self { name: format!("n{number}"), netns: format!("l2sm-n{number}"), address }
    }

    /// Where its agent keeps its socket and state.
    pub(crate) fn directory(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(&self.name)
    }

    /// Its agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory().join("agent.sock")
    }

    /// Where its agent pins.
    pub(crate) fn bpffs(&self) -> PathBuf {
        PathBuf::from(BPFFS).join(&self.name)
    }
}

impl Pod {
    fn new(node: &Node, network: &str, number: u32) -> Self {
        let name = format!("{}-{network}-{number}", node.name);
        Self {
            netns: format!("l2sm-{name}"),
            name,
            node: node.name.clone(),
            network: network.to_owned(),
        }
    }
}

/// The first ones have colours for names, the others numbers.
fn network_name(index: u32) -> String {
    let colour = usize::try_from(index).ok().and_then(|index| COLOURS.get(index));
    colour.map_or_else(|| format!("net{}", index + 1), |colour| (*colour).to_owned())
}

/// The path of a named namespace, where `ip netns` mounts it.
pub(crate) fn netns_path(netns: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(netns)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SMALL: Size = Size { nodes: 2, pods: 2, networks: 2, mtu: 1600 };

    #[test]
    fn pods_are_named_after_node_network_and_number() {
        let plan = Plan::new(SMALL).unwrap();
        let names: Vec<_> = plan.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "n1-blue-1",
                "n1-blue-2",
                "n1-red-1",
                "n1-red-2",
                "n2-blue-1",
                "n2-blue-2",
                "n2-red-1",
                "n2-red-2",
            ]
        );
        assert_eq!(plan.pods[0].netns, "l2sm-n1-blue-1");
        assert_eq!(plan.nodes[1].address, Ipv4Addr::new(192, 0, 2, 2));
    }

    #[test]
    fn no_two_namespaces_have_one_name() {
        let plan = Plan::new(Size { nodes: 12, pods: 11, networks: 12, mtu: 1600 }).unwrap();
        let names: BTreeSet<_> = plan.namespaces().collect();
        assert_eq!(names.len(), 1 + 12 + 12 * 11 * 12);
        assert!(plan.networks.contains(&"net12".to_owned()));
    }

    #[test]
    fn device_names_of_the_largest_lab_fit() {
        let plan = Plan::new(Size { nodes: 100, pods: 2, networks: 1, mtu: 1600 }).unwrap();
        assert!(plan.nodes.iter().all(|node| node.name.len() <= 15));
        assert!(plan.nodes.iter().all(|node| node.address < CONTROLLER));
    }

    #[test]
    fn sizes_that_cannot_be_built_are_refused_with_the_bounds() {
        let refused = |size: Size| Plan::new(size).unwrap_err().to_string();
        assert_eq!(
            refused(Size { nodes: 0, ..SMALL }),
            "--nodes 0: expected a number from 1 to 100"
        );
        assert_eq!(
            refused(Size { mtu: 1280, ..SMALL }),
            "--mtu 1280: expected a number from 1330 to 65535"
        );
        assert!(refused(Size { nodes: 100, pods: 3, ..SMALL }).starts_with("300 pods in one"));
    }

    #[test]
    fn the_manifest_has_a_document_for_each_network() {
        let manifest = Plan::new(SMALL).unwrap().manifest();
        assert_eq!(manifest.matches("kind: L2Network").count(), 2);
        assert_eq!(manifest.matches("---\n").count(), 1);
    }
}
