//! Which container has which attachment, on disk: container runtimes name what they want removed by
//! container id, also when its namespace is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use l2sm_api::socket::ContainerInterface;
use l2sm_core::model::ObjectKey;
use serde::{Deserialize, Serialize};

use crate::files::{FileError, write_whole};

/// File name, in the state directory.
const NAME: &str = "containers.json";

/// The attachments that containers have.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    records: BTreeMap<ContainerInterface, Record>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Namespace of the attachment object.
    pub(super) namespace: String,
    /// Name of the attachment object.
    pub(super) name: String,
    /// Name of the CNI configuration that it was made for.
    pub(super) config: Option<String>,
    /// Inode of the network namespace.
    pub(super) netns_inode: u64,
    /// The pod's namespace, where the runtime knows pods.
    pub(super) pod_namespace: Option<String>,
    /// Its name.
    pub(super) pod: Option<String>,
    /// Its UID.
    pub(super) pod_uid: Option<String>,
}

/// As in the file: JSON has no other keys than strings.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    of: ContainerInterface,
    #[serde(flatten)]
    record: Record,
}

impl Record {
    /// The attachment object.
    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

impl Records {
    /// Opens the records in `directory`. What cannot be read is as good as none: attachments are
    /// still found by their namespaces.
    pub(super) fn open(directory: &Path) -> Self {
        let path = directory.join(NAME);
        let lines = fs::read(&path).ok().and_then(|bytes| {
            let lines = serde_json::from_slice::<Vec<Line>>(&bytes);
            lines.inspect_err(|why| tracing::warn!(%why, "{}: not read", path.display())).ok()
        });
        let lines = lines.unwrap_or_default();
        Self { path, records: lines.into_iter().map(|line| (line.of, line.record)).collect() }
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ContainerInterface, &Record)> {
        self.records.iter()
    }

    /// Attachments that a container other than `container` has.
    pub(super) fn of_others(&self, container: &str) -> BTreeSet<ObjectKey> {
        let others = self.records.iter().filter(|(of, _record)| of.container_id != container);
        others.map(|(_of, record)| record.key()).collect()
    }

    /// Notes an attachment, on disk before it returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn add(&mut self, of: ContainerInterface, record: Record) -> Result<(), FileError> {
        if self.records.get(&of) == Some(&record) {
            return Ok(());
        }
        self.records.insert(of, record);
        self.write()
    }

    /// Forgets attachments.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn remove(&mut self, keys: &BTreeSet<ObjectKey>) -> Result<(), FileError> {
        let before = self.records.len();
        self.records.retain(|_of, record| !keys.contains(&record.key()));
        if self.records.len() == before { Ok(()) } else { self.write() }
    }

    fn write(&self) -> Result<(), FileError> {
        let lines = self.records.iter();
        let lines = lines.map(|(of, record)| Line { of: of.clone(), record: record.clone() });
        let bytes = serde_json::to_vec(&lines.collect::<Vec<_>>())
            .map_err(|why| FileError::Io { path: self.path.clone(), why: why.into() })?;
        write_whole(&self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(container: &str) -> ContainerInterface {
        ContainerInterface { container_id: container.to_owned(), ifname: "net1".to_owned() }
    }

    fn record(name: &str) -> Record {
        Record {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            config: Some("blue".to_owned()),
            netns_inode: 7,
            pod_namespace: None,
            pod: Some("web".to_owned()),
            pod_uid: None,
        }
    }

    #[test]
    fn a_record_survives_a_restart_until_its_attachment_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut records = Records::open(directory.path());
        records.add(of("a"), record("web-net1")).unwrap();
        records.add(of("b"), record("db-net1")).unwrap();
        let mut records = Records::open(directory.path());
        assert_eq!(records.iter().next(), Some((&of("a"), &record("web-net1"))));
        assert_eq!(records.of_others("a"), BTreeSet::from([record("db-net1").key()]));
        records.remove(&BTreeSet::from([record("web-net1").key()])).unwrap();
        let left = Records::open(directory.path());
        assert_eq!(left.iter().map(|(of, _)| of.container_id.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_file_of_something_else_is_as_good_as_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "nonsense").unwrap();
        assert_eq!(Records::open(directory.path()).iter().count(), 0);
    }
}
