//! Kernel against host: the same source compiled twice must say the same of any frame. Random frames,
//! mostly near-valid, through `BPF_PROG_TEST_RUN` and through `l2sm_common::forward`: return code,
//! bytes, mark and every counter are equal.

#[path = "differential/xdp.rs"]
mod xdp;

use std::{cell::RefCell, collections::BTreeMap};

use l2sm_common::{
    abi,
    decision::Decision,
    encap::outer_header,
    forward::{
        memory::MemoryTables,
        port::from_port,
        uplink::{from_uplink, may_be_ours},
    },
    frame::Bytes,
    ids::{Group, IfIndex, Ip16, VtepId, ip16_from_v4},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, MemberEntry, MemberKey, NeighEntry, NeighKey, PathEntry,
        PortEntry, SegmentEntry, UplinkEntry, VtepEntry, config_flags, member_flags, neigh_flags,
        path_state, port_flags, segment_flags, vtep_flags,
    },
    verdict::{Verdict, Way},
    vni::Vni,
};
use l2sm_tests::{
    frames,
    netns::{Netns, join},
    object::{Object, Run},
    oracle::{outcome, source_port_offset},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

const CASES: u32 = 20_000;
const SLOTS: u32 = 8;

const A: Mac = Mac([0x02, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([0x02, 0, 0, 0, 0, 0xb]);
const FAR_V4: Mac = Mac([0x02, 0, 0, 0, 0, 0xc]);
const FAR_V6: Mac = Mac([0x02, 0, 0, 0, 0, 0xd]);
const FAR_UNRESOLVED: Mac = Mac([0x02, 0, 0, 0, 0, 0xe]);
const FAR_MISSING: Mac = Mac([0x02, 0, 0, 0, 0, 0xf]);
const FAR_NARROW: Mac = Mac([0x02, 0, 0, 0, 0, 0x10]);
const LOCAL: [u8; 4] = [192, 0, 2, 1];
const REMOTE: [u8; 4] = [192, 0, 2, 2];
const EXTERNAL: [u8; 4] = [192, 0, 2, 3];
const ELSEWHERE: [u8; 4] = [192, 0, 2, 4];
const LOCAL6: Ip16 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const REMOTE6: Ip16 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Devices that frames come in by, in a namespace of their own.
struct Devices {
    netns: Netns,
    _other: Netns,
    /// The port of A in network 100.
    a: u32,
    /// The port of B in network 100, checked neither for MAC.
    b: u32,
    /// No port at all.
    stranger: u32,
    uplink: u32,
    uplink_mac: Mac,
}

fn devices() -> Devices {
    let netns = Netns::new("diff").without_ipv6();
    let other = Netns::new("diffpeer").without_ipv6();
    for device in ["port-a", "port-b", "stranger", "ul0"] {
        join((&netns, device), (&other, device), 1500);
    }
    let [a, b, stranger, uplink] =
        ["port-a", "port-b", "stranger", "ul0"].map(|name| netns.ifindex(name));
    let uplink_mac = netns.mac("ul0");
    Devices { netns, _other: other, a, b, stranger, uplink, uplink_mac }
}

fn vni(raw: u32) -> Vni {
    Vni::new(raw).unwrap()
}

fn vtep(remote: Ip16, local: Ip16, flags: u32, mtu: u32, state: u32, uplink: u32) -> VtepEntry {
    let header = outer_header(Mac([2; 6]), Mac([4; 6]), local, remote, abi::UDP_PORT);
    let path = PathEntry { ifindex: uplink, mtu, state, header };
    VtepEntry { flags, n_paths: 1, remote, local, paths: [path; 4] }
}

fn tables(devices: &Devices) -> MemoryTables {
    let Devices { a, b, uplink, .. } = *devices;
    let port = |mac: Mac, flags, slot, ipv4| PortEntry {
        vni: 100,
        flags,
        slot,
        ipv4,
        ipv6: [0; 16],
        mac: mac.0,
        group: Group::PORTS.0,
    };
    // No flooding here: that sends for real, and has a test of its own.
    let segment = |slot, flags| SegmentEntry { flood_id: 0, flags, slot, mtu: 1450 };
    let mesh = |id| FdbEntry::vtep(VtepId(id), Group::MESH);
    let member = |vtep, flags, slot| MemberEntry { vtep, group: Group::MESH.0, flags, slot };
    let v4 = ip16_from_v4;
    let (resolved, unresolved) = (path_state::RESOLVED, path_state::UNRESOLVED);
    MemoryTables {
        config: Some(ConfigEntry {
            abi: abi::ABI,
            port: abi::UDP_PORT.into(),
            mark: abi::MARK,
            vxlan_ifindex: devices.stranger,
            flags: 0,
            local: v4(LOCAL),
        }),
        ports: BTreeMap::from([
            (a, port(A, port_flags::MAC_CHECK | port_flags::PEER, 1, [10, 0, 0, 1])),
            (b, port(B, 0, 1, [10, 0, 0, 2])),
        ]),
        segments: BTreeMap::from([
            (100, segment(1, segment_flags::FLOOD)),
            (200, segment(2, 0)),
            (300, segment(3, segment_flags::UNKNOWN)),
        ]),
        fdb: BTreeMap::from([
            (FdbKey::new(vni(100), A), FdbEntry::port(IfIndex(a), Group::PORTS, true)),
            (FdbKey::new(vni(100), B), FdbEntry::port(IfIndex(b), Group::PORTS, false)),
            (FdbKey::new(vni(100), FAR_V4), mesh(1)),
            (FdbKey::new(vni(100), FAR_V6), mesh(2)),
            (FdbKey::new(vni(100), FAR_UNRESOLVED), mesh(3)),
            (FdbKey::new(vni(100), FAR_MISSING), mesh(9)),
            (FdbKey::new(vni(100), FAR_NARROW), mesh(4)),
            (FdbKey::new(vni(200), A), FdbEntry::port(IfIndex(a), Group::PORTS, true)),
        ]),
        neigh: neighbors(),
        vteps: BTreeMap::from([
            (1, vtep(v4(REMOTE), v4(LOCAL), 0, 1500, resolved, uplink)),
            (2, vtep(REMOTE6, LOCAL6, vtep_flags::IPV6, 1500, resolved, uplink)),
            (3, vtep(v4(ELSEWHERE), v4(LOCAL), 0, 1500, unresolved, uplink)),
            (4, vtep(v4(EXTERNAL), v4(LOCAL), 0, 120, resolved, uplink)),
        ]),
        members: BTreeMap::from([
            (MemberKey::new(vni(100), v4(REMOTE)), member(1, 0, 1)),
            (MemberKey::new(vni(100), REMOTE6), member(2, 0, 1)),
            (MemberKey::new(vni(100), v4(EXTERNAL)), member(4, member_flags::EXTERNAL, 1)),
            (MemberKey::new(vni(200), v4(REMOTE)), member(1, 0, 2)),
        ]),
        sources: BTreeMap::from([
            (v4(REMOTE), 1),
            (REMOTE6, 2),
            (v4(ELSEWHERE), 3),
            (v4(EXTERNAL), 4),
        ]),
        locals: [v4(LOCAL), LOCAL6].into(),
        uplinks: BTreeMap::from([(uplink, UplinkEntry::new(Some(devices.uplink_mac)))]),
    }
}

/// Who has which address: hosts, a router, and owners whose role is not known.
fn neighbors() -> BTreeMap<NeighKey, NeighEntry> {
    let neighbor = |mac: Mac| NeighEntry { mac: mac.0, flags: 0 };
    let host = |mac: Mac| NeighEntry { mac: mac.0, flags: neigh_flags::ROLE_KNOWN };
    let router =
        |mac: Mac| NeighEntry { mac: mac.0, flags: neigh_flags::ROLE_KNOWN | neigh_flags::ROUTER };
    let v4 = ip16_from_v4;
    BTreeMap::from([
        (NeighKey::new(vni(100), v4([10, 0, 0, 1])), neighbor(A)),
        (NeighKey::new(vni(100), v4([10, 0, 0, 2])), neighbor(B)),
        (NeighKey::new(vni(100), v4([10, 0, 0, 3])), neighbor(FAR_V4)),
        (NeighKey::new(vni(100), v4([10, 0, 0, 7])), neighbor(Mac([2, 9, 9, 9, 9, 9]))),
        (NeighKey::new(vni(100), addr6(1)), host(A)),
        (NeighKey::new(vni(100), addr6(2)), host(B)),
        (NeighKey::new(vni(100), addr6(3)), router(FAR_V4)),
        (NeighKey::new(vni(100), addr6(4)), neighbor(B)),
        (NeighKey::new(vni(100), addr6(5)), neighbor(FAR_V4)),
    ])
}

/// A change that makes a valid frame nearly valid.
fn damaged(frame: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let poke = proptest::option::weighted(0.3, (0usize..130, any::<u8>()));
    let cut = proptest::option::weighted(0.15, 14usize..140);
    (frame, poke, cut).prop_map(|(mut frame, poke, cut)| {
        if let Some((at, byte)) = poke
            && let Some(place) = frame.get_mut(at)
        {
            *place = byte;
        }
        frame.truncate(cut.unwrap_or(usize::MAX));
        frame
    })
}

fn addr6(last: u8) -> Ip16 {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn stations() -> impl Strategy<Value = Mac> {
    let known = [A, B, FAR_V4, FAR_V6, FAR_UNRESOLVED, FAR_MISSING, FAR_NARROW];
    let groups =
        [Mac::BROADCAST, Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]), Mac([0x33, 0x33, 0, 0, 0, 1])];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()),
        2 => proptest::sample::select(groups.to_vec()),
        1 => any::<[u8; 6]>().prop_map(Mac),
        1 => Just(Mac([0; 6])),
    ]
}

