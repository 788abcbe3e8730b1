//! The agent as an operator meets it: what it notices of its node, says and does about it.

use std::time::{Duration, Instant};

use l2sm_tests::{cluster::Cluster, flow::send_segmented, stream::transfer, wait};
use serde_json::Value;

/// A condition of an object.
fn condition(object: &Value, kind: &str) -> Option<Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}

/// Waits until a node has a condition with this status.
fn until_condition(cluster: &Cluster, node: &str, kind: &str, status: &str) -> Value {
    wait::until(&format!("{kind} of {node} is {status}"), || {
        let nodes = cluster.get("nodes");
        let object = nodes.into_iter().find(|object| object["metadata"]["name"] == node)?;
        condition(&object, kind).filter(|condition| condition["status"] == status)
    })
}

/// Whether the agent's own status tells of it.
fn tells(cluster: &Cluster, node: usize, words: &str) -> bool {
    let status = cluster.nodes[node].status();
    let errors = status["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().any(|error| error.as_str().is_some_and(|error| error.contains(words)))
}

#[test]
fn a_firewall_that_drops_our_packets_is_noticed_and_bulk_goes_on() {
    let cluster = Cluster::new(2);
    // Free to send from any MAC, so the pods may forward: aggregated TCP for them is handed up.
    cluster.apply(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {name: blue}\n\
         spec: {type: vnet, networkCIDR: \"10.10.0.0/24\", macSpoofCheck: false}\n",
    );
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    let target = format!("{}:4000", pods[1].address());
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    until_condition(&cluster, "n2", "SlowPathBlocked", "False");

    let nft = |rules: &str| {
        let output = cluster.nodes[1].netns.output("nft", &[rules]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    nft(
        "add table inet theirs; add chain inet theirs input { type filter hook input priority 0; }; \
         add rule inet theirs input udp dport 7000 drop",
    );
    let blocked = wait::until("the agent notices", || {
        pods[0].netns.run(|| send_segmented(&target, 1000, 20));
        tells(&cluster, 1, "SlowPathBlocked").then_some(Instant::now())
    });

    let said = until_condition(&cluster, "n2", "SlowPathBlocked", "True");
    assert!(said["message"].as_str().is_some_and(|text| text.contains("UDP port 7000")), "{said}");
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    assert!(blocked.elapsed() < Duration::from_secs(50), "still before it is tried again");
    assert!(!tells(&cluster, 0, "SlowPathBlocked"), "the other node is fine");

    nft("delete table inet theirs");
    wait::until("the agent notices that it is open", || {
        pods[0].netns.run(|| send_segmented(&target, 1000, 20));
        (!tells(&cluster, 1, "SlowPathBlocked")).then_some(())
    });
    until_condition(&cluster, "n2", "SlowPathBlocked", "False");
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
}

#[test]
fn an_underlay_device_that_vanishes_and_comes_back_is_taken_up_again() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    assert_eq!(pods[0].netns.ping(pods[1].address(), 3), 3);
    let before = cluster.nodes[1].netns.ifindex("eth0");

    cluster.unplug(1);
    wait::until("the agent misses it", || {
        tells(&cluster, 1, "underlay device eth0: no such device").then_some(())
    });
    cluster.plug(1);

    assert_ne!(cluster.nodes[1].netns.ifindex("eth0"), before);
    wait::until("pods reach one another", || {
        (pods[0].netns.ping(pods[1].address(), 1) == 1).then_some(())
    });
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    transfer(&pods[1].netns, &pods[0].netns, pods[0].address(), 1 << 26);
    until_condition(&cluster, "n2", "UnderlayMissing", "False");
    assert!(!tells(&cluster, 1, "UnderlayMissing"));
}

#[test]
fn an_address_that_changes_is_announced_and_used() {
    let cluster = Cluster::new(2);
    cluster.network("blue", "10.10.0.0/24");
    let pods = [cluster.pod(0, "blue", &[]), cluster.pod(1, "blue", &[])];
    assert_eq!(pods[0].netns.ping(pods[1].address(), 3), 3);

    cluster.nodes[1].netns.ip("address del 192.0.2.2/24 dev eth0");
    cluster.nodes[1].netns.ip("address add 192.0.2.77/24 dev eth0");

    wait::until_equal("n2's VTEP address", &serde_json::json!(["192.0.2.77"]), || {
        let nodes = cluster.get("nodes");
        let node = nodes.iter().find(|node| node["metadata"]["name"] == "n2");
        node.map_or(Value::Null, |node| node["spec"]["vtepAddresses"].clone())
    });
    wait::until("pods reach one another", || {
        (pods[0].netns.ping(pods[1].address(), 1) == 1).then_some(())
    });
    transfer(&pods[0].netns, &pods[1].netns, pods[1].address(), 1 << 26);
    assert_eq!(cluster.nodes[1].status()["vteps"], serde_json::json!(["192.0.2.77"]));
}
