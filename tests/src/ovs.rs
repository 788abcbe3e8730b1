//! The other node: Open vSwitch in userspace (`datapath_type=netdev`), with a database and a switch
//! daemon of its own.

use std::process::{Child, Command, Stdio};

use l2sm_common::mac::Mac;

use crate::{
    netns::{Netns, join, pod_netns},
    wait,
};

/// Debian's place for the schema of the switch's database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A node whose switch is Open vSwitch; its underlay device is `ul0`, behind bridge `br-phy`.
#[derive(Debug)]
pub struct OvsNode {
    /// The node's namespace.
    pub netns: Netns,
    directory: tempfile::TempDir,
    daemons: Vec<Child>,
}

/// A pod behind Open vSwitch; its interface is `net1`.
#[derive(Debug)]
pub struct OvsPod {
    /// The pod's namespace.
    pub netns: Netns,
    /// Its MAC.
    pub mac: Mac,
}

impl OvsNode {
    /// Starts a switch whose underlay device `ul0` exists, with this underlay address (CIDR).
    pub fn start(netns: Netns, address: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut node = Self { netns, directory, daemons: Vec::new() };
        let database = node.path("conf.db");
        let created = node.command("ovsdb-tool", &["create", &database, SCHEMA]).output();
        let created = created.expect("openvswitch-switch is installed: run `cargo xtask setup`");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let remote = format!("--remote=punix:{}", node.path("db.sock"));
        node.spawn("ovsdb-server", &[&database, &remote]);
        wait::until("the switch's database answers", || {
            node.vsctl("--no-wait init").status.success().then_some(())
        });
        let socket = format!("unix:{}", node.path("db.sock"));
        node.spawn("ovs-vswitchd", &[&socket]);
        let mac = node.netns.mac("ul0");
        node.vsctl_ok(&format!(
            "add-br br-phy -- set Bridge br-phy datapath_type=netdev other-config:hwaddr={mac} -- \
             add-port br-phy ul0"
        ));
        node.netns.ip(&format!("address add {address} dev br-phy"));
        node.netns.ip("link set br-phy up");
        node
    }

    /// Makes a segment: bridge `br<vni>` with a tunnel to `remote`.
    pub fn segment(&self, vni: u32, remote: &str, udp_port: u16) {
        self.vsctl_ok(&format!(
            "add-br br{vni} -- set Bridge br{vni} datapath_type=netdev -- add-port br{vni} vx{vni} \
             -- set Interface vx{vni} type=vxlan options:remote_ip={remote} options:key={vni} \
             options:dst_port={udp_port}"
        ));
    }

    /// Makes a pod in a segment. It sums and segments by itself: a packet socket, by which the switch
    /// reads its frames, does neither.
    pub fn pod(&self, vni: u32, host: u8, addresses: &[&str], mtu: u32) -> OvsPod {
        let pod = pod_netns("opod", addresses);
        let device = format!("o{vni}-{host}");
        join((&self.netns, &device), (&pod, "net1"), mtu);
        without_offloads(&pod, "net1");
        self.vsctl_ok(&format!("add-port br{vni} {device}"));
        for address in addresses {
            pod.ip(&format!("address add {address} dev net1 nodad"));
        }
        let mac = pod.mac("net1");
        OvsPod { netns: pod, mac }
    }

    fn vsctl_ok(&self, arguments: &str) {
        let output = self.vsctl(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ovs-vsctl {arguments}: {error}");
    }

    fn vsctl(&self, arguments: &str) -> std::process::Output {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        let mut all = vec![&database[..], "--timeout=20"];
        all.extend(arguments.split_whitespace());
        self.command("ovs-vsctl", &all).output().expect("openvswitch-switch is installed")
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program, arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.daemons.push(child.expect("openvswitch-switch is installed"));
    }

    /// A program of the switch's, in its namespace and with directories of its own.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns.path())).arg(program).args(arguments);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.directory.path());
        }
        command.stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("a name").to_owned()
    }
}

impl Drop for OvsNode {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            // It may have ended by itself; then there is nothing to end.
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }
}

/// Has a device take only what a wire could carry: whole checksums, no aggregated packets.
pub fn without_offloads(netns: &Netns, device: &str) {
    let output = netns.output("ethtool", &["-K", device, "tx", "off", "tso", "off", "gso", "off"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ethtool -K {device}: {error}");
}
