//! Routes and next hops in real namespaces. Needs root; without it the tests fail.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    net::IpAddr,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use l2sm_agent::netlink::{
    self, KernelLinks, Links, Settings,
    monitor::Monitor,
    netns::Netns,
    socket::Conversation,
    underlay::{Underlay, XdpMode},
};
use l2sm_common::mac::Mac;
use l2sm_core::image::{Local, Path};

/// Two namespaces with a wire between them: `left` is the node, `right` the other end.
struct Wire {
    left: String,
    right: String,
}

const LEFT_MAC: &str = "02:aa:00:00:00:01";
const RIGHT_MAC: &str = "02:aa:00:00:00:02";

impl Wire {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("l2sm-wire-{side}-{}-{number}", std::process::id());
        let wire = Self { left: name("l"), right: name("r") };
        ip(&["netns", "add", &wire.left]);
        ip(&["netns", "add", &wire.right]);
        wire.on_left(&[
            "link",
            "add",
            "eth0",
            "address",
            LEFT_MAC,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            RIGHT_MAC,
            "netns",
            &wire.right,
        ]);
        for (side, host) in [(&wire.left, 1), (&wire.right, 2)] {
            ip(&["-n", side, "addr", "add", &format!("192.0.2.{host}/24"), "dev", "eth0"]);
            let v6 = format!("2001:db8::{host}/64");
            ip(&["-n", side, "addr", "add", &v6, "dev", "eth0", "nodad"]);
            ip(&["-n", side, "link", "set", "eth0", "up"]);
            ip(&["-n", side, "link", "set", "lo", "up"]);
        }
        wire
    }

    fn on_left(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", self.left.as_str()], arguments].concat())
    }

    /// Runs `work` in a thread that lives in the left namespace.
    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = Netns::open(&format!("/run/netns/{}", self.left), 0).unwrap();
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

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.left, &self.right] {
            let deleted = Command::new("ip").args(["netns", "del", name]).output();
            assert!(deleted.is_ok() || thread::panicking(), "{name} stays");
        }
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {error} (these tests need root)");
    String::from_utf8(output.stdout).unwrap()
}

