//! An operator that does what a test says: the server's side of the agent's stream and of
//! certificates, over TLS. What the real one decides is tested on a cluster; here it is the agent.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use l2sm_api::grpc::v1::{
    self, bootstrap_server::BootstrapServer, dataplane_server::DataplaneServer,
    from_agent::Message as Said, from_controller::Message,
};
use l2sm_core::instructions::Instructions;
use l2sm_tests::{cluster::Cluster, pki::Pki, wait};
use rcgen::{
    CertificateSigningRequestParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType,
    string::Ia5String,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// The token that the operator takes.
pub(crate) const TOKEN: &str = "token-of-n1";

/// What agents are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) instructions: Instructions,
    pub(crate) problems: BTreeMap<String, Vec<v1::EntryProblem>>,
    number: u64,
    /// Ends the streams that are there.
    ends: u64,
}

/// What agents have said, and showed.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) acks: Vec<v1::Ack>,
    pub(crate) reports: Vec<v1::Report>,
    /// Certificate of each stream, DER.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Tokens of each request to sign.
    pub(crate) tokens: Vec<String>,
}

/// The running operator.
pub(crate) struct Operator {
    script: watch::Sender<Script>,
    heard: Arc<Mutex<Heard>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Service {
    script: watch::Receiver<Script>,
    heard: Arc<Mutex<Heard>>,
    pki: Pki,
    /// How long certificates are good.
    validity: Duration,
    /// Another one serves, at this address.
    standby_of: Option<String>,
}

impl Operator {
    /// Starts one on 192.0.2.254:30808.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, 30808, Duration::from_hours(24), None)
    }

