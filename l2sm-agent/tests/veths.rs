//! Veths in real namespaces. Needs root; without it the tests fail.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::BTreeMap,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use l2sm_agent::netlink::{
    self, KernelLinks, Links, LinksError, Settings,
    links::{Link, dump_links},
    netns::Netns,
    underlay::{Underlay, XdpMode},
    veths::host_name,
};
use l2sm_common::{mac::Mac, vni::Vni};
use l2sm_core::{image::LocalPort, instructions::Port, model::ObjectKey};

/// A network namespace that goes with its value, when a test fails too.
struct Namespace(String);

impl Namespace {
    fn new(of: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("l2sm-veth-{of}-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    fn open(&self) -> Netns {
        Netns::open(&self.path(), 0).unwrap()
    }

    fn ip(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", self.0.as_str()], arguments].concat())
    }

    fn links(&self) -> Vec<Link> {
        self.open().run(|kernel| dump_links(kernel).map_err(LinksError::from)).unwrap()
    }

    fn link(&self, name: &str) -> Option<Link> {
        self.links().into_iter().find(|link| link.name == name)
    }

    /// Runs `work` in a thread that lives in this namespace, as an agent would.
    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = self.open();
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let flags = nix::sched::CloneFlags::CLONE_NEWNET;
                    nix::sched::setns(netns.file(), flags).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).output();
        assert!(deleted.is_ok() || thread::panicking(), "{} stays", self.0);
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {error} (these tests need root)");
    String::from_utf8(output.stdout).unwrap()
}

fn agent() -> KernelLinks {
    let underlay =
        Underlay { devices: vec![], addresses: vec!["192.0.2.1".parse().unwrap()], named: true };
    let mut links =
        KernelLinks::open(Settings { underlay, udp_port: 7000, mark: 0x2000, xdp: XdpMode::Off })
            .unwrap();
    links.look().unwrap();
    links.ensure_devices().unwrap();
    links
}

fn ensure_devices(settings: Settings) -> Result<(), LinksError> {
    let mut links = KernelLinks::open(settings)?;
    links.look()?;
    links.ensure_devices()
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "web-net1")
}

fn port(pod: &Namespace) -> Port {
    Port {
        vni: Vni::new(7).unwrap(),
        ifname: "net1".to_owned(),
        netns: Some(pod.path()),
        netns_inode: pod.open().inode(),
        pod: Some("web".to_owned()),
        pod_uid: None,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: vec!["10.9.0.1/24".parse().unwrap(), "fd00:9::1/64".parse().unwrap()],
        mtu: 1450,
        mac_check: true,
        forwarder: false,
    }
}

fn ensure(links: &mut KernelLinks, port: Port) -> Result<LocalPort, LinksError> {
    let mut outcomes = links.ensure_ports(&BTreeMap::from([(key(), port)])).unwrap();
    outcomes.remove(&key()).unwrap()
}

#[test]
fn a_veth_is_made_whole() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    let made = node.enter(|| ensure(&mut agent(), port(&pod))).unwrap();
    assert!(made.peer, "the other end is in another namespace");
    let host = node.link(&host_name(&key())).unwrap();
    assert_eq!(host.index, made.device.0);
    assert!(host.is_our_veth() && host.up && host.no_auto_address);
    assert_eq!(host.alias.as_deref(), Some("l2sm:default/web/net1"));
    assert_eq!((host.mtu, host.controller), (1450, node.link("l2sm-br").map(|link| link.index)));
    let end = pod.link("net1").unwrap();
    assert_eq!((end.mac, end.mtu, end.up), (Some(Mac([2, 0, 0, 0, 0, 1])), 1450, true));
    let addresses = pod.ip(&["addr", "show", "dev", "net1"]);
    for address in ["inet 10.9.0.1/24", "inet6 fd00:9::1/64"] {
        assert!(addresses.contains(address), "{addresses}");
    }
    assert!(!addresses.contains("fd00:9::1/64 scope global tentative"), "usable at once");
}

