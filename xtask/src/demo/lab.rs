//! The lab, by way of `l2smctl`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::checks::{Checks, heading};
use crate::command;
use crate::say::say;

/// Nodes, pods per network and node, and networks.
const SIZE: [&str; 6] = ["--nodes", "2", "--pods", "2", "--networks", "2"];
/// Where the lab has its files, which must be gone when it is.
const DIRECTORIES: [&str; 2] = ["/run/l2sm-lab", "/sys/fs/bpf/l2sm-lab"];
/// Where named namespaces are.
const NAMESPACES: &str = "/run/netns";

/// The lab that is up.
pub(crate) struct Lab {
    program: PathBuf,
    /// Its nodes.
    pub(crate) nodes: Vec<Node>,
    /// Its pods.
    pub(crate) pods: Vec<Pod>,
}

/// A node.
pub(crate) struct Node {
    /// Name.
    pub(crate) name: String,
    /// Address in the underlay.
    pub(crate) address: String,
    /// Its agent's socket.
    pub(crate) socket: String,
    /// Where its agent pins.
    bpffs: String,
}

/// A pod.
pub(crate) struct Pod {
    /// Name.
    pub(crate) name: String,
    /// The node it is on.
    pub(crate) node: String,
    /// The network it is in.
    pub(crate) network: String,
    /// Its namespace.
    pub(crate) netns: String,
    /// Its interface in the network.
    pub(crate) ifname: String,
    /// Its address there, without prefix length.
    pub(crate) ip: String,
    /// Its MAC address there.
    pub(crate) mac: String,
    /// The network's number on the wire.
    pub(crate) vni: u32,
}

impl Lab {
    /// Builds the lab, in place of one that is there.
    pub(crate) fn up() -> Result<Self> {
        let ourselves = env::current_exe().context("cannot find my own program file")?;
        let program = ourselves.with_file_name("l2smctl");
        if Path::new("/run/l2sm-lab").exists() {
            say!("a lab is up: removing it first");
            run(command::new(&program).args(["lab", "down"]))?;
        }
        run(command::new(&program).args(["lab", "up"]).args(SIZE))?;
        let text = command::read(command::new(&program).args(["lab", "status", "-o", "json"]))?;
        let status: Value = serde_json::from_str(&text).context("lab status is not JSON")?;
        let lab = Self {
            program,
            nodes: list(&status, "nodes", Node::read)?,
            pods: list(&status, "pods", Pod::read)?,
        };
        if lab.nodes.len() != 2 || lab.pods.len() != 8 {
            bail!("the lab has {} nodes and {} pods", lab.nodes.len(), lab.pods.len());
        }
        Ok(lab)
    }

    /// Removes the lab, and checks that nothing is left of it.
    pub(crate) fn down(&self, checks: &mut Checks) -> Result<()> {
        heading("The lab's end");
        run(command::new(&self.program).args(["lab", "down"]))?;
        let namespaces = self.pods.iter().map(|pod| Path::new(NAMESPACES).join(&pod.netns));
        let files = DIRECTORIES.map(PathBuf::from).into_iter().chain(namespaces);
        let left: Vec<_> =
            files.filter(|file| file.exists()).map(|file| file.display().to_string()).collect();
        let what = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
        checks.record(left.is_empty(), &format!("`lab down` left {what}"));
        Ok(())
    }

    /// Names of the networks.
    pub(crate) fn networks(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.pods.iter().map(|pod| pod.network.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The pods of a network.
    pub(crate) fn pods_of<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().filter(move |pod| pod.network == network)
    }

    /// Two pods of a network, on different nodes.
    pub(crate) fn distant_pair(&self, network: &str) -> Result<(&Pod, &Pod)> {
        let mut pods = self.pods.iter().filter(|pod| pod.network == network);
        let one = pods.next();
        let other = one.and_then(|one| pods.find(|pod| pod.node != one.node));
        one.zip(other).with_context(|| format!("{network} has no pods on two nodes"))
    }

    /// The node of that name.
    pub(crate) fn node(&self, name: &str) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.with_context(|| format!("there is no node {name}"))
    }

    /// The node that is shown from inside.
    pub(crate) fn first_node(&self) -> &Node {
        // `up` made sure that there are two.
        self.nodes.first().unwrap_or(&NOWHERE)
    }

