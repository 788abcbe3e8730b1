//! Parity: every class of frame through the kernel's own bridge and vxlan device, and through ours.
//! The same receivers get the same bytes, each once, whichever of the two nodes is ours; where our
//! policy differs, the corpus says so, and the counter named there moves.
//!
//! What the reference drops, ours drops too: inner IP packets shorter than their family's header, as
//! `truncated`.

use std::{collections::BTreeMap, time::Duration};

use l2sm_common::{mac::Mac, maps::Traffic, reason::DropReason};
use l2sm_tests::{
    corpus::{Class, LISTED, LISTED_V6, MTU, Policy, To, classes},
    frames,
    kernel_node::KernelNode,
    netns::{Netns, join},
    node::{Node, UDP_PORT},
    probe::Probe,
    wait,
};
use nix::{sched, unistd::Pid};

const VNI: u32 = 100;
const MARKER: [u8; 2] = [0x88, 0xb6];
/// The sender and a station on the first node, two stations on the second.
const STATIONS: [Mac; 4] = [mac(1), mac(2), mac(3), mac(4)];
const SENDER: usize = 0;
const NEAR: usize = 1;
const FAR: usize = 2;

const fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// What each station received, in the order of [`STATIONS`].
type Received = [Vec<Vec<u8>>; 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kernel,
    Ours,
}

/// Two nodes and four pods that say nothing by themselves.
struct Lab {
    /// Nodes of ours.
    ours: [Option<Node>; 2],
    probes: Vec<Probe>,
    _namespaces: Vec<Netns>,
    markers: u64,
}

impl Lab {
    fn new(kinds: [Kind; 2]) -> Self {
        let netns = [1, 2].map(|_number| Netns::new("parity").without_ipv6());
        join((&netns[0], "ul0"), (&netns[1], "ul0"), u32::try_from(MTU).unwrap() + 50);
        for (number, netns) in (1..).zip(&netns) {
            netns.ip(&format!("address add 192.0.2.{number}/24 dev ul0"));
        }
        let underlay = [netns[0].mac("ul0"), netns[1].mac("ul0")];
        let [first, second] = netns;
        let (one, two) = ("192.0.2.1", "192.0.2.2");
        let (a, probes, mut namespaces) =
            side(kinds[0], first, [one, two], underlay[1], [SENDER, NEAR]);
        let (b, more_probes, more_namespaces) =
            side(kinds[1], second, [two, one], underlay[0], [FAR, 3]);
        let probes = probes.into_iter().chain(more_probes).collect();
        namespaces.extend(more_namespaces);
        let mut lab = Self { ours: [a, b], probes, _namespaces: namespaces, markers: 0 };
        lab.introduce();
        lab
    }

    /// Every station says something until everybody has heard it: the kernel's bridges learn from it.
    fn introduce(&mut self) {
        for (station, mac) in STATIONS.into_iter().enumerate() {
            let hello = frames::ethernet(Mac::BROADCAST, mac, 0x88b7, &[0; 46]);
            wait::until("everybody hears everybody", || {
                self.probes[station].send(&hello);
                let others = self.probes.iter().enumerate().filter(|(at, _)| *at != station);
                let patience = Duration::from_millis(200);
                let mut heard = others.map(|(_, probe)| {
                    !probe.receive(1, patience, |frame| frame == hello).is_empty()
                });
                heard.all(|heard| heard).then_some(())
            });
        }
        for probe in &self.probes {
            probe.receive(usize::MAX, Duration::from_millis(200), |_| true);
        }
    }

    /// Sends a frame, then a marker that everybody gets after whatever became of it.
    fn send(&mut self, frame: &[u8]) -> Received {
        self.markers += 1;
        let number = self.markers.to_be_bytes();
        let payload = [&number[..], &[0; 38]].concat();
        let marker = u16::from_be_bytes(MARKER);
        let marker = frames::ethernet(Mac::BROADCAST, STATIONS[SENDER], marker, &payload);
        self.probes[SENDER].send(frame);
        self.probes[SENDER].send(&marker);
        let mut stations = self.probes.iter().enumerate().map(|(station, probe)| {
            let mut last = false;
            let mut all = Vec::new();
            while station != SENDER && !last {
                let next = probe.receive(1, Duration::from_secs(5), |_| true);
                let next = next.into_iter().next().expect("the marker reaches every station");
                last = next == marker;
                all.extend((!last).then_some(next));
            }
            all.extend(probe.drain());
            all.sort();
            all
        });
        [(); 4].map(|()| stations.next().expect("four stations"))
    }

    /// Drops so far on one node, by reason.
    fn drops(&mut self, side: usize) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        if let Some(node) = &mut self.ours[side] {
            for (_slot, reason, count) in node.drops() {
                *sums.entry(reason).or_default() += count;
            }
        }
        sums
    }

    fn traffic(&mut self, side: usize) -> Option<Traffic> {
        self.ours[side].as_mut().map(|node| node.traffic(VNI))
    }
}

