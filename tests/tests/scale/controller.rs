//! A controller whose instructions are chosen by the test: more than a store here could be filled
//! with in the time. It speaks `l2sm.v1.Dataplane` to the real agent.

use std::{
    pin::Pin,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use l2sm_api::grpc::{
    digest, split,
    v1::{
        self,
        dataplane_server::{Dataplane, DataplaneServer},
        from_agent, from_controller,
    },
};
use l2sm_core::instructions::{Instructions, delta};
use l2sm_tests::netns::Netns;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Things in one message of a snapshot, as the controller's own.
const CHUNK: usize = 4096;
/// Within this a node of this size must have done anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Revision number, and what an agent must have then.
type Told = (u64, Instructions);
/// The revision that an agent said to have programmed, and what it could not.
type Acked = (u64, Vec<v1::ObjectError>);

/// The controller.
pub(crate) struct Controller {
    told: watch::Sender<Told>,
    acks: mpsc::Receiver<Acked>,
}

impl Controller {
    /// Serves in a namespace until the test ends.
    pub(crate) fn serve(netns: &Netns, address: &str) -> Self {
        let (told, telling) = watch::channel((0, Instructions::default()));
        let (acked, acks) = mpsc::channel();
        let address = address.parse().expect("an address");
        let netns = netns.path();
        thread::spawn(move || {
            let file = std::fs::File::open(netns).expect("the namespace exists");
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let service = DataplaneServer::new(Service { telling, acked });
            let served = Server::builder().add_service(service).serve(address);
            runtime.expect("a runtime").block_on(served).expect("the port is free");
        });
        Self { told, acks }
    }

    /// Changes what the agent must have, and waits until it says that it has; the time that took.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Instructions)) -> Duration {
        let started = Instant::now();
        let mut number = 0;
        self.told.send_modify(|told| {
            change(&mut told.1);
            told.0 += 1;
            number = told.0;
        });
        self.until_acked(number);
        started.elapsed()
    }

    /// Waits until an agent has what it must have.
    pub(crate) fn until_current(&self) {
        let number = self.told.borrow().0;
        self.until_acked(number);
    }

    /// Forgets what an agent said that is gone.
    pub(crate) fn forget_acks(&self) {
        while self.acks.try_recv().is_ok() {}
    }

    fn until_acked(&self, number: u64) {
        loop {
            let (at, errors) = self.acks.recv_timeout(PATIENCE).expect("the agent acks in time");
            if at >= number {
                assert_eq!(errors, [], "all of it is programmed");
                return;
            }
        }
    }
}

struct Service {
    telling: watch::Receiver<Told>,
    acked: mpsc::Sender<Acked>,
}

#[tonic::async_trait]
impl Dataplane for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<v1::FromController, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let (to, messages) = tokio::sync::mpsc::channel(16);
        let (telling, acked) = (self.telling.clone(), self.acked.clone());
        tokio::spawn(follow(request.into_inner(), to, telling, acked));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages).map(Ok))))
    }

    async fn attach(
        &self,
        _request: Request<v1::AttachRequest>,
    ) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::failed_precondition("attachments are in the instructions"))
    }

    async fn detach(
        &self,
        _request: Request<v1::DetachRequest>,
    ) -> Result<Response<v1::DetachReply>, Status> {
        Err(Status::failed_precondition("attachments are in the instructions"))
    }
}

type ToAgent = tokio::sync::mpsc::Sender<v1::FromController>;

/// One agent's stream, to its end.
async fn follow(
    mut from: Streaming<v1::FromAgent>,
    to: ToAgent,
    mut telling: watch::Receiver<Told>,
    acked: mpsc::Sender<Acked>,
) {
    let Ok(Some(v1::FromAgent { message: Some(from_agent::Message::Hello(hello)) })) =
        from.message().await
    else {
        return;
    };
    let welcome = v1::Welcome {
        source: "scale".into(),
        epoch: 1,
        attach_by_request: false,
        server_version: "test".into(),
    };
    send(&to, from_controller::Message::Welcome(welcome)).await;
    let (mut number, mut sent) = telling.borrow_and_update().clone();
    if digest(&sent)[..] == hello.have_digest[..] {
        let same = v1::Update { snapshot: true, unchanged: true, ..at(number) };
        send(&to, from_controller::Message::Update(same)).await;
    } else {
        snapshot(&to, number, &sent).await;
    }
    loop {
        tokio::select! {
            changed = telling.changed() => {
                if changed.is_err() {
                    return;
                }
                let (next, wanted) = telling.borrow_and_update().clone();
                let step = delta(&sent, &wanted);
                (number, sent) = (next, wanted);
                let (put, remove) = (Some((&step.put).into()), Some((&step.remove).into()));
                let update = v1::Update { put, remove, ..at(number) };
                send(&to, from_controller::Message::Update(update)).await;
            }
            message = from.message() => {
                let Ok(Some(message)) = message else { return };
                if let Some(from_agent::Message::Ack(ack)) = message.message {
                    let at = ack.revision.map_or(0, |revision| revision.number);
                    // The test may be at its end.
                    drop(acked.send((at, ack.errors)));
                }
            }
        }
    }
}

async fn snapshot(to: &ToAgent, number: u64, whole: &Instructions) {
    let mut parts = split(whole.into(), CHUNK).into_iter().peekable();
    while let Some(part) = parts.next() {
        let partial = parts.peek().is_some();
        let update = v1::Update { snapshot: true, partial, put: Some(part), ..at(number) };
        send(to, from_controller::Message::Update(update)).await;
    }
}

fn at(number: u64) -> v1::Update {
    let revision = v1::Revision { source: "scale".into(), epoch: 1, number };
    v1::Update { revision: Some(revision), ..v1::Update::default() }
}

async fn send(to: &ToAgent, message: from_controller::Message) {
    // An agent that is gone ends the stream by itself.
    drop(to.send(v1::FromController { message: Some(message) }).await);
}
