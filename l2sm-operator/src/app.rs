//! The operator as a whole: on standby until it holds the Lease, then for a term as its holder.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace as ApiNamespace;
use kube::{Api, Client};
use l2sm_api::grpc::v1::{bootstrap_server::BootstrapServer, dataplane_server::DataplaneServer};
use l2sm_controller::{
    VERSION,
    serve::{Listener, follow_routes},
    tls::ServerTls,
};
use time::OffsetDateTime;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    ask::ask,
    bootstrap::{self, BootstrapService},
    cluster::Cluster,
    lease::{Candidate, Permit, Standing, contend},
    metrics::{self, Metrics},
    schema,
    standby::StandbyService,
    term::{Settings, Term},
    trust::{Authority, Part},
    watch::Seen,
};

/// How soon what the API server did not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the authority is looked at, and this server's certificate made anew.
const RENEW: Duration = Duration::from_hours(1);

/// How the operator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its namespace.
    pub namespace: String,
    /// Where agents reach it.
    pub listen: SocketAddr,
    /// Where `/metrics` is; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Others like it may run: only the holder of the Lease serves.
    pub leader_election: bool,
    /// Its name among them.
    pub identity: String,
    /// Its address, as agents reach it.
    pub address: Option<IpAddr>,
    /// Agents' service account.
    pub agent_account: String,
    /// What it does.
    pub settings: Settings,
}

/// Runs until `stop`.
///
/// # Errors
/// It cannot start: an address is taken, or the API server refuses it.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    if let Some(address) = options.metrics {
        metrics::serve(address, Arc::clone(&metrics))
            .await
            .with_context(|| format!("cannot listen on {address} for metrics"))?;
    }
    // Taken before anything is done: a second one on the same address fails at once.
    drop(Listener::bind(options.listen)?);
    let mut options = options;
    let Some(source) = until(&stop, || source_of(&client)).await else { return Ok(()) };
    options.settings.source = source;
    if until(&stop, || schema::check(&client)).await.is_none() {
        return Ok(());
    }
    let opening =
        || Authority::open(&client, &options.namespace, OffsetDateTime::now_utc(), Part::Starter);
    let Some(authority) = until(&stop, opening).await else { return Ok(()) };
    let now = OffsetDateTime::now_utc();
    let config = authority.server(&options.namespace, options.address, now)?;
    let tls = Arc::new(ServerTls::fixed(config));
    info!(version = VERSION, listen = %options.listen, namespace = options.namespace, "started");
    let (standing_to, standing) = watch::channel(Standing::Standby(None));
    let permit = if options.leader_election { Permit::default() } else { Permit::forever() };
    let trust = Trust {
        client: client.clone(),
        options: options.clone(),
        tls,
        authority: watch::channel(Arc::new(authority)).0,
        permit: permit.clone(),
    };
    let trust = Arc::new(trust);
    let _renewing = AbortOnDropHandle::new(tokio::spawn(renew(Arc::clone(&trust))));
    let release = CancellationToken::new();
    let contending = tokio::spawn(elect(
        client.clone(),
        options.clone(),
        standing_to,
        permit.clone(),
        release.clone(),
    ));
    let seen = crate::watch::start(&client);
    let mut app = App {
        client,
        options,
        trust,
        metrics,
        permit,
        standing,
        seen,
        cluster: Cluster::default(),
        stop,
    };
    let ended = app.follow_standing().await;
    app.stop.cancel();
    // Only now: nothing of the term is under way any more when another one takes the Lease.
    release.cancel();
    contending.await.context("the election ended")?;
    ended
}

struct App {
    client: Client,
    options: Options,
    trust: Arc<Trust>,
    metrics: Arc<Metrics>,
    permit: Permit,
    standing: watch::Receiver<Standing>,
    seen: mpsc::Receiver<Seen>,
    cluster: Cluster,
    stop: CancellationToken,
}

impl App {
    async fn follow_standing(&mut self) -> anyhow::Result<()> {
        while !self.stop.is_cancelled() {
            let Some(epoch) = self.stand_by().await? else { break };
            self.metrics.leader.store(true, Ordering::Relaxed);
            let ended = self.serve_term(epoch).await;
            self.metrics.leader.store(false, Ordering::Relaxed);
            if let Err(why) = ended {
                warn!("the term is over: {why:#}");
                tokio::time::sleep(RETRY).await;
            }
        }
        Ok(())
    }

    /// Says who serves, until it is this process, and every watch has synced. The result is the epoch;
    /// `None`: it is to stop.
    async fn stand_by(&mut self) -> anyhow::Result<Option<u64>> {
        let stop = self.stop.child_token();
        let service = StandbyService::new(self.standing.clone());
        let routes = Routes::new(DataplaneServer::new(service.clone()))
            .add_service(BootstrapServer::new(service));
        let server = self.serve(routes, TaskTracker::new(), stop.clone()).await?;
        let epoch = loop {
            self.metrics.synced.store(self.cluster.is_synced(), Ordering::Relaxed);
            let standing = self.standing.borrow_and_update().clone();
            if let Standing::Holder { epoch } = standing
                && self.cluster.is_synced()
            {
                break Some(epoch);
            }
            tokio::select! {
                () = self.stop.cancelled() => break None,
                changed = self.standing.changed() => changed.context("the election ended")?,
                seen = self.seen.recv() => {
                    self.cluster.take(seen.context("the watches ended")?);
                    // Nobody acts on news now: a term begins with everything.
                    drop(self.cluster.take_news());
                }
            }
        };
        stop.cancel();
        server.await.context("the server ended")?;
        Ok(epoch)
    }

