//! What the hub says of objects that stand in one another's way.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
};

use l2sm_api::objects::{Condition, ConditionStatus, Kind, L2NodeSpec, Object, parse_documents};
use l2sm_core::{instructions::Place, model::ObjectKey};

use crate::{
    attach::AttachOrder,
    hub::{AgentHello, Hub},
    store::{Batch, MemoryStore, Store as _},
};

const BLUE: &str = "
apiVersion: l2sm.l2sm.k8s.local/v1
kind: L2Network
metadata: {name: blue}
spec: {type: vnet, networkCIDR: 10.34.0.0/16, vni: 100}
";

const SWITCH: &str = "
apiVersion: l2sm.l2sm.k8s.local/v1
kind: ExternalVTEP
metadata: {name: sw}
spec: {address: 192.0.2.9, networks: [{name: blue, hosts: [{mac: '02:00:00:00:00:09', ips: [10.34.0.9]}]}]}
";

/// A hub whose clock goes on a second with every look: objects made later are younger.
fn hub() -> Hub {
    static NOW: AtomicI64 = AtomicI64::new(1_000);
    let clock = || jiff::Timestamp::from_second(NOW.fetch_add(1, Ordering::Relaxed)).unwrap();
    Hub::open_at(Box::new(MemoryStore::new("s")), clock).unwrap()
}

fn apply(hub: &Hub, yaml: &str) {
    let documents = parse_documents("f", yaml).unwrap();
    hub.apply(documents.into_iter().map(|document| document.object).collect(), false).unwrap();
}

fn hello(node: &str, vtep: &str, udp_port: u16) -> AgentHello {
    let vtep_addresses = vec![vtep.parse().unwrap()];
    let spec = L2NodeSpec { vtep_addresses, udp_port, underlay_mtu: 1500 };
    AgentHello { node: node.into(), spec, ..AgentHello::default() }
}

fn attach(hub: &Hub, node: &str) -> u64 {
    let order = AttachOrder {
        node: node.into(),
        network: Some(ObjectKey::new("default", "blue")),
        netns_inode: 1,
        ..AttachOrder::default()
    };
    hub.attach(&order).unwrap().1
}

fn conditions(hub: &Hub, kind: Kind, name: &str) -> Vec<Condition> {
    let mut object = hub.list(kind, None, Some(name)).pop().unwrap();
    object.conditions_mut().unwrap().clone()
}

fn said(hub: &Hub, kind: Kind, name: &str) -> Vec<String> {
    let conditions = conditions(hub, kind, name).into_iter();
    conditions
        .map(|seen| format!("{}={} {}: {}", seen.kind, seen.status, seen.reason, seen.message))
        .collect()
}

#[test]
fn an_external_vtep_waits_for_its_network_and_is_ready_once_programmed() {
    let hub = hub();
    apply(&hub, SWITCH);
    hub.hello(hello("n1", "192.0.2.1", 7000), None).unwrap();
    let missing = "there is no network default/blue: it takes part once there is";
    assert_eq!(
        said(&hub, Kind::ExternalVtep, "sw"),
        [
            format!("Ready=False NetworkNotFound: {missing}"),
            format!("NetworkNotFound=True NetworkNotFound: {missing}")
        ]
    );
    apply(&hub, BLUE);
    assert_eq!(
        said(&hub, Kind::ExternalVtep, "sw"),
        ["Ready=True NoPorts: no node has a port in its networks"]
    );
    let revision = attach(&hub, "n1");
    assert_eq!(
        said(&hub, Kind::ExternalVtep, "sw"),
        [format!("Ready=False Programming: not yet at revision {revision}: n1")]
    );
    hub.ack("n1", revision, BTreeMap::new());
    assert_eq!(
        said(&hub, Kind::ExternalVtep, "sw"),
        [format!("Ready=True Programmed: revision {revision} is in the kernel of 1 nodes")]
    );
    let Some(Object::ExternalVtep(vtep)) = hub.list(Kind::ExternalVtep, None, None).pop() else {
        panic!("no external VTEP");
    };
    let network = &vtep.status.unwrap().networks[0];
    assert_eq!((network.vni, network.mtu), (Some(100), Some(1450)));
    let told = hub.instructions("n1");
    assert_eq!(told.vteps.keys().collect::<Vec<_>>(), ["ExternalVTEP/sw"]);
    assert!(told.hosts.values().any(|host| host.place == Place::Vtep("ExternalVTEP/sw".into())));
}

#[test]
fn a_node_that_comes_with_an_external_vteps_address_is_left_out_and_told() {
    let hub = hub();
    apply(&hub, BLUE);
    apply(&hub, SWITCH);
    hub.hello(hello("n1", "192.0.2.9", 7000), None).unwrap();
    let clash = "VTEP address 192.0.2.9 is in use by ExternalVTEP sw";
    assert_eq!(
        said(&hub, Kind::L2Node, "n1"),
        [
            format!("Ready=False VTEPConflict: {clash}"),
            format!("VTEPConflict=True HeldByAnother: {clash}")
        ]
    );
    assert_eq!(said(&hub, Kind::ExternalVtep, "sw").len(), 1);
    hub.hello(hello("n2", "192.0.2.2", 7000), None).unwrap();
    attach(&hub, "n2");
    assert_eq!(hub.instructions("n2").vteps.len(), 1, "the older one acts");
}

