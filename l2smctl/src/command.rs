//! The commands, one file each, and the arguments that several share.

pub(crate) mod apply;
pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod connectivity;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod detach;
pub(crate) mod get;
pub(crate) mod install;
pub(crate) mod lab;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod version;
pub(crate) mod wait;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use l2sm_api::grpc::tls::ClientFiles;
use l2sm_api::objects::{DEFAULT_NAMESPACE, Kind};
use tracing_subscriber::filter::LevelFilter;

use crate::agent;
use crate::client::{Client, Server};
use crate::cluster::Access;
use crate::duration;

/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What any command may be told, before or after its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// The controller.
    #[arg(long, global = true, value_name = "URL", env = "L2SM_SERVER", value_parser = Server::parse,
          help = "The controller: https://HOST:PORT, http://HOST:PORT, or `lab` for the lab on this \
                  machine [default: 127.0.0.1:30808]")]
    pub(crate) server: Option<Server>,
    #[command(flatten)]
    pub(crate) tls: Tls,
    /// The socket of this node's agent [default: /run/l2sm/agent.sock].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Namespace of the objects [default: default].
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
    /// How long to wait, as in 30s or 1m30s [default: 30s; 5m for a whole cluster].
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// Files of TLS, for https:// controllers.
#[derive(Debug, clap::Args)]
pub(crate) struct Tls {
    /// Authorities that sign the controller's certificate, PEM.
    #[arg(long = "tls-ca", global = true, value_name = "FILE", env = "L2SM_TLS_CA")]
    ca: Option<PathBuf>,
    /// Own certificate, an admin's, PEM.
    #[arg(long = "tls-cert", global = true, value_name = "FILE", env = "L2SM_TLS_CERT")]
    cert: Option<PathBuf>,
    /// Private key of the own certificate, PEM.
    #[arg(long = "tls-key", global = true, value_name = "FILE", env = "L2SM_TLS_KEY")]
    key: Option<PathBuf>,
}

impl Tls {
    /// The files; else the first flag that is missing.
    fn files(&self) -> Result<ClientFiles, &'static str> {
        Ok(ClientFiles {
            ca: self.ca.clone().ok_or("--tls-ca")?,
            cert: self.cert.clone().ok_or("--tls-cert")?,
            key: self.key.clone().ok_or("--tls-key")?,
        })
    }
}

/// What is logged, on standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Logging {
    /// Log what is at least as important as this.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "L2SM_LOG_LEVEL",
        default_value = "error"
    )]
    pub(crate) log_level: LevelFilter,
    /// Log as text or JSON.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "L2SM_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Common {
    /// Connects to the controller, and does `work`.
    pub(crate) fn with<T: Send>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T> + Send,
    ) -> Result<T> {
        let server = self.server.clone().unwrap_or_else(Server::of_machine);
        server.with_tls(self.tls.files()).map_err(Misuse)?.with(self.timeout(), work)
    }

    /// How long to wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout_or(ANSWER)
    }

    /// How long to wait: as long as was said, else for `default`.
    pub(crate) fn timeout_or(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }

    /// The namespace that was given, else `default`.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The namespace that objects of `kind` are in; empty for those in none.
    pub(crate) fn namespace_of(&self, kind: Kind) -> &str {
        if kind.is_namespaced() { self.namespace() } else { "" }
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> &Path {
        self.socket.as_deref().unwrap_or(Path::new(agent::SOCKET))
    }
}

/// A command line that cannot be what its writer meant: exit code 2.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// A network namespace of this node.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Netns {
    /// The network namespace, as a path.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// The network namespace, as that of a process; the attachment ends with it.
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

    /// What to call it in listings: the last part of its path, or the process.
    pub(crate) fn label(&self) -> Option<String> {
        match (&self.netns, self.pid) {
            (Some(path), _) => Some(path.file_name()?.to_string_lossy().into_owned()),
            (None, pid) => pid.map(|pid| format!("pid-{pid}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stands_for_its_namespace() {
        let netns = Netns { netns: None, pid: Some(7) };
        assert_eq!(netns.path().unwrap(), "/proc/7/ns/net");
        assert_eq!(netns.label().as_deref(), Some("pid-7"));
        let netns = Netns { netns: Some("/run/netns/web".into()), pid: None };
        assert_eq!(netns.path().unwrap(), "/run/netns/web");
        assert_eq!(netns.label().as_deref(), Some("web"));
    }
}
