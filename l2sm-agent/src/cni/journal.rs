//! Attachments released here that the controller has not been told of yet, on disk.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use l2sm_core::model::ObjectKey;

use crate::files::{FileError, write_whole};

/// File name, in the state directory.
const NAME: &str = "releases.json";

/// The releases that wait.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    keys: BTreeSet<ObjectKey>,
    /// The file says what is remembered.
    written: bool,
}

impl Journal {
    /// Opens the journal in `directory`; one that is not there is empty.
    ///
    /// # Errors
    /// The file cannot be read, or something else is in it.
    pub fn open(directory: &Path) -> Result<Self, FileError> {
        let path = path(directory);
        let keys = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Vec<(String, String)>>(&bytes)
                .map_err(|_not_json| FileError::Unreadable { path: path.clone() })?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(why) => return Err(FileError::Io { path, why }),
        };
        let keys = keys.into_iter().map(|(namespace, name)| ObjectKey { namespace, name });
        Ok(Self { path, keys: keys.collect(), written: true })
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Attachments released.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.keys.iter()
    }

    /// Notes releases, on disk before it returns. What cannot be written is remembered all the same,
    /// so that the controller is told, and written with the next change.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, keys: &BTreeSet<ObjectKey>) -> Result<(), FileError> {
        let before = self.keys.len();
        self.keys.extend(keys.iter().cloned());
        if self.keys.len() == before && self.written { Ok(()) } else { self.write() }
    }

    /// Forgets a release that the controller knows of.
    ///
    /// # Errors
    /// The file cannot be written; it is told again after a restart, which does no harm.
    pub fn remove(&mut self, key: &ObjectKey) -> Result<(), FileError> {
        if self.keys.remove(key) || !self.written { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.written = false;
        let keys: Vec<_> = self.keys.iter().map(|key| (&key.namespace, &key.name)).collect();
        let bytes = serde_json::to_vec(&keys)
            .map_err(|why| FileError::Io { path: self.path.clone(), why: why.into() })?;
        write_whole(&self.path, &bytes)?;
        self.written = true;
        Ok(())
    }
}

/// Path of the file in `directory`.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_survives_a_restart_until_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let key = ObjectKey::new("default", "web-net1");
        let mut journal = Journal::open(directory.path()).unwrap();
        journal.add(&BTreeSet::from([key.clone()])).unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        assert_eq!(journal.keys().collect::<Vec<_>>(), [&key]);
        journal.remove(&key).unwrap();
        assert_eq!(Journal::open(directory.path()).unwrap().keys().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_remembered_and_never_said_to_be_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("state");
        fs::create_dir(&place).unwrap();
        let mut journal = Journal::open(&place).unwrap();
        let key = ObjectKey::new("default", "a-net1");
        let keys = BTreeSet::from([key.clone()]);
        fs::remove_dir(&place).unwrap();
        for _attempt in 0..2 {
            assert!(journal.add(&keys).is_err());
            assert!(journal.keys().eq([&key]), "the controller is told");
        }

        fs::create_dir(&place).unwrap();

        journal.add(&keys).unwrap();
        assert!(Journal::open(&place).unwrap().keys().eq([&key]));
    }
}
