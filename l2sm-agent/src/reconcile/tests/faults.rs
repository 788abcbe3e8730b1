//! Whatever is refused for a while, by maps, hooks, links or pods: each failure is told, nothing ever
//! refers to what is not there, and in the end all is as it should be.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
};

use l2sm_core::image::{Hook, Program};

use super::*;

/// The calls of [`Links`] that can fail.
const CALLS: [&str; 5] = ["look", "ensure_devices", "observe", "ensure_ports", "remove_ports"];

/// One pass: what is wanted, and what fails meanwhile.
#[derive(Clone, Debug)]
struct Step {
    pods: BTreeSet<u8>,
    vteps: BTreeSet<u8>,
    /// Changes fail whose hash with this is below `rate` of 8.
    seed: u64,
    rate: u64,
    calls: BTreeSet<&'static str>,
    refused: BTreeSet<u8>,
    unreadable: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pods = || proptest::collection::btree_set(1_u8..6, 0..5);
    let vteps = proptest::collection::btree_set(2_u8..7, 0..5);
    let some = proptest::sample::subsequence(CALLS.to_vec(), 0..3);
    let calls = proptest::bool::weighted(0.3).prop_flat_map(move |fails| {
        let none = Just(Vec::new()).boxed();
        if fails { some.clone().boxed() } else { none }
    });
    let unreadable = proptest::bool::weighted(0.1);
    let step = (pods(), vteps, any::<u64>(), 0_u64..7, calls, pods(), unreadable).prop_map(
        |(pods, vteps, seed, rate, calls, refused, unreadable)| {
            let calls = calls.into_iter().collect();
            Step { pods, vteps, seed, rate, calls, refused, unreadable }
        },
    );
    proptest::collection::vec(step, 1..8)
}