fn payloads() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let v4 = || proptest::sample::select(vec![[10, 0, 0, 1], [10, 0, 0, 2], [10, 9, 9, 9], [0; 4]]);
    let bytes = || proptest::collection::vec(any::<u8>(), 20..90);
    let ipv4 = (v4(), v4(), proptest::sample::select(vec![6u8, 17, 1]), any::<u8>(), bytes())
        .prop_map(|(from, to, protocol, tos, rest)| {
            (0x0800, frames::ipv4(from, to, protocol, tos, &rest))
        });
    let ipv6 = (any::<[u8; 16]>(), any::<u8>(), bytes())
        .prop_map(|(from, class, rest)| (0x86dd, frames::ipv6(from, [7; 16], 6, class, &rest)));
    let other = (any::<u16>(), bytes());
    prop_oneof![4 => ipv4, 2 => ipv6, 1 => other]
}

fn inner_frames() -> impl Strategy<Value = Vec<u8>> {
    let plain = (stations(), stations(), payloads())
        .prop_map(|(to, from, (kind, payload))| frames::ethernet(to, from, kind, &payload));
    let arp = (proptest::sample::select(vec![A, B]), 0u8..9, 0u8..9)
        .prop_map(|(from, a, b)| frames::arp_request(from, [10, 0, 0, a], [10, 0, 0, b]));
    let from_a = (stations(), payloads())
        .prop_map(|(to, (kind, payload))| frames::ethernet(to, A, kind, &payload));
    let sources = vec![[0; 16], addr6(1), addr6(9)];
    let solicitations = (proptest::sample::select(sources), 0u8..9)
        .prop_map(|(source, target)| frames::solicitation(A, source, addr6(target)));
    prop_oneof![2 => plain, 1 => arp, 1 => solicitations, 4 => from_a]
}

