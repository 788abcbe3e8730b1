//! Flood lists: who gets a copy of a broadcast.

use std::collections::BTreeMap;

use l2sm_common::{
    abi::{FLOOD_CHUNK, FLOOD_CHUNKS_MAX},
    ids::FloodId,
    maps::{FloodChunk, FloodEntry, FloodKey},
    vni::Vni,
};

use super::{Image, Problem, ids::FloodIds};
use crate::{instructions::Segment, model::ObjectKey};

/// Writes the flood list of one segment and returns its number; `None`: it has no receivers.
///
/// The list in `previous` keeps its number when it is the same. A changed list gets a new number,
/// never that of another list in `previous`: the old one is walked until `SEGMENTS` names the new
/// one, and may be about to be deleted after that.
pub(super) fn write_list(
    vni: Vni,
    segment: &Segment,
    mut receivers: Vec<FloodEntry>,
    previous: &Image,
    ids: &mut FloodIds,
    image: &mut Image,
) -> (Option<FloodId>, Option<Problem>) {
    receivers.sort_unstable();
    receivers.dedup();
    let problem = cut(&segment.network, &mut receivers);
    if receivers.is_empty() {
        return (None, problem);
    }
    let chunks = chunks(&receivers);
    let before = previous.segments.get(&vni.get()).map_or(0, |segment| segment.flood_id);
    let list = if before != 0 && is_list(&chunks, before, previous) {
        FloodId(before)
    } else {
        ids.new_number()
    };
    let chunks = (0..).zip(chunks).map(|(index, chunk)| (FloodKey::new(list, index), chunk));
    image.flood.extend(chunks);
    (Some(list), problem)
}

/// Cuts a list to what chunks can hold.
fn cut(network: &ObjectKey, receivers: &mut Vec<FloodEntry>) -> Option<Problem> {
    let most = FLOOD_CHUNK * FLOOD_CHUNKS_MAX;
    if receivers.len() <= most {
        return None;
    }
    let problem =
        Problem::FloodListTooLong { network: network.clone(), receivers: receivers.len() };
    receivers.truncate(most);
    Some(problem)
}

/// The list as chunks, in order.
fn chunks(receivers: &[FloodEntry]) -> Vec<FloodChunk> {
    let groups = receivers.chunks(FLOOD_CHUNK);
    let last = groups.len().saturating_sub(1);
    let chunk = |(index, group): (usize, &[FloodEntry])| {
        let mut entries = [FloodEntry::default(); FLOOD_CHUNK];
        for (entry, receiver) in entries.iter_mut().zip(group) {
            *entry = *receiver;
        }
        let count = (0u32..).zip(group).map(|(index, _)| index + 1).last().unwrap_or(0);
        FloodChunk { count, more: u32::from(index < last), entries }
    };
    groups.enumerate().map(chunk).collect()
}

/// Whether list `id` of `previous` is just these chunks.
fn is_list(chunks: &[FloodChunk], id: u32, previous: &Image) -> bool {
    let range = FloodKey { flood_id: id, chunk: 0 }..=FloodKey { flood_id: id, chunk: u32::MAX };
    let before: BTreeMap<_, _> = previous.flood.range(range).collect();
    before.len() == chunks.len()
        && (0..).zip(chunks).all(|(chunk, new)| {
            before.get(&FloodKey { flood_id: id, chunk }).is_some_and(|old| *old == new)
        })
}
