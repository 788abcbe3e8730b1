//! One term of this process as the holder of the Lease: it follows the cluster, makes attachments,
//! and shows what is.

mod pods;
mod retry;
mod show;
mod shown;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use ipnet::IpNet;
use kube::{Api, Client, api::ListParams, core::DynamicObject};
use l2sm_api::objects::{Kind, Object};
use l2sm_controller::{catalog::ObjectRef, distribute::on_hub, hub::Hub};
use l2sm_core::model::{Holder, ObjectKey};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tracing::{info, warn};

use crate::{
    api_store::{ApiStore, Ground, Written},
    ask::{LIST, ask_within},
    cluster::{Cluster, News},
    lease::Permit,
    metrics::Metrics,
    stored::{Stored, resource},
    watch::Seen,
    wishes::{NetworkSeen, Problem},
    writer::{self, Write},
};

/// How often statuses are looked at, at most.
const SHOW: Duration = Duration::from_secs(1);
/// How soon what is nobody's in particular is tried again.
const RETRY: Duration = retry::FIRST;

/// How long agents may take to come from the holder before.
const GRACE: Duration = Duration::from_secs(30);

/// How this operator works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// UID of namespace `kube-system`.
    pub source: String,
    /// Where nodes may have VTEPs besides at their own addresses.
    pub vtep_cidrs: Vec<IpNet>,
    /// Networks are looked up in all namespaces.
    pub compat_lookup: bool,
    /// It keeps a NAD for each network.
    pub keep_nads: bool,
}

/// A pod that does not have all that it asks for.
#[derive(Debug)]
struct Trouble {
    node: Option<String>,
    runtime_uid: String,
    problems: Vec<Problem>,
    retry: retry::Retry,
}

/// One term.
pub struct Term {
    /// The objects, distributed to agents.
    pub hub: Arc<Hub>,
    client: Client,
    permit: Permit,
    settings: Settings,
    written: Written,
    metrics: Arc<Metrics>,
    writes: mpsc::UnboundedSender<Write>,
    failures: mpsc::UnboundedReceiver<String>,
    writing: JoinHandle<()>,
    activity: watch::Receiver<u64>,
    networks: BTreeMap<ObjectKey, NetworkSeen>,
    /// Pods that do not have all that they ask for, and why.
    troubled: BTreeMap<ObjectKey, Trouble>,
    /// Attachments of pods that ended: they are removed until they are gone.
    leaving: BTreeSet<ObjectKey>,
    /// Whether a pod is there could not be asked.
    unasked: bool,
    /// Objects that could not be taken over yet.
    unseen: BTreeSet<ObjectRef>,
    /// Objects that cannot be read, and why.
    unreadable: BTreeMap<ObjectRef, String>,
    shown: shown::Shown,
    /// Until then agents may still be on their way from the holder before.
    grace: Instant,
    show_next: Instant,
    retry_next: Instant,
}

impl Term {
    /// Begins a term: reads all objects of ours after the Lease was taken.
    ///
    /// # Errors
    /// The API server cannot be read from.
    pub async fn begin(
        client: Client,
        permit: Permit,
        settings: Settings,
        epoch: u64,
        cluster: &mut Cluster,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let written = Written::default();
        let mut objects = Vec::new();
        for kind in Kind::ALL {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
            let listed = ask_within(LIST, api.list(&ListParams::default())).await;
            let listed = listed.with_context(|| format!("cannot list {kind}s"))?;
            let listed = listed.items.into_iter().map(|raw| Stored::read(kind, raw));
            let listed: Vec<_> = listed.collect();
            objects.extend(listed.iter().filter_map(worldly));
            cluster.take(Seen::Ours(kind, crate::watch::Change::All(listed)));
        }
        let ground = Ground {
            source: settings.source.clone(),
            epoch,
            vtep_cidrs: settings.vtep_cidrs.clone(),
        };
        let store =
            ApiStore::new(client.clone(), permit.clone(), written.clone(), ground, objects)?;
        let hub = tokio::task::spawn_blocking(|| Hub::open(Box::new(store))).await??;
        let hub = Arc::new(hub.of_operator());
        let (writes, failures, writing) =
            writer::start(client.clone(), permit.clone(), Arc::clone(&metrics));
        let activity = hub.activity();
        // Everything is news to a new holder.
        cluster.news = News {
            ours: cluster.ours.keys().map(|reference| (reference.clone(), None)).collect(),
            pods: cluster.pods.keys().cloned().collect(),
            surroundings: true,
            ..News::default()
        };
        let mut shown = shown::Shown::default();
        shown.make_due();
        Ok(Self {
            hub,
            client,
            permit,
            settings,
            written,
            metrics,
            writes,
            failures,
            writing,
            activity,
            networks: BTreeMap::new(),
            troubled: BTreeMap::new(),
            leaving: BTreeSet::new(),
            unasked: false,
            unseen: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            shown,
            grace: Instant::now() + GRACE,
            show_next: Instant::now(),
            retry_next: Instant::now(),
        })
    }

