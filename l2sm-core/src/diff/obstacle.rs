//! What refers to what, when not every change could be made.

use l2sm_common::maps::{FdbEntry, FloodChunk, FloodKey, target_kind};

use super::Change;
use crate::image::Image;

/// Why a change must wait, though its turn has come: a change before it failed, so that it would leave
/// a reference to what is not there. `actual`: what the maps hold now. `None`: it may be made.
///
/// Deleting ports never waits: it closes. Deleting a segment does not close it, what is in it does:
/// members are admitted without a look at their segment. Nor does a flood list wait with a receiver
/// that is not there: no number is given out that a list names, and the others must hear of one
/// another.
pub fn obstacle(change: &Change, actual: &Image) -> Option<String> {
    match change {
        Change::PutSource(_, id) => no_vtep(*id, actual),
        Change::PutMember(key, member) => {
            no_segment(key.vni, actual).or_else(|| no_vtep(member.vtep, actual))
        }
        Change::PutFdb(key, entry) => no_segment(key.vni, actual).or_else(|| {
            target(*entry).filter(|id| !actual.vteps.contains_key(id)).map(vtep_missing)
        }),
        Change::PutNeigh(key, _) => no_segment(key.vni, actual),
        Change::PutPort(_, port) => no_segment(port.vni, actual),
        Change::PutFlood(key, chunk) => no_next(*key, chunk, actual),
        Change::PutSegment(_, segment) => {
            let first = FloodKey { flood_id: segment.flood_id, chunk: 0 };
            let there = segment.flood_id == 0 || actual.flood.contains_key(&first);
            (!there).then(|| format!("flood list {} is not there", segment.flood_id))
        }
        Change::DeleteSegment(vni) => {
            is_inhabited(*vni, actual).then(|| format!("segment {vni} is in use"))
        }
        Change::DeleteVtep(id) => is_target(*id, actual).then(|| format!("VTEP {id} is in use")),
        Change::DeleteFlood(key) => {
            is_needed(*key, actual).then(|| format!("flood list {} is in use", key.flood_id))
        }
        Change::PutConfig(_)
        | Change::ClearConfig
        | Change::PutUplink(..)
        | Change::DeleteUplink(_)
        | Change::PutLocal(..)
        | Change::DeleteLocal(_)
        | Change::PutVtep(..)
        | Change::DeleteSource(_)
        | Change::DeleteMember(_)
        | Change::DeleteFdb(_)
        | Change::DeleteNeigh(_)
        | Change::DeletePort(_)
        | Change::Attach(_)
        | Change::Detach(_) => None,
    }
}

/// The first reference in an image to something that is not there, receivers of flood lists aside;
/// `None`: there is none.
pub fn dangling(image: &Image) -> Option<String> {
    let stations = image.fdb.iter().filter_map(|(key, entry)| {
        let id = target(*entry).filter(|id| !image.vteps.contains_key(id))?;
        Some(format!("{key:?}: VTEP {id}"))
    });
    let members = image.members.iter().filter(|(_, member)| !has_vtep(member.vtep, image));
    let members = members.map(|(key, member)| format!("{key:?}: VTEP {}", member.vtep));
    let sources = image.sources.iter().filter(|(_, id)| !has_vtep(**id, image));
    let sources = sources.map(|(key, id)| format!("{key:?}: VTEP {id}"));
    let lists = image.segments.iter().filter_map(|(vni, segment)| {
        let why = obstacle(&Change::PutSegment(*vni, *segment), image)?;
        Some(format!("vni {vni}: {why}"))
    });
    let chunks = image.flood.iter().filter_map(|(key, chunk)| {
        let why = no_next(*key, chunk, image)?;
        Some(format!("{key:?}: {why}"))
    });
    let homeless = segments_in_use(image).filter_map(|vni| no_segment(vni, image));
    stations.chain(members).chain(sources).chain(lists).chain(chunks).chain(homeless).next()
}

/// Whether something is in a segment.
fn is_inhabited(vni: u32, actual: &Image) -> bool {
    segments_in_use(actual).any(|used| used == vni)
}

/// The segments that something is in, each as often as there is.
fn segments_in_use(image: &Image) -> impl Iterator<Item = u32> {
    let members = image.members.keys().map(|key| key.vni);
    let stations = image.fdb.keys().map(|key| key.vni);
    let addresses = image.neigh.keys().map(|key| key.vni);
    let ports = image.ports.values().map(|port| port.vni);
    members.chain(stations).chain(addresses).chain(ports)
}

/// Whether a chunk leads to a next one that is not there.
fn no_next(key: FloodKey, chunk: &FloodChunk, actual: &Image) -> Option<String> {
    let next = FloodKey { chunk: key.chunk + 1, ..key };
    let there = chunk.more == 0 || actual.flood.contains_key(&next);
    (!there).then(|| format!("chunk {} of flood list {} is not there", next.chunk, key.flood_id))
}

/// Whether a chunk is walked: the first one, of a list that a segment names, or one that the chunk
/// before leads to.
fn is_needed(key: FloodKey, actual: &Image) -> bool {
    let Some(before) = key.chunk.checked_sub(1) else {
        return actual.segments.values().any(|segment| segment.flood_id == key.flood_id);
    };
    let before = actual.flood.get(&FloodKey { chunk: before, ..key });
    before.is_some_and(|chunk| chunk.more != 0)
}

/// Whether something leads to a VTEP.
fn is_target(id: u32, actual: &Image) -> bool {
    actual.members.values().any(|member| member.vtep == id)
        || actual.sources.values().any(|source| *source == id)
        || actual.fdb.values().any(|entry| target(*entry) == Some(id))
        || actual.flood.values().any(|chunk| receivers(chunk).any(|receiver| receiver == id))
}

/// The VTEPs that a chunk leads to.
fn receivers(chunk: &FloodChunk) -> impl Iterator<Item = u32> {
    let vteps = chunk.entries.iter().filter(|entry| entry.kind == target_kind::VTEP);
    vteps.map(|entry| entry.target)
}

/// The VTEP that a known address is behind.
fn target(entry: FdbEntry) -> Option<u32> {
    (entry.kind == target_kind::VTEP).then_some(entry.target)
}

fn no_vtep(id: u32, actual: &Image) -> Option<String> {
    (!has_vtep(id, actual)).then(|| vtep_missing(id))
}

fn vtep_missing(id: u32) -> String {
    format!("VTEP {id} is not there")
}

fn has_vtep(id: u32, actual: &Image) -> bool {
    actual.vteps.contains_key(&id)
}

fn no_segment(vni: u32, actual: &Image) -> Option<String> {
    (!actual.segments.contains_key(&vni)).then(|| format!("segment {vni} is not there"))
}