/// The address of a VTEP.
fn remote(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

/// A network with these pods here, and a station behind each of these VTEPs; without pods it is not on
/// the node.
fn wanted(step: &Step) -> Instructions {
    if step.pods.is_empty() {
        return Instructions::default();
    }
    let pods: Vec<u8> = step.pods.iter().copied().collect();
    let mut all = instructions(&pods);
    let member = all.members.values().next().copied().unwrap();
    all.vteps.clear();
    all.members.clear();
    all.hosts.retain(|_key, host| matches!(host.place, Place::Port(_)));
    for number in &step.vteps {
        let name = format!("n{number}");
        let addresses = vec![remote(*number)];
        all.vteps.insert(name.clone(), Vtep { addresses, udp_checksum: false });
        all.members.insert((vni(7), name.clone()), member);
        let far = Host { ips: vec![remote(*number)], place: Place::Vtep(name), router: None };
        all.hosts.insert((vni(7), Mac([2, 0, 0, 0, 2, *number])), far);
    }
    all
}

/// Has the node fail as a step says.
fn break_down(node: &mut Reconciler<MemoryDatapath, MemoryLinks>, step: &Step) {
    let (datapath, links) = node.parts();
    let (seed, rate) = (step.seed, step.rate);
    datapath.refuse(move |change| {
        let mut hasher = DefaultHasher::new();
        (change.to_string(), seed).hash(&mut hasher);
        hasher.finish() % 8 < rate
    });
    datapath.unreadable = step.unreadable;
    links.failing.clone_from(&step.calls);
    links.refused = step.refused.iter().map(|number| pod(*number)).collect();
}

/// Replays what was applied since `from`; fails where something refers to what is not there.
fn hold_together(image: &mut Image, applied: &[Change]) {
    for change in applied {
        diff::apply(image, change);
        assert_eq!(diff::dangling(image), None, "after {change}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_failures_are_told_open_nothing_and_pass(steps in steps()) {
        let mut node = node();
        for number in 2..7 {
            let next_hop = path(Mac([2, 8, 8, 8, 8, number]));
            node.parts().1.local.paths.insert(remote(number), vec![next_hop]);
        }
        let (mut replayed, mut seen, mut now) = (Image::default(), 0, Instant::now());
        for (number, step) in (1..).zip(&steps) {
            break_down(&mut node, step);
            let pass = node.pass(&desired(wanted(step), number), now);
            let applied = node.parts().0.applied.clone();
            hold_together(&mut replayed, &applied[seen..]);
            seen = applied.len();
            let failed = pass.outcome.failures > 0 || !step.calls.is_empty() && !step.pods.is_empty();
            if pass.outcome.failures > 0 {
                prop_assert!(!pass.outcome.errors.is_empty(), "told by object");
                prop_assert!(pass.outcome.totals.failures > 0, "counted");
            }
            prop_assert!(failed || pass.outcome.errors.is_empty() || !step.calls.is_empty()
                || step.unreadable, "no error without a failure: {:?}", pass.outcome.errors);
            now += FLOOD_LINGER / 2;
        }

        let last = steps.last().unwrap();
        let healed = Step {
            rate: 0, calls: BTreeSet::new(), refused: BTreeSet::new(), unreadable: false, ..last.clone()
        };
        break_down(&mut node, &healed);
        let wanted = desired(wanted(last), 99);
        for _pass in 0..10 {
            node.pass(&wanted, now);
            now += FLOOD_LINGER;
        }
        let outcome = node.pass(&wanted, now).outcome;

        let applied = node.parts().0.applied.clone();
        hold_together(&mut replayed, &applied[seen..]);
        prop_assert_eq!(outcome.errors, vec![]);
        prop_assert_eq!(outcome.changes, 0);
        let ports: Vec<_> = outcome.ports.keys().cloned().collect();
        prop_assert_eq!(ports, last.pods.iter().map(|number| pod(*number)).collect::<Vec<_>>());
        let veths: BTreeSet<String> = node.parts().1.veths.keys().cloned().collect();
        prop_assert_eq!(veths, last.pods.iter().map(|n| host_name(&pod(*n))).collect());
        let local = Local { ports: outcome.ports.clone(), ..node.parts().1.local.clone() };
        let held = node.parts().0.image.clone();
        let (image, _problems) = image(&wanted.instructions, &local, &held);
        prop_assert_eq!(diff::diff(&image, &held), vec![]);
    }
}

#[test]
fn a_station_waits_for_its_vtep_and_a_vtep_for_the_stations_that_name_it() {
    let mut node = node();
    node.parts().0.refuse(|change| matches!(change, Change::PutVtep(..)));
    let wanted = desired(instructions(&[1]), 5);
    let outcome = node.pass(&wanted, Instant::now()).outcome;
    let image = node.parts().0.image.clone();
    assert_eq!((image.fdb.len(), image.members.len()), (1, 0), "only the port's own");
    assert!(
        outcome.errors.iter().any(|e| e.message.contains("VTEP 1 is not there")),
        "{outcome:?}"
    );
    node.parts().0.accept_all();
    settle(&mut node, &wanted);
    assert_eq!(node.parts().0.image.fdb.len(), 2);

    node.parts().0.refuse(|change| matches!(change, Change::DeleteFdb(..)));
    let mut alone = instructions(&[1]);
    alone.vteps.clear();
    alone.members.clear();
    alone.hosts.retain(|_key, host| matches!(host.place, Place::Port(_)));
    node.pass(&desired(alone, 6), Instant::now());
    let image = node.parts().0.image.clone();
    assert_eq!((image.vteps.len(), image.members.len()), (1, 0), "closed, but still named");
}

#[test]
fn a_link_of_another_build_is_not_moved_onto_maps_that_lack_something() {
    let mut node = node();
    let uplink = Hook { device: IfIndex(2), program: Program::UplinkRx };
    let stray = Hook { device: IfIndex(77), program: Program::UplinkRx };
    node.parts().0.outdated = [uplink, stray].into();
    node.parts().0.refuse(|change| matches!(change, Change::PutFdb(..)));
    let wanted = desired(instructions(&[1]), 5);
    node.pass(&wanted, Instant::now());
    assert_eq!(node.parts().0.outdated, [uplink].into(), "what should not be there goes at once");
    node.parts().0.accept_all();
    settle(&mut node, &wanted);
    assert!(node.parts().0.outdated.is_empty());
}