fn side(
    kind: Kind,
    netns: Netns,
    [own, other]: [&str; 2],
    next_hop: Mac,
    stations: [usize; 2],
) -> (Option<Node>, [Probe; 2], Vec<Netns>) {
    let mtu = u32::try_from(MTU).unwrap();
    let numbered = stations.map(|station| (u8::try_from(station).unwrap(), STATIONS[station]));
    if kind == Kind::Kernel {
        let node = KernelNode { netns };
        node.segment(VNI, own, other, UDP_PORT);
        let pods = numbered.map(|(number, mac)| node.pod_with_mac(VNI, number, mac, mtu).netns);
        let probes = [0, 1].map(|pod| Probe::open(&pods[pod], "net1"));
        return (None, probes, pods.into_iter().chain([node.netns]).collect());
    }
    let mut node = Node::new(netns, own);
    node.segment(VNI, mtu);
    let pods = numbered.map(|(number, mac)| node.pod_with_mac(VNI, number, mac, mtu).netns);
    node.vtep("other", other, Some(next_hop));
    node.member(VNI, "other");
    for (station, mac) in STATIONS.into_iter().enumerate() {
        if !stations.contains(&station) {
            let listed = LISTED.map(|byte| byte.to_string()).join(".");
            let listed_v6 = std::net::Ipv6Addr::from(LISTED_V6).to_string();
            let ips: &[&str] = if station == FAR { &[&listed, &listed_v6] } else { &[] };
            node.host(VNI, "other", mac, ips);
        }
    }
    node.program();
    let probes = [0, 1].map(|pod| Probe::open(&pods[pod], "net1"));
    (Some(node), probes, pods.into())
}

/// Every frame of the corpus, with its class.
fn corpus() -> Vec<(Class, Vec<u8>)> {
    let frame = |class: &Class, to: Mac| (class.clone(), class.frame(to, STATIONS[SENDER]));
    let frames = classes().into_iter().flat_map(|class| match class.to {
        To::Station => vec![frame(&class, STATIONS[NEAR]), frame(&class, STATIONS[FAR])],
        To::Address(to) => vec![frame(&class, to)],
        To::Oneself => vec![frame(&class, STATIONS[SENDER])],
    });
    frames.collect()
}

