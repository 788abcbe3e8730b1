//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Nothing is counted here: the programs count packets, the parts of the agent what they do, and a
//! scrape asks them.

mod exposition;

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use l2sm_core::model::ObjectKey;
use thiserror::Error;
use tokio::{sync::Semaphore, time::timeout};

use crate::state::{Attaches, Counters, Outcome};

/// A connection may take this long in all: a scrape is short.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections served at a time.
const CONNECTIONS: usize = 32;

/// Where the figures come from.
pub trait Source: Send + Sync + 'static {
    /// What came of the last pass.
    fn outcome(&self) -> Outcome;

    /// Everything, as it stands.
    fn figures(&self) -> impl Future<Output = Figures> + Send;
}

/// What `/metrics` tells.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Name of the node.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// What came of the last pass.
    pub outcome: Outcome,
    /// Number of the revision that is desired; 0: none.
    pub desired: u64,
    /// A controller is followed.
    pub connected: bool,
    /// By slot, and by slot and reason; `None`: they cannot be read.
    pub counters: Option<Counters>,
    /// Entries that each map holds at most.
    pub capacities: Vec<(&'static str, u64)>,
    /// Ports by network.
    pub ports: Vec<(ObjectKey, u64)>,
    /// Attachments made by request.
    pub attaches: Attaches,
}

/// Why there is no listener.
#[derive(Debug, Error)]
#[error("--metrics-addr {address}: {why}")]
pub struct MetricsError {
    address: SocketAddr,
    why: io::Error,
}

/// The bound address.
#[derive(Debug)]
pub struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Binds `address`.
    ///
    /// # Errors
    /// It is taken, or not one of this node.
    pub fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Self(listener))
        });
        bound.map_err(|why| MetricsError { address, why })
    }

    /// Serves for as long as the agent runs.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(self, source: impl Source) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.0)?;
        let (source, free) = (Arc::new(source), Arc::new(Semaphore::new(CONNECTIONS)));
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return Ok(()) };
            let stream = match listener.accept().await {
                Ok((stream, _peer)) => stream,
                Err(why) => {
                    // Out of descriptors, most likely: others give some back.
                    tracing::debug!(%why, "metrics: accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let source = Arc::clone(&source);
            tokio::spawn(async move {
                let _permit = permit;
                let answer = service_fn(move |request: Request<Incoming>| {
                    let source = Arc::clone(&source);
                    async move { Ok::<_, Infallible>(answer(&request, source.as_ref()).await) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), answer);
                if let Ok(Err(why)) = timeout(PATIENCE, served).await {
                    tracing::debug!(%why, "metrics: connection");
                }
            });
        }
    }
}

async fn answer(request: &Request<Incoming>, source: &impl Source) -> Response<Full<Bytes>> {
    if *request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, exposition::print(&source.figures().await)),
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match readiness(&source.outcome()) {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n".to_owned()),
    }
}

/// Whether the node forwards as it was last told. Loss of the controller changes nothing in that.
fn readiness(outcome: &Outcome) -> Result<(), String> {
    if let Some(error) = outcome.node_error() {
        return Err(error.message.clone());
    }
    if outcome.applied {
        Ok(())
    } else {
        Err("no controller has told yet what this node is to do".to_owned())
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Kind, ObjectError};

    #[test]
    fn a_node_is_ready_once_an_image_is_applied() {
        let mut outcome = Outcome::default();
        assert!(readiness(&outcome).unwrap_err().contains("no controller has told"));
        outcome.applied = true;
        assert_eq!(readiness(&outcome), Ok(()));
        outcome.errors.push(ObjectError {
            kind: Kind::Node,
            key: ObjectKey::new("", "n1"),
            reason: "NotOurs",
            message: "the device l2sm-br is not ours".to_owned(),
        });
        assert_eq!(readiness(&outcome), Err("the device l2sm-br is not ours".to_owned()));
    }

    #[test]
    fn a_port_that_is_taken_is_one_line() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let why = MetricsListener::bind(address).unwrap_err().to_string();
        assert!(why.starts_with(&format!("--metrics-addr {address}: Address already in use")));
        assert!(!why.contains('\n'), "{why}");
    }
}
