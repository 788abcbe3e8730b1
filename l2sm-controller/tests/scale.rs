//! How long requests take in a large world. The bounds are for a release build; without
//! optimisation everything may take ten times as long.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests: a panic is a failure, and the figures are worth seeing"
)]

use std::time::{Duration, Instant};

use l2sm_api::objects::{L2NodeSpec, Object, parse_documents};
use l2sm_controller::{
    attach::AttachOrder,
    hub::{AgentHello, Hub},
    store::MemoryStore,
};
use l2sm_core::model::ObjectKey;

const NETWORKS: usize = 1_000;
const ATTACHMENTS: usize = 10_000;
const NODES: usize = 100;

/// Optimised code is what users run.
const SLACK: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

fn objects(yaml: &str) -> Vec<Object> {
    let documents = parse_documents("f", yaml).unwrap();
    documents.into_iter().map(|document| document.object).collect()
}

fn networks() -> Vec<Object> {
    let manifests = (0..NETWORKS).map(|number| {
        format!(
            "---\napiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: net{number}}}\nspec: {{type: vnet, networkCIDR: 10.0.0.0/8}}\n"
        )
    });
    objects(&manifests.collect::<String>())
}

/// Ten a network, and the networks' pods on ten nodes each.
fn attachments() -> Vec<Object> {
    let manifests = (0..ATTACHMENTS).map(|number| {
        format!(
            "---\napiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Attachment\nmetadata: {{name: a{number}}}\nspec: {{network: net{}, node: n{}, ifname: net1, netns: /run/netns/p{number}}}\n",
            number % NETWORKS, number % NODES
        )
    });
    objects(&manifests.collect::<String>())
}

fn timed<T>(what: &str, limit: Duration, call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = call();
    let took = started.elapsed();
    println!("{what}: {took:?}");
    assert!(took < limit * SLACK, "{what} took {took:?}, more than {:?}", limit * SLACK);
    result
}

fn large_hub() -> Hub {
    let hub = Hub::open(Box::new(MemoryStore::new("s"))).unwrap();
    for number in 0..NODES {
        let hello = AgentHello {
            node: format!("n{number}"),
            spec: L2NodeSpec {
                vtep_addresses: vec![format!("192.0.2.{}", number + 1).parse().unwrap()],
                udp_port: 7000,
                underlay_mtu: 1500,
            },
            ..AgentHello::default()
        };
        hub.hello(hello, None).unwrap();
    }
    let (networks, attachments) = (networks(), attachments());
    timed("1,000 networks applied", Duration::from_secs(1), || hub.apply(networks, false).unwrap());
    timed("10,000 attachments applied", Duration::from_secs(2), || {
        hub.apply(attachments, false).unwrap()
    });
    hub
}

#[test]
fn one_more_attachment_among_ten_thousand_is_made_in_fifty_milliseconds() {
    let hub = large_hub();
    let mut fastest = Duration::MAX;
    for number in 0..10u64 {
        let order = AttachOrder {
            node: "n1".into(),
            network: Some(ObjectKey::new("default", "net7")),
            netns: format!("/run/netns/more{number}"),
            netns_inode: number + 1,
            ..AttachOrder::default()
        };
        let started = Instant::now();
        let (.., port) = hub.attach(&order).unwrap();
        fastest = fastest.min(started.elapsed());
        assert_eq!(port.mtu, 1450);
    }
    println!("attach: {fastest:?}");
    // The fastest of ten: what others do on the machine meanwhile is not measured.
    assert!(fastest < Duration::from_millis(50) * SLACK, "{fastest:?}");
}

#[test]
fn a_thousand_networks_are_listed_at_once() {
    let hub = large_hub();
    let networks = timed("1,000 networks listed", Duration::from_millis(500), || {
        hub.list(l2sm_api::objects::Kind::L2Network, None, None)
    });
    assert_eq!(networks.len(), NETWORKS);
}
