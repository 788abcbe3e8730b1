//! The last instructions, on disk: so that hello after a restart can say what is here.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use l2sm_api::grpc::{Revision, v1};
use l2sm_core::instructions::Instructions;
use prost::Message;

use crate::files::{FileError, write_whole};

/// File name, in the state directory.
const NAME: &str = "instructions.pb";

/// Instructions, and the position that they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The instructions.
    pub instructions: Arc<Instructions>,
    /// Their revision.
    pub revision: Revision,
}

/// Path of the file in `directory`.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Reads what is kept in `directory`; `None`: nothing is.
///
/// # Errors
/// The file cannot be read, or something else is in it.
pub fn load(directory: &Path) -> Result<Option<Kept>, FileError> {
    let path = path(directory);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(FileError::Io { path, why }),
    };
    let kept = v1::Update::decode(bytes.as_slice()).ok().and_then(|update| {
        let instructions = Instructions::try_from(update.put.unwrap_or_default()).ok()?;
        let revision = Revision::from(update.revision?);
        Some(Kept { instructions: Arc::new(instructions), revision })
    });
    kept.map(Some).ok_or(FileError::Unreadable { path })
}

/// Writes what is to be kept in `directory`: whole, or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn store(directory: &Path, kept: &Kept) -> Result<(), FileError> {
    let update = v1::Update {
        revision: Some(kept.revision.clone().into()),
        snapshot: true,
        put: Some((&*kept.instructions).into()),
        ..v1::Update::default()
    };
    write_whole(&path(directory), &update.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), None);
        let revision = Revision { source: "a".to_owned(), epoch: 2, number: 3 };
        let kept = Kept { instructions: Arc::default(), revision };
        store(directory.path(), &kept).unwrap();
        assert_eq!(load(directory.path()).unwrap(), Some(kept));
    }

    #[test]
    fn something_else_in_the_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(path(directory.path()), b"\xff\xffnot protobuf").unwrap();
        let why = load(directory.path()).unwrap_err().to_string();
        assert!(why.ends_with("instructions.pb: not a file of the agent's state"), "{why}");
    }
}