fn tunnel_packets(to: Mac) -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![8 => Just(8u8), 1 => any::<u8>()];
    let network = proptest::sample::select(vec![100u32, 100, 100, 200, 300, 999, 0]);
    let source =
        proptest::sample::select(vec![REMOTE, REMOTE, EXTERNAL, ELSEWHERE, [203, 0, 113, 1]]);
    let port = prop_oneof![9 => Just(abi::UDP_PORT), 1 => any::<u16>()];
    let parts = (flags, network, source, port, any::<u8>(), any::<bool>(), inner_frames());
    parts.prop_map(move |(flags, network, source, port, tos, v6, inner)| {
        let udp = frames::udp(50_000, port, &frames::vxlan(flags, network, &inner));
        if v6 {
            let packet = frames::ipv6(REMOTE6, LOCAL6, 17, tos, &udp);
            return frames::ethernet(to, Mac([4; 6]), 0x86dd, &packet);
        }
        frames::ethernet(to, Mac([4; 6]), 0x0800, &frames::ipv4(source, LOCAL, 17, tos, &udp))
    })
}

/// Runs frames through both, and says how often each verdict (each reason of a drop) came.
fn compare(
    frames: &impl Strategy<Value = (Vec<u8>, u32, u32)>,
    program: &str,
    devices: &Devices,
    tables: &MemoryTables,
    decide: impl Fn(&Bytes<'_>, &MemoryTables, u32) -> Decision,
) -> BTreeMap<String, u32> {
    let mut object = Object::load();
    object.fill(tables);
    let object = RefCell::new(object);
    let seen = RefCell::new(BTreeMap::new());
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(CASES) });
    let result = runner.run(frames, |(bytes, ifindex, gso_size)| {
        let for_host = bytes[..6] == devices.uplink_mac.0;
        let frame = Bytes { gso_size, for_host, ..Bytes::new(&bytes) };
        let decision = decide(&frame, tables, ifindex);
        let expected = outcome(&decision, &frame, tables);
        let mut object = object.borrow_mut();
        let run = Run { program, bytes: &bytes, ifindex, mark: 0, gso_size };
        let Some(mut ran) = object.run(&run) else {
            return Err(TestCaseError::reject("no test frame can be made of it"));
        };

        let (traffic, drops) = (object.take_traffic(SLOTS), object.take_drops());
        let forwarder = object.take_forwarder(ifindex);
        let mut expected_bytes = expected.bytes;
        if let Some(at) = source_port_offset(&decision, &frame) {
            prop_assert!(ran.bytes[at] >= 0xc0, "source port outside its range");
            ran.bytes[at..at + 2].fill(0);
            expected_bytes[at..at + 2].fill(0);
        }
        let verdict = decision.verdict();
        prop_assert_eq!(ran.code, expected.code, "{:?}", verdict);
        prop_assert_eq!(drops, expected.drops, "{:?}", verdict);
        prop_assert_eq!(traffic, expected.traffic, "{:?}", verdict);
        prop_assert_eq!(&ran.bytes, &expected_bytes, "{:?}", verdict);
        prop_assert_eq!(ran.mark, expected.mark, "{:?}", verdict);
        prop_assert_eq!(forwarder, expected.forwarder, "{:?}", verdict);
        *seen.borrow_mut().entry(name(decision.verdict())).or_default() += 1;
        Ok(())
    });
    if let Err(error) = result {
        panic!("kernel (left) and host (right) differ: {error}");
    }
    seen.into_inner()
}

