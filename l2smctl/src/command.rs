//! The commands, one file each, and the arguments that several share.

pub(crate) mod apply;
pub(crate) mod attach;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod detach;
pub(crate) mod get;
pub(crate) mod lab;
pub(crate) mod status;
pub(crate) mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use l2sm_api::objects::{DEFAULT_NAMESPACE, Kind};

use crate::agent;
use crate::client::{Client, DEFAULT_SERVER, Server};
use crate::duration;

/// The controller, and how long to wait for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// The controller: http://HOST:PORT, or `lab` for the lab on this machine.
    #[arg(long, value_name = "URL", env = "L2SM_SERVER", value_parser = Server::parse,
          default_value = DEFAULT_SERVER)]
    pub(crate) server: Server,
    /// How long to wait for an answer, as in 30s or 1m30s.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    pub(crate) timeout: Duration,
}

impl Connection {
    /// Connects, and does `work`.
    pub(crate) fn with<T: Send>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T> + Send,
    ) -> Result<T> {
        self.server.with(self.timeout, work)
    }
}

/// The namespace of the objects meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Namespace {
    /// Namespace of the objects [default: default].
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

impl Namespace {
    /// The one that was given, else `default`.
    pub(crate) fn name(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The one that objects of `kind` are in; empty for those in none.
    pub(crate) fn of(&self, kind: Kind) -> &str {
        if kind.is_namespaced() {
            self.name()
        } else {
            ""
        }
    }
}

/// The agent of this node.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentSocket {
    /// The socket of this node's agent.
    #[arg(long, value_name = "PATH", env = "L2SM_SOCKET", default_value = agent::SOCKET)]
    pub(crate) socket: PathBuf,
    /// How long to wait for an answer, as in 30s or 1m30s.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    pub(crate) timeout: Duration,
}

/// A network namespace of this node.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Netns {
    /// The network namespace, as a path.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// The network namespace, as that of a process.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

impl Netns {
    /// The path of the namespace, as the agent needs it: absolute.
    pub(crate) fn path(&self) -> Result<String> {
        let path = match (&self.netns, self.pid) {
            (Some(path), _) => std::path::absolute(path)?,
            (None, pid) => PathBuf::from(format!("/proc/{}/ns/net", pid.unwrap_or_default())),
        };
        Ok(path.display().to_string())
    }

    /// What to call it in listings: the last part of its path.
    pub(crate) fn label(&self) -> Option<String> {
        let name = self.netns.as_deref().and_then(Path::file_name)?;
        Some(name.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stands_for_its_namespace() {
        let netns = Netns {
            netns: None,
            pid: Some(7),
        };
        assert_eq!(netns.path().unwrap(), "/proc/7/ns/net");
        assert_eq!(netns.label(), None);
        let netns = Netns {
            netns: Some("/run/netns/web".into()),
            pid: None,
        };
        assert_eq!(netns.path().unwrap(), "/run/netns/web");
        assert_eq!(netns.label().as_deref(), Some("web"));
    }

    #[test]
    fn objects_without_namespace_are_in_none() {
        let namespace = Namespace {
            namespace: Some("red".into()),
        };
        assert_eq!(namespace.of(Kind::L2Network), "red");
        assert_eq!(namespace.of(Kind::L2Node), "");
        assert_eq!(Namespace { namespace: None }.of(Kind::L2Network), "default");
    }
}
