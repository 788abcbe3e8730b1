//! Records of dropped frames: a flood of drops makes ten of them a second, reason and CPU, never waits,
//! and every drop is counted all the same. The agent tells them by name.

use std::{collections::BTreeMap, thread, time::Instant};

use l2sm_common::{
    abi,
    event::{DropEvent, PER_WINDOW, Program, WINDOW_NS},
    forward::memory::MemoryTables,
    ids::{Slot, ip16_from_v4},
    mac::Mac,
    maps::{ConfigEntry, DropKey, UplinkEntry},
    reason::DropReason,
};
use l2sm_tests::{cluster::Cluster, frames, object::Object, probe::Probe, wait};

const FLOOD: u32 = 10_000;
const LOCAL: [u8; 4] = [192, 0, 2, 1];
/// Loopback: the device of a test run.
const DEVICE: u32 = 1;
const HERE: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// Its MAC.
const LOOPBACK: Mac = Mac([0; 6]);
const THERE: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn object(sizes: &[(&str, u32)]) -> Object {
    let mut object = Object::load_sized(sizes);
    object.fill(&MemoryTables {
        config: Some(ConfigEntry {
            abi: abi::ABI,
            port: abi::UDP_PORT.into(),
            mark: abi::MARK,
            vxlan_ifindex: 0,
            flags: 0,
            local: [0; 16],
        }),
        locals: [ip16_from_v4(LOCAL)].into(),
        uplinks: [(DEVICE, UplinkEntry::new(Some(LOOPBACK)))].into(),
        ..MemoryTables::default()
    });
    object
}

/// A tunnel packet with these flags from an address that is no VTEP.
fn tunnel(flags: u8) -> Vec<u8> {
    let inner = frames::ethernet(HERE, THERE, 0x88b5, &[0x5a; 60]);
    let udp = frames::udp(50_000, abi::UDP_PORT, &frames::vxlan(flags, 77, &inner));
    let packet = frames::ipv4([192, 0, 2, 99], LOCAL, 17, 0, &udp);
    frames::ethernet(LOOPBACK, THERE, 0x0800, &packet)
}

fn counted(drops: &BTreeMap<DropKey, u64>, reason: DropReason) -> u64 {
    drops.get(&DropKey::new(Slot(0), reason)).copied().unwrap_or_default()
}

#[test]
fn a_flood_of_drops_makes_few_records_and_all_are_counted() {
    let mut object = object(&[]);
    let frame = tunnel(8);
    let begin = Instant::now();
    object.repeat(abi::UPLINK_RX, &frame, FLOOD);
    let took = begin.elapsed();

    let drops = object.take_drops();
    assert_eq!(counted(&drops, DropReason::UnknownVtep), u64::from(FLOOD), "{drops:?}");
    let events = object.take_events();
    println!("{FLOOD} drops in {took:?} make {} records", events.len());
    let seconds = u32::try_from(took.as_secs()).unwrap() + 2;
    let cpus = u32::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    let made = u32::try_from(events.len()).unwrap();
    assert!((PER_WINDOW..=PER_WINDOW * seconds * cpus).contains(&made), "{made} in {took:?}");
    for event in &events {
        assert_eq!(event.reason, DropReason::UnknownVtep.number());
        assert_eq!(event.program, Program::UplinkRx.number());
        assert_eq!((event.ifindex, event.slot), (DEVICE, 0));
        assert_eq!(event.length, u32::try_from(frame.len()).unwrap());
        assert_eq!(event.start(), &frame[..event.start().len()]);
        assert!(event.start().len() >= 64, "inner Ethernet header included: {event:?}");
    }
    assert_eq!(object.lost_events(), 0);
}

