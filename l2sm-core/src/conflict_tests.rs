use std::sync::Arc;

use super::*;
use crate::world::tests::{attachment, external, key, network, node};

fn vni(raw: u32) -> Vni {
    Vni::new(raw).unwrap()
}

#[test]
fn of_equal_age_the_first_by_key_keeps_a_vni_a_mac_and_an_address() {
    let mut world = World::default();
    world.networks.insert(key("blue"), network(7));
    world.networks.insert(key("red"), network(7));
    world.attachments.insert(key("a"), attachment("blue", "n1", 1));
    world.attachments.insert(key("b"), attachment("blue", "n2", 1));
    let mut same_ip = attachment("blue", "n2", 2);
    Arc::make_mut(&mut same_ip).ips = attachment("blue", "n1", 1).ips.clone();
    world.attachments.insert(key("c"), same_ip);
    world.attachments.insert(key("d"), attachment("red", "n1", 4));

    let settled = settle(&world);
    assert_eq!(settled.networks, BTreeMap::from([(vni(7), key("blue"))]));
    assert_eq!(settled.networks_out[&key("red")].to_string(), "VNI 7 is in use by default/blue");
    assert_eq!(settled.attachments, BTreeMap::from([(vni(7), vec![key("a")])]));
    assert_eq!(
        settled.attachments_out[&key("b")].to_string(),
        "MAC address 02:00:00:00:00:01 is in use by default/a"
    );
    assert_eq!(
        settled.attachments_out[&key("c")].to_string(),
        "address 10.0.0.1 is in use by default/a"
    );
    assert!(!settled.attachments_out.contains_key(&key("d")), "it waits for its network");
}

#[test]
fn the_older_one_keeps_it_then_the_one_of_the_lower_uid() {
    let mut world = World::default();
    world.networks.insert(key("blue"), network(7));
    world.networks.insert(key("red"), network(7));
    let age = |world: &mut World, name: &str, created, uid: &str| {
        let network = world.networks.get_mut(&key(name)).unwrap();
        network.seniority = Seniority { created, uid: uid.into() };
    };
    let holder = |world: &World| settle(world).networks[&vni(7)].name.clone();
    for (blue, red, expected) in [
        ((2, "a"), (1, "b"), "red"),
        ((1, "b"), (2, "a"), "blue"),
        ((1, "b"), (1, "a"), "red"),
        ((1, "a"), (1, "a"), "blue"),
    ] {
        age(&mut world, "blue", blue.0, blue.1);
        age(&mut world, "red", red.0, red.1);
        assert_eq!(holder(&world), expected, "blue {blue:?}, red {red:?}");
    }
}

#[test]
fn different_segments_share_addresses() {
    let mut world = World::default();
    world.networks.insert(key("blue"), network(7));
    world.networks.insert(key("red"), network(8));
    world.attachments.insert(key("a"), attachment("blue", "n1", 1));
    world.attachments.insert(key("b"), attachment("red", "n1", 1));
    world.externals.insert("sw".into(), external("192.0.2.9", &[("blue", 2), ("red", 2)]));
    let settled = settle(&world);
    assert!(settled.attachments_out.is_empty() && settled.hosts_out.is_empty());
    assert_eq!(settled.externals.len(), 2);
}

#[test]
fn a_host_behind_an_external_vtep_and_an_attachment_cannot_have_the_same() {
    let mut world = World::default();
    world.networks.insert(key("blue"), network(7));
    world.attachments.insert(key("a"), attachment("blue", "n1", 1));
    world.externals.insert("sw".into(), external("192.0.2.9", &[("blue", 1)]));
    let settled = settle(&world);
    let out: Vec<_> = settled.hosts_out["sw"].iter().map(ToString::to_string).collect();
    assert_eq!(out, ["MAC address 02:00:00:00:00:01 is in use by default/a"]);
    assert_eq!(settled.externals[&vni(7)]["sw"], [], "it stays in the network");

    let younger = world.attachments.get_mut(&key("a")).unwrap();
    Arc::make_mut(younger).seniority.created = 1;
    let settled = settle(&world);
    assert_eq!(
        settled.attachments_out[&key("a")].to_string(),
        "MAC address 02:00:00:00:00:01 is in use by ExternalVTEP sw"
    );
    assert_eq!(settled.externals[&vni(7)]["sw"].len(), 1);
}

#[test]
fn one_address_of_the_underlay_is_one_vtep() {
    let mut world = World::default();
    world.networks.insert(key("blue"), network(7));
    world.nodes.insert("n1".into(), node("192.0.2.1", 1500));
    world.externals.insert("n1".into(), external("192.0.2.1", &[("blue", 1)]));
    let settled = settle(&world);
    assert_eq!(
        settled.vteps_out[&Holder::ExternalVtep("n1".into())].to_string(),
        "VTEP address 192.0.2.1 is in use by node n1"
    );
    assert!(settled.externals.is_empty(), "it takes part in nothing");

    world.nodes.get_mut("n1").unwrap().seniority.created = 1;
    let settled = settle(&world);
    assert_eq!(
        settled.vteps_out[&Holder::Node("n1".into())].to_string(),
        "VTEP address 192.0.2.1 is in use by ExternalVTEP n1"
    );
    assert_eq!(settled.externals[&vni(7)]["n1"].len(), 1);
}
