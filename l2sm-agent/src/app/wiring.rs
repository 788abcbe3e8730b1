//! What joins the parts that know nothing of one another.

use std::{
    io,
    sync::mpsc::{SendError, Sender},
};

use l2sm_api::grpc::v1::{AttachReply, AttachRequest, DetachReply, DetachRequest};
use l2sm_core::{
    image::{Hook, Program},
    instructions::Port,
    model::ObjectKey,
};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::found;
use crate::{
    cni::{Controller, Found, Inside, Node, Unseen},
    controller::Client,
    netlink::{
        LinksError,
        monitor::Monitor,
        netns::{Netns, NetnsError},
        veths,
    },
    reconcile::Signal,
    state::Counters,
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
