use std::{collections::BTreeSet, net::IpAddr};

use l2sm_common::{
    encap::outer_header,
    ids::{Group, IfIndex, ip16},
    mac::Mac,
    maps::{
        FdbKey, FloodChunk, FloodKey, MemberKey, NeighEntry, NeighKey, config_flags, flood_flags,
        member_flags, neigh_flags, path_state, port_flags, segment_flags, target_kind, vtep_flags,
    },
    vni::Vni,
};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    diff::{apply, diff},
    instructions::{Host, Instructions, Member, Place, Port, Segment, Vtep},
};

#[test]
fn a_port_waits_for_its_device() {
    let mut local = local();
    let device = local.ports.remove(&key("a")).unwrap();
    let (waiting, problems) = image(&instructions(), &local, &Image::default());
    assert!(waiting.ports.is_empty() && problems.is_empty());
    assert!(!waiting.fdb.contains_key(&FdbKey::new(vni(7), mac(1))), "its station waits too");
    assert!(!waiting.neigh.contains_key(&NeighKey::new(vni(7), ip("10.0.0.1"))));
    assert!(waiting.fdb.contains_key(&FdbKey::new(vni(7), mac(2))), "others do not");

    local.ports.insert(key("a"), device);
    let (image, _) = image(&instructions(), &local, &Image::default());
    let port = image.ports[&4];
    assert_eq!((port.vni, port.mac, port.slot), (7, mac(1).0, 1));
    assert_eq!(port.flags, port_flags::MAC_CHECK | port_flags::PEER);
    assert_eq!(port.ipv4, [10, 0, 0, 1]);
    assert_eq!(image.fdb[&FdbKey::new(vni(7), mac(1))].target, 4);
    let uplink = [(2, Program::UplinkRx), (2, Program::UplinkTx)];
    let programs = [uplink[0], uplink[1], (3, Program::TunnelRx), (4, Program::PortRx)];
    let hook = |(device, program)| Hook { device: IfIndex(device), program };
    assert_eq!(image.hooks, programs.map(hook).into());
}

#[test]
fn an_ethernet_uplink_drops_by_xdp_as_it_is_told() {
    let program = |xdp, mac| {
        let mut local = local();
        local.uplinks.insert(IfIndex(2), Uplink { mac, mtu: 1500, xdp });
        let (image, _) = image(&Instructions::default(), &local, &Image::default());
        let found = image.hooks.iter().find(|hook| hook.program.is_xdp());
        assert!(found.is_none_or(|hook| hook.device == IfIndex(2)));
        found.map(|hook| hook.program)
    };
    let ethernet = Some(mac(11));
    assert_eq!(program(Xdp::Off, ethernet), None);
    assert_eq!(program(Xdp::IfTaken, ethernet), Some(Program::UplinkXdp));
    assert_eq!(program(Xdp::Native, ethernet), Some(Program::UplinkXdp));
    assert_eq!(program(Xdp::Generic, ethernet), Some(Program::UplinkXdpGeneric));
    assert_eq!(program(Xdp::Generic, None), None, "a tunnel device has no MAC to compare");
}

#[test]
fn an_uplinks_mac_is_in_its_entry() {
    let (image, _) = image(&Instructions::default(), &local(), &Image::default());
    assert_eq!(image.uplinks[&2], UplinkEntry::new(Some(mac(11))));
    assert_eq!((image.uplinks[&2].l2_len, image.uplinks[&2].mac), (14, mac(11).0));
}

#[test]
fn a_remote_station_is_behind_its_vtep() {
    let (image, problems) = image(&instructions(), &local(), &Image::default());
    assert_eq!(problems, []);
    let (id, vtep) = image.vteps.first_key_value().unwrap();
    assert_eq!((vtep.remote, vtep.local), (ip("192.0.2.2"), ip("192.0.2.1")));
    let station = image.fdb[&FdbKey::new(vni(7), mac(2))];
    assert_eq!((station.kind, station.target, station.group), (target_kind::VTEP, *id, 1));
    let owner = NeighEntry { mac: mac(2).0, flags: neigh_flags::ROLE_KNOWN };
    assert_eq!(image.neigh[&NeighKey::new(vni(7), ip("10.0.0.2"))], owner);
    for address in ["192.0.2.2", "2001:db8::2"] {
        assert_eq!(image.sources[&ip(address)], *id, "{address}");
        let member = image.members[&MemberKey::new(vni(7), ip(address))];
        assert_eq!((member.vtep, member.group, member.flags), (*id, 1, 0), "{address}");
    }
}

