use super::*;

fn node(vteps: &[&str]) -> L2Node {
    serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "L2Node", "metadata": {"name": "n1"},
        "spec": {"vtepAddresses": vteps, "udpPort": 7000, "underlayMTU": 1500},
    }))
    .unwrap()
}

#[test]
fn a_vtep_address_is_the_nodes_own_or_in_a_named_range() {
    let owner: ApiNode = serde_json::from_value(json!({
        "metadata": {"name": "n1"},
        "status": {"addresses": [
            {"type": "InternalIP", "address": "192.0.2.1"},
            {"type": "Hostname", "address": "n1"},
        ]},
    }))
    .unwrap();
    let cidrs: Vec<IpNet> = vec!["198.51.100.0/24".parse().unwrap()];
    assert!(check_vteps(&node(&["192.0.2.1"]), &owner, &[]).is_ok());
    assert!(check_vteps(&node(&["192.0.2.1", "198.51.100.7"]), &owner, &cidrs).is_ok());
    for strange in ["192.0.2.2", "198.51.101.1"] {
        let why = check_vteps(&node(&[strange]), &owner, &cidrs).unwrap_err().to_string();
        assert!(why.contains(strange) && why.contains("n1"), "{why}");
    }
}

#[test]
fn a_node_whose_end_was_seen_is_written_again() {
    let (written, n1) = (Written::default(), node(&["192.0.2.1"]));
    written.note_node("n1", "u1", &n1.spec);
    assert!(written.has_node("n1", &n1.spec));
    written.forget("u0");
    assert!(written.has_node("n1", &n1.spec), "another one of that name has ended");
    written.forget("u1");
    assert!(!written.has_node("n1", &n1.spec));
}

#[test]
fn nothing_is_written_after_the_term() {
    let process = Permit::forever();
    let (ended, next) = (process.of_term(), process.of_term());
    assert!(check_permit(&ended).is_ok());
    ended.end();
    assert!(matches!(check_permit(&ended), Err(StoreError::Away(_))));
    assert!(check_permit(&next).is_ok(), "the next term is its own");
    assert!(check_permit(&Permit::default()).is_err());
}

#[test]
fn keys_of_a_store_are_split_again() {
    for kind in Kind::ALL {
        let namespace = if kind.is_namespaced() { "shop" } else { "" };
        let at = ObjectKey::new(namespace, "a.b");
        assert_eq!(split(&ObjectRef::new(kind, at.clone()).to_string()), (Some(kind), at));
    }
}

#[test]
fn an_attachment_outlives_its_pod_while_its_node_is_there() {
    let mut attachment: L2Attachment = serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "L2Attachment",
        "metadata": {
            "name": "a-net1-abc", "namespace": "shop", "labels": {POD_UID: "u1", NODE_UID: "u2"},
        },
        "spec": {"network": "blue", "node": "n1", "pod": "a", "podUID": "u1", "ifname": "net1"},
    }))
    .unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u1"});
    let node = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u2"});
    assert_eq!(owners(&attachment), [pod.clone(), node.clone()]);
    drop(attachment.metadata.labels.remove(NODE_UID));
    assert_eq!(owners(&attachment), [pod], "the node is not there");

    // What the garbage collector leaves of it once the pod is gone, and a stranger's.
    let left = |labels: Value, owner: &Value| {
        let raw = json!({
            "apiVersion": API_VERSION, "kind": "L2Attachment",
            "metadata": {"name": "a", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
            "spec": attachment.spec,
        });
        Stored::read(Kind::L2Attachment, serde_json::from_value(raw).unwrap()).of_pod
    };
    assert!(left(json!({POD_UID: "u1"}), &node));
    assert!(!left(json!({}), &node));
    let other = json!({"apiVersion": "v1", "kind": "Secret", "name": "n1", "uid": "u2"});
    assert!(!left(json!({POD_UID: "u1"}), &other));
}

#[test]
fn what_a_call_without_answer_left_is_known_again() {
    let created = |ip: &str, uid: &str| -> L2Attachment {
        serde_json::from_value(json!({
            "apiVersion": API_VERSION, "kind": "L2Attachment",
            "metadata": {"name": "a", "namespace": "shop", "labels": {POD_UID: uid}},
            "spec": {
                "network": "blue", "node": "n1", "pod": "a", "podUID": uid, "ifname": "net1",
                "mac": "02:00:00:00:00:01", "ips": [ip],
            },
        }))
        .unwrap()
    };
    let wanted = created("10.0.0.1/24", "u1");
    let found = |held: &L2Attachment| {
        let mut found = serde_json::to_value(held).unwrap();
        found["metadata"]["resourceVersion"] = json!("7");
        serde_json::from_value::<DynamicObject>(found).unwrap()
    };
    assert!(is_as_created(&wanted, found(&wanted)));
    assert!(!is_as_created(&wanted, found(&created("10.0.0.2/24", "u1"))));
    assert!(!is_as_created(&wanted, found(&created("10.0.0.1/24", "u2"))));
}
