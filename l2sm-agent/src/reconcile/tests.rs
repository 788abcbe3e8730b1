use std::net::Ipv4Addr;

use l2sm_common::{
    ids::{Group, IfIndex},
    mac::Mac,
    vni::Vni,
};
use l2sm_core::{
    image::{Path, Uplink, Xdp, image},
    instructions::{Host, Member, Place, Port, Segment, Vtep},
};
use proptest::prelude::*;

mod faults;
mod xdp;

use super::*;
use crate::{
    datapath::MemoryDatapath,
    netlink::MemoryLinks,
    state::{Kind, Revision},
};

const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

fn pod(number: u8) -> ObjectKey {
    ObjectKey::new("default", format!("pod{number}-net1"))
}

/// A network with a port here for each of `pods`, and one remote VTEP with one station.
fn instructions(pods: &[u8]) -> Instructions {
    let mut all = Instructions::default();
    let network = ObjectKey::new("default", "blue");
    let segment = Segment { network, mtu: 1450, flood: true, learning: false };
    all.segments.insert(vni(7), segment);
    all.vteps.insert("n2".to_owned(), Vtep { addresses: vec![REMOTE], udp_checksum: false });
    let member = Member { group: Group::MESH, unknown: false, external: false, learn: false };
    all.members.insert((vni(7), "n2".to_owned()), member);
    let far = Host { ips: Vec::new(), place: Place::Vtep("n2".to_owned()), router: None };
    all.hosts.insert((vni(7), Mac([2, 0, 0, 0, 2, 2])), far);
    for number in pods {
        let mac = Mac([2, 0, 0, 0, 1, *number]);
        let near = Host { ips: Vec::new(), place: Place::Port(pod(*number)), router: None };
        all.hosts.insert((vni(7), mac), near);
        all.ports.insert(pod(*number), port(mac));
    }
    all
}

fn port(mac: Mac) -> Port {
    Port {
        vni: vni(7),
        ifname: "net1".to_owned(),
        netns: Some("/run/netns/pod".to_owned()),
        netns_inode: 1,
        pod: None,
        pod_uid: None,
        mac,
        addresses: Vec::new(),
        mtu: 1450,
        mac_check: true,
        forwarder: false,
    }
}

fn node() -> Reconciler<MemoryDatapath, MemoryLinks> {
    let mut links = MemoryLinks::default();
    let uplink = Uplink { mac: Some(Mac([2, 9, 9, 9, 9, 9])), mtu: 1500, xdp: Xdp::Off };
    links.local.uplinks.insert(IfIndex(2), uplink);
    links.local.addresses = vec!["192.0.2.1".parse().unwrap()];
    links.local.vxlan = Some(IfIndex(3));
    links.local.udp_port = 7000;
    links.local.mark = 0x2000;
    links.local.paths.insert(REMOTE, vec![path(Mac([2, 8, 8, 8, 8, 8]))]);
    Reconciler::new(MemoryDatapath::new(), links, "n1", Instant::now())
}

fn path(next_hop: Mac) -> Path {
    Path {
        device: IfIndex(2),
        source: "192.0.2.1".parse().unwrap(),
        mtu: 1500,
        source_mac: Some(Mac([2, 9, 9, 9, 9, 9])),
        next_hop: Some(next_hop),
    }
}

fn desired(instructions: Instructions, number: u64) -> Desired {
    let mut desired = Desired::default();
    let revision = Revision { source: "a".to_owned(), epoch: 1, number };
    desired.accept(Arc::new(instructions), revision);
    desired
}

/// Passes until nothing is due, with time going on; fails if that does not come.
fn settle(node: &mut Reconciler<MemoryDatapath, MemoryLinks>, desired: &Desired) -> Outcome {
    let mut now = Instant::now();
    for _pass in 0..10 {
        let pass = node.pass(desired, now);
        if pass.again.is_none() && pass.outcome.changes == 0 {
            return pass.outcome;
        }
        now += FLOOD_LINGER;
    }
    panic!("it does not settle");
}

#[test]
fn instructions_lead_to_veths_maps_and_an_outcome() {
    let mut node = node();
    let outcome = node.pass(&desired(instructions(&[1, 2]), 5), Instant::now()).outcome;
    assert_eq!(outcome.errors, []);
    assert_eq!(outcome.revision.map(|revision| revision.number), Some(5));
    assert_eq!(outcome.ports.len(), 2);
    assert_eq!(outcome.slots.values().collect::<Vec<_>>(), [&ObjectKey::new("default", "blue")]);
    assert_eq!(outcome.underlay_mtu, 1500);
    let image = &node.parts().0.image;
    assert_eq!((image.ports.len(), image.fdb.len(), image.vteps.len()), (2, 3, 1));
}

