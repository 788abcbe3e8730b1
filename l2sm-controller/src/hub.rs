//! The one place that changes objects: it decides on a draft, commits it to the store, and only then
//! answers and tells the agents' streams.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use l2sm_api::{
    grpc::Revision,
    objects::{Kind, L2Attachment, Object},
};
use l2sm_common::vni::Vni;
use l2sm_core::{
    instructions::{Instructions, Port},
    model::ObjectKey,
    plan::Plan,
    world::World,
};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::{
    apply::{self, Applied, ApplyFault},
    attach::{self, AttachOrder, DetachOrder},
    catalog::{Catalog, ObjectRef},
    delete::{self, DeleteOptions},
    distribute::{SNAPSHOT_TIMEOUT, SNAPSHOTS},
    draft::{Draft, Ground},
    overlay::NodeNames,
    progress::{Progress, Released},
    refusal::Refusal,
    store::{Contents, Store, StoreError},
    transitions::Transitions,
};

mod agents;
mod listing;
mod notice;
mod observe;
mod place;

pub use agents::{AgentHello, AgentReport, HelloError};
pub use notice::Notices;

/// Objects, their store, and how far the agents are. Calls block on the store: from async code they
/// go through `spawn_blocking`.
#[derive(Debug)]
pub struct Hub {
    source: String,
    epoch: u64,
    clock: fn() -> Timestamp,
    by_request: bool,
    state: Mutex<State>,
    published: watch::Sender<Arc<Published>>,
    notices: watch::Sender<Arc<Notices>>,
    /// Counts what may have changed a status.
    activity: watch::Sender<u64>,
    /// Turns to have a snapshot.
    snapshots: Semaphore,
    /// How long such a turn lasts at most.
    snapshot_timeout: Duration,
}

/// What the agents' streams are fed from.
#[derive(Debug)]
pub struct Published {
    /// Number of the revision.
    pub revision: u64,
    /// The world at that revision, worked out.
    pub plan: Plan,
}

struct State {
    store: Box<dyn Store>,
    catalog: Catalog,
    /// What `catalog` describes, followed object by object: it is never made anew.
    world: World,
    progress: Progress,
    transitions: Transitions,
    revision: u64,
    last_vni: Option<Vni>,
    released: Vec<Released>,
    /// Addresses in objects that cannot be read.
    withheld: Vec<Released>,
    next_stream: u64,
    commits: Commits,
    /// Nodes of the cluster; none without one.
    node_names: NodeNames,
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// The controller's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubStatus {
    /// Number of the revision.
    pub revision: u64,
    /// Networks.
    pub networks: usize,
    /// Attachments.
    pub attachments: usize,
    /// Nodes: name, connected, acked revision, errors, agent's version.
    pub nodes: Vec<NodeLine>,
    /// What the store took since the hub was opened.
    pub commits: Commits,
}

/// Changes that a store took, or did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// Those that are kept.
    pub kept: u64,
    /// Those that failed.
    pub failed: u64,
    /// Why the last one failed; `None`: it was kept.
    pub trouble: Option<String>,
}

/// One node of [`HubStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Its name.
    pub name: String,
    /// Its agent follows now.
    pub connected: bool,
    /// Number of the revision in its kernel.
    pub acked: u64,
    /// Objects that it could not program.
    pub errors: usize,
    /// Version of its agent.
    pub version: String,
}

