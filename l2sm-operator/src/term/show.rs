//! What is shown to users: statuses, conditions, annotations, finalizers. Each is written only when it
//! is not what was written before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use l2sm_api::objects::{Condition, ConditionStatus, Kind, Object};
use l2sm_controller::{
    catalog::{Catalog, ObjectRef},
    distribute::on_hub,
    hub::Hub,
};
use l2sm_core::model::ObjectKey;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::warn;

use super::{Term, text};
use crate::{
    cluster::Cluster,
    stored::Stored,
    watched::Nad,
    writer::{self, Write},
};

impl Term {
    /// Writes what is not shown as it is.
    pub(super) async fn show(&mut self, cluster: &Cluster) {
        self.shown.due = false;
        self.count().await;
        let listed =
            on_hub(&self.hub, |hub| Kind::ALL.map(|kind| hub.list(kind, None, None))).await;
        let catalog = on_hub(&self.hub, Hub::catalog).await;
        let users = users(&catalog);
        let mut attached = Vec::new();
        for object in listed.into_iter().flatten() {
            if let Object::L2Attachment(attachment) = &object
                && !catalog.leaving.contains_key(&attachment.metadata.key())
            {
                attached.push(attachment.as_ref().clone());
            }
            self.show_object(cluster, object, &users);
        }
        self.show_faults(cluster);
        self.keep_networks(cluster, &users).await;
        self.show_pods(cluster, &attached);
    }

    fn show_object(
        &mut self,
        cluster: &Cluster,
        mut object: Object,
        users: &BTreeMap<ObjectKey, BTreeSet<String>>,
    ) {
        let reference = ObjectRef::new(object.kind(), object.metadata().key());
        let uid = object.metadata().uid.clone();
        let stored = cluster.ours.get(&reference).filter(|stored| stored.uid == uid);
        if let Object::L2Network(_) = &object
            && stored.is_some_and(|stored| stored.deleting)
            && let Some(users) = users.get(&reference.key)
            && let Some(conditions) = object.conditions_mut()
        {
            let generation = stored.map(|stored| stored.generation).unwrap_or_default();
            let since =
                *self.shown.in_use.entry(uid.clone()).or_insert_with(|| in_use_since(stored));
            conditions.push(in_use(users, generation, since));
        }
        let Some(status) = serde_json::to_value(&object).ok().map(|mut json| shape(&mut json))
        else {
            return;
        };
        let before = stored.map(|stored| stored.status.clone()).unwrap_or_default();
        if Instant::now() < self.grace && only_away(&before, &status) {
            // Its agents are about to come back: they were on the streams of the holder before.
            self.shown.due = true;
            return;
        }
        let write = Write::Status { object: reference, uid, status: status.clone() };
        if self.shown.is_new(write.subject(), &status, &before) {
            self.send(write);
        }
    }

    /// Shows what is wrong with objects that cannot be read.
    fn show_faults(&mut self, cluster: &Cluster) {
        for stored in cluster.ours.values() {
            let (reason, message) = match &stored.object {
                Err(why) => ("Invalid", why.clone()),
                Ok(_) if stored.reference.kind == Kind::L2Attachment && !stored.of_pod => {
                    let why = "no pod owns it: attachments are made by the operator, from pods' annotations";
                    ("NotOurs", why.to_owned())
                }
                Ok(_) => continue,
            };
            let mut status = stored.status.as_object().cloned().unwrap_or_default();
            let held = stored.status.pointer("/conditions/0");
            let same = held.is_some_and(|held| {
                text(held, "reason") == reason && text(held, "message") == message
            });
            if same {
                continue;
            }
            let mut ready = Condition::ready(false, reason, message);
            ready.observed_generation = stored.generation;
            ready.last_transition_time = Some(now());
            if stored.reference.kind == Kind::L2Network {
                status.insert("internalConnectivity".to_owned(), json!("Unavailable"));
            }
            status.insert("conditions".to_owned(), json!([ready]));
            let write = Write::Status {
                object: stored.reference.clone(),
                uid: stored.uid.clone(),
                status: Value::Object(status),
            };
            let told = json!([reason, ready.message]);
            if self.shown.is_new(write.subject(), &told, &Value::Null) {
                self.send(write);
            }
        }
    }