    /// Does what is due.
    pub async fn step(&mut self, cluster: &mut Cluster) {
        let mut news = cluster.take_news();
        let unseen = std::mem::take(&mut self.unseen);
        news.ours.extend(unseen.into_iter().map(|reference| (reference, None)));
        // Before what is gone is let go of: afterwards nobody knows whose it was.
        let touched = self.pods_of(cluster, &news).await;
        self.note_unreadable(cluster, &news).await;
        self.observe(cluster, &news).await;
        for uid in &news.without_nad {
            self.shown.forget_nad(uid);
        }
        let mut due = news.pods.clone();
        let networks_changed = news.ours.keys().any(|object| object.kind == Kind::L2Network);
        if networks_changed {
            self.see_networks(cluster);
        }
        if news.surroundings {
            let names = cluster.node_names();
            on_hub(&self.hub, move |hub| hub.name_nodes(names)).await;
        }
        let overlays_changed = news.ours.keys().any(|object| object.kind == Kind::Overlay);
        if networks_changed || overlays_changed || news.surroundings {
            due.extend(cluster.pods.keys().cloned());
        }
        due.extend(touched);
        let may_clash =
            |kind| matches!(kind, Kind::L2Attachment | Kind::ExternalVtep | Kind::L2Node);
        if news.ours.keys().any(|it| may_clash(it.kind)) {
            due.extend(self.clashing().await);
        }
        let now = Instant::now();
        if now >= self.retry_next {
            self.retry_next = now + RETRY;
        }
        let again = self.troubled.iter().filter(|(_, trouble)| trouble.retry.due <= now);
        due.extend(again.map(|(pod, _)| pod.clone()));
        if news.ours.iter().any(|(it, gone)| it.kind == Kind::L2Attachment && gone.is_some()) {
            // Its address is free: those who had none may have one now.
            due.extend(self.troubled.keys().cloned());
        }
        self.reconcile(cluster, &due, &news).await;
        while let Ok(subject) = self.failures.try_recv() {
            self.shown.forget(&subject);
        }
        let now = Instant::now();
        if self.shown.is_due() && now >= self.show_next {
            self.show_next = now + SHOW;
            self.show(cluster).await;
        }
    }

    /// Waits until something is due.
    pub async fn wait(&mut self, cluster: &mut Cluster, seen: &mut mpsc::Receiver<Seen>) -> bool {
        let show = self.shown.is_due();
        let due = if show { self.show_next } else { Instant::now() + Duration::from_secs(30) };
        let retries = !self.leaving.is_empty() || self.unasked || !self.unseen.is_empty();
        let due = if retries { due.min(self.retry_next) } else { due };
        let due = self.troubled.values().map(|trouble| trouble.retry.due).fold(due, Instant::min);
        tokio::select! {
            change = seen.recv() => {
                let Some(change) = change else { return false };
                cluster.take(change);
                while let Ok(change) = seen.try_recv() {
                    cluster.take(change);
                }
                self.shown.make_due();
            }
            changed = self.activity.changed() => {
                if changed.is_err() {
                    return false;
                }
                self.shown.make_due();
            }
            failure = self.failures.recv() => {
                if let Some(subject) = failure {
                    self.shown.forget(&subject);
                }
            }
            () = tokio::time::sleep_until(due) => {}
        }
        true
    }

    /// Says what cannot be read. Attachments among it keep their addresses.
    async fn note_unreadable(&mut self, cluster: &Cluster, news: &News) {
        for reference in news.ours.keys() {
            let why = cluster.ours.get(reference).and_then(|stored| stored.object.as_ref().err());
            let Some(why) = why else {
                drop(self.unreadable.remove(reference));
                continue;
            };
            if self.unreadable.get(reference) != Some(why) {
                warn!(object = %reference, why, "it cannot be read: it is left out, or stays as it was last");
                self.unreadable.insert(reference.clone(), why.clone());
            }
        }
        if !news.ours.keys().any(|reference| reference.kind == Kind::L2Attachment) {
            return;
        }
        let unreadable = self.unreadable.keys().filter_map(|it| cluster.ours.get(it));
        let claims = unreadable.filter(|stored| !stored.claims.is_empty());
        let claims = claims.map(|stored| (stored.reference.key.clone(), stored.claims.clone()));
        let claims = claims.collect();
        on_hub(&self.hub, move |hub| hub.withhold(&claims)).await;
    }

