use l2sm_api::objects::{L2Node, parse_documents};
use l2sm_core::ipam::Wanted;

use super::*;
use crate::{
    hub::{AgentHello, Hub},
    place::PodOrder,
    refusal::Refusal,
    store::{Batch, Contents, MemoryStore, Meta, Store},
};

/// A store that completes what it is given, as an API server does, and can be away.
#[derive(Clone, Default)]
struct Api {
    away: std::sync::Arc<std::sync::atomic::AtomicBool>,
    batches: std::sync::Arc<std::sync::Mutex<Vec<Batch>>>,
}

impl Store for Api {
    fn load(&self) -> Result<Contents, StoreError> {
        let meta = Meta { source: "s".into(), epoch: 1, revision: 1, last_vni: 0 };
        Ok(Contents { meta, objects: Vec::new() })
    }

    fn commit(&mut self, batch: &Batch) -> Result<Vec<Object>, StoreError> {
        if self.away.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(StoreError::Away("away".into()));
        }
        self.batches.lock().unwrap().push(batch.clone());
        let attachments = batch.put.iter().filter(|(key, _)| key.starts_with("L2Attachment/"));
        let completed = attachments.map(|(_, json)| {
            let mut attachment: l2sm_api::objects::L2Attachment =
                serde_json::from_str(json).unwrap();
            attachment.metadata.uid = format!("api-{}", attachment.metadata.name);
            Object::L2Attachment(Box::new(attachment))
        });
        Ok(completed.collect())
    }
}

fn hub(api: &Api) -> Hub {
    Hub::open(Box::new(api.clone())).unwrap().of_operator()
}

fn network(name: &str, uid: &str, created: &str, spec: &str) -> Object {
    let yaml = format!(
        "apiVersion: l2sm.l2sm.k8s.local/v1\nkind: L2Network\nmetadata: {{name: {name}}}\nspec: {{type: vnet{spec}}}"
    );
    let mut object = parse_documents("f", &yaml).unwrap().remove(0).object;
    object.metadata_mut().uid = uid.into();
    object.metadata_mut().creation_timestamp = Some(created.parse().unwrap());
    object
}

fn order(name: &str, network: &str) -> PodOrder {
    PodOrder {
        name: name.into(),
        namespace: "default".into(),
        network: Some(ObjectKey::new("default", network)),
        node: "n1".into(),
        pod: name.into(),
        pod_uid: format!("uid-{name}"),
        ifname: "net1".into(),
        ..PodOrder::default()
    }
}

/// The same on another node.
fn elsewhere(name: &str) -> PodOrder {
    PodOrder { node: "n2".into(), ..order(name, "blue") }
}

/// The same with the address that the first one gets.
fn with_first(order: PodOrder) -> PodOrder {
    let ip = "10.0.0.1".parse().unwrap();
    PodOrder { ips: vec![Wanted { ip, prefix_len: None }], ..order }
}

fn hello(node: &str, vtep: &str) -> AgentHello {
    AgentHello {
        node: node.into(),
        spec: l2sm_api::objects::L2NodeSpec {
            vtep_addresses: vec![vtep.parse().unwrap()],
            udp_port: 7000,
            underlay_mtu: 1500,
        },
        ..AgentHello::default()
    }
}

fn vni(hub: &Hub, name: &str) -> Option<u32> {
    let catalog = hub.catalog();
    let network = catalog.networks.get(&ObjectKey::new("default", name))?;
    vni_of(network).map(Vni::get)
}

fn ready(hub: &Hub, kind: Kind, name: &str) -> (bool, String) {
    let mut object = hub.list(kind, None, Some(name)).remove(0);
    let ready = object.conditions_mut().unwrap().remove(0);
    (ready.status == l2sm_api::objects::ConditionStatus::True, ready.reason)
}

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-02-01T00:00:00Z";

#[test]
fn a_network_has_its_vni_written_before_anybody_hears_of_it() {
    let api = Api::default();
    let hub = hub(&api);
    api.away.store(true, std::sync::atomic::Ordering::Relaxed);

    let away = hub.observe(vec![network("blue", "u1", OLD, "")], &[]);

    assert!(matches!(away, Err(StoreError::Away(_))));
    assert_eq!(vni(&hub, "blue"), None);
    assert!(hub.subscribe().borrow().plan.instructions("n1").segments.is_empty());
    api.away.store(false, std::sync::atomic::Ordering::Relaxed);
    hub.observe(Vec::new(), &[]).unwrap();
    assert_eq!(vni(&hub, "blue"), Some(1_048_576));
    assert_eq!(api.batches.lock().unwrap().len(), 1);
}