    /// Keeps networks while they are used, and their NADs.
    async fn keep_networks(
        &mut self,
        cluster: &Cluster,
        users: &BTreeMap<ObjectKey, BTreeSet<String>>,
    ) {
        let keep_nads = self.settings.keep_nads && cluster.knows_nads;
        let missing = self.settings.keep_nads && !cluster.knows_nads;
        if missing && !self.shown.nads_missing {
            warn!(
                "--attach-mode multus: the cluster does not know NetworkAttachmentDefinitions: networks \
                 get theirs once Multus' definition of them is applied"
            );
        }
        self.shown.nads_missing = missing;
        let networks = cluster.ours.values().filter(|it| it.reference.kind == Kind::L2Network);
        for stored in networks {
            let key = &stored.reference.key;
            self.keep_network(stored, users.contains_key(key)).await;
            if keep_nads && !stored.deleting && stored.object.is_ok() {
                self.keep_nad(cluster, key, &stored.uid);
            }
        }
    }

    /// Sees to it that a network has the finalizer, or has it not: one after the other, for what is
    /// written last must hold. The result says whether it is so.
    pub(super) async fn keep_network(&mut self, stored: &Stored, there: bool) -> bool {
        // A finalizer cannot be added to what is going already.
        if there && stored.deleting {
            return true;
        }
        let network = stored.reference.key.clone();
        let write = Write::Finalizer { network, uid: stored.uid.clone(), there };
        let subject = write.subject();
        if !self.shown.is_new(subject.clone(), &json!(there), &json!(stored.in_use)) {
            return true;
        }
        let written = writer::send(self.client.clone(), &self.permit, &write, &self.metrics).await;
        if !written {
            self.shown.forget(&subject);
        }
        written
    }

    /// A NAD of the network's name, unless somebody else has one there.
    fn keep_nad(&mut self, cluster: &Cluster, key: &ObjectKey, uid: &str) {
        let config = json!({
            "cniVersion": "1.0.0", "name": key.name, "type": "l2sm",
            "network": key.name, "namespace": key.namespace,
        });
        let config = config.to_string();
        let there = cluster.nads.get(key);
        if !is_to_be_written(there, uid, &config) {
            return;
        }
        let told = json!([config, there.map(|nad| &nad.config)]);
        let there = there.map(|nad| nad.uid.clone());
        let (network, uid) = (key.clone(), uid.to_owned());
        let write = Write::Nad { network, uid, there, config };
        if self.shown.is_new(write.subject(), &told, &Value::Null) {
            self.send(write);
        }
    }
}

/// Whether the NAD of the network `uid` is to be made, or made right: never over somebody else's.
fn is_to_be_written(there: Option<&Nad>, uid: &str, config: &str) -> bool {
    there.is_none_or(|nad| nad.owner.as_deref() == Some(uid) && nad.config != config)
}

/// Pods that use each network; those whose attachments are leaving do so no more.
fn users(catalog: &Catalog) -> BTreeMap<ObjectKey, BTreeSet<String>> {
    let mut users: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let stay = catalog.attachments.iter().filter(|(key, _)| !catalog.leaving.contains_key(*key));
    for (_, held) in stay {
        let pod = held.spec.pod.as_deref().unwrap_or(&held.metadata.name);
        let pod = format!("{}/{pod}", held.metadata.namespace);
        users.entry(held.network()).or_default().insert(pod);
    }
    users
}

/// The condition of a network that somebody wants gone, and that pods use.
fn in_use(users: &BTreeSet<String>, generation: u64, since: Timestamp) -> Condition {
    let mut named: Vec<_> = users.iter().take(5).cloned().collect();
    if let Some(more) = users.len().checked_sub(5).filter(|more| *more > 0) {
        named.push(format!("and {more} more"));
    }
    let message = format!("it goes once no pod uses it: {}", named.join(", "));
    let mut condition = Condition::new("InUse", ConditionStatus::True, "PodsAttached", message);
    condition.observed_generation = generation;
    condition.last_transition_time = Some(since);
    condition
}