#[test]
fn a_station_whose_vtep_is_no_member_is_left_out() {
    let mut instructions = instructions();
    instructions.members.clear();
    let (image, _) = image(&instructions, &local(), &Image::default());
    assert!(!image.fdb.contains_key(&FdbKey::new(vni(7), mac(2))));
    assert_eq!(image.members.len() + image.neigh.len(), 1, "only the local station's address");
}

#[test]
fn a_header_is_ready_when_both_link_addresses_are_known() {
    let mut local = local();
    let remote: IpAddr = "192.0.2.2".parse().unwrap();
    let paths = local.paths.get_mut(&remote).unwrap();
    paths.push(Path { next_hop: None, ..paths[0].clone() });
    let (image, _) = image(&instructions(), &local, &Image::default());
    let vtep = image.vteps.values().next().unwrap();
    assert_eq!(vtep.n_paths, 2);
    let [ready, unresolved, ..] = vtep.paths;
    let header = outer_header(mac(11), mac(12), ip("192.0.2.1"), ip("192.0.2.2"), 7000);
    assert_eq!((ready.state, ready.ifindex, ready.mtu), (path_state::RESOLVED, 2, 1500));
    assert_eq!(ready.header, header);
    assert_eq!((unresolved.state, unresolved.ifindex), (path_state::UNRESOLVED, 2));
}

#[test]
fn tunnels_come_from_a_vtep_address_whatever_the_kernel_picks() {
    let mut local = local();
    for paths in local.paths.values_mut() {
        paths[0].source = "192.0.2.99".parse().unwrap();
    }
    let (image, _) = image(&instructions(), &local, &Image::default());
    let vtep = image.vteps.values().next().unwrap();
    assert_eq!(vtep.local, ip("192.0.2.1"));
    assert_eq!(vtep.paths[0].header[26..30], [192, 0, 2, 1], "source of the outer header");
}

#[test]
fn the_family_that_the_node_has_is_used() {
    let mut local = local();
    local.addresses = vec!["2001:db8::1".parse().unwrap()];
    let (v6, _) = image(&instructions(), &local, &Image::default());
    let vtep = v6.vteps.values().next().unwrap();
    assert_eq!((vtep.remote, vtep.flags), (ip("2001:db8::2"), vtep_flags::IPV6));

    let mut instructions = instructions();
    instructions.vteps.get_mut("b").unwrap().addresses.pop();
    let (none, problems) = image(&instructions, &local, &Image::default());
    assert!(none.vteps.is_empty() && none.members.is_empty());
    assert_eq!(problems, [Problem::NoFamily { vtep: "b".to_owned() }]);
}

#[test]
fn of_two_vteps_with_one_address_the_first_is_programmed() {
    let mut instructions = instructions();
    let vtep = instructions.vteps["b"].clone();
    instructions.vteps.insert("c".to_owned(), vtep);
    let (image, problems) = image(&instructions, &local(), &Image::default());
    assert_eq!(image.vteps.len(), 1);
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["VTEP c is left out: its address 192.0.2.2 belongs to b"]);
}

#[test]
fn an_address_of_two_stations_is_the_firsts() {
    let mut instructions = instructions();
    instructions.hosts.get_mut(&(vni(7), mac(2))).unwrap().ips = vec!["10.0.0.1".parse().unwrap()];
    let (image, problems) = image(&instructions, &local(), &Image::default());
    assert_eq!(image.neigh[&NeighKey::new(vni(7), ip("10.0.0.1"))].mac, mac(1).0);
    let said = problems[0].to_string();
    assert_eq!(
        said,
        "10.0.0.1 of 02:00:00:00:00:02 in VNI 7 is left out: it belongs to 02:00:00:00:00:01"
    );
}