    /// Starts one whose certificates are good for `validity`, or which is the standby of another.
    pub(crate) fn start_with(
        cluster: &Cluster,
        port: u16,
        validity: Duration,
        standby_of: Option<String>,
    ) -> Self {
        let (script, scripts) = watch::channel(Script::default());
        let heard = Arc::<Mutex<Heard>>::default();
        let service = Service {
            script: scripts,
            heard: Arc::clone(&heard),
            pki: cluster.pki().clone(),
            validity,
            standby_of,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let netns = std::fs::File::open(cluster.underlay().path()).expect("it exists");
        let thread = std::thread::spawn(move || {
            nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio");
            runtime.block_on(async {
                let read = |name: &str| std::fs::read(service.pki.path(name)).expect("is there");
                let tls = ServerTlsConfig::new()
                    .identity(Identity::from_pem(read("server.crt"), read("server.key")))
                    .client_ca_root(Certificate::from_pem(read("ca.crt")))
                    .client_auth_optional(true);
                let address = ([192, 0, 2, 254], port).into();
                let listener = tokio::net::TcpListener::bind::<std::net::SocketAddr>(address).await;
                let incoming = tonic::transport::server::TcpIncoming::from(listener.expect("free"));
                ready.send(()).expect("the test waits");
                let server = Server::builder()
                    .tls_config(tls)
                    .expect("good files")
                    .add_service(DataplaneServer::new(service.clone()))
                    .add_service(BootstrapServer::new(service))
                    .serve_with_incoming(incoming);
                tokio::select! {
                    ended = server => ended.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("it listens");
        Self { script, heard, stop: Some(stop), thread: Some(thread) }
    }

    /// Changes what agents are told.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Script)) {
        self.script.send_modify(|script| {
            change(script);
            script.number += 1;
        });
    }

    /// Ends the streams that are there.
    pub(crate) fn end_streams(&self) {
        self.script.send_modify(|script| script.ends += 1);
    }

    pub(crate) fn heard<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.lock().expect("no panic"))
    }

    /// Reason of the error that the newest acknowledgement has for an attachment; `None`: no error.
    pub(crate) fn error_of(&self, name: &str) -> Option<String> {
        self.heard(|heard| {
            let errors = &heard.acks.last()?.errors;
            let of =
                |error: &&v1::ObjectError| error.key.as_ref().is_some_and(|key| key.name == name);
            errors.iter().find(of).map(|error| error.reason.clone())
        })
    }

    /// Waits until the newest acknowledgement says so of an attachment.
    pub(crate) fn until_error(&self, name: &str, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        wait::until_equal(&format!("error of {name}"), &reason, || self.error_of(name));
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It may have panicked; the test says why.
            drop(thread.join());
        }
    }
}

type Outbound = Pin<Box<dyn Stream<Item = Result<v1::FromController, Status>> + Send>>;

#[tonic::async_trait]
impl v1::dataplane_server::Dataplane for Service {
    type FollowStream = Outbound;

    async fn follow(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Outbound>, Status> {
        if let Some(serving) = &self.standby_of {
            let mut status = Status::unavailable(format!("on standby: {serving} serves"));
            status.metadata_mut().insert("l2sm-serving", serving.parse().expect("ASCII"));
            return Err(status);
        }
        let shown = request.peer_certs();
        let shown = shown.as_ref().and_then(|certificates| certificates.first());
        let shown = shown.ok_or_else(|| Status::unauthenticated("no certificate"))?.to_vec();
        // Before anybody hears of the stream: from then on the test may end it.
        let ends = self.script.borrow().ends;
        self.heard.lock().expect("no panic").certificates.push(shown);
        let mut inbound = request.into_inner();
        let (outbound, queue) = mpsc::channel(64);
        let heard = Arc::clone(&self.heard);
        tokio::spawn(async move {
            while let Ok(Some(message)) = inbound.message().await {
                let mut heard = heard.lock().expect("no panic");
                match message.message {
                    Some(Said::Ack(ack)) => heard.acks.push(ack),
                    Some(Said::Report(report)) => heard.reports.push(report),
                    Some(Said::Hello(_)) | None => {}
                }
            }
        });
        let script = self.script.clone();
        tokio::spawn(async move { drop(play(script, ends, &outbound).await) });
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }

    async fn attach(
        &self,
        _request: Request<v1::AttachRequest>,
    ) -> Result<Response<v1::AttachReply>, Status> {
        Err(Status::failed_precondition("attachments are made by the operator"))
    }

    async fn detach(
        &self,
        _request: Request<v1::DetachRequest>,
    ) -> Result<Response<v1::DetachReply>, Status> {
        Err(Status::failed_precondition("attachments are made by the operator"))
    }
}

/// Tells all, again with each change, until the streams end for the time after `ends`.
async fn play(
    mut script: watch::Receiver<Script>,
    ends: u64,
    outbound: &mpsc::Sender<Result<v1::FromController, Status>>,
) -> Result<(), mpsc::error::SendError<Result<v1::FromController, Status>>> {
    let say = |message| outbound.send(Ok(v1::FromController { message: Some(message) }));
    let welcome = v1::Welcome { source: "cluster".to_owned(), epoch: 1, ..v1::Welcome::default() };
    say(Message::Welcome(welcome)).await?;
    let mut told = BTreeMap::new();
    loop {
        let now = script.borrow_and_update().clone();
        if now.ends != ends {
            return Ok(());
        }
        let gone: Vec<String> = told.keys().cloned().collect();
        for pod_uid in gone.into_iter().filter(|uid| !now.problems.contains_key(uid)) {
            say(Message::Pod(v1::PodNotice { pod_uid, problems: Vec::new() })).await?;
        }
        for (uid, problems) in &now.problems {
            let (pod_uid, problems) = (uid.clone(), problems.clone());
            say(Message::Pod(v1::PodNotice { pod_uid, problems })).await?;
        }
        told = now.problems;
        let revision = v1::Revision { source: "cluster".to_owned(), epoch: 1, number: now.number };
        let update = v1::Update {
            revision: Some(revision),
            snapshot: true,
            put: Some((&now.instructions).into()),
            ..v1::Update::default()
        };
        say(Message::Update(update)).await?;
        if script.changed().await.is_err() {
            return Ok(());
        }
    }
}

#[tonic::async_trait]
impl v1::bootstrap_server::Bootstrap for Service {
    async fn sign(
        &self,
        request: Request<v1::SignRequest>,
    ) -> Result<Response<v1::SignReply>, Status> {
        let v1::SignRequest { token, csr } = request.into_inner();
        self.heard.lock().expect("no panic").tokens.push(token.clone());
        if token != TOKEN {
            return Err(Status::unauthenticated("the token is refused: it is not of a pod here"));
        }
        let read = |name: &str| std::fs::read_to_string(self.pki.path(name)).expect("is there");
        let key = KeyPair::from_pem(&read("ca.key")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), key).expect("an authority");
        let mut request = CertificateSigningRequestParams::from_der(&csr.into())
            .map_err(|why| Status::invalid_argument(why.to_string()))?;
        let uri = Ia5String::try_from("l2sm://node/n1").expect("ASCII");
        request.params.subject_alt_names = vec![SanType::URI(uri)];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = std::time::SystemTime::now();
        request.params.not_before = now.into();
        request.params.not_after = (now + self.validity).into();
        let signed = request.signed_by(&issuer).expect("can be signed");
        Ok(Response::new(v1::SignReply { certificate: signed.pem(), authorities: read("ca.crt") }))
    }
}
