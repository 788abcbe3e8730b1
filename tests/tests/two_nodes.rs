//! Two nodes, real programs, nothing but the flags that users have.

use std::{collections::BTreeMap, time::Duration};

use l2sm_tests::{
    cluster::Cluster,
    flow::{Account, Flow},
    frames,
    probe::Probe,
    stream::transfer,
    wait,
};

/// Datagrams a second, while something is killed.
const RATE: u32 = 10_000;

#[test]
fn pods_of_a_network_talk_across_nodes_and_networks_stay_apart() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    cluster.network("red", "10.10.0.0/24");
    let blue = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    let red = [cluster.pod(0, "red", &[]), cluster.pod(1, "red", &[])];
    assert_eq!(blue[0].address(), red[0].address(), "addresses overlap");
    cluster.ctl_ok(&["wait", "--for=condition=Ready", "l2network/blue", "l2network/red"]);

    for pods in [&blue, &red] {
        assert_eq!(pods[0].netns.ping(pods[1].address(), 10), 10);
        transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 28);
        transfer(&pods[1].netns, &pods[0].netns, pods[0].address(), 1 << 28);
    }

    // Red's sender speaks to blue's receiver, by its MAC: nobody in red has it.
    let listeners = blue.each_ref().map(|pod| Probe::open(&pod.netns, pod.ifname()));
    let sender = Probe::open(&red[0].netns, red[0].ifname());
    let marker = b"from red, for nobody in blue";
    let dropped = cluster.nodes[0].dropped("unknown_unicast");
    for _ in 0..100 {
        sender.send(&frames::ethernet(blue[1].mac(), red[0].mac(), 0x88b5, marker));
    }
    for listener in listeners {
        let foreign = |bytes: &[u8]| bytes.windows(marker.len()).any(|part| part == marker);
        assert_eq!(listener.receive(1, Duration::from_millis(300), foreign).len(), 0);
    }
    cluster.assert_drops(&[("unknown_unicast", dropped + 100)]);
}

#[test]
fn a_broadcast_reaches_every_pod_of_its_network_once() {
    let cluster = Cluster::new(3);
    cluster.network("blue", "10.10.0.0/24");
    cluster.network("red", "10.10.0.0/24");
    let pods = [0, 0, 1, 1, 2].map(|node| cluster.pod(node, "blue", &[]));
    let stranger = cluster.pod(1, "red", &[]);
    cluster.ctl_ok(&["wait", "--for=condition=Ready", "l2network/blue", "l2network/red"]);
    let listeners = pods.each_ref().map(|pod| Probe::open(&pod.netns, pod.ifname()));
    let outside = Probe::open(&stranger.netns, stranger.ifname());
    let broadcast = l2sm_common::mac::Mac::BROADCAST;
    let frame = frames::ethernet(broadcast, pods[0].mac(), 0x88b5, b"to all of blue, once each");

    let counters = ["fromPort", "toPort", "toVtep", "fromVtep"];
    let counted =
        |counter| cluster.nodes.iter().map(|node| node.counted("blue", counter)).collect();
    let before: BTreeMap<_, Vec<u64>> = counters.map(|counter| (counter, counted(counter))).into();

    for _ in 0..10 {
        listeners[0].send(&frame);
    }

    let is_it = |bytes: &[u8]| bytes[..frame.len().min(bytes.len())] == frame[..];
    for listener in &listeners[1..] {
        listener.receive_exactly(10, is_it);
    }
    outside.receive_exactly(0, is_it);
    let copies = |counter: &str| {
        let after = cluster.nodes.iter().map(|node| node.counted("blue", counter));
        after.zip(&before[counter]).map(|(after, before)| after - before).collect::<Vec<_>>()
    };
    assert_eq!(copies("fromPort"), [10, 0, 0]);
    assert_eq!(copies("toPort"), [10, 20, 10], "each pod but the sender");
    assert_eq!(copies("toVtep"), [20, 0, 0], "each other node");
    assert_eq!(copies("fromVtep"), [0, 10, 10]);
    cluster.assert_drops(&[]);
}

