//! One agent's stream: welcome, snapshot, then what changes for its node.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use l2sm_api::grpc::{Revision, digest, read_address, split, v1};
use l2sm_core::{
    instructions::{Delta, Instructions, delta},
    model::ObjectKey,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};

use crate::{
    VERSION,
    hub::{AgentHello, AgentReport, HelloError, Hub, Notices, Published},
    progress::ProgramError,
    store::StoreError,
};

/// Things in one message at most. A host is about 60 bytes: well below tonic's 4 MiB.
pub const CHUNK: usize = 2_000;

/// Reason of an attachment whose pod has not started yet.
const WAITING_FOR_POD: &str = "WaitingForPod";

/// How long an agent may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream lives, about.
const LIFETIME: Duration = Duration::from_mins(30);

/// Snapshots that are on their way at a time: each is in memory as a whole, in messages.
pub const SNAPSHOTS: usize = 32;
/// How long an agent may take to read its snapshot, before another one has its turn.
pub(crate) const SNAPSHOT_TIMEOUT: Duration = Duration::from_mins(1);

/// Where a stream's messages to its agent go.
pub type ToAgent = mpsc::Sender<Result<v1::FromController, Status>>;

/// Serves one stream until either side ends it. A fault is its last message.
#[expect(clippy::large_stack_frames, reason = "a future: it lives on the heap once spawned")]
pub async fn serve_stream<S>(
    hub: Arc<Hub>,
    mut from: S,
    to: ToAgent,
    peer: Option<SocketAddr>,
    stop: CancellationToken,
) where
    S: Stream<Item = Result<v1::FromAgent, Status>> + Unpin + Send,
{
    let fault = match begin(&hub, &mut from, peer).await {
        Ok((node, stream, hello)) => {
            let end = tokio::time::sleep(lifetime(&node, stream));
            let mut follower = Follower::new(Arc::clone(&hub), node, to.clone());
            let ended = tokio::select! {
                ended = follower.run(&mut from, &hello) => ended,
                // The agent comes back: to another server, where there is one.
                () = end => Ok(()),
                () = stop.cancelled() => Err(Status::unavailable("this server is stopping")),
            };
            let node = follower.node;
            info!(node, "agent away");
            on_hub(&hub, move |hub| hub.leave(&node, stream)).await;
            ended.err()
        }
        Err(fault) => Some(fault),
    };
    if let Some(fault) = fault
        && to.send(Err(fault)).await.is_err()
    {
        // Nobody listens any more: nobody misses the reason.
    }
}

