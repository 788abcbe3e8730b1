//! From what a pod wants and what it has, to what is to be done.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_api::{
    annotation::APP_LABEL,
    objects::{L2Attachment, attachment::attachment_name},
};
use l2sm_controller::{place::PodOrder, refusal::Refusal};
use l2sm_core::model::ObjectKey;

use crate::{
    stored::POD_UID,
    watched::{Pod, Stage},
    wishes::{Interface, Place, Problem, Wishes},
};

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Attachments that go.
    pub withdraw: Vec<ObjectKey>,
    /// Those that are made then, in the order of the annotations.
    pub place: Vec<Placing>,
}

/// An attachment that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placing {
    /// Where it is asked for.
    pub place: Place,
    /// What it is to be.
    pub order: PodOrder,
    /// The attachments of the same entry that are withdrawn for it.
    pub replaces: Vec<ObjectKey>,
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
) -> Steps {
    if pod.stage == Stage::Ended {
        let withdraw = held.iter().map(|held| held.metadata.key()).collect();
        return Steps { withdraw, ..Steps::default() };
    }
    let Some(node) = &pod.node else { return Steps::default() };
    let entries = Entries::new(wishes, held);
    let troubled: BTreeSet<_> = wishes
        .problems
        .iter()
        .flat_map(|problem| entries.held(problem.ifname.as_deref(), problem.network.as_ref()))
        .map(|held| held.metadata.key())
        .collect();
    let satisfied = |interface: &Interface, held: &L2Attachment| {
        let chosen_for_it = interface.ips.is_empty() && clashes(&held.metadata.key());
        fits(interface, held) && !chosen_for_it && held.spec.node == *node
    };
    let stays = |held: &L2Attachment| {
        let wanted = wishes.interfaces.iter().find(|it| it.ifname == held.spec.ifname);
        wanted.map_or_else(
            || wishes.unreadable || troubled.contains(&held.metadata.key()),
            |interface| satisfied(interface, held),
        )
    };
    let withdraw = held.iter().filter(|held| !stays(held)).map(|held| held.metadata.key());
    let mut steps = Steps { withdraw: withdraw.collect(), ..Steps::default() };
    if pod.deleting {
        return steps;
    }
    let unmet = |interface: &&Interface| !held.iter().any(|held| satisfied(interface, held));
    for interface in wishes.interfaces.iter().filter(unmet) {
        let has = entries.held(Some(&interface.ifname), Some(&interface.network)).into_iter();
        let here = has.filter(|held| held.spec.node == *node).map(|held| held.metadata.key());
        steps.place.push(Placing {
            place: interface.place,
            order: order(pod, node, interface),
            replaces: here.filter(|key| steps.withdraw.contains(key)).collect(),
        });
    }
    steps
}

/// The entries of a pod's annotations, and what each of them has.
struct Entries<'a> {
    held: &'a [&'a L2Attachment],
    /// Names that entries ask for.
    asked: BTreeSet<&'a str>,
}

impl<'a> Entries<'a> {
    fn new(wishes: &'a Wishes, held: &'a [&'a L2Attachment]) -> Self {
        let interfaces = wishes.interfaces.iter().map(|interface| interface.ifname.as_str());
        let problems = wishes.problems.iter().filter_map(|problem| problem.ifname.as_deref());
        Self { held, asked: interfaces.chain(problems).collect() }
    }

    /// What the entry has that asks for `ifname` in `network`: the attachment of that name. Where there
    /// is none, it had another name before: those in that network whose names nobody asks for.
    fn held(&self, ifname: Option<&str>, network: Option<&ObjectKey>) -> Vec<&'a L2Attachment> {
        let held = || self.held.iter().copied();
        if let Some(named) = held().find(|held| Some(held.spec.ifname.as_str()) == ifname) {
            return vec![named];
        }
        let unasked = held().filter(|held| !self.asked.contains(held.spec.ifname.as_str()));
        unasked.filter(|held| Some(&held.network()) == network).collect()
    }
}

/// The same steps without those that would take from an entry what it has, and give it nothing for it:
/// a running pod keeps its last state. With them, what cannot be made, and why.
///
/// `try_orders` says of orders whether they could be carried out if some attachments were gone;
/// `leaving` go anyway.
pub fn keep_last_state(
    mut steps: Steps,
    leaving: &[ObjectKey],
    try_orders: impl Fn(&[ObjectKey], &[PodOrder]) -> Vec<Result<(), Refusal>>,
) -> (Steps, Vec<(Placing, Refusal)>) {
    let mut refused = Vec::new();
    while steps.place.iter().any(|placing| !placing.replaces.is_empty()) {
        let gone = [leaving, &steps.withdraw].concat();
        let orders: Vec<_> = steps.place.iter().map(|placing| placing.order.clone()).collect();
        let tried = steps.place.iter().zip(try_orders(&gone, &orders)).enumerate();
        let mut losses = tried.filter(|(_, (placing, _))| !placing.replaces.is_empty());
        let Some((at, why)) = losses.find_map(|(at, (_, tried))| Some((at, tried.err()?))) else {
            break;
        };
        // What it keeps may stand in the way of others: they are tried again.
        let placing = steps.place.remove(at);
        steps.withdraw.retain(|key| !placing.replaces.contains(key));
        refused.push((placing, why));
    }
    (steps, refused)
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
        network: Some(interface.network),
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
#[path = "steps_tests.rs"]
mod tests;
