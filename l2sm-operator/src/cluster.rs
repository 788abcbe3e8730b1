//! What the watches have seen, and what of it is new.

use std::collections::{BTreeMap, BTreeSet};

use l2sm_api::objects::Kind;
use l2sm_controller::{catalog::ObjectRef, overlay::NodeNames};
use l2sm_core::model::ObjectKey;

use crate::{
    stored::Stored,
    watch::{Change, Seen},
    watched::{Nad, Namespace, Node, Pod, RuntimePod},
};

/// Everything that the watches have seen.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Pods that ask for networks, or did.
    pub pods: BTreeMap<ObjectKey, Pod>,
    /// Nodes.
    pub nodes: BTreeMap<String, Node>,
    /// Namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
    /// NADs.
    pub nads: BTreeMap<ObjectKey, Nad>,
    /// The cluster knows NADs.
    pub knows_nads: bool,
    /// Objects of ours.
    pub ours: BTreeMap<ObjectRef, Stored>,
    /// What is new since it was taken last.
    pub news: News,
    synced: BTreeSet<String>,
}

/// What is new.
#[derive(Debug, Default)]
pub struct News {
    /// Objects of ours that changed or went, with the UID of what went.
    pub ours: BTreeMap<ObjectRef, Option<String>>,
    /// Pods that changed or went.
    pub pods: BTreeSet<ObjectKey>,
    /// Pods that went.
    pub ended: BTreeSet<RuntimePod>,
    /// Nodes, namespaces or NADs changed.
    pub surroundings: bool,
    /// UIDs of networks whose NADs went.
    pub without_nad: BTreeSet<String>,
}

impl Cluster {
    /// Every watch has seen all that there is.
    pub fn is_synced(&self) -> bool {
        self.synced.len() == Kind::ALL.len() + 4
    }

    /// Nodes with their labels `kubernetes.io/hostname`.
    pub fn node_names(&self) -> NodeNames {
        self.nodes.values().map(|node| (node.name.clone(), node.hostname.clone())).collect()
    }

    /// What is new since this was asked last.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Takes over what a watch saw.
    pub fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Pod(change) => self.take_pods(change),
            Seen::Node(change) => {
                self.note_list(matches!(change, Change::All(_)), "nodes");
                self.news.surroundings |=
                    replace(&mut self.nodes, change, |node| node.name.clone());
            }
            Seen::Namespace(change) => {
                self.note_list(matches!(change, Change::All(_)), "namespaces");
                let name = |namespace: &Namespace| namespace.name.clone();
                self.news.surroundings |= replace(&mut self.namespaces, change, name);
            }
            Seen::NoNads => {
                self.note_list(true, "nads");
                self.knows_nads = false;
            }
            Seen::Nad(change) => {
                self.knows_nads = true;
                self.note_list(matches!(change, Change::All(_)), "nads");
                match &change {
                    Change::Put(_) => {}
                    Change::Gone(nad) => self.news.without_nad.extend(nad.owner.clone()),
                    Change::All(all) => {
                        let gone = |held: &&Nad| !all.iter().any(|nad| nad.key == held.key);
                        let gone = self.nads.values().filter(gone);
                        self.news.without_nad.extend(gone.filter_map(|nad| nad.owner.clone()));
                    }
                }
                self.news.surroundings |= replace(&mut self.nads, change, |nad| nad.key.clone());
            }
            Seen::Ours(kind, change) => self.take_ours(kind, change),
        }
    }

    fn note_list(&mut self, all: bool, what: &str) {
        if all {
            self.synced.insert(what.to_owned());
        }
    }

    fn take_pods(&mut self, change: Change<Pod>) {
        match change {
            Change::Put(pod) => self.put_pod(pod),
            Change::Gone(pod) => self.remove_pod(&pod.key),
            Change::All(pods) => {
                self.synced.insert("pods".to_owned());
                let there: BTreeSet<_> = pods.iter().map(|pod| pod.key.clone()).collect();
                let gone = self.pods.keys().filter(|key| !there.contains(*key));
                for key in gone.cloned().collect::<Vec<_>>() {
                    self.remove_pod(&key);
                }
                for pod in pods {
                    self.put_pod(pod);
                }
            }
        }
    }

    fn put_pod(&mut self, pod: Pod) {
        let key = pod.key.clone();
        let old = self.pods.get(&key);
        if old == Some(&pod) {
            return;
        }
        if let Some(old) = old
            && old.runtime_uid != pod.runtime_uid
        {
            self.news.ended.insert(old.at_runtime());
        }
        if old.is_some() || pod.concerns_us() {
            self.news.pods.insert(key.clone());
        }
        drop(if pod.concerns_us() || old.is_some() {
            self.pods.insert(key, pod)
        } else {
            self.pods.remove(&key)
        });
    }

    fn remove_pod(&mut self, key: &ObjectKey) {
        if let Some(old) = self.pods.remove(key) {
            self.news.ended.insert(old.at_runtime());
            self.news.pods.insert(key.clone());
        }
    }

    fn take_ours(&mut self, kind: Kind, change: Change<Stored>) {
        match change {
            Change::Put(stored) => self.put_ours(stored),
            Change::Gone(stored) => self.remove_ours(&stored.reference, stored.uid),
            Change::All(all) => {
                self.synced.insert(kind.name().to_owned());
                let there: BTreeSet<_> =
                    all.iter().map(|stored| stored.reference.clone()).collect();
                let gone = self
                    .ours
                    .iter()
                    .filter(|(reference, _)| reference.kind == kind && !there.contains(*reference));
                let gone: Vec<_> = gone.map(|(at, held)| (at.clone(), held.uid.clone())).collect();
                for (reference, uid) in gone {
                    self.remove_ours(&reference, uid);
                }
                for stored in all {
                    self.put_ours(stored);
                }
            }
        }
    }

    fn put_ours(&mut self, stored: Stored) {
        let reference = stored.reference.clone();
        let old = self.ours.get(&reference);
        if old.is_some_and(|old| old.version >= stored.version) {
            return;
        }
        let replaced = old.filter(|old| old.uid != stored.uid).map(|old| old.uid.clone());
        let gone = self.news.ours.get(&reference).cloned().flatten();
        self.news.ours.insert(reference.clone(), replaced.or(gone));
        self.ours.insert(reference, stored);
    }

    fn remove_ours(&mut self, reference: &ObjectRef, uid: String) {
        drop(self.ours.remove(reference));
        self.news.ours.insert(reference.clone(), Some(uid));
    }
}

/// Takes over a change; the result says whether anything is new.
fn replace<K: Ord, T: PartialEq>(
    held: &mut BTreeMap<K, T>,
    change: Change<T>,
    key: impl Fn(&T) -> K,
) -> bool {
    match change {
        Change::Put(new) => {
            let key = key(&new);
            let same = held.get(&key) == Some(&new);
            held.insert(key, new);
            !same
        }
        Change::Gone(old) => held.remove(&key(&old)).is_some(),
        Change::All(all) => {
            let all = all.into_iter().map(|new| (key(&new), new)).collect();
            let same = *held == all;
            *held = all;
            !same
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
