//! One agent for one socket, one pin directory and one network namespace.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::OpenOptionsExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::config::Places;

/// Held for as long as the agent lives; the kernel lets go of it, however the agent ends.
#[derive(Debug)]
pub(super) struct Lock {
    _held: Vec<Flock<File>>,
}

impl Lock {
    /// Takes the file next to the socket, and the pin directory itself.
    pub(super) fn take(places: &Places) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        let beside = beside(&places.socket);
        if beside.parent().is_some_and(Path::is_dir) {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&beside);
            held.push(lock(file.with_context(|| beside.display().to_string())?, &places.socket)?);
        }
        if places.bpffs.is_dir() {
            let directory = File::open(&places.bpffs);
            let directory = directory.with_context(|| places.bpffs.display().to_string())?;
            held.push(lock(directory, &places.bpffs)?);
        }
        Ok(Self { _held: held })
    }
}

/// Held while an agent works on the devices of its network namespace.
#[derive(Debug)]
pub(super) struct NamespaceLock {
    _held: UnixDatagram,
}

impl NamespaceLock {
    /// Takes the abstract socket `l2sm-agent`: such names belong to a network namespace, as the devices
    /// do, whatever paths an agent was given.
    pub(super) fn take() -> anyhow::Result<Self> {
        let name = SocketAddr::from_abstract_name(b"l2sm-agent")?;
        match UnixDatagram::bind_addr(&name) {
            Ok(held) => Ok(Self { _held: held }),
            Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
                bail!("this network namespace: in use by another l2sm-agent")
            }
            Err(why) => Err(why).context("lock the network namespace"),
        }
    }
}

/// Path of the lock file of a socket.
pub(super) fn beside(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock(file: File, of: &Path) -> anyhow::Result<Flock<File>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(held),
        Err((_file, Errno::EWOULDBLOCK)) => {
            bail!("{}: in use by another l2sm-agent", of.display())
        }
        Err((_file, why)) => bail!("lock {}: {}", of.display(), why.desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_what_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places {
            bpffs: directory.path().join("none"),
            socket: directory.path().join("agent.sock"),
            state_dir: None,
        };
        let first = Lock::take(&places).unwrap();
        let why = Lock::take(&places).unwrap_err().to_string();
        assert!(why.ends_with("agent.sock: in use by another l2sm-agent"), "{why}");
        drop(first);
        assert!(Lock::take(&places).is_ok());
    }
}