    /// Has the hub follow what changed.
    async fn observe(&mut self, cluster: &Cluster, news: &News) {
        let catalog = on_hub(&self.hub, Hub::catalog).await;
        let (mut puts, mut gone) = (Vec::new(), Vec::new());
        for (reference, ended) in &news.ours {
            if let Some(uid) = ended {
                self.written.forget(uid);
                self.shown.end(uid);
            }
            match cluster.ours.get(reference) {
                Some(stored) if self.written.is_old(&stored.uid, stored.version) => {}
                Some(stored) => puts.extend(worldly(stored)),
                None => {
                    let held = catalog.metadata(reference).map(|held| &held.uid);
                    if held.is_some() && held == ended.as_ref() {
                        gone.push(reference.clone());
                    }
                }
            }
        }
        if puts.is_empty() && gone.is_empty() {
            return;
        }
        let networks: Vec<_> = puts
            .iter()
            .filter(|object| object.kind() == Kind::L2Network)
            .map(|object| ObjectRef::new(Kind::L2Network, object.metadata().key()))
            .collect();
        if let Err(why) = on_hub(&self.hub, move |hub| hub.observe(puts, &gone)).await {
            warn!(%why, "a network waits for its VNI");
            self.unseen.extend(networks);
            self.retry_next = Instant::now() + RETRY;
        }
    }

    fn see_networks(&mut self, cluster: &Cluster) {
        let networks = cluster.ours.values().filter(|it| it.reference.kind == Kind::L2Network);
        self.networks = networks
            .map(|stored| {
                let network = match &stored.object {
                    Ok(Object::L2Network(network)) => Ok(network.clone()),
                    Ok(_) => Err("it is no L2Network".to_owned()),
                    Err(why) => Err(why.clone()),
                };
                let seen = NetworkSeen { network, deleting: stored.deleting };
                (stored.reference.key.clone(), seen)
            })
            .collect();
    }

    /// Pods of attachments that do not act because of another station, network or node.
    async fn clashing(&self) -> Vec<ObjectKey> {
        let published = Arc::clone(&self.hub.subscribe().borrow());
        let catalog = on_hub(&self.hub, Hub::catalog).await;
        let out = catalog.attachments.iter();
        let out = out.filter(|(key, held)| {
            let plan = &published.plan;
            plan.attachment_clash(key).is_some()
                || plan.network_clash(&held.network()).is_some()
                || plan.vtep_clash(&Holder::Node(held.spec.node.clone())).is_some()
        });
        let pods = out.filter_map(|(key, held)| {
            Some(ObjectKey::new(key.namespace.as_str(), held.spec.pod.as_deref()?))
        });
        pods.collect()
    }

    /// The pods of attachments that changed or went.
    async fn pods_of(&self, cluster: &Cluster, news: &News) -> Vec<ObjectKey> {
        let changed = news.ours.keys().filter(|object| object.kind == Kind::L2Attachment);
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() {
            return Vec::new();
        }
        let catalog = on_hub(&self.hub, Hub::catalog).await;
        let pods = changed.into_iter().filter_map(|reference| {
            let known = catalog.attachments.get(&reference.key).map(AsRef::as_ref);
            let seen = cluster.ours.get(reference).and_then(|stored| match &stored.object {
                Ok(Object::L2Attachment(held)) => Some(held.as_ref()),
                _ => None,
            });
            let pod = seen.or(known)?.spec.pod.as_deref()?;
            Some(ObjectKey::new(reference.key.namespace.as_str(), pod))
        });
        pods.collect()
    }

    fn send(&self, write: Write) {
        if self.writes.send(write).is_err() {
            warn!("the writer has ended");
        }
    }

    /// Says how many there are of what.
    async fn count(&self) {
        let status = on_hub(&self.hub, Hub::status).await;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let agents = status.nodes.iter().filter(|node| node.connected).count();
        self.metrics.networks.store(number(status.networks), Ordering::Relaxed);
        self.metrics.attachments.store(number(status.attachments), Ordering::Relaxed);
        self.metrics.agents.store(number(agents), Ordering::Relaxed);
        let waits = |trouble: &&Trouble| trouble.problems.iter().any(Problem::is_in_the_way);
        let waiting = self.troubled.values().filter(waits).count();
        self.metrics.pods_waiting.store(number(waiting), Ordering::Relaxed);
    }

    /// Ends the term: nothing more is written, and what is under way is waited for.
    pub async fn end(self) {
        let Self { hub, permit, writes, failures, writing, .. } = self;
        permit.end();
        drop((writes, failures));
        if let Err(why) = writing.await {
            warn!(%why, "the writer failed");
        }
        // A commit holds the hub until it is done.
        drop(on_hub(&hub, Hub::catalog).await);
        info!(epoch = hub.epoch(), "the term is over");
    }
}

/// An object as part of the world; an attachment that no pod owns is none.
fn worldly(stored: &Stored) -> Option<Object> {
    let object = stored.object.as_ref().ok()?;
    (stored.reference.kind != Kind::L2Attachment || stored.of_pod).then(|| object.clone())
}

/// A text of a status.
fn text<'a>(status: &'a Value, field: &str) -> &'a str {
    status.get(field).and_then(Value::as_str).unwrap_or_default()
}
