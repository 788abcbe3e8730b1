//! Notes that the CNI plugin leaves beside the socket when it finds no agent: what to release.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use l2sm_api::socket::{ContainerInterface, Detach, release_note, releases_directory};
use nix::sys::stat::Mode;

use super::{Controller, Node, Service};
use crate::files::{FileError, write_whole};

/// Notes are looked for this often, and before each attachment.
const PERIOD: Duration = Duration::from_secs(30);

/// The notes beside one socket.
#[derive(Debug)]
pub(super) struct Notes {
    socket: PathBuf,
}

impl Notes {
    pub(super) fn beside(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Every note, with its file. A file that is none is removed: nobody could act on it.
    fn read(&self) -> Vec<(PathBuf, Detach)> {
        let Ok(entries) = fs::read_dir(releases_directory(&self.socket)) else {
            return Vec::new();
        };
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|of| of == "json")).collect();
        paths.sort();
        let notes = paths.into_iter().filter_map(|path| {
            let bytes = fs::read(&path).ok()?;
            match serde_json::from_slice(&bytes) {
                Ok(note) => Some((path, note)),
                Err(why) => {
                    tracing::warn!(%why, "{}: not a note of a release; removed", path.display());
                    remove(&path);
                    None
                }
            }
        });
        notes.collect()
    }

    /// Forgets the note of an attachment, if there is one.
    pub(super) fn forget(&self, of: &ContainerInterface) {
        remove(&release_note(&self.socket, of));
    }

    /// Leaves a note, as the plugin would.
    pub(super) fn leave(&self, of: &ContainerInterface, release: &Detach) -> Result<(), FileError> {
        let directory = releases_directory(&self.socket);
        let failed = |why: io::Error| FileError::Io { path: directory.clone(), why };
        match nix::unistd::mkdir(&directory, Mode::S_IRWXU) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(why) => return Err(failed(why.into())),
        }
        let bytes = serde_json::to_vec(release).map_err(|why| failed(why.into()))?;
        write_whole(&release_note(&self.socket, of), &bytes)
    }
}

impl<C: Controller, N: Node> Service<C, N> {
    /// Does what notes say, for as long as the agent runs.
    pub(super) async fn take_notes_forever(&self) {
        loop {
            self.take_notes().await;
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Does what the notes say that are there now. One that could not be done stays.
    pub(super) async fn take_notes(&self) {
        let Some(notes) = self.notes.get() else { return };
        let _one_at_a_time = self.noting.lock().await;
        for (path, release) in notes.read() {
            let ifname = release.ifname.as_deref().unwrap_or_default();
            let container = release.container_id.as_deref().unwrap_or_default();
            match self.detach_container(&release).await {
                Ok(done) if done.told => {
                    tracing::info!(container, ifname, "released, as a note says");
                    remove(&path);
                }
                Ok(_doubtful) => tracing::debug!(container, ifname, "a note waits"),
                Err(why) => tracing::debug!(container, ifname, why = why.message, "a note waits"),
            }
        }
    }

    /// An attachment whose making went wrong may still be made: it is to be released.
    pub(super) fn note_release(&self, of: &ContainerInterface, release: &Detach) {
        let Some(notes) = self.notes.get() else { return };
        if let Err(why) = notes.leave(of, release) {
            tracing::warn!(%why, "a release is not noted");
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%why, "{}: stays", path.display());
        }
        Ok(()) | Err(_) => {}
    }
}
