//! Files: the plugin first, then the configuration that names it; away in the other order.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    CANNOT_WRITE, ChainPlaces, condition,
    list::{OURS, PLUGIN, is_others, source},
    standing::{Deed, Standing},
};
use crate::state::NodeCondition;

/// Ending that Cilium gives to what it renames.
const RENAMED: &str = ".cilium_bak";

/// Keeps the plugin and our configuration in place.
#[derive(Debug)]
pub(super) struct Installer {
    places: ChainPlaces,
    standing: Standing,
}

impl Installer {
    pub(super) fn new(places: ChainPlaces) -> Self {
        let standing = Standing::within(&places.conf_dir);
        Self { places, standing }
    }

    /// Brings both up to date, as far as somebody else lets it.
    pub(super) fn step(&mut self, now: Instant) -> NodeCondition {
        match self.step_or_fail(now) {
            Ok(trouble) => condition(trouble),
            Err(why) => condition(Some((CANNOT_WRITE, why.to_string()))),
        }
    }

    fn step_or_fail(&mut self, now: Instant) -> io::Result<Option<(&'static str, String)>> {
        install_plugin(&self.places)?;
        let directory = &self.places.conf_dir;
        let files = read_others(directory)?;
        let source = source(&files, self.places.socket.as_deref());
        let path = directory.join(OURS);
        let ours = read_text(&path)?;
        let (deed, trouble) = self.standing.decide(ours.as_deref(), &source, now);
        let done = match &deed {
            Deed::Nothing => Ok(()),
            Deed::Write(text) => write_new(&path, 0o600, |file| file.write_all(text.as_bytes())),
            Deed::Remove => remove_file(&path).map(drop),
        };
        if done.is_err() {
            self.standing.fail();
        }
        done.map(|()| trouble)
    }
}

/// Removes our configuration, then the plugin; what was there.
///
/// # Errors
/// A file cannot be removed; the plugin stays for as long as the configuration does.
pub fn remove(conf_dir: &Path, bin_dir: &Path) -> io::Result<Vec<String>> {
    let renamed = format!("{OURS}{RENAMED}");
    let (ours, plugin) = (conf_dir.join(OURS), bin_dir.join(PLUGIN));
    let files = [beside(&ours), beside(&plugin), ours, conf_dir.join(renamed), plugin];
    let mut removed = Vec::new();
    for path in files {
        if remove_file(&path)? {
            removed.push(path.display().to_string());
        }
    }
    Ok(removed)
}

/// Copies the plugin, unless just that is there.
fn install_plugin(places: &ChainPlaces) -> io::Result<()> {
    let target = places.bin_dir.join(PLUGIN);
    let at = |path: &Path, why: io::Error| {
        io::Error::new(why.kind(), format!("{}: {why}", path.display()))
    };
    let plugin = fs::read(&places.plugin).map_err(|why| at(&places.plugin, why))?;
    let is_there = fs::read(&target).is_ok_and(|there| there == plugin);
    let runs = fs::metadata(&target).is_ok_and(|of| of.permissions().mode() & 0o111 == 0o111);
    if is_there && runs {
        return Ok(());
    }
    fs::create_dir_all(&places.bin_dir).map_err(|why| at(&places.bin_dir, why))?;
    write_new(&target, 0o755, |file| file.write_all(&plugin))
}

/// The configurations of others. One that goes while it is read was not there.
fn read_others(directory: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let named =
        |why: io::Error| io::Error::new(why.kind(), format!("{}: {why}", directory.display()));
    for entry in fs::read_dir(directory).map_err(named)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if is_others(&name)
            && let Ok(bytes) = fs::read(entry.path())
        {
            files.insert(name, bytes);
        }
    }
    Ok(files)
}

fn read_text(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(io::Error::new(why.kind(), format!("{}: {why}", path.display()))),
    }
}

/// Writes beside, then renames: who looks sees the old file or the new. The name beside is nobody's
/// configuration.
fn write_new(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let fresh = beside(path);
    let written = (|| {
        remove_file(&fresh)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        write(&mut file)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&fresh, path)
    })();
    if written.is_err() {
        // What is wrong is told; this one may be wrong in the same way.
        drop(remove_file(&fresh));
    }
    written.map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", path.display())))
}

/// The name that a file has while it is written.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(PLUGIN);
    path.with_file_name(format!(".{name}.new"))
}

/// Whether there was one.
fn remove_file(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(io::Error::new(why.kind(), format!("{}: {why}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(OURS);
        let full = |_file: &mut File| Err(io::ErrorKind::StorageFull.into());
        assert!(write_new(&path, 0o600, full).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_was_being_written_is_removed_too() {
        let directory = tempfile::tempdir().unwrap();
        let left = beside(&directory.path().join(OURS));
        fs::write(&left, "").unwrap();
        let removed = remove(directory.path(), directory.path()).unwrap();
        assert_eq!(removed, [left.display().to_string()]);
    }
}
