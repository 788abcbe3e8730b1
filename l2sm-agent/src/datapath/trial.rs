//! Whether this kernel runs our programs: they are loaded with maps that nobody else sees, and one is
//! run on a frame. Nothing is pinned or attached, and all of it is gone afterwards.

use aya::{
    EbpfLoader, TestRunOptions,
    programs::{SchedClassifier, TestRun as _},
};
use l2sm_common::{
    abi,
    encap::{Patch, finish_v4, outer_header},
    ids::{Group, IfIndex, VtepId, ip16_from_v4},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, HEADER_CAPACITY, LocalEntry, MemberEntry, MemberKey,
        PATHS_MAX, PathEntry, PortEntry, SegmentEntry, UplinkEntry, VtepEntry, path_state,
    },
    vni::Vni,
    wire::vxlan::OVERHEAD_V4,
};

use super::{
    Attaching, Capacities, DatapathError, OBJECT,
    error::chain,
    maps::Maps,
    object::{classifier, load_program},
};

/// What was found out.
#[derive(Debug)]
pub struct Trial {
    /// How programs are attached.
    pub attaching: Attaching,
    /// Programs that the verifier took.
    pub loaded: usize,
    /// A frame was encapsulated in BPF; else why not.
    pub encapsulated: Result<(), String>,
    /// A tunnel packet was decapsulated in BPF; else why not.
    pub decapsulated: Result<(), String>,
    /// It can go straight into a pod (`bpf_redirect_peer`); else why not.
    pub into_pod: Result<(), String>,
}

/// Loopback: the device that a test run's frame came in by.
const DEVICE: u32 = 1;
const VNI: u32 = 1;
const VTEP: u32 = 1;
const POD: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// Loopback's MAC: the kernel takes the frame of a test run as received by that device.
const NODE: Mac = Mac([0; 6]);
/// A pod that frames are handed to by `bpf_redirect_peer`.
const PEER: Mac = Mac([2, 0, 0, 0, 0, 3]);
const LOCAL: [u8; 4] = [192, 0, 2, 1];
const REMOTE: [u8; 4] = [192, 0, 2, 2];
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;

/// Loads every program; runs `l2sm_port_rx` on a frame for a remote VTEP, and `l2sm_uplink_rx` on
/// tunnel packets for pods.
///
/// # Errors
/// A capability is missing, or the kernel refuses a program.
pub fn try_programs() -> Result<Trial, DatapathError> {
    let object = EbpfLoader::new().load(OBJECT);
    let mut object =
        object.map_err(|error| DatapathError::load("make the maps".to_owned(), &error))?;
    let mut maps = Maps::take(&mut object, &Capacities::new())?;
    for (_index, program) in abi::PROGS {
        load_program(&mut object, program)?;
    }
    fill(&mut maps)?;
    let bare = frame(OTHER, POD);
    let grown = bare.len() + OVERHEAD_V4;
    let [to_pod, to_peer] = [POD, PEER].map(|pod| tunnel(&frame(pod, OTHER)));
    Ok(Trial {
        attaching: Attaching::probe(),
        loaded: abi::PROGS.len(),
        encapsulated: redirects(classifier(&mut object, abi::PORT_RX)?, &bare, grown),
        decapsulated: redirects(classifier(&mut object, abi::UPLINK_RX)?, &to_pod, bare.len()),
        into_pod: redirects(classifier(&mut object, abi::UPLINK_RX)?, &to_peer, bare.len()),
    })
}

/// Runs a program on a frame, which it must send on with this length.
fn redirects(program: &SchedClassifier, frame: &[u8], length: usize) -> Result<(), String> {
    let mut sent = vec![0; 256];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut sent),
        ..TestRunOptions::default()
    };
    match program.test_run(options) {
        Ok(run)
            if run.return_value == REDIRECT && usize::try_from(run.data_size_out) == Ok(length) =>
        {
            Ok(())
        }
        Ok(run) => Err(format!(
            "it returned {} and a frame of {} bytes, not {REDIRECT} and {length}",
            run.return_value, run.data_size_out
        )),
        Err(error) => Err(chain(&error)),
    }
}

/// One segment, two pods, and a station behind a VTEP that is resolved.
fn fill(maps: &mut Maps) -> Result<(), DatapathError> {
    maps.config.put(Some(ConfigEntry {
        abi: abi::ABI,
        port: abi::UDP_PORT.into(),
        mark: abi::MARK,
        vxlan_ifindex: DEVICE,
        flags: 0,
        local: [0; 16],
    }))?;
    maps.segments.put(&VNI, &SegmentEntry { flood_id: 0, flags: 0, slot: 1, mtu: 1450 })?;
    let (ipv4, ipv6, group) = ([0; 4], [0; 16], Group::PORTS.0);
    let port = PortEntry { vni: VNI, flags: 0, slot: 1, ipv4, ipv6, mac: POD.0, group };
    maps.ports.put(&DEVICE, &port)?;
    let (local, remote) = (ip16_from_v4(LOCAL), ip16_from_v4(REMOTE));
    if let Some(vni) = Vni::new(VNI) {
        let pod = |peer| FdbEntry::port(IfIndex(DEVICE), Group::PORTS, peer);
        maps.fdb.put(&FdbKey::new(vni, OTHER), &FdbEntry::vtep(VtepId(VTEP), Group::MESH))?;
        maps.fdb.put(&FdbKey::new(vni, POD), &pod(false))?;
        maps.fdb.put(&FdbKey::new(vni, PEER), &pod(true))?;
        let member = MemberEntry { vtep: VTEP, group: Group::MESH.0, flags: 0, slot: 1 };
        maps.members.put(&MemberKey::new(vni, remote), &member)?;
    }
    maps.uplinks.put(&DEVICE, &UplinkEntry::new(Some(NODE)))?;
    maps.locals.put(&local, &LocalEntry { flags: 0 })?;
    let header = outer_header(POD, OTHER, local, remote, abi::UDP_PORT);
    let path = PathEntry { ifindex: DEVICE, mtu: 1500, state: path_state::RESOLVED, header };
    let unused = PathEntry { ifindex: 0, mtu: 0, state: 0, header: [0; HEADER_CAPACITY] };
    let mut paths = [unused; PATHS_MAX];
    paths[0] = path;
    let entry = VtepEntry { flags: 0, n_paths: 1, remote, local, paths };
    maps.vteps.put(&VTEP, &entry)
}

/// An IPv4 packet, 64 bytes.
fn frame(destination: Mac, source: Mac) -> Vec<u8> {
    let mut frame = Vec::from(destination.0);
    frame.extend(source.0);
    frame.extend([8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.resize(64, 0);
    frame
}

/// A tunnel packet from the VTEP to this node.
fn tunnel(inner: &[u8]) -> Vec<u8> {
    let (local, remote) = (ip16_from_v4(LOCAL), ip16_from_v4(REMOTE));
    let header = outer_header(OTHER, NODE, remote, local, abi::UDP_PORT);
    let mut outer = header.first_chunk::<OVERHEAD_V4>().copied().unwrap_or([0; OVERHEAD_V4]);
    let inner_len = u32::try_from(inner.len()).unwrap_or_default();
    let vni = Vni::new(VNI).unwrap_or(Vni::MIN);
    finish_v4(&mut outer, Patch { vni, inner_len, hash: 1, tos: 0 });
    [&outer, inner].concat()
}
