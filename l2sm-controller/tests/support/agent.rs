//! An agent without a data path: it follows, applies what it is told, and acks.

use std::time::Duration;

use l2sm_api::grpc::{
    Revision, address_bytes, digest,
    v1::{self, dataplane_client::DataplaneClient, from_agent, from_controller},
};
use l2sm_core::instructions::{Delta, Instructions, apply_delta};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// How long anything in a test may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// One agent on its stream.
pub(crate) struct Agent {
    pub(crate) node: String,
    pub(crate) welcome: v1::Welcome,
    pub(crate) held: Instructions,
    pub(crate) revision: Option<Revision>,
    /// Messages that brought the last snapshot; one of them may have said `unchanged`.
    pub(crate) parts: usize,
    pub(crate) unchanged: bool,
    to: mpsc::Sender<v1::FromAgent>,
    from: Streaming<v1::FromController>,
}

pub(crate) fn hello(node: &str, vtep: &str) -> v1::Hello {
    v1::Hello {
        node: node.into(),
        vtep_addresses: vec![address_bytes(vtep.parse().unwrap())],
        udp_port: 7000,
        agent_version: "test".into(),
        abi: 1,
        underlay_mtu: 1500,
        ..v1::Hello::default()
    }
}

/// The hello of an agent that kept what it had.
pub(crate) fn hello_again(agent: &Agent, vtep: &str) -> v1::Hello {
    v1::Hello {
        have: agent.revision.clone().map(Into::into),
        have_digest: digest(&agent.held).to_vec(),
        ..hello(&agent.node, vtep)
    }
}

impl Agent {
    /// Says hello and takes the snapshot; acks it.
    pub(crate) async fn follow(channel: Channel, hello: v1::Hello) -> Result<Self, Status> {
        Self::follow_with(channel, hello, Instructions::default()).await
    }

    pub(crate) async fn follow_with(
        channel: Channel,
        hello: v1::Hello,
        held: Instructions,
    ) -> Result<Self, Status> {
        let (to, messages) = mpsc::channel(16);
        let node = hello.node.clone();
        let first = v1::FromAgent { message: Some(from_agent::Message::Hello(hello)) };
        to.send(first).await.unwrap();
        let mut from =
            DataplaneClient::new(channel).follow(ReceiverStream::new(messages)).await?.into_inner();
        let message = next(&mut from).await?.unwrap();
        let from_controller::Message::Welcome(welcome) = message else { panic!("{message:?}") };
        let mut agent =
            Self { node, welcome, held, revision: None, parts: 0, unchanged: false, to, from };
        agent.update().await?;
        Ok(agent)
    }

    /// Takes the next update, whole; acks it.
    pub(crate) async fn update(&mut self) -> Result<(), Status> {
        let mut snapshot: Option<Instructions> = None;
        self.parts = 0;
        loop {
            let message = next(&mut self.from).await?;
            let Some(from_controller::Message::Update(update)) = message else {
                panic!("{message:?}")
            };
            self.parts += 1;
            let (partial, revision) = (update.partial, update.revision.clone());
            self.unchanged = update.unchanged;
            if update.snapshot {
                let part = Delta::try_from(update).unwrap();
                apply_delta(snapshot.get_or_insert_default(), part);
            } else {
                apply_delta(&mut self.held, Delta::try_from(update).unwrap());
            }
            if partial {
                continue;
            }
            if let Some(snapshot) = snapshot.filter(|_| !self.unchanged) {
                self.held = snapshot;
            }
            self.revision = revision.map(Into::into);
            return self.ack(vec![]).await;
        }
    }

    /// Takes updates until `number` is reached.
    pub(crate) async fn update_to(&mut self, number: u64) {
        while self.revision.as_ref().is_none_or(|revision| revision.number < number) {
            self.update().await.unwrap();
        }
    }

    pub(crate) async fn ack(&self, errors: Vec<v1::ObjectError>) -> Result<(), Status> {
        let ack = v1::Ack { revision: self.revision.clone().map(Into::into), errors };
        let message = v1::FromAgent { message: Some(from_agent::Message::Ack(ack)) };
        self.to.send(message).await.map_err(|_closed| Status::cancelled("closed"))
    }
}

async fn next(
    from: &mut Streaming<v1::FromController>,
) -> Result<Option<from_controller::Message>, Status> {
    let message = tokio::time::timeout(DEADLINE, from.message()).await;
    let message = message.expect("the controller says something in time")?;
    Ok(message.expect("the stream goes on").message)
}
