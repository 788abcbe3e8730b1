//! The kernel side against the kernel. Needs root. Every test has a network namespace and a pin
//! directory of its own; both are gone when it ends.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "datapath/image.rs"]
mod image;
#[path = "datapath/sandbox.rs"]
mod sandbox;
#[path = "datapath/settle.rs"]
mod settle;
#[path = "datapath/upgrade.rs"]
mod upgrade;

use std::{collections::BTreeMap, fs, thread, time::Duration};

use l2sm_agent::datapath::{
    Attaching, Datapath as _, DatapathError, KernelDatapath, remove_filters, remove_pins,
};
use l2sm_common::{
    abi,
    mac::Mac,
    maps::{DropKey, PortEntry, SegmentEntry, UplinkEntry, port_flags},
    reason::DropReason,
};
use l2sm_core::{
    diff::{Change, diff},
    image::{Hook, Image, Program},
};

use nix::{
    libc,
    sys::{
        pthread::{pthread_kill, pthread_self},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    },
};

use crate::{
    image::{PORT, full_image},
    sandbox::{filters, hook, pin_foreign_map, port, programs, run, sandboxed, until},
};

#[test]
fn every_map_and_hook_reads_back_as_written() {
    sandboxed("roundtrip", |sandbox| {
        let mut datapath = sandbox.open();
        assert_eq!(datapath.read().unwrap(), Image::default(), "a new node has nothing");
        let desired = full_image();
        program(&mut datapath, &desired);
        assert_eq!(datapath.read().unwrap(), desired);
        program(&mut datapath, &Image::default());
        assert_eq!(datapath.read().unwrap(), Image::default());
    });
}

#[test]
fn a_new_process_sees_what_the_old_one_left() {
    sandboxed("reopen", |sandbox| {
        let desired = full_image();
        let mut datapath = sandbox.open();
        program(&mut datapath, &desired);
        drop(datapath);
        let mut datapath = sandbox.open();
        let actual = datapath.read().unwrap();
        assert_eq!(actual, desired);
        assert_eq!(diff(&desired, &actual), [], "nothing is left to do");
    });
}

#[test]
fn a_program_outlives_its_process_and_is_replaced_in_place() {
    sandboxed("inplace", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        attach(&mut datapath, hook);
        let first = programs("pod0");
        drop(datapath);
        assert_eq!(programs("pod0"), first, "attached without a process");
        let link = sandbox.link_id(hook);
        drop(sandbox.open());
        let second = programs("pod0");
        assert_eq!(second.len(), 1);
        assert_ne!(second, first, "the new process' program");
        assert_eq!(sandbox.link_id(hook), link, "on the same link");
    });
}

#[test]
fn attaching_twice_is_attaching_once_and_so_is_detaching() {
    sandboxed("twice", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        attach(&mut datapath, hook);
        attach(&mut datapath, hook);
        assert_eq!(programs("pod0").len(), 1);
        datapath.apply(&Change::Detach(hook)).unwrap();
        datapath.apply(&Change::Detach(hook)).unwrap();
        assert_eq!(datapath.read().unwrap().hooks, [].into());
        until("the program is off", || programs("pod0").is_empty());
    });
}

#[test]
fn an_uplink_program_comes_before_those_of_others() {
    sandboxed("order", |sandbox| {
        port("eth0");
        let foreign = sandbox.foreign_program("eth0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook("eth0", Program::UplinkRx))).unwrap();
        let both = programs("eth0");
        assert_eq!((both.len(), both[1]), (2, foreign));
        drop(datapath);
        drop(sandbox.open());
        assert_eq!(programs("eth0")[1], foreign, "after an update in place too");
    });
}

#[test]
fn the_pin_of_a_device_that_is_gone_is_collected() {
    sandboxed("vanish", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        attach(&mut datapath, hook);
        run("ip", &["link", "del", "pod0"]);
        assert_eq!(datapath.read().unwrap().hooks, [].into());
        assert!(!sandbox.link_pin(hook).exists());
        let error = datapath.apply(&Change::Attach(hook)).unwrap_err().to_string();
        let device = hook.device.0;
        assert_eq!(error, format!("cannot attach l2sm_port_rx on device {device}: no such device"));
    });
}

#[test]
fn another_device_with_the_number_of_one_that_is_gone_gets_its_program() {
    sandboxed("reuse", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        attach(&mut datapath, hook);
        run("ip", &["link", "del", "pod0"]);
        let index = hook.device.0.to_string();
        run("ip", &["link", "add", "pod1", "index", &index, "type", "veth", "peer", "pod1p"]);
        attach(&mut datapath, hook);
        assert_eq!(programs("pod1").len(), 1);
        assert_eq!(datapath.read().unwrap().hooks, [hook].into());
    });
}

