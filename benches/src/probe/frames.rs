//! The frames of test runs.

use anyhow::{Context as _, Result};
use l2sm_common::{
    abi,
    encap::{Patch, finish_v4, outer_header},
    ids::ip16_from_v4,
    mac::Mac,
    vni::Vni,
};

/// The pod that sends.
pub(super) const POD: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// The station that it sends to.
pub(super) const STATION: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// The pod's address.
pub(super) const POD_V4: [u8; 4] = [10, 0, 0, 1];

/// A UDP packet over IPv4, 64 bytes with its Ethernet header.
pub(super) fn udp(destination: Mac, source: Mac) -> Vec<u8> {
    let mut frame = Vec::from(destination.0);
    frame.extend(source.0);
    // IPv4, 50 bytes, TTL 64, UDP, 10.0.0.1 to 10.0.0.2, ports 4000 to 4001.
    frame.extend([8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(POD_V4);
    frame.extend([10, 0, 0, 2, 0x0f, 0xa0, 0x0f, 0xa1, 0, 30, 0, 0]);
    frame.resize(64, 0);
    frame
}

/// A VNI that no network has.
pub(super) const NOBODYS: u32 = 99;

/// A tunnel packet of a network to [`STATION`]'s node, from a VTEP that it knows.
pub(super) fn tunnelled(vni: u32) -> Result<Vec<u8>> {
    let inner = udp(STATION, POD);
    let (from, to) = (ip16_from_v4([192, 0, 2, 1]), ip16_from_v4([192, 0, 2, 2]));
    let template = outer_header(POD, STATION, from, to, abi::UDP_PORT);
    let mut header = *template.first_chunk().context("a template is shorter than a header")?;
    let vni = Vni::new(vni).context("no such VNI")?;
    finish_v4(&mut header, Patch { vni, inner_len: u32::try_from(inner.len())?, hash: 0, tos: 0 });
    Ok([header.as_slice(), &inner].concat())
}
