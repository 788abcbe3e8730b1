//! Network namespaces that a test makes, and that are gone after it.

use std::{
    fs::File,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use l2sm_common::mac::Mac;
use nix::sched::{CloneFlags, setns};

/// A network namespace, deleted when dropped, also by a panic.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes `l2sm-t<pid>-<count>-<role>`, with loopback up.
    pub fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("l2sm-t{}-{count}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let netns = Self { name };
        netns.ip("link set lo up");
        netns
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Has devices made from now on speak only when spoken to: no IPv6, so no solicitations of their
    /// own, and counters stay exact.
    #[must_use]
    pub fn without_ipv6(self) -> Self {
        self.run(|| {
            for scope in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
                std::fs::write(&path, "1").unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
        self
    }

    /// Has it forward packets of both families, as a router does.
    pub fn forward(&self) {
        self.run(|| {
            for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                let path = format!("/proc/sys/net/{path}");
                std::fs::write(&path, "1").unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
    }

    /// Runs `ip ARGUMENTS` inside; panics when it fails.
    pub fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        run("ip", &all)
    }

    /// Runs a program inside (without a new mount namespace, so bpffs stays in view).
    pub fn output(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new("nsenter")
            .arg(format!("--net={}", self.path()))
            .arg(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("nsenter {program}: {error}"))
    }

    /// Runs a closure inside, on a thread of its own.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter();
                inside()
            });
            match worker.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) {
        let file = File::open(self.path()).expect("the namespace exists");
        setns(file, CloneFlags::CLONE_NEWNET).expect("tests need root");
    }

    /// ifindex of a device inside.
    pub fn ifindex(&self, device: &str) -> u32 {
        self.run(|| nix::net::if_::if_nametoindex(device).expect("the device exists"))
    }

    /// MAC of a device inside.
    pub fn mac(&self, device: &str) -> Mac {
        self.find_mac(device).expect("a MAC")
    }

    /// MAC of a device inside; `None`: it has no link-layer header.
    pub fn find_mac(&self, device: &str) -> Option<Mac> {
        let link = self.ip(&format!("-json link show {device}"));
        let link: serde_json::Value = serde_json::from_str(&link).expect("ip prints JSON");
        link[0]["address"].as_str().and_then(|text| text.parse().ok())
    }

    /// Round trips of `count` pings that were answered. They go out at once: the program waits as long
    /// as its interval, a second, for the last ones.
    pub fn ping(&self, target: &str, count: u32) -> u32 {
        let count = count.to_string();
        let all_at_once = ["-n", "-c", &count, "-l", &count, "-i", "1", "-W", "1", target];
        let output = self.output("ping", &all_at_once);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let received = text.split(", ").find_map(|part| part.strip_suffix(" received"));
        received.and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            panic!("ping {target}: {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Nothing to do about a failure while a panic may be under way.
        drop(Command::new("ip").args(["netns", "delete", &self.name]).output());
    }
}

/// A pod's namespace: without IPv6 unless one of its addresses is.
pub fn pod_netns(role: &str, addresses: &[&str]) -> Netns {
    let netns = Netns::new(role);
    if addresses.iter().any(|address| address.contains(':')) { netns } else { netns.without_ipv6() }
}

/// A node's namespace with 192.0.2.1/16 on `ul0`, and one at the other end of that wire, which has an
/// `ul0` of its own and only listens. Neither speaks by itself.
pub fn node_on_a_wire(mtu: u32) -> (Netns, Netns) {
    let wire = Netns::new("wire").without_ipv6();
    let netns = Netns::new("ours").without_ipv6();
    join((&netns, "ul0"), (&wire, "ul0"), mtu);
    netns.ip("address add 192.0.2.1/16 dev ul0");
    (netns, wire)
}

/// Joins two namespaces by a veth pair, both ends up; the first gets no IPv6 address by itself.
pub fn join(a: (&Netns, &str), b: (&Netns, &str), mtu: u32) {
    let (netns_a, device_a) = a;
    let (netns_b, device_b) = b;
    netns_a.ip(&format!(
        "link add name {device_a} mtu {mtu} type veth peer name {device_b} mtu {mtu} netns {}",
        netns_b.name()
    ));
    netns_a.ip(&format!("link set {device_a} addrgenmode none up"));
    netns_b.ip(&format!("link set {device_b} up"));
}

/// Runs a program; panics, with what it said, when it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