#[test]
fn a_second_pass_changes_nothing() {
    let mut node = node();
    let desired = desired(instructions(&[1]), 5);
    settle(&mut node, &desired);
    let before = node.parts().0.applied.len();
    assert_eq!(node.pass(&desired, Instant::now()).outcome.changes, 0);
    assert_eq!(node.parts().0.applied.len(), before);
}

#[test]
fn nothing_is_changed_or_removed_before_a_snapshot() {
    let mut node = node();
    settle(&mut node, &desired(instructions(&[1]), 5));
    let image = node.parts().0.image.clone();
    let mut restarted = self::node();
    restarted.parts().0.image = image.clone();
    restarted.parts().1.veths = node.parts().1.veths.clone();
    for kept in [instructions(&[]), instructions(&[1, 2]), Instructions::default()] {
        let waiting = Desired { instructions: Arc::new(kept), ..Desired::default() };
        let outcome = restarted.pass(&waiting, Instant::now()).outcome;
        assert_eq!((outcome.revision, outcome.changes), (None, 0));
    }
    assert_eq!(restarted.parts().0.image, image);
    assert_eq!(restarted.parts().1.log, Vec::<String>::new());
}

#[test]
fn paths_follow_the_underlay_even_before_a_snapshot() {
    let mut node = node();
    let known = instructions(&[1]);
    settle(&mut node, &desired(known.clone(), 5));
    node.parts().1.local.paths.insert(REMOTE, vec![path(Mac([2, 7, 7, 7, 7, 7]))]);
    let waiting = Desired { instructions: Arc::new(known), ..Desired::default() };
    let outcome = node.pass(&waiting, Instant::now()).outcome;
    assert_eq!(outcome.changes, 1);
    let vtep = node.parts().0.image.vteps.values().next().copied().unwrap();
    assert_eq!(vtep.paths[0].header[..6], [2, 7, 7, 7, 7, 7]);
}

#[test]
fn a_change_that_fails_stops_no_other_and_is_tried_again() {
    let mut node = node();
    node.parts().0.refuse(|change| matches!(change, Change::PutFdb(..)));
    let desired = desired(instructions(&[1]), 5);
    let outcome = node.pass(&desired, Instant::now()).outcome;
    assert_eq!(outcome.failures, 2);
    let blue = ObjectKey::new("default", "blue");
    assert!(outcome.error_of(&pod(1), &blue).is_some(), "{:?}", outcome.errors);
    assert_eq!(node.parts().0.image.ports.len(), 1, "the port was still made");
    node.parts().0.accept_all();
    let outcome = settle(&mut node, &desired);
    assert_eq!(outcome.errors, []);
    assert_eq!(node.parts().0.image.fdb.len(), 2);
}

#[test]
fn a_veth_that_cannot_be_made_is_an_error_of_its_attachment_only() {
    let mut node = node();
    node.parts().1.refused.insert(pod(1));
    let outcome = node.pass(&desired(instructions(&[1, 2]), 5), Instant::now()).outcome;
    assert_eq!(outcome.ports.keys().collect::<Vec<_>>(), [&pod(2)]);
    assert_eq!(outcome.errors.len(), 1);
    assert_eq!((outcome.errors[0].kind, &outcome.errors[0].key), (Kind::Attachment, &pod(1)));
}

#[test]
fn a_port_that_cannot_be_looked_at_forwards_on() {
    let mut node = node();
    let wanted = desired(instructions(&[1]), 5);
    settle(&mut node, &wanted);
    let before = node.parts().0.image.clone();
    node.parts().1.unseen.insert(pod(1));

    let outcome = node.pass(&wanted, Instant::now()).outcome;

    assert_eq!(outcome.errors.len(), 1, "{:?}", outcome.errors);
    assert_eq!(node.parts().0.image, before);
}

#[test]
fn an_attachment_that_is_gone_loses_its_veth_after_its_maps() {
    let mut node = node();
    settle(&mut node, &desired(instructions(&[1, 2]), 5));
    settle(&mut node, &desired(instructions(&[2]), 6));
    assert_eq!(node.parts().0.image.ports.len(), 1);
    let log = node.parts().1.log.clone();
    assert_eq!(log.last(), Some(&format!("remove {}", host_name(&pod(1)))));
}

#[test]
fn a_released_attachment_goes_though_the_instructions_still_list_it() {
    let mut node = node();
    let mut desired = desired(instructions(&[1, 2]), 5);
    settle(&mut node, &desired);
    desired.released.insert(pod(1), None);
    let outcome = settle(&mut node, &desired);
    assert_eq!(outcome.ports.keys().collect::<Vec<_>>(), [&pod(2)]);
    assert!(!node.parts().1.veths.contains_key(&host_name(&pod(1))));
}

