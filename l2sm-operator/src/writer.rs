//! What is only shown to users: statuses, annotations of pods, events, NADs. Written beside everything
//! else; what fails is told back, and written again from what is true then.

mod queue;

use std::sync::Arc;

use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod as ApiPod},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use l2sm_api::{
    annotation::NETWORK_STATUS,
    objects::{API_VERSION, Kind},
};
use l2sm_controller::catalog::ObjectRef;
use l2sm_core::model::ObjectKey;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{debug, warn};

use self::queue::Queue;
use crate::{
    api_store::MANAGER,
    ask::ask,
    lease::Permit,
    metrics::Metrics,
    stored::{IN_USE, resource},
    watched::nad_resource,
};

/// Requests at a time.
const AT_A_TIME: usize = 8;
/// Longest note of an event, bytes (events.k8s.io/v1).
const NOTE_MAX: usize = 1000;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A status, whole.
    Status {
        /// The object.
        object: ObjectRef,
        /// Its UID.
        uid: String,
        /// The status.
        status: Value,
    },
    /// The annotation `l2sm/network-status` of a pod; `None`: it goes.
    NetworkStatus {
        /// The pod.
        pod: ObjectKey,
        /// Its UID.
        uid: String,
        /// The text.
        text: Option<String>,
    },
    /// The finalizer of a network.
    Finalizer {
        /// The network.
        network: ObjectKey,
        /// Its UID.
        uid: String,
        /// It is there afterwards.
        there: bool,
    },
    /// An event on a pod.
    Event {
        /// The pod.
        pod: ObjectKey,
        /// Its UID.
        uid: String,
        /// Something is wrong.
        warning: bool,
        /// One `CamelCase` word.
        reason: String,
        /// In words.
        note: String,
    },
    /// A NAD of a network's name.
    Nad {
        /// The network.
        network: ObjectKey,
        /// Its UID.
        uid: String,
        /// UID of the network's own NAD that stands there; `None`: one is made, where there is none.
        there: Option<String>,
        /// `spec.config`.
        config: String,
    },
}

impl Write {
    /// What it is about: of two writes about the same the later one holds.
    pub fn subject(&self) -> String {
        match self {
            Self::Status { object, uid, .. } => format!("status {object} {uid}"),
            Self::NetworkStatus { uid, .. } => format!("network-status {uid}"),
            Self::Finalizer { uid, .. } => format!("finalizer {uid}"),
            Self::Event { uid, reason, note, .. } => format!("event {uid} {reason} {note}"),
            Self::Nad { uid, .. } => format!("nad {uid}"),
        }
    }
}

/// Starts to write. The second channel tells the subjects of what could not be written. The task ends
/// once the first is closed, and nothing is under way.
pub fn start(
    client: Client,
    permit: Permit,
    metrics: Arc<Metrics>,
) -> (mpsc::UnboundedSender<Write>, mpsc::UnboundedReceiver<String>, JoinHandle<()>) {
    let (writes, waiting) = mpsc::unbounded_channel();
    let (failed, failures) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let send_one = |write: Write| {
            let (client, permit, metrics) = (client.clone(), permit.clone(), Arc::clone(&metrics));
            async move {
                let written = send(client, &permit, &write, &metrics).await;
                (write.subject(), written)
            }
        };
        send_all(waiting, &failed, send_one).await;
    });
    (writes, failures, task)
}

/// Sends what comes: some at a time, one after the other about the same.
async fn send_all<F>(
    mut writes: mpsc::UnboundedReceiver<Write>,
    failed: &mpsc::UnboundedSender<String>,
    send_one: impl Fn(Write) -> F,
) where
    F: Future<Output = (String, bool)>,
{
    let mut queue = Queue::default();
    let mut under_way = FuturesUnordered::new();
    let mut open = true;
    loop {
        while under_way.len() < AT_A_TIME
            && let Some(write) = queue.next()
        {
            under_way.push(send_one(write));
        }
        tokio::select! {
            write = writes.recv(), if open => match write {
                Some(write) => queue.push(write),
                None => open = false,
            },
            Some((subject, written)) = under_way.next() => {
                queue.done(&subject);
                if !written && failed.send(subject).is_err() {
                    debug!("the term is over");
                }
            }
            else => return,
        }
    }
}

/// Sends one request; the result says whether it need not be sent again.
pub async fn send(client: Client, permit: &Permit, write: &Write, metrics: &Metrics) -> bool {
    if !permit.holds() {
        return false;
    }
    let sent = ask(request(client, write)).await;
    metrics.count_write(sent.is_ok());
    match sent {
        Ok(()) => true,
        // It is gone, or another one of its name is there.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            debug!(subject = write.subject(), status.message, "not written");
            true
        }
        Err(why) => {
            warn!(subject = write.subject(), %why, "cannot write: trying again");
            false
        }
    }
}