#[test]
fn a_vni_stays_whatever_an_older_view_of_the_network_says() {
    let hub = hub(&Api::default());
    hub.observe(vec![network("blue", "u1", OLD, "")], &[]).unwrap();

    // The watch shows the network as it was before its VNI was written, with another MTU.
    hub.observe(vec![network("blue", "u1", OLD, ", mtu: 1400")], &[]).unwrap();

    assert_eq!(vni(&hub, "blue"), Some(1_048_576));
    hub.observe(vec![network("blue", "u2", NEW, "")], &[]).unwrap();
    assert_eq!(vni(&hub, "blue"), Some(1_048_577), "another network of that name");
}

#[test]
fn of_two_networks_with_one_vni_the_older_has_it() {
    let hub = hub(&Api::default());

    hub.observe(vec![network("b", "u1", NEW, ", vni: 100")], &[]).unwrap();
    hub.observe(vec![network("a", "u2", OLD, ", vni: 100")], &[]).unwrap();

    assert_eq!((vni(&hub, "a"), vni(&hub, "b")), (Some(100), Some(100)));
    assert!(ready(&hub, Kind::L2Network, "a").0);
    assert_eq!(ready(&hub, Kind::L2Network, "b"), (false, "VNIConflict".into()));
    let old = ObjectRef::new(Kind::L2Network, ObjectKey::new("default", "a"));
    hub.observe(Vec::new(), &[old]).unwrap();
    assert!(ready(&hub, Kind::L2Network, "b").0, "it is free again");
}

#[test]
fn an_attachment_is_known_by_what_the_store_made_of_it() {
    let api = Api::default();
    let hub = hub(&api);
    hub.observe(vec![network("blue", "u1", OLD, ", networkCIDR: 10.0.0.0/29")], &[]).unwrap();

    hub.place(&order("a", "blue")).unwrap();

    let catalog = hub.catalog();
    let key = ObjectKey::new("default", "a");
    let held = catalog.attachments.get(&key).unwrap();
    assert_eq!(held.metadata.uid, "api-a");
    assert_eq!(held.spec.ips, ["10.0.0.1/29"]);
    // The watch shows it too: that is no news.
    let before = hub.status().revision;
    hub.observe(vec![Object::L2Attachment(Box::new(held.as_ref().clone()))], &[]).unwrap();
    assert_eq!(hub.status().revision, before);
}

#[test]
fn what_the_store_does_not_take_is_not_there() {
    let api = Api::default();
    let hub = hub(&api);
    hub.observe(vec![network("blue", "u1", OLD, ", networkCIDR: 10.0.0.0/30")], &[]).unwrap();
    api.away.store(true, std::sync::atomic::Ordering::Relaxed);

    let away = hub.place(&order("a", "blue"));

    assert!(matches!(away, Err(Refusal::Store(StoreError::Away(_)))));
    assert!(hub.catalog().attachments.is_empty());
    api.away.store(false, std::sync::atomic::Ordering::Relaxed);
    hub.place(&order("a", "blue")).unwrap();
    hub.place(&order("b", "blue")).unwrap();
    let full = hub.place(&order("c", "blue"));
    assert!(matches!(full, Err(Refusal::Exhausted(_))), "{full:?}");
    hub.withdraw(&[ObjectKey::new("default", "a"), ObjectKey::new("default", "none")]).unwrap();
    assert_eq!(hub.catalog().attachments.len(), 1);
}

#[test]
fn an_address_goes_out_again_only_after_its_node_let_go() {
    let hub = hub(&Api::default());
    hub.observe(vec![network("blue", "u1", OLD, ", networkCIDR: 10.0.0.0/29")], &[]).unwrap();
    hub.hello(hello("n1", "192.0.2.1"), None).unwrap();
    hub.hello(hello("n2", "192.0.2.2"), None).unwrap();
    hub.place(&order("a", "blue")).unwrap();
    let a = [ObjectKey::new("default", "a")];
    assert_eq!(hub.withdraw(&a).unwrap(), a, "its node may still forward for it");
    let without = hub.status().revision;
    assert_eq!(hub.instructions("n1").ports.len(), 0);
    assert_eq!(ready(&hub, Kind::L2Attachment, "a"), (false, "Leaving".into()));
    hub.place(&elsewhere("b")).unwrap();
    let taken = hub.place(&with_first(elsewhere("c"))).unwrap_err().to_string();
    assert_eq!(taken, "network default/blue: address 10.0.0.1 is in use by default/a");
    assert_eq!(hub.withdraw(&a).unwrap(), a);

    hub.ack("n1", without, BTreeMap::new());
    assert_eq!(hub.withdraw(&a).unwrap(), []);
    hub.place(&with_first(elsewhere("c"))).unwrap();
    let ips = |name: &str| {
        hub.catalog().attachments.get(&ObjectKey::new("default", name)).unwrap().spec.ips.clone()
    };
    assert_eq!((ips("b"), ips("c")), (vec!["10.0.0.2/29".into()], vec!["10.0.0.1/29".into()]));
}

