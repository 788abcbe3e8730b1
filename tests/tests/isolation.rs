//! Isolation: fifty networks with the same MACs and addresses, hostile frames from their pods and
//! from the underlay. No pod sees a frame of another network, and every frame is either delivered or
//! counted under the reason that it was dropped for.

use std::collections::BTreeMap;

use l2sm_common::{mac::Mac, reason::DropReason};
use l2sm_tests::{
    cluster::{Cluster, ClusterPod},
    frames,
    netns::Netns,
    node::UDP_PORT,
    probe::Probe,
    wait,
};

const NETWORKS: usize = 50;
/// Frames that each pod of these networks sends.
const FROM_EACH_POD: usize = 1600;
const FROM_UNDERLAY: usize = 40_000;
/// Frames sent at once, and before everybody is looked at again by each sender.
const BURST: usize = 100;
/// The MACs of each network's two pods.
const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
/// Begins the last eight bytes of every frame sent here.
const MARKER: [u8; 4] = *b"net ";

/// What must become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// One pod of the network that its marker names gets it.
    Delivered,
    Dropped(DropReason),
}

/// What has been sent and seen.
#[derive(Debug, Default)]
struct Account {
    sent: usize,
    delivered: u64,
    dropped: BTreeMap<&'static str, u64>,
    seen: u64,
}

impl Account {
    fn expect(&mut self, fate: Fate) {
        self.sent += 1;
        match fate {
            Fate::Delivered => self.delivered += 1,
            Fate::Dropped(reason) => *self.dropped.entry(reason.label()).or_default() += 1,
        }
    }

    /// Looks at what arrived: all of it belongs to the network of whoever got it.
    fn look(&mut self, listeners: &[(usize, Probe)]) {
        for (network, probe) in listeners {
            for frame in probe.drain() {
                let (_, end) = frame.split_at(frame.len() - 8);
                assert_eq!(end[..4], MARKER, "network {network} gets {frame:02x?}");
                let from = u32::from_be_bytes(end[4..].try_into().unwrap());
                assert_eq!(from, marker_number(*network), "network {network} gets {frame:02x?}");
                self.seen += 1;
            }
        }
    }
}

struct Lab {
    cluster: Cluster,
    /// Two for each network, on either node.
    pods: Vec<[ClusterPod; 2]>,
    /// In a network of its own, on the first node.
    lonely: ClusterPod,
}

fn lab() -> Lab {
    let cluster = Cluster::new(2);
    for number in 0..=NETWORKS {
        cluster.network(&format!("iso{number}"), "10.0.0.0/24");
    }
    let pod = |network: usize, node: usize| {
        // Pods that say nothing by themselves.
        let netns = Netns::new("ipod").without_ipv6();
        let (name, mac) = (format!("iso{network}"), MACS[node].to_string());
        let address = format!("10.0.0.{}/24", node + 1);
        let attached =
            cluster.nodes[node].attach(&name, &netns, &["--mac", &mac, "--ip", &address]);
        ClusterPod { netns, attached }
    };
    let pods: Vec<_> = (0..NETWORKS).map(|network| [0, 1].map(|node| pod(network, node))).collect();
    let lonely = pod(NETWORKS, 0);
    for pods in &pods {
        // Both nodes have what the other's pods need.
        wait::until_equal("pings", &1, || pods[0].netns.ping("10.0.0.2", 1));
        assert_eq!(pods[1].netns.ping("10.0.0.1", 1), 1);
    }
    Lab { cluster, pods, lonely }
}

impl Lab {
    fn vni(&self, network: usize) -> u32 {
        let pod = self.pods.get(network).map_or(&self.lonely, |pods| &pods[0]);
        pod.attached["vni"].as_u64().and_then(|vni| u32::try_from(vni).ok()).unwrap()
    }

    /// What every pod hears, with its network.
    fn listeners(&self) -> Vec<(usize, Probe)> {
        let pods = self.pods.iter().enumerate().flat_map(|(network, pods)| {
            pods.each_ref().map(|pod| (network, Probe::open(&pod.netns, pod.ifname())))
        });
        let lonely = Probe::open(&self.lonely.netns, self.lonely.ifname());
        pods.chain([(NETWORKS, lonely)]).collect()
    }

