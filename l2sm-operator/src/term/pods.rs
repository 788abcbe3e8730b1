//! Pods: what they want is made, what ended goes, and what stands in the way is said.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::{Api, core::PartialObjectMeta};
use l2sm_api::{
    annotation::{MULTUS_NETWORKS, NETWORKS},
    grpc::v1::EntryProblem,
    objects::{Kind, L2Attachment},
};
use l2sm_controller::{
    catalog::{Catalog, ObjectRef},
    distribute::on_hub,
    hub::Hub,
    overlay::Members,
    place::PodOrder,
    refusal::Refusal,
    store::StoreError,
};
use l2sm_core::model::ObjectKey;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Term, Trouble, retry::Retry};
use crate::{
    ask::ask,
    cluster::{Cluster, News},
    problems::find_problems,
    steps::{Placing, hold_back, keep_last_state, plan_steps},
    stored::{NODE_UID, POD_UID},
    watched::{Pod, RuntimePod, Stage},
    wishes::{Problem, Surroundings, read_wishes},
    writer::Write,
};

/// Reason of a problem that is none of the user's.
const WAITING: &str = "Waiting";

/// Why something waits.
const API_AWAY: &str = "the API server does not answer";

/// What pods are looked at with.
#[derive(Clone, Copy)]
struct Known<'a> {
    cluster: &'a Cluster,
    catalog: &'a Catalog,
    members: &'a Members,
}

/// Attachments by their pod.
type ByPod = BTreeMap<RuntimePod, Vec<Arc<L2Attachment>>>;

impl Term {
    /// Brings the pods that are due to what they want.
    pub(super) async fn reconcile(
        &mut self,
        cluster: &Cluster,
        due: &BTreeSet<ObjectKey>,
        news: &News,
    ) {
        let nothing = due.is_empty() && news.ended.is_empty() && news.ours.is_empty();
        if nothing && self.leaving.is_empty() && !self.unasked {
            return;
        }
        let catalog = on_hub(&self.hub, Hub::catalog).await;
        let members = catalog.members(&cluster.node_names());
        let by_pod = by_pod(&catalog);
        for pod in &news.ended {
            self.leaving.extend(by_pod.get(pod).into_iter().flatten().map(key_of));
        }
        self.find_orphans(cluster, &by_pod, news).await;
        // Another one of its name may be made now: that one stays.
        self.leaving.retain(|key| catalog.attachments.contains_key(key));
        let known = Known { cluster, catalog: &catalog, members: &members };
        for key in due {
            match cluster.pods.get(key) {
                Some(pod) => {
                    let held = by_pod.get(&pod.at_runtime()).map_or(&[][..], Vec::as_slice);
                    Box::pin(self.reconcile_pod(known, pod, held)).await;
                }
                None => self.forget(key),
            }
        }
        self.withdraw_leaving().await;
    }

    async fn reconcile_pod(&mut self, known: Known<'_>, pod: &Pod, held: &[Arc<L2Attachment>]) {
        let around = Surroundings {
            networks: &self.networks,
            namespaces: &known.cluster.namespaces,
            nads: &known.cluster.nads,
            compat_lookup: self.settings.compat_lookup,
        };
        let refs = held.iter().map(AsRef::as_ref);
        let (leaving, refs): (Vec<&L2Attachment>, Vec<_>) =
            refs.partition(|held| known.catalog.leaving.contains_key(&held.metadata.key()));
        let mut wishes = read_wishes(pod, &refs, around);
        if let Some(why) = pod.node.as_deref().and_then(|node| known.members.outside(node)) {
            hold_back(&mut wishes, &refs, &why);
        }
        let published = Arc::clone(&self.hub.subscribe().borrow());
        let steps =
            plan_steps(pod, &wishes, &refs, |key| published.plan.attachment_clash(key).is_some());
        let mut problems = wishes.problems;
        // Who is in a network that is to go stays in it until it leaves by itself.
        problems.retain(|problem| {
            let has = || {
                refs.iter().any(|held| {
                    Some(&held.spec.ifname) == problem.ifname.as_ref()
                        && Some(&held.network()) == problem.network.as_ref()
                })
            };
            problem.reason != "NetworkDeleting" || !has()
        });
        let gone: Vec<_> = leaving.iter().map(|held| held.metadata.key()).collect();
        // A pod that is still to start waits for what it asks for.
        let (steps, refused) = match pod.stage {
            Stage::Running => {
                on_hub(&self.hub, move |hub| {
                    keep_last_state(steps, &gone, |gone, orders| hub.try_orders(gone, orders))
                })
                .await
            }
            Stage::Starting | Stage::Ended => (steps, Vec::new()),
        };
        let mut stay = refs;
        stay.retain(|held| !steps.withdraw.contains(&held.metadata.key()));
        problems.extend(refused.iter().map(|(placing, why)| refusal(placing, why)));
        // What takes its place would have its name, or its address.
        let mut in_the_way = leaving.first().map(|held| not_let_go(&held.spec.node));
        for key in steps.withdraw {
            if pod.stage != Stage::Ended {
                let node = pod.node.as_deref().unwrap_or_default();
                in_the_way = match self.withdraw(&key).await {
                    Ok(true) => continue,
                    Ok(false) => Some(not_let_go(node)),
                    Err(_said) => Some(API_AWAY.to_owned()),
                };
            }
            self.leaving.insert(key);
        }
        for placing in steps.place {
            problems.extend(match &in_the_way {
                Some(why) => Some(waits(&placing, why)),
                None => self.place(known.cluster, placing).await,
            });
        }
        problems.extend(find_problems(
            pod,
            &wishes.interfaces,
            &stay,
            &published.plan,
            |network| self.networks.get(network)?.network.as_ref().ok().map(AsRef::as_ref),
        ));
        if pod.stage == Stage::Ended || pod.deleting {
            problems.clear();
        }
        problems.sort_by_key(|problem| problem.place);
        self.tell(pod, problems);
    }

