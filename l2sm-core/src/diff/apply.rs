//! What a change means, on an image.

use std::collections::BTreeMap;

use super::Change;
use crate::image::Image;

/// Makes `change` on `image`: the reference for whoever makes it in the kernel. Removing what is not
/// there changes nothing.
pub fn apply(image: &mut Image, change: &Change) {
    match change {
        Change::PutConfig(config) => image.config = Some(*config),
        Change::ClearConfig => image.config = None,
        Change::PutUplink(key, value) => put(&mut image.uplinks, key, value),
        Change::DeleteUplink(key) => delete(&mut image.uplinks, key),
        Change::PutLocal(key, value) => put(&mut image.locals, key, value),
        Change::DeleteLocal(key) => delete(&mut image.locals, key),
        Change::PutVtep(key, value) => put(&mut image.vteps, key, value),
        Change::DeleteVtep(key) => delete(&mut image.vteps, key),
        Change::PutSource(key, value) => put(&mut image.sources, key, value),
        Change::DeleteSource(key) => delete(&mut image.sources, key),
        Change::PutFlood(key, value) => put(&mut image.flood, key, value),
        Change::DeleteFlood(key) => delete(&mut image.flood, key),
        Change::PutSegment(key, value) => put(&mut image.segments, key, value),
        Change::DeleteSegment(key) => delete(&mut image.segments, key),
        Change::PutMember(key, value) => put(&mut image.members, key, value),
        Change::DeleteMember(key) => delete(&mut image.members, key),
        Change::PutFdb(key, value) => put(&mut image.fdb, key, value),
        Change::DeleteFdb(key) => delete(&mut image.fdb, key),
        Change::PutNeigh(key, value) => put(&mut image.neigh, key, value),
        Change::DeleteNeigh(key) => delete(&mut image.neigh, key),
        Change::PutPort(key, value) => put(&mut image.ports, key, value),
        Change::DeletePort(key) => delete(&mut image.ports, key),
        Change::Attach(hook) => {
            image.hooks.insert(*hook);
        }
        Change::Detach(hook) => {
            image.hooks.remove(hook);
        }
    }
}

/// Inserts or replaces.
fn put<K: Ord + Copy, V: Copy>(map: &mut BTreeMap<K, V>, key: &K, value: &V) {
    map.insert(*key, *value);
}

/// Removes, where it is there.
fn delete<K: Ord, V>(map: &mut BTreeMap<K, V>, key: &K) {
    map.remove(key);
}
