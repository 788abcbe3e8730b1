//! Files of the agent's state.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
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
    write_as(path, bytes, 0o644)
}

/// The same, for the eyes of root alone.
///
/// # Errors
/// The file cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_as(path, bytes, 0o600)
}

fn write_as(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let failed = |why| FileError::Io { path: path.to_owned(), why };
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&fresh)
        .map_err(failed)?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)?;
    // The name, too, must survive a crash of the machine.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_root_alone_whatever_was_there_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pem");
        fs::write(path.with_extension("new"), "left behind").unwrap();
        fs::write(&path, "for all").unwrap();
        write_secret(&path, b"key").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"key");
    }
}
