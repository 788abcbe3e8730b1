use l2sm_core::instructions::{apply_delta, delta};
use proptest::{collection::btree_map, prelude::*};

use super::{
    super::{digest, split},
    *,
};

fn vnis() -> impl Strategy<Value = Vni> {
    (1u32..6).prop_map(|raw| Vni::new(raw).unwrap())
}

fn macs() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn keys() -> impl Strategy<Value = ObjectKey> {
    ("[a-c]{1,2}", "[a-e]{1,3}").prop_map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn nets() -> impl Strategy<Value = IpNet> {
    (addresses(), 0u8..=32).prop_map(|(ip, len)| IpNet::new(ip, len).unwrap())
}

fn segments() -> impl Strategy<Value = Segment> {
    (keys(), any::<u32>(), any::<bool>(), any::<bool>())
        .prop_map(|(network, mtu, flood, learning)| Segment { network, mtu, flood, learning })
}

fn members() -> impl Strategy<Value = Member> {
    (any::<u16>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(group, unknown, external, learn)| Member {
            group: Group(group),
            unknown,
            external,
            learn,
        },
    )
}

fn hosts() -> impl Strategy<Value = Host> {
    let places = prop_oneof![keys().prop_map(Place::Port), "[a-z]{1,4}".prop_map(Place::Vtep)];
    (prop::collection::vec(addresses(), 0..3), places, prop::option::of(any::<bool>()))
        .prop_map(|(ips, place, router)| Host { ips, place, router })
}

fn ports() -> impl Strategy<Value = Port> {
    let netns = prop::option::of("/[a-z]{1,8}");
    let pod = prop::option::of("[a-z]{1,8}");
    let several = prop::collection::vec(nets(), 0..3);
    let pods = (pod.clone(), pod);
    let rest = (any::<u32>(), any::<bool>(), any::<bool>());
    (vnis(), "net[0-9]", netns, any::<u64>(), pods, macs(), several, rest).prop_map(
        |(vni, ifname, netns, netns_inode, (pod, pod_uid), mac, addresses, rest)| {
            let (mtu, mac_check, forwarder) = rest;
            Port {
                vni,
                ifname,
                netns,
                netns_inode,
                pod,
                pod_uid,
                mac,
                addresses,
                mtu,
                mac_check,
                forwarder,
            }
        },
    )
}

fn all() -> impl Strategy<Value = Instructions> {
    let vteps = (prop::collection::vec(addresses(), 0..3), any::<bool>())
        .prop_map(|(addresses, udp_checksum)| Vtep { addresses, udp_checksum });
    (
        btree_map(vnis(), segments(), 0..4),
        btree_map("[a-z]{1,4}", vteps, 0..4),
        btree_map((vnis(), "[a-z]{1,4}"), members(), 0..4),
        btree_map((vnis(), macs()), hosts(), 0..6),
        btree_map(keys(), ports(), 0..4),
    )
        .prop_map(|(segments, vteps, members, hosts, ports)| Instructions {
            segments,
            vteps,
            members,
            hosts: hosts.into_iter().collect(),
            ports,
        })
}

proptest! {
    #[test]
    fn instructions_survive_the_wire(all in all()) {
        prop_assert_eq!(Instructions::try_from(v1::Instructions::from(&all)), Ok(all));
    }

    #[test]
    fn a_delta_survives_the_wire(old in all(), new in all()) {
        let step = delta(&old, &new);
        let update = v1::Update {
            put: Some((&step.put).into()),
            remove: Some((&step.remove).into()),
            ..v1::Update::default()
        };
        let mut followed = old;
        apply_delta(&mut followed, Delta::try_from(update).unwrap());
        prop_assert_eq!(followed, new);
    }

    #[test]
    fn the_parts_of_a_snapshot_are_the_whole(all in all(), size in 1usize..5) {
        let parts = split((&all).into(), size);
        let mut joined = Instructions::default();
        for part in parts {
            let part = Instructions::try_from(part).unwrap();
            prop_assert!(part.len() <= size);
            apply_delta(&mut joined, Delta { put: part, ..Delta::default() });
        }
        prop_assert_eq!(joined, all);
    }

    #[test]
    fn only_the_same_instructions_have_the_same_digest(one in all(), other in all()) {
        prop_assert_eq!(digest(&one) == digest(&other), one == other);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let fault =
        |message: v1::Instructions| Instructions::try_from(message).unwrap_err().to_string();
    let segments =
        vec![v1::Segment { vni: 0, network: Some(v1::ObjectKey::default()), ..Default::default() }];
    let message = v1::Instructions { segments, ..Default::default() };
    assert_eq!(fault(message), "segments.vni: expected a VNI, 1 to 16777215");
    let vteps = vec![v1::Vtep { addresses: vec![vec![1, 2, 3]], ..Default::default() }];
    let message = v1::Instructions { vteps, ..Default::default() };
    assert_eq!(fault(message), "vteps.addresses: expected an address of 4 or 16 bytes");
    let hosts =
        vec![v1::Host { key: Some(v1::HostKey { vni: 1, mac: vec![0; 6] }), ..Default::default() }];
    let message = v1::Instructions { hosts, ..Default::default() };
    assert_eq!(fault(message), "hosts.place: expected a port or a VTEP");
    let address = v1::Address { ip: vec![10, 0, 0, 1], prefix_len: 33 };
    assert!(read_net("ips", &address).is_err());
    assert_eq!(split(v1::Instructions::default(), 5).len(), 1);
}