#[test]
fn the_devices_are_as_they_should_be() {
    let node = Namespace::new("node");
    node.enter(|| drop(agent()));
    let bridge = node.link("l2sm-br").unwrap();
    assert!(!bridge.up && bridge.no_auto_address);
    let vxlan = node.link("l2sm-vxlan").unwrap();
    assert!(vxlan.up && vxlan.no_auto_address);
    assert_eq!((vxlan.controller, vxlan.mtu), (Some(bridge.index), 65_535));
    let details = node.ip(&["-d", "link", "show", "dev", "l2sm-vxlan"]);
    for setting in ["external", "dstport 7000", "nolearning", "udp6zerocsumrx"] {
        assert!(details.contains(setting), "{setting}: {details}");
    }
    node.enter(|| drop(agent()));
    assert_eq!(node.link("l2sm-vxlan").unwrap().index, vxlan.index, "kept, not made again");
}

#[test]
fn another_port_makes_the_tunnel_device_again() {
    let node = Namespace::new("node");
    node.enter(|| drop(agent()));
    node.enter(|| {
        let underlay = Underlay::default();
        let settings = Settings { underlay, udp_port: 7001, mark: 0x2000, xdp: XdpMode::Off };
        ensure_devices(settings).unwrap();
    });
    assert_eq!(node.link("l2sm-vxlan").unwrap().vxlan.map(|vxlan| vxlan.port), Some(7001));
}

#[test]
fn a_foreign_tunnel_device_on_our_port_is_named() {
    let node = Namespace::new("node");
    node.ip(&["link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "7000"]);
    let why = node.enter(|| {
        let settings = Settings {
            underlay: Underlay::default(),
            udp_port: 7000,
            mark: 0x2000,
            xdp: XdpMode::Off,
        };
        ensure_devices(settings).unwrap_err().to_string()
    });
    assert!(why.contains("flannel.1"), "{why}");
    assert!(node.link("l2sm-vxlan").is_none() && node.link("l2sm-br").is_none());
}

#[test]
fn a_veth_that_cannot_be_finished_is_removed_again() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    // Below 1280 bytes the kernel has no IPv6 on a device, so the address is refused.
    let small = Port { mtu: 1000, ..port(&pod) };
    let why = node.enter(|| ensure(&mut agent(), small)).unwrap_err();
    assert!(matches!(why, LinksError::Address { .. }), "{why}");
    assert!(node.link(&host_name(&key())).is_none());
    assert!(pod.link("net1").is_none());
}

#[test]
fn a_taken_interface_name_is_told_and_nothing_is_left() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    pod.ip(&["link", "add", "net1", "type", "bridge"]);
    let why = node.enter(|| ensure(&mut agent(), port(&pod))).unwrap_err();
    let expected = format!("interface net1 in {}: the name is taken", pod.path());
    assert_eq!(why.to_string(), expected);
    assert!(node.link(&host_name(&key())).is_none());
    assert_eq!(pod.link("net1").map(|link| link.kind), Some("bridge".to_owned()));
}

#[test]
fn a_namespace_that_is_gone_is_told() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    let wanted = port(&pod);
    drop(pod);
    let why = node.enter(|| ensure(&mut agent(), wanted)).unwrap_err();
    assert_eq!(why.reason(), "NetworkNamespaceGone");
}

#[test]
fn a_veth_is_adopted_after_a_restart_and_corrected() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    let made = node.enter(|| ensure(&mut agent(), port(&pod))).unwrap();
    node.ip(&["link", "set", "dev", &host_name(&key()), "mtu", "1400", "nomaster"]);
    pod.ip(&["addr", "del", "10.9.0.1/24", "dev", "net1"]);
    let adopted = node.enter(|| ensure(&mut agent(), port(&pod))).unwrap();
    assert_eq!(adopted, made, "the same device: no packet is lost");
    let host = node.link(&host_name(&key())).unwrap();
    assert_eq!((host.mtu, host.controller), (1450, node.link("l2sm-br").map(|link| link.index)));
    assert!(pod.ip(&["addr", "show", "dev", "net1"]).contains("10.9.0.1/24"));
}

#[test]
fn changed_instructions_change_the_interface_in_place() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    node.enter(|| {
        let mut links = agent();
        let made = ensure(&mut links, port(&pod)).unwrap();
        pod.ip(&["addr", "add", "10.9.0.77/24", "dev", "net1"]);
        let moved =
            Port { mtu: 1400, addresses: vec!["10.9.0.2/24".parse().unwrap()], ..port(&pod) };
        assert_eq!(ensure(&mut links, moved).unwrap(), made);
    });
    let shown = pod.ip(&["addr", "show", "dev", "net1"]);
    assert!(shown.contains("mtu 1400") && shown.contains("10.9.0.2/24"), "{shown}");
    assert!(!shown.contains("10.9.0.1/24") && !shown.contains("fd00:9::1"), "{shown}");
    assert!(shown.contains("10.9.0.77/24"), "the pod's own address stays: {shown}");
}

