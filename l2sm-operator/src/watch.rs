//! Watches: one per kind, shared by everything here.

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, pin_mut};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::ListParams,
    core::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        utils::ResetTimerBackoff,
        watcher::{self, Event, watcher},
    },
};
use l2sm_api::objects::Kind;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{
    ask::ask,
    stored::{Stored, resource},
    watched::{
        Nad, Namespace, Node, Pod, RawNamespace, RawNode, RawPod, core_resource, nad_resource,
    },
};

/// Changes that wait to be looked at, before the watches wait too.
const WAITING: usize = 1024;
/// How soon a watch that failed is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A watch that did not fail for this long is tried again soon.
const CALM: Duration = Duration::from_secs(20);
/// How soon a cluster that does not know NADs is asked again.
const UNKNOWN: Duration = Duration::from_mins(1);

/// What a watch saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// An object is new or changed.
    Put(T),
    /// An object is gone: what it was last.
    Gone(T),
    /// All objects that there are.
    All(Vec<T>),
}

/// What one of the watches saw.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Of pods.
    Pod(Change<Pod>),
    /// Of nodes.
    Node(Change<Node>),
    /// Of namespaces.
    Namespace(Change<Namespace>),
    /// Of NADs.
    Nad(Change<Nad>),
    /// The cluster does not know NADs.
    NoNads,
    /// Of a kind of ours.
    Ours(Kind, Change<Stored>),
}

/// Starts every watch. They end when nobody listens any more.
pub fn start(client: &Client) -> mpsc::Receiver<Seen> {
    let (to, seen) = mpsc::channel(WAITING);
    let api = Api::all_with(client.clone(), &core_resource("Pod", "pods"));
    drop(tokio::spawn(follow::<RawPod, _, _, _>(api, Pod::read, Seen::Pod, to.clone())));
    let api = Api::all_with(client.clone(), &core_resource("Node", "nodes"));
    drop(tokio::spawn(follow::<RawNode, _, _, _>(api, Node::read, Seen::Node, to.clone())));
    let api = Api::all_with(client.clone(), &core_resource("Namespace", "namespaces"));
    drop(tokio::spawn(follow::<RawNamespace, _, _, _>(
        api,
        Namespace::read,
        Seen::Namespace,
        to.clone(),
    )));
    for kind in Kind::ALL {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
        let read = move |raw| Stored::read(kind, raw);
        let wrap = move |change| Seen::Ours(kind, change);
        drop(tokio::spawn(follow(api, read, wrap, to.clone())));
    }
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &nad_resource());
    drop(tokio::spawn(follow_nads(api, to)));
    seen
}

/// Follows NADs, once the cluster knows that kind. Until then there are none.
async fn follow_nads(api: Api<DynamicObject>, to: mpsc::Sender<Seen>) {
    loop {
        let pause = match ask(api.list(&ListParams::default().limit(1))).await {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                if to.send(Seen::NoNads).await.is_err() {
                    return;
                }
                UNKNOWN
            }
            Err(why) => {
                debug!(%why, "cannot list NADs: trying again");
                RETRY.1
            }
        };
        tokio::time::sleep(pause).await;
    }
    follow(api, |raw| Nad::read(&raw), Seen::Nad, to).await;
}

/// Follows one kind. A list that fails is tried again: it is never taken for an empty one.
async fn follow<K, T, R, W>(api: Api<K>, read: R, wrap: W, to: mpsc::Sender<Seen>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Fn(K) -> T,
    W: Fn(Change<T>) -> Seen,
{
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(RETRY.0)
        .with_max_delay(RETRY.1)
        .with_jitter()
        .without_max_times();
    // A list that begins is no success yet.
    let backoff = ResetTimerBackoff::new(watcher::ExponentialBackoff::from(backoff), CALM);
    let what = api.resource_url().to_owned();
    let events = watcher(api, watcher::Config::default()).backoff(backoff);
    pin_mut!(events);
    let mut listed = Vec::new();
    let mut failing = false;
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(raw)) => {
                listed.push(read(raw));
                continue;
            }
            Ok(Event::InitDone) => Change::All(std::mem::take(&mut listed)),
            Ok(Event::Apply(raw)) => Change::Put(read(raw)),
            Ok(Event::Delete(raw)) => {
                debug!(what, name = raw.name_any(), "gone");
                Change::Gone(read(raw))
            }
            Err(why) => {
                if !failing {
                    warn!(what, %why, "cannot watch: trying again");
                }
                failing = true;
                continue;
            }
        };
        failing = false;
        if to.send(wrap(change)).await.is_err() {
            return;
        }
    }
}