#[test]
fn agents_killed_ten_times_under_traffic_lose_nothing() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    let flow = Flow::start(&pods[0].netns, &pods[1].netns, pods[1].address(), RATE);

    for round in 0..5 {
        for node in 0..2 {
            cluster.nodes[node].kill_agent();
            cluster.nodes[node].start_agent();
        }
        cluster.until_connected();
        wait::until("the agents program again", || {
            let ready =
                |node: &l2sm_tests::cluster::ClusterNode| node.status()["revision"].as_u64();
            cluster.nodes.iter().all(|node| ready(node) > Some(0)).then_some(round)
        });
    }

    let account = flow.finish();
    println!("{account:?}");
    assert!(account.sent > u64::from(RATE), "{account:?}");
    assert_eq!(account, Account { sent: account.sent, lost: 0, doubled: 0 });
    assert_counted(&cluster, account);
}

/// Every datagram of a flow from the first node to the second is counted at each step, and nothing was
/// dropped. A few more frames are the pods' own.
fn assert_counted(cluster: &Cluster, account: Account) {
    for (node, counter) in [(0, "fromPort"), (0, "toVtep"), (1, "fromVtep"), (1, "toPort")] {
        let counted = cluster.nodes[node].counted("blue", counter);
        let most = account.sent + 200;
        assert!((account.sent..most).contains(&counted), "{counter}: {counted}, {account:?}");
    }
    cluster.assert_drops(&[]);
}

#[test]
fn a_killed_controller_stops_no_traffic_and_forgets_nothing() {
    let mut cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    cluster.until_ready("blue");
    let flow = Flow::start(&pods[0].netns, &pods[1].netns, pods[1].address(), RATE);
    let before = cluster.get("attachments");

    cluster.kill_controller();
    // An agent that starts while nobody serves keeps what is in the kernel.
    cluster.nodes[1].kill_agent();
    cluster.nodes[1].start_agent();
    assert_eq!(pods[1].netns.ping(pods[0].address(), 20), 20);
    cluster.start_controller();
    cluster.until_connected();

    let account = flow.finish();
    assert_eq!(account, Account { sent: account.sent, lost: 0, doubled: 0 });
    assert_counted(&cluster, account);
    let names = |objects: &[serde_json::Value]| -> Vec<_> {
        objects.iter().map(|object| object["spec"].clone()).collect()
    };
    assert_eq!(names(&cluster.get("attachments")), names(&before));
    let third = cluster.pod(0, "blue", &[]);
    cluster.until_ready("blue");
    assert_eq!(third.netns.ping(pods[1].address(), 5), 5);
}

#[test]
fn cleanup_leaves_nothing_of_ours_and_all_of_theirs() {
    let mut cluster = Cluster::new(1);
    cluster.network("blue", "10.10.0.0/24");
    let _pod = cluster.pod(0, "blue", &[]);
    let node = &cluster.nodes[0].netns;
    // Look-alikes: our name without our alias, our alias without our name.
    node.ip("link add name l2sm0123456789a type veth peer name theirs-0");
    node.ip("link add name theirs-1 type veth peer name theirs-2");
    node.ip("link set theirs-1 alias l2sm:default/web/net1");
    cluster.nodes[0].kill_agent();

    let output = cluster.nodes[0].cleanup();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let links = cluster.nodes[0].netns.ip("-brief link show");
    let mut names: Vec<_> =
        links.lines().filter_map(|line| line.split([' ', '@']).next()).collect();
    names.sort_unstable();
    let theirs = ["eth0", "l2sm0123456789a", "lo", "theirs-0", "theirs-1", "theirs-2"];
    assert_eq!(names, theirs);
    assert!(!cluster.nodes[0].bpffs().exists(), "pins are left");
    let again = cluster.nodes[0].cleanup();
    assert!(again.status.success(), "a second time finds nothing to do");
}