#[test]
fn links_of_other_maps_are_moved_by_attaching_and_not_before() {
    sandboxed("upgrade", |sandbox| {
        let hook = port("pod0");
        let mut old = sandbox.open();
        attach(&mut old, hook);
        let before = programs("pod0");
        // What an agent of another ABI finds: its own maps are not there yet.
        fs::rename(sandbox.bpffs().join(version()), sandbox.bpffs().join("v0")).unwrap();
        let mut new = sandbox.open();
        assert_eq!(programs("pod0"), before, "the old program forwards on");
        assert_eq!(new.read().unwrap().hooks, [].into(), "and is still to be moved");
        new.apply(&Change::Attach(hook)).unwrap();
        let after = programs("pod0");
        assert_eq!(after.len(), 1);
        assert_ne!(after, before);
        assert_eq!(new.read().unwrap().hooks, [hook].into());
    });
}

#[test]
fn what_others_pinned_and_attached_survives_removal() {
    sandboxed("foreign", |sandbox| {
        let hook = port("pod0");
        let foreign = sandbox.foreign_program("pod0");
        let mut datapath = sandbox.open();
        attach(&mut datapath, hook);
        drop(datapath);
        let theirs = [&format!("{}/maps/theirs", version()), "links/theirs", "theirs"];
        let theirs = theirs.map(|name| sandbox.bpffs().join(name));
        for pin in &theirs {
            pin_foreign_map(pin);
        }
        let removed = remove_pins(sandbox.bpffs()).unwrap();
        assert!(removed.iter().any(|line| line.ends_with("l2sm_port_rx")), "{removed:?}");
        assert!(removed.iter().any(|line| line.ends_with("maps/FDB")), "{removed:?}");
        assert!(theirs.iter().all(|pin| pin.exists()), "{removed:?}");
        until("only their program is left", || programs("pod0") == [foreign]);
        assert_eq!(remove_pins(sandbox.bpffs()).unwrap(), Vec::<String>::new(), "nothing is left");
    });
}

#[test]
fn a_foreign_pin_under_our_name_is_an_error_and_stays() {
    sandboxed("squatter", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        pin_foreign_map(&sandbox.link_pin(hook));
        let error = datapath.apply(&Change::Attach(hook)).unwrap_err().to_string();
        assert!(error.contains("l2sm_port_rx as pin directory"), "{error}");
        assert!(sandbox.link_pin(hook).exists() && !error.contains('\n'), "{error}");
        assert_eq!(datapath.read().unwrap().hooks, [].into());
    });
}

#[test]
fn a_full_map_is_named_and_the_rest_goes_on() {
    sandboxed("full", |sandbox| {
        let mut datapath = sandbox.open();
        let entry = UplinkEntry::new(Some(Mac([2; 6])));
        for device in 1..=u32::try_from(abi::UPLINKS_CAPACITY).unwrap() {
            datapath.apply(&Change::PutUplink(device, entry)).unwrap();
        }
        let error = datapath.apply(&Change::PutUplink(1_000, entry)).unwrap_err();
        assert!(matches!(error, DatapathError::MapFull { map: "UPLINKS", capacity: 64 }));
        assert_eq!(error.to_string(), "map UPLINKS is full: it holds 64 entries");
        datapath.apply(&Change::DeleteUplink(1)).unwrap();
        datapath.apply(&Change::PutUplink(1_000, entry)).unwrap();
    });
}

