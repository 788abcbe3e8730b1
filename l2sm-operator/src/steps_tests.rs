use l2sm_core::ipam::Wanted;
use serde_json::json;

use super::*;

const HERE: Place = Place { multus: false, entry: 0 };

fn pod() -> Pod {
    Pod {
        key: ObjectKey::new("shop", "a"),
        uid: "u1".into(),
        runtime_uid: "u1".into(),
        node: Some("n1".into()),
        ..Pod::default()
    }
}

fn interface(ifname: &str, network: &str) -> Interface {
    let network = ObjectKey::new("shop", network);
    Interface { place: HERE, ifname: ifname.into(), network, ips: vec![], mac: None }
}

fn attachment(ifname: &str, network: &str, ip: &str) -> L2Attachment {
    serde_json::from_value(json!({
        "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Attachment",
        "metadata": {"name": format!("a-{ifname}"), "namespace": "shop"},
        "spec": {
            "network": network, "node": "n1", "pod": "a", "podUID": "u1", "ifname": ifname,
            "mac": "02:00:00:00:00:01", "ips": [ip],
        },
    }))
    .unwrap()
}

fn wishes(interfaces: Vec<Interface>) -> Wishes {
    Wishes { interfaces, ..Wishes::default() }
}

/// `+ifname network` for what is made, `-name` for what goes.
fn told(pod: &Pod, wishes: &Wishes, held: &[L2Attachment]) -> Vec<String> {
    let held: Vec<_> = held.iter().collect();
    show(&plan_steps(pod, wishes, &held, |_| false))
}

fn show(steps: &Steps) -> Vec<String> {
    let withdrawn = steps.withdraw.iter().map(|key| format!("-{}", key.name));
    let placed = steps.place.iter().map(|Placing { order, .. }| {
        format!("+{} {}", order.ifname, order.network.as_ref().unwrap().name)
    });
    withdrawn.chain(placed).collect()
}

#[test]
fn an_attachment_carries_its_pods_name_for_dns() {
    let named = Pod { app: Some("ping".into()), ..pod() };
    let steps = plan_steps(&named, &wishes(vec![interface("net1", "blue")]), &[], |_| false);
    let [Placing { order, .. }] = &steps.place[..] else { panic!("one is made") };
    assert_eq!(order.labels.get(APP_LABEL).map(String::as_str), Some("ping"));
    assert_eq!(order.labels.len(), 2, "the pod's other labels are its own");
}

#[test]
fn what_is_wanted_and_not_there_is_made_and_the_reverse() {
    let blue = [attachment("net1", "blue", "10.0.0.1/24")];
    let want_blue = wishes(vec![interface("net1", "blue")]);
    assert_eq!(told(&pod(), &want_blue, &[]), ["+net1 blue"]);
    assert_eq!(told(&pod(), &want_blue, &blue), [""; 0]);
    assert_eq!(told(&pod(), &wishes(vec![]), &blue), ["-a-net1"]);
    let want_red = wishes(vec![interface("net1", "red")]);
    assert_eq!(told(&pod(), &want_red, &blue), ["-a-net1", "+net1 red"]);
}

#[test]
fn other_addresses_are_another_attachment() {
    let held = [attachment("net1", "blue", "10.0.0.1/24")];
    let mut wanted = interface("net1", "blue");
    wanted.ips = vec![Wanted { ip: [10, 0, 0, 1].into(), prefix_len: None }];
    assert_eq!(told(&pod(), &wishes(vec![wanted.clone()]), &held), [""; 0]);
    wanted.ips = vec![Wanted { ip: [10, 0, 0, 2].into(), prefix_len: None }];
    assert_eq!(told(&pod(), &wishes(vec![wanted]), &held), ["-a-net1", "+net1 blue"]);
}

/// What is left to be done where the networks `refused` take nobody, or, with an address, not with
/// that one while `a-net2` is there; and the names of interfaces that are refused.
fn kept(wishes: &Wishes, held: &[L2Attachment], refused: &str) -> (Vec<String>, Vec<String>) {
    let held: Vec<_> = held.iter().collect();
    let steps = plan_steps(&pod(), wishes, &held, |_| false);
    let (steps, refusals) = keep_last_state(steps, &[], |gone, orders| {
        let there = !gone.iter().any(|key| key.name == "a-net2");
        let refuse = |order: &PodOrder| {
            let full = order.network.as_ref().unwrap().name == refused;
            let taken = order.ips.iter().any(|ip| ip.ip == IN_NET2) && there;
            if full || taken { Err(Refusal::Exhausted("full".into())) } else { Ok(()) }
        };
        orders.iter().map(refuse).collect()
    });
    let refusals = refusals.into_iter().map(|(placing, _)| placing.order.ifname);
    (show(&steps), refusals.collect())
}

