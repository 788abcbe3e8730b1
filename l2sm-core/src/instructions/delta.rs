//! From one node's instructions to the next.

use std::collections::BTreeMap;

use super::{Delta, Instructions, Removed};

/// What turns `old` into `new`: [`apply_delta`] with it gives `new`. Empty when they are equal.
pub fn delta(old: &Instructions, new: &Instructions) -> Delta {
    let (segments, no_segments) = compare(&old.segments, &new.segments);
    let (vteps, no_vteps) = compare(&old.vteps, &new.vteps);
    let (members, no_members) = compare(&old.members, &new.members);
    let (hosts, no_hosts) = old.hosts.compare(&new.hosts);
    let (ports, no_ports) = compare(&old.ports, &new.ports);
    Delta {
        put: Instructions { segments, vteps, members, hosts, ports },
        remove: Removed {
            segments: no_segments,
            vteps: no_vteps,
            members: no_members,
            hosts: no_hosts,
            ports: no_ports,
        },
    }
}

/// Changes `instructions` as `delta` says. Removing what is not there changes nothing.
pub fn apply_delta(instructions: &mut Instructions, delta: Delta) {
    let Delta { put, remove } = delta;
    change(&mut instructions.segments, put.segments, &remove.segments);
    change(&mut instructions.vteps, put.vteps, &remove.vteps);
    change(&mut instructions.members, put.members, &remove.members);
    for key in &remove.hosts {
        instructions.hosts.remove(key);
    }
    instructions.hosts.put_all(put.hosts);
    change(&mut instructions.ports, put.ports, &remove.ports);
}

fn compare<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> (BTreeMap<K, V>, Vec<K>) {
    let put = new.iter().filter(|(key, value)| old.get(key) != Some(*value));
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    (put.map(|(key, value)| (key.clone(), value.clone())).collect(), gone.cloned().collect())
}

fn change<K: Ord, V>(map: &mut BTreeMap<K, V>, put: BTreeMap<K, V>, remove: &[K]) {
    for key in remove {
        drop(map.remove(key));
    }
    map.extend(put);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{instructions::instructions, world::tests::worlds};

    proptest! {
        #[test]
        fn a_delta_leads_from_one_world_to_the_next(old in worlds(), new in worlds()) {
            for node in ["n0", "n1", "n2"] {
                let (before, after) = (instructions(&old, node), instructions(&new, node));
                let mut followed = before.clone();
                apply_delta(&mut followed, delta(&before, &after));
                prop_assert_eq!(&followed, &after);
                prop_assert!(delta(&after, &after).is_empty());
            }
        }

        #[test]
        fn a_snapshot_is_a_delta_from_nothing(world in worlds()) {
            let all = instructions(&world, "n1");
            let from_nothing = delta(&Instructions::default(), &all);
            prop_assert_eq!(&from_nothing.put, &all);
            prop_assert!(from_nothing.remove.is_empty());
        }
    }
}
