//! What the programs cost by themselves (`BPF_PROG_TEST_RUN`).
//!
//! A frame that was encapsulated must be bare again for the next run. `encap_ns` is all that happens
//! to a pod's frame for a VTEP, with the outer headers taken off again, minus what taking off costs
//! and minus an empty program; `decap_ns` is what all that happens to it on the other node adds.
//! `local_ns`: from a pod to a pod. `tunnel_ns`: out of the slow path, into a pod. `refused_ns`: a tunnel
//! packet of a network that is not here, dropped and counted; `refused_xdp_ns`: the same by XDP.
//! `foreign_tx_ns`: what leaves by the underlay and was made on the node; `own_tx_ns`: what a pod sent,
//! encapsulated.

use anyhow::{Result, ensure};
use l2sm_common::{
    abi,
    encap::outer_header,
    ids::{Group, IfIndex, VtepId, ip16_from_v4},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, HEADER_CAPACITY, LocalEntry, MemberEntry, MemberKey,
        PATHS_MAX, PathEntry, PortEntry, SegmentEntry, UplinkEntry, VtepEntry, config_flags,
        path_state, port_flags,
    },
    vni::Vni,
};

use super::{
    frames::{NOBODYS, POD, POD_V4, STATION, tunnelled, udp},
    ns,
    object::{Object, REDIRECT, SHOT, UNSPEC, XDP_DROP},
    series,
};
use crate::{
    lab::netns::{Netns, join},
    measure::Measure,
    results::Series,
};

/// In the order in which [`round`] yields them.
pub(super) const MEASURES: &[Measure] = &[
    ns("encap_ns"),
    ns("decap_ns"),
    ns("local_ns"),
    ns("tunnel_ns"),
    ns("refused_ns"),
    ns("refused_xdp_ns"),
    ns("empty_ns"),
    ns("room_ns"),
    ns("foreign_rx_ns"),
    ns("foreign_tx_ns"),
    ns("own_tx_ns"),
    ns("encap_1k_ns"),
    ns("decap_1k_ns"),
    ns("local_1k_ns"),
    ns("tunnel_1k_ns"),
    ns("refused_1k_ns"),
    ns("refused_xdp_1k_ns"),
    ns("encap_100k_ns"),
    ns("decap_100k_ns"),
    ns("local_100k_ns"),
    ns("tunnel_100k_ns"),
    ns("refused_100k_ns"),
    ns("refused_xdp_100k_ns"),
];
/// Entries of the FDB.
const SIZES: [u32; 3] = [10, 1_000, 100_000];
const REPEAT: u32 = 200_000;

/// VNI of the network of the pod, and of the one in which the other node delivers.
pub(super) const NEAR: u32 = 1;
const FAR: u32 = 2;
const VTEP: u32 = 1;
/// The device that XDP's test runs have frames come in by.
const LOOPBACK: u32 = 1;
pub(super) const OWN_V4: [u8; 4] = [192, 0, 2, 1];
const REMOTE_V4: [u8; 4] = [192, 0, 2, 2];

/// Runs all rounds.
///
/// # Errors
/// The kernel refuses a program, or one does not do with the frame what it should.
pub fn run(rounds: usize) -> Result<Vec<Series>> {
    let (netns, far) = (Netns::new("programs")?, Netns::new("programs-far")?);
    join((&netns, "p0"), (&far, "p1"), 1600)?;
    netns.ip(&format!("link set p0 address {STATION}"))?;
    let device = netns.ifindex("p0")?;
    let values = netns.run(|| {
        let mut objects = Vec::new();
        for size in SIZES {
            objects.push(loaded(device, size)?);
        }
        (0..rounds).map(|_| round(&mut objects, device)).collect::<Result<Vec<_>>>()
    })?;
    Ok(series(MEASURES, &values))
}

fn loaded(device: u32, size: u32) -> Result<Object> {
    let more = ["bench_empty", "bench_room", "bench_encap", "bench_both", "bench_tunnel"];
    let mut object = Object::load(&more)?;
    fill(&mut object, device)?;
    object.put("FDB", strangers(size))?;
    Ok(object)
}

/// One value for each measure.
fn round(objects: &mut [Object], device: u32) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    let hostile = tunnelled(NOBODYS)?;
    for (object, number) in objects.iter_mut().zip(0..) {
        let early = object.run_early(&hostile, REPEAT)?;
        ensure!(early.code == XDP_DROP, "XDP returned {}, not {XDP_DROP}", early.code);
        let mut time = |name: &str, frame: &[u8], code: u32| -> Result<f64> {
            let ran = object.run(name, frame, device, REPEAT)?;
            ensure!(ran.code == code, "{name} returned {}, not {code}", ran.code);
            ensure!(ran.bytes == frame, "{name} leaves another frame than it found");
            Ok(ran.time.as_secs_f64() * 1e9)
        };
        let remote = udp(STATION, POD);
        let empty = time("bench_empty", &remote, UNSPEC)?;
        let undo = (time("bench_room", &remote, UNSPEC)? - empty) / 2.0;
        let encap = time("bench_encap", &remote, REDIRECT)? - undo - empty;
        let both = time("bench_both", &remote, REDIRECT)? - empty;
        let local = time("l2sm_port_rx", &udp(Mac([2, 0, 0, 0, 0, 3]), POD), REDIRECT)? - empty;
        let tunnel = time("bench_tunnel", &remote, REDIRECT)? - empty;
        let refused = time("l2sm_uplink_rx", &hostile, SHOT)? - empty;
        let early = early.time.as_secs_f64() * 1e9 - empty;
        values.extend([encap, both - encap, local, tunnel, refused, early]);
        if number == 0 {
            values.extend([empty, undo]);
            let foreign = udp(STATION, Mac([2, 0, 0, 0, 0, 9]));
            values.push(time("l2sm_uplink_rx", &foreign, UNSPEC)? - empty);
            values.push(time("l2sm_uplink_tx", &foreign, UNSPEC)? - empty);
            values.push(leave(object, device)? - empty);
        }
    }
    Ok(values)
}

