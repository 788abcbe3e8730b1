use super::*;

const ACCOUNT: &str = "system:serviceaccount:l2sm-system:l2sm-agent";

fn user(name: &str, extra: &[(&str, &str)]) -> UserInfo {
    let extra = extra.iter().map(|(key, value)| {
        (format!("authentication.kubernetes.io/{key}"), vec![(*value).to_owned()])
    });
    UserInfo {
        username: Some(name.to_owned()),
        extra: Some(extra.collect()),
        ..UserInfo::default()
    }
}

#[test]
fn a_token_must_be_the_agents_and_bound_to_a_pod() {
    let bound = [("pod-name", "p"), ("pod-uid", "u")];
    let expected = BoundPod { namespace: "l2sm-system".into(), name: "p".into(), uid: "u".into() };
    assert_eq!(bound_pod(&user(ACCOUNT, &bound), ACCOUNT), Ok(expected));
    let other = "system:serviceaccount:default:default";
    let why = bound_pod(&user(other, &bound), ACCOUNT).unwrap_err();
    assert!(why.contains(other), "{why}");
    assert!(bound_pod(&user(ACCOUNT, &bound[..1]), ACCOUNT).is_err());
}

#[test]
fn without_token_a_nodes_certificate_speaks() {
    let peer = |access| Peer { address: None, access };
    let node = peer(Access::Proven("l2sm://node/n1".parse().unwrap()));
    assert_eq!(node_of_peer(Some(&node)).unwrap(), "n1");
    let admin = peer(Access::Proven("l2sm://admin/n1".parse().unwrap()));
    for refused in [Some(&admin), None] {
        let why = node_of_peer(refused).unwrap_err();
        assert_eq!(why.code(), tonic::Code::Unauthenticated);
    }
}
