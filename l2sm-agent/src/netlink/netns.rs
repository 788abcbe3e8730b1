//! Network namespaces of pods: who they are, and doing something inside one.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};
use thiserror::Error;

use super::socket::{Conversation, NetlinkError};

/// A namespace held open: it cannot go away, nor its inode be used again, while this lives.
#[derive(Debug)]
pub struct Netns {
    path: String,
    file: File,
    inode: u64,
}

/// Why a namespace cannot be worked in.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The path does not open.
    #[error("network namespace {path}: {why}")]
    Gone {
        /// Path as given.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// The path is something else.
    #[error("network namespace {path}: not a network namespace")]
    NotOne {
        /// Path as given.
        path: String,
    },
    /// The path now means another namespace.
    #[error(
        "network namespace {path}: gone, another one is there now (inode {found}, not {wanted})"
    )]
    Replaced {
        /// Path as given.
        path: String,
        /// Inode expected.
        wanted: u64,
        /// Inode found.
        found: u64,
    },
    /// It could not be entered.
    #[error("enter network namespace {path}: {why}")]
    Entry {
        /// Path as given.
        path: String,
        /// Why.
        why: io::Error,
    },
}

impl NetnsError {
    /// Whether the namespace may be there all the same: this process ran short of something.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Gone { why, .. } => why.kind() != io::ErrorKind::NotFound,
            Self::NotOne { .. } | Self::Replaced { .. } => false,
            Self::Entry { .. } => true,
        }
    }
}

impl Netns {
    /// Opens the namespace at `path`. With `inode` not zero, only that one.
    ///
    /// # Errors
    /// Nothing there, not a namespace, or another one than `inode` says.
    pub fn open(path: &str, inode: u64) -> Result<Self, NetnsError> {
        let gone = |why| NetnsError::Gone { path: path.to_owned(), why };
        let file = File::open(Path::new(path)).map_err(gone)?;
        let kind = fstatfs(&file).map_err(|why| gone(why.into()))?.filesystem_type();
        if kind != NSFS_MAGIC {
            return Err(NetnsError::NotOne { path: path.to_owned() });
        }
        let found = file.metadata().map_err(gone)?.ino();
        if inode != 0 && inode != found {
            return Err(NetnsError::Replaced { path: path.to_owned(), wanted: inode, found });
        }
        Ok(Self { path: path.to_owned(), file, inode: found })
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// No `/proc`.
    pub fn own() -> Result<Self, NetnsError> {
        Self::open("/proc/thread-self/ns/net", 0)
    }

    /// Inode: the identity of a namespace while it exists.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Path it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The open descriptor, for `IFLA_NET_NS_FD`.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` with a netlink socket of this namespace, in a thread of its own that ends with it:
    /// no other thread's namespace ever changes.
    ///
    /// # Errors
    /// The namespace cannot be entered; no netlink; what `work` returns.
    pub fn run<T, E>(
        &self,
        work: impl FnOnce(&mut Conversation) -> Result<T, E> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: From<NetnsError> + From<NetlinkError> + Send,
    {
        let entered = thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                        .map_err(|why| self.entry_error(why.into()))?;
                    work(&mut Conversation::open()?)
                })
                .join()
        });
        entered.unwrap_or_else(|_panic| {
            Err(self.entry_error(io::Error::other("the thread in it ended early")).into())
        })
    }

    fn entry_error(&self, why: io::Error) -> NetnsError {
        if why.raw_os_error() == Some(nix::libc::EINVAL) {
            return NetnsError::NotOne { path: self.path.clone() };
        }
        NetnsError::Entry { path: self.path.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_gone_is_named() {
        let why = Netns::open("/run/netns/l2sm-no-such", 0).unwrap_err().to_string();
        assert_eq!(
            why,
            "network namespace /run/netns/l2sm-no-such: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let why = Netns::open(path, 0).unwrap_err().to_string();
        assert_eq!(why, format!("network namespace {path}: not a network namespace"));
    }

    #[test]
    fn another_namespace_at_the_same_path_is_told_apart() {
        let own = Netns::own().unwrap();
        let why = Netns::open(own.path(), own.inode() + 1).unwrap_err();
        assert!(matches!(why, NetnsError::Replaced { .. }), "{why}");
    }
}
