//! The pin directory: `v<ABI>/maps/<NAME>` and `links/<ifindex>-<program>`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use l2sm_common::ids::IfIndex;
use l2sm_core::image::{Hook, Program};
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{DatapathError, layout};

/// Where bpffs is mounted on every distribution.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";

/// The paths in one pin directory.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
    abi: u32,
}

impl Pins {
    /// The pins below `root`, with the maps of one ABI.
    pub(super) fn new(root: &Path, abi: u32) -> Self {
        Self { root: root.to_owned(), abi }
    }

    /// The ABI of the maps.
    pub(super) fn abi(&self) -> u32 {
        self.abi
    }

    /// Directory of the maps of this ABI.
    pub(super) fn maps(&self) -> PathBuf {
        self.root.join(format!("v{}", self.abi)).join("maps")
    }

    /// The same pins, with the maps of another ABI.
    pub(super) fn of(&self, abi: u32) -> Self {
        Self { root: self.root.clone(), abi }
    }

    /// The other ABIs that have a directory, in order.
    pub(super) fn others(&self) -> Result<Vec<u32>, DatapathError> {
        let names = names(&self.root)?;
        let mut others: Vec<u32> =
            names.iter().filter_map(|name| abi(name)).filter(|abi| *abi != self.abi).collect();
        others.sort_unstable();
        Ok(others)
    }

    /// Removes the maps that are pinned here.
    pub(super) fn remove_maps(&self) -> Result<(), DatapathError> {
        let mut removal = Removal::default();
        removal.maps(self)?;
        removal.failed.map_or(Ok(()), Err)
    }

    /// Directory of the links of every ABI.
    pub(super) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Pin of one link.
    pub(super) fn link(&self, hook: Hook) -> PathBuf {
        self.links().join(format!("{}-{}", hook.device.0, hook.program.name()))
    }

    /// The hooks that have a pin. Other files in the directory are somebody else's.
    pub(super) fn hooks(&self) -> Result<Vec<Hook>, DatapathError> {
        let directory = self.links();
        let mut hooks: Vec<Hook> =
            names(&directory)?.iter().filter_map(|name| hook(name)).collect();
        hooks.sort_unstable();
        Ok(hooks)
    }

    /// Makes the directories.
    pub(super) fn create(&self) -> Result<(), DatapathError> {
        for directory in [self.maps(), self.links()] {
            fs::create_dir_all(&directory).map_err(|error| pins(&directory, &error))?;
        }
        Ok(())
    }
}

/// The ABI that a directory is named after.
fn abi(name: &str) -> Option<u32> {
    let abi = name.strip_prefix('v')?.parse().ok()?;
    // "v+1" and "v01" parse too, but we would not have written them.
    (name == format!("v{abi}")).then_some(abi)
}

/// The hook that a pin is named after.
fn hook(name: &str) -> Option<Hook> {
    let (device, program) = name.split_once('-')?;
    let device = IfIndex(device.parse().ok().filter(|device| *device != 0)?);
    let hook = Hook { device, program: Program::from_name(program)? };
    // "+7" and "07" parse too, but we would not have written them.
    (name.len() == format!("{}-{program}", device.0).len()).then_some(hook)
}