fn links() -> KernelLinks {
    let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let underlay = Underlay { devices: vec!["eth0".to_owned()], addresses, named: true };
    KernelLinks::open(Settings { underlay, udp_port: 7000, mark: 0x2000, xdp: XdpMode::Off })
        .unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Observes until `holds`; fails with the last observation after a deadline.
fn observe_until(links: &mut KernelLinks, to: IpAddr, holds: impl Fn(&[Path]) -> bool) -> Local {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        links.look().unwrap();
        let local = links.observe(&[&[to]], true).unwrap();
        let paths = local.paths.get(&to).cloned().unwrap_or_default();
        if holds(&paths) {
            return local;
        }
        assert!(Instant::now() < deadline, "{paths:?}");
        thread::yield_now();
    }
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

#[test]
fn a_next_hop_is_resolved_and_kept() {
    let wire = Wire::new();
    wire.enter(|| {
        for to in ["192.0.2.2", "2001:db8::2"] {
            let resolved = |paths: &[Path]| paths.iter().any(|path| path.next_hop.is_some());
            let local = observe_until(&mut links(), address(to), resolved);
            let path = &local.paths[&address(to)][0];
            assert_eq!(
                (path.source_mac, path.next_hop),
                (Some(mac(LEFT_MAC)), Some(mac(RIGHT_MAC)))
            );
            assert_eq!(path.mtu, 1500);
            assert_eq!(local.uplinks.len(), 1);
        }
    });
    let shown = wire.on_left(&["-d", "neigh", "show"]);
    assert!(shown.contains("managed") && shown.contains("extern_learn"), "{shown}");
}

#[test]
fn a_next_hop_that_changes_its_mac_silently_is_noticed() {
    let wire = Wire::new();
    let right = wire.right.clone();
    wire.enter(|| {
        // The kernel's defaults take about a minute; the way is the same.
        for (setting, value) in [
            ("base_reachable_time_ms", "500"),
            ("delay_first_probe_time", "1"),
            ("interval_probe_time_ms", "500"),
            ("retrans_time_ms", "100"),
        ] {
            std::fs::write(format!("/proc/sys/net/ipv4/neigh/eth0/{setting}"), value).unwrap();
        }
        let mut links = links();
        let to = address("192.0.2.2");
        observe_until(&mut links, to, |paths| paths.iter().any(|path| path.next_hop.is_some()));
        ip(&["-n", &right, "link", "set", "eth0", "address", "02:aa:00:00:00:03"]);
        let moved = Some(mac("02:aa:00:00:00:03"));
        observe_until(&mut links, to, |paths| paths.iter().any(|path| path.next_hop == moved));
    });
}

#[test]
fn routes_through_a_gateway_and_their_mtu_are_followed() {
    let wire = Wire::new();
    wire.on_left(&["route", "add", "198.51.100.0/24", "via", "192.0.2.2", "mtu", "1400"]);
    wire.enter(|| {
        let to = address("198.51.100.7");
        let resolved = |paths: &[Path]| paths.iter().any(|path| path.next_hop.is_some());
        let local = observe_until(&mut links(), to, resolved);
        let path = &local.paths[&to][0];
        assert_eq!((path.next_hop, path.mtu), (Some(mac(RIGHT_MAC)), 1400));
    });
}

#[test]
fn every_way_of_a_multipath_route_is_a_path() {
    let wire = Wire::new();
    wire.on_left(&["neigh", "add", "192.0.2.3", "lladdr", "02:aa:00:00:00:09", "dev", "eth0"]);
    wire.on_left(&[
        "route",
        "add",
        "198.51.100.0/24",
        "nexthop",
        "via",
        "192.0.2.2",
        "nexthop",
        "via",
        "192.0.2.3",
    ]);
    wire.enter(|| {
        let to = address("198.51.100.7");
        let both =
            |paths: &[Path]| paths.iter().filter(|path| path.next_hop.is_some()).count() == 2;
        let local = observe_until(&mut links(), to, both);
        let hops: Vec<_> = local.paths[&to].iter().map(|path| path.next_hop).collect();
        assert_eq!(hops, [Some(mac(RIGHT_MAC)), Some(mac("02:aa:00:00:00:09"))]);
    });
}

#[test]
fn an_address_without_route_has_no_path() {
    let wire = Wire::new();
    wire.enter(|| {
        let to = address("203.0.113.1");
        let mut links = links();
        links.look().unwrap();
        let local = links.observe(&[&[to]], true).unwrap();
        assert_eq!(local.paths.get(&to), None);
    });
}

#[test]
fn next_hops_that_are_not_needed_any_more_are_let_go_of() {
    let wire = Wire::new();
    wire.on_left(&["neigh", "add", "192.0.2.9", "lladdr", "02:aa:00:00:00:09", "dev", "eth0"]);
    wire.enter(|| {
        let mut links = links();
        let to = address("192.0.2.2");
        observe_until(&mut links, to, |paths| paths.iter().any(|path| path.next_hop.is_some()));
        links.observe(&[], false).unwrap();
        assert!(ip_here(&["neigh"]).contains("192.0.2.2"), "kept while it is not settled");
        links.observe(&[], true).unwrap();
        let left = ip_here(&["neigh"]);
        assert!(!left.contains("192.0.2.2") && left.contains("192.0.2.9"), "{left}");
        observe_until(&mut links, to, |paths| paths.iter().any(|path| path.next_hop.is_some()));
        assert_eq!(netlink::remove_all().unwrap(), ["managed neighbour 192.0.2.2"]);
    });
}

/// `ip` in the calling thread's namespace.
fn ip_here(arguments: &[&str]) -> String {
    ip(arguments)
}

#[test]
fn the_underlay_is_that_of_the_route_to_the_controller_or_of_the_default_route() {
    let wire = Wire::new();
    wire.enter(|| {
        let mut kernel = Conversation::open().unwrap();
        let mut choose =
            |controller: &str| Underlay::choose(&mut kernel, &[], &[], &[address(controller)]);
        let direct = choose("192.0.2.2").unwrap();
        assert_eq!(direct.devices, ["eth0"]);
        assert_eq!(direct.addresses, [address("192.0.2.1")]);
        assert_eq!(choose("2001:db8::2").unwrap().addresses, [address("2001:db8::1")]);
        let none = choose("127.0.0.1").unwrap_err().to_string();
        assert!(none.starts_with("no underlay device: "), "{none}");
        ip(&["route", "add", "default", "via", "192.0.2.2"]);
        assert_eq!(choose("127.0.0.1").unwrap().devices, ["eth0"]);
    });
}

#[test]
fn a_change_on_the_node_is_noticed() {
    let wire = Wire::new();
    wire.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut monitor = Monitor::open().unwrap();
            ip(&["route", "add", "198.51.100.0/24", "via", "192.0.2.2"]);
            let noticed = tokio::time::timeout(Duration::from_secs(5), monitor.changed()).await;
            noticed.expect("noticed in time").unwrap();
        });
    });
}