    /// A ping that a user may try, as the arguments of `lab exec`.
    pub(crate) fn example_ping(&self) -> String {
        let network = self.networks().first().copied().unwrap_or_default();
        let pair = self.distant_pair(network).map(|(from, to)| (&from.name, &to.ip));
        pair.map_or_else(|_| String::new(), |(from, ip)| format!("{from} -- ping -c 3 {ip}"))
    }

    /// `l2smctl` as it is typed here.
    pub(crate) fn l2smctl(&self) -> String {
        let here = env::current_dir().unwrap_or_default();
        self.program.strip_prefix(here).unwrap_or(&self.program).display().to_string()
    }

    /// A call of `l2smctl`.
    pub(crate) fn ctl(&self) -> Command {
        command::new(&self.program)
    }
}

static NOWHERE: Node = Node {
    name: String::new(),
    address: String::new(),
    socket: String::new(),
    bpffs: String::new(),
};

impl Node {
    fn read(value: &Value) -> Result<Self> {
        Ok(Self {
            name: text(value, "name")?,
            address: text(value, "address")?,
            socket: text(value, "socket")?,
            bpffs: text(value, "bpffs")?,
        })
    }

    /// Where a map of its agent is pinned: in the one directory that is named after a layout.
    pub(crate) fn map(&self, name: &str) -> String {
        let entries = fs::read_dir(&self.bpffs).into_iter().flatten().filter_map(Result::ok);
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let version = names.max_by_key(|name| name.strip_prefix('v')?.parse::<u32>().ok());
        format!("{}/{}/maps/{name}", self.bpffs, version.unwrap_or_default())
    }
}

impl Pod {
    fn read(value: &Value) -> Result<Self> {
        let ip = value.pointer("/ips/0").and_then(Value::as_str);
        let ip = ip.and_then(|ip| ip.split('/').next()).context("a pod without address")?;
        let vni = value.get("vni").and_then(Value::as_u64).context("a pod without VNI")?;
        Ok(Self {
            name: text(value, "name")?,
            node: text(value, "node")?,
            network: text(value, "network")?,
            netns: text(value, "netns")?,
            ifname: text(value, "ifname")?,
            ip: ip.to_owned(),
            mac: text(value, "mac")?,
            vni: u32::try_from(vni).context("a VNI out of range")?,
        })
    }
}

/// Runs a command in view.
///
/// # Errors
/// When it fails.
fn run(command: &mut Command) -> Result<()> {
    if !command::show(command)? {
        bail!("{} failed: its message is above", command::typed(command));
    }
    Ok(())
}

fn list<T>(value: &Value, field: &str, read: impl Fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    let items = value.get(field).and_then(Value::as_array);
    items.with_context(|| format!("lab status has no {field}"))?.iter().map(read).collect()
}

fn text(value: &Value, field: &str) -> Result<String> {
    let text = value.get(field).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("lab status has no {field}: {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: &str, network: &str) -> Value {
        json!({"name": name, "node": node, "network": network, "netns": "l2sm-x", "ifname": "net1",
               "ips": ["10.10.0.1/24"], "mac": "02:00:00:00:00:01", "vni": 7, "mtu": 1550})
    }

    #[test]
    fn pods_are_read_and_paired_over_nodes() {
        let values = [pod("a", "n1", "red"), pod("b", "n1", "red"), pod("c", "n2", "red")];
        let pods: Vec<_> = values.iter().map(|value| Pod::read(value).unwrap()).collect();
        let lab = Lab { program: "l2smctl".into(), nodes: Vec::new(), pods };
        let (one, other) = lab.distant_pair("red").unwrap();
        assert_eq!((one.name.as_str(), other.name.as_str()), ("a", "c"));
        assert_eq!(lab.networks(), ["red"]);
        assert_eq!(lab.example_ping(), "a -- ping -c 3 10.10.0.1");
        assert!(lab.distant_pair("blue").is_err());
    }

    #[test]
    fn a_pod_without_address_is_an_error() {
        let mut value = pod("a", "n1", "red");
        value["ips"] = json!([]);
        assert!(Pod::read(&value).is_err());
    }
}
