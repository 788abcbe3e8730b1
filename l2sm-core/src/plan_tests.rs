use proptest::prelude::*;

use super::*;
use crate::{
    instructions::instructions,
    model::ExternalVtep,
    world::tests::{attachment, external, key, network, node, worlds},
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
    let plan = Plan::new(&world);
    assert_eq!(plan.port(&key("blue"), &key("c")), n2.ports.get(&key("c")).cloned());
    assert_eq!(plan.port(&key("red"), &key("c")), None);
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
        world.nodes.insert(name.into(), Node { vteps, ..node("192.0.2.9", 1500) });
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
fn an_external_vtep_takes_part_where_a_node_has_a_port() {
    let mut world = two_nodes();
    let networks = [("blue", 21), ("green", 22)];
    let switch = ExternalVtep { udp_checksum: true, ..external("192.0.2.9", &networks) };
    world.externals.insert("n2".into(), switch);
    let name = "ExternalVTEP/n2".to_owned();
    for node in ["n1", "n2"] {
        let all = instructions(&world, node);
        let member = Member { group: Group::MESH, unknown: true, external: true, learn: false };
        assert_eq!(all.members[&(vni(7), name.clone())], member, "{node}");
        assert!(!all.members.contains_key(&(vni(8), name.clone())), "{node}");
        let vtep = &all.vteps[&name];
        assert_eq!(
            (vtep.addresses.as_slice(), vtep.udp_checksum),
            (&["192.0.2.9".parse().unwrap()][..], true)
        );
        let host = all.hosts.get(&(vni(7), l2sm_common::mac::Mac([2, 0, 0, 0, 0, 21]))).unwrap();
        assert_eq!(host.place, Place::Vtep(name.clone()));
        assert_eq!(host.ips, ["10.0.0.21".parse::<IpAddr>().unwrap()]);
    }
    assert_eq!(instructions(&world, "n1").vteps.len(), 2, "the node n2 and the external n2");

    world.networks.insert(key("green"), network(9));
    world.attachments.insert(key("e"), attachment("green", "n1", 1));
    world.networks.get_mut(&key("green")).unwrap().learning = true;
    let n1 = instructions(&world, "n1");
    assert!(n1.members[&(vni(9), name.clone())].learn, "the network appeared later");
    assert!(!instructions(&world, "n2").members.contains_key(&(vni(9), name)));
}

#[test]
fn an_ipv6_external_vtep_costs_seventy_bytes_where_a_node_reaches_it() {
    let mut world = two_nodes();
    let mtu = |world: &World| Plan::new(world).mtu(&key("blue")).unwrap();
    world.externals.insert("sw".into(), external("2001:db8::9", &[("blue", 21)]));
    assert_eq!(mtu(&world), 1350, "no node has IPv6");
    world.nodes.get_mut("n1").unwrap().vteps.push("2001:db8::1".parse().unwrap());
    assert_eq!(mtu(&world), 1330);
    assert_eq!(Plan::new(&world).mtu(&key("red")), Some(1450));
}

#[test]
fn who_does_not_have_its_vtep_address_is_left_out() {
    let mut world = two_nodes();
    world.externals.insert("sw".into(), external("192.0.2.2", &[("blue", 21)]));
    assert_eq!(instructions(&world, "n1"), instructions(&two_nodes(), "n1"), "n2 is as old");
    world.nodes.get_mut("n2").unwrap().seniority.created = 1;
    let n1 = instructions(&world, "n1");
    assert_eq!(n1.vteps.keys().collect::<Vec<_>>(), ["ExternalVTEP/sw"]);
    assert_eq!(instructions(&world, "n2"), Instructions::default());
    let plan = Plan::new(&world);
    assert!(plan.vtep_clash(&Holder::Node("n2".into())).is_some());
    assert_eq!(plan.vtep_clash(&Holder::ExternalVtep("sw".into())), None);
}

#[test]
fn what_waits_is_left_out() {
    let mut world = two_nodes();
    world.attachments.insert(key("e"), attachment("green", "n1", 9));
    world.attachments.insert(key("f"), attachment("blue", "n9", 10));
    world.nodes.insert("n8".into(), Node { vteps: vec![], ..node("192.0.2.8", 100) });
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
            for ((vni, _), host) in all.hosts.iter() {
                match &host.place {
                    Place::Port(key) => prop_assert_eq!(all.ports[key].vni, vni),
                    Place::Vtep(vtep) => prop_assert!(all.members.contains_key(&(vni, vtep.clone()))),
                }
            }
            let addresses: Vec<_> = all.vteps.values().flat_map(|vtep| &vtep.addresses).collect();
            prop_assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len());
            let mut ips: Vec<_> = all.hosts.iter().flat_map(|((vni, _), host)| host.ips.iter().map(move |ip| (vni, ip))).collect();
            let count = ips.len();
            ips.sort_unstable();
            ips.dedup();
            prop_assert_eq!(ips.len(), count);
            for port in all.ports.values() {
                prop_assert_eq!(all.segments[&port.vni].mtu, port.mtu);
                prop_assert!(matches!(all.hosts.get(&(port.vni, port.mac)).unwrap().place, Place::Port(_)));
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
