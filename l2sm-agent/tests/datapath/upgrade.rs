//! From one version of the layout to another, and back, link by link.

use std::collections::BTreeSet;

use l2sm_agent::datapath::{Attaching, Capacities, Datapath as _, Generation, KernelDatapath};
use l2sm_common::maps::{FdbEntry, FdbKey, target_kind};
use l2sm_core::{
    diff::{Change, diff},
    image::{Hook, Image},
};

use crate::{
    attach,
    image::full_image,
    program,
    sandbox::{Sandbox, port, programs, sandboxed},
};

/// Station that comes during an upgrade.
const KEY: FdbKey = FdbKey { vni: 7, mac: [4; 6], pad: [0; 2] };
const STATION: FdbEntry = FdbEntry { kind: target_kind::VTEP, flags: 0, group: 1, target: 1 };

/// An agent that keeps its maps in `v<abi>`, and knows the layouts `known` besides.
fn open(sandbox: &Sandbox, abi: u32, known: &[u32]) -> KernelDatapath {
    let generation = Generation { abi, known: known.to_vec() };
    KernelDatapath::open_as(sandbox.bpffs(), Attaching::probe(), &Capacities::new(), &generation)
        .unwrap()
}

/// What the programs of a version read.
fn maps_of(sandbox: &Sandbox, abi: u32) -> Image {
    let image = open(sandbox, abi, &[]).read().unwrap();
    Image { hooks: BTreeSet::new(), ..image }
}

/// The versions that have maps.
fn versions(sandbox: &Sandbox) -> Vec<u32> {
    let there = |abi: &u32| sandbox.bpffs().join(format!("v{abi}/maps/FDB")).exists();
    (1..9).filter(there).collect()
}

/// An agent of version 1 with something in every map; ends. What it held.
fn version_one(sandbox: &Sandbox) -> Image {
    let desired = full_image();
    let mut old = open(sandbox, 1, &[]);
    program(&mut old, &desired);
    desired
}

#[test]
fn an_upgrade_takes_entries_over_then_moves_each_link_in_place_and_collects_the_old_maps() {
    sandboxed("up", |sandbox| {
        let desired = version_one(sandbox);
        let links: Vec<u32> = desired.hooks.iter().map(|hook| sandbox.link_id(*hook)).collect();
        let before = programs("pod0");

        let mut new = open(sandbox, 2, &[1]);
        assert_eq!(programs("pod0"), before, "the old program forwards while maps are filled");
        assert_eq!(new.outdated(), desired.hooks);
        assert_eq!(Image { hooks: desired.hooks.clone(), ..new.read().unwrap() }, desired);
        assert_eq!(versions(sandbox), [1, 2]);

        assert!(new.take_over().unwrap().is_empty());
        assert_eq!((programs("pod0").len(), versions(sandbox)), (1, vec![2]));
        assert_ne!(programs("pod0"), before);
        assert_eq!(new.read().unwrap(), desired);
        let same: Vec<u32> = desired.hooks.iter().map(|hook| sandbox.link_id(*hook)).collect();
        assert_eq!(same, links, "on the same links");
    });
}

#[test]
fn until_the_last_link_has_moved_changes_go_to_both() {
    sandboxed("both", |sandbox| {
        let desired = version_one(sandbox);
        let hooks: Vec<Hook> = desired.hooks.iter().copied().collect();
        let mut new = open(sandbox, 2, &[1]);
        new.apply(&Change::Attach(hooks[0])).unwrap();
        new.apply(&Change::PutFdb(KEY, STATION)).unwrap();
        let gone = *desired.neigh.keys().next().unwrap();
        new.apply(&Change::DeleteNeigh(gone)).unwrap();

        let old = maps_of(sandbox, 1);
        assert_eq!(old.fdb.get(&KEY), Some(&STATION), "the programs not moved yet know it");
        assert!(!old.neigh.contains_key(&gone));
        for hook in &hooks[1..] {
            assert_eq!(versions(sandbox), [1, 2]);
            new.apply(&Change::Attach(*hook)).unwrap();
        }
        assert_eq!(versions(sandbox), [2], "the last link has moved");
        new.apply(&Change::DeleteFdb(KEY)).unwrap();
    });
}

#[test]
fn an_agent_that_ends_between_two_links_is_followed_by_either() {
    for (name, next, known) in [("midup", 2, &[1][..]), ("middown", 1, &[])] {
        sandboxed(name, |sandbox| {
            let mut desired = version_one(sandbox);
            let first = *desired.hooks.first().unwrap();
            let mut new = open(sandbox, 2, &[1]);
            new.apply(&Change::Attach(first)).unwrap();
            new.apply(&Change::PutFdb(KEY, STATION)).unwrap();
            drop(new);
            desired.fdb.insert(KEY, STATION);

            let mut after = open(sandbox, next, known);
            assert_eq!(after.outdated(), desired.hooks, "programs of this process are none yet");
            assert!(after.take_over().unwrap().is_empty());
            assert_eq!(after.read().unwrap(), desired);
            assert_eq!(versions(sandbox), [next]);
            assert_eq!(programs("pod0").len(), 1);
        });
    }
}

#[test]
fn a_change_that_reached_one_version_only_reaches_the_other_at_the_next_start() {
    sandboxed("torn", |sandbox| {
        let desired = version_one(sandbox);
        let first = *desired.hooks.first().unwrap();
        let mut new = open(sandbox, 2, &[1]);
        new.apply(&Change::Attach(first)).unwrap();
        drop(new);
        // It ended between the two writes.
        let mut torn = open(sandbox, 2, &[]);
        torn.apply(&Change::PutFdb(KEY, STATION)).unwrap();
        drop(torn);
        assert_eq!(maps_of(sandbox, 1).fdb.get(&KEY), None);

        let _after = open(sandbox, 2, &[1]);
        assert_eq!(maps_of(sandbox, 1).fdb.get(&KEY), Some(&STATION));
    });
}

#[test]
fn a_version_that_is_not_known_forwards_on_until_the_new_maps_are_filled() {
    sandboxed("down", |sandbox| {
        let desired = full_image();
        let mut newer = open(sandbox, 2, &[1]);
        program(&mut newer, &desired);
        drop(newer);
        let before = programs("pod0");

        let mut older = open(sandbox, 1, &[]);
        assert!(older.take_over().unwrap().is_empty());
        assert_eq!(programs("pod0"), before, "its maps are empty");
        let actual = older.read().unwrap();
        assert_eq!(actual, Image::default());
        assert_eq!(older.outdated(), desired.hooks);
        for change in diff(&desired, &actual) {
            older.apply(&change).unwrap();
        }

        assert_ne!(programs("pod0"), before);
        assert_eq!((older.read().unwrap(), versions(sandbox)), (desired, vec![1]));
    });
}

#[test]
fn a_hook_that_nobody_wants_any_more_is_known_and_can_be_detached() {
    sandboxed("stray", |sandbox| {
        let hook = port("pod0");
        let mut newer = open(sandbox, 2, &[1]);
        attach(&mut newer, hook);
        drop(newer);
        let mut older = open(sandbox, 1, &[]);
        assert_eq!(older.outdated(), [hook].into());
        older.apply(&Change::Detach(hook)).unwrap();
        assert_eq!((older.outdated(), versions(sandbox)), ([].into(), vec![1]));
    });
}