    /// Checks that everything sent was delivered, or dropped and counted, and nothing else.
    fn settle(
        &self,
        account: &mut Account,
        listeners: &[(usize, Probe)],
        before: &BTreeMap<String, u64>,
    ) {
        let expected = account.dropped.clone();
        wait::until_equal("drops by reason", &expected, || {
            let after = self.cluster.drops();
            let moved = DropReason::ALL.iter().map(|reason| {
                let label = reason.label();
                let of = |sums: &BTreeMap<String, u64>| sums.get(label).copied().unwrap_or(0);
                (label, of(&after) - of(before))
            });
            moved.filter(|(_, count)| *count != 0).collect()
        });
        let delivered = account.delivered;
        wait::until_equal("frames delivered", &delivered, || {
            account.look(listeners);
            account.seen
        });
        let dropped: u64 = account.dropped.values().sum();
        assert_eq!(u64::try_from(account.sent).unwrap(), account.seen + dropped);
        println!(
            "{} sent: {} delivered, dropped {:?}",
            account.sent, account.seen, account.dropped
        );
    }
}

/// The number in a network's marker.
fn marker_number(network: usize) -> u32 {
    u32::try_from(network).unwrap()
}

fn marked(mut frame: Vec<u8>, network: usize) -> Vec<u8> {
    frame.extend(MARKER);
    frame.extend(marker_number(network).to_be_bytes());
    frame
}

/// Numbers without a pattern, the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[3]
    }

    fn station(&mut self) -> Mac {
        Mac([0x06, self.byte(), self.byte(), self.byte(), self.byte(), self.byte()])
    }
}

/// A hostile frame of a pod, and what must become of it.
fn from_pod(random: &mut Random, network: usize, node: usize, vnis: &[u32]) -> (Vec<u8>, Fate) {
    use DropReason::{Hairpin, InvalidSourceMac, LinkLocal, SpoofedMac, UnknownUnicast};
    let (own, peer) = (MACS[node], MACS[1 - node]);
    let (to, mut fate) = match random.below(8) {
        0..3 => (peer, Fate::Delivered),
        3 => (Mac::BROADCAST, Fate::Delivered),
        4 => (Mac([0x01, 0x00, 0x5e, 0, 0, random.byte()]), Fate::Delivered),
        5 => (Mac([0x01, 0x80, 0xc2, 0, 0, 1 + random.byte() % 15]), Fate::Dropped(LinkLocal)),
        6 => (own, Fate::Dropped(Hairpin)),
        _ => (random.station(), Fate::Dropped(UnknownUnicast)),
    };
    let from = match random.below(10) {
        0 => (peer, Some(SpoofedMac)),
        1 => (random.station(), Some(SpoofedMac)),
        2 => (Mac::BROADCAST, Some(InvalidSourceMac)),
        3 => (Mac([0; 6]), Some(InvalidSourceMac)),
        _ => (own, None),
    };
    let (from, refused) = from;
    fate = refused.map_or(fate, Fate::Dropped);
    let (ethertype, payload) = payload(random, vnis);
    (marked(frames::ethernet(to, from, ethertype, &payload), network), fate)
}

/// What a hostile pod has to say: tunnel packets to the nodes above all.
fn payload(random: &mut Random, vnis: &[u32]) -> (u16, Vec<u8>) {
    let filler: Vec<u8> = (0..20 + random.below(200)).map(|_| random.byte()).collect();
    let inner = frames::ethernet(MACS[random.below(2)], random.station(), 0x88b5, &filler);
    let vxlan = frames::vxlan(8, vnis[random.below(vnis.len())], &inner);
    let udp = frames::udp(50_000, UDP_PORT, &vxlan);
    let [near, far] = if random.below(2) == 0 { [1, 2] } else { [2, 1] };
    match random.below(5) {
        0 => (0x0800, frames::ipv4([192, 0, 2, near], [192, 0, 2, far], 17, 0, &udp)),
        1 => (0x0800, frames::ipv4([10, 0, 0, near], [192, 0, 2, far], 17, 0, &udp)),
        2 => (0x86dd, frames::ipv6([0xfd; 16], [0xfc; 16], 17, 0, &udp)),
        3 => (0x88b5, filler),
        _ => (0x0600 + u16::from(random.byte()), filler),
    }
}

