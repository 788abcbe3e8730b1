//! Where the pods of this node are: told by the runtime when they start, read from the records that
//! the plugin leaves, or found among the processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use l2sm_api::socket::{PodRecord, pod_record, pods_directory, releases_directory};
use l2sm_core::model::ObjectKey;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{Controller, Node, Service, Unseen, detach::PATIENCE, notes::Notes};
use crate::{
    directory::DirectoryWatch,
    state::{Desired, Sandbox, is_by_pod},
};

/// Records and namespaces are looked at this often, and whenever a record or the instructions change.
const PERIOD: Duration = Duration::from_secs(10);
/// Processes of a pod that the runtime has ended may be around for this long.
const AFTERLIFE: Duration = Duration::from_mins(1);
/// Name of a record that the agent itself made begins with this: of a pod that it found.
const FOUND: &str = "found-";

/// A record, with its file.
#[derive(Clone, Debug)]
struct Recorded {
    container: String,
    written: SystemTime,
    record: PodRecord,
}

impl<C: Controller, N: Node> Service<C, N> {
    /// Notes and records are beside this socket. Called before it is served, and before anything is
    /// followed: what is known of pods here must be known before their ports are judged.
    pub async fn open_beside(&self, socket: &Path) {
        self.notes.get_or_init(|| Notes::beside(socket));
        self.sync_sandboxes(true).await;
    }

    /// Follows the pods' records for as long as the agent runs.
    pub async fn follow_sandboxes_forever(&self) {
        let Some(directory) = self.records_directory() else { return };
        let mut desired = self.desired.subscribe();
        loop {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            let watch = made.and_then(|()| DirectoryWatch::open(&directory));
            let mut watch = match watch {
                Ok(watch) => Some(watch),
                Err(why) => {
                    tracing::warn!(%why, "{}: looked at every 10 s only", directory.display());
                    None
                }
            };
            loop {
                let missed = missing(&desired.borrow_and_update());
                self.sync_sandboxes(false).await;
                tokio::select! {
                    changed = changed(watch.as_mut()) => if changed.is_err() { break },
                    () = until_missing(&mut desired, &missed) => {}
                    () = sleep(PERIOD) => if watch.is_none() { break },
                }
            }
        }
    }

    /// Looks who is here now; `all`: also those that no port names yet.
    pub(super) async fn sync_sandboxes(&self, all: bool) {
        let Some(directory) = self.records_directory() else { return };
        let records = read_records(&directory);
        self.drop_ended(&records);
        let wanted = wanted(&self.desired.borrow());
        let mut missing = BTreeSet::new();
        let uids = if all { records.keys().cloned().collect() } else { wanted.clone() };
        for uid in uids.union(&wanted) {
            let recorded = records.get(uid).map(Vec::as_slice).unwrap_or_default();
            if !self.is_here(uid) && !self.adopt_recorded(uid, recorded) && wanted.contains(uid) {
                missing.insert(uid.clone());
            }
        }
        if !missing.is_empty() {
            self.find_among_processes(&missing, &directory).await;
        }
    }

    /// Whether a sandbox has its record.
    pub(super) fn has_record(&self, container: &str) -> bool {
        let socket = self.notes.get().map(Notes::socket);
        !container.is_empty() && socket.is_some_and(|of| pod_record(of, container).exists())
    }

    /// The sandbox of a container loses these interfaces, or ends (`None`); waits until they are gone
    /// from the kernel. What they are.
    pub(super) async fn leave(
        &self,
        container: &str,
        names: Option<BTreeSet<String>>,
    ) -> Option<Vec<String>> {
        if names.is_none() && self.has_record(container) {
            // Before it is noticed that the pod is missed: it would be found by the record.
            self.notes.get().inspect(|notes| remove(&pod_record(notes.socket(), container)));
        }
        let mut keys = BTreeMap::<ObjectKey, String>::new();
        let mut found = false;
        self.desired.send_modify(|desired| {
            let of = desired.sandboxes.iter().find(|(_uid, of)| of.container == container);
            let Some(uid) = of.map(|(uid, _sandbox)| uid.clone()) else { return };
            found = true;
            let before = desired.effective();
            let ended = match &names {
                None => desired.sandboxes.remove(&uid),
                Some(names) => {
                    if let Some(sandbox) = desired.sandboxes.get_mut(&uid) {
                        sandbox.left.extend(names.iter().cloned());
                    }
                    None
                }
            };
            self.remember_ended(ended.as_ref());
            let after = desired.effective();
            let gone = before.ports.iter().filter(|(key, _port)| !after.ports.contains_key(key));
            keys.extend(gone.map(|(key, port)| (key.clone(), port.ifname.clone())));
        });
        if !found {
            return None;
        }
        self.wait_gone(&keys.keys().cloned().collect()).await;
        Some(keys.into_values().collect())
    }