#[test]
fn an_address_waits_for_its_node_also_when_others_removed_its_attachment() {
    let hub = hub(&Api::default());
    hub.observe(vec![network("blue", "u1", OLD, ", networkCIDR: 10.0.0.0/29")], &[]).unwrap();
    hub.hello(hello("n1", "192.0.2.1"), None).unwrap();
    hub.place(&order("a", "blue")).unwrap();
    let a = ObjectKey::new("default", "a");
    drop(hub.withdraw(std::slice::from_ref(&a)).unwrap());
    // As where a namespace goes.
    hub.observe(Vec::new(), &[ObjectRef::new(Kind::L2Attachment, a)]).unwrap();
    let taken = hub.place(&with_first(elsewhere("b")));
    assert!(matches!(taken, Err(Refusal::AlreadyExists(_))), "{taken:?}");
    let n1 = ObjectRef::new(Kind::L2Node, ObjectKey::new("", "n1"));
    hub.observe(Vec::new(), &[n1]).unwrap();
    hub.place(&with_first(elsewhere("b"))).unwrap();
}

#[test]
fn a_network_shows_the_address_that_it_gave_last_also_when_it_is_free_again() {
    let last = |hub: &Hub| {
        let shown = hub.list(Kind::L2Network, None, Some("blue")).remove(0);
        let Object::L2Network(network) = shown else { panic!("{shown:?}") };
        network.status.unwrap().last_assigned_ip
    };
    let api = Api::default();
    let first = hub(&api);
    let cidr = ", networkCIDR: 10.0.0.0/24";
    first.observe(vec![network("blue", "u1", OLD, cidr)], &[]).unwrap();
    assert_eq!(last(&first), None);
    for name in ["b", "a"] {
        first.place(&order(name, "blue")).unwrap();
    }
    assert_eq!(last(&first).as_deref(), Some("10.0.0.2"));
    let gone = first.withdraw(&[ObjectKey::new("default", "a")]).unwrap();
    assert_eq!((gone, last(&first).as_deref()), (vec![], Some("10.0.0.2")), "a was given it");

    // As the next holder finds it, and as the watch shows an older status of it.
    let mut shown = network("blue", "u1", OLD, cidr);
    let Object::L2Network(blue) = &mut shown else { panic!() };
    let last_assigned_ip = Some("10.0.0.9".to_owned());
    blue.status = Some(L2NetworkStatus { last_assigned_ip, ..L2NetworkStatus::default() });
    first.observe(vec![shown.clone()], &[]).unwrap();
    assert_eq!(last(&first).as_deref(), Some("10.0.0.2"));
    let next = hub(&api);
    next.observe(vec![shown], &[]).unwrap();
    assert_eq!(last(&next).as_deref(), Some("10.0.0.9"));
    next.place(&order("c", "blue")).unwrap();
    assert_eq!(last(&next).as_deref(), Some("10.0.0.1"));
}

#[test]
fn orders_are_tried_without_what_they_replace_and_nothing_changes() {
    let hub = hub(&Api::default());
    let narrow = ", networkCIDR: 10.0.0.0/30";
    hub.observe(vec![network("blue", "u1", OLD, narrow)], &[]).unwrap();
    hub.place(&order("a", "blue")).unwrap();
    hub.place(&order("b", "blue")).unwrap();
    let revision = hub.status().revision;
    let tried = |gone: &[&str], orders: &[PodOrder]| -> Vec<Option<String>> {
        let gone: Vec<_> = gone.iter().map(|name| ObjectKey::new("default", *name)).collect();
        let tried = hub.try_orders(&gone, orders).into_iter();
        tried.map(|tried| tried.err().map(|why| why.to_string())).collect()
    };

    let first = with_first(order("b", "blue"));
    let held = "network default/blue: address 10.0.0.1 is in use by default/a";
    assert_eq!(tried(&["b"], std::slice::from_ref(&first)), [Some(held.to_owned())]);
    assert_eq!(tried(&["a", "b"], &[first, order("a", "blue")]), [None, None], "they swap");
    let full = tried(&["a"], &[order("a", "blue"), order("c", "blue")]);
    assert!(full[0].is_none() && full[1].is_some(), "{full:?}");
    let unknown = tried(&["a"], &[order("a", "red")]);
    assert_eq!(unknown, [Some("there is no network default/red".to_owned())]);

    assert_eq!((hub.status().revision, hub.status().attachments), (revision, 2));
}

