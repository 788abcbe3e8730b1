//! What a frame for many costs (`BPF_PROG_TEST_RUN`): a copy for each VTEP, sent out of a veth. One
//! run is one softirq's work for one frame, so the longest run is the longest time for which nothing
//! else happens on that CPU.

use anyhow::{Context as _, Result, ensure};
use l2sm_common::{
    abi::FLOOD_CHUNK,
    ids::Group,
    mac::Mac,
    maps::{
        FloodChunk, FloodEntry, FloodKey, PortEntry, SegmentEntry, port_flags, segment_flags,
        target_kind,
    },
};

use super::{
    frames::{POD, POD_V4, udp},
    ns,
    object::{Object, REDIRECT, SHOT},
    programs::{NEAR, fill, vtep},
    series,
};
use crate::{
    lab::netns::{Netns, join},
    measure::{Measure, lower},
    results::Series,
};

/// In the order in which [`round`] yields them.
pub(super) const MEASURES: &[Measure] = &[
    ns("flood8_copy_ns"),
    ns("flood64_copy_ns"),
    ns("flood256_copy_ns"),
    ns("flood1024_copy_ns"),
    lower("flood8_longest_us", "us"),
    lower("flood64_longest_us", "us"),
    lower("flood256_longest_us", "us"),
    lower("flood1024_longest_us", "us"),
];
/// Receivers of a copy.
const TARGETS: [u32; 4] = [8, 64, 256, 1024];
/// Frames of a round.
const FRAMES: u32 = 40;

/// Runs all rounds.
///
/// # Errors
/// The kernel refuses a program, or copies are missing.
pub fn run(rounds: usize) -> Result<Vec<Series>> {
    let (netns, far) = (Netns::new("flood")?, Netns::new("flood-far")?);
    for device in ["p0", "u0"] {
        join((&netns, device), (&far, device), 1600)?;
    }
    let (port, uplink) = (netns.ifindex("p0")?, netns.ifindex("u0")?);
    let values = netns.run(|| {
        let mut object = Object::load(&[])?;
        fill(&mut object, port)?;
        fill_lists(&mut object, port, uplink)?;
        (0..rounds).map(|_| round(&mut object, port)).collect::<Result<Vec<_>>>()
    })?;
    let copies = netns.ip("-json -statistics link show u0")?;
    let sent = sent(&copies).context("ip prints no statistics")?;
    let expected = u64::from(FRAMES * TARGETS.iter().sum::<u32>()) * rounds as u64;
    ensure!(sent >= expected, "{sent} copies left, not {expected}");
    Ok(series(MEASURES, &values))
}

fn round(object: &mut Object, port: u32) -> Result<Vec<f64>> {
    let frame = udp(Mac::BROADCAST, POD);
    let (mut means, mut longest) = (Vec::new(), Vec::new());
    for (targets, list) in TARGETS.into_iter().zip(1..) {
        choose_list(object, list)?;
        let mut times = Vec::new();
        for _ in 0..FRAMES {
            let ran = object.run("l2sm_port_rx", &frame, port, 1)?;
            ensure!([REDIRECT, SHOT].contains(&ran.code), "l2sm_port_rx returned {}", ran.code);
            times.push(ran.time.as_secs_f64());
        }
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        means.push(mean * 1e9 / f64::from(targets));
        longest.push(times.into_iter().fold(0.0, f64::max) * 1e6);
    }
    means.append(&mut longest);
    Ok(means)
}

/// A flood list for each number of receivers, and the VTEPs that are on them.
fn fill_lists(object: &mut Object, port: u32, uplink: u32) -> Result<()> {
    // Without a MAC check nothing but the flood itself is left to do.
    let (ipv6, group) = ([0; 16], Group::PORTS.0);
    let flags = port_flags::PEER;
    let entry = PortEntry { vni: NEAR, flags, slot: 1, ipv4: POD_V4, ipv6, mac: POD.0, group };
    object.put("PORTS", [(port, entry)])?;
    let most = TARGETS.into_iter().max().unwrap_or_default();
    let vteps = (1..=most).map(|number| {
        let [_, _, high, low] = number.to_be_bytes();
        (number + 1, vtep(uplink, [198, 51, high + 100, low]))
    });
    object.put("VTEPS", vteps)?;
    for (targets, list) in TARGETS.into_iter().zip(1..) {
        object.put("FLOOD", chunks(list, targets))?;
    }
    Ok(())
}

/// The chunks of a list of VTEPs.
fn chunks(list: u32, targets: u32) -> Vec<(FloodKey, FloodChunk)> {
    let receivers: Vec<FloodEntry> = (1..=targets)
        .map(|number| FloodEntry {
            kind: target_kind::VTEP,
            flags: 0,
            group: Group::MESH.0,
            target: number + 1,
        })
        .collect();
    let parts = receivers.chunks(FLOOD_CHUNK);
    let end = parts.len().saturating_sub(1);
    let chunk = |(number, part): (usize, &[FloodEntry])| {
        let mut entries = [FloodEntry::default(); FLOOD_CHUNK];
        for (entry, receiver) in entries.iter_mut().zip(part) {
            *entry = *receiver;
        }
        let (count, more) = (part.len() as u32, u32::from(number < end));
        let key = FloodKey { flood_id: list, chunk: number as u32 };
        (key, FloodChunk { count, more, entries })
    };
    parts.enumerate().map(chunk).collect()
}

/// Has the network flood along a list.
fn choose_list(object: &mut Object, list: u32) -> Result<()> {
    let segment = SegmentEntry { flood_id: list, flags: segment_flags::FLOOD, slot: 1, mtu: 1500 };
    object.put("SEGMENTS", [(NEAR, segment)])
}

/// Packets that a device has sent, or refused because its far end was full.
fn sent(json: &str) -> Option<u64> {
    let links: serde_json::Value = serde_json::from_str(json).ok()?;
    let counters = links.get(0)?.get("stats64")?.get("tx")?;
    let counter = |name: &str| counters.get(name)?.as_u64();
    Some(counter("packets")? + counter("dropped")?)
}
