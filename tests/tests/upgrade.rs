//! Agents of two builds on one node, one after the other, under traffic: programs are replaced in
//! place, to another layout of the maps and back, and nothing is lost or doubled.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use aya::programs::links::{FdLink, PinnedLink};
use l2sm_common::abi::ABI;
use l2sm_tests::{
    cluster::{Cluster, ClusterNode, ClusterPod, program},
    flow::{Account, Flow},
    next_build::next_agent,
    wait,
};

/// Datagrams a second in each direction.
const RATE: u32 = 10_000;

/// Time for kills at a moment that is met by chance; most are after a few seconds.
const PATIENCE: Duration = Duration::from_mins(3);

/// A build: the agent that all tests run, or the other one with the maps of an ABI.
#[derive(Clone, Copy, Debug)]
enum Build {
    Ours,
    Other(u32),
}

impl Build {
    fn abi(self) -> u32 {
        if let Self::Other(abi) = self { abi } else { ABI }
    }

    fn choose(self, node: &mut ClusterNode) {
        let (program, environment) = match self {
            Self::Ours => (program("l2sm-agent"), Vec::new()),
            Self::Other(abi) => (next_agent(), vec![("L2SM_TEST_ABI".into(), abi.to_string())]),
        };
        node.program = program;
        node.environment = environment;
    }
}

/// The kernel's number of the program on each pinned link.
fn programs(node: &ClusterNode) -> BTreeMap<PathBuf, u32> {
    links(node).into_iter().map(|(path, (_link, program))| (path, program)).collect()
}

/// The kernel's numbers of each pinned link and of the program on it.
fn links(node: &ClusterNode) -> BTreeMap<PathBuf, (u32, u32)> {
    let links = fs::read_dir(node.bpffs().join("links")).expect("links are pinned");
    let links = links.map(|link| link.expect("can be read").path());
    let numbers = |path: &PathBuf| {
        let link = FdLink::from(PinnedLink::from_pin(path).ok()?).info().ok()?;
        Some((link.id(), link.program_id()))
    };
    links.filter_map(|path| Some((path.clone(), numbers(&path)?))).collect()
}

/// The ABIs that have maps.
fn versions(node: &ClusterNode) -> Vec<u32> {
    let there = |abi: &u32| node.bpffs().join(format!("v{abi}/maps/FDB")).exists();
    (0..ABI + 9).filter(there).collect()
}

/// Replaces the agents of all nodes, and waits until every program is theirs.
fn replace(cluster: &mut Cluster, build: Build) {
    for node in &mut cluster.nodes {
        let before = links(node);
        assert!(!before.is_empty(), "programs are attached");
        let started = Instant::now();
        node.kill_agent();
        build.choose(node);
        node.start_agent();
        wait::until(&format!("every program is of {build:?}"), || {
            let now = links(node);
            let moved = before.iter().all(|(pin, (link, program))| {
                now.get(pin).is_some_and(|(same, other)| same == link && other != program)
            });
            (moved && versions(node) == [build.abi()]).then_some(())
        });
        println!("{build:?}: {} programs replaced after {:?}", before.len(), started.elapsed());
    }
}

/// A flow each way.
fn flows(pods: &[ClusterPod; 2]) -> [Flow; 2] {
    let start = |from: &ClusterPod, to: &ClusterPod| {
        Flow::start(&from.netns, &to.netns, to.address(), RATE)
    };
    [start(&pods[0], &pods[1]), start(&pods[1], &pods[0])]
}

fn nothing_lost(flows: [Flow; 2]) {
    for account in flows.map(Flow::finish) {
        println!("{account:?}");
        // A quarter of a second at least: an upgrade may be that quick.
        assert!(account.sent > u64::from(RATE) / 4, "{account:?}");
        assert_eq!(account, Account { sent: account.sent, lost: 0, doubled: 0 });
    }
}

#[test]
fn upgrades_and_downgrades_under_traffic_lose_nothing() {
    next_agent();
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    let flows = flows(&pods);

    replace(&mut cluster, Build::Other(ABI));
    replace(&mut cluster, Build::Other(ABI + 1));
    replace(&mut cluster, Build::Other(ABI + 2));
    replace(&mut cluster, Build::Ours);
    replace(&mut cluster, Build::Other(ABI + 1));

    nothing_lost(flows);
    // Counters begin anew with every layout.
    cluster.assert_drops(&[]);
    let third = cluster.pod(0, "blue", &[]);
    cluster.until_ready("blue");
    assert_eq!(third.netns.ping(pods[1].address(), 5), 5);
}

#[test]
fn an_upgrade_needs_no_controller_and_keeps_following_the_underlay() {
    next_agent();
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    cluster.kill_controller();
    let flows = flows(&pods);

    replace(&mut cluster, Build::Other(ABI + 1));

    nothing_lost(flows);
    cluster.assert_drops(&[]);
    cluster.nodes[1].netns.ip("link set eth0 address 02:00:00:00:77:78");
    wait::until("the new agent finds the next hop", || {
        (pods[0].netns.ping(pods[1].address(), 1) == 1).then_some(())
    });
    cluster.start_controller();
    cluster.until_connected();
    let third = cluster.pod(0, "blue", &[]);
    cluster.until_ready("blue");
    assert_eq!(third.netns.ping(pods[1].address(), 5), 5);
}

/// Starts an agent, and kills it when it has moved some programs and not all; false: it was faster.
fn kill_between_links(node: &mut ClusterNode, build: Build) -> bool {
    let before = programs(node);
    // A few, held open: to look at all of them takes longer than to move them.
    let open = |(path, id): (&PathBuf, &u32)| {
        (FdLink::from(PinnedLink::from_pin(path).expect("it is pinned")), *id)
    };
    let watched: Vec<_> = before.iter().step_by(before.len().div_ceil(4)).map(open).collect();
    let moved = |(link, id): &(FdLink, u32)| link.info().is_ok_and(|now| now.program_id() != *id);
    node.kill_agent();
    build.choose(node);
    node.start_agent();
    let deadline = Instant::now() + wait::PATIENCE;
    while !watched.iter().any(moved) {
        assert!(Instant::now() < deadline, "the agent moves no program");
    }
    node.kill_agent();
    let now = programs(node);
    let left = before.iter().filter(|(link, id)| now.get(*link) == Some(id)).count();
    println!("{build:?}: {left} of {} left when killed", before.len());
    left > 0
}

#[test]
fn an_upgrade_killed_between_two_links_converges_at_the_next_start_of_either_build() {
    next_agent();
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    // Many links to move, so that a kill finds some of them moved.
    let more: Vec<_> = (0..24).map(|_| cluster.pod(0, "blue", &[])).collect();
    cluster.until_ready("blue");
    let flows = flows(&pods);

    let mut caught = [0, 0];
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        let next = attempt % 2;
        let torn = kill_between_links(&mut cluster.nodes[0], Build::Other(ABI + 1));
        caught[next] += usize::from(torn);
        let build = [Build::Ours, Build::Other(ABI + 1)][next];
        replace(&mut cluster, build);
        replace(&mut cluster, Build::Ours);
        if caught.iter().all(|count| *count > 0) || Instant::now() > deadline {
            break;
        }
    }

    assert!(caught.iter().all(|count| *count > 0), "killed in the middle: {caught:?}");
    nothing_lost(flows);
    cluster.assert_drops(&[]);
    for pod in &more {
        assert_eq!(pod.netns.ping(pods[1].address(), 1), 1);
    }
}