#[test]
fn an_attachment_that_leaves_goes_with_its_node_and_another_one_of_its_name_stays() {
    let hub = hub(&Api::default());
    hub.observe(vec![network("blue", "u1", OLD, ", networkCIDR: 10.0.0.0/29")], &[]).unwrap();
    hub.hello(hello("n1", "192.0.2.1"), None).unwrap();
    hub.place(&order("a", "blue")).unwrap();
    hub.place(&order("b", "blue")).unwrap();
    let both = ["a", "b"].map(|name| ObjectKey::new("default", name));
    assert_eq!(hub.withdraw(&both).unwrap(), both);
    let catalog = hub.catalog();
    let mut other = catalog.attachments.get(&both[1]).unwrap().as_ref().clone();
    other.metadata.uid = "another".into();
    hub.observe(vec![Object::L2Attachment(Box::new(other))], &[]).unwrap();
    assert_eq!(hub.catalog().leaving.keys().collect::<Vec<_>>(), [&both[0]]);
    assert!(hub.instructions("n1").ports.contains_key(&both[1]));

    hub.observe(Vec::new(), &[ObjectRef::new(Kind::L2Node, ObjectKey::new("", "n1"))]).unwrap();
    assert_eq!(hub.withdraw(&both[..1]).unwrap(), []);
    assert_eq!(hub.catalog().attachments.keys().collect::<Vec<_>>(), [&both[1]]);
}

#[test]
fn nobody_gets_an_address_that_stands_in_what_cannot_be_read() {
    let hub = hub(&Api::default());
    hub.observe(vec![network("blue", "u1", OLD, ", networkCIDR: 10.0.0.0/29")], &[]).unwrap();
    let (a, blue) = (ObjectKey::new("default", "a"), ObjectKey::new("default", "blue"));
    hub.withhold(&[(a, vec![(blue, "10.0.0.1".parse().unwrap())])].into());
    let taken = hub.place(&with_first(order("b", "blue"))).unwrap_err().to_string();
    assert_eq!(taken, "network default/blue: address 10.0.0.1 is in use by default/a");
    hub.place(&order("c", "blue")).unwrap();
    let c = hub.catalog().attachments[&ObjectKey::new("default", "c")].spec.ips.clone();
    assert_eq!(c, ["10.0.0.2/29"]);
    hub.withhold(&BTreeMap::new());
    hub.place(&with_first(order("b", "blue"))).unwrap();
}

#[test]
fn what_an_agent_said_is_not_overwritten_by_what_is_shown_of_its_node() {
    let hub = hub(&Api::default());
    let spec = l2sm_api::objects::L2NodeSpec {
        vtep_addresses: vec!["192.0.2.1".parse().unwrap()],
        udp_port: 7000,
        underlay_mtu: 1500,
    };
    let hello = AgentHello { node: "n1".into(), spec, version: "v1".into(), ..Default::default() };
    hub.hello(hello, None).unwrap();
    hub.ack("n1", hub.status().revision, BTreeMap::new());
    let Object::L2Node(mut shown) = hub.list(Kind::L2Node, None, None).remove(0) else { panic!() };

    let status = shown.status.as_mut().unwrap();
    status.agent_version = "v0".into();
    status.conditions = vec![l2sm_api::objects::Condition::ready(false, "Away", "")];
    hub.observe(vec![Object::L2Node(Box::new(L2Node { ..*shown }))], &[]).unwrap();

    assert!(ready(&hub, Kind::L2Node, "n1").0);
    assert_eq!(hub.status().nodes[0].version, "v1");
}

#[test]
fn agents_cannot_ask_an_operators_hub_for_attachments() {
    let hub = Hub::open(Box::new(MemoryStore::new("s"))).unwrap().of_operator();
    let refused = hub.attach(&crate::attach::AttachOrder::default());
    assert!(matches!(refused, Err(Refusal::Precondition(_))));
    assert!(!hub.by_request());
}

#[test]
fn pods_in_trouble_are_told_to_their_node_until_they_are_out_of_it() {
    use l2sm_api::grpc::v1::EntryProblem;
    let hub = hub(&Api::default());
    let notices = hub.notices();
    let problem = EntryProblem { message: "no such network".into(), ..EntryProblem::default() };

    hub.notify("n1", "u1", vec![problem.clone()]);

    assert_eq!(notices.borrow()["n1"]["u1"], [problem]);
    hub.notify("n1", "u1", Vec::new());
    assert!(notices.borrow()["n1"].is_empty());
}
