//! The daemon: everything made, wired, and watched.

mod check;
mod cleanup;
mod drops;
mod found;
mod lock;
mod privilege;
mod refused;
mod wiring;

use std::{
    fmt,
    io::Write as _,
    net::{IpAddr, ToSocketAddrs},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as blocking,
    },
    thread,
    time::Instant,
};

use anyhow::{Context, bail};
use l2sm_api::metrics::MetricsListener;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinSet,
};

use self::{
    lock::{Lock, NamespaceLock},
    refused::Before,
    wiring::{Calls, Looks, OnNode},
};
use crate::{
    bootstrap::{Bootstrap, Exchange},
    chain,
    cni::{Channels, Journal, Listener, Service},
    config::{Cleanup, Command, Run, host_and_port, version},
    controller::{Client, Follower, Renewals, Settings as FollowSettings, Troubles, kept},
    datapath::{
        Attaching, Capacities, Events, KernelDatapath, LostEvents, MOUNT_POINT, ensure_bpffs,
        is_usable,
    },
    netlink::{
        KernelLinks, Links, Settings, monitor::Monitor, socket::Conversation, underlay::Underlay,
    },
    reconcile::{Driver, Reconciler, Signal},
    state::{Desired, Identity, Outcome},
};

/// The variable that every container of a pod has.
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

/// Does what the command line says.
///
/// # Errors
/// One line: what, and after a colon why.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(run) => {
            if let Err(why) = run.check() {
                return Ok(usage(&why));
            }
            let node = match run.node() {
                Ok(node) => node,
                Err(why) => return Ok(usage(&why)),
            };
            follow(&run, node)?;
        }
        Command::Cleanup(cleanup) => clean_up(&cleanup)?,
        Command::Check(check) => return Ok(check::run(&check)),
        Command::Mount(_log) => ensure_bpffs(Path::new(MOUNT_POINT))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn usage(why: &crate::config::UsageError) -> ExitCode {
    // Without standard error there is nobody to tell.
    drop(writeln!(std::io::stderr(), "l2sm-agent: {why}"));
    ExitCode::from(2)
}

fn clean_up(cleanup: &Cleanup) -> anyhow::Result<()> {
    privilege::check()?;
    let _namespace = NamespaceLock::take()?;
    let _lock = Lock::take(&cleanup.places)?;
    // First what starts pods on the plugin, then what the plugin needs.
    let mut removed = match cleanup.cni.both() {
        Some((conf_dir, bin_dir)) => chain::remove(conf_dir, bin_dir)?,
        None => Vec::new(),
    };
    removed.extend(cleanup::remove_all(&cleanup.places)?);
    let mut lines: Vec<_> = removed.iter().map(|thing| format!("removed {thing}\n")).collect();
    if lines.is_empty() {
        lines.push("nothing to remove\n".to_owned());
    }
    // It is removed, whether or not somebody reads it.
    drop(std::io::stdout().write_all(lines.concat().as_bytes()));
    Ok(())
}

/// The whole life of the daemon.
fn follow(run: &Run, node: String) -> anyhow::Result<()> {
    privilege::check()?;
    let namespace = NamespaceLock::take()?;
    make_directory(&run.places)?;
    prepare_bpffs(&run.places.bpffs, std::env::var_os(IN_POD).is_some())?;
    let lock = Lock::take(&run.places)?;
    let before = Before::look(&run.places);
    let passes = AtomicBool::new(false);
    let ended = live(run, node, &passes);
    if ended.is_err() && !passes.load(Ordering::Relaxed) {
        before.restore(&run.places);
    }
    ended?;
    if run.detach_on_exit {
        let removed = cleanup::remove_all(&run.places)?;
        tracing::info!(things = removed.len(), "all that is ours is removed");
    }
    drop((lock, namespace));
    Ok(())
}

/// The life of the daemon, on a node that is its alone. `passes` becomes true when it begins to change
/// the node: until then it may be refused.
#[expect(clippy::large_stack_frames, reason = "called once, on the main thread's stack")]
fn live(run: &Run, node: String, passes: &AtomicBool) -> anyhow::Result<()> {
    let metrics = MetricsListener::bind(run.metrics_addr)?;
    let underlay = choose_underlay(run)?;
    let settings = Settings { underlay, udp_port: run.vxlan_port, mark: run.mark, xdp: run.xdp };
    let mut links = KernelLinks::open(settings.clone())?;
    links.look()?;
    links.ensure_devices()?;
    let capacities = run.map_capacity.iter().copied().collect();
    let mut datapath = KernelDatapath::open_sized(&run.places.bpffs, &capacities)?;
    for why in datapath.take_over()? {
        tracing::error!(%why, "a program of the agent before stays until the next pass");
    }
    let identity = Identity {
        node,
        version: version().to_owned(),
        vteps: settings.underlay.addresses.clone(),
        udp_port: run.vxlan_port,
        uplinks: settings.underlay.devices.clone(),
        features: vec![feature(datapath.attaching()).to_owned()],
    };
    let capacities = datapath.capacities().clone();
    let reconciler = Reconciler::new(datapath, links, &identity.node, Instant::now());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let parts = (metrics, capacities);
    let ended = runtime.block_on(Box::pin(serve(run, identity, reconciler, parts, passes)));
    runtime.shutdown_background();
    ended
}

