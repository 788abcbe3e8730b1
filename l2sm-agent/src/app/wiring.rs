//! What joins the parts that know nothing of one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::mpsc::{SendError, Sender},
};

use l2sm_api::{
    grpc::v1::{AttachReply, AttachRequest, DetachReply, DetachRequest},
    metrics::Source,
};
use l2sm_core::{
    image::{Hook, Program},
    instructions::Port,
    model::ObjectKey,
};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use super::found;
use crate::{
    cni::{self, Controller, Found, Inside, Node, Unseen},
    controller::Client,
    datapath::{Capacities, LostEvents},
    metrics::{self, Figures},
    netlink::{
        LinksError,
        monitor::Monitor,
        netns::{Netns, NetnsError},
        veths,
    },
    reconcile::Signal,
    state::{Attaches, Counters, Desired, Identity, NodeCondition, Outcome},
};

/// The controller that is followed, as the socket sees it.
#[derive(Debug)]
pub(super) struct Calls(pub(super) Client);

impl Controller for Calls {
    fn url(&self) -> Option<String> {
        self.0.url()
    }

    fn troubles(&self) -> Vec<String> {
        self.0.troubles()
    }

    fn attaches_by_request(&self) -> Option<bool> {
        self.0.attaches_by_request()
    }

    async fn attach(&self, request: AttachRequest) -> Result<AttachReply, Status> {
        self.0.attach(request).await
    }

    async fn detach(&self, request: DetachRequest) -> Result<DetachReply, Status> {
        self.0.detach(request).await
    }

    async fn wait(&self) -> bool {
        self.0.clone().is_followed().await
    }
}

/// The node, as the socket sees it.
#[derive(Debug)]
pub(super) struct OnNode(pub(super) Sender<Signal>);

impl Node for OnNode {
    fn look(&self, path: &str) -> Result<Inside, Unseen> {
        let netns = Netns::open(path, 0).map_err(|why| unseen(&why.into()))?;
        let names = veths::names_in(&netns).map_err(|why| unseen(&why))?;
        let names = names.into_iter().map(|(name, _mac)| name).collect();
        Ok(Inside { inode: netns.inode(), names })
    }

    fn inode(&self, path: &str) -> Result<u64, Unseen> {
        let netns = Netns::open(path, 0).map_err(|why| unseen(&why.into()))?;
        Ok(netns.inode())
    }

    fn find_pods(&self, uids: &BTreeSet<String>) -> BTreeMap<String, (String, u64)> {
        cni::find_pods(Path::new("/proc"), Path::new("/run/netns"), uids)
    }

    async fn find(&self, key: &ObjectKey, port: &Port) -> Result<Found, String> {
        let (of, wanted) = (key.clone(), port.clone());
        let looked = tokio::task::spawn_blocking(move || found::find_ends(&of, &wanted)).await;
        let (mut found, device) =
            looked.map_err(|why| why.to_string())?.map_err(|why| why.to_string())?;
        let (reply, read) = oneshot::channel();
        let asked = self.0.send(Signal::Read(reply));
        asked.map_err(|_gone| "the reconciler is gone".to_owned())?;
        let image = read.await.map_err(|_gone| "the reconciler is gone".to_owned())?;
        let image = image.map_err(|why| why.to_string())?;
        if let Some(device) = device {
            found.entry = image.ports.get(&device.0).copied();
            found.attached = image.hooks.contains(&Hook { device, program: Program::PortRx });
        }
        Ok(found)
    }

    async fn counters(&self) -> Result<Counters, String> {
        let (reply, counted) = oneshot::channel();
        let asked = self.0.send(Signal::Count(reply));
        asked.map_err(|_gone| "the reconciler is gone".to_owned())?;
        let counted = counted.await.map_err(|_gone| "the reconciler is gone".to_owned())?;
        counted.map_err(|why| why.to_string())
    }
}

/// Where `/metrics` looks.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) node: OnNode,
    pub(super) identity: Identity,
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) outcomes: watch::Receiver<Outcome>,
    pub(super) attaches: watch::Receiver<Attaches>,
    pub(super) client: Client,
    pub(super) capacities: Capacities,
    pub(super) lost_events: LostEvents,
}

impl Source for Looks {
    async fn metrics(&self) -> String {
        metrics::print(&self.figures().await)
    }

    async fn readiness(&self) -> Result<(), String> {
        metrics::readiness(&self.outcomes.borrow())
    }
}

impl Looks {
    async fn figures(&self) -> Figures {
        let counters = self.node.counters().await.ok();
        let (outcome, desired) = (self.outcomes.borrow().clone(), self.desired.borrow().clone());
        let mut ports = BTreeMap::<ObjectKey, u64>::new();
        for segment in desired.instructions.segments.values() {
            ports.insert(segment.network.clone(), 0);
        }
        let programmed = outcome.ports.keys().filter_map(|key| desired.instructions.ports.get(key));
        for port in programmed {
            if let Some(segment) = desired.instructions.segments.get(&port.vni) {
                *ports.entry(segment.network.clone()).or_default() += 1;
            }
        }
        Figures {
            node: self.identity.node.clone(),
            version: self.identity.version.clone(),
            outcome,
            desired: desired.revision.as_ref().map_or(0, |revision| revision.number),
            connected: self.client.url().is_some(),
            counters,
            capacities: self.capacities.iter().map(|(map, n)| (*map, u64::from(*n))).collect(),
            ports: ports.into_iter().collect(),
            lost_events: self.lost_events.count().ok(),
            attaches: *self.attaches.borrow(),
        }
    }
}

fn unseen(why: &LinksError) -> Unseen {
    let gone = matches!(
        why,
        LinksError::Netns(NetnsError::NotOne { .. } | NetnsError::Replaced { .. })
    ) || matches!(
        why,
        LinksError::Netns(NetnsError::Gone { why, .. }) if why.kind() == io::ErrorKind::NotFound
    );
    if gone { Unseen::Gone(why.to_string()) } else { Unseen::Failed(why.to_string()) }
}

/// Has a condition of the node told with the outcome of the next pass.
pub(super) fn reporting(
    (desired, wake): (watch::Sender<Desired>, mpsc::UnboundedSender<()>),
) -> impl Fn(NodeCondition) + Send {
    move |condition| {
        desired.send_modify(|desired| {
            desired.reported.insert(condition.kind, condition);
        });
        if wake.send(()).is_err() {
            tracing::debug!("the reconciler is gone");
        }
    }
}

/// Wakes the reconciler when what is desired has changed.
pub(super) async fn forward_wakes(mut woken: mpsc::UnboundedReceiver<()>, signals: Sender<Signal>) {
    while woken.recv().await.is_some() {
        if signals.send(Signal::Desired).is_err() {
            return;
        }
    }
}

/// Wakes the reconciler when the node has changed.
pub(super) async fn watch_node(mut monitor: Monitor, signals: Sender<Signal>) -> io::Result<()> {
    loop {
        monitor.changed().await?;
        if let Err(SendError(_signal)) = signals.send(Signal::Node) {
            return Ok(());
        }
    }
}