/// A pod's frame as it leaves by the underlay, with our headers: it came in by a port.
fn leave(object: &mut Object, port: u32) -> Result<f64> {
    let frame = tunnelled(NEAR)?;
    let ran = object.run_relayed("l2sm_uplink_tx", &frame, LOOPBACK, port, REPEAT)?;
    ensure!(ran.code == UNSPEC, "l2sm_uplink_tx returned {} for a frame of ours", ran.code);
    Ok(ran.time.as_secs_f64() * 1e9)
}

/// Two networks, a pod, a station behind a VTEP in the first network, and the same station as a pod
/// of this node in the second.
pub(super) fn fill(object: &mut Object, device: u32) -> Result<()> {
    let (own, remote) = (ip16_from_v4(OWN_V4), ip16_from_v4(REMOTE_V4));
    object.configure(ConfigEntry {
        abi: abi::ABI,
        port: abi::UDP_PORT.into(),
        mark: abi::MARK,
        vxlan_ifindex: device,
        flags: config_flags::ETHERNET,
        // As in LOCALS below.
        local: remote,
    })?;
    let segment = |slot| SegmentEntry { flood_id: 0, flags: 0, slot, mtu: 1500 };
    object.put("SEGMENTS", [(NEAR, segment(1)), (FAR, segment(2))])?;
    let flags = port_flags::MAC_CHECK | port_flags::PEER;
    let (ipv6, group) = ([0; 16], Group::PORTS.0);
    let port = PortEntry { vni: NEAR, flags, slot: 1, ipv4: POD_V4, ipv6, mac: POD.0, group };
    object.put("PORTS", [(device, port)])?;
    object.put("VTEPS", [(VTEP, vtep(device, REMOTE_V4))])?;
    object.put("SOURCES", [(own, VTEP), (remote, VTEP)])?;
    // What this node sends comes back to it: the next run finds the frame where it was.
    object.put("LOCALS", [(remote, LocalEntry { flags: 0 })])?;
    let member = MemberEntry { vtep: VTEP, group: Group::MESH.0, flags: 0, slot: 2 };
    object.put("MEMBERS", [(MemberKey { vni: FAR, source: own }, member)])?;
    let uplinks =
        [(device, UplinkEntry::new(Some(POD))), (LOOPBACK, UplinkEntry::new(Some(STATION)))];
    object.put("UPLINKS", uplinks)?;
    let at_port = FdbEntry::port(IfIndex(device), Group::PORTS, true);
    // Not the port that the frame comes in by: that would be a hairpin.
    let neighbor = FdbEntry::port(IfIndex(device + 1), Group::PORTS, true);
    let behind = FdbEntry::vtep(VtepId(VTEP), Group::MESH);
    let key = |vni, mac: Mac| FdbKey { vni, mac: mac.0, pad: [0; 2] };
    let near = [(key(NEAR, STATION), behind), (key(NEAR, Mac([2, 0, 0, 0, 0, 3])), neighbor)];
    object.put("FDB", near)?;
    object.put("FDB", [(key(FAR, STATION), at_port)])
}

/// A VTEP at an address, reached by a device.
pub(super) fn vtep(device: u32, remote: [u8; 4]) -> VtepEntry {
    let (local, remote) = (ip16_from_v4(OWN_V4), ip16_from_v4(remote));
    let header = outer_header(POD, STATION, local, remote, abi::UDP_PORT);
    let path = PathEntry { ifindex: device, mtu: 1600, state: path_state::RESOLVED, header };
    let unused = PathEntry { ifindex: 0, mtu: 0, state: 0, header: [0; HEADER_CAPACITY] };
    let mut paths = [unused; PATHS_MAX];
    if let Some(first) = paths.first_mut() {
        *first = path;
    }
    VtepEntry { flags: 0, n_paths: 1, remote, local, paths }
}

/// Stations that nobody asks for.
fn strangers(count: u32) -> impl Iterator<Item = (FdbKey, FdbEntry)> {
    (0..count).filter_map(|number| {
        let [a, b, c, d] = number.to_be_bytes();
        let key = FdbKey::new(Vni::new(NEAR)?, Mac([2, 1, a, b, c, d]));
        Some((key, FdbEntry::vtep(VtepId(VTEP), Group::MESH)))
    })
}
