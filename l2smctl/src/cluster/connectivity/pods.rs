//! The objects of the connectivity test.

use serde_json::{Value, json};

use super::NAMESPACE;

/// The pod that is probed.
pub(super) const LISTENER: &str = "listener";
/// The pod in another network, on the listener's node.
pub(super) const STRANGER: &str = "stranger";
/// The pod that probes.
pub(super) const PROBER: &str = "prober";
/// Unicasts and broadcasts that are sent.
pub(super) const COUNT: u32 = 5;

/// Of the range for tests of networks: nothing in a cluster has these.
const CIDR: &str = "198.18.0.0/24";
const LISTENERS: &str = "198.18.0.2";
const STRANGERS: &str = "198.18.0.3";
const PROBERS: &str = "198.18.0.1";
const BROADCAST: &str = "198.18.0.255";

/// What exists before anything is probed: two networks with the same addresses, and the pods that
/// report what they receive.
pub(super) fn before(image: &str, there: &str) -> Vec<Value> {
    let report = "line=0; while :; do line=$((line+1)); \
        echo line $line \
        rx $(cat /sys/class/net/net1/statistics/rx_packets) \
        broadcasts $(awk '/^IpExt: [0-9]/ {print $6}' /proc/net/netstat) \
        mtu $(cat /sys/class/net/net1/mtu); sleep 1; done";
    vec![
        network("blue"),
        network("red"),
        pod(LISTENER, &Joins { network: "blue", address: LISTENERS }, image, there, report),
        pod(STRANGER, &Joins { network: "red", address: STRANGERS }, image, there, report),
    ]
}

/// The pod that probes: what it prints is read by [`super::Probed`].
pub(super) fn prober(image: &str, node: &str) -> Value {
    let probe = format!(
        "n=0; until ping -c 1 -W 1 {LISTENERS} >/dev/null 2>&1; do n=$((n+1)); \
            [ $n -lt 20 ] || break; done; \
        mtu=$(cat /sys/class/net/net1/mtu); \
        echo == mtu $mtu; \
        echo == unicast; ping -c {COUNT} -i 0.2 -W 2 {LISTENERS}; \
        echo == full; ping -c {COUNT} -i 0.2 -W 2 -s $((mtu-28)) {LISTENERS}; \
        echo == broadcast; ping -c {COUNT} -i 0.2 -W 1 {BROADCAST}; \
        echo == stranger; ping -c {COUNT} -i 0.2 -W 1 {STRANGERS}; \
        echo == end"
    );
    pod(PROBER, &Joins { network: "blue", address: PROBERS }, image, node, &probe)
}

/// Which network a pod joins, and with which address.
struct Joins<'a> {
    network: &'a str,
    address: &'a str,
}

fn network(name: &str) -> Value {
    json!({
        "apiVersion": l2sm_api::objects::API_VERSION, "kind": "L2Network",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": "vnet", "networkCIDR": CIDR},
    })
}

fn pod(name: &str, joins: &Joins<'_>, image: &str, node: &str, script: &str) -> Value {
    let networks = json!([{"name": joins.network, "ips": [joins.address]}]).to_string();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "annotations": {(l2sm_api::annotation::NETWORKS): networks},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "containers": [{
                "name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", script],
            }],
        },
    })
}
