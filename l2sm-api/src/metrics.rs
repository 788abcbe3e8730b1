//! `/metrics`, `/healthz` and `/readyz` of a daemon (feature `metrics`).
//!
//! Nothing is counted here: a scrape asks whoever has counted.

mod page;

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
use thiserror::Error;
use tokio::{sync::Semaphore, time::timeout};

pub use self::page::Page;

/// A connection may take this long in all: a scrape is short.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections served at a time.
const CONNECTIONS: usize = 32;

/// What the pages tell.
pub trait Source: Send + Sync + 'static {
    /// The text of `/metrics`.
    fn metrics(&self) -> impl Future<Output = String> + Send;

    /// Whether `/readyz` says yes.
    ///
    /// # Errors
    /// Why not, in one line.
    fn readiness(&self) -> impl Future<Output = Result<(), String>> + Send;
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

    /// Where it listens; of port 0, the one that was taken.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves for as long as the process runs.
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
        "/metrics" => text(StatusCode::OK, source.metrics().await),
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match source.readiness().await {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n".to_owned()),
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

    #[test]
    fn a_port_that_is_taken_is_one_line() {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let why = MetricsListener::bind(address).unwrap_err().to_string();
        assert!(why.starts_with(&format!("--metrics-addr {address}: Address already in use")));
        assert!(!why.contains('\n'), "{why}");
    }
}