/// What must happen to a frame of this class where nodes of `kinds` stand, `reference` being what
/// two kernels make of it: what is received, and which node drops it under which reason.
fn expected(
    kinds: [Kind; 2],
    class: &Class,
    frame: &[u8],
    reference: &Received,
) -> (Received, [Option<&'static str>; 2]) {
    let mut received = reference.clone();
    let [at_sender, at_far] = kinds.map(|kind| kind == Kind::Ours);
    let mut drops = [None; 2];
    match class.policy {
        Policy::Answered if at_sender => {
            received = Received::default();
            received[SENDER].push(arp_reply(frame));
        }
        // The frame is still for a group: all of the owner's node get it.
        Policy::ToOwner if at_sender => received[NEAR].clear(),
        Policy::Dropped(reason) | Policy::DroppedAtPort(reason) if at_sender => {
            received = Received::default();
            drops[0] = Some(reason.label());
        }
        Policy::Dropped(reason) if at_far => {
            received[FAR..].fill(Vec::new());
            drops[1] = Some(reason.label());
        }
        _ => {}
    }
    // A kernel does not even send it; ours does, and the far node drops it.
    if at_sender && at_far && frame[..6] == STATIONS[FAR].0 && is_short_packet(frame) {
        drops[1] = Some(DropReason::Truncated.label());
    }
    (received, drops)
}

/// Whether this is an IP packet shorter than its family's header.
fn is_short_packet(frame: &[u8]) -> bool {
    let least = match frame[12..14] {
        [0x08, 0x00] => 20,
        [0x86, 0xdd] => 40,
        _ => 0,
    };
    frame.len() < 14 + least
}

/// The answer to an ARP request for [`LISTED`].
fn arp_reply(request: &[u8]) -> Vec<u8> {
    let start = [0, 1, 8, 0, 6, 4, 0, 2];
    let (asker, asker_ip) = (&request[22..28], &request[28..32]);
    let packet = [&start[..], &STATIONS[FAR].0, &LISTED, asker, asker_ip].concat();
    frames::ethernet(STATIONS[SENDER], STATIONS[FAR], 0x0806, &packet)
}

/// Sends everything from one processor, so that nothing overtakes a marker.
fn stay_on_one_processor() {
    let mut set = sched::CpuSet::new();
    set.set(0).unwrap();
    sched::sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// Runs the corpus through two kernels, then through `kinds`.
fn compare(kinds: [Kind; 2]) {
    stay_on_one_processor();
    let mut kernels = Lab::new([Kind::Kernel; 2]);
    let mut lab = Lab::new(kinds);
    let corpus = corpus();
    assert!(corpus.len() >= 250, "{}", corpus.len());
    let mut counts = Counts::new(&mut lab);
    let mut differences = Vec::new();
    for (class, frame) in &corpus {
        let reference = kernels.send(frame);
        let (expected, dropped) = expected(kinds, class, frame, &reference);
        let before = [lab.drops(0), lab.drops(1)];
        let received = lab.send(frame);
        let after = [lab.drops(0), lab.drops(1)];
        let to = Mac(frame[..6].try_into().unwrap());
        if received != expected {
            differences.push(format!("{} to {to}: {}", class.name, hex(frame)));
            for (station, (ours, kernels)) in received.iter().zip(&expected).enumerate() {
                let [ours, kernels] =
                    [ours, kernels].map(|all| all.iter().map(|f| hex(f)).collect::<Vec<_>>());
                if ours != kernels {
                    differences.push(format!("  station {station}: {ours:?}, not {kernels:?}"));
                }
            }
        }
        for side in [0, 1] {
            let moved = moved(&before[side], &after[side]);
            let expected: Vec<_> = dropped[side].into_iter().map(|reason| (reason, 1)).collect();
            if moved != expected {
                let what = format!("drops {moved:?}, not {expected:?}, on node {}", side + 1);
                differences.push(format!("{} to {to}: {what}", class.name));
            }
        }
        counts.add(class, to, &received, dropped);
    }
    assert!(differences.is_empty(), "{kinds:?}:\n{}", differences.join("\n"));
    counts.check(&mut lab);
}

fn hex(frame: &[u8]) -> String {
    format!("{:02x?} ({})", &frame[..frame.len().min(100)], frame.len())
}

fn moved(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> Vec<(&'static str, u64)> {
    let difference = |(reason, count): (&&'static str, &u64)| {
        (*reason, count - before.get(reason).copied().unwrap_or(0))
    };
    after.iter().map(difference).filter(|(_, count)| *count != 0).collect()
}

#[test]
fn ours_to_ours_delivers_what_two_kernels_deliver() {
    compare([Kind::Ours, Kind::Ours]);
}

#[test]
fn ours_to_a_kernel_delivers_what_two_kernels_deliver() {
    compare([Kind::Ours, Kind::Kernel]);
}

#[test]
fn a_kernel_to_ours_delivers_what_two_kernels_deliver() {
    compare([Kind::Kernel, Kind::Ours]);
}

/// What the traffic counters must have moved by.
struct Counts {
    start: [Option<Traffic>; 2],
    sent: u64,
    answered: u64,
    received: [u64; 4],
    /// Frames that the sender's node sends to the other.
    crossed: u64,
    tagged: u64,
    /// Frames that reach the other node's pods by its kernel's vxlan device: too short for BPF, or
    /// in fragments outside.
    up: u64,
}

impl Counts {
    fn new(lab: &mut Lab) -> Self {
        let start = [lab.traffic(0), lab.traffic(1)];
        Self { start, sent: 0, answered: 0, received: [0; 4], crossed: 0, tagged: 0, up: 0 }
    }

    /// A frame and its marker.
    fn add(
        &mut self,
        class: &Class,
        to: Mac,
        received: &Received,
        dropped: [Option<&'static str>; 2],
    ) {
        let moved = |sum: &mut u64, by: usize| *sum += u64::try_from(by).unwrap();
        let reaches_us = dropped[0].is_none() && !class.is_cut_tag();
        let crosses = !received[FAR].is_empty() || (to == STATIONS[FAR] && reaches_us);
        moved(&mut self.sent, 1 + usize::from(reaches_us));
        moved(&mut self.crossed, 1 + usize::from(crosses));
        moved(&mut self.tagged, usize::from(crosses && class.is_tagged()));
        moved(&mut self.answered, received[SENDER].len());
        let goes_up = |frame: &&Vec<u8>| !(34..=14 + MTU).contains(&frame.len());
        moved(&mut self.up, received[FAR].iter().filter(goes_up).count());
        for (sum, frames) in self.received.iter_mut().zip(received) {
            moved(sum, 1 + frames.len());
        }
    }

    fn check(&self, lab: &mut Lab) {
        for side in [0, 1] {
            let (Some(start), Some(end)) = (self.start[side], lab.traffic(side)) else {
                continue;
            };
            let moved = |pick: fn(&Traffic) -> u64| pick(&end) - pick(&start);
            let what = format!("node {}: {start:?} {end:?}", side + 1);
            let [_, near, far, far_too] = self.received;
            let to_port = moved(|traffic| traffic.to_port.packets);
            if side == 0 {
                assert_eq!(moved(|traffic| traffic.from_port.packets), self.sent, "{what}");
                assert_eq!(moved(|traffic| traffic.answered.packets), self.answered, "{what}");
                assert_eq!(moved(|traffic| traffic.to_vtep.packets), self.crossed, "{what}");
                assert_eq!(moved(|traffic| traffic.slow_sent.packets), self.tagged, "{what}");
                assert_eq!(to_port, near, "{what}");
            } else {
                assert_eq!(to_port, far + far_too, "{what}");
                assert_eq!(moved(|traffic| traffic.from_vtep.packets), far, "{what}");
                assert_eq!(moved(|traffic| traffic.slow_received.packets), self.up, "{what}");
            }
        }
    }
}