    /// Waits until attachments are gone from the kernel.
    async fn wait_gone(&self, keys: &BTreeSet<ObjectKey>) {
        if keys.is_empty() {
            return;
        }
        let mut outcomes = self.outcomes.clone();
        let pass = outcomes.borrow_and_update().pass;
        self.wake();
        // The pass that runs now may have started before.
        let gone = outcomes.wait_for(|outcome| outcome.pass > pass && outcome.lacks(keys));
        if timeout(PATIENCE, gone).await.is_err() {
            tracing::warn!("a pod's interface is not removed yet; it is tried again");
        }
    }

    /// Sandboxes whose record or namespace is gone have ended. Records of namespaces that are gone are
    /// removed: the runtime did not say DEL.
    fn drop_ended(&self, records: &BTreeMap<String, Vec<Recorded>>) {
        let sandboxes = self.desired.borrow().sandboxes.clone();
        for (uid, sandbox) in sandboxes {
            let unrecorded = sandbox.recorded && !self.has_record(&sandbox.container);
            if unrecorded || self.is_gone(&sandbox.netns, sandbox.inode) {
                self.desired.send_modify(|desired| {
                    if desired.sandboxes.get(&uid) == Some(&sandbox) {
                        desired.sandboxes.remove(&uid);
                    }
                });
                self.remember_ended(unrecorded.then_some(&sandbox));
                self.wake();
            }
        }
        for recorded in records.values().flatten() {
            let gone = matches!(self.node.inode(&recorded.record.netns), Err(Unseen::Gone(_)));
            if gone && let Some(socket) = self.notes.get().map(Notes::socket) {
                remove(&pod_record(socket, &recorded.container));
            }
        }
    }

    /// Takes the newest record whose namespace is there.
    fn adopt_recorded(&self, uid: &str, recorded: &[Recorded]) -> bool {
        for of in recorded {
            if let Ok(inode) = self.node.inode(&of.record.netns) {
                let place = (of.record.netns.clone(), inode);
                self.place(uid, of.container.clone(), place, true);
                return true;
            }
        }
        false
    }

    /// Pods that started before the plugin was there.
    async fn find_among_processes(&self, uids: &BTreeSet<String>, directory: &Path) {
        let (node, uids) = (Arc::clone(&self.node), uids.clone());
        let looked = tokio::task::spawn_blocking(move || node.find_pods(&uids)).await;
        let ended = self.recently_ended();
        for (uid, (netns, inode)) in looked.unwrap_or_default() {
            if ended.contains(&inode) {
                continue;
            }
            tracing::info!(uid, netns, "a pod that started before the plugin was there is found");
            let record =
                PodRecord { netns: netns.clone(), pod_uid: uid.clone(), ..Default::default() };
            let container = format!("{FOUND}{uid}");
            // So that it is known at once when the agent starts again.
            let recorded = write_record(directory, &container, &record);
            if let Err(why) = &recorded {
                tracing::warn!(%why, "a pod that was found is not written down");
            }
            self.place(&uid, container, (netns, inode), recorded.is_ok());
        }
    }

    fn place(&self, uid: &str, container: String, place: (String, u64), recorded: bool) {
        let (netns, inode) = place;
        let sandbox = Sandbox { container, netns, inode, recorded, left: BTreeSet::new() };
        self.desired.send_modify(|desired| {
            desired.sandboxes.entry(uid.to_owned()).or_insert(sandbox);
        });
        self.wake();
    }

