//! Whether this kernel runs our programs: they are loaded with maps that nobody else sees, and one is
//! run on a frame. Nothing is pinned or attached, and all of it is gone afterwards.

use aya::{EbpfLoader, TestRunOptions, programs::TestRun as _};
use l2sm_common::{
    abi,
    encap::outer_header,
    ids::{Group, VtepId, ip16_from_v4},
    mac::Mac,
    maps::{
        ConfigEntry, FdbEntry, FdbKey, HEADER_CAPACITY, PATHS_MAX, PathEntry, PortEntry,
        SegmentEntry, VtepEntry, path_state,
    },
    vni::Vni,
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
}

/// Loopback: the device that a test run's frame came in by.
const DEVICE: u32 = 1;
const VNI: u32 = 1;
const VTEP: u32 = 1;
const POD: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;
/// IPv4, UDP, VXLAN and Ethernet headers, bytes.
const OVERHEAD: u32 = 50;

/// Loads every program and runs `l2sm_port_rx` on a frame for a remote VTEP.
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
    let frame = frame();
    let mut grown = vec![0; 256];
    let options = TestRunOptions {
        data_in: Some(&frame),
        data_out: Some(&mut grown),
        ..TestRunOptions::default()
    };
    let run = classifier(&mut object, abi::PORT_RX)?.test_run(options);
    let sent = u32::try_from(frame.len()).unwrap_or_default() + OVERHEAD;
    let encapsulated = match run {
        Ok(run) if run.return_value == REDIRECT && run.data_size_out == sent => Ok(()),
        Ok(run) => Err(format!(
            "it returned {} and a frame of {} bytes, not {REDIRECT} and {sent}",
            run.return_value, run.data_size_out
        )),
        Err(error) => Err(chain(&error)),
    };
    Ok(Trial { attaching: Attaching::probe(), loaded: abi::PROGS.len(), encapsulated })
}

/// One segment, one pod, and a station behind a VTEP that is resolved.
fn fill(maps: &mut Maps) -> Result<(), DatapathError> {
    maps.config.put(Some(ConfigEntry {
        abi: abi::ABI,
        port: abi::UDP_PORT.into(),
        mark: abi::MARK,
        vxlan_ifindex: DEVICE,
        flags: 0,
    }))?;
    maps.segments.put(&VNI, &SegmentEntry { flood_id: 0, flags: 0, slot: 1, mtu: 1450 })?;
    let (ipv4, ipv6, group) = ([0; 4], [0; 16], Group::PORTS.0);
    let port = PortEntry { vni: VNI, flags: 0, slot: 1, ipv4, ipv6, mac: POD.0, group };
    maps.ports.put(&DEVICE, &port)?;
    if let Some(vni) = Vni::new(VNI) {
        maps.fdb.put(&FdbKey::new(vni, OTHER), &FdbEntry::vtep(VtepId(VTEP), Group(1)))?;
    }
    let (local, remote) = (ip16_from_v4([192, 0, 2, 1]), ip16_from_v4([192, 0, 2, 2]));
    let header = outer_header(POD, OTHER, local, remote, abi::UDP_PORT);
    let path = PathEntry { ifindex: DEVICE, mtu: 1500, state: path_state::RESOLVED, header };
    let unused = PathEntry { ifindex: 0, mtu: 0, state: 0, header: [0; HEADER_CAPACITY] };
    let mut paths = [unused; PATHS_MAX];
    paths[0] = path;
    let entry = VtepEntry { flags: 0, n_paths: 1, remote, local, paths };
    maps.vteps.put(&VTEP, &entry)
}

/// An IPv4 packet from the pod, 64 bytes.
fn frame() -> Vec<u8> {
    let mut frame = Vec::from(OTHER.0);
    frame.extend(POD.0);
    frame.extend([8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.resize(64, 0);
    frame
}
