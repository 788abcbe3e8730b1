//! The socket's verbs: attach, detach, check, gc, status.
//!
//! What it needs of the rest of the agent it asks for by the traits here, so that it is tested
//! without a kernel and without a controller.

mod attach;
mod check;
mod detach;
mod fault;
mod gone;
mod journal;
mod judge;
mod notes;
mod pod;
mod processes;
mod records;
mod sandboxes;
mod server;
mod status;
mod wish;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex as Blocking, OnceLock},
    time::Instant,
};

use l2sm_api::{
    grpc::v1::{AttachReply, AttachRequest, DetachReply, DetachRequest},
    socket::{Answer, Fault, Reply, Request},
};
use l2sm_core::{instructions::Port, model::ObjectKey};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc, watch};
use tonic::Status;

pub use self::{
    check::{Found, HostEnd, PodEnd},
    journal::Journal,
    processes::find_pods,
    server::{ListenError, Listener},
};
pub(crate) use self::{journal::path as journal_path, sandboxes::remove_records};
use self::{notes::Notes, records::Records};
use crate::state::{Attaches, Counters, Desired, Identity, Outcome};

/// The controller, as the socket's verbs need it.
pub trait Controller: Send + Sync + 'static {
    /// URL of the one that is followed now.
    fn url(&self) -> Option<String>;

    /// Why none is followed, a line for each; empty while one is.
    fn troubles(&self) -> Vec<String>;

    /// Whether attachments are made by request; `None`: none is followed.
    fn attaches_by_request(&self) -> Option<bool>;

    /// `Dataplane.Attach`.
    fn attach(
        &self,
        request: AttachRequest,
    ) -> impl Future<Output = Result<AttachReply, Status>> + Send;

    /// `Dataplane.Detach`.
    fn detach(
        &self,
        request: DetachRequest,
    ) -> impl Future<Output = Result<DetachReply, Status>> + Send;

    /// Returns once one is followed; false: none ever will be.
    fn wait(&self) -> impl Future<Output = bool> + Send;
}

/// The node, as the socket's verbs need it.
pub trait Node: Send + Sync + 'static {
    /// Looks into the namespace at `path`. Blocks.
    ///
    /// # Errors
    /// See [`Unseen`].
    fn look(&self, path: &str) -> Result<Inside, Unseen>;

    /// Inode of the namespace at `path`. Takes no time, unlike [`Node::look`].
    ///
    /// # Errors
    /// See [`Unseen`].
    fn inode(&self, path: &str) -> Result<u64, Unseen>;

    /// Namespaces of running pods by UID, where their processes tell: path and inode. Blocks.
    fn find_pods(&self, uids: &BTreeSet<String>) -> BTreeMap<String, (String, u64)>;

    /// What there is of an attachment.
    fn find(
        &self,
        key: &ObjectKey,
        port: &Port,
    ) -> impl Future<Output = Result<Found, String>> + Send;

    /// The counters as they stand.
    fn counters(&self) -> impl Future<Output = Result<Counters, String>> + Send;
}

/// What is in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Inode: its identity.
    pub inode: u64,
    /// Names of its interfaces.
    pub names: Vec<String>,
}

/// Why nothing can be seen of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unseen {
    /// It is not there (any more).
    #[error("{0}")]
    Gone(String),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// Serves the verbs.
#[derive(Debug)]
pub struct Service<C, N> {
    controller: C,
    node: Arc<N>,
    identity: Identity,
    desired: watch::Sender<Desired>,
    outcomes: watch::Receiver<Outcome>,
    wake: mpsc::UnboundedSender<()>,
    journal: Mutex<Journal>,
    /// Held while releases are told.
    telling: Mutex<()>,
    records: Mutex<Records>,
    /// Beside the socket, once it is served.
    notes: OnceLock<Notes>,
    /// Notes are acted on by one at a time.
    noting: Mutex<()>,
    /// One attachment at a time chooses its name.
    naming: Mutex<()>,
    attaches: watch::Sender<Attaches>,
    /// Inodes of sandboxes that the runtime has ended, and when.
    ended: Blocking<BTreeMap<u64, Instant>>,
}

/// The channels that a service shares with the rest of the agent.
#[derive(Debug)]
pub struct Channels {
    /// What is desired: releases are noted there.
    pub desired: watch::Sender<Desired>,
    /// What came of it.
    pub outcomes: watch::Receiver<Outcome>,
    /// Wakes the reconciler.
    pub wake: mpsc::UnboundedSender<()>,
}

impl<C: Controller, N: Node> Service<C, N> {
    /// A service of the node `identity`. What `journal` holds counts as released from now on.
    pub fn new(
        controller: C,
        node: N,
        identity: Identity,
        channels: Channels,
        journal: Journal,
    ) -> Self {
        let Channels { desired, outcomes, wake } = channels;
        desired.send_modify(|desired| {
            desired.released.extend(journal.keys().map(|key| (key.clone(), None)));
        });
        let records = Mutex::new(Records::open(journal.directory()));
        Self {
            controller,
            node: Arc::new(node),
            identity,
            desired,
            outcomes,
            wake,
            journal: Mutex::new(journal),
            telling: Mutex::new(()),
            records,
            notes: OnceLock::new(),
            noting: Mutex::new(()),
            naming: Mutex::new(()),
            attaches: watch::Sender::new(Attaches::default()),
            ended: Blocking::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Reply {
        let answer = match request {
            Request::Attach(request) => {
                self.counted(self.attach(request)).await.map(Answer::Attached)
            }
            Request::AttachPod(request) => {
                self.counted(self.attach_pod(request)).await.map(Answer::PodAttached)
            }
            Request::CheckPod(request) => self.check_pod(request).await.map(Answer::Checked),
            Request::Detach(request) => self.detach(request).await.map(Answer::Detached),
            Request::Check(request) => self.check(request).await.map(Answer::Checked),
            Request::Gc(request) => self.collect(request).await.map(Answer::Collected),
            Request::Status => Ok(Answer::Status(self.status().await)),
        };
        answer.map_or_else(Reply::Error, Reply::Ok)
    }

    /// Counts what was asked for, and how long it took.
    async fn counted<T>(
        &self,
        attaching: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let asked = Instant::now();
        let attached = attaching.await;
        let took = asked.elapsed();
        self.attaches.send_modify(|sums| sums.add(attached.is_ok(), took));
        attached
    }

    /// Attachments made so far, now and from now on.
    pub fn attaches(&self) -> watch::Receiver<Attaches> {
        self.attaches.subscribe()
    }

    /// Looks into a namespace without holding a runtime thread up.
    async fn look(&self, path: &str) -> Result<Inside, Unseen> {
        let (node, path) = (Arc::clone(&self.node), path.to_owned());
        let looked = tokio::task::spawn_blocking(move || node.look(&path)).await;
        looked.unwrap_or_else(|why| Err(Unseen::Failed(why.to_string())))
    }

    fn wake(&self) {
        if self.wake.send(()).is_err() {
            tracing::debug!("the reconciler is gone");
        }
    }
}

/// Namespace of a network, where a request names none.
fn namespace(of_request: &str) -> &str {
    if of_request.is_empty() { "default" } else { of_request }
}

#[cfg(test)]
mod tests;