    async fn serve_term(&mut self, epoch: u64) -> anyhow::Result<()> {
        let mut term = Term::begin(
            self.client.clone(),
            self.permit.of_term(),
            self.options.settings.clone(),
            epoch,
            &mut self.cluster,
            Arc::clone(&self.metrics),
        )
        .await?;
        let ended = self.follow_term(&mut term, epoch).await;
        term.end().await;
        ended
    }

    async fn follow_term(&mut self, term: &mut Term, epoch: u64) -> anyhow::Result<()> {
        // The holder before may have replaced it since this process looked.
        self.trust.renew().await?;
        term.step(&mut self.cluster).await;
        let stop = self.stop.child_token();
        let streams = TaskTracker::new();
        let signing = BootstrapService {
            client: self.client.clone(),
            account: self.options.agent_account.clone(),
            authority: self.trust.authority.subscribe(),
            reviews: Arc::new(Semaphore::new(bootstrap::REVIEWS)),
            metrics: Arc::clone(&self.metrics),
        };
        let routes = follow_routes(Arc::clone(&term.hub), &streams, &stop)
            .add_service(BootstrapServer::new(signing));
        let server = self.serve(routes, streams, stop.clone()).await?;
        info!(epoch, "serving");
        let ended = self.take_steps(term, epoch).await;
        stop.cancel();
        server.await.context("the server ended")?;
        ended
    }

    async fn take_steps(&mut self, term: &mut Term, epoch: u64) -> anyhow::Result<()> {
        while self.holds(epoch) {
            term.step(&mut self.cluster).await;
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = self.standing.changed() => changed.context("the election ended")?,
                goes_on = term.wait(&mut self.cluster, &mut self.seen) => {
                    anyhow::ensure!(goes_on, "the watches ended");
                }
            }
        }
        Ok(())
    }

    fn holds(&mut self, epoch: u64) -> bool {
        !self.stop.is_cancelled()
            && *self.standing.borrow_and_update() == Standing::Holder { epoch }
    }

    /// Starts a server; the one before has let go of the address, or is about to.
    async fn serve(
        &self,
        routes: Routes,
        streams: TaskTracker,
        stop: CancellationToken,
    ) -> anyhow::Result<JoinHandle<()>> {
        let mut tries = 0;
        let listener = loop {
            match Listener::bind(self.options.listen) {
                Ok(listener) => break listener,
                Err(_taken) if tries < 50 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(why) => return Err(why.into()),
            }
        };
        let listener = listener.with_tls(Arc::clone(&self.trust.tls));
        Ok(tokio::spawn(async move {
            if let Err(why) = listener.serve_routes(routes, streams, stop).await {
                warn!(%why, "the server ended");
            }
        }))
    }
}

/// Takes part in the election, or holds for good where there is none.
async fn elect(
    client: Client,
    options: Options,
    standing: watch::Sender<Standing>,
    permit: Permit,
    stop: CancellationToken,
) {
    if !options.leader_election {
        // Seconds rise with each start, as the transitions of a Lease do.
        let now = OffsetDateTime::now_utc().unix_timestamp();
        standing.send_replace(Standing::Holder { epoch: u64::try_from(now).unwrap_or_default() });
        stop.cancelled().await;
        return;
    }
    let port = options.listen.port();
    let address = options.address.map(|ip| SocketAddr::new(ip, port).to_string());
    let candidate = Candidate {
        namespace: options.namespace,
        name: crate::api_store::MANAGER.to_owned(),
        identity: options.identity,
        address: address.unwrap_or_default(),
    };
    contend(client, candidate, standing, permit, stop).await;
}

/// The authority, and this server's certificate from it.
struct Trust {
    client: Client,
    options: Options,
    tls: Arc<ServerTls>,
    authority: watch::Sender<Arc<Authority>>,
    permit: Permit,
}

impl Trust {
    /// Makes the certificate anew, from the authority as it is now. The holder of the Lease keeps that, and
    /// tells agents of it.
    async fn renew(&self) -> anyhow::Result<()> {
        let (client, namespace) = (&self.client, &self.options.namespace);
        let now = OffsetDateTime::now_utc();
        let holds = self.permit.holds();
        let part = if holds { Part::Holder } else { Part::Follower };
        let opened = Authority::open(client, namespace, now, part).await?;
        self.tls.replace(opened.server(namespace, self.options.address, now)?);
        if holds {
            opened.publish(client, namespace).await?;
        }
        drop(self.authority.send_replace(Arc::new(opened)));
        Ok(())
    }
}

/// Keeps the server's certificate fresh, and follows what becomes of the authority.
async fn renew(trust: Arc<Trust>) {
    loop {
        tokio::time::sleep(RENEW).await;
        if let Err(why) = trust.renew().await {
            warn!("cannot renew the server's certificate: {why:#}");
        }
    }
}

/// What names this cluster.
async fn source_of(client: &Client) -> anyhow::Result<String> {
    let api: Api<ApiNamespace> = Api::all(client.clone());
    let found = ask(api.get("kube-system")).await.context("cannot read namespace kube-system")?;
    found.metadata.uid.context("namespace kube-system has no UID")
}

/// Tries until it is done; `None`: it is to stop.
async fn until<T, F>(stop: &CancellationToken, mut attempt: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut said = String::new();
    loop {
        let tried = tokio::select! {
            tried = attempt() => tried,
            () = stop.cancelled() => return None,
        };
        match tried {
            Ok(done) => return Some(done),
            Err(why) => {
                let why = format!("{why:#}");
                if why != said {
                    warn!("{why}: trying again");
                }
                said = why;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return None,
        }
    }
}
