//! XDP against the decision on the host: what tc would drop is dropped, under the same reason and
//! once; all else passes as it was, and nothing else is counted.

use std::{cell::RefCell, collections::BTreeMap};

use l2sm_common::{
    event::{CAPTURE, Program},
    forward::uplink::from_uplink,
    frame::Bytes,
    ids::IfIndex,
    mac::Mac,
    maps::{DropKey, Traffic},
    reason::DropReason,
    verdict::Verdict,
};
use l2sm_tests::{frames, object::Object};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    CASES, Devices, EXTERNAL, LOCAL, REMOTE, SLOTS, abi, assert_all_seen, damaged, devices,
    inner_frames, name, tables, tunnel_packets,
};

/// Return codes of XDP programs (`enum xdp_action`).
const DROP: u32 = 1;
const PASS: u32 = 2;

/// The loaded programs, with the tables that the host decides by.
fn loaded(devices: &Devices) -> Object {
    let mut object = Object::load();
    object.fill(&tables(devices));
    object
}

/// Frames that the underlay brings: mostly tunnel packets to this host, some to others.
fn arriving(devices: &Devices) -> impl Strategy<Value = Vec<u8>> + use<> {
    let others = vec![Mac::BROADCAST, Mac([0x01, 0, 0x5e, 0, 0, 1]), Mac([2, 9, 9, 9, 9, 9])];
    let to_others = proptest::sample::select(others).prop_flat_map(tunnel_packets);
    prop_oneof![
        16 => damaged(tunnel_packets(devices.uplink_mac)),
        2 => damaged(to_others),
        1 => damaged(inner_frames()),
    ]
}

#[test]
fn xdp_drops_what_tc_would_drop_and_passes_all_else_untouched() {
    let devices = devices();
    let tables = tables(&devices);
    let frames = (arriving(&devices), prop_oneof![9 => Just(devices.uplink), 1 => Just(devices.a)]);

    let seen = devices.netns.run(|| {
        let seen = RefCell::new(BTreeMap::new());
        let object = RefCell::new(loaded(&devices));
        let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
        let result = TestRunner::new(config).run(&frames, |(bytes, ifindex)| {
            let for_host = ifindex == devices.uplink && bytes[..6] == devices.uplink_mac.0;
            let frame = Bytes { for_host, ..Bytes::new(&bytes) };
            let decision = from_uplink(&frame, &tables, IfIndex(ifindex));
            let verdict = decision.verdict();
            let expected: (u32, BTreeMap<DropKey, u64>) = match verdict {
                Verdict::Drop(reason) => {
                    (DROP, [(DropKey::new(decision.slot(), reason), 1)].into())
                }
                _ => (PASS, BTreeMap::new()),
            };
            let mut object = object.borrow_mut();
            for program in [abi::UPLINK_XDP, abi::UPLINK_XDP_GENERIC] {
                let (code, after) = object.run_xdp(program, &bytes, ifindex);
                prop_assert_eq!(code, expected.0, "{:?}", verdict);
                prop_assert_eq!(object.take_drops(), expected.1.clone(), "{:?}", verdict);
                prop_assert_eq!(object.take_traffic(SLOTS), BTreeMap::<u32, Traffic>::new());
                prop_assert_eq!(&after, &bytes, "{:?}", verdict);
            }
            *seen.borrow_mut().entry(name(verdict)).or_default() += 1;
            Ok(())
        });
        if let Err(error) = result {
            panic!("kernel (left) and host (right) differ: {error}");
        }
        seen.into_inner()
    });

    assert_all_seen(
        &seen,
        &[
            "Deliver Peer V4 ecn true",
            "Deliver Peer V6 ecn true",
            "HandUp",
            "Pass",
            "ecn_invalid",
            "flood_disabled",
            "flood_failed",
            "invalid_source_mac",
            "invalid_vxlan",
            "link_local",
            "mac_elsewhere",
            "reserved_bits",
            "split_horizon",
            "truncated",
            "unknown_unicast",
            "unknown_vni",
            "unknown_vtep",
            "vtep_not_in_segment",
        ],
    );
}

/// A tunnel packet into network 100 with this much in it.
fn tunnel(devices: &Devices, source: [u8; 4], payload: usize) -> Vec<u8> {
    let inner = frames::ethernet(super::A, super::FAR_V4, 0x88b5, &vec![0x5a; payload]);
    let udp = frames::udp(50_000, abi::UDP_PORT, &frames::vxlan(8, 100, &inner));
    let packet = frames::ipv4(source, LOCAL, 17, 0, &udp);
    frames::ethernet(devices.uplink_mac, Mac([4; 6]), 0x0800, &packet)
}

#[test]
fn a_jumbo_frame_in_several_buffers_is_judged_by_its_headers() {
    let devices = devices();
    devices.netns.run(|| {
        let mut object = loaded(&devices);
        for payload in [100, 3_000, 8_000] {
            let known = tunnel(&devices, REMOTE, payload);
            assert_eq!(object.run_xdp(abi::UPLINK_XDP, &known, devices.uplink), (PASS, known));
            assert_eq!(object.take_drops(), BTreeMap::new());
            let stranger = tunnel(&devices, [203, 0, 113, 1], payload);
            assert_eq!(
                object.run_xdp(abi::UPLINK_XDP, &stranger, devices.uplink).0,
                DROP,
                "{payload} bytes"
            );
            let dropped: Vec<_> = object.take_drops().into_iter().collect();
            let reason = DropReason::UnknownVtep.number();
            assert_eq!(dropped, [(DropKey { slot: 0, reason }, 1)]);
        }
    });
}

#[test]
fn a_drop_by_xdp_is_recorded_with_the_frame() {
    let devices = devices();
    devices.netns.run(|| {
        let mut object = loaded(&devices);
        for payload in [100, 8_000] {
            let stranger = tunnel(&devices, [203, 0, 113, 1], payload);
            assert_eq!(object.run_xdp(abi::UPLINK_XDP, &stranger, devices.uplink).0, DROP);
            let [event] = object.take_events().try_into().expect("one record");
            let length = u32::try_from(stranger.len()).unwrap();
            assert_eq!(
                (event.program, event.ifindex),
                (Program::UplinkXdp.number(), devices.uplink)
            );
            assert_eq!((event.reason, event.length), (DropReason::UnknownVtep.number(), length));
            assert_eq!(&event.frame[..], &stranger[..CAPTURE]);
        }
    });
}

#[test]
fn a_device_that_is_no_uplink_any_more_drops_nothing() {
    let devices = devices();
    devices.netns.run(|| {
        let mut object = loaded(&devices);
        let stranger = tunnel(&devices, [203, 0, 113, 1], 100);
        assert_eq!(object.run_xdp(abi::UPLINK_XDP, &stranger, devices.b), (PASS, stranger));
        let spoofed = tunnel(&devices, EXTERNAL, 100);
        assert_eq!(
            object.run_xdp(abi::UPLINK_XDP, &spoofed, devices.uplink).0,
            DROP,
            "a MAC that is elsewhere"
        );
        assert_eq!(object.take_drops().into_values().collect::<Vec<_>>(), [1]);
    });
}