/// In a pod nothing is mounted: a bpffs of the container's own would go with it, and all that forwards.
fn prepare_bpffs(path: &Path, in_pod: bool) -> anyhow::Result<()> {
    if in_pod && !is_usable(path)? {
        bail!(
            "{}: the host has no bpffs on /sys/fs/bpf: mount one there (`mount -t bpf bpf \
             /sys/fs/bpf`, or deploy/components/bpffs)",
            path.display()
        );
    }
    Ok(ensure_bpffs(path)?)
}

/// Runs every part until a signal asks to stop. A part that ends by itself is an error: the kernel
/// goes on forwarding, and whoever started the agent starts it again.
async fn serve(
    run: &Run,
    identity: Identity,
    mut reconciler: Reconciler<KernelDatapath, KernelLinks>,
    metrics: (MetricsListener, Capacities),
    passes_begin: &AtomicBool,
) -> anyhow::Result<()> {
    let (signals, signals_seen) = blocking::channel();
    let mut parts = JoinSet::new();
    let driver =
        Box::pin(spawn_parts(run, identity, (&signals, signals_seen), metrics, &mut parts)).await?;
    passes_begin.store(true, Ordering::Relaxed);
    let (done, passes_ended) = oneshot::channel::<()>();
    let passes = thread::Builder::new().name("reconcile".to_owned()).spawn(move || {
        // Dropped at the end, a panic's too: that is the message.
        let _done = done;
        driver.run(&mut reconciler);
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _gone = passes_ended => bail!(ended_early("the reconciler")),
        part = parts.join_next() => {
            bail!(ended_early(part.and_then(Result::ok).unwrap_or("a part of the agent")))
        }
    }
    tracing::info!("stopping; forwarding goes on");
    // First those that need the reconciler, so that none takes its end for a failure.
    parts.shutdown().await;
    if signals.send(Signal::Stop).is_ok() && passes.join().is_err() {
        bail!(ended_early("the reconciler"));
    }
    Ok(())
}

fn ended_early(part: &str) -> String {
    format!("{part} ended early; forwarding goes on without the agent")
}

/// Makes everything that runs beside the reconciler, and starts it. Each part that ends tells its name.
#[expect(clippy::large_stack_frames, reason = "called once, in a future that is on the heap")]
async fn spawn_parts(
    run: &Run,
    identity: Identity,
    (signals, signals_seen): (&blocking::Sender<Signal>, blocking::Receiver<Signal>),
    (metrics, capacities): (MetricsListener, Capacities),
    parts: &mut JoinSet<&'static str>,
) -> anyhow::Result<Driver> {
    let state_dir = run.places.state_dir();
    let (desired, desired_seen) = watch::channel(remembered(state_dir));
    let (outcome, outcomes) = watch::channel(Outcome::default());
    let (controller, controller_seen) = watch::channel(None);
    let (troubles, troubles_seen) = watch::channel(Troubles::new());
    let (wake, woken) = mpsc::unbounded_channel();
    let journal = Journal::open(state_dir)?;
    let listener = Listener::bind(&run.places.socket)?;
    let reports = (desired.clone(), wake.clone());
    let monitor = Monitor::open().context("watch the node's links")?;
    let names = drops::Names {
        desired: desired_seen.clone(),
        outcomes: outcomes.clone(),
        udp_port: run.vxlan_port,
    };
    let events = Events::open(&run.places.bpffs)?;
    parts.spawn(named("reading drop records", drops::tell(events, names)));
    let channels =
        Channels { desired: desired.clone(), outcomes: outcomes.clone(), wake: wake.clone() };
    let client = Client::new(controller_seen, troubles_seen);
    let (calls, on_node) = (Calls(client.clone()), OnNode(signals.clone()));
    let service = Arc::new(Service::new(calls, on_node, identity.clone(), channels, journal));
    // Before anything is followed: a port whose pod is not known to be here would go.
    service.open_beside(&run.places.socket).await;
    if let Some(places) = run.cni.places(run.cni_plugin.as_deref(), &run.places.socket) {
        let keeping = chain::keep_installed(places, wiring::reporting(reports));
        parts.spawn(named("keeping the CNI list", async move { Box::pin(keeping).await }));
    }
    let looks = Looks {
        node: OnNode(signals.clone()),
        identity: identity.clone(),
        desired: desired_seen.clone(),
        outcomes: outcomes.clone(),
        attaches: service.attaches(),
        client,
        capacities,
        lost_events: LostEvents::open(&run.places.bpffs)?,
    };
    parts.spawn(named("serving metrics", async move { Box::pin(metrics.serve(looks)).await }));
    let settings = FollowSettings {
        urls: run.controller.clone(),
        tls: run.tls.files(state_dir).ok(),
        server_name: run.tls.tls_server_name.clone(),
        adopt: run.adopt_controller,
        state_dir: state_dir.to_owned(),
    };
    let renewals = spawn_renewals(run, &settings, &troubles, parts);
    let follower = Follower {
        settings,
        identity,
        desired,
        outcomes,
        followed: controller,
        troubles,
        wake,
        renewals,
    };
    parts.spawn(named("following the controller", async move { Box::pin(follower.run()).await }));
    parts.spawn(named("waking the reconciler", wiring::forward_wakes(woken, signals.clone())));
    parts.spawn(named("watching the links", wiring::watch_node(monitor, signals.clone())));
    spawn_service(service, listener, parts);
    Ok(Driver { desired: desired_seen, outcome, signals: signals_seen })
}

/// The socket, and what else the service does by itself.
fn spawn_service(
    service: Arc<Service<Calls, OnNode>>,
    listener: Listener,
    parts: &mut JoinSet<&'static str>,
) {
    let tells = Arc::clone(&service);
    parts.spawn(named(
        "telling releases",
        async move { Box::pin(tells.tell_releases_forever()).await },
    ));
    let looks = Arc::clone(&service);
    parts.spawn(named("looking for namespaces", async move {
        Box::pin(looks.release_gone_forever()).await;
    }));
    let follows = Arc::clone(&service);
    parts.spawn(named("following the pods", async move {
        Box::pin(follows.follow_sandboxes_forever()).await;
    }));
    parts
        .spawn(named("serving the socket", async move { Box::pin(listener.serve(service)).await }));
}

/// Keeps the node's certificate renewed; `None`: it is in files of the user's.
fn spawn_renewals(
    run: &Run,
    settings: &FollowSettings,
    troubles: &watch::Sender<Troubles>,
    parts: &mut JoinSet<&'static str>,
) -> Option<Renewals> {
    let files = settings.tls.clone()?;
    let bootstrap = Bootstrap {
        urls: settings.urls.clone(),
        ca: files.ca,
        server_name: settings.server_name.clone(),
        token: run.tls.tls_bootstrap_token.clone()?,
        file: files.cert,
    };
    let (issued, certificates) = watch::channel(0);
    let refused = Arc::new(Notify::new());
    let renewals = Renewals { issued: certificates, refused: Arc::clone(&refused) };
    let exchange = Exchange { issued, refused, troubles: troubles.clone() };
    parts.spawn(named("renewing the certificate", Box::pin(bootstrap.run(exchange))));
    Some(renewals)
}

/// A part, which tells its name when it ends.
async fn named<T: fmt::Debug>(
    name: &'static str,
    part: impl Future<Output = T> + Send,
) -> &'static str {
    let ended = Box::pin(part).await;
    tracing::error!(?ended, "{name}: ended");
    name
}