    /// Removes attachments that nobody asks for; what is not gone yet is looked at again.
    async fn withdraw_leaving(&mut self) {
        let mut away = false;
        for key in std::mem::take(&mut self.leaving) {
            // One by one: what is refused for one stands in no other's way. An API server that does not
            // answer is asked once.
            if !away {
                match self.withdraw(&key).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(why) => away = matches!(why, StoreError::Away(_)),
                }
            }
            self.leaving.insert(key);
        }
    }

    /// Makes one attachment; the result is what stands in its way.
    async fn place(&mut self, cluster: &Cluster, mut placing: Placing) -> Option<Problem> {
        let order = &mut placing.order;
        if let Some(node) = cluster.nodes.get(&order.node) {
            order.labels.insert(NODE_UID.to_owned(), node.uid.clone());
        }
        if let Some(network) = &order.network {
            // Before anything is in it: from now on it stays while it is used.
            let reference = ObjectRef::new(Kind::L2Network, network.clone());
            if let Some(stored) = cluster.ours.get(&reference)
                && !self.keep_network(stored, true).await
            {
                return Some(waits(&placing, API_AWAY));
            }
        }
        let order = placing.order.clone();
        match on_hub(&self.hub, move |hub| hub.place(&order)).await {
            Ok(()) => {
                let PodOrder { namespace, pod, node, ifname, network, .. } = &placing.order;
                let network = network.as_ref().map(ToString::to_string).unwrap_or_default();
                info!(pod = format!("{namespace}/{pod}"), ifname, network, node, "attachment made");
                None
            }
            Err(why) => Some(refusal(&placing, &why)),
        }
    }

    /// Removes an attachment; the result says whether it is gone, or waits for its node.
    async fn withdraw(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        let keys = [key.clone()];
        let withdrawn = on_hub(&self.hub, move |hub| hub.withdraw(&keys)).await;
        match &withdrawn {
            Ok(held) if held.is_empty() => info!(attachment = %key, "attachment removed"),
            Ok(_held) => {}
            Err(why) => warn!(%why, attachment = %key, "cannot remove"),
        }
        Ok(withdrawn?.is_empty())
    }

    /// Has attachments leave whose pod no watch shows: the API server is asked first, for the watch
    /// may be behind.
    async fn find_orphans(&mut self, cluster: &Cluster, by_pod: &ByPod, news: &News) {
        let unasked = std::mem::take(&mut self.unasked);
        if news.ours.is_empty() && self.unseen.is_empty() && !unasked {
            return;
        }
        let live: BTreeSet<_> = cluster.pods.values().map(Pod::at_runtime).collect();
        let orphans = by_pod.iter().filter(|(pod, held)| {
            let leave = || held.iter().all(|held| self.leaving.contains(&held.metadata.key()));
            !live.contains(*pod) && !leave()
        });
        let orphans: Vec<_> = orphans.collect();
        for (_, held) in orphans {
            let Some(first) = held.first() else { continue };
            let uid = first.metadata.labels.get(POD_UID).cloned().unwrap_or_default();
            let (namespace, pod) =
                (&first.metadata.namespace, first.spec.pod.as_deref().unwrap_or_default());
            let api: Api<ApiPod> = Api::namespaced(self.client.clone(), namespace);
            let wants = |found: &PartialObjectMeta<ApiPod>| {
                let annotations = found.metadata.annotations.iter().flatten();
                let ours = [NETWORKS, MULTUS_NETWORKS];
                found.metadata.uid.as_ref() == Some(&uid)
                    && annotations.clone().any(|(name, _)| ours.contains(&name.as_str()))
            };
            match ask(api.get_metadata_opt(pod)).await {
                Ok(Some(found)) if wants(&found) => {}
                Ok(_) => self.leaving.extend(held.iter().map(key_of)),
                Err(why) => {
                    warn!(%why, namespace, pod, "cannot ask for a pod");
                    self.unasked = true;
                    // Nor for the others: each would take its time.
                    return;
                }
            }
        }
    }

    /// A pod is gone: nothing stands in its way any more.
    fn forget(&mut self, pod: &ObjectKey) {
        if let Some(Trouble { node, runtime_uid, .. }) = self.troubled.remove(pod)
            && let Some(node) = node
        {
            self.hub.notify(&node, &runtime_uid, Vec::new());
        }
    }

    /// Says what stands in a pod's way: to its agent, and in events.
    fn tell(&mut self, pod: &Pod, problems: Vec<Problem>) {
        if self.troubled.get(&pod.key).is_some_and(|held| held.runtime_uid != pod.runtime_uid) {
            self.forget(&pod.key);
        }
        let before = self.troubled.get(&pod.key);
        let before = before.map_or(&[][..], |before| before.problems.as_slice());
        let new = problems.iter().filter(|problem| !before.contains(problem));
        let new: Vec<_> = new.filter(|problem| problem.reason != WAITING).cloned().collect();
        for problem in new {
            let Problem { ifname, reason, message, .. } = problem;
            let note = ifname.map_or_else(|| message.clone(), |name| format!("{name}: {message}"));
            info!(pod = %pod.key, reason, note, "a pod is told");
            self.send(Write::Event {
                pod: pod.key.clone(),
                uid: pod.uid.clone(),
                warning: true,
                reason: reason.to_owned(),
                note,
            });
        }
        if let Some(node) = &pod.node {
            let told = problems.iter().filter(|problem| problem.is_in_the_way());
            let told = told.map(|problem| EntryProblem {
                annotation: problem.place.annotation().into(),
                entry: u32::try_from(problem.place.entry).unwrap_or(u32::MAX),
                ifname: problem.ifname.clone().unwrap_or_default(),
                message: problem.message.clone(),
            });
            self.hub.notify(node, &pod.runtime_uid, told.collect());
        }
        if problems.is_empty() {
            drop(self.troubled.remove(&pod.key));
        } else {
            let now = Instant::now();
            let before = self.troubled.get(&pod.key);
            let retry = before
                .filter(|before| before.problems == problems)
                .map_or_else(|| Retry::first(now), |before| before.retry.again(now));
            let (node, runtime_uid) = (pod.node.clone(), pod.runtime_uid.clone());
            let trouble = Trouble { node, runtime_uid, problems, retry };
            drop(self.troubled.insert(pod.key.clone(), trouble));
        }
    }
}

