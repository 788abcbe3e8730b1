//! The other node: the kernel's own vxlan device and bridge.

use l2sm_common::mac::Mac;

use crate::netns::{Netns, join, pod_netns};

/// A node whose segments are a kernel vxlan device and a bridge each.
#[derive(Debug)]
pub struct KernelNode {
    /// The node's namespace; its underlay device is `ul0`.
    pub netns: Netns,
}

/// A pod behind a kernel bridge; its interface is `net1`.
#[derive(Debug)]
pub struct KernelPod {
    /// The pod's namespace.
    pub netns: Netns,
    /// Its MAC.
    pub mac: Mac,
}

impl KernelNode {
    /// Makes the namespace, without IPv6 of its own; the caller joins `ul0` to the underlay and gives it an address.
    pub fn new() -> Self {
        Self { netns: Netns::new("kernel").without_ipv6() }
    }

    /// Makes a segment: bridge `br<vni>`, vxlan device `vx<vni>` that floods to `remote`. Learning
    /// stays on, as by default.
    pub fn segment(&self, vni: u32, local: &str, remote: &str, udp_port: u16) {
        let netns = &self.netns;
        netns.ip(&format!("link add br{vni} type bridge mcast_snooping 0"));
        bridge_only(netns);
        netns.ip(&format!(
            "link add vx{vni} type vxlan id {vni} local {local} remote {remote} dstport {udp_port}"
        ));
        // The node itself says nothing in the segment: counters stay exact.
        netns.ip(&format!("link set br{vni} addrgenmode none"));
        netns.ip(&format!("link set vx{vni} addrgenmode none master br{vni}"));
        netns.ip(&format!("link set br{vni} up"));
        netns.ip(&format!("link set vx{vni} up"));
    }

    /// Has a segment flood to one more VTEP.
    pub fn floods_to(&self, vni: u32, remote: &str) {
        let device = format!("vx{vni}");
        let everybody = ["fdb", "append", "00:00:00:00:00:00", "dev", &device, "dst", remote];
        let output = self.netns.output("bridge", &everybody);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes a pod in a segment.
    pub fn pod(&self, vni: u32, host: u8, addresses: &[&str], mtu: u32) -> KernelPod {
        let pod = pod_netns("kpod", addresses);
        let device = format!("k{vni}-{host}");
        join((&self.netns, &device), (&pod, "net1"), mtu);
        self.netns.ip(&format!("link set {device} addrgenmode none master br{vni}"));
        for address in addresses {
            pod.ip(&format!("address add {address} dev net1 nodad"));
        }
        let mac = pod.mac("net1");
        KernelPod { netns: pod, mac }
    }

    /// Makes a pod with this MAC and without addresses: it says nothing by itself.
    pub fn pod_with_mac(&self, vni: u32, host: u8, mac: Mac, mtu: u32) -> KernelPod {
        let pod = self.pod(vni, host, &[], mtu);
        pod.netns.ip(&format!("link set net1 address {mac}"));
        KernelPod { mac, ..pod }
    }
}

/// Has bridges hand no frame to the host's IP checks and firewall, which are no part of a switch.
fn bridge_only(netns: &Netns) {
    netns.run(|| {
        for tables in ["iptables", "ip6tables", "arptables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{tables}");
            // Absent where the kernel has no such checks.
            if std::path::Path::new(&path).exists() {
                std::fs::write(&path, "0").unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        }
    });
}

impl Default for KernelNode {
    fn default() -> Self {
        Self::new()
    }
}