#[test]
fn a_node_with_another_port_is_told_both_and_the_cure() {
    let hub = hub();
    for (node, vtep, port) in
        [("n1", "192.0.2.1", 4789), ("n2", "192.0.2.2", 7000), ("n3", "192.0.2.3", 7000)]
    {
        hub.hello(hello(node, vtep, port), None).unwrap();
        hub.ack(node, 9, BTreeMap::new());
    }
    let told = said(&hub, Kind::L2Node, "n1");
    let why = "its tunnels use UDP port 4789, those of n2, n3 use 7000: start its agent with --vxlan-port 7000";
    assert_eq!(
        told,
        [format!("Ready=False PortMismatch: {why}"), format!("PortMismatch=True OtherPort: {why}")]
    );
    assert_eq!(said(&hub, Kind::L2Node, "n2").len(), 1);
}

#[test]
fn of_two_stores_merged_the_younger_object_is_told() {
    let object = |kind: &str, name: &str, created: &str, rest: &str| {
        let namespace = if kind == "ExternalVTEP" { "" } else { "default" };
        (
            format!("{kind}/{namespace}/{name}"),
            format!(
                r#"{{"apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "{kind}", "metadata": {{"name": "{name}", "namespace": "{namespace}", "uid": "{kind}-{name}", "creationTimestamp": "{created}"}}, {rest}}}"#
            ),
        )
    };
    let network = r#""spec": {"type": "vnet", "vni": 100}, "status": {"vni": 100}"#;
    let pod = |node: &str| {
        format!(
            r#""spec": {{"network": "red", "node": "{node}", "ifname": "net1", "mac": "02:00:00:00:00:09", "ips": ["10.34.0.9/16"]}}"#
        )
    };
    let switch = r#""spec": {"address": "192.0.2.9", "networks": [{"name": "red", "hosts": [{"mac": "02:00:00:00:00:0a", "ips": ["10.34.0.9"]}]}]}"#;
    let mut store = MemoryStore::new("s");
    let put = vec![
        object("L2Network", "blue", "2026-01-02T00:00:00Z", network),
        object("L2Network", "red", "2026-01-01T00:00:00Z", network),
        object("L2Attachment", "a", "2026-01-04T00:00:00Z", &pod("n1")),
        object("L2Attachment", "b", "2026-01-03T00:00:00Z", &pod("n2")),
        object("ExternalVTEP", "sw", "2026-01-05T00:00:00Z", switch),
    ];
    store.commit(&Batch { put, revision: 1, ..Batch::default() }).unwrap();
    let hub = Hub::open(Box::new(store)).unwrap();
    let blue = said(&hub, Kind::L2Network, "blue");
    assert_eq!(blue[0], "Ready=False VNIConflict: VNI 100 is in use by default/red");
    assert_eq!(blue[1], "VNIConflict=True HeldByAnother: VNI 100 is in use by default/red");
    assert_eq!(said(&hub, Kind::L2Network, "red").len(), 1);
    let younger = said(&hub, Kind::L2Attachment, "a");
    let clash = "MAC address 02:00:00:00:00:09 is in use by default/b";
    assert_eq!(younger[0], format!("Ready=False AddressInUse: {clash}"));
    assert_eq!(younger[1], format!("AddressInUse=True HeldByAnother: {clash}"));
    assert_eq!(said(&hub, Kind::L2Attachment, "b").len(), 1);
    let switch = said(&hub, Kind::ExternalVtep, "sw");
    assert_eq!(
        switch[1],
        "AddressInUse=True HeldByAnother: hosts left out: address 10.34.0.9 is in use by default/b"
    );
}

#[test]
fn what_acts_later_says_so() {
    let hub = hub();
    let provider = "provider: {name: a, domain: b}";
    let config = "nodeConfig: {nodeName: n1, ipAddress: <node-ip-address>}";
    apply(
        &hub,
        &format!(
            "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: NetworkEdgeDevice\nmetadata: {{name: a}}\nspec: {{{provider}, {config}}}\n"
        ),
    );
    let device = said(&hub, Kind::NetworkEdgeDevice, "a");
    assert!(device[0].starts_with("Ready=False NotActingYet: "), "{device:?}");
    assert_eq!(
        device[1],
        "AddressUnusable=True NotAnAddress: spec.nodeConfig.ipAddress: \"<node-ip-address>\" is not an IP address"
    );
}

const FEW: &str = "
apiVersion: l2sm.l2sm.k8s.local/v1
kind: Overlay
metadata: {name: few}
spec: {provider: {name: a, domain: b}, topology: {nodes: [n2, n3, n9]}}
";

