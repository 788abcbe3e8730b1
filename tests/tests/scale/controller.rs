//! A controller whose instructions are chosen by the test: more than a store here could be filled
//! with in the time. It speaks `l2sm.v1.Dataplane` to the real agent.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use l2sm_api::grpc::{
    digest,
    v1::{
        self,
        dataplane_server::{Dataplane, DataplaneServer},
        from_agent, from_controller,
    },
};
use l2sm_core::instructions::{Delta, Instructions, apply_delta};
use l2sm_tests::netns::Netns;
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Within this a node of this size must have done anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// The revision that an agent said to have programmed, and what it could not.
type Acked = (u64, Vec<v1::ObjectError>);
/// A revision, and what is new in it.
type News = Option<Arc<(u64, Delta)>>;

/// The controller. What it works out for a large node is worked out before a time is taken: the test
/// is no optimised build.
pub(crate) struct Controller {
    held: Arc<Mutex<Held>>,
    news: watch::Sender<News>,
    acks: mpsc::Receiver<Acked>,
}

/// What an agent must have.
#[derive(Default)]
struct Held {
    number: u64,
    instructions: Instructions,
    /// Of the instructions, as an agent that has them says it.
    digest: Vec<u8>,
}

impl Controller {
    /// Serves in a namespace until the test ends.
    pub(crate) fn serve(netns: &Netns, address: &str) -> Self {
        let (news, telling) = watch::channel(None);
        let (acked, acks) = mpsc::channel();
        let held = Arc::<Mutex<Held>>::default();
        let service = Service { held: Arc::clone(&held), telling, acked };
        let address = address.parse().expect("an address");
        let netns = netns.path();
        thread::spawn(move || {
            let file = std::fs::File::open(netns).expect("the namespace exists");
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let served = Server::builder().add_service(DataplaneServer::new(service));
            let served = served.serve(address);
            runtime.expect("a runtime").block_on(served).expect("the port is free");
        });
        Self { held, news, acks }
    }

    /// Tells a change, and waits until the agent says that it is programmed; the time that took.
    pub(crate) fn tell(&self, change: Delta) -> Duration {
        let number = {
            let mut held = self.held.lock().expect("not poisoned");
            held.number += 1;
            apply_delta(&mut held.instructions, change.clone());
            held.number
        };
        let started = Instant::now();
        self.news.send_replace(Some(Arc::new((number, change))));
        self.until_acked(number);
        started.elapsed()
    }

    /// Waits until an agent has what it must have.
    pub(crate) fn until_current(&self) {
        let number = self.held.lock().expect("not poisoned").number;
        self.until_acked(number);
    }

    /// Makes ready for an agent that was here before, and forgets what that one said.
    pub(crate) fn expect_again(&self) {
        let mut held = self.held.lock().expect("not poisoned");
        held.digest = digest(&held.instructions).to_vec();
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
    held: Arc<Mutex<Held>>,
    telling: watch::Receiver<News>,
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
        let (held, telling) = (Arc::clone(&self.held), self.telling.clone());
        tokio::spawn(follow(request.into_inner(), to, held, telling, self.acked.clone()));
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
    held: Arc<Mutex<Held>>,
    mut telling: watch::Receiver<News>,
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
    telling.mark_unchanged();
    let first = first(&held, &hello);
    send(&to, from_controller::Message::Update(first)).await;
    loop {
        tokio::select! {
            changed = telling.changed() => {
                let news = telling.borrow_and_update().clone();
                let (Ok(()), Some(news)) = (changed, news) else { return };
                let (number, Delta { put, remove }) = &*news;
                let (put, remove) = (Some(put.into()), Some(remove.into()));
                let update = v1::Update { put, remove, ..at(*number) };
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

/// The first update: that the agent has all, or all.
fn first(held: &Mutex<Held>, hello: &v1::Hello) -> v1::Update {
    let held = held.lock().expect("not poisoned");
    let unchanged = !held.digest.is_empty() && held.digest == hello.have_digest;
    let put = (!unchanged).then(|| (&held.instructions).into());
    v1::Update { snapshot: true, unchanged, put, ..at(held.number) }
}

fn at(number: u64) -> v1::Update {
    let revision = v1::Revision { source: "scale".into(), epoch: 1, number };
    v1::Update { revision: Some(revision), ..v1::Update::default() }
}

async fn send(to: &ToAgent, message: from_controller::Message) {
    // An agent that is gone ends the stream by itself.
    drop(to.send(v1::FromController { message: Some(message) }).await);
}
