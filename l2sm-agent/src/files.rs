//! Files of the agent's state.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a file of the agent's state cannot be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file system said no.
    #[error("{}: {why}", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Something else is in it.
    #[error("{}: not a file of the agent's state", path.display())]
    Unreadable {
        /// File.
        path: PathBuf,
    },
}

/// Replaces a file's content: a reader, also after a crash, sees the old or the new, never a part.
///
/// # Errors
/// The file cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |why| FileError::Io { path: path.to_owned(), why };
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)?;
    // The name, too, must survive a crash of the machine.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)
}
