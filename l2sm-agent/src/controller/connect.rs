//! A connection to a controller.

use std::time::Duration;

use l2sm_api::grpc::tls::{ClientFiles, ClientTlsError};
use thiserror::Error;
use tonic::{
    Code, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

/// A connection is there within this, and the TLS handshake done within as long again.
const CONNECT: Duration = Duration::from_secs(3);
/// An idle connection is asked this often whether it lives, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Metadata with the `HOST:PORT` of the server that serves, where this one does not.
const SERVING: &str = "l2sm-serving";

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The files of TLS are of no use.
    #[error(transparent)]
    Files(#[from] ClientTlsError),
    /// Nobody answers, or not as a controller does.
    #[error("{}", deepest(.0))]
    Transport(#[from] tonic::transport::Error),
}

/// Connects to `url`, an `https://` one with `tls`, whose files are read as they are now. `first`: the
/// URL that the user gave; `name`: the server's name in its certificate, if not the host of `first`.
pub(super) async fn connect(
    url: &str,
    tls: Option<&ClientFiles>,
    first: &str,
    name: Option<&str>,
) -> Result<Channel, ConnectError> {
    let files = tls.filter(|_| crate::config::is_secure(url)).map(ClientFiles::load);
    Box::pin(connect_with(url, files.transpose()?, first, name)).await
}

/// The same with TLS as given.
///
/// # Errors
/// See [`ConnectError`].
#[expect(clippy::large_stack_frames, reason = "a future: its caller has it on the heap")]
pub async fn connect_with(
    url: &str,
    tls: Option<ClientTlsConfig>,
    first: &str,
    name: Option<&str>,
) -> Result<Channel, ConnectError> {
    let mut endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    if let Some(tls) = tls {
        let name = name.or_else(|| (url != first).then(|| host(first)).flatten());
        let tls = name.into_iter().fold(tls.timeout(CONNECT), ClientTlsConfig::domain_name);
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok(endpoint.connect().await?)
}

/// URL of the server that serves, where the one at `url` says that it does not itself.
pub fn serving(url: &str, status: &Status) -> Option<String> {
    if status.code() != Code::Unavailable {
        return None;
    }
    let (scheme, _rest) = url.split_once("://")?;
    let next = format!("{scheme}://{}", status.metadata().get(SERVING)?.to_str().ok()?);
    crate::config::host_and_port(&next)?;
    Some(next)
}

/// Host of a URL, an IPv6 address without its brackets.
fn host(url: &str) -> Option<&str> {
    let (host, _port) = crate::config::host_and_port(url)?.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

/// Its own text is "transport error"; what happened is at the end of the chain.
fn deepest(why: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = why;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_tells_who_serves() {
        let mut status = Status::unavailable("on standby");
        let url = "https://10.96.0.5:30808";
        assert_eq!(serving(url, &status), None);
        let metadata = status.metadata_mut();
        drop(metadata.insert("l2sm-serving", "10.244.1.5:30808".parse().unwrap()));
        assert_eq!(serving(url, &status), Some("https://10.244.1.5:30808".to_owned()));
        drop(status.metadata_mut().insert("l2sm-serving", "nonsense".parse().unwrap()));
        assert_eq!(serving(url, &status), None);
        assert_eq!(host("https://[fd00::1]:30808"), Some("fd00::1"));
    }
}