#[test]
fn an_overlay_says_who_is_in_it_and_an_attachment_outside_stays_and_says_so() {
    let hub = hub();
    apply(&hub, BLUE);
    hub.hello(hello("n1", "192.0.2.1", 7000), None).unwrap();
    hub.hello(hello("n2", "192.0.2.2", 7000), None).unwrap();
    let revision = attach(&hub, "n1");
    hub.ack("n1", revision, BTreeMap::new());

    apply(&hub, FEW);
    assert_eq!(
        said(&hub, Kind::Overlay, "few"),
        [
            "Ready=True InForce: nodes in it: 1; pods of others join no network; no node is called n3, n9",
            "NotActing=True NotImplementedYet: stored, and does not act yet: spec.topology.links",
        ]
    );
    let key = hub.catalog().attachments.keys().next().unwrap().name.clone();
    let held = said(&hub, Kind::L2Attachment, &key);
    assert!(held[0].starts_with("Ready=True Programmed: "), "{held:?}");
    let why = "node n1 is not in Overlay default/few: see its spec.topology.nodes";
    assert_eq!(
        held[1],
        format!(
            "NodeNotInOverlay=True NotInTopology: {why}; the attachment stays until its pod ends"
        )
    );
    // A label that says otherwise.
    let names = [("n1".to_owned(), Some("n3".to_owned())), ("n2".to_owned(), None)];
    hub.name_nodes(names.into());
    assert_eq!(said(&hub, Kind::L2Attachment, &key).len(), 1);
    let overlay = said(&hub, Kind::Overlay, "few");
    assert!(overlay[0].contains("nodes in it: 2;") && overlay[0].ends_with(" n9"), "{overlay:?}");
}

#[test]
fn fields_and_labels_that_do_not_act_are_named() {
    let hub = hub();
    let head = "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: ";
    let provider = "provider: {name: a, domain: b}, switchTemplate: {}, monitor: {}";
    for kind in ["Overlay", "NetworkEdgeDevice"] {
        apply(&hub, &format!("{head}{kind}\nmetadata: {{name: a}}\nspec: {{{provider}}}\n"));
    }
    let attachment = "metadata: {name: x, labels: {l2sm/app: ping}}\nspec: {network: blue, node: n1, ifname: net1}";
    apply(&hub, &format!("{head}L2Network\nmetadata: {{name: blue}}\nspec: {{type: vnet}}\n"));
    apply(&hub, &format!("{head}L2Attachment\n{attachment}\n"));

    let named = |kind, name| said(&hub, kind, name).pop().unwrap();
    let not_acting = "NotActing=True NotImplementedYet: stored, and does not act yet: ";
    let fields = format!("{not_acting}spec.switchTemplate, spec.monitor");
    assert_eq!(named(Kind::Overlay, "a"), fields);
    assert_eq!(named(Kind::NetworkEdgeDevice, "a"), fields);
    assert_eq!(named(Kind::L2Attachment, "x"), format!("{not_acting}label l2sm/app"));
}

#[test]
fn a_condition_keeps_its_time_until_its_status_flips() {
    static NOW: AtomicI64 = AtomicI64::new(100);
    let clock = || jiff::Timestamp::from_second(NOW.load(Ordering::Relaxed)).unwrap();
    let hub = Hub::open_at(Box::new(MemoryStore::new("s")), clock).unwrap();
    let since = || {
        let ready = conditions(&hub, Kind::L2Node, "n1").remove(0);
        (ready.status == ConditionStatus::True, ready.last_transition_time.unwrap().as_second())
    };
    let stream = hub.hello(hello("n1", "192.0.2.1", 7000), None).unwrap();
    NOW.store(200, Ordering::Relaxed);
    assert_eq!(since(), (false, 100), "connected, and nothing acked");
    hub.ack("n1", 1, BTreeMap::new());
    NOW.store(300, Ordering::Relaxed);
    assert_eq!(since(), (true, 200), "noted when it happened, not when somebody looked");
    hub.leave("n1", stream);
    assert_eq!(since(), (false, 300));
}

#[test]
fn an_mtu_that_the_underlay_does_not_take_is_said_once_two_nodes_meet() {
    let hub = hub();
    apply(&hub, &BLUE.replace("vni: 100", "vni: 100, mtu: 9000"));
    let told = || {
        let said = said(&hub, Kind::L2Network, "blue").into_iter();
        said.filter(|line| line.starts_with("MTUTooLarge")).collect::<Vec<_>>()
    };
    hub.hello(hello("n1", "192.0.2.1", 7000), None).unwrap();
    hub.hello(hello("n2", "192.0.2.2", 7000), None).unwrap();
    attach(&hub, "n1");
    assert_eq!(told(), [""; 0], "between its pods nothing is in the way");

    attach(&hub, "n2");

    let why = "spec.mtu is 9000, and the underlay between its nodes takes 1450: larger packets go in fragments by \
               the slow path, or are refused where they may not be fragmented";
    assert_eq!(told(), [format!("MTUTooLarge=True UnderlaySmaller: {why}")]);

    apply(&hub, &BLUE.replace("vni: 100", "vni: 100, mtu: 1450"));
    assert_eq!(told(), [""; 0]);
}
