//! A connection to a controller.

use std::time::Duration;

use l2sm_api::grpc::tls::{ClientFiles, ClientTlsError};
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};

/// A connection is there within this, and the TLS handshake done within as long again.
const CONNECT: Duration = Duration::from_secs(3);
/// An idle connection is asked this often whether it lives, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// The files of TLS are of no use.
    #[error(transparent)]
    Files(#[from] ClientTlsError),
    /// Nobody answers, or not as a controller does.
    #[error("{}", deepest(.0))]
    Transport(#[from] tonic::transport::Error),
}

/// Connects to `url`, an `https://` one with `tls`, whose files are read as they are now.
#[expect(clippy::large_stack_frames, reason = "a future: its caller has it on the heap")]
pub(super) async fn connect(url: &str, tls: Option<&ClientFiles>) -> Result<Channel, ConnectError> {
    let mut endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    if let Some(files) = tls.filter(|_| crate::config::is_secure(url)) {
        endpoint = endpoint.tls_config(files.load()?.timeout(CONNECT))?;
    }
    Ok(endpoint.connect().await?)
}

/// Its own text is "transport error"; what happened is at the end of the chain.
fn deepest(why: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = why;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