#[test]
fn ports_stand_before_vteps_in_a_flood_list() {
    let mut instructions = instructions();
    instructions.members.get_mut(&(vni(7), "b".to_owned())).unwrap().unknown = true;
    let (image, _) = image(&instructions, &local(), &Image::default());
    let segment = image.segments[&7];
    assert_eq!(segment.flags, segment_flags::FLOOD | segment_flags::UNKNOWN);
    let chunk = list(&image, segment.flood_id)[0];
    let kinds: Vec<u8> = chunk.entries.iter().take(2).map(|entry| entry.kind).collect();
    assert_eq!(
        (chunk.count, chunk.more, kinds),
        (2, 0, vec![target_kind::PORT, target_kind::VTEP])
    );
    assert_eq!(chunk.entries[0].flags, 0);
    assert_eq!(chunk.entries[1].flags, flood_flags::UNKNOWN);
}

#[test]
fn an_unchanged_list_keeps_its_number_and_a_changed_one_gets_a_new_one() {
    let (first, _) = image(&instructions(), &local(), &Image::default());
    let (again, _) = image(&instructions(), &local(), &first);
    assert_eq!(again, first);
    let mut fewer = instructions();
    fewer.members.clear();
    let (changed, _) = image(&fewer, &local(), &first);
    let (before, after) = (first.segments[&7].flood_id, changed.segments[&7].flood_id);
    assert_ne!(before, after);
    // The old list may be about to be deleted: going back to it takes a third number.
    let mut between = changed.clone();
    between.flood.extend(first.flood.clone());
    let (back, _) = image(&instructions(), &local(), &between);
    assert!(![0, before, after].contains(&back.segments[&7].flood_id), "{:?}", back.segments);
}

#[test]
fn a_list_that_is_too_long_is_cut_and_said() {
    let mut instructions = instructions();
    let mut local = local();
    for number in 0..1_500u32 {
        let name = format!("p{number}");
        let device = LocalPort { device: IfIndex(1_000 + number), peer: true };
        local.ports.insert(key(&name), device);
        instructions.ports.insert(key(&name), port(1_000 + number));
    }
    let (image, problems) = image(&instructions, &local, &Image::default());
    let chunks = list(&image, image.segments[&7].flood_id);
    assert_eq!(chunks.len(), 32);
    assert_eq!(chunks.iter().map(|chunk| chunk.count).sum::<u32>(), 1_024);
    assert!(chunks[..31].iter().all(|chunk| chunk.more == 1) && chunks[31].more == 0);
    let network = key("blue");
    assert_eq!(problems, [Problem::FloodListTooLong { network, receivers: 1_502 }]);
}

#[test]
fn all_ports_of_a_pod_that_forwards_are_forwarders() {
    let mut instructions = instructions();
    let mut local = local();
    for (name, inode, device) in [("a2", 99, 5), ("other", 98, 6)] {
        let port = Port { netns_inode: inode, ..port(device) };
        instructions.ports.insert(key(name), port);
        local.ports.insert(key(name), LocalPort { device: IfIndex(device), peer: true });
    }
    let (mut previous, _) = image(&instructions, &local, &Image::default());
    assert_eq!(forwarders(&previous), [].into());
    // The programs saw the first port of the pod forward.
    previous.ports.get_mut(&4).unwrap().flags |= port_flags::FORWARDER;
    let (seen, _) = image(&instructions, &local, &previous);
    assert_eq!(forwarders(&seen), [4, 5].into());
    // The same device with another pod's MAC is another port.
    previous.ports.get_mut(&4).unwrap().mac = mac(77).0;
    let (other, _) = image(&instructions, &local, &previous);
    assert_eq!(forwarders(&other), [].into());
}

#[test]
fn ports_that_may_send_from_any_mac_start_as_forwarders() {
    let mut unchecked = instructions();
    unchecked.ports.get_mut(&key("a")).unwrap().mac_check = false;
    let (image_unchecked, _) = image(&unchecked, &local(), &Image::default());
    assert_eq!(forwarders(&image_unchecked), [4].into());
    let list = list(&image_unchecked, image_unchecked.segments[&7].flood_id);
    assert_eq!(list[0].entries[0].flags, flood_flags::UNKNOWN, "and get unknown unicast");
    let mut learning = instructions();
    learning.segments.get_mut(&vni(7)).unwrap().learning = true;
    assert_eq!(forwarders(&image(&learning, &local(), &Image::default()).0), [4].into());
}

