//! What a frame costs does not depend on how many stations there are.

use std::{collections::BTreeMap, time::Duration};

use l2sm_common::{
    abi,
    forward::memory::MemoryTables,
    ids::{Group, ip16_from_v4},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, MemberEntry, MemberKey, PortEntry, SegmentEntry,
        UplinkEntry, target_kind,
    },
    reason::DropReason,
    vni::Vni,
};
use l2sm_tests::{frames, object::Object};

use crate::figures::{bar, percentile, say, say_load};

const SIZES: [u32; 3] = [10, 1_000, 100_000];
const ROUNDS: usize = 15;
/// Frames of a round, each to another station, and runs of each.
const FRAMES: u32 = 32;
const RUNS: u32 = 2_000;
/// Growth that is let pass.
const MOST: f64 = 1.25;

/// Loopback: the device of a test run.
const DEVICE: u32 = 1;
const SLOT: u32 = 1;
const LOCAL: [u8; 4] = [192, 0, 2, 1];
const REMOTE: [u8; 4] = [192, 0, 2, 2];
const POD: Mac = Mac([2, 0xff, 0, 0, 0, 1]);
/// `TC_ACT_SHOT` and `TC_ACT_REDIRECT`.
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;

fn vni() -> Vni {
    Vni::new(77).unwrap()
}

/// Station `number`. The even ones are at ports of this node, the odd ones behind VTEPs.
fn station(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn entry(number: u32) -> FdbEntry {
    let local = number.is_multiple_of(2);
    let (kind, group) =
        if local { (target_kind::PORT, Group::PORTS) } else { (target_kind::VTEP, Group::MESH) };
    FdbEntry { kind, flags: 0, group: group.0, target: 2 + number % 1_000 }
}

/// The object, with an FDB of `stations` and the capacity that an agent gives it.
fn object(stations: u32) -> Object {
    let capacity = u32::try_from(abi::FDB_CAPACITY).unwrap();
    let mut object = Object::load_sized(&[("FDB", capacity)]);
    let port = PortEntry {
        vni: vni().get(),
        flags: 0,
        slot: SLOT,
        ipv4: [0; 4],
        ipv6: [0; 16],
        mac: POD.0,
        group: Group::PORTS.0,
    };
    let member = MemberEntry { vtep: 1, group: Group::MESH.0, flags: 0, slot: SLOT };
    let fdb: BTreeMap<FdbKey, FdbEntry> =
        (0..stations).map(|number| (FdbKey::new(vni(), station(number)), entry(number))).collect();
    object.fill(&MemoryTables {
        config: Some(ConfigEntry {
            abi: abi::ABI,
            port: abi::UDP_PORT.into(),
            mark: abi::MARK,
            vxlan_ifindex: 0,
            flags: 0,
            local: ip16_from_v4(LOCAL),
        }),
        locals: [ip16_from_v4(LOCAL)].into(),
        uplinks: [(DEVICE, UplinkEntry::new(Some(Mac([0; 6]))))].into(),
        ports: [(DEVICE, port)].into(),
        segments: [(vni().get(), SegmentEntry { flood_id: 1, flags: 0, slot: SLOT, mtu: 1450 })]
            .into(),
        members: [(MemberKey::new(vni(), ip16_from_v4(REMOTE)), member)].into(),
        fdb,
        ..MemoryTables::default()
    });
    object
}

/// A pod's frame to a station.
fn from_pod(to: Mac) -> Vec<u8> {
    let packet = frames::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, 0, &frames::udp(1, 2, &[0; 64]));
    frames::ethernet(to, POD, 0x0800, &packet)
}

/// A tunnel packet with a frame to a station.
fn from_vtep(to: Mac) -> Vec<u8> {
    let tunnelled = frames::vxlan(8, vni().get(), &from_pod(to));
    let udp = frames::udp(50_000, abi::UDP_PORT, &tunnelled);
    let packet = frames::ipv4(REMOTE, LOCAL, 17, 0, &udp);
    frames::ethernet(Mac([0; 6]), Mac([2, 0xff, 0, 0, 0, 9]), 0x0800, &packet)
}

/// Mean time of a run, over frames to stations all over the table.
fn round(object: &mut Object, stations: u32, program: &str) -> Duration {
    let times = (0..FRAMES).map(|frame| {
        let even = ((stations / FRAMES * frame) % stations) & !1;
        let (bytes, expected) = match program {
            abi::PORT_RX => (from_pod(station(even)), REDIRECT),
            _ => (from_vtep(station(even + 1)), SHOT),
        };
        let (code, time) = object.time(program, &bytes, RUNS);
        assert_eq!(code, expected, "{program}, station {even}");
        time
    });
    times.sum::<Duration>() / FRAMES
}

/// The frames are those that a run leaves as they are: to a station at another port, and a tunnel
/// packet to a station behind another VTEP. Every table but the FDB is as full as for one station.
#[test]
fn programs_cost_the_same_with_a_hundred_thousand_stations() {
    say_load();
    let mut objects = SIZES.map(object);
    for program in [abi::PORT_RX, abi::UPLINK_RX] {
        let mut times = [const { Vec::new() }; SIZES.len()];
        for _round in 0..ROUNDS {
            for ((object, stations), times) in objects.iter_mut().zip(SIZES).zip(&mut times) {
                times.push(round(object, stations, program));
            }
        }
        let medians = times.map(|times| percentile(&times, 50));
        for (stations, median) in SIZES.iter().zip(medians) {
            say(&format!("{program}, {stations} FDB entries"), &format!("{median:?}"));
        }
        for (stations, median) in SIZES.iter().zip(medians).skip(1) {
            let growth = median.as_secs_f64() / medians[0].as_secs_f64();
            bar(
                &format!("{program} with {stations} entries: {growth:.2} times the cost"),
                growth < MOST,
            );
        }
    }
    for object in &mut objects {
        let runs = u64::from(RUNS * FRAMES) * ROUNDS as u64;
        let drops: Vec<_> = object.take_drops().into_iter().collect();
        let key =
            l2sm_common::maps::DropKey::new(l2sm_common::ids::Slot(SLOT), DropReason::SplitHorizon);
        assert_eq!(drops, [(key, runs)], "each tunnel packet, and nothing else");
    }
}