#[test]
fn a_flood_list_outlives_its_last_reference_by_a_second() {
    let mut node = node();
    let start = Instant::now();
    node.pass(&desired(instructions(&[1]), 5), start);
    let old: BTreeSet<u32> = node.parts().0.image.flood.keys().map(|key| key.flood_id).collect();
    assert_eq!(old.len(), 1);
    let wider = desired(instructions(&[1, 2]), 6);
    let holds = |node: &mut Reconciler<MemoryDatapath, MemoryLinks>| {
        node.parts().0.image.flood.keys().any(|key| old.contains(&key.flood_id))
    };
    let pass = node.pass(&wider, start);
    assert!(holds(&mut node) && pass.again.is_some(), "just replaced");
    let named: Vec<u32> = node.parts().0.image.segments.values().map(|of| of.flood_id).collect();
    assert!(named.iter().all(|list| !old.contains(list)), "another one is named now");
    let pass = node.pass(&wider, start);
    assert_eq!(pass.again, Some(start + FLOOD_LINGER));
    node.pass(&wider, start + FLOOD_LINGER.mul_f64(0.999));
    assert!(holds(&mut node), "a moment too early");
    let pass = node.pass(&wider, start + FLOOD_LINGER);
    assert!(!holds(&mut node));
    assert_eq!(pass.again, None);
}

#[test]
fn what_somebody_else_changed_is_mended_within_a_minute() {
    let mut node = node();
    let desired = desired(instructions(&[1]), 5);
    settle(&mut node, &desired);
    node.parts().0.image.fdb.clear();
    node.pass(&desired, Instant::now() + READ_AGAIN * 2);
    assert_eq!(node.parts().0.image.fdb.len(), 2);
}

proptest! {
    /// Whatever is refused for a while, in the end the maps hold what they should.
    #[test]
    fn refused_changes_converge(
        before in proptest::collection::btree_set(1_u8..6, 0..5),
        after in proptest::collection::btree_set(1_u8..6, 0..5),
        every in 1_usize..5,
    ) {
        let (before, after): (Vec<u8>, Vec<u8>) =
            (before.into_iter().collect(), after.into_iter().collect());
        let mut node = node();
        settle(&mut node, &desired(instructions(&before), 1));
        let count = std::sync::atomic::AtomicUsize::new(0);
        node.parts().0.refuse(move |_change| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(every)
        });
        let wanted = desired(instructions(&after), 2);
        for _pass in 0..3 {
            node.pass(&wanted, Instant::now());
        }
        node.parts().0.accept_all();
        let outcome = settle(&mut node, &wanted);
        prop_assert_eq!(outcome.errors, vec![]);
        prop_assert_eq!(outcome.ports.len(), after.len());
        let veths: BTreeSet<String> = node.parts().1.veths.keys().cloned().collect();
        prop_assert_eq!(veths, after.iter().map(|n| host_name(&pod(*n))).collect());
        let local = Local {
            ports: outcome.ports.clone(),
            ..node.parts().1.local.clone()
        };
        let held = node.parts().0.image.clone();
        let (image, _problems) = image(&wanted.instructions, &local, &held);
        prop_assert_eq!(diff::diff(&image, &held), vec![]);
    }
}

#[test]
fn what_is_desired_is_followed_without_a_look_at_the_node() {
    let mut node = node();
    let now = Instant::now();
    node.pass(&desired(instructions(&[1]), 1), now);
    let looks = node.parts().1.looks;
    let outcome = node.follow(&desired(instructions(&[1, 2]), 2), now).outcome;
    assert_eq!((outcome.ports.len(), outcome.errors), (2, vec![]));
    let outcome = node.follow(&desired(instructions(&[2]), 3), now).outcome;
    assert_eq!(outcome.ports.keys().collect::<Vec<_>>(), [&pod(2)]);
    assert!(node.parts().1.log.contains(&format!("remove {}", host_name(&pod(1)))));
    assert_eq!(node.parts().1.looks, looks);
}

#[test]
fn the_node_is_looked_at_where_something_new_must_be_known_of_it() {
    let mut node = node();
    let now = Instant::now();
    node.pass(&desired(instructions(&[1]), 1), now);
    let mut more = instructions(&[1]);
    let far = "192.0.2.3".parse().unwrap();
    more.vteps.insert("n3".to_owned(), Vtep { addresses: vec![far], udp_checksum: false });
    node.parts().1.local.paths.insert(far, vec![path(Mac([2, 7, 7, 7, 7, 7]))]);
    node.follow(&desired(more.clone(), 2), now);
    let resolved = |vtep: &l2sm_common::maps::VtepEntry| vtep.n_paths == 1;
    assert!(node.parts().0.image.vteps.values().all(resolved), "the new one's route is known");
    node.parts().1.failing.insert("ensure_ports");
    node.follow(&desired(more.clone(), 3), now);
    let looks = node.parts().1.looks;
    node.parts().1.failing.clear();
    node.follow(&desired(more, 4), now);
    assert_eq!(node.parts().1.looks, looks + 1, "after a failure too");
}
