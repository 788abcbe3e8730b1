//! `--xdp`: what is to be dropped is dropped before the kernel has an skb, once and under the same
//! reason; a device of somebody else's XDP program is left alone.

use std::{process::Command, time::Duration};

use aya::programs::links::{FdLink, PinnedLink};
use l2sm_common::mac::Mac;
use l2sm_tests::{
    cluster::{Cluster, ClusterNode, ClusterPod, program},
    counter::Counter,
    frames,
    netns::Netns,
    probe::Probe,
    stream::transfer,
    wait,
};
use serde_json::{Value, json};

/// Forged frames of each kind.
const COUNT: u64 = 50;
/// A network's number that nobody has.
const NOBODYS: u32 = 999_999;

/// Two nodes, a pod on each, and a host of the underlay that sends what it should not.
struct Lab {
    cluster: Cluster,
    pods: [ClusterPod; 2],
    rogue: Netns,
}

fn lab() -> Lab {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    let rogue = cluster.host(66);
    Lab { cluster, pods, rogue }
}

impl Lab {
    /// Starts the first node's agent anew, with this `--xdp` and nothing else changed.
    fn restart(&mut self, mode: &str) {
        let node = &mut self.cluster.nodes[0];
        node.kill_agent();
        node.flags.retain(|flag| flag == "--insecure");
        node.flags.extend(["--xdp".to_owned(), mode.to_owned()]);
        node.start_agent();
        self.cluster.until_connected();
        wait::until("the agent has passed", || {
            let status = status(&self.cluster.nodes[0])?;
            (status["revision"] != 0 && status["networks"] != json!([])).then_some(())
        });
    }

    /// Starts it with this `--xdp`, and waits until XDP drops so: `feature`, or nothing.
    fn restart_until(&mut self, mode: &str, feature: Option<&str>) {
        self.restart(mode);
        let expected: Vec<&str> = feature.into_iter().collect();
        wait::until_equal("ways of XDP", &expected, || xdp_features(&self.cluster.nodes[0]));
    }

