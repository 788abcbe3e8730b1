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
fn no_token_and_one_without_end_are_refused_before_anybody_is_asked() {
    assert!(check_length("").is_err());
    assert!(check_length("x").is_ok());
    assert!(check_length(&"x".repeat(TOKEN_MAX + 1)).is_err());
}
