//! An image drawn upon another is the one that would be drawn anew.

use std::{collections::BTreeMap, net::IpAddr};

use l2sm_common::{
    ids::{Group, IfIndex},
    mac::Mac,
    vni::Vni,
};
use proptest::{collection::btree_map, option, prelude::*};

use super::*;
use crate::diff::{Extent, diff, diff_within};
use crate::instructions::{Host, Instructions, Member, Place, Port, Segment, Vtep};

type Station = (u8, Option<u8>, Option<bool>);
/// Stations by MAC, remote nodes with their groups, pods with their networks.
type Network = (BTreeMap<u8, Station>, BTreeMap<u8, u8>);

fn network() -> impl Strategy<Value = Network> {
    let station = (0u8..6, option::of(0u8..4), option::of(any::<bool>()));
    (btree_map(0u8..6, station, 0..5), btree_map(0u8..3, 0u8..2, 0..3))
}

/// What a node is told, and the ports that it has made.
fn node() -> impl Strategy<Value = (Instructions, Local)> {
    let networks = btree_map(1u32..4, network(), 0..4);
    let ports = btree_map(3u8..6, (1u32..4, option::of(4u32..6), any::<bool>()), 0..4);
    (networks, ports).prop_map(|(networks, ports)| {
        let (mut told, mut local) = (Instructions::default(), local());
        for (number, (stations, members)) in networks {
            let vni = Vni::new(number).unwrap();
            add_network(&mut told, vni, &stations, &members);
        }
        for (pod, (number, device, peer)) in ports {
            let key = pod_key(pod);
            told.ports.insert(key.clone(), port(Vni::new(number).unwrap(), pod));
            let made = device.map(|device| LocalPort { device: IfIndex(device), peer });
            local.ports.extend(made.map(|made| (key, made)));
        }
        (told, local)
    })
}

fn add_network(
    told: &mut Instructions,
    vni: Vni,
    stations: &BTreeMap<u8, Station>,
    members: &BTreeMap<u8, u8>,
) {
    let network = ObjectKey::new("default", format!("net{}", vni.get()));
    let segment = Segment { network, mtu: 1450, flood: true, learning: false };
    told.segments.insert(vni, segment);
    for (node, group) in members {
        let addresses = vec![IpAddr::from([192, 0, 2, 10 + node])];
        told.vteps.insert(format!("n{node}"), Vtep { addresses, udp_checksum: false });
        let group = Group(u16::from(*group) + 1);
        let member = Member { group, unknown: false, external: false, learn: false };
        told.members.insert((vni, format!("n{node}")), member);
    }
    for (mac, (place, ip, router)) in stations {
        let place = match place {
            0..3 => Place::Vtep(format!("n{place}")),
            _ => Place::Port(pod_key(*place)),
        };
        let ips = ip.iter().map(|ip| IpAddr::from([10, 0, 0, *ip])).collect();
        told.hosts.insert((vni, Mac([2, 0, 0, 0, 0, *mac])), Host { ips, place, router: *router });
    }
}

fn pod_key(pod: u8) -> ObjectKey {
    ObjectKey::new("default", format!("pod{pod}"))
}

fn port(vni: Vni, pod: u8) -> Port {
    Port {
        vni,
        ifname: "net1".to_owned(),
        netns: None,
        netns_inode: 0,
        pod: None,
        pod_uid: None,
        mac: Mac([2, 0, 0, 0, 0, pod]),
        addresses: Vec::new(),
        mtu: 1450,
        mac_check: true,
        forwarder: false,
    }
}

fn local() -> Local {
    Local { addresses: vec![IpAddr::from([192, 0, 2, 1])], udp_port: 7000, ..Local::default() }
}

proptest! {
    #[test]
    fn an_image_drawn_upon_another_is_the_one_drawn_anew(
        steps in proptest::collection::vec(node(), 1..6),
    ) {
        let (mut drawn, mut previous) = (Drawn::default(), Image::default());
        for (told, local) in steps {
            drawn = draw(drawn, &told, &local, &previous);
            let (anew, problems) = image(&told, &local, &previous);
            prop_assert_eq!(&drawn.image, &anew);
            prop_assert_eq!(&drawn.problems, &problems);
            let within = diff_within(&anew, &previous, &Extent::Segments(drawn.redrawn.clone()));
            prop_assert_eq!(within, diff(&anew, &previous), "stations of no other segment differ");
            previous = anew;
        }
    }
}