#[test]
fn each_reason_has_its_own_records() {
    let mut object = object(&[]);
    object.repeat(abi::UPLINK_RX, &tunnel(8), FLOOD);
    object.repeat(abi::UPLINK_RX, &tunnel(0), 1);
    object.repeat(abi::PORT_RX, &frames::ethernet(HERE, THERE, 0x88b5, &[0; 46]), 1);

    let events = object.take_events();
    let of = |reason: DropReason| {
        let found: Vec<&DropEvent> =
            events.iter().filter(|event| event.reason == reason.number()).collect();
        found
    };
    assert_eq!(of(DropReason::InvalidVxlan).len(), 1, "behind a flood of another reason");
    let no_port = of(DropReason::NoPort);
    assert_eq!(no_port.len(), 1, "{events:?}");
    assert_eq!(no_port[0].program, Program::PortRx.number());
}

#[test]
fn a_window_later_there_are_records_again() {
    let mut object = object(&[]);
    let frame = tunnel(8);
    object.repeat(abi::UPLINK_RX, &frame, FLOOD);
    let first = object.take_events();
    let last = wait::until("records of a later window", || {
        object.repeat(abi::UPLINK_RX, &frame, 100);
        object.take_events().into_iter().find(|event| event.time_ns > first[0].time_ns + WINDOW_NS)
    });
    assert!(last.time_ns - first[0].time_ns < 10 * WINDOW_NS, "{last:?}");
}

#[test]
fn a_full_ring_loses_records_and_no_frame() {
    // One page: some 30 records.
    let mut object = object(&[("EVENTS", 4096)]);
    let frames =
        [tunnel(8), tunnel(0), tunnel(0x88), frames::ethernet(HERE, THERE, 0x88b5, &[0; 46])];
    let [unknown, invalid, reserved, stray] = &frames;
    for frame in [unknown, invalid, reserved] {
        object.repeat(abi::UPLINK_RX, frame, 1000);
    }
    object.repeat(abi::PORT_RX, stray, 1000);

    let lost = object.lost_events();
    let drops = object.take_drops();
    let reasons = [
        DropReason::UnknownVtep,
        DropReason::InvalidVxlan,
        DropReason::ReservedBits,
        DropReason::NoPort,
    ];
    for reason in reasons {
        assert_eq!(counted(&drops, reason), 1000, "{reason:?}: {drops:?}");
    }
    let read = object.take_events();
    println!("{} records read, {lost} lost", read.len());
    assert!(lost > 0 && !read.is_empty(), "{lost} lost, {} read", read.len());
    assert!(read.len() as u64 + lost >= 40, "each that was to be made was made or is lost");
}

#[test]
fn the_agent_tells_dropped_frames_by_name() {
    let mut cluster = Cluster::new(1);
    let flags = ["--log-level", "info,l2sm::drops=debug", "--log-format", "json"];
    cluster.nodes[0].flags.extend(flags.map(str::to_owned));
    cluster.nodes[0].kill_agent();
    cluster.nodes[0].start_agent();
    cluster.until_connected();
    cluster.network("blue", "10.10.0.0/24");
    let pod = cluster.pod(0, "blue", &[]);
    let sender = Probe::open(&pod.netns, "net1");
    let forged = frames::ethernet(Mac([2, 0, 0, 0, 0, 9]), THERE, 0x88b5, &[0; 46]);

    let told = wait::until("the drop is told", || {
        sender.send(&forged);
        let log = cluster.nodes[0].log();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut told = lines.filter(|line: &serde_json::Value| line["target"] == "l2sm::drops");
        told.find(|line| line["reason"] == "spoofed_mac")
    });

    assert_eq!(told["network"], "default/blue", "{told}");
    assert_eq!(told["vni"], pod.attached["vni"], "{told}");
    assert_eq!(told["src_mac"], THERE.to_string(), "{told}");
    assert_eq!(told["dst_mac"], "02:00:00:00:00:09", "{told}");
    assert_eq!(told["length"], 60, "{told}");
    assert_eq!(told["program"], "l2sm_port_rx", "{told}");
    assert!(told["device"].as_str().is_some_and(|name| name.starts_with("l2sm")), "{told}");
}