impl Hub {
    /// The hub of a store: its world is complete when this returns.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(store: Box<dyn Store>) -> Result<Self, StoreError> {
        Self::open_at(store, Timestamp::now)
    }

    /// As [`Self::open`], with the clock that objects' and conditions' times are read from.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open_at(store: Box<dyn Store>, clock: fn() -> Timestamp) -> Result<Self, StoreError> {
        let Contents { meta, objects } = store.load()?;
        let catalog = Catalog::load(&objects)?;
        let world = catalog.world();
        let plan = Plan::new(&world);
        let (published, _) = watch::channel(Arc::new(Published { revision: meta.revision, plan }));
        let mut transitions = Transitions::default();
        catalog.recall(&mut transitions);
        let state = State {
            store,
            catalog,
            world,
            progress: Progress::default(),
            transitions,
            revision: meta.revision,
            last_vni: Vni::new(meta.last_vni),
            released: Vec::new(),
            withheld: Vec::new(),
            next_stream: 1,
            commits: Commits::default(),
            node_names: NodeNames::new(),
        };
        Ok(Self {
            source: meta.source,
            epoch: meta.epoch,
            clock,
            by_request: true,
            state: Mutex::new(state),
            published,
            notices: watch::channel(Arc::default()).0,
            activity: watch::channel(0).0,
            snapshots: Semaphore::new(SNAPSHOTS),
            snapshot_timeout: SNAPSHOT_TIMEOUT,
        })
    }

    /// The same hub, where an operator makes the attachments: agents' requests for some are refused.
    #[must_use]
    pub fn of_operator(self) -> Self {
        let mut state = self.lock();
        state.catalog = std::mem::take(&mut state.catalog).bare();
        drop(state);
        Self { by_request: false, ..self }
    }

    /// Attachments are made when agents ask for them.
    pub const fn by_request(&self) -> bool {
        self.by_request
    }

    /// The store's identity.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How often the store was opened.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The revision of this hub with a number.
    pub fn revision(&self, number: u64) -> Revision {
        Revision { source: self.source.clone(), epoch: self.epoch, number }
    }

    /// Rises when a status may have changed.
    pub fn activity(&self) -> watch::Receiver<u64> {
        self.activity.subscribe()
    }

    /// What is distributed, now and from now on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Creates and updates objects, all or none; with `dry_run` only says what it would do.
    ///
    /// # Errors
    /// All that stands against it, or the store's error.
    pub fn apply(&self, objects: Vec<Object>, dry_run: bool) -> Result<Vec<Applied>, ApplyError> {
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        let applied = apply::apply(&mut draft, objects).map_err(ApplyError::Faults)?;
        if !dry_run {
            self.commit(&mut state, draft).map_err(ApplyError::Store)?;
        }
        Ok(applied)
    }

    /// Removes objects, all or none.
    ///
    /// # Errors
    /// One is not there, or is in use.
    pub fn delete(
        &self,
        objects: &[ObjectRef],
        options: DeleteOptions,
    ) -> Result<Vec<ObjectRef>, Refusal> {
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        let deleted = delete::delete(&mut draft, &state.progress, objects, options)?;
        self.commit(&mut state, draft)?;
        for object in deleted.iter().filter(|object| object.kind == Kind::L2Node) {
            state.progress.forget(&object.key.name);
        }
        Ok(deleted)
    }

    /// The controller's own state.
    pub fn status(&self) -> HubStatus {
        let state = self.lock();
        let nodes = state.catalog.nodes.iter().map(|(key, node)| {
            let progress = state.progress.node(&key.name);
            let said = node.status.as_ref();
            NodeLine {
                name: key.name.clone(),
                connected: progress.stream.is_some(),
                acked: progress.acked,
                errors: progress.errors.len(),
                version: said.map(|said| said.agent_version.clone()).unwrap_or_default(),
            }
        });
        HubStatus {
            revision: state.revision,
            networks: state.catalog.networks.len(),
            attachments: state.catalog.attachments.len(),
            nodes: nodes.collect(),
            commits: state.commits.clone(),
        }
    }

    /// Makes the attachment that an agent asks for, or finds it. The result is its key, the number of
    /// the revision that must be programmed for it to work, and the port.
    ///
    /// # Errors
    /// See `Dataplane.Attach` in `dataplane.proto`.
    pub fn attach(&self, order: &AttachOrder) -> Result<(ObjectKey, u64, Port), Refusal> {
        self.check_by_request()?;
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        let key = attach::attach(&mut draft, order)?;
        self.commit(&mut state, draft)?;
        let published = Arc::clone(&self.published.borrow());
        let held = state.catalog.attachments.get(&key);
        let revision = held.map_or(state.revision, |held| held.metadata.revision());
        let port = held.and_then(|held| published.plan.port(&held.network(), &key));
        let port = port.or_else(|| waiting_port(&published.plan, &state.catalog, held?));
        let port = port.ok_or_else(|| {
            Refusal::Precondition(format!("attachment {key} has no port: its network has no VNI"))
        })?;
        Ok((key, revision, port))
    }

    /// Removes attachments of a node. The result names them, and the number of the revision without
    /// them.
    ///
    /// # Errors
    /// The store's.
    pub fn detach(
        &self,
        node: &str,
        order: &DetachOrder,
    ) -> Result<(Vec<ObjectKey>, u64), Refusal> {
        self.check_by_request()?;
        let mut state = self.lock();
        let mut draft = self.draft(&mut state);
        let removed = attach::detach(&mut draft, node, order);
        self.commit(&mut state, draft)?;
        Ok((removed, state.revision))
    }

    /// A stream's turn to send a snapshot; `None` never: turns are not closed.
    pub(crate) async fn snapshot_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.snapshots.acquire().await.ok()
    }

    /// How long such a turn lasts at most.
    pub(crate) const fn snapshot_timeout(&self) -> Duration {
        self.snapshot_timeout
    }

    /// The same with shorter turns.
    #[cfg(test)]
    pub(crate) fn with_snapshot_timeout(self, snapshot_timeout: Duration) -> Self {
        Self { snapshot_timeout, ..self }
    }

    /// How many more snapshots may be sent now.
    #[cfg(test)]
    pub(crate) fn snapshots_free(&self) -> usize {
        self.snapshots.available_permits()
    }

    /// What a node must know at the revision that is distributed now.
    pub fn instructions(&self, node: &str) -> Instructions {
        self.published.borrow().plan.instructions(node)
    }

    fn check_by_request(&self) -> Result<(), Refusal> {
        if self.by_request {
            return Ok(());
        }
        Err(Refusal::Precondition("attachments are made by the operator here".to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a request leaves the state as it was: drafts are committed whole or not.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, in whole seconds.
    fn now(&self) -> Timestamp {
        let now = (self.clock)();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    fn draft(&self, state: &mut State) -> Draft {
        let State { catalog, progress, released, withheld, revision, last_vni, .. } = state;
        released.retain(|held| {
            let known = catalog.nodes.contains_key(&crate::catalog::node_key(&held.node));
            known && progress.acked(&held.node) < held.revision
        });
        let ground = Ground {
            source: self.source.clone(),
            revision: *revision + 1,
            now: self.now(),
            new_uid: || uuid::Uuid::new_v4().to_string(),
            last_vni: *last_vni,
            released: released.iter().chain(withheld.iter()).cloned().collect(),
        };
        Draft::new(catalog.clone(), ground)
    }

    /// Makes a draft real: on disk first, then here, then on the agents' streams.
    fn commit(&self, state: &mut State, mut draft: Draft) -> Result<(), StoreError> {
        if draft.changed().is_empty() {
            return Ok(());
        }
        let kept = state.store.commit(&draft.batch()?);
        state.commits.note(&kept);
        for completed in kept? {
            draft.complete(completed);
        }
        self.publish(state, draft);
        Ok(())
    }

    /// Makes a draft real that is in the store already.
    fn publish(&self, state: &mut State, draft: Draft) {
        for object in draft.changed() {
            if let Some(held) = state.catalog.attachments.get(&object.key)
                && object.kind == Kind::L2Attachment
            {
                let kept = draft.catalog.attachments.get(&object.key);
                let without = state.catalog.leaving.get(&object.key);
                let revision = *without.unwrap_or(&draft.ground.revision);
                state.released.extend(let_go(held, kept.map(AsRef::as_ref), revision));
            }
        }
        for object in draft.changed() {
            let gone = state.catalog.metadata(object);
            if let Some(gone) = gone.filter(|_| !draft.catalog.contains(object)) {
                state.transitions.forget(&gone.uid);
            }
            draft.catalog.follow(&mut state.world, object);
        }
        state.revision = draft.ground.revision;
        state.last_vni = draft.ground.last_vni;
        state.catalog = draft.catalog;
        let plan = Plan::new(&state.world);
        let published = Published { revision: state.revision, plan };
        drop(self.published.send_replace(Arc::new(published)));
        self.stir();
    }

    /// Says that a status may have changed.
    fn stir(&self) {
        self.activity.send_modify(|count| *count += 1);
    }
}

impl Commits {
    fn note<T>(&mut self, kept: &Result<T, StoreError>) {
        match kept {
            Ok(_) => self.kept += 1,
            Err(_) => self.failed += 1,
        }
        self.trouble = kept.as_ref().err().map(ToString::to_string);
    }
}

/// Why an apply is not carried out.
#[derive(Debug)]
pub enum ApplyError {
    /// What stands against it.
    Faults(Vec<ApplyFault>),
    /// The store does not take it.
    Store(StoreError),
}

/// Addresses that an attachment had and has no more, or not on that node, as of `revision`.
fn let_go(held: &L2Attachment, kept: Option<&L2Attachment>, revision: u64) -> Vec<Released> {
    let stays =
        kept.filter(|kept| kept.spec.node == held.spec.node && kept.network() == held.network());
    let still = stays.map(|kept| kept.spec.addresses()).unwrap_or_default();
    let gone = held.spec.addresses().into_iter().filter(|net| !still.contains(net));
    gone.map(|net| Released {
        network: held.network(),
        ip: net.addr(),
        holder: held.metadata.key(),
        node: held.spec.node.clone(),
        revision,
    })
    .collect()
}

/// The port of an attachment whose node has not said hello yet.
fn waiting_port(plan: &Plan, catalog: &Catalog, held: &L2Attachment) -> Option<Port> {
    let network = catalog.networks.get(&held.network())?;
    Some(Port {
        vni: crate::catalog::vni_of(network)?,
        ifname: held.spec.ifname.clone(),
        netns: held.spec.netns.clone(),
        netns_inode: held.spec.netns_inode,
        pod: held.spec.pod.clone(),
        pod_uid: None,
        mac: held.spec.station()?,
        addresses: held.spec.addresses(),
        mtu: plan.mtu(&held.network()).unwrap_or_default(),
        mac_check: network.spec.mac_spoof_check,
        forwarder: false,
    })
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