#[test]
fn an_attachment_whose_pod_moved_is_made_in_the_new_namespace() {
    let node = Namespace::new("node");
    let (old, new) = (Namespace::new("old"), Namespace::new("new"));
    node.enter(|| {
        let mut links = agent();
        ensure(&mut links, port(&old)).unwrap();
        ensure(&mut links, port(&new)).unwrap();
    });
    assert!(old.link("net1").is_none());
    assert!(new.link("net1").is_some());
}

#[test]
fn an_interrupted_agents_veth_is_taken_over() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    let name = host_name(&key());
    let peer = ["peer", "name", "net1", "address", "02:00:00:00:00:01", "netns", &pod.0];
    node.ip(&[&["link", "add", &name, "type", "veth"], &peer[..]].concat());
    node.enter(|| ensure(&mut agent(), port(&pod))).unwrap();
    assert!(node.link(&name).unwrap().is_our_veth());
}

#[test]
fn look_alikes_survive() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    let name = host_name(&key());
    node.ip(&["link", "add", &name, "type", "veth", "peer", "name", "other"]);
    node.ip(&["link", "add", "l2sm0123456789a", "type", "bridge"]);
    node.ip(&["link", "set", "dev", "l2sm0123456789a", "alias", "l2sm:default/web/net1"]);
    node.ip(&["link", "add", "l2smabcdefabcde", "type", "veth", "peer", "name", "another"]);
    let foreign: Vec<String> = node.links().into_iter().map(|link| link.name).collect();
    node.enter(|| {
        let mut links = agent();
        let why = ensure(&mut links, port(&pod)).unwrap_err();
        let expected =
            format!("the device {name} exists and is not ours: its alias does not say so");
        assert_eq!(why.to_string(), expected);
        links.look().unwrap();
        assert!(links.own_ports().is_empty());
        let removed = netlink::remove_all().unwrap();
        assert_eq!(removed, ["device l2sm-vxlan", "device l2sm-br"]);
        assert!(netlink::remove_all().unwrap().is_empty(), "a second time finds nothing");
    });
    let left: Vec<String> = node.links().into_iter().map(|link| link.name).collect();
    assert_eq!(left, foreign);
}

#[test]
fn removal_takes_veths_devices_and_managed_neighbours() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    node.enter(|| ensure(&mut agent(), port(&pod))).unwrap();
    let removed = node.enter(netlink::remove_all).unwrap();
    let veth = format!("device {}", host_name(&key()));
    assert_eq!(removed, [veth.as_str(), "device l2sm-vxlan", "device l2sm-br"]);
    assert!(pod.link("net1").is_none());
}

#[test]
fn many_veths_go_at_once_and_nobody_elses() {
    let (node, pod) = (Namespace::new("node"), Namespace::new("pod"));
    // One of somebody else's is in the very group.
    node.ip(&["link", "add", "theirs", "type", "veth", "peer", "name", "theirs1"]);
    node.ip(&["link", "set", "dev", "theirs", "group", &0x6c32_736d_u32.to_string()]);
    let ports = |count: u8| -> BTreeMap<ObjectKey, Port> {
        let numbered = |number: u8| {
            let addresses = vec![format!("10.9.{number}.1/24").parse().unwrap()];
            let mac = Mac([2, 0, 0, 0, 0, number]);
            let port = Port { ifname: format!("net{number}"), mac, addresses, ..port(&pod) };
            (ObjectKey::new("default", format!("web-net{number}")), port)
        };
        (1..=count).map(numbered).collect()
    };
    node.enter(|| {
        let mut links = agent();
        let made = links.ensure_ports(&ports(40)).unwrap();
        assert!(made.values().all(Result::is_ok));
        let mut going = links.own_ports();
        assert_eq!(going.len(), 40);
        let stays = going.pop_first().unwrap();
        assert!(links.remove_ports(&going).is_empty());
        assert_eq!(links.own_ports(), BTreeMap::from([stays.clone()]));
        links.look().unwrap();
        assert_eq!(links.own_ports(), BTreeMap::from([stays]), "as the kernel has it");
        assert!(links.remove_ports(&going).is_empty(), "gone already");
    });
    assert!(node.link("theirs").is_some() && node.link("l2sm-vxlan").is_some());
}