/// Whether an object that was Ready is not now because agents are not back yet.
fn only_away(before: &Value, now: &Value) -> bool {
    let ready = |status: &Value| {
        let conditions = status.get("conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|it| text(it, "type") == "Ready");
        ready.map(|it| (text(it, "status") == "True", text(it, "reason").to_owned()))
    };
    let away = ["Away", "NodeAway", "NodesAway", "Programming", "WaitingForPod", "Connected"];
    let was_ready = ready(before).is_some_and(|(ready, _)| ready);
    was_ready && ready(now).is_some_and(|(ready, reason)| !ready && away.contains(&reason.as_str()))
}

/// Since when that is so: as it is shown, else from now on.
fn in_use_since(stored: Option<&Stored>) -> Timestamp {
    let conditions = stored.and_then(|stored| stored.status.get("conditions")?.as_array());
    let shown = conditions.into_iter().flatten().find(|shown| text(shown, "type") == "InUse");
    let shown = shown.and_then(|shown| text(shown, "lastTransitionTime").parse().ok());
    shown.unwrap_or_else(now)
}

/// The time, in whole seconds.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The status of an object, without what changes with every revision: that would be written for every
/// object whenever one changes.
fn shape(object: &mut Value) -> Value {
    let mut status = object.get_mut("status").map(Value::take).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        drop(fields.remove("revision"));
        drop(fields.remove("ackedRevision"));
    }
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let message = text(condition, "message").strip_prefix("revision ");
        let message = message.and_then(|rest| rest.split_once(" is ")).map(|(_, rest)| json!(rest));
        let Some(fields) = condition.as_object_mut() else { continue };
        if let Some(message) = message {
            fields.insert("message".to_owned(), message);
        }
        // The API's schema of conditions requires it.
        fields.entry("lastTransitionTime").or_insert_with(|| json!(Timestamp::UNIX_EPOCH));
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_with_every_revision_is_not_shown() {
        let status = |revision: u64| {
            let message = format!("revision {revision} is in the kernel of 2 nodes");
            let mut ready = Condition::ready(true, "Programmed", message);
            ready.last_transition_time = Some(Timestamp::UNIX_EPOCH);
            shape(&mut json!({"status": {"revision": revision, "vni": 7, "conditions": [ready]}}))
        };
        assert_eq!(status(3), status(4));
        assert_eq!(status(3)["conditions"][0]["message"], "in the kernel of 2 nodes");
        assert_eq!(status(3)["vni"], 7);
    }

    #[test]
    fn a_nad_is_written_where_none_is_or_our_own_says_something_else() {
        let nad = |owner: Option<&str>, config: &str| Nad {
            owner: owner.map(str::to_owned),
            config: config.to_owned(),
            ..Nad::default()
        };
        assert!(is_to_be_written(None, "u1", "ours"));
        assert!(is_to_be_written(Some(&nad(Some("u1"), "edited")), "u1", "ours"));
        assert!(!is_to_be_written(Some(&nad(Some("u1"), "ours")), "u1", "ours"));
        assert!(!is_to_be_written(Some(&nad(None, "theirs")), "u1", "ours"));
        assert!(!is_to_be_written(Some(&nad(Some("u0"), "of the one before")), "u1", "ours"));
    }

    #[test]
    fn a_new_holder_waits_for_agents_before_it_says_that_they_are_away() {
        let status =
            |ready, reason: &str| json!({"conditions": [Condition::ready(ready, reason, "")]});
        let was = status(true, "Programmed");
        assert!(only_away(&was, &status(false, "NodeAway")));
        assert!(!only_away(&was, &status(false, "AddressInUse")));
        assert!(!only_away(&was, &status(true, "Programmed")));
        assert!(!only_away(&status(false, "Programming"), &status(false, "NodeAway")));
        assert!(!only_away(&Value::Null, &status(false, "NodeAway")));
    }
}