const IN_NET2: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn what_cannot_be_had_takes_nothing_away() {
    let held =
        [attachment("net1", "blue", "10.0.0.1/24"), attachment("net2", "red", "10.0.0.2/24")];
    let full = wishes(vec![interface("net1", "green"), interface("net2", "red")]);
    assert_eq!(kept(&full, &held, "green"), (vec![], lines(&["net1"])));
    let had = kept(&full, &held, "");
    assert_eq!(had, (lines(&["-a-net1", "+net1 green"]), vec![]), "it can be had");
    // Under another name.
    let renamed = wishes(vec![interface("x0", "blue"), interface("net2", "red")]);
    assert_eq!(kept(&renamed, &held, "blue"), (vec![], lines(&["x0"])));
    // It is one entry's last state, not another's.
    let others = wishes(vec![interface("x0", "green")]);
    let gone = lines(&["-a-net1", "-a-net2", "+x0 green"]);
    assert_eq!(kept(&others, &held, "green"), (gone, vec![]));
}

#[test]
fn what_is_kept_may_stand_in_anothers_way() {
    let held =
        [attachment("net1", "blue", "10.0.0.1/24"), attachment("net2", "blue", "10.0.0.2/24")];
    let mut first = interface("net1", "blue");
    first.ips = vec![Wanted { ip: IN_NET2, prefix_len: None }];
    let wanted = wishes(vec![first, interface("net2", "red")]);
    let both = lines(&["-a-net1", "-a-net2", "+net1 blue", "+net2 red"]);
    assert_eq!(kept(&wanted, &held, ""), (both, vec![]));
    assert_eq!(kept(&wanted, &held, "red"), (vec![], lines(&["net2", "net1"])));
}

#[test]
fn an_attachment_on_another_node_is_no_last_state() {
    let mut held = attachment("net1", "blue", "10.0.0.1/24");
    held.spec.node = "n2".into();
    let want = wishes(vec![interface("net1", "blue")]);
    let moved = lines(&["-a-net1", "+net1 blue"]);
    assert_eq!(kept(&want, &[held], "blue"), (moved, vec![]));
}

#[test]
fn what_a_troubled_entry_has_stays() {
    let held = [attachment("net1", "blue", "10.0.0.1/24")];
    let problem = Problem {
        place: HERE,
        ifname: Some("net1".into()),
        network: None,
        reason: "NetworkNotFound",
        message: String::new(),
    };
    let troubled = Wishes { problems: vec![problem], ..Wishes::default() };
    assert_eq!(told(&pod(), &troubled, &held), [""; 0]);
    let problem = Problem {
        ifname: None,
        network: Some(ObjectKey::new("shop", "blue")),
        ..troubled.problems[0].clone()
    };
    let nameless = Wishes { problems: vec![problem], ..Wishes::default() };
    assert_eq!(told(&pod(), &nameless, &held), [""; 0]);
    let red = [attachment("net1", "red", "10.0.0.1/24")];
    assert_eq!(told(&pod(), &nameless, &red), ["-a-net1"], "it is not that entry's");
    let unreadable = Wishes { unreadable: true, ..Wishes::default() };
    assert_eq!(told(&pod(), &unreadable, &held), [""; 0]);
}

#[test]
fn outside_of_the_overlay_a_pod_keeps_what_it_has_and_gets_no_more() {
    let held = [attachment("net1", "blue", "10.0.0.1/24")];
    let mut wanted = wishes(vec![interface("net1", "blue"), interface("net2", "red")]);
    hold_back(&mut wanted, &held.iter().collect::<Vec<_>>(), "not in it");
    assert_eq!(told(&pod(), &wanted, &held), [""; 0]);
    let [problem] = &wanted.problems[..] else { panic!("{wanted:?}") };
    assert_eq!((problem.reason, problem.ifname.as_deref()), ("NodeNotInOverlay", Some("net2")));
    assert_eq!(problem.message, "not in it");
    // Another network at the same name: what is there stays.
    let mut other = wishes(vec![interface("net1", "red")]);
    hold_back(&mut other, &held.iter().collect::<Vec<_>>(), "not in it");
    assert_eq!(told(&pod(), &other, &held), [""; 0]);
    assert_eq!(other.problems.len(), 1);
}

#[test]
fn nothing_is_made_before_a_pod_has_a_node_nor_when_it_ends() {
    let want = wishes(vec![interface("net1", "blue")]);
    let held = [attachment("net1", "blue", "10.0.0.1/24")];
    assert_eq!(told(&Pod { node: None, ..pod() }, &want, &[]), [""; 0]);
    assert_eq!(told(&Pod { stage: Stage::Ended, ..pod() }, &want, &held), ["-a-net1"]);
    assert_eq!(told(&Pod { deleting: true, ..pod() }, &want, &[]), [""; 0]);
    assert_eq!(told(&Pod { deleting: true, ..pod() }, &want, &held), [""; 0]);
}

#[test]
fn only_an_address_that_was_chosen_for_a_pod_is_chosen_again_on_a_clash() {
    let held = attachment("net1", "blue", "10.0.0.1/24");
    let mut wanted = interface("net1", "blue");
    let steps = plan_steps(&pod(), &wishes(vec![wanted.clone()]), &[&held], |_| true);
    assert_eq!(show(&steps), ["-a-net1", "+net1 blue"]);
    wanted.ips = vec![Wanted { ip: [10, 0, 0, 1].into(), prefix_len: None }];
    let steps = plan_steps(&pod(), &wishes(vec![wanted]), &[&held], |_| true);
    assert_eq!(steps, Steps::default());
}