    /// Tunnel packets to the first node that must be dropped, each with its reason.
    fn forged(&self) -> [(&'static str, Vec<u8>); 5] {
        let vni = self.cluster.get("networks")[0]["status"]["vni"].as_u64().expect("a VNI");
        let vni = u32::try_from(vni).expect("24 bits");
        let node = self.cluster.nodes[0].netns.mac("eth0");
        let inner = frames::ethernet(self.pods[0].mac(), Mac([2, 0, 0, 0, 0, 9]), 0x88b5, &[7; 60]);
        let tunnel = |source: u8, flags: u8, vni: u32, inner: &[u8]| {
            let udp = frames::udp(50_000, 7000, &frames::vxlan(flags, vni, inner));
            let packet = frames::ipv4([192, 0, 2, source], [192, 0, 2, 1], 17, 0, &udp);
            frames::ethernet(node, self.rogue.mac("eth0"), 0x0800, &packet)
        };
        [
            ("unknown_vtep", tunnel(99, 8, vni, &inner)),
            ("unknown_vni", tunnel(2, 8, NOBODYS, &inner)),
            ("invalid_vxlan", tunnel(2, 0, vni, &inner)),
            ("reserved_bits", tunnel(2, 0x88, vni, &inner)),
            ("truncated", tunnel(2, 8, vni, &inner[..10])),
        ]
    }

    /// Sends forged frames and waits until each is counted, once; how many of them the node's kernel
    /// saw behind XDP.
    fn send_forged(&self) -> usize {
        let node = &self.cluster.nodes[0];
        let behind = Probe::open(&node.netns, "eth0");
        let sender = Probe::open(&self.rogue, "eth0");
        let forged = self.forged();
        let dropped = || forged.each_ref().map(|(reason, _frame)| node.dropped(reason));
        let before = dropped();
        for _ in 0..COUNT {
            for (_reason, frame) in &forged {
                sender.send(frame);
            }
        }
        // Behind all of them, so that all have been judged when it is seen.
        let last = frames::ethernet(Mac::BROADCAST, self.rogue.mac("eth0"), 0x88b6, &[9; 60]);
        sender.send(&last);
        let ours = |frame: &[u8]| forged.iter().any(|(_reason, forged)| frame == forged);
        let mut seen = behind.receive_until(|frame| frame == last);
        let expected = before.map(|count| count + COUNT);
        wait::until_equal("forged frames dropped, each under its reason", &expected, dropped);
        seen.extend(behind.receive(usize::MAX, Duration::from_millis(200), |_frame| true));
        assert_eq!(dropped(), expected, "each once");
        seen.iter().filter(|frame| ours(frame)).count()
    }

    /// Pods reach one another, with every byte, in both directions.
    fn assert_traffic(&self) {
        let [a, b] = &self.pods;
        assert_eq!(a.netns.ping(b.address(), 5), 5);
        transfer(&a.netns, &b.netns, b.address(), 1 << 26);
        transfer(&b.netns, &a.netns, a.address(), 1 << 26);
    }
}

/// The agent's status, once it answers.
fn status(node: &ClusterNode) -> Option<Value> {
    let output = node.ctl(&["status", "-o", "json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The ways of XDP in use.
fn xdp_features(node: &ClusterNode) -> Vec<&'static str> {
    let status = node.status();
    let features = status["features"].as_array().cloned().unwrap_or_default();
    let known = ["xdp-native", "xdp-generic"];
    known.into_iter().filter(|way| features.contains(&json!(way))).collect()
}

/// What the kernel says of a device's XDP program: its mode (1: by the driver, 2: by the kernel) and
/// the program's number.
fn running(netns: &Netns, device: &str) -> Option<(u64, u64)> {
    let shown = netns.ip(&format!("-json link show {device}"));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let xdp = &shown[0]["xdp"];
    Some((xdp["mode"].as_u64()?, xdp["prog"]["id"].as_u64()?))
}

/// The kernel's number of the pinned link of a hook of `eth0`.
fn link_id(node: &ClusterNode, hook: &str) -> u32 {
    let pin = format!("links/{}-{hook}", node.netns.ifindex("eth0"));
    let link = PinnedLink::from_pin(node.bpffs().join(pin)).expect("a pinned link");
    FdLink::from(link).info().expect("the kernel knows it").id()
}

/// What `XDPMissing` says in the agent's status.
fn missing(node: &ClusterNode) -> Option<String> {
    let status = node.status();
    let errors = status["errors"].as_array().cloned().unwrap_or_default();
    let text = |error: &Value| error.as_str().unwrap_or_default().to_owned();
    errors.iter().map(text).find(|error| error.starts_with("XDPMissing: "))
}

/// What `l2sm-agent check` says under a name.
fn checked(node: &ClusterNode, mode: &str, name: &str) -> String {
    let output = Command::new("nsenter")
        .arg(format!("--net={}", node.netns.path()))
        .arg(program("l2sm-agent"))
        .args(["check", "--underlay-device", "eth0", "--xdp", mode])
        .output()
        .expect("the agent is built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains(&format!(" {name}: ")));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).to_owned()
}

#[test]
fn xdp_drops_forged_frames_by_the_driver_and_by_the_kernel() {
    let mut lab = lab();
    let all = usize::try_from(5 * COUNT).unwrap();
    assert_eq!(xdp_features(&lab.cluster.nodes[0]), Vec::<&str>::new(), "a veth is no hardware");
    assert_eq!(lab.send_forged(), all, "tc drops behind the packet socket");
    for (mode, feature, kernel) in [("native", "xdp-native", 1), ("generic", "xdp-generic", 2)] {
        lab.restart_until(mode, Some(feature));
        assert_eq!(
            running(&lab.cluster.nodes[0].netns, "eth0").map(|(mode, _)| mode),
            Some(kernel)
        );
        assert_eq!(lab.send_forged(), 0, "{mode}: XDP drops before it");
        lab.assert_traffic();
        assert_eq!(missing(&lab.cluster.nodes[0]), None);
        let status = lab.cluster.nodes[0].status();
        let drops = status["drops"].as_array().cloned().unwrap_or_default();
        assert_eq!(drops.len(), 5, "nothing else is dropped: {drops:?}");
        let shown = lab.cluster.get("nodes");
        let n1 = shown.iter().find(|node| node["metadata"]["name"] == "n1").expect("n1");
        let features = &n1["status"]["features"];
        assert!(features.as_array().is_some_and(|all| all.contains(&json!(feature))), "{features}");
    }
    lab.restart_until("off", None);
    assert_eq!(running(&lab.cluster.nodes[0].netns, "eth0"), None);
    assert_eq!(lab.send_forged(), all);
}

#[test]
fn a_restart_replaces_the_program_in_its_link_and_cleanup_removes_it() {
    let mut lab = lab();
    for (mode, hook) in [("native", "l2sm_uplink_xdp"), ("generic", "l2sm_uplink_xdp_generic")] {
        let feature = format!("xdp-{mode}");
        lab.restart_until(mode, Some(&feature));
        let node = &lab.cluster.nodes[0];
        let (link, before) = (link_id(node, hook), running(&node.netns, "eth0"));
        lab.restart_until(mode, Some(&feature));
        let node = &lab.cluster.nodes[0];
        assert_eq!(link_id(node, hook), link, "{mode}: the same link");
        let after = running(&node.netns, "eth0");
        assert_ne!(after, before, "{mode}: another program");
        assert_eq!(after.map(|(mode, _)| mode), before.map(|(mode, _)| mode));
    }
    lab.cluster.nodes[0].kill_agent();
    assert_eq!(lab.pods[0].netns.ping(lab.pods[1].address(), 3), 3, "it forwards on");
    let node = &lab.cluster.nodes[0];
    assert!(running(&node.netns, "eth0").is_some());
    let output = node.cleanup();
    let removed = String::from_utf8_lossy(&output.stdout);
    assert!(removed.contains("-l2sm_uplink_xdp_generic"), "{removed}");
    wait::until_equal("XDP programs of eth0", &None, || running(&node.netns, "eth0"));
}

#[test]
fn a_foreign_xdp_program_stays_and_the_agent_says_so() {
    let mut lab = lab();
    let foreign = Counter::attach_xdp(&lab.cluster.nodes[0].netns, "eth0");
    let theirs = running(&lab.cluster.nodes[0].netns, "eth0").expect("it is attached");
    lab.restart("native");

    let said = wait::until("the agent says so", || missing(&lab.cluster.nodes[0]));
    let named = format!("(id {}) of somebody else, which stays: only tc drops there", theirs.1);
    assert!(said.starts_with("XDPMissing: eth0 runs the XDP program "), "{said}");
    assert!(said.ends_with(&named), "{said}");
    let line = checked(&lab.cluster.nodes[0], "native", "xdp");
    assert!(line.starts_with("WARN ") && line.contains("eth0 runs the XDP program"), "{line}");
    assert_eq!(running(&lab.cluster.nodes[0].netns, "eth0"), Some(theirs));
    let seen = foreign.seen();
    assert_eq!(lab.send_forged(), usize::try_from(5 * COUNT).unwrap(), "tc drops");
    assert!(foreign.seen() >= seen + 5 * COUNT);
    lab.assert_traffic();
    assert_eq!(xdp_features(&lab.cluster.nodes[0]), Vec::<&str>::new());

    drop(foreign);
    wait::until_equal("ways of XDP", &vec!["xdp-native"], || xdp_features(&lab.cluster.nodes[0]));
    assert_eq!(missing(&lab.cluster.nodes[0]), None);
    assert_eq!(lab.send_forged(), 0);
}

#[test]
fn a_driver_that_takes_no_xdp_is_named_and_tc_goes_on() {
    let mut lab = lab();
    let netns = &lab.cluster.nodes[0].netns;
    // A bridge has no XDP of its own. Down first, so that the address is never on two devices.
    netns.ip("link add br0 type bridge mcast_snooping 0");
    netns.ip(&format!("link set br0 mtu 1600 address {}", netns.mac("eth0")));
    netns.ip("address del 192.0.2.1/24 dev eth0");
    netns.ip("link set eth0 master br0");
    netns.ip("link set br0 up");
    netns.ip("address add 192.0.2.1/24 dev br0");
    lab.cluster.nodes[0].controllers = vec![lab.cluster.url()];
    lab.restart("native");

    let said = wait::until("the agent says so", || missing(&lab.cluster.nodes[0]));
    assert!(said.starts_with("XDPMissing: br0 takes no native XDP program: "), "{said}");
    assert!(said.ends_with("; only tc drops there") && !said.contains('\n'), "{said}");
    lab.assert_traffic();
    lab.restart_until("generic", Some("xdp-generic"));
    assert_eq!(missing(&lab.cluster.nodes[0]), None);
    lab.assert_traffic();
}

#[test]
fn check_says_what_native_xdp_costs_a_veth() {
    let cluster = Cluster::new(1);
    let node = &cluster.nodes[0];
    let native = checked(node, "native", "xdp");
    assert!(native.starts_with("WARN ") && native.contains("eth0") && native.contains("TSO"));
    for mode in ["auto", "generic", "off"] {
        let line = checked(node, mode, "xdp");
        assert!(line.starts_with("ok  ") && line.contains("eth0"), "{line}");
    }
}
