//! From what a pod wants and what it has, to what is to be done.

use std::collections::BTreeMap;

use l2sm_api::{
    annotation::APP_LABEL,
    objects::{L2Attachment, attachment::attachment_name},
};
use l2sm_controller::place::PodOrder;
use l2sm_core::model::ObjectKey;

use crate::{
    stored::POD_UID,
    watched::{Pod, Stage},
    wishes::{Interface, Place, Problem, Wishes},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An attachment goes.
    Withdraw(ObjectKey),
    /// One is made.
    Place(Place, Box<PodOrder>),
}

/// What is to be done for a pod with the attachments `held`; `clashes` tells which of those another
/// station stands in the way of.
///
/// What an entry with a problem has, stays: a running pod keeps its last state.
pub fn plan_steps(
    pod: &Pod,
    wishes: &Wishes,
    held: &[&L2Attachment],
    clashes: impl Fn(&ObjectKey) -> bool,
) -> Vec<Step> {
    if pod.stage == Stage::Ended {
        return held.iter().map(|held| Step::Withdraw(held.metadata.key())).collect();
    }
    let Some(node) = &pod.node else { return Vec::new() };
    let troubled = |ifname: &str| {
        wishes.unreadable
            || wishes.problems.iter().any(|problem| problem.ifname.as_deref() == Some(ifname))
    };
    let satisfied = |interface: &Interface, held: &L2Attachment| {
        let chosen_for_it = interface.ips.is_empty() && clashes(&held.metadata.key());
        fits(interface, held) && !chosen_for_it && held.spec.node == *node
    };
    let mut steps = Vec::new();
    for held in held {
        let wanted = wishes.interfaces.iter().find(|it| it.ifname == held.spec.ifname);
        let stays = match wanted {
            Some(interface) => satisfied(interface, held),
            None => troubled(&held.spec.ifname),
        };
        if !stays {
            steps.push(Step::Withdraw(held.metadata.key()));
        }
    }
    if pod.deleting {
        return steps;
    }
    for interface in &wishes.interfaces {
        if !held.iter().any(|held| satisfied(interface, held)) {
            steps.push(Step::Place(interface.place, Box::new(order(pod, node, interface))));
        }
    }
    steps
}

/// On a node outside of the Overlay a pod gets nothing more, and keeps what it has: `why` stands in the
/// way of the rest.
pub fn hold_back(wishes: &mut Wishes, held: &[&L2Attachment], why: &str) {
    let interfaces = std::mem::take(&mut wishes.interfaces).into_iter();
    let (there, more): (Vec<_>, Vec<_>) =
        interfaces.partition(|interface| held.iter().any(|held| fits(interface, held)));
    wishes.interfaces = there;
    wishes.problems.extend(more.into_iter().map(|interface| Problem {
        place: interface.place,
        ifname: Some(interface.ifname),
        reason: "NodeNotInOverlay",
        message: why.to_owned(),
    }));
}

/// Whether an attachment is what an interface asks for.
fn fits(interface: &Interface, held: &L2Attachment) -> bool {
    let addresses = held.spec.addresses();
    let has_ips = interface.ips.is_empty()
        || interface.ips.len() == addresses.len()
            && interface.ips.iter().all(|wanted| {
                addresses.iter().any(|net| {
                    net.addr() == wanted.ip
                        && wanted.prefix_len.is_none_or(|len| len == net.prefix_len())
                })
            });
    held.spec.ifname == interface.ifname
        && held.network() == interface.network
        && has_ips
        && interface.mac.is_none_or(|mac| held.spec.station() == Some(mac))
}

fn order(pod: &Pod, node: &str, interface: &Interface) -> PodOrder {
    let mut labels = BTreeMap::from([(POD_UID.to_owned(), pod.uid.clone())]);
    labels.extend(pod.app.iter().map(|app| (APP_LABEL.to_owned(), app.clone())));
    PodOrder {
        name: attachment_name(&pod.key.name, &interface.ifname, &pod.uid),
        namespace: pod.key.namespace.clone(),
        labels,
        network: Some(interface.network.clone()),
        node: node.to_owned(),
        pod: pod.key.name.clone(),
        pod_uid: pod.runtime_uid.clone(),
        ifname: interface.ifname.clone(),
        ips: interface.ips.clone(),
        mac: interface.mac,
    }
}

#[cfg(test)]
mod tests {
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
        let steps = plan_steps(pod, wishes, &held, |_| false);
        let tell = |step: Step| match step {
            Step::Withdraw(key) => format!("-{}", key.name),
            Step::Place(_, order) => format!("+{} {}", order.ifname, order.network.unwrap().name),
        };
        steps.into_iter().map(tell).collect()
    }

    #[test]
    fn an_attachment_carries_its_pods_name_for_dns() {
        let named = Pod { app: Some("ping".into()), ..pod() };
        let [Step::Place(_, order)] =
            &plan_steps(&named, &wishes(vec![interface("net1", "blue")]), &[], |_| false)[..]
        else {
            panic!("one is made");
        };
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

    #[test]
    fn what_a_troubled_entry_has_stays() {
        let held = [attachment("net1", "blue", "10.0.0.1/24")];
        let problem = Problem {
            place: HERE,
            ifname: Some("net1".into()),
            reason: "NetworkNotFound",
            message: String::new(),
        };
        let troubled = Wishes { problems: vec![problem], ..Wishes::default() };
        assert_eq!(told(&pod(), &troubled, &held), [""; 0]);
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
        assert_eq!(steps.len(), 2, "{steps:?}");
        wanted.ips = vec![Wanted { ip: [10, 0, 0, 1].into(), prefix_len: None }];
        assert_eq!(plan_steps(&pod(), &wishes(vec![wanted]), &[&held], |_| true), []);
    }
}