/// How long a stream lives: half an hour, a fifth more or less, so that agents that came together do not
/// come back together, and spread over the servers.
fn lifetime(node: &str, stream: u64) -> Duration {
    let mut hash = Sha256::new();
    hash.update(node);
    hash.update(stream.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let [.., a, b] = digest;
    LIFETIME * 4 / 5
        + LIFETIME * 2 / 5 * u32::from(u16::from_be_bytes([a, b])) / u32::from(u16::MAX)
}

/// Runs a blocking call of the hub off the async threads.
pub async fn on_hub<T: Send + 'static>(
    hub: &Arc<Hub>,
    call: impl FnOnce(&Hub) -> T + Send + 'static,
) -> T {
    let hub = Arc::clone(hub);
    match tokio::task::spawn_blocking(move || call(&hub)).await {
        Ok(result) => result,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

/// Takes the hello.
async fn begin<S>(
    hub: &Arc<Hub>,
    from: &mut S,
    peer: Option<SocketAddr>,
) -> Result<(String, u64, v1::Hello), Status>
where
    S: Stream<Item = Result<v1::FromAgent, Status>> + Unpin + Send,
{
    let first = tokio::time::timeout(HELLO_TIMEOUT, from.next()).await;
    let first = first.map_err(|_late| Status::deadline_exceeded("no hello within 10 s"))?;
    let message = first.transpose()?.and_then(|message| message.message);
    let Some(v1::from_agent::Message::Hello(hello)) = message else {
        return Err(Status::failed_precondition("the first message of a stream must be a hello"));
    };
    let said = read_hello(&hello)?;
    let node = said.node.clone();
    let stream = on_hub(hub, move |hub| hub.hello(said, peer)).await.map_err(|why| {
        warn!(node, %why, "hello refused");
        hello_status(&why)
    })?;
    info!(node, version = hello.agent_version, "agent follows");
    Ok((node, stream, hello))
}

fn read_hello(hello: &v1::Hello) -> Result<AgentHello, Status> {
    let wrong =
        |why: String| Status::failed_precondition(format!("hello of node {}: {why}", hello.node));
    let addresses = hello.vtep_addresses.iter().map(|bytes| read_address("vtep_addresses", bytes));
    let vtep_addresses =
        addresses.collect::<Result<_, _>>().map_err(|why| wrong(why.to_string()))?;
    let udp_port = u16::try_from(hello.udp_port)
        .map_err(|_large| wrong(format!("udp_port: {} is no port", hello.udp_port)))?;
    Ok(AgentHello {
        node: hello.node.clone(),
        spec: l2sm_api::objects::L2NodeSpec {
            vtep_addresses,
            udp_port,
            underlay_mtu: hello.underlay_mtu,
        },
        version: hello.agent_version.clone(),
        abi: hello.abi,
        features: hello.features.clone(),
    })
}

fn hello_status(why: &HelloError) -> Status {
    let message = why.to_string();
    match why {
        HelloError::Served { .. } => Status::already_exists(message),
        HelloError::Wrong(_) | HelloError::Store(StoreError::Refused(_)) => {
            Status::failed_precondition(message)
        }
        HelloError::Store(_) => Status::unavailable(message),
    }
}

/// One agent that follows.
struct Follower {
    hub: Arc<Hub>,
    node: String,
    to: ToAgent,
    published: watch::Receiver<Arc<Published>>,
    notices: watch::Receiver<Arc<Notices>>,
    /// What the agent has once it has read all that was sent.
    sent: Instructions,
    /// What the agent knows of pods in trouble, by their UID.
    told: BTreeMap<String, Vec<v1::EntryProblem>>,
}

impl Follower {
    fn new(hub: Arc<Hub>, node: String, to: ToAgent) -> Self {
        let (published, notices) = (hub.subscribe(), hub.notices());
        let sent = Instructions::default();
        Self { hub, node, to, published, notices, sent, told: BTreeMap::new() }
    }

    /// Follows the hub on one side and the agent on the other.
    #[expect(clippy::large_stack_frames, reason = "a future: it lives on the heap once spawned")]
    async fn run<S>(&mut self, from: &mut S, hello: &v1::Hello) -> Result<(), Status>
    where
        S: Stream<Item = Result<v1::FromAgent, Status>> + Unpin + Send,
    {
        self.welcome(hello).await?;
        self.tell_notices().await?;
        loop {
            tokio::select! {
                changed = self.published.changed() => match changed {
                    Ok(()) => self.update().await?,
                    Err(_hub_is_gone) => return Ok(()),
                },
                changed = self.notices.changed() => match changed {
                    Ok(()) => self.tell_notices().await?,
                    Err(_hub_is_gone) => return Ok(()),
                },
                message = from.next() => match message.transpose()? {
                    Some(message) => self.hear(message).await?,
                    None => return Ok(()),
                },
                () = self.to.closed() => return Ok(()),
            }
        }
    }

    /// Sends the welcome and the snapshot, or says that the agent has it already.
    async fn welcome(&mut self, hello: &v1::Hello) -> Result<(), Status> {
        let welcome = v1::Welcome {
            source: self.hub.source().to_owned(),
            epoch: self.hub.epoch(),
            attach_by_request: self.hub.by_request(),
            server_version: VERSION.to_owned(),
        };
        self.send(v1::from_controller::Message::Welcome(welcome)).await?;
        let published = Arc::clone(&self.published.borrow_and_update());
        self.sent = published.plan.instructions(&self.node);
        let ours = hello.have.as_ref().is_some_and(|have| have.source == self.hub.source());
        if ours && hello.have_digest == digest(&self.sent) {
            let update = v1::Update {
                revision: Some(self.hub.revision(published.revision).into()),
                snapshot: true,
                unchanged: true,
                ..v1::Update::default()
            };
            return self.send(v1::from_controller::Message::Update(update)).await;
        }
        self.snapshot().await
    }

    /// Sends what changed. A revision that changes nothing for the node is sent too: its ack tells
    /// that the node is up to date.
    async fn update(&mut self) -> Result<(), Status> {
        let published = Arc::clone(&self.published.borrow_and_update());
        let new = published.plan.instructions(&self.node);
        let change = delta(&self.sent, &new);
        self.sent = new;
        if change.len() > CHUNK {
            return self.snapshot().await;
        }
        let Delta { put, remove } = change;
        let update = v1::Update {
            revision: Some(self.hub.revision(published.revision).into()),
            put: Some((&put).into()),
            remove: Some((&remove).into()),
            ..v1::Update::default()
        };
        self.send(v1::from_controller::Message::Update(update)).await
    }

    /// Sends what is new of pods in trouble.
    async fn tell_notices(&mut self) -> Result<(), Status> {
        let notices = Arc::clone(&self.notices.borrow_and_update());
        let none = BTreeMap::new();
        let now = notices.get(&self.node).unwrap_or(&none);
        let over = self.told.keys().filter(|uid| !now.contains_key(*uid));
        let over = over.map(|uid| v1::PodNotice { pod_uid: uid.clone(), problems: Vec::new() });
        let new = now.iter().filter(|(uid, problems)| self.told.get(*uid) != Some(problems));
        let new = new.map(|(uid, problems)| v1::PodNotice {
            pod_uid: uid.clone(),
            problems: problems.clone(),
        });
        let messages: Vec<_> = over.chain(new).collect();
        for message in messages {
            self.send(v1::from_controller::Message::Pod(message)).await?;
        }
        self.told.clone_from(now);
        Ok(())
    }

    /// Sends all that the node must know, once it is its turn.
    async fn snapshot(&mut self) -> Result<(), Status> {
        let hub = Arc::clone(&self.hub);
        let _turn = tokio::select! {
            turn = hub.snapshot_turn() => turn,
            () = self.to.closed() => return Err(gone()),
        };
        let published = Arc::clone(&self.published.borrow_and_update());
        self.sent = published.plan.instructions(&self.node);
        let sending = self.send_all(published.revision);
        let sent = tokio::time::timeout(hub.snapshot_timeout(), sending).await;
        sent.map_err(|_late| {
            Status::deadline_exceeded("the agent did not read its snapshot in time")
        })?
    }

    async fn send_all(&self, number: u64) -> Result<(), Status> {
        let revision: v1::Revision = self.hub.revision(number).into();
        let mut parts = split((&self.sent).into(), CHUNK).into_iter().peekable();
        while let Some(part) = parts.next() {
            let update = v1::Update {
                revision: Some(revision.clone()),
                snapshot: true,
                partial: parts.peek().is_some(),
                put: Some(part),
                ..v1::Update::default()
            };
            self.send(v1::from_controller::Message::Update(update)).await?;
        }
        Ok(())
    }

    async fn send(&self, message: v1::from_controller::Message) -> Result<(), Status> {
        let message = v1::FromController { message: Some(message) };
        let sent = self.to.send(Ok(message)).await;
        sent.map_err(|_closed| gone())
    }

    async fn hear(&self, message: v1::FromAgent) -> Result<(), Status> {
        match message.message {
            Some(v1::from_agent::Message::Ack(ack)) => {
                self.hear_ack(ack).await;
                Ok(())
            }
            Some(v1::from_agent::Message::Report(report)) => self.hear_report(report).await,
            Some(v1::from_agent::Message::Hello(_)) => {
                Err(Status::failed_precondition("a stream has one hello"))
            }
            // A message of a later version.
            None => Ok(()),
        }
    }

    /// Acks of another source or an earlier start say nothing about this server's revisions.
    async fn hear_ack(&self, ack: v1::Ack) {
        let Some(revision) = ack.revision.map(Revision::from) else { return };
        if revision.source != self.hub.source() || revision.epoch != self.hub.epoch() {
            return;
        }
        let errors: BTreeMap<_, _> = ack.errors.into_iter().map(read_error).collect();
        // A pod that has not started yet is nothing to warn of.
        let grave = errors.iter().filter(|(_, error)| error.reason != WAITING_FOR_POD);
        for ((kind, key), error) in grave {
            warn!(node = self.node, kind, %key, reason = error.reason, error.message, "not programmed");
        }
        let node = self.node.clone();
        on_hub(&self.hub, move |hub| hub.ack(&node, revision.number, errors)).await;
    }

    async fn hear_report(&self, report: v1::Report) -> Result<(), Status> {
        let addresses =
            report.vtep_addresses.iter().map(|bytes| read_address("vtep_addresses", bytes));
        let vtep_addresses = addresses.collect::<Result<_, _>>().map_err(|why| {
            Status::failed_precondition(format!("report of node {}: {why}", self.node))
        })?;
        let conditions = report.conditions.into_iter().map(|condition| {
            l2sm_api::objects::Condition::new(
                condition.r#type,
                condition.status.into(),
                condition.reason,
                condition.message,
            )
        });
        let report = AgentReport {
            conditions: conditions.collect(),
            features: report.features,
            vtep_addresses,
            underlay_mtu: report.underlay_mtu,
        };
        let node = self.node.clone();
        let heard = on_hub(&self.hub, move |hub| hub.report(&node, report)).await;
        heard.map_err(|why| hello_status(&why))
    }
}

fn gone() -> Status {
    Status::cancelled("the agent has gone")
}

fn read_error(error: v1::ObjectError) -> ((String, ObjectKey), ProgramError) {
    let key = error.key.map_or_else(|| ObjectKey::new("", ""), ObjectKey::from);
    ((error.kind, key), ProgramError { reason: error.reason, message: error.message })
}

#[cfg(test)]
#[path = "distribute_tests.rs"]
mod tests;
