//! Connections: accepted, with their TLS handshake done, and whom their certificate names.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::{
    service::{Access, Peer},
    tls::{ServerTls, subject},
};

/// A handshake is done within this.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time: more wait to be accepted.
const HANDSHAKES: usize = 256;
/// Connections that wait to be served.
const WAITING: usize = 16;
/// How long a client that was refused may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long to wait where no more connections can be opened.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A connection that may be served.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: Peer,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Accepts connections for as long as somebody takes them; without `tls` as they come.
pub async fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                warn!(%why, "a connection cannot be accepted");
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        if let Err(why) = stream.set_nodelay(true) {
            debug!(%address, %why, "a connection is gone at once");
            continue;
        }
        let Some(tls) = &tls else {
            let peer = Peer { address: Some(address), access: Access::Insecure };
            let connection = Connection { stream: Stream::Plain(stream), peer };
            if ready.send(Ok(connection)).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (tls, ready) = (Arc::clone(tls), ready.clone());
        drop(tokio::spawn(async move {
            let done = Box::pin(shake_hands(stream, address, tls)).await;
            drop(permit);
            if let Some(connection) = done
                && ready.send(Ok(connection)).await.is_err()
            {
                debug!(%address, "a connection comes too late");
            }
        }));
    }
}

/// A channel for [`accept`]ed connections.
pub fn channel() -> (mpsc::Sender<io::Result<Connection>>, mpsc::Receiver<io::Result<Connection>>) {
    mpsc::channel(WAITING)
}

/// Takes the client's certificate. `None`: it is refused, and was told so.
#[expect(clippy::large_stack_frames, reason = "a future: it lives on the heap once spawned")]
async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    tls: Arc<ServerTls>,
) -> Option<Connection> {
    let config = tokio::task::spawn_blocking(move || tls.current()).await.ok()?;
    let accepting = Box::pin(TlsAcceptor::from(config).accept(stream).into_fallible());
    let Ok(accepted) = timeout(HANDSHAKE, accepting).await else {
        debug!(%address, "refused: no TLS handshake within 10 s");
        return None;
    };
    match accepted {
        Ok(stream) => Some(Connection::of_tls(stream, address)),
        Err((why, stream)) => {
            warn!(%address, "refused: {}", explain(&why));
            say_farewell(stream).await;
            None
        }
    }
}

/// Lets the client read the alert: a socket closed with unread data in it takes the alert back.
async fn say_farewell(mut stream: TcpStream) {
    let reading = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    if let Ok(Err(why)) = timeout(FAREWELL, reading).await {
        debug!(%why, "a refused connection is gone");
    }
}

/// What is wrong with a handshake, in words.
fn explain(why: &io::Error) -> String {
    use tokio_rustls::rustls::{CertificateError, Error};
    let inner = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::NoCertificatesPresented) => "it shows no certificate".to_owned(),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired; `l2sm-controller certs` renews it".to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is not signed by a --client-ca of ours".to_owned()
        }
        Some(Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        _ => why.to_string(),
    }
}

impl Connection {
    fn of_tls(stream: TlsStream<TcpStream>, address: SocketAddr) -> Self {
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let access =
            certificate.map_or(Access::Nobody(crate::tls::SubjectFault::Unreadable), |der| {
                match subject(der) {
                    Ok(identity) => Access::Proven(identity),
                    Err(why) => Access::Nobody(why),
                }
            });
        let peer = Peer { address: Some(address), access };
        Self { stream: Stream::Tls(Box::new(stream)), peer }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
