//! A node of ours without an agent: devices made by `ip`, maps filled from fixed instructions by the
//! agent's own code ([`image`], [`diff`], [`KernelDatapath`]).

use std::{net::IpAddr, path::PathBuf};

use l2sm_agent::datapath::{Datapath as _, KernelDatapath, remove_pins};
use l2sm_common::{
    abi,
    ids::{Group, IfIndex},
    mac::Mac,
    maps::{DropKey, Traffic},
    reason::DropReason,
    vni::Vni,
};
use l2sm_core::{
    diff::diff,
    image::{Image, Local, LocalPort, Path, Uplink, Xdp, image},
    instructions::{Host, Instructions, Member, Place, Port, Segment, Vtep},
    model::ObjectKey,
};

use crate::netns::{Netns, join, pod_netns};

/// UDP port of the tests' tunnels.
pub const UDP_PORT: u16 = abi::UDP_PORT;

/// A node whose programs and maps are ours.
pub struct Node {
    /// The node's namespace; its underlay device is `ul0`.
    pub netns: Netns,
    /// What it was told.
    pub instructions: Instructions,
    /// What it knows by itself.
    pub local: Local,
    bpffs: PathBuf,
    datapath: KernelDatapath,
}

/// A pod of such a node; its interface is `net1`.
#[derive(Debug)]
pub struct Pod {
    /// The pod's namespace.
    pub netns: Netns,
    /// Its MAC.
    pub mac: Mac,
    /// ifindex of its host end.
    pub host: u32,
}

impl Node {
    /// Makes a node with underlay address `address` on `ul0`, which must exist.
    pub fn new(netns: Netns, address: &str) -> Self {
        netns.ip("link add l2sm-br type bridge");
        netns.ip(&format!(
            "link add l2sm-vxlan mtu 65485 type vxlan external dstport {UDP_PORT} nolearning \
             udp6zerocsumrx"
        ));
        netns.ip("link set l2sm-vxlan addrgenmode none");
        netns.ip("link set l2sm-br addrgenmode none");
        netns.ip("link set l2sm-vxlan master l2sm-br");
        netns.ip("link set l2sm-vxlan up");
        let bpffs = PathBuf::from(format!("/sys/fs/bpf/{}", netns.name()));
        let datapath = netns.run(|| KernelDatapath::open(&bpffs).expect("the programs load"));
        let uplink = IfIndex(netns.ifindex("ul0"));
        let mac = netns.find_mac("ul0");
        let local = Local {
            uplinks: [(uplink, Uplink { mac, mtu: mtu(&netns, "ul0"), xdp: Xdp::Off })].into(),
            addresses: vec![address.parse().expect("an address")],
            vxlan: Some(IfIndex(netns.ifindex("l2sm-vxlan"))),
            udp_port: UDP_PORT,
            mark: abi::MARK,
            ..Local::default()
        };
        Self { netns, instructions: Instructions::default(), local, bpffs, datapath }
    }

    /// Adds a segment.
    pub fn segment(&mut self, vni: u32, mtu: u32) {
        let network = ObjectKey::new("default", format!("net{vni}"));
        let segment = Segment { network, mtu, flood: true, learning: false };
        self.instructions.segments.insert(Vni::new(vni).expect("a VNI"), segment);
    }

    /// Makes a pod in a segment.
    pub fn pod(&mut self, vni: u32, host: u8, addresses: &[&str], mtu: u32) -> Pod {
        self.plug(pod_netns("pod", addresses), vni, host, None, addresses, mtu)
    }

    /// Makes a pod with this MAC and without addresses: it says nothing by itself.
    pub fn pod_with_mac(&mut self, vni: u32, host: u8, mac: Mac, mtu: u32) -> Pod {
        self.plug(pod_netns("pod", &[]), vni, host, Some(mac), &[], mtu)
    }

    fn plug(
        &mut self,
        pod: Netns,
        vni: u32,
        host: u8,
        mac: Option<Mac>,
        addresses: &[&str],
        mtu: u32,
    ) -> Pod {
        let device = format!("h{vni}-{host}");
        join((&self.netns, &device), (&pod, "net1"), mtu);
        if let Some(mac) = mac {
            pod.ip(&format!("link set net1 address {mac}"));
        }
        self.netns.ip(&format!("link set {device} addrgenmode none master l2sm-br"));
        for address in addresses {
            pod.ip(&format!("address add {address} dev net1 nodad"));
        }
        let mac = pod.mac("net1");
        let host_index = self.netns.ifindex(&device);
        let key = ObjectKey::new("default", device);
        let vni = Vni::new(vni).expect("a VNI");
        let nets: Vec<_> = addresses.iter().map(|text| text.parse().expect("a CIDR")).collect();
        let port = Port {
            vni,
            ifname: "net1".into(),
            netns: Some(pod.path()),
            netns_inode: 0,
            pod: None,
            pod_uid: None,
            mac,
            addresses: nets.clone(),
            mtu,
            mac_check: true,
            forwarder: false,
        };
        self.instructions.ports.insert(key.clone(), port);
        let ips = nets.iter().map(ipnet::IpNet::addr).collect();
        let place = Place::Port(key.clone());
        self.instructions.hosts.insert((vni, mac), Host { ips, place, router: None });
        self.local.ports.insert(key, LocalPort { device: IfIndex(host_index), peer: true });
        Pod { netns: pod, mac, host: host_index }
    }