    fn is_here(&self, uid: &str) -> bool {
        self.desired.borrow().sandboxes.contains_key(uid)
    }

    fn records_directory(&self) -> Option<PathBuf> {
        self.notes.get().map(|notes| pods_directory(notes.socket()))
    }

    fn remember_ended(&self, sandbox: Option<&Sandbox>) {
        let Some(sandbox) = sandbox else { return };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(sandbox.inode, Instant::now());
    }

    /// Namespaces of sandboxes that the runtime has ended a moment ago.
    fn recently_ended(&self) -> BTreeSet<u64> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_inode, at| at.elapsed() < AFTERLIFE);
        ended.keys().copied().collect()
    }
}

/// UIDs that ports name.
fn wanted(desired: &Desired) -> BTreeSet<String> {
    let ports = desired.instructions.ports.values().filter(|port| is_by_pod(port));
    ports.filter_map(|port| port.pod_uid.clone()).collect()
}

/// UIDs that ports name and that are not here.
fn missing(desired: &Desired) -> BTreeSet<String> {
    let wanted = wanted(desired).into_iter();
    wanted.filter(|uid| !desired.sandboxes.contains_key(uid)).collect()
}

/// Returns when a port names a pod that is not here, and that was not missed before.
async fn until_missing(desired: &mut watch::Receiver<Desired>, missed: &BTreeSet<String>) {
    let changed = desired.wait_for(|desired| !missing(desired).is_subset(missed));
    if changed.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn changed(watch: Option<&mut DirectoryWatch>) -> io::Result<()> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// The records of a directory by pod UID, of each the newest first. What cannot be read is skipped.
fn read_records(directory: &Path) -> BTreeMap<String, Vec<Recorded>> {
    let mut records = BTreeMap::<String, Vec<Recorded>>::new();
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let Some(container) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if container.starts_with('.') {
            continue;
        }
        let record = fs::read(entry.path()).ok();
        let record = record.and_then(|bytes| serde_json::from_slice::<PodRecord>(&bytes).ok());
        let Some(record) = record else { continue };
        let written = entry.metadata().and_then(|of| of.modified());
        let written = written.unwrap_or(SystemTime::UNIX_EPOCH);
        let of_pod = records.entry(record.pod_uid.clone()).or_default();
        of_pod.push(Recorded { container, written, record });
    }
    for of_pod in records.values_mut() {
        of_pod
            .sort_by(|a, b| b.written.cmp(&a.written).then_with(|| a.container.cmp(&b.container)));
    }
    records
}

/// Removes what the plugin has written beside `socket`, records and notes, with the directories; what
/// was there.
///
/// # Errors
/// The file system says no.
pub(crate) fn remove_records(socket: &Path) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for directory in [pods_directory(socket), releases_directory(socket)] {
        match fs::remove_dir_all(&directory) {
            Ok(()) => removed.push(directory.display().to_string()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => {
                return Err(io::Error::new(why.kind(), format!("{}: {why}", directory.display())));
            }
        }
    }
    Ok(removed)
}

/// As the plugin does.
fn write_record(directory: &Path, container: &str, record: &PodRecord) -> io::Result<()> {
    let fresh = directory.join(format!(".{container}"));
    fs::write(&fresh, serde_json::to_vec(record)?)?;
    fs::rename(fresh, directory.join(container))
}

fn remove(path: &Path) {
    if let Err(why) = fs::remove_file(path) {
        tracing::debug!(%why, "{}: stays", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_releases_are_removed_with_the_records() {
        let state = tempfile::tempdir().unwrap();
        let socket = state.path().join("agent.sock");
        let directories = [pods_directory(&socket), releases_directory(&socket)];
        for directory in &directories {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("left.json"), "{}").unwrap();
        }
        let removed = remove_records(&socket).unwrap();
        assert_eq!(removed, directories.map(|directory| directory.display().to_string()));
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
        assert_eq!(remove_records(&socket).unwrap(), Vec::<String>::new());
    }
}
