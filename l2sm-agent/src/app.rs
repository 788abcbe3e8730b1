//! The daemon: everything made, wired, and watched.

mod cleanup;
mod lock;
mod privilege;
mod wiring;

use std::{
    net::{IpAddr, ToSocketAddrs},
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc as blocking},
    thread,
};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};

use self::{
    lock::Lock,
    wiring::{Calls, OnNode},
};
use crate::{
    cni::{Channels, Journal, Listener, Service},
    config::{Cleanup, Command, Run, host_and_port, version},
    controller::{Client, Follower, Settings as FollowSettings, kept},
    datapath::{Attaching, KernelDatapath, ensure_bpffs},
    netlink::{
        KernelLinks, Links, Settings, monitor::Monitor, socket::Conversation, underlay::Underlay,
    },
    reconcile::{Driver, Reconciler, Signal},
    state::{Desired, Identity, Outcome},
};

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
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the command line's own answer")]
fn usage(why: &crate::config::UsageError) -> ExitCode {
    eprintln!("l2sm-agent: {why}");
    ExitCode::from(2)
}

#[expect(clippy::print_stdout, reason = "what was removed is the command's output")]
fn clean_up(cleanup: &Cleanup) -> anyhow::Result<()> {
    privilege::check()?;
    let _lock = Lock::take(&cleanup.places)?;
    let removed = cleanup::remove_all(&cleanup.places)?;
    for line in &removed {
        println!("removed {line}");
    }
    if removed.is_empty() {
        println!("nothing to remove");
    }
    Ok(())
}

/// The whole life of the daemon.
fn follow(run: &Run, node: String) -> anyhow::Result<()> {
    privilege::check()?;
    make_directory(&run.places)?;
    ensure_bpffs(&run.places.bpffs)?;
    let lock = Lock::take(&run.places)?;
    let underlay = choose_underlay(run)?;
    let settings = Settings { underlay, udp_port: run.vxlan_port, mark: run.mark };
    let mut links = KernelLinks::open(settings.clone())?;
    links.ensure_devices()?;
    let datapath = KernelDatapath::open(&run.places.bpffs)?;
    let identity = Identity {
        node,
        version: version().to_owned(),
        vteps: settings.underlay.addresses.clone(),
        udp_port: run.vxlan_port,
        uplinks: settings.underlay.devices.clone(),
        features: vec![feature(datapath.attaching()).to_owned()],
    };
    let reconciler = Reconciler::new(datapath, links, &identity.node);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(serve(run, identity, reconciler));
    runtime.shutdown_background();
    ended?;
    if run.detach_on_exit {
        let removed = cleanup::remove_all(&run.places)?;
        tracing::info!(things = removed.len(), "all that is ours is removed");
    }
    drop(lock);
    Ok(())
}

/// Runs every part until a signal asks to stop. A part that ends by itself is an error: the kernel
/// goes on forwarding, and whoever started the agent starts it again.
async fn serve(
    run: &Run,
    identity: Identity,
    mut reconciler: Reconciler<KernelDatapath, KernelLinks>,
) -> anyhow::Result<()> {
    let state_dir = run.places.state_dir();
    let (desired, desired_seen) = watch::channel(remembered(state_dir));
    let (outcome, outcomes) = watch::channel(Outcome::default());
    let (followed, followed_seen) = watch::channel(None);
    let (wake, woken) = mpsc::unbounded_channel();
    let (signals, signals_seen) = blocking::channel();
    let journal = Journal::open(state_dir)?;
    let listener = Listener::bind(&run.places.socket)?;
    let monitor = Monitor::open().context("watch the node's links")?;
    let calls = Calls(Client::new(followed_seen));
    let channels =
        Channels { desired: desired.clone(), outcomes: outcomes.clone(), wake: wake.clone() };
    let on_node = OnNode(signals.clone());
    let service = Arc::new(Service::new(calls, on_node, identity.clone(), channels, journal));
    let settings = FollowSettings {
        urls: run.controller.clone(),
        adopt: run.adopt_controller,
        state_dir: state_dir.to_owned(),
    };
    let follower = Follower { settings, identity, desired, outcomes, followed, wake };
    let (done, passes_ended) = oneshot::channel::<()>();
    let driver = Driver { desired: desired_seen, outcome, signals: signals_seen };
    let passes = thread::Builder::new().name("reconcile".to_owned()).spawn(move || {
        // Dropped at the end, a panic's too: that is the message.
        let _done = done;
        driver.run(&mut reconciler);
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _gone = passes_ended => Err("the reconciler"),
        () = follower.run() => Err("following the controller"),
        _failed = listener.serve(Arc::clone(&service)) => Err("serving the socket"),
        () = wiring::forward_wakes(woken, signals.clone()) => Err("waking the reconciler"),
        _failed = wiring::watch_node(monitor, signals.clone()) => Err("watching the node's links"),
        () = service.tell_releases_forever() => Err("telling releases"),
        () = service.release_gone_forever() => Err("looking for namespaces that are gone"),
    };
    if let Err(part) = ended {
        bail!("{part}: ended early; forwarding goes on without the agent");
    }
    tracing::info!("stopping; forwarding goes on");
    if signals.send(Signal::Stop).is_ok() && passes.join().is_err() {
        bail!("the reconciler: ended early; forwarding goes on without the agent");
    }
    Ok(())
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
