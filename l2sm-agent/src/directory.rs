//! Noticing that something in a directory has changed.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tokio::io::{Interest, unix::AsyncFd};

/// A directory that is watched: names that come and go, and files that were written.
#[derive(Debug)]
pub struct DirectoryWatch(AsyncFd<Descriptor>);

#[derive(Debug)]
struct Descriptor(Inotify);

impl DirectoryWatch {
    /// Watches `directory` from now on.
    ///
    /// # Errors
    /// It is not there, or the user's watches are used up (`fs.inotify.max_user_instances`).
    pub fn open(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(directory, changes)?;
        // SAFETY: `Descriptor` owns the instance, whose descriptor stays the same and open until the
        // `AsyncFd` that owns it is dropped.
        Ok(Self(unsafe {
            AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE)
        }?))
    }

    /// Returns when something has changed since it was opened, or since this returned last.
    ///
    /// # Errors
    /// The directory itself is gone: it must be opened again.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => {
                    let gone = AddWatchFlags::IN_DELETE_SELF
                        | AddWatchFlags::IN_MOVE_SELF
                        | AddWatchFlags::IN_IGNORED;
                    if events.iter().any(|event| event.mask.intersects(gone)) {
                        return Err(io::ErrorKind::NotFound.into());
                    }
                    return Ok(());
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(why) => return Err(why.into()),
            }
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[tokio::test]
    async fn each_kind_of_change_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("conf");
        fs::create_dir(&inside).unwrap();
        let mut watch = DirectoryWatch::open(&inside).unwrap();
        let (one, two) = (inside.join("one"), inside.join("two"));
        let steps: [&dyn Fn(); 4] = [
            &|| fs::write(&one, "1").unwrap(),
            &|| fs::write(&one, "2").unwrap(),
            &|| fs::rename(&one, &two).unwrap(),
            &|| fs::remove_file(&two).unwrap(),
        ];
        for step in steps {
            step();
            let noticed = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
            assert!(matches!(noticed, Ok(Ok(()))), "{noticed:?}");
        }
        fs::remove_dir(&inside).unwrap();
        let mut ended = Ok(());
        while ended.is_ok() {
            let noticed = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
            ended = noticed.expect("noticed");
        }
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