fn name(verdict: Verdict) -> String {
    match verdict {
        Verdict::Drop(reason) => reason.label().to_owned(),
        Verdict::Deliver { decap: Some(decap), delivery, .. } => {
            format!("Deliver {delivery:?} {:?} ecn {}", decap.inner, decap.ecn.is_some())
        }
        Verdict::Deliver { delivery, .. } => format!("Deliver {delivery:?}"),
        Verdict::ToVtep(to) => match to.way {
            Way::Fast { .. } => "fast".into(),
            Way::Slow => "slow".into(),
        },
        Verdict::Answer { .. } => "Answer".into(),
        Verdict::Advertise { router, .. } => format!("Advertise router {router}"),
        Verdict::Pass | Verdict::HandUp | Verdict::Pull | Verdict::Flood(_) => {
            format!("{verdict:?}")
        }
    }
}

fn assert_all_seen(seen: &BTreeMap<String, u32>, expected: &[&str]) {
    println!("{seen:#?}");
    let missing: Vec<_> = expected.iter().filter(|name| !seen.contains_key(**name)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn kernel_and_host_agree_about_what_pods_send() {
    let devices = devices();
    let ports = proptest::sample::select(vec![devices.a, devices.a, devices.b, devices.stranger]);
    let gso = prop_oneof![9 => Just(0u32), 1 => Just(1000u32)];
    let frames = (damaged(inner_frames()), ports, gso);

    let seen = devices.netns.run(|| {
        compare(&frames, abi::PORT_RX, &devices, &tables(&devices), |frame, tables, ifindex| {
            from_port(frame, tables, IfIndex(ifindex))
        })
    });

    assert_all_seen(
        &seen,
        &[
            "Advertise router false",
            "Advertise router true",
            "Answer",
            "Deliver Device",
            "Deliver Peer",
            "fast",
            "slow",
            "flood_failed",
            "hairpin",
            "invalid_source_mac",
            "link_local",
            "no_port",
            "no_vtep",
            "spoofed_mac",
            "unknown_unicast",
        ],
    );
}

#[test]
fn kernel_and_host_agree_about_what_the_underlay_brings() {
    let devices = devices();
    let ifindex = devices.uplink;
    let gso = prop_oneof![9 => Just(0u32), 1 => Just(1000u32)];
    let frames = (damaged(tunnel_packets(devices.uplink_mac)), Just(ifindex), gso);

    let seen = devices.netns.run(|| {
        // Every device Ethernet, or one not; the first own address of one family, or of the other.
        let mut seen = BTreeMap::new();
        for (flags, local) in [(0, ip16_from_v4(LOCAL)), (config_flags::ETHERNET, LOCAL6)] {
            let mut tables = tables(&devices);
            tables.config = tables.config.map(|config| ConfigEntry { flags, local, ..config });
            seen.extend(compare(
                &frames,
                abi::UPLINK_RX,
                &devices,
                &tables,
                |frame, tables, ifindex| {
                    let decision = from_uplink(frame, tables, IfIndex(ifindex));
                    let skipped = !may_be_ours(frame, &tables.config.unwrap());
                    assert!(!skipped || decision.verdict() == Verdict::Pass, "{frame:?}");
                    decision
                },
            ));
        }
        seen
    });

    assert_all_seen(
        &seen,
        &[
            "Deliver Device V4 ecn false",
            "Deliver Peer V4 ecn false",
            "Deliver Peer V4 ecn true",
            "Deliver Peer V6 ecn true",
            "HandUp",
            "Pass",
            "ecn_invalid",
            "flood_disabled",
            "flood_failed",
            "invalid_source_mac",
            "invalid_vxlan",
            "link_local",
            "mac_elsewhere",
            "reserved_bits",
            "split_horizon",
            "truncated",
            "unknown_unicast",
            "unknown_vni",
            "unknown_vtep",
            "vtep_not_in_segment",
        ],
    );
}
