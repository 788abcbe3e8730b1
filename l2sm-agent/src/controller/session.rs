//! One stream: hello, welcome, updates in, acknowledgements out.

use std::{net::IpAddr, sync::Arc, time::Duration};

use l2sm_api::grpc::{self, v1};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{Admission, Assembly, AssemblyError, Rejection, Step, connect::ConnectError};
use crate::state::{Desired, Identity, Outcome, Revision};

/// The welcome comes within this, or never.
const WELCOME: Duration = Duration::from_secs(10);
/// Acknowledgements that may wait to be sent.
const QUEUE: usize = 16;
/// Largest message taken, bytes: the server splits snapshots, but one part may name many addresses.
const MESSAGE_MAX: usize = 64 << 20;

/// Why a stream ended.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server said so, or the connection broke.
    #[error("{}", described(.0))]
    Status(#[from] Status),
    /// The server ended it without a reason.
    #[error("the controller ended the stream")]
    Ended,
    /// No welcome, or something else in its place.
    #[error("the controller does not say welcome")]
    NoWelcome,
    /// It is not to be believed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It sends what cannot be taken.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// The agent stops.
    #[error("the agent stops")]
    Stopping,
}

/// A stream that has been welcomed.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) channel: Channel,
    outbound: mpsc::Sender<v1::FromAgent>,
    inbound: Streaming<v1::FromController>,
    assembly: Assembly,
    pub(super) welcome: v1::Welcome,
    acked: Option<(Revision, Vec<v1::ObjectError>)>,
    reported: Option<v1::Report>,
    /// Features that the node always has.
    features: Vec<String>,
}

impl Session {
    /// Says hello and waits to be welcomed.
    pub(super) async fn open(
        channel: Channel,
        identity: &Identity,
        held: &Desired,
        admission: &Admission,
        outcome: &Outcome,
    ) -> Result<Self, SessionError> {
        let (outbound, queue) = mpsc::channel(QUEUE);
        let hello = hello(identity, held, admission, outcome);
        Box::pin(send(&outbound, v1::from_agent::Message::Hello(hello))).await?;
        let mut client = v1::dataplane_client::DataplaneClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_MAX);
        let greeting = async {
            let mut inbound =
                Box::pin(client.follow(ReceiverStream::new(queue))).await?.into_inner();
            let first = inbound.message().await?.ok_or(SessionError::Ended)?;
            Ok::<_, SessionError>((inbound, first))
        };
        let greeted = timeout(WELCOME, greeting).await;
        let (inbound, first) = greeted.map_err(|_elapsed| SessionError::NoWelcome)??;
        let Some(v1::from_controller::Message::Welcome(welcome)) = first.message else {
            return Err(SessionError::NoWelcome);
        };
        admission.welcome(&welcome)?;
        let assembly = Assembly::new(Arc::clone(&held.instructions));
        let features = identity.features.clone();
        let (acked, reported) = (None, None);
        Ok(Self { channel, outbound, inbound, assembly, welcome, acked, reported, features })
    }

    /// Follows until the stream ends. `accepted` is called with complete instructions,
    /// `noticed` with what stands in the way of a pod.
    pub(super) async fn follow(
        &mut self,
        admission: &mut Admission,
        outcomes: &mut watch::Receiver<Outcome>,
        accepted: impl Fn(Arc<l2sm_core::instructions::Instructions>, Revision),
        noticed: impl Fn(v1::PodNotice),
        mut acked: impl FnMut(&Outcome),
    ) -> Result<(), SessionError> {
        loop {
            tokio::select! {
                message = self.inbound.message() => {
                    let message = message?.ok_or(SessionError::Ended)?;
                    match message.message {
                        Some(v1::from_controller::Message::Update(update)) => {
                            let step = self.assembly.take(update)?;
                            let Step::Complete(instructions, revision) = step else { continue };
                            admission.accept(&self.welcome, &revision)?;
                            accepted(instructions, revision);
                        }
                        Some(v1::from_controller::Message::Pod(notice)) => noticed(notice),
                        Some(v1::from_controller::Message::Welcome(_)) | None => {}
                    }
                }
                changed = outcomes.changed() => {
                    changed.map_err(|_closed| SessionError::Stopping)?;
                    let outcome = outcomes.borrow_and_update().clone();
                    if self.tell(&outcome).await? {
                        acked(&outcome);
                    }
                }
            }
        }
    }

    /// Tells what is new in an outcome; true: a revision was acknowledged.
    async fn tell(&mut self, outcome: &Outcome) -> Result<bool, SessionError> {
        let report = report(outcome, &self.features);
        if self.reported.as_ref() != Some(&report) {
            send(&self.outbound, v1::from_agent::Message::Report(report.clone())).await?;
            self.reported = Some(report);
        }
        let Some(revision) = outcome.revision.clone() else { return Ok(false) };
        if revision.source != self.welcome.source {
            return Ok(false);
        }
        let errors = outcome.errors.iter().chain(&outcome.waiting);
        let errors: Vec<_> = errors.map(object_error).collect();
        let news = (revision, errors);
        if self.acked.as_ref() == Some(&news) {
            return Ok(false);
        }
        let ack = v1::Ack { revision: Some(news.0.clone().into()), errors: news.1.clone() };
        send(&self.outbound, v1::from_agent::Message::Ack(ack)).await?;
        self.acked = Some(news);
        Ok(true)
    }
}

async fn send(
    outbound: &mpsc::Sender<v1::FromAgent>,
    message: v1::from_agent::Message,
) -> Result<(), SessionError> {
    let message = v1::FromAgent { message: Some(message) };
    outbound.send(message).await.map_err(|_closed| SessionError::Ended)
}

fn hello(
    identity: &Identity,
    held: &Desired,
    admission: &Admission,
    outcome: &Outcome,
) -> v1::Hello {
    v1::Hello {
        node: identity.node.clone(),
        vtep_addresses: addresses(&outcome.vteps),
        udp_port: u32::from(identity.udp_port),
        agent_version: identity.version.clone(),
        abi: l2sm_common::abi::ABI,
        underlay_mtu: outcome.underlay_mtu,
        have: admission.known().cloned().map(Into::into),
        have_digest: match admission.known() {
            Some(_) => grpc::digest(&held.instructions).to_vec(),
            None => Vec::new(),
        },
        features: identity.features.clone(),
    }
}

/// What the node is now; of MTU and addresses, nothing where there is none.
fn report(outcome: &Outcome, features: &[String]) -> v1::Report {
    let conditions = outcome.conditions.iter().map(|condition| v1::NodeCondition {
        r#type: condition.kind.to_owned(),
        status: condition.holds,
        reason: condition.reason.to_owned(),
        message: condition.message.clone(),
    });
    v1::Report {
        conditions: conditions.collect(),
        vtep_addresses: addresses(&outcome.vteps),
        underlay_mtu: outcome.underlay_mtu,
        features: features.iter().chain(&outcome.features).cloned().collect(),
    }
}

fn addresses(own: &[IpAddr]) -> Vec<Vec<u8>> {
    own.iter().map(|own| grpc::address_bytes(*own)).collect()
}

fn object_error(error: &crate::state::ObjectError) -> v1::ObjectError {
    v1::ObjectError {
        kind: error.kind.name().to_owned(),
        key: Some(error.key.clone().into()),
        reason: error.reason.to_owned(),
        message: error.message.clone(),
    }
}

/// A status in one line: its message, or what its code means.
fn described(status: &Status) -> String {
    let message = status.message();
    if message.is_empty() { status.code().description().to_owned() } else { message.to_owned() }
}
