use l2sm_api::objects::{Kind, L2Node, Object};
use l2sm_controller::catalog::Catalog;
use l2sm_core::ipam::Wanted;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::wishes::Place;

/// An object; those of higher `age` are younger.
fn object<T: DeserializeOwned>(
    kind: Kind,
    namespace: &str,
    name: &str,
    age: usize,
    spec: &Value,
    vni: u32,
) -> T {
    let object = json!({
        "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": kind.name(),
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{kind}-{name}"),
            "creationTimestamp": format!("2026-01-0{age}T00:00:00Z"),
        },
        "spec": spec, "status": if vni == 0 { Value::Null } else { json!({"vni": vni}) },
    });
    serde_json::from_value(object).unwrap()
}

/// Networks `red`, and `blue` with a range, where pod `a` of node `n1` has `net1` with 10.0.0.5.
struct Shop {
    blue_vni: u32,
    n1_vtep: &'static str,
    cidr: &'static str,
    /// Another station, an older one, has the address.
    taken: bool,
}

const GOOD: Shop = Shop { blue_vni: 8, n1_vtep: "192.0.2.1", cidr: "10.0.0.0/24", taken: false };

impl Shop {
    fn catalog(&self) -> Catalog {
        let mut catalog = Catalog::default();
        let (vnet, blue) =
            (json!({"type": "vnet"}), json!({"type": "vnet", "networkCIDR": self.cidr}));
        let red = object(Kind::L2Network, "shop", "red", 1, &vnet, 7);
        catalog.put(Object::L2Network(Box::new(red)));
        let blue = object(Kind::L2Network, "shop", "blue", 2, &blue, self.blue_vni);
        catalog.put(Object::L2Network(Box::new(blue)));
        for (name, age, vtep) in [("n0", 1, "192.0.2.9"), ("n1", 2, self.n1_vtep)] {
            let spec = json!({"vtepAddresses": [vtep], "udpPort": 7000, "underlayMTU": 1500});
            let node: L2Node = object(Kind::L2Node, "", name, age, &spec, 0);
            catalog.put(Object::L2Node(Box::new(node)));
        }
        let pods = [("b-net1", 1, "n0", self.taken), ("a-net1", 2, "n1", true)];
        for (name, age, node, _) in pods.into_iter().filter(|(.., there)| *there) {
            let spec = json!({
                "network": "blue", "node": node, "ifname": "net1", "ips": ["10.0.0.5/24"],
                "mac": format!("02:00:00:00:00:0{age}"),
            });
            let held = object(Kind::L2Attachment, "shop", name, age, &spec, 0);
            catalog.put(Object::L2Attachment(Box::new(held)));
        }
        catalog
    }

    /// `reason: message` of what is found for the pod, which chose its address or not.
    fn found(&self, chosen: bool) -> Vec<String> {
        let catalog = self.catalog();
        let held: Vec<_> = catalog.attachments.values().map(AsRef::as_ref).collect();
        let held: Vec<&L2Attachment> =
            held.into_iter().filter(|held| held.metadata.name == "a-net1").collect();
        let pod =
            Pod { key: ObjectKey::new("shop", "a"), node: Some("n1".into()), ..Pod::default() };
        let wanted = Wanted { ip: [10, 0, 0, 5].into(), prefix_len: None };
        let interface = Interface {
            place: Place { multus: false, entry: 0 },
            ifname: "net1".into(),
            network: ObjectKey::new("shop", "blue"),
            ips: if chosen { vec![wanted] } else { vec![] },
            mac: None,
        };
        let plan = Plan::new(&catalog.world());
        let network = |key: &ObjectKey| catalog.networks.get(key).map(AsRef::as_ref);
        let found = find_problems(&pod, &[interface], &held, &plan, network);
        assert!(found.iter().all(|problem| problem.ifname.as_deref() == Some("net1")));
        found.iter().map(|problem| format!("{}: {}", problem.reason, problem.message)).collect()
    }
}

#[test]
fn nothing_is_wrong_with_what_acts() {
    assert_eq!(GOOD.found(false), [""; 0]);
    assert_eq!(GOOD.found(true), [""; 0]);
}

#[test]
fn a_pod_is_told_that_its_network_or_its_node_does_not_act() {
    let network = Shop { blue_vni: 7, ..GOOD };
    let clash = "VNIConflict: network shop/blue: VNI 7 is in use by shop/red";
    assert_eq!(network.found(false), [clash]);
    let node = Shop { n1_vtep: "192.0.2.9", ..GOOD };
    let clash = "VTEPConflict: node n1: VTEP address 192.0.2.9 is in use by node n0";
    assert_eq!(node.found(false), [clash]);
}

#[test]
fn a_pod_is_told_of_an_address_that_it_chose_and_another_has() {
    let taken = Shop { taken: true, ..GOOD };
    assert_eq!(taken.found(true), ["AddressInUse: address 10.0.0.5 is in use by shop/b-net1"]);
    assert_eq!(taken.found(false), [""; 0], "it gets another one");
}

#[test]
fn a_pod_is_told_that_its_network_was_changed_under_its_address_and_keeps_it() {
    let changed = Shop { cidr: "10.9.0.0/24", ..GOOD };
    let outside = "AddressesOutside: network shop/blue was changed, and 10.0.0.5 is outside of it: kept until the pod is made anew";
    assert_eq!(changed.found(false), [outside]);
    assert_eq!(changed.found(true), [outside]);
}
