//! A port's program: a filter at once, a link later.

use l2sm_agent::datapath::{Attaching, Datapath as _, KernelDatapath, remove_filters};
use l2sm_common::{maps::DropKey, reason::DropReason};
use l2sm_core::{diff::Change, image::Program};

use crate::sandbox::{filters, hook, port, programs, run, sandboxed, until};

/// How often programs dropped a frame of a port that is in no map.
fn drops(datapath: &KernelDatapath) -> u64 {
    let no_port = DropKey { slot: 0, reason: DropReason::NoPort.number() };
    datapath.drops().unwrap().get(&no_port).copied().unwrap_or_default()
}

#[test]
fn a_port_has_a_filter_at_once_and_a_link_in_its_place_later() {
    sandboxed("settle", |sandbox| {
        let (first, second) = (port("pod0"), port("pod1"));
        let mut datapath = sandbox.open();
        for hook in [first, second] {
            datapath.apply(&Change::Attach(hook)).unwrap();
        }
        assert_eq!((filters("pod0").len(), programs("pod0").len()), (1, 0));
        assert_eq!(datapath.read().unwrap().hooks, [first, second].into());

        assert!(datapath.settle().unwrap());
        assert_eq!((filters("pod0").len(), programs("pod0").len()), (0, 1));
        assert_eq!((filters("pod1").len(), programs("pod1").len()), (1, 0), "one at a time");
        assert!(datapath.settle().unwrap());
        assert!(!datapath.settle().unwrap(), "that was the last");
        assert_eq!((filters("pod1").len(), programs("pod1").len()), (0, 1));
        assert_eq!(datapath.read().unwrap().hooks, [first, second].into());
    });
}

#[test]
fn a_frame_meets_one_program_however_it_is_attached() {
    sandboxed("once", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook)).unwrap();
        for device in ["pod0", "pod0p"] {
            run("ip", &["link", "set", device, "addrgenmode", "none", "up"]);
        }
        run("ip", &["addr", "add", "192.0.2.1/24", "dev", "pod0p"]);
        let send = |count: u64| {
            let station = ["lladdr", "02:00:00:00:00:02", "dev", "pod0p"];
            run("ip", &[&["neigh", "replace", "192.0.2.2"][..], &station].concat());
            let pings = count.to_string();
            let ping = ["ping", "-q", "-c", &pings, "-i", "0.01", "-W", "0.01", "192.0.2.2"];
            // It fails: nobody answers.
            run("sh", &["-c", &format!("{} || true", ping.join(" "))]);
        };
        send(3);
        until("three frames are dropped by the filter", || drops(&datapath) == 3);
        let filter = filters("pod0");
        assert!(datapath.settle().unwrap());
        send(3);
        until("three more are dropped by the link", || drops(&datapath) == 6);
        assert_eq!((filter.len(), filters("pod0").len()), (1, 0));
    });
}

#[test]
fn the_next_process_replaces_a_filter_in_place_and_gives_the_port_its_link() {
    sandboxed("resettle", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook)).unwrap();
        drop(datapath);
        let before = filters("pod0");
        assert_eq!(before.len(), 1, "attached without a process");
        let mut datapath = sandbox.open();
        let after = filters("pod0");
        assert_eq!((after.len(), programs("pod0").len()), (1, 0));
        assert_ne!(after, before, "the new process' program");
        assert_eq!(datapath.read().unwrap().hooks, [hook].into());
        assert!(datapath.settle().unwrap());
        assert_eq!((filters("pod0").len(), programs("pod0").len()), (0, 1));
    });
}

#[test]
fn a_filter_that_was_left_beside_its_link_is_removed() {
    sandboxed("beside", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook)).unwrap();
        assert!(datapath.settle().unwrap());
        // As if the process had ended before it removed the filter.
        let mut other = KernelDatapath::open_with(sandbox.bpffs(), Attaching::Filter).unwrap();
        other.apply(&Change::Attach(hook)).unwrap();
        drop(other);
        assert_eq!((filters("pod0").len(), programs("pod0").len()), (1, 1));
        assert_eq!(datapath.read().unwrap().hooks, [hook].into());
        assert_eq!((filters("pod0").len(), programs("pod0").len()), (0, 1));
        assert!(!datapath.settle().unwrap());
    });
}

#[test]
fn a_port_that_goes_before_it_has_its_link_goes() {
    sandboxed("early", |sandbox| {
        let (gone, detached) = (port("pod0"), port("pod1"));
        let mut datapath = sandbox.open();
        for hook in [gone, detached] {
            datapath.apply(&Change::Attach(hook)).unwrap();
        }
        run("ip", &["link", "del", "pod0"]);
        datapath.apply(&Change::Detach(detached)).unwrap();
        assert!(filters("pod1").is_empty());
        assert!(datapath.settle().unwrap(), "nothing to do for a device that is gone");
        assert!(!datapath.settle().unwrap());
        assert_eq!(datapath.read().unwrap().hooks, [].into());
        assert!(!sandbox.link_pin(gone).exists() && !sandbox.link_pin(detached).exists());
        assert!(programs("pod1").is_empty());
    });
}

#[test]
fn cleanup_finds_the_filter_of_a_port_that_has_no_link_yet() {
    sandboxed("unsettled", |sandbox| {
        let hook = port("pod0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook)).unwrap();
        drop(datapath);
        assert_eq!(remove_filters(), [format!("filter {hook}")]);
        assert!(filters("pod0").is_empty());
    });
}

#[test]
fn an_uplink_has_its_link_at_once() {
    sandboxed("uplink", |sandbox| {
        port("eth0");
        let mut datapath = sandbox.open();
        datapath.apply(&Change::Attach(hook("eth0", Program::UplinkRx))).unwrap();
        assert_eq!((filters("eth0").len(), programs("eth0").len()), (0, 1));
    });
}
