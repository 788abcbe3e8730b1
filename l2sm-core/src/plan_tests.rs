use proptest::prelude::*;

use super::*;
use crate::{
    instructions::instructions,
    world::tests::{attachment, key, network, node, worlds},
};

/// blue on n1 (a, b) and n2 (c); red on n1 (d).
fn two_nodes() -> World {
    let mut world = World::default();
    world.networks.insert(key("blue"), network(7));
    world.networks.insert(key("red"), network(8));
    world.nodes.insert("n1".into(), node("192.0.2.1", 1500));
    world.nodes.insert("n2".into(), node("192.0.2.2", 1400));
    world.attachments.insert(key("a"), attachment("blue", "n1", 1));
    world.attachments.insert(key("b"), attachment("blue", "n1", 2));
    world.attachments.insert(key("c"), attachment("blue", "n2", 3));
    world.attachments.insert(key("d"), attachment("red", "n1", 1));
    world
}

fn vni(raw: u32) -> Vni {
    Vni::new(raw).unwrap()
}

#[test]
fn a_node_learns_its_segments_their_members_hosts_and_its_ports() {
    let world = two_nodes();
    let n1 = instructions(&world, "n1");
    assert_eq!(n1.segments.keys().copied().collect::<Vec<_>>(), [vni(7), vni(8)]);
    assert_eq!(n1.vteps.keys().collect::<Vec<_>>(), ["n2"]);
    assert_eq!(n1.members.keys().collect::<Vec<_>>(), [&(vni(7), "n2".to_owned())]);
    assert_eq!(n1.hosts.len(), 4);
    assert_eq!(n1.ports.keys().collect::<Vec<_>>(), [&key("a"), &key("b"), &key("d")]);
    let n2 = instructions(&world, "n2");
    assert_eq!(n2.segments.keys().copied().collect::<Vec<_>>(), [vni(7)]);
    assert_eq!(n2.hosts.len(), 3);
    assert_eq!(n2.ports.keys().collect::<Vec<_>>(), [&key("c")]);
    assert_eq!(instructions(&world, "n3"), Instructions::default());
}

#[test]
fn the_mtu_is_the_least_underlays_less_the_overhead_and_the_same_everywhere() {
    let mut world = two_nodes();
    for name in ["n1", "n2"] {
        assert_eq!(instructions(&world, name).segments[&vni(7)].mtu, 1350);
    }
    assert_eq!(instructions(&world, "n1").segments[&vni(8)].mtu, 1450);
    assert_eq!(instructions(&world, "n1").ports[&key("a")].mtu, 1350);
    world.networks.get_mut(&key("blue")).unwrap().mtu = Some(1300);
    assert_eq!(instructions(&world, "n2").segments[&vni(7)].mtu, 1300);
    assert_eq!(Plan::new(&world).mtu(&key("red")), Some(1450));
}

#[test]
fn an_ipv6_pair_costs_seventy_bytes() {
    let mut world = two_nodes();
    let set = |world: &mut World, name: &str, vteps: &[&str]| {
        let vteps = vteps.iter().map(|text| text.parse().unwrap()).collect();
        world.nodes.insert(name.into(), Node { vteps, underlay_mtu: 1500 });
    };
    let mtu = |world: &World| instructions(world, "n1").segments[&vni(7)].mtu;
    set(&mut world, "n1", &["2001:db8::1"]);
    set(&mut world, "n2", &["2001:db8::2"]);
    assert_eq!(mtu(&world), 1430);
    assert_eq!(instructions(&world, "n1").segments[&vni(8)].mtu, 1430, "alone, its own family");
    set(&mut world, "n2", &["192.0.2.2", "2001:db8::2"]);
    assert_eq!(mtu(&world), 1430, "n1 has IPv6 only");
    set(&mut world, "n1", &["192.0.2.1", "2001:db8::1"]);
    assert_eq!(mtu(&world), 1450, "both prefer IPv4");
    set(&mut world, "n2", &["2001:db8::2", "192.0.2.2"]);
    assert_eq!(mtu(&world), 1430, "n2 prefers IPv6");
}

#[test]
fn unknown_unicast_goes_only_where_unlisted_stations_may_be() {
    let mut world = two_nodes();
    let unknown = |world: &World| instructions(world, "n1").members[&(vni(7), "n2".into())].unknown;
    assert!(!unknown(&world));
    world.networks.get_mut(&key("blue")).unwrap().mac_check = false;
    assert!(unknown(&world));
    assert!(instructions(&world, "n1").ports[&key("a")].forwarder);
}

#[test]
fn what_waits_is_left_out() {
    let mut world = two_nodes();
    world.attachments.insert(key("e"), attachment("green", "n1", 9));
    world.attachments.insert(key("f"), attachment("blue", "n9", 10));
    world.nodes.insert("n8".into(), Node { vteps: vec![], underlay_mtu: 100 });
    world.attachments.insert(key("g"), attachment("blue", "n8", 11));
    assert_eq!(instructions(&world, "n1"), instructions(&two_nodes(), "n1"));
    assert_eq!(Plan::new(&world).nodes(&key("blue")).collect::<Vec<_>>(), ["n1", "n2"]);
}

proptest! {
    #[test]
    fn nothing_refers_to_what_is_not_there(world in worlds()) {
        for name in world.nodes.keys() {
            let all = instructions(&world, name);
            for (vni, vtep) in all.members.keys() {
                prop_assert!(all.segments.contains_key(vni));
                prop_assert!(all.vteps.contains_key(vtep));
                prop_assert_ne!(vtep, name);
            }
            for ((vni, _), host) in &all.hosts {
                match &host.place {
                    Place::Port(key) => prop_assert_eq!(all.ports[key].vni, *vni),
                    Place::Vtep(vtep) => prop_assert!(all.members.contains_key(&(*vni, vtep.clone()))),
                }
            }
            for port in all.ports.values() {
                prop_assert_eq!(all.segments[&port.vni].mtu, port.mtu);
                prop_assert!(matches!(all.hosts[&(port.vni, port.mac)].place, Place::Port(_)));
            }
        }
    }

    #[test]
    fn all_nodes_of_a_segment_agree_on_who_is_in_it(world in worlds()) {
        let mut seen: BTreeMap<Vni, (u32, BTreeSet<_>)> = BTreeMap::new();
        for name in world.nodes.keys() {
            let all = instructions(&world, name);
            for (vni, segment) in &all.segments {
                let hosts: BTreeSet<_> = all.hosts.keys().filter(|key| key.0 == *vni).map(|key| key.1).collect();
                let told = (segment.mtu, hosts);
                prop_assert_eq!(seen.entry(*vni).or_insert_with(|| told.clone()), &told);
            }
        }
    }
}