    /// Pods of a segment may send from MACs that nobody listed, and get what is for those.
    pub fn allow_other_macs(&mut self, vni: u32) {
        let ports = self.instructions.ports.values_mut().filter(|port| port.vni.get() == vni);
        ports.for_each(|port| port.mac_check = false);
    }

    /// Adds a remote VTEP that is reached over `ul0`, with its next hop's MAC.
    pub fn vtep(&mut self, name: &str, address: &str, next_hop: Option<Mac>) {
        let remote: IpAddr = address.parse().expect("an address");
        let vtep = Vtep { addresses: vec![remote], udp_checksum: false };
        self.instructions.vteps.insert(name.into(), vtep);
        let (device, uplink) = self.local.uplinks.iter().next().expect("an uplink");
        let source = *self.local.addresses.first().expect("an address");
        let path =
            Path { device: *device, source, mtu: uplink.mtu, source_mac: uplink.mac, next_hop };
        self.local.paths.insert(remote, vec![path]);
    }

    /// The VTEP takes part in a segment.
    pub fn member(&mut self, vni: u32, vtep: &str) {
        let member = Member { group: Group::MESH, unknown: false, external: false, learn: false };
        let vni = Vni::new(vni).expect("a VNI");
        self.instructions.members.insert((vni, vtep.into()), member);
    }

    /// A station behind a VTEP is known.
    pub fn host(&mut self, vni: u32, vtep: &str, mac: Mac, ips: &[&str]) {
        let ips = ips.iter().map(|text| text.parse().expect("an address")).collect();
        let place = Place::Vtep(vtep.into());
        let vni = Vni::new(vni).expect("a VNI");
        self.instructions.hosts.insert((vni, mac), Host { ips, place, router: None });
    }

    /// Brings maps and links to what instructions and local state say.
    pub fn program(&mut self) {
        let Self { netns, instructions, local, datapath, .. } = self;
        netns.run(|| {
            let actual = datapath.read().expect("maps can be read");
            let (desired, problems) = image(instructions, local, &actual);
            assert!(problems.is_empty(), "{problems:?}");
            for change in diff(&desired, &actual) {
                datapath.apply(&change).unwrap_or_else(|error| panic!("{change}: {error}"));
            }
        });
    }

    /// What the maps hold now.
    pub fn image(&mut self) -> Image {
        let Self { netns, datapath, .. } = self;
        netns.run(|| datapath.read().expect("maps can be read"))
    }

    /// A segment's counters.
    pub fn traffic(&mut self, vni: u32) -> Traffic {
        let slot = self.slot(vni);
        let all = self.datapath.traffic().expect("counters can be read");
        all.get(&slot).copied().unwrap_or_default()
    }

    /// Packets dropped for a reason in a segment (`None`: in no known one).
    pub fn dropped(&mut self, vni: Option<u32>, reason: DropReason) -> u64 {
        let slot = vni.map_or(0, |vni| self.slot(vni));
        let drops = self.datapath.drops().expect("counters can be read");
        drops.get(&DropKey { slot, reason: reason.number() }).copied().unwrap_or(0)
    }

    /// All drops, for a test that expects just these to have moved.
    pub fn drops(&mut self) -> Vec<(u32, &'static str, u64)> {
        let drops = self.datapath.drops().expect("counters can be read");
        let named = drops.iter().map(|(key, count)| {
            let reason = DropReason::from_number(key.reason).expect("a reason");
            (key.slot, reason.label(), *count)
        });
        named.collect()
    }

    fn slot(&mut self, vni: u32) -> u32 {
        self.image().segments.get(&vni).expect("the segment is programmed").slot
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing to do about a failure while a panic may be under way.
        drop(remove_pins(&self.bpffs));
        drop(std::fs::remove_dir_all(&self.bpffs));
    }
}

fn mtu(netns: &Netns, device: &str) -> u32 {
    let link = netns.ip(&format!("-json link show {device}"));
    let link: serde_json::Value = serde_json::from_str(&link).expect("ip prints JSON");
    link[0]["mtu"].as_u64().and_then(|mtu| u32::try_from(mtu).ok()).expect("an MTU")
}
