//! Ours, as a user runs it: the release builds of controller and agents with their default features,
//! a network by `l2smctl apply`, pods by `l2smctl attach`.

use std::{
    fs::{self, File, Permissions},
    net::IpAddr,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use aya::maps::{HashMap, Map, MapData, MapError};
use l2sm_common::{
    abi,
    maps::{PortEntry, port_flags},
};
use nix::sys::{prctl, signal::Signal};
use serde_json::Value;

use super::{
    POD_MTU, Route, Site, UNDERLAY_MTU, between,
    netns::{DIRECTORIES, Netns, Pod, own_prefix, run},
    node_address,
    plain::{address_nodes, nodes},
    wire,
};
use crate::load::Ends;

/// The network.
const NETWORK: &str = "bench";
/// Where the controller listens: on the first node.
const CONTROLLER: &str = "http://192.0.2.1:30808";
/// Time that anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Daemons that run before the second node's agent: the controller, and the first node's.
const BEFORE_SECOND_AGENT: usize = 2;

/// The site, its programs, and what only it has.
#[derive(Debug)]
pub struct Ours {
    /// Its pods and nodes.
    pub site: Site,
    /// A pod on each node whose ports are marked as forwarders.
    forwarders: [Pod; 2],
    /// The controller, then an agent for each node.
    daemons: Vec<Daemon>,
    directory: tempfile::TempDir,
}

/// A program of ours that runs; killed when dropped.
#[derive(Debug)]
struct Daemon(Child);

impl Ours {
    /// Starts everything, and waits until pods reach each other on the fast path.
    pub(super) fn build() -> Result<Self> {
        let nodes = nodes("l2sm", UNDERLAY_MTU)?;
        address_nodes(&nodes)?;
        let directory = tempfile::Builder::new()
            .prefix(&own_prefix())
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(DIRECTORIES);
        let directory = directory.context("cannot make a directory")?;
        let mut daemons = Vec::new();
        for (node, number) in nodes.iter().zip(1..) {
            let home = directory.path().join(format!("n{number}"));
            fs::create_dir(&home).context("cannot make a directory")?;
            if number == 1 {
                daemons.push(start_controller(node, directory.path())?);
                until("the controller answers", || ctl(node, &["get", "nodes"]))?;
            }
            daemons.push(start_agent(node, number, &home, &[])?);
        }
        let first = nodes.first().context("expected two nodes")?;
        make_network(first, directory.path())?;
        let pod = |node: usize, role: &str| attach(&nodes, node, directory.path(), role);
        let (client, server) = (pod(0, "a")?, pod(1, "b")?);
        let (neighbor, forwarders) = (pod(0, "a2")?, [pod(0, "fa")?, pod(1, "fb")?]);
        let wire = vec![wire::End::Node(0), wire::End::Node(1)];
        let site = Site { nodes, client, server, neighbor: Some(neighbor), wire };
        let ours = Self { site, forwarders, daemons, directory };
        ours.settle()?;
        Ok(ours)
    }

    /// Who talks.
    pub fn ends(&self, route: Route) -> Option<Ends<'_>> {
        let [client, server] = &self.forwarders;
        match route {
            Route::Forwarder => Some(between(client, server, false)),
            Route::Across | Route::AcrossV6 | Route::Local | Route::Underlay | Route::Tunnel => {
                self.site.ends(route)
            }
        }
    }

    /// Waits until every pair of pods reaches each other, with the fast path alone.
    fn settle(&self) -> Result<()> {
        let pods = [&self.site.client, &self.site.server].into_iter();
        let pods: Vec<&Pod> = pods.chain(&self.site.neighbor).chain(&self.forwarders).collect();
        for pod in &pods {
            for other in pods.iter().filter(|other| other.v4 != pod.v4) {
                for address in [other.address(false), other.address(true)] {
                    until(&format!("a ping to {address}"), || ping(&pod.netns, address, 1))?;
                }
            }
        }
        until("a link for each port", || {
            for node in &self.site.nodes {
                let (ports, links) = (ports(node)?.len(), linked(node)?);
                anyhow::ensure!(links == ports, "{} has {links} of {ports}", node.role());
            }
            Ok(String::new())
        })?;
        until("the fast path", || {
            let before = self.slow_sent()?;
            ping(&self.site.client.netns, self.site.server.address(false), 10)?;
            let after = self.slow_sent()?;
            anyhow::ensure!(before == after, "{} packets went by the slow path", after - before);
            Ok(String::new())
        })?;
        self.mark_forwarders()
    }

    /// A frame from an address that is not its own shows that a pod forwards.
    fn mark_forwarders(&self) -> Result<()> {
        let [a, b] = &self.forwarders;
        for (pod, other) in [(a, b), (b, a)] {
            let target = (other.v4, 9);
            pod.netns.ip("address add 203.0.113.1/32 dev lo")?;
            pod.netns.run(|| {
                let socket = std::net::UdpSocket::bind(("203.0.113.1", 0))?;
                socket.send_to(b"not mine", target)?;
                Ok(())
            })?;
            pod.netns.ip("address del 203.0.113.1/32 dev lo")?;
        }
        until("one port of each node is a forwarder", || {
            for node in &self.site.nodes {
                let forwarders = forwarders(node)?;
                anyhow::ensure!(forwarders == 1, "{} has {forwarders}", node.role());
            }
            Ok(String::new())
        })
    }

    /// Has the second node drop by XDP, in its driver, what it drops of the underlay's packets; or not.
    pub(super) fn set_xdp(&mut self, is_on: bool) -> Result<()> {
        let node = self.site.nodes.get(1).context("expected two nodes")?;
        let mode = if is_on { "native" } else { "off" };
        // Its links are pinned: forwarding goes on meanwhile.
        self.daemons.truncate(BEFORE_SECOND_AGENT);
        let home = self.directory.path().join("n2");
        self.daemons.push(start_agent(node, 2, &home, &["--xdp", mode])?);
        until(&format!("XDP {mode} on the second node"), || {
            let link = node.ip("-details link show ul0")?;
            anyhow::ensure!(link.contains("prog/xdp") == is_on, "{link}");
            ping(&self.site.client.netns, self.site.server.address(false), 1)
        })
    }

    /// Packets that the nodes sent by the slow path so far.
    fn slow_sent(&self) -> Result<u64> {
        let statuses = (1..=self.site.nodes.len()).map(|number| self.status(number));
        let sent = statuses.map(|status| {
            let status = status?;
            let networks = status.get("networks").and_then(Value::as_array);
            let networks = networks.context("a status has networks")?.iter();
            Ok(networks.filter_map(|network| network.get("slowSent")?.as_u64()).sum::<u64>())
        });
        sent.sum()
    }

    /// What an agent says of itself; nodes from 1.
    pub fn status(&self, number: usize) -> Result<Value> {
        let socket = self.directory.path().join(format!("n{number}/agent.sock"));
        let mut command = Command::new(program("l2smctl")?);
        command.arg("--socket").arg(socket).args(["status", "-o", "json"]);
        serde_json::from_str(&run(&mut command)?).context("l2smctl prints JSON")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.daemons.clear();
        for node in &self.site.nodes {
            // Nothing to do about a failure on the way out; the next run removes what is left.
            drop(fs::remove_dir_all(node.bpffs()));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Ports of a node that are marked as forwarders.
fn forwarders(node: &Netns) -> Result<usize> {
    let ports = ports(node)?;
    Ok(ports.iter().filter(|port| port.flags & port_flags::FORWARDER != 0).count())
}

/// The ports of a node.
fn ports(node: &Netns) -> Result<Vec<PortEntry>> {
    let pin = node.bpffs().join(format!("v{}/maps/PORTS", abi::ABI));
    let ports = Map::HashMap(MapData::from_pin(pin).context("cannot open PORTS")?);
    let ports: HashMap<_, u32, PortEntry> = ports.try_into()?;
    let entries = ports.iter().map(|entry| Ok(entry?.1)).collect::<Result<_, MapError>>();
    entries.context("cannot read PORTS")
}

/// Ports of a node whose program is attached for good: by a filter first, by a link within a second.
fn linked(node: &Netns) -> Result<usize> {
    let links = fs::read_dir(node.bpffs().join("links")).context("cannot list links")?;
    let ours = links.filter_map(|link| link.ok()?.file_name().into_string().ok());
    Ok(ours.filter(|name| name.ends_with("-l2sm_port_rx")).count())
}

fn start_controller(node: &Netns, directory: &Path) -> Result<Daemon> {
    let mut command = node.command(program("l2sm-controller")?);
    command.args(["serve", "--insecure", "--insecure-allow-remote"]);
    command.args(["--listen", "192.0.2.1:30808", "--store"]);
    command.arg(directory.join("store.redb"));
    start(command, &directory.join("controller.log"))
}

fn start_agent(node: &Netns, number: u8, home: &Path, more: &[&str]) -> Result<Daemon> {
    let mut command = node.command(program("l2sm-agent")?);
    command.args(["run", "--node-name", &format!("n{number}")]);
    command.args(["--controller", CONTROLLER, "--insecure", "--underlay-device", "ul0"]);
    command.args(["--vtep-ip", &node_address(number).to_string()]);
    command.arg("--bpffs").arg(node.bpffs());
    command.arg("--socket").arg(home.join("agent.sock"));
    command.arg("--state-dir").arg(home).args(more);
    start(command, &home.join("agent.log"))
}

fn start(mut command: Command, log: &Path) -> Result<Daemon> {
    let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let die_with_us = || prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into);
    // SAFETY: between fork and exec the closure only calls prctl, which is async-signal-safe.
    unsafe { command.pre_exec(die_with_us) };
    let name = command.get_args().nth(1).map(|word| word.to_string_lossy().into_owned());
    let child = command.spawn();
    child.map(Daemon).with_context(|| format!("cannot start {}", name.unwrap_or_default()))
}

fn make_network(node: &Netns, directory: &Path) -> Result<()> {
    let manifest = directory.join("network.yaml");
    let text = format!(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: {NETWORK}}}\n\
         spec: {{type: vnet, networkCIDR: \"10.10.0.0/24,fd10::/64\", mtu: {POD_MTU}}}\n"
    );
    fs::write(&manifest, text).context("cannot write a manifest")?;
    let manifest = manifest.to_string_lossy();
    until("two agents are connected", || {
        let nodes: Value = serde_json::from_str(&ctl(node, &["get", "nodes", "-o", "json"])?)?;
        let nodes = nodes.get("items").and_then(Value::as_array).map(Vec::as_slice);
        let connected = nodes.unwrap_or_default().iter().filter(|node| {
            node.pointer("/status/connected").and_then(Value::as_bool) == Some(true)
        });
        let connected = connected.count();
        anyhow::ensure!(connected == 2, "{connected} of 2");
        Ok(String::new())
    })?;
    ctl(node, &["apply", "-f", &manifest]).map(drop)
}

fn attach(nodes: &[Netns], node: usize, directory: &Path, role: &str) -> Result<Pod> {
    let netns = Netns::new(&format!("l2sm-{role}"))?;
    let socket = directory.join(format!("n{}/agent.sock", node + 1));
    anyhow::ensure!(node < nodes.len(), "no such node");
    let mut command = Command::new(program("l2smctl")?);
    command.arg("--socket").arg(&socket);
    command.args(["attach", NETWORK, "--netns", &netns.path(), "-o", "json"]);
    let attached: Value = serde_json::from_str(&run(&mut command)?)?;
    let text = |name: &str| attached.get(name).and_then(Value::as_str).map(str::to_owned);
    let ips = attached.get("ips").and_then(Value::as_array).context("no addresses")?;
    let addresses = ips.iter().filter_map(|ip| ip.as_str()?.split('/').next()?.parse().ok());
    let (mut v4, mut v6) = (None, None);
    for address in addresses {
        match address {
            IpAddr::V4(address) => v4 = Some(address),
            IpAddr::V6(address) => v6 = Some(address),
        }
    }
    let device = text("ifname").context("no interface name")?;
    let (v4, v6) = (v4.context("no IPv4 address")?, v6.context("no IPv6 address")?);
    Ok(Pod { netns, device, v4, v6 })
}

fn ctl(node: &Netns, arguments: &[&str]) -> Result<String> {
    let mut command = node.command(program("l2smctl")?);
    command.args(["--server", CONTROLLER, "--timeout", "20s"]);
    run(command.args(arguments))
}

fn ping(netns: &Netns, address: IpAddr, count: u32) -> Result<String> {
    let (count, address) = (count.to_string(), address.to_string());
    netns.run_program("ping", &["-n", "-q", "-c", &count, "-i", "0.01", "-W", "1", &address])
}

/// Asks until the answer is no error.
fn until(what: &str, mut ask: impl FnMut() -> Result<String>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(_answer) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!("not within {} s: {what}: {error:#}", PATIENCE.as_secs())
            }
            Err(_not_yet) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Path of a program of ours, built beside this one.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let directory = own.ancestors().skip(1).find(|directory| directory.join(name).is_file());
    let directory =
        directory.with_context(|| format!("{name} is not built: run `cargo xtask bench`"))?;
    Ok(directory.join(name))
}