/// Makes sure that pins can be made in `path`: it is on a bpffs, or below `/sys/fs/bpf`, where one
/// is mounted now if it was missing.
///
/// # Errors
/// When `path` is elsewhere, or mounting is not allowed.
pub fn ensure_bpffs(path: &Path) -> Result<(), DatapathError> {
    let refuse = |reason: &str| {
        Err(DatapathError::Pins { path: path.to_owned(), reason: reason.to_owned() })
    };
    if is_bpffs(path) {
        return Ok(());
    }
    let mount_point = Path::new(MOUNT_POINT);
    if !path.starts_with(mount_point) {
        return refuse("it is not on a bpffs (`mount -t bpf bpf DIRECTORY` makes one)");
    }
    if is_bpffs(mount_point) {
        return refuse("something else is mounted between it and the bpffs");
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    match mount(Some("bpf"), mount_point, Some("bpf"), flags, Some("mode=0700")) {
        Ok(()) => Ok(()),
        Err(error) => {
            refuse(&format!("no bpffs is mounted on {MOUNT_POINT}, and mounting: {error}"))
        }
    }
}

/// Whether pins can be made in `path` now; false: once `/sys/fs/bpf` is mounted. Changes nothing.
///
/// # Errors
/// When `path` is elsewhere.
pub fn is_usable(path: &Path) -> Result<bool, DatapathError> {
    if is_bpffs(path) {
        return Ok(true);
    }
    if path.starts_with(MOUNT_POINT) && !is_bpffs(Path::new(MOUNT_POINT)) {
        return Ok(false);
    }
    let reason = "it is not on a bpffs (`mount -t bpf bpf DIRECTORY` makes one)".to_owned();
    Err(DatapathError::Pins { path: path.to_owned(), reason })
}

/// Whether the deepest part of `path` that exists is on a bpffs.
fn is_bpffs(path: &Path) -> bool {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    let found = existing.and_then(|existing| statfs(existing).ok());
    found.is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

/// Removes our pins, of every ABI, with the programs that links attach, and the directories where
/// nothing else remains. Filters stay. Returns what was removed, one line each.
///
/// # Errors
/// When a pin of ours cannot be removed. Everything is tried before the first error is returned.
pub fn remove_pins(bpffs: &Path) -> Result<Vec<String>, DatapathError> {
    // Of any ABI: only its links are looked at.
    let pins = Pins::new(bpffs, 0);
    let mut removal = Removal::default();
    for hook in pins.hooks()? {
        removal.file(&pins.link(hook));
    }
    removal.directory(&pins.links());
    for abi in names(bpffs)?.iter().filter_map(|name| abi(name)) {
        removal.maps(&pins.of(abi))?;
    }
    removal.directory(bpffs);
    removal.failed.map_or(Ok(removal.removed), Err)
}

/// What has been removed, and the first failure.
#[derive(Default)]
struct Removal {
    removed: Vec<String>,
    failed: Option<DatapathError>,
}

impl Removal {
    fn file(&mut self, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => self.removed.push(path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed = self.failed.take().or(Some(pins(path, &error))),
        }
    }

    /// Removes the maps of one ABI, and their directories.
    fn maps(&mut self, pins: &Pins) -> Result<(), DatapathError> {
        let maps = pins.maps();
        for map in names(&maps)?.iter().filter(|map| layout::is_ours(map)) {
            self.file(&maps.join(map));
        }
        self.directory(&maps);
        if let Some(version) = maps.parent() {
            self.directory(version);
        }
        Ok(())
    }

    /// Removes a directory where it is empty; else somebody else has something in it.
    fn directory(&mut self, path: &Path) {
        if fs::remove_dir(path).is_ok() {
            self.removed.push(path.display().to_string());
        }
    }
}

/// The names in a directory; none where there is no directory.
fn names(directory: &Path) -> Result<Vec<String>, DatapathError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(pins(directory, &error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| pins(directory, &error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// The error of a file or directory.
fn pins(path: &Path, error: &io::Error) -> DatapathError {
    DatapathError::Pins { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_named_after_its_hook_and_nothing_else_is() {
        let pins = Pins::new(Path::new("/sys/fs/bpf/l2sm"), 1);
        let port = Hook { device: IfIndex(7), program: Program::PortRx };
        let path = pins.link(port);
        assert_eq!(path, Path::new("/sys/fs/bpf/l2sm/links/7-l2sm_port_rx"));
        assert_eq!(hook("7-l2sm_port_rx"), Some(port));
        for foreign in ["7-cil_from_container", "0-l2sm_port_rx", "+7-l2sm_port_rx", "7", "x-"] {
            assert_eq!(hook(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_directory_that_is_no_bpffs_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let error = ensure_bpffs(&directory.path().join("l2sm")).unwrap_err().to_string();
        assert!(error.contains("l2sm as pin directory: it is not on a bpffs"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn only_files_named_as_ours_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("l2sm");
        for file in ["v1/maps/FDB", "v1/maps/foreign", "v2/maps/PORTS", "other/FDB"] {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let links = root.join("links");
        fs::create_dir_all(&links).unwrap();
        fs::write(links.join("4294967295-l2sm_uplink_rx"), "").unwrap();
        let removed = remove_pins(&root).unwrap();
        assert!(removed.iter().any(|line| line.ends_with("v1/maps/FDB")), "{removed:?}");
        assert!(!root.join("v2").exists() && !links.exists(), "{removed:?}");
        assert!(root.join("v1/maps/foreign").exists() && root.join("other/FDB").exists());
    }
}
