//! `l2sm.v1.Dataplane`: for agents.

use std::{pin::Pin, sync::Arc};

use l2sm_api::{
    grpc::{
        read_address, read_mac,
        v1::{self, dataplane_server::Dataplane},
    },
    objects::DEFAULT_NAMESPACE,
};
use l2sm_core::{instructions::Instructions, ipam::Wanted, model::ObjectKey};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use super::access::{Peer, permit_message};
use crate::{
    attach::{AttachOrder, DetachOrder},
    distribute::{on_hub, serve_stream},
    hub::Hub,
};

/// Messages that wait for a slow agent before its stream's task waits too.
const WAITING: usize = 16;

/// Serves agents.
#[derive(Clone, Debug)]
pub struct DataplaneService {
    hub: Arc<Hub>,
    streams: TaskTracker,
    stop: CancellationToken,
}

impl DataplaneService {
    /// Serves agents from `hub` until `stop`; their streams are tasks of `streams`.
    pub const fn new(hub: Arc<Hub>, streams: TaskTracker, stop: CancellationToken) -> Self {
        Self { hub, streams, stop }
    }
}

#[tonic::async_trait]
impl Dataplane for DataplaneService {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<v1::FromController, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let peer = Peer::of(&request)?;
        let address = peer.address;
        let (to, messages) = mpsc::channel(WAITING);
        let (hub, stop) = (Arc::clone(&self.hub), self.stop.clone());
        let from = request.into_inner().map(move |message| permit_message(&peer, message));
        // Answered before the hello: an agent may wait for the answer before it says it.
        drop(self.streams.spawn(serve_stream(hub, from, to, address, stop)));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn attach(
        &self,
        request: Request<v1::AttachRequest>,
    ) -> Result<Response<v1::AttachReply>, Status> {
        let peer = Peer::of(&request)?;
        let order = read_attach(request.into_inner())?;
        peer.permit_node(&order.node)?;
        let (key, number, port) = on_hub(&self.hub, move |hub| hub.attach(&order)).await?;
        let one = Instructions { ports: [(key.clone(), port)].into(), ..Instructions::default() };
        Ok(Response::new(v1::AttachReply {
            attachment: Some(key.into()),
            revision: Some(self.hub.revision(number).into()),
            port: v1::Instructions::from(&one).ports.pop(),
        }))
    }

    async fn detach(
        &self,
        request: Request<v1::DetachRequest>,
    ) -> Result<Response<v1::DetachReply>, Status> {
        let peer = Peer::of(&request)?;
        let (node, order) = read_detach(request.into_inner())?;
        peer.permit_node(&node)?;
        let (removed, number) = on_hub(&self.hub, move |hub| hub.detach(&node, &order)).await?;
        Ok(Response::new(v1::DetachReply {
            removed: removed.into_iter().map(Into::into).collect(),
            revision: Some(self.hub.revision(number).into()),
        }))
    }
}

fn read_attach(message: v1::AttachRequest) -> Result<AttachOrder, Status> {
    let wrong = |why: &dyn std::fmt::Display| Status::invalid_argument(why.to_string());
    let mut ips = Vec::with_capacity(message.addresses.len());
    for address in &message.addresses {
        let ip = read_address("addresses", &address.ip).map_err(|why| wrong(&why))?;
        let prefix_len = u8::try_from(address.prefix_len).map_err(|_large| {
            wrong(&format!("addresses: {} is no prefix length", address.prefix_len))
        })?;
        ips.push(Wanted { ip, prefix_len: Some(prefix_len).filter(|len| *len > 0) });
    }
    let mac = match message.mac.as_slice() {
        [] => None,
        bytes => Some(read_mac("mac", bytes).map_err(|why| wrong(&why))?),
    };
    Ok(AttachOrder {
        node: message.node,
        network: message.network.map(named).filter(|key| !key.name.is_empty()),
        netns: message.netns,
        netns_inode: message.netns_inode,
        ifname: message.ifname,
        ips,
        mac,
        pod: message.pod,
        container_id: message.container_id,
    })
}

fn read_detach(message: v1::DetachRequest) -> Result<(String, DetachOrder), Status> {
    if message.node.is_empty() {
        return Err(Status::invalid_argument("node: is required"));
    }
    let order = match (message.attachment, message.netns_inode) {
        (Some(key), _) => DetachOrder::One(named(key)),
        (None, 0) => {
            return Err(Status::invalid_argument(
                "netns_inode: is required where no attachment is named",
            ));
        }
        (None, inode) => DetachOrder::Netns {
            inode,
            network: message.network.map(named),
            ifname: Some(message.ifname).filter(|name| !name.is_empty()),
        },
    };
    Ok((message.node, order))
}

/// A key, in namespace `default` where it says none.
fn named(key: v1::ObjectKey) -> ObjectKey {
    let mut key = ObjectKey::from(key);
    if key.namespace.is_empty() {
        DEFAULT_NAMESPACE.clone_into(&mut key.namespace);
    }
    key
}
