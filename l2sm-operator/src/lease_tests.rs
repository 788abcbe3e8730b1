use super::*;

fn seen(holder: &str, seconds: u64) -> SeenLease {
    let duration = Duration::from_secs(seconds);
    SeenLease { holder: holder.into(), duration, transitions: 7, ..SeenLease::default() }
}

#[test]
fn a_lease_is_taken_when_it_is_free_or_its_holder_was_silent_for_its_duration() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let act = |lease: Option<SeenLease>, now| {
        decide(lease.map(|lease| (lease, start)).as_ref(), "me", None, now)
    };
    assert_eq!(act(None, start), Act::Take);
    assert_eq!(act(Some(seen("", 1)), start), Act::Take, "let go");
    assert_eq!(act(Some(seen("other", 15)), at(14)), Act::WaitUntil(at(15)));
    assert_eq!(act(Some(seen("other", 15)), at(15)), Act::Take);
    assert_eq!(act(Some(seen("me", 15)), at(1)), Act::Take, "lost, and free again");
}

#[test]
fn a_holder_renews() {
    let start = Instant::now();
    let lease = (seen("me", 15), start);
    let act = |now| decide(Some(&lease), "me", Some((7, start)), now);
    assert_eq!(act(start), Act::WaitUntil(start + RENEW));
    assert_eq!(act(start + RENEW), Act::Renew);
}

#[test]
fn epochs_rise_with_each_holder_and_never_begin_anew() {
    let me = Candidate {
        namespace: "ns".into(),
        name: "l".into(),
        identity: "me".into(),
        address: "192.0.2.1:1".into(),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let epoch = |seen: Option<&SeenLease>, take| {
        me.lease(seen, take, now).spec.unwrap().lease_transitions.unwrap()
    };
    assert_eq!(epoch(Some(&seen("other", 15)), true), 8);
    assert_eq!(epoch(Some(&seen("me", 15)), false), 7);
    assert_eq!(epoch(None, true), 30_000_000, "minutes: above what a deleted Lease had");
}
