//! Remote VTEPs: their numbers, addresses and outer headers.

use std::{collections::BTreeMap, net::IpAddr};

use l2sm_common::{
    encap::outer_header,
    ids::{Ip16, VtepId, ip16},
    maps::{HEADER_CAPACITY, PATHS_MAX, PathEntry, VtepEntry, path_state, vtep_flags},
};

use super::{Image, Local, Path, Problem, ids::VtepIds};
use crate::instructions::{Instructions, Vtep};

/// Writes `VTEPS` and `SOURCES`; returns the numbers of the VTEPs that can be sent to, by name.
pub(super) fn write_vteps<'a>(
    instructions: &'a Instructions,
    local: &Local,
    previous: &Image,
    image: &mut Image,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a str, VtepId> {
    let mut ids = VtepIds::read(previous);
    let mut holders: BTreeMap<IpAddr, &str> =
        local.addresses.iter().map(|address| (*address, "this node")).collect();
    let mut numbers = BTreeMap::new();
    for (name, vtep) in &instructions.vteps {
        let Some(remote) = remote_address(vtep, local) else {
            problems.push(Problem::NoFamily { vtep: name.clone() });
            continue;
        };
        if let Some((address, holder)) = taken(vtep, &holders) {
            let holder = holder.to_owned();
            problems.push(Problem::VtepAddressTaken { vtep: name.clone(), address, holder });
            continue;
        }
        let id = ids.number(ip16(remote));
        image.vteps.insert(id.0, vtep_entry(remote, vtep.udp_checksum, local));
        for address in &vtep.addresses {
            holders.insert(*address, name);
            image.sources.insert(ip16(*address), id.0);
        }
        numbers.insert(name.as_str(), id);
    }
    numbers
}

/// The address that this node sends to: the first whose family it has an address of.
fn remote_address(vtep: &Vtep, local: &Local) -> Option<IpAddr> {
    let has_family =
        |remote: &IpAddr| local.addresses.iter().any(|own| own.is_ipv4() == remote.is_ipv4());
    vtep.addresses.iter().copied().find(has_family)
}

/// The first of a VTEP's addresses that somebody else has, and who.
fn taken<'a>(vtep: &Vtep, holders: &BTreeMap<IpAddr, &'a str>) -> Option<(IpAddr, &'a str)> {
    vtep.addresses.iter().find_map(|address| Some((*address, *holders.get(address)?)))
}

/// The entry of the VTEP at `remote`.
fn vtep_entry(remote: IpAddr, checksum: bool, local: &Local) -> VtepEntry {
    let ways = local.paths.get(&remote).map_or(&[][..], Vec::as_slice);
    let mut paths = [UNUSED; PATHS_MAX];
    let mut n_paths = 0;
    for (entry, path) in paths.iter_mut().zip(ways) {
        *entry = path_entry(path, remote, local);
        n_paths += 1;
    }
    let source = own_address(ways.first(), remote, local);
    let mut flags = 0;
    if remote.is_ipv6() {
        flags |= vtep_flags::IPV6;
    }
    if checksum {
        flags |= vtep_flags::CHECKSUM;
    }
    VtepEntry { flags, n_paths, remote: ip16(remote), local: source, paths }
}

/// A path that is not there.
const UNUSED: PathEntry =
    PathEntry { ifindex: 0, mtu: 0, state: path_state::UNRESOLVED, header: [0; HEADER_CAPACITY] };

/// One way to `remote`, its header ready where both link-layer addresses are known.
fn path_entry(path: &Path, remote: IpAddr, local: &Local) -> PathEntry {
    let unresolved = PathEntry { ifindex: path.device.0, mtu: path.mtu, ..UNUSED };
    let (Some(source_mac), Some(next_hop)) = (path.source_mac, path.next_hop) else {
        return unresolved;
    };
    let source = own_address(Some(path), remote, local);
    let header = outer_header(source_mac, next_hop, source, ip16(remote), local.udp_port);
    PathEntry { state: path_state::RESOLVED, header, ..unresolved }
}

/// Our address towards `remote`: the one that the kernel picks, where it is a VTEP address. The
/// other end drops what comes from another.
fn own_address(path: Option<&Path>, remote: IpAddr, local: &Local) -> Ip16 {
    let picked = path.map(|path| path.source).filter(|source| local.addresses.contains(source));
    let same_family = |own: &&IpAddr| own.is_ipv4() == remote.is_ipv4();
    let own = picked.or_else(|| local.addresses.iter().find(same_family).copied());
    own.map_or([0; 16], ip16)
}
