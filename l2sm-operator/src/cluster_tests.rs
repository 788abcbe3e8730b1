use serde_json::Value;

use super::*;

fn network(name: &str, uid: &str, version: u64) -> Stored {
    Stored {
        reference: ObjectRef::new(Kind::L2Network, ObjectKey::new("shop", name)),
        uid: uid.into(),
        version,
        generation: 1,
        deleting: false,
        in_use: false,
        of_pod: false,
        status: Value::Null,
        claims: vec![],
        object: Err("not looked at".into()),
    }
}

fn see(cluster: &mut Cluster, change: Change<Stored>) -> Vec<(String, Option<String>)> {
    cluster.take(Seen::Ours(Kind::L2Network, change));
    let news = cluster.take_news().ours.into_iter();
    news.map(|(reference, gone)| (reference.key.name, gone)).collect()
}

#[test]
fn a_list_tells_what_went_while_nobody_watched() {
    let mut cluster = Cluster::default();
    see(&mut cluster, Change::All(vec![network("a", "u1", 1), network("b", "u2", 2)]));
    let news = see(&mut cluster, Change::All(vec![network("b", "u2", 2)]));
    assert_eq!(news, [("a".into(), Some("u1".into()))]);
    assert_eq!(cluster.ours.len(), 1);
}

#[test]
fn an_object_that_was_made_anew_under_its_name_is_another_one() {
    let mut cluster = Cluster::default();
    see(&mut cluster, Change::Put(network("a", "u1", 1)));
    let news = see(&mut cluster, Change::Put(network("a", "u2", 5)));
    assert_eq!(news, [("a".into(), Some("u1".into()))]);
    // Gone and made anew between two looks.
    cluster.take(Seen::Ours(Kind::L2Network, Change::Gone(network("a", "u2", 6))));
    let news = see(&mut cluster, Change::Put(network("a", "u3", 7)));
    assert_eq!(news, [("a".into(), Some("u2".into()))]);
}

#[test]
fn what_is_known_already_is_no_news() {
    let mut cluster = Cluster::default();
    see(&mut cluster, Change::Put(network("a", "u1", 5)));
    assert_eq!(see(&mut cluster, Change::Put(network("a", "u1", 4))), []);
    assert_eq!(see(&mut cluster, Change::Put(network("a", "u1", 5))), []);
}

#[test]
fn nothing_is_complete_before_every_kind_was_listed() {
    let mut cluster = Cluster::default();
    let lists = [
        Seen::Pod(Change::All(vec![])),
        Seen::Node(Change::All(vec![])),
        Seen::Namespace(Change::All(vec![])),
        Seen::Nad(Change::All(vec![])),
    ];
    let ours = Kind::ALL.map(|kind| Seen::Ours(kind, Change::All(vec![])));
    for list in lists.into_iter().chain(ours) {
        assert!(!cluster.is_synced(), "before {list:?}");
        cluster.take(list);
    }
    assert!(cluster.is_synced());
}

#[test]
fn pods_that_do_not_concern_us_are_not_kept() {
    let pod = |name: &str, networks: Option<&str>| Pod {
        key: ObjectKey::new("shop", name),
        runtime_uid: format!("uid-{name}"),
        networks: networks.map(str::to_owned),
        ..Pod::default()
    };
    let mut cluster = Cluster::default();
    let all = vec![pod("a", Some("blue")), pod("b", None)];
    cluster.take(Seen::Pod(Change::All(all)));
    assert_eq!(cluster.take_news().pods.len(), 1);
    // One that asks no more still has what it had.
    cluster.take(Seen::Pod(Change::Put(pod("a", None))));
    assert_eq!((cluster.pods.len(), cluster.take_news().pods.len()), (1, 1));
    cluster.take(Seen::Pod(Change::Gone(pod("a", None))));
    let ended = RuntimePod { namespace: "shop".into(), uid: "uid-a".into() };
    assert_eq!(cluster.take_news().ended, [ended].into());
}

#[test]
fn nads_are_known_once_the_cluster_has_their_definition() {
    let mut cluster = Cluster::default();
    cluster.take(Seen::NoNads);
    assert!(!cluster.knows_nads);
    assert!(cluster.synced.contains("nads"), "nobody waits for it");
    let owner = Some("u1".to_owned());
    cluster.take(Seen::Nad(Change::All(vec![Nad { owner, ..Nad::default() }])));
    assert!(cluster.knows_nads && cluster.take_news().without_nad.is_empty());
    // As after the definition was made anew.
    cluster.take(Seen::Nad(Change::All(vec![])));
    assert_eq!(cluster.take_news().without_nad, ["u1".to_owned()].into());
}