async fn request(client: Client, write: &Write) -> Result<(), kube::Error> {
    let apply = PatchParams::apply(MANAGER).force();
    match write {
        Write::Status { object, uid, status } => {
            let patch = document(object, uid, &json!({"status": status}));
            let api = api(client, object.kind, &object.key.namespace);
            drop(api.patch_status(&object.key.name, &apply, &Patch::Apply(&patch)).await?);
        }
        Write::Finalizer { network, uid, there } => {
            let object = ObjectRef::new(Kind::L2Network, network.clone());
            let mut patch = document(&object, uid, &json!({}));
            if *there && let Some(metadata) = patch.get_mut("metadata") {
                metadata["finalizers"] = json!([IN_USE]);
            }
            let api = api(client, Kind::L2Network, &network.namespace);
            drop(api.patch(&network.name, &apply, &Patch::Apply(&patch)).await?);
        }
        Write::NetworkStatus { pod, uid, text } => {
            let patch = json!({"metadata": {"uid": uid, "annotations": {NETWORK_STATUS: text}}});
            let api: Api<ApiPod> = Api::namespaced(client, &pod.namespace);
            let parameters =
                PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
            drop(api.patch_metadata(&pod.name, &parameters, &Patch::Merge(&patch)).await?);
        }
        Write::Event { pod, uid, warning, reason, note } => {
            let event = event(pod, uid, *warning, reason, note);
            let api: Api<Event> = Api::namespaced(client, &pod.namespace);
            match api.create(&PostParams::default(), &event).await {
                // The same was said before: it is said to go on.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    let name = event.metadata.name.unwrap_or_default();
                    let now = MicroTime(Timestamp::now());
                    let patch = json!({"series": {"count": 2, "lastObservedTime": now}});
                    let parameters = PatchParams::default();
                    drop(api.patch(&name, &parameters, &Patch::Merge(&patch)).await?);
                }
                created => drop(created?),
            }
        }
        Write::Nad { network, uid, there, config } => {
            let resource = nad_resource();
            let api: Api<DynamicObject> =
                Api::namespaced_with(client, &network.namespace, &resource);
            let manager = Some(MANAGER.to_owned());
            if let Some(there) = there {
                // Of another one of that name the API server says that the UID is not its own.
                let patch = json!({"metadata": {"uid": there}, "spec": {"config": config}});
                let parameters = PatchParams { field_manager: manager, ..Default::default() };
                drop(api.patch(&network.name, &parameters, &Patch::Merge(&patch)).await?);
            } else {
                let new = serde_json::from_value(nad(network, uid, config));
                let new: DynamicObject = new.map_err(kube::Error::SerdeError)?;
                let parameters = PostParams { field_manager: manager, ..Default::default() };
                drop(api.create(&parameters, &new).await?);
            }
        }
    }
    Ok(())
}

fn api(client: Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    if kind.is_namespaced() {
        Api::namespaced_with(client, namespace, &resource(kind))
    } else {
        Api::all_with(client, &resource(kind))
    }
}

/// A document to apply; with the UID an object that is gone is not made again.
fn document(object: &ObjectRef, uid: &str, more: &Value) -> Value {
    let mut document = json!({
        "apiVersion": API_VERSION,
        "kind": object.kind.name(),
        "metadata": {"name": object.key.name, "uid": uid},
    });
    if let (Some(document), Some(more)) = (document.as_object_mut(), more.as_object()) {
        document.extend(more.clone());
    }
    document
}

/// A name that is the same for the same event.
fn event_name(pod: &ObjectKey, uid: &str, reason: &str, note: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(format!("{uid}\0{reason}\0{note}").as_bytes()).into();
    let digest = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let pod: String = pod.name.chars().take(200).collect();
    format!("{}.{digest:016x}", pod.trim_end_matches(['-', '.']))
}

fn nad(network: &ObjectKey, uid: &str, config: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": network.name,
            "namespace": network.namespace,
            "ownerReferences": [{
                "apiVersion": API_VERSION,
                "kind": Kind::L2Network.name(),
                "name": network.name,
                "uid": uid,
            }],
        },
        "spec": {"config": config},
    })
}

fn event(pod: &ObjectKey, uid: &str, warning: bool, reason: &str, note: &str) -> Event {
    let now = Timestamp::now();
    let end = note.char_indices().map(|(at, _)| at).take_while(|at| *at <= NOTE_MAX).last();
    let note = note.get(..end.filter(|_| note.len() > NOTE_MAX).unwrap_or(note.len()));
    let note = note.unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(event_name(pod, uid, reason, note)),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Attach".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(note.to_owned()),
        reason: Some(reason.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(
            std::env::var("POD_NAME").unwrap_or_else(|_unset| MANAGER.to_owned()),
        ),
        type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
