//! The socket itself: one JSON request a line, one reply a line.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use l2sm_api::socket::{Answer, Reply, Request};
use nix::sys::stat::{Mode, umask};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use super::{
    Controller, Node, Service,
    fault::{UNDECODABLE, fault},
    notes::Notes,
};

/// Longest request, bytes.
const LINE_MAX: u64 = 64 * 1024;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Something else has its name.
    #[error("socket {}: something else is there, and not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The file system said no.
    #[error("socket {}: {why}", path.display())]
    Io {
        /// Path of the socket.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// The bound socket. Its file goes with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds `path`, for root alone. A socket that a dead agent left is replaced: whoever calls has
    /// made sure that no other one lives.
    ///
    /// # Errors
    /// Something else is there, or the directory cannot be written.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |why| ListenError::Io { path: path.to_owned(), why };
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_other) => return Err(ListenError::NotASocket(path.to_owned())),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(failed(why)),
        }
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        Ok(Self { listener: listener.map_err(failed)?, path: path.to_owned() })
    }

    /// Serves connections, and the notes of those that found no agent, for as long as the agent
    /// runs.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn serve<C: Controller, N: Node>(
        &self,
        service: Arc<Service<C, N>>,
    ) -> io::Result<()> {
        let notes = service.notes.get_or_init(|| Notes::beside(&self.path));
        tracing::debug!(?notes, "serving the socket");
        tokio::select! {
            failed = self.accept(Arc::clone(&service)) => failed,
            () = service.take_notes_forever() => Ok(()),
        }
    }

    async fn accept<C: Controller, N: Node>(&self, service: Arc<Service<C, N>>) -> io::Result<()> {
        loop {
            let (stream, _peer) = self.listener.accept().await?;
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                if let Err(why) = converse(stream, &service).await {
                    tracing::debug!(%why, "a connection on the socket ended");
                }
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_file(&self.path) {
            tracing::debug!(%why, "the socket's file stays");
        }
    }
}

async fn converse<C: Controller, N: Node>(
    stream: UnixStream,
    service: &Service<C, N>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let length = (&mut read).take(LINE_MAX).read_until(b'\n', &mut line).await?;
        if length == 0 {
            return Ok(());
        }
        let cut =
            line.last() != Some(&b'\n') && line.len() >= usize::try_from(LINE_MAX).unwrap_or(0);
        let request = serde_json::from_slice::<Request>(&line);
        let reply = match &request {
            _ if cut => Reply::Error(fault(UNDECODABLE, "request: longer than 64 KiB")),
            Ok(request) => service.answer(request.clone()).await,
            Err(why) => Reply::Error(fault(UNDECODABLE, format!("request: {why}"))),
        };
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        let written = write.write_all(&bytes).await;
        match (&written, &request, &reply) {
            (Err(_), Ok(Request::Attach(request)), Reply::Ok(Answer::Attached(attached))) => {
                service.undo_unheard(request, attached).await;
            }
            (Err(_), Ok(Request::AttachPod(request)), Reply::Ok(_attached)) => {
                drop(service.leave(&request.container_id, None).await);
            }
            _ => {}
        }
        written?;
        if cut {
            return Ok(());
        }
    }
}
