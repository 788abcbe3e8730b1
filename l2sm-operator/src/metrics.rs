//! `/metrics`, `/healthz` and `/readyz`.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tracing::debug;

/// Figures of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// All watches have seen all that there is.
    pub synced: AtomicBool,
    /// It holds the Lease.
    pub leader: AtomicBool,
    /// Networks.
    pub networks: AtomicU64,
    /// Attachments.
    pub attachments: AtomicU64,
    /// Pods that do not have all that they ask for.
    pub pods_waiting: AtomicU64,
    /// Attachments of running pods that no node has in its kernel yet.
    pub unattached: AtomicU64,
    /// Agents that follow.
    pub agents: AtomicU64,
    written: AtomicU64,
    not_written: AtomicU64,
    /// Certificates signed.
    pub signed: AtomicU64,
}

impl Metrics {
    /// Counts a write of what is only shown.
    pub fn count_write(&self, done: bool) {
        let counter = if done { &self.written } else { &self.not_written };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let flag = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed));
        let rows = [
            (
                "l2sm_operator_leader",
                "gauge",
                "1 where this process holds the lease",
                flag(&self.leader),
            ),
            ("l2sm_operator_synced", "gauge", "1 where every watch has synced", flag(&self.synced)),
            ("l2sm_operator_networks", "gauge", "L2Networks", load(&self.networks)),
            ("l2sm_operator_attachments", "gauge", "L2Attachments", load(&self.attachments)),
            (
                "l2sm_operator_pods_waiting",
                "gauge",
                "Pods that do not have all that they ask for",
                load(&self.pods_waiting),
            ),
            (
                "l2sm_operator_unattached",
                "gauge",
                "Interfaces that running pods ask for and do not have yet",
                load(&self.unattached),
            ),
            ("l2sm_operator_agents", "gauge", "Agents that follow", load(&self.agents)),
            (
                "l2sm_operator_writes_total",
                "counter",
                "Statuses and events written",
                load(&self.written),
            ),
            (
                "l2sm_operator_write_failures_total",
                "counter",
                "Statuses and events that could not be written",
                load(&self.not_written),
            ),
            (
                "l2sm_operator_certificates_total",
                "counter",
                "Certificates signed",
                load(&self.signed),
            ),
        ];
        let rows = rows.map(|(name, kind, help, value)| {
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
        });
        rows.concat()
    }
}

/// Serves until the process ends.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    drop(tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            };
            let metrics = Arc::clone(&metrics);
            drop(tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let response = respond(&request, &metrics);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                if let Err(why) = connection.await {
                    debug!(%why, "a connection for metrics has ended");
                }
            }));
        }
    }));
    Ok(())
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, metrics.text()),
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if metrics.synced.load(Ordering::Relaxed) => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => {
            (StatusCode::SERVICE_UNAVAILABLE, "not every watch has synced yet\n".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, "there is /metrics, /healthz, /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