#[test]
fn members_carry_what_the_controller_says_of_them() {
    let mut instructions = instructions();
    let member = Member { group: Group(3), unknown: true, external: true, learn: true };
    instructions.members.insert((vni(7), "b".to_owned()), member);
    let (image, _) = image(&instructions, &local(), &Image::default());
    let entry = image.members[&MemberKey::new(vni(7), ip("192.0.2.2"))];
    assert_eq!((entry.group, entry.flags), (3, member_flags::EXTERNAL | member_flags::LEARN));
    assert_eq!(image.fdb[&FdbKey::new(vni(7), mac(2))].group, 3);
}

proptest! {
    #[test]
    fn numbers_keep_their_meaning_from_image_to_image(
        steps in vec((worlds(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut actual = Image::default();
        for (instructions, interrupted) in steps {
            let (desired, _) = image(&instructions, &local(), &actual);
            kept(&actual, &desired)?;
            let changes = diff(&desired, &actual);
            // The agent dies somewhere on the way; its successor reads what is there.
            let done = interrupted.index(changes.len() + 1);
            for change in changes.iter().take(done) {
                apply(&mut actual, change);
            }
            let (resumed, _) = image(&instructions, &local(), &actual);
            kept(&actual, &resumed)?;
            for change in diff(&resumed, &actual) {
                apply(&mut actual, &change);
            }
            prop_assert_eq!(&actual, &resumed);
            let (again, _) = image(&instructions, &local(), &actual);
            prop_assert_eq!(again, actual.clone(), "the second look changes nothing");
        }
    }
}

/// Checks that no number of `before` means something else in `after`.
fn kept(before: &Image, after: &Image) -> Result<(), TestCaseError> {
    for (id, vtep) in &before.vteps {
        if let Some(now) = after.vteps.get(id) {
            prop_assert_eq!(vtep.remote, now.remote, "VTEP {}", id);
        }
    }
    for (key, chunk) in &before.flood {
        if let Some(now) = after.flood.get(key) {
            prop_assert_eq!(chunk, now, "flood list {:?}", key);
        }
    }
    let mut slots = BTreeSet::new();
    for (vni, segment) in &after.segments {
        prop_assert!(segment.slot != 0 && slots.insert(segment.slot), "slot of {vni}");
        let holder = before.segments.iter().find(|(_, old)| old.slot == segment.slot);
        prop_assert!(holder.is_none_or(|(old, _)| old == vni), "slot of {vni} was taken over");
    }
    for (key, member) in &after.members {
        let segment = after.segments.get(&key.vni).unwrap();
        prop_assert_eq!(member.slot, segment.slot, "slot of a member of {}", key.vni);
    }
    Ok(())
}

/// Instructions with some of three networks, and in each some of four remote nodes.
fn worlds() -> impl Strategy<Value = Instructions> {
    let nodes = prop::sample::subsequence(vec![2u8, 3, 4, 5], 0..=4);
    let networks = vec(nodes, 3);
    networks.prop_map(|networks| {
        let mut instructions = Instructions::default();
        for (number, nodes) in (1u32..).zip(networks).filter(|(_, nodes)| !nodes.is_empty()) {
            instructions.segments.insert(vni(number), segment());
            for node in nodes {
                let name = format!("node{node}");
                let address = IpAddr::from([192, 0, 2, node]);
                let vtep = Vtep { addresses: vec![address], udp_checksum: false };
                instructions.vteps.insert(name.clone(), vtep);
                instructions.members.insert((vni(number), name.clone()), MEMBER);
                let host = Host { ips: Vec::new(), place: Place::Vtep(name), router: None };
                instructions.hosts.insert((vni(number), mac(u32::from(node))), host);
            }
        }
        instructions
    })
}

const MEMBER: Member = Member { group: Group::MESH, unknown: false, external: false, learn: false };

/// One network, a port `a` on this node, a station on node `b`.
fn instructions() -> Instructions {
    let addresses = ["192.0.2.2", "2001:db8::2"].map(|text| text.parse().unwrap());
    let host = |ip: &str, place, router| Host { ips: vec![ip.parse().unwrap()], place, router };
    let mut instructions = Instructions::default();
    instructions.segments.insert(vni(7), segment());
    let vtep = Vtep { addresses: addresses.into(), udp_checksum: false };
    instructions.vteps.insert("b".to_owned(), vtep);
    instructions.members.insert((vni(7), "b".to_owned()), MEMBER);
    let here = host("10.0.0.1", Place::Port(key("a")), None);
    let there = host("10.0.0.2", Place::Vtep("b".to_owned()), Some(false));
    instructions.hosts.extend([((vni(7), mac(1)), here), ((vni(7), mac(2)), there)]);
    let addresses = vec!["10.0.0.1/24".parse().unwrap()];
    instructions.ports.insert(key("a"), Port { addresses, netns_inode: 99, ..port(1) });
    instructions
}

fn segment() -> Segment {
    Segment { network: key("blue"), mtu: 1450, flood: true, learning: false }
}

fn port(number: u32) -> Port {
    Port {
        vni: vni(7),
        ifname: "net1".to_owned(),
        netns: None,
        netns_inode: 0,
        pod: None,
        pod_uid: None,
        mac: mac(number),
        addresses: Vec::new(),
        mtu: 1450,
        mac_check: true,
        forwarder: false,
    }
}

fn local() -> Local {
    let path = Path {
        device: IfIndex(2),
        source: "192.0.2.1".parse().unwrap(),
        mtu: 1500,
        source_mac: Some(mac(11)),
        next_hop: Some(mac(12)),
    };
    Local {
        ports: [(key("a"), LocalPort { device: IfIndex(4), peer: true })].into(),
        uplinks: [(IfIndex(2), Uplink { mac: Some(mac(11)), mtu: 1500, xdp: Xdp::Off })].into(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        paths: [("192.0.2.2".parse().unwrap(), vec![path])].into(),
        vxlan: Some(IfIndex(3)),
        udp_port: 7000,
        mark: 0x2000,
        slow_path_blocked: false,
    }
}

#[test]
fn a_blocked_slow_path_is_a_flag_in_config() {
    let flags = |slow_path_blocked| {
        let local = Local { slow_path_blocked, ..local() };
        let (image, _problems) = image(&Instructions::default(), &local, &Image::default());
        image.config.unwrap().flags & config_flags::SLOW_PATH_BLOCKED
    };
    assert_eq!(flags(false), 0);
    assert_eq!(flags(true), config_flags::SLOW_PATH_BLOCKED);
}

#[test]
fn config_says_that_every_underlay_device_is_ethernet_until_one_is_not() {
    let flags = |local: &Local| {
        let (image, _problems) = image(&Instructions::default(), local, &Image::default());
        image.config.unwrap().flags & config_flags::ETHERNET
    };
    let mut local = local();
    assert_eq!(flags(&local), config_flags::ETHERNET);
    let tunnel = Uplink { mac: None, ..*local.uplinks.values().next().unwrap() };
    local.uplinks.insert(IfIndex(99), tunnel);
    assert_eq!(flags(&local), 0);
}

#[test]
fn config_has_the_first_own_address_and_every_own_address_is_in_locals() {
    let (image, _problems) = image(&Instructions::default(), &local(), &Image::default());
    let first = image.config.unwrap().local;
    assert!(image.locals.contains_key(&first), "{:?}", image.locals);
}

/// The chunks of a flood list.
fn list(image: &Image, id: u32) -> Vec<FloodChunk> {
    let range = FloodKey { flood_id: id, chunk: 0 }..=FloodKey { flood_id: id, chunk: u32::MAX };
    image.flood.range(range).map(|(_, chunk)| *chunk).collect()
}

fn forwarders(image: &Image) -> BTreeSet<u32> {
    let set = |port: &PortEntry| port.flags & port_flags::FORWARDER != 0;
    image.ports.iter().filter(|(_, port)| set(port)).map(|(device, _)| *device).collect()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn ip(text: &str) -> Ip16 {
    ip16(text.parse().unwrap())
}