#[test]
fn a_pinned_map_with_another_layout_is_refused_in_one_line() {
    sandboxed("layout", |sandbox| {
        let maps = sandbox.bpffs().join(version()).join("maps");
        fs::create_dir_all(&maps).unwrap();
        pin_foreign_map(&maps.join("FDB"));
        let error = KernelDatapath::open(sandbox.bpffs()).err().unwrap().to_string();
        assert!(error.contains("maps/FDB is not this version's: Array, key 4 bytes"), "{error}");
        assert!(error.contains("expected Hash, key 12 bytes, value 8 bytes;"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(fs::read_dir(&maps).unwrap().count(), 1, "nothing was made beside it");
    });
}

#[test]
fn a_directory_that_is_no_bpffs_is_refused_in_one_line() {
    sandboxed("nobpffs", |_| {
        let directory = tempfile::tempdir().unwrap();
        let error = KernelDatapath::open(&directory.path().join("l2sm")).err().unwrap().to_string();
        assert!(error.starts_with("cannot "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    });
}

#[test]
fn a_forwarder_that_the_programs_marked_stays_one() {
    sandboxed("forward", |sandbox| {
        let mut datapath = sandbox.open();
        let marked = PortEntry { flags: port_flags::FORWARDER, ..PORT };
        datapath.apply(&Change::PutPort(5, marked)).unwrap();
        datapath.apply(&Change::PutPort(5, PORT)).unwrap();
        assert_eq!(datapath.read().unwrap().ports[&5].flags, port_flags::FORWARDER);
        datapath.apply(&Change::PutPort(5, PortEntry { mac: [4; 6], ..PORT })).unwrap();
        assert_eq!(datapath.read().unwrap().ports[&5].flags, 0, "another pod");
    });
}

#[test]
fn drops_are_counted_over_all_cpus() {
    sandboxed("drops", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook)).unwrap();
        // The kernel announces itself on the pod's end; the port is in no map.
        run("ip", &["link", "set", "pod0", "up"]);
        run("ip", &["link", "set", "pod0p", "up"]);
        let no_port = DropKey { slot: 0, reason: DropReason::NoPort.number() };
        until("a drop is counted", || datapath.drops().unwrap().contains_key(&no_port));
        assert_eq!(datapath.traffic().unwrap(), BTreeMap::new());
    });
}

#[test]
fn a_slot_starts_from_zero_for_another_network() {
    sandboxed("slots", |sandbox| {
        let mut datapath = sandbox.open();
        let pod = port("pod0");
        let segment = |slot| SegmentEntry { flood_id: 0, flags: 0, slot, mtu: 1450 };
        datapath.apply(&Change::PutSegment(7, segment(4))).unwrap();
        let checked = PortEntry { flags: port_flags::MAC_CHECK, ..PORT };
        datapath.apply(&Change::PutPort(pod.device.0, checked)).unwrap();
        datapath.apply(&Change::Attach(pod)).unwrap();
        run("ip", &["link", "set", "pod0", "up"]);
        run("ip", &["link", "set", "pod0p", "up"]);
        let spoofed = DropKey { slot: 4, reason: DropReason::SpoofedMac.number() };
        let counted = |datapath: &KernelDatapath| datapath.drops().unwrap().contains_key(&spoofed);
        until("a drop is counted", || counted(&datapath));
        // Nothing counts any more from here on.
        run("ip", &["link", "del", "pod0"]);
        datapath.apply(&Change::PutSegment(7, segment(4))).unwrap();
        assert!(counted(&datapath), "the same network keeps its counters");
        datapath.apply(&Change::DeleteSegment(7)).unwrap();
        datapath.apply(&Change::PutSegment(8, segment(4))).unwrap();
        assert!(!counted(&datapath));
        assert!(!datapath.traffic().unwrap().contains_key(&4));
    });
}

#[test]
fn filters_do_what_links_do_where_there_is_no_tcx() {
    sandboxed("filter", |sandbox| {
        let hook = port("pod0");
        let open = || {
            let mut datapath =
                KernelDatapath::open_with(sandbox.bpffs(), Attaching::Filter).unwrap();
            assert!(datapath.take_over().unwrap().is_empty());
            datapath
        };
        let mut datapath = open();
        datapath.apply(&Change::Attach(hook)).unwrap();
        datapath.apply(&Change::Attach(hook)).unwrap();
        let first = filters("pod0");
        assert_eq!(first.len(), 1, "{first:?}");
        drop(datapath);
        assert_eq!(filters("pod0"), first, "attached without a process");
        let mut datapath = open();
        let second = filters("pod0");
        assert_eq!(second.len(), 1, "{second:?}");
        assert_ne!(second, first, "the new process' program");
        assert_eq!(datapath.read().unwrap().hooks, [hook].into());
        datapath.apply(&Change::Detach(hook)).unwrap();
        datapath.apply(&Change::Detach(hook)).unwrap();
        assert!(filters("pod0").is_empty());
        datapath.apply(&Change::Attach(hook)).unwrap();
        drop(datapath);
        let removed = remove_pins(sandbox.bpffs()).unwrap();
        assert!(!removed.contains(&format!("filter {hook}")), "{removed:?}");
        assert_eq!(filters("pod0").len(), 1, "filters are no pins");
        assert_eq!(remove_filters(), [format!("filter {hook}")]);
        assert!(filters("pod0").is_empty());
    });
}

/// Makes the changes that lead to an image.
fn program(datapath: &mut KernelDatapath, desired: &Image) {
    let actual = datapath.read().unwrap();
    for change in diff(desired, &actual) {
        datapath.apply(&change).unwrap();
    }
    settle(datapath);
}

/// Attaches a program, by a link.
fn attach(datapath: &mut KernelDatapath, hook: Hook) {
    datapath.apply(&Change::Attach(hook)).unwrap();
    settle(datapath);
}

/// Has every port get its link.
fn settle(datapath: &mut KernelDatapath) {
    while datapath.settle().unwrap() {}
}

/// The directory of this layout.
fn version() -> String {
    format!("v{}", abi::ABI)
}

#[test]
fn signals_while_programs_are_verified_are_no_reason_to_give_up() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    sandboxed("signals", |sandbox| {
        let action =
            SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let loader = pthread_self();
        // Bursts, since one signal is met by the library's own second attempt; at one moment after the
        // other, so that some meet the verifier at work.
        for step in 0..8 {
            thread::scope(|scope| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(20 * step));
                    for _signal in 0..4 {
                        thread::sleep(Duration::from_millis(4));
                        pthread_kill(loader, Signal::SIGUSR1).unwrap();
                    }
                });
                KernelDatapath::open(sandbox.bpffs()).map(drop).unwrap();
            });
        }
    });
}