#[test]
fn hostile_pods_reach_only_their_own_network() {
    let lab = lab();
    let vnis: Vec<_> = (0..=NETWORKS).map(|network| lab.vni(network)).collect();
    let listeners = lab.listeners();
    let before = lab.cluster.drops();
    let mut account = Account::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..FROM_EACH_POD / BURST {
        for (pod, (network, probe)) in listeners.iter().take(2 * NETWORKS).enumerate() {
            let frames: Vec<_> = (0..BURST)
                .map(|_| {
                    let (frame, fate) = from_pod(&mut random, *network, pod % 2, &vnis);
                    account.expect(fate);
                    frame
                })
                .collect();
            probe.send_all(&frames);
        }
        account.look(&listeners);
    }
    lab.settle(&mut account, &listeners, &before);
    assert_eq!(account.sent, 2 * NETWORKS * FROM_EACH_POD);
}

/// A hostile tunnel packet to the first node, and what must become of it. Only what pretends to be
/// the second node, in a network of both, cannot be told from its own.
fn from_underlay(random: &mut Random, vnis: &[u32], outer: [Mac; 2]) -> (Vec<u8>, Fate) {
    use DropReason::{
        InvalidSourceMac, InvalidVxlan, ReservedBits, Truncated, UnknownVni, UnknownVtep,
        VtepNotInSegment,
    };
    let network = random.below(NETWORKS);
    let mut inner_from = MACS[1];
    let unused = 0x0080_0000 | u32::from_be_bytes([0, random.byte(), random.byte(), random.byte()]);
    let (source, flags, vni, fate) = match random.below(10) {
        0 | 1 => (99, 8, vnis[network], Fate::Dropped(UnknownVtep)),
        2 => (99, 8, unused, Fate::Dropped(UnknownVtep)),
        3 => (2, 8, unused, Fate::Dropped(UnknownVni)),
        4 => (2, 8, vnis[NETWORKS], Fate::Dropped(VtepNotInSegment)),
        5 => (2, 0, vnis[network], Fate::Dropped(InvalidVxlan)),
        6 => (2, 0x88, vnis[network], Fate::Dropped(ReservedBits)),
        7 => {
            inner_from = Mac::BROADCAST;
            (2, 8, vnis[network], Fate::Dropped(InvalidSourceMac))
        }
        8 => (2, 8, vnis[network], Fate::Dropped(Truncated)),
        _ => (2, 8, vnis[network], Fate::Delivered),
    };
    let (ethertype, payload) = payload(random, vnis);
    let to = if random.below(2) == 0 { MACS[0] } else { Mac::BROADCAST };
    let mut inner = marked(frames::ethernet(to, inner_from, ethertype, &payload), network);
    if fate == Fate::Dropped(Truncated) {
        // Less than an Ethernet header, or nothing at all.
        inner.truncate(random.below(14));
    }
    let udp = frames::udp(50_000, UDP_PORT, &frames::vxlan(flags, vni, &inner));
    let packet = frames::ipv4([192, 0, 2, source], [192, 0, 2, 1], 17, 0, &udp);
    (frames::ethernet(outer[0], outer[1], 0x0800, &packet), fate)
}

#[test]
fn a_host_of_the_underlay_reaches_no_network_but_in_a_members_name() {
    let lab = lab();
    let vnis: Vec<_> = (0..=NETWORKS).map(|network| lab.vni(network)).collect();
    let host = lab.cluster.host(99);
    let outer = [lab.cluster.nodes[0].netns.mac("eth0"), host.mac("eth0")];
    let sender = Probe::open(&host, "eth0");
    let listeners = lab.listeners();
    let before = lab.cluster.drops();
    let mut account = Account::default();
    let mut random = Random(0xdead_beef_cafe_f00d);
    for _ in 0..FROM_UNDERLAY / BURST {
        let frames: Vec<_> = (0..BURST)
            .map(|_| {
                let (frame, fate) = from_underlay(&mut random, &vnis, outer);
                account.expect(fate);
                frame
            })
            .collect();
        sender.send_all(&frames);
        account.look(&listeners);
    }
    lab.settle(&mut account, &listeners, &before);
    assert_eq!(account.sent, FROM_UNDERLAY);
}
