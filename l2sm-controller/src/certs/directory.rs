//! A directory of keys and certificates.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::CertsError;

/// Mode of a directory that is made: nobody else looks for keys in it.
const DIRECTORY_MODE: u32 = 0o700;
/// Mode of keys.
const KEY_MODE: u32 = 0o600;
/// Mode of certificates.
const CERT_MODE: u32 = 0o644;

/// A directory that is there.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes it where it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, CertsError> {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
        made.map_err(|why| CertsError::File { path: path.to_owned(), why })?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The text of a file; `None`: it is not there.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, CertsError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(CertsError::File { path, why }),
        }
    }

    /// Writes a new key; one that is there stays, and is an error.
    pub(super) fn create_key(&self, name: &str, pem: &str) -> Result<(), CertsError> {
        let path = self.path(name);
        let options = OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(&path);
        let written = options.and_then(|mut file| {
            file.write_all(pem.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|why| CertsError::File { path, why })
    }

    /// Writes a certificate, in place of the one that is there: a reader sees the one or the other.
    pub(super) fn replace_cert(&self, name: &str, pem: &str) -> Result<(), CertsError> {
        let path = self.path(name);
        let fresh = self.path(&format!("{name}.new"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(CERT_MODE)
            .open(&fresh)
            .and_then(|mut file| {
                file.write_all(pem.as_bytes())?;
                file.sync_all()?;
                fs::rename(&fresh, &path)
            });
        written.map_err(|why| CertsError::File { path, why })
    }
}
