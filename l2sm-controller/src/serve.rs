//! The server: one port for agents and `l2smctl`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use l2sm_api::grpc::v1::{dataplane_server::DataplaneServer, objects_server::ObjectsServer};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::Server,
};

use crate::{
    hub::Hub,
    incoming,
    service::{DataplaneService, ObjectsService, permit_admin, permit_somebody},
    tls::ServerTls,
};

/// A peer that does not answer for this long after [`PING_INTERVAL`] is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a silent connection is left before it is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long streams may take to end after `stop`.
const DRAIN: Duration = Duration::from_secs(3);
/// How long what they said last may take to leave.
const FLUSH: Duration = Duration::from_millis(200);
/// Largest request: manifests with many documents.
const REQUEST_MAX: usize = 64 << 20;

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {why}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// The server ended by itself.
    #[error("server ended: {0}")]
    Ended(#[from] tonic::transport::Error),
}

/// A server whose address is taken, and that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Listener {
    /// Takes an address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let fail = |why| ServeError::Bind { address, why };
        let socket = std::net::TcpListener::bind(address).map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        let socket = TcpListener::from_std(socket).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        Ok(Self { socket, tls: None, address })
    }

    /// Serves with TLS, to those alone whose certificate an authority of ours has signed.
    #[must_use]
    pub fn with_tls(self, tls: impl Into<Arc<ServerTls>>) -> Self {
        Self { tls: Some(tls.into()), ..self }
    }

    /// Serves the objects of `hub` until `stop`.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    pub async fn serve(self, hub: Arc<Hub>, stop: CancellationToken) -> Result<(), ServeError> {
        let streams = TaskTracker::new();
        let objects = ObjectsServer::new(ObjectsService::new(Arc::clone(&hub)));
        let objects = objects.max_decoding_message_size(REQUEST_MAX);
        let objects = InterceptedService::new(objects, permit_admin);
        let routes = follow_routes(hub, &streams, &stop).add_service(objects);
        self.serve_routes(routes, streams, stop).await
    }

    /// Serves `routes` until `stop`; then the tasks of `streams` have a moment to end.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    #[expect(clippy::large_stack_frames, reason = "a future: it lives on the heap once spawned")]
    pub async fn serve_routes(
        self,
        routes: Routes,
        streams: TaskTracker,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let (ready, connections) = incoming::channel();
        let accepting = tokio::spawn(incoming::accept(self.socket, self.tls, ready));
        let _accepting = AbortOnDropHandle::new(accepting);
        let server = Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                ReceiverStream::new(connections),
                stop.clone().cancelled_owned(),
            );
        let drained = async {
            stop.cancelled().await;
            streams.close();
            let ended = tokio::time::timeout(DRAIN, streams.wait()).await.is_ok();
            tracing::debug!(ended, "streams");
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            ended = server => ended?,
            () = drained => {}
        }
        Ok(())
    }
}

/// What agents are served from `hub` until `stop`; their streams are tasks of `streams`.
pub fn follow_routes(hub: Arc<Hub>, streams: &TaskTracker, stop: &CancellationToken) -> Routes {
    let dataplane = DataplaneService::new(hub, streams.clone(), stop.clone());
    let dataplane = DataplaneServer::new(dataplane).max_decoding_message_size(REQUEST_MAX);
    Routes::new(InterceptedService::new(dataplane, permit_somebody))
}