/// What was desired when the agent last ran. A file that cannot be read is as good as none.
fn remembered(state_dir: &Path) -> Desired {
    match kept::load(state_dir) {
        Ok(Some(kept)) => Desired {
            instructions: kept.instructions,
            revision: Some(kept.revision),
            ..Desired::default()
        },
        Ok(None) => Desired::default(),
        Err(why) => {
            tracing::warn!(%why, "starting without the last instructions");
            Desired::default()
        }
    }
}

/// How programs are attached, as status calls it.
fn feature(attaching: Attaching) -> &'static str {
    match attaching {
        Attaching::Tcx => "tcx",
        Attaching::Filter => "clsact",
    }
}

fn make_directory(places: &crate::config::Places) -> anyhow::Result<()> {
    let of_socket = places.socket.parent().unwrap_or(Path::new("."));
    for directory in [of_socket, places.state_dir()] {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("make {}", directory.display()))?;
    }
    Ok(())
}

fn choose_underlay(run: &Run) -> anyhow::Result<Underlay> {
    let mut kernel = Conversation::open()?;
    let explicit = !run.underlay_device.is_empty() || !run.vtep_ip.is_empty();
    let controllers = if explicit { Vec::new() } else { resolve(&run.controller) };
    Ok(Underlay::choose(&mut kernel, &run.underlay_device, &run.vtep_ip, &controllers)?)
}

/// Addresses of the controllers that have some now.
fn resolve(urls: &[String]) -> Vec<IpAddr> {
    urls.iter()
        .filter_map(|url| host_and_port(url)?.to_socket_addrs().ok())
        .flatten()
        .map(|address| address.ip())
        .collect()
}