fn by_pod(catalog: &Catalog) -> ByPod {
    let mut by_pod = ByPod::new();
    for held in catalog.attachments.values() {
        if let Some(uid) = &held.spec.pod_uid {
            let namespace = held.metadata.namespace.clone();
            let pod = RuntimePod { namespace, uid: uid.clone() };
            by_pod.entry(pod).or_default().push(Arc::clone(held));
        }
    }
    by_pod
}

fn key_of(held: &Arc<L2Attachment>) -> ObjectKey {
    held.metadata.key()
}

/// Why an attachment cannot be made.
fn refusal(placing: &Placing, why: &Refusal) -> Problem {
    let reason = match why {
        Refusal::AlreadyExists(_) => "AddressInUse",
        Refusal::Exhausted(_) => "AddressesExhausted",
        Refusal::Invalid(_) => "AddressInvalid",
        Refusal::NotFound(_) => "NetworkNotFound",
        Refusal::Precondition(_) | Refusal::Store(StoreError::Refused(_)) => "NotAttached",
        Refusal::Store(why) => {
            warn!(%why, "an attachment waits");
            return waits(placing, API_AWAY);
        }
    };
    problem_of(placing, reason, why.to_string())
}

/// What waits for something that is none of the user's business.
fn waits(placing: &Placing, why: &str) -> Problem {
    problem_of(placing, WAITING, format!("{why}: trying again"))
}

fn problem_of(placing: &Placing, reason: &'static str, message: String) -> Problem {
    let PodOrder { ifname, network, .. } = &placing.order;
    let (ifname, network) = (Some(ifname.clone()), network.clone());
    Problem { place: placing.place, ifname, network, reason, message }
}

fn not_let_go(node: &str) -> String {
    format!("node {node} has not removed yet what was attached there before")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_no_attachment_of_another_namespace() {
        let attachment = |namespace: &str| -> L2Attachment {
            serde_json::from_value(json!({
                "apiVersion": "l2sm.l2sm.k8s.local/v1", "kind": "L2Attachment",
                "metadata": {"name": "a-net1", "namespace": namespace},
                "spec": {"network": "blue", "node": "n1", "podUID": "u1", "ifname": "net1"},
            }))
            .unwrap()
        };
        let mut catalog = Catalog::default();
        for namespace in ["shop", "lab"] {
            let held = attachment(namespace);
            catalog.attachments.insert(held.metadata.key(), Arc::new(held));
        }
        let by_pod = by_pod(&catalog);
        let of = |namespace: &str| {
            by_pod[&RuntimePod { namespace: namespace.into(), uid: "u1".into() }].clone()
        };
        assert_eq!(
            of("lab").iter().map(key_of).collect::<Vec<_>>(),
            [ObjectKey::new("lab", "a-net1")]
        );
        assert_eq!(of("shop").len(), 1);
    }
}
