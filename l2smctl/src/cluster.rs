//! A Kubernetes cluster: how it is reached, and what the commands do there.

pub(crate) mod connectivity;
pub(crate) mod install;
pub(crate) mod manifest;
pub(crate) mod objects;
pub(crate) mod status;
pub(crate) mod uninstall;

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::command::Common;

/// Where the operator and the agents are.
pub(crate) const NAMESPACE: &str = "l2sm-system";
/// Time for what concerns a whole cluster, unless `--timeout` says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// How often a cluster is asked whether it has come as far as we wait for.
const LOOK: Duration = Duration::from_millis(500);
/// Time to connect to the API server.
const CONNECT: Duration = Duration::from_secs(10);

/// Which cluster.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Access {
    /// The cluster's kubeconfig [default: as kubectl finds it].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it [default: its current one].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

impl Access {
    /// Whether the user said that a cluster is meant.
    pub(crate) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// Whether the user has a cluster at all: a kubeconfig where kubectl looks for one.
    pub(crate) fn is_found() -> bool {
        let home = || env::home_dir().map(|home| home.join(".kube/config"));
        let listed = env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        let mut files: Vec<PathBuf> =
            listed.map(|files| env::split_paths(&files).collect()).unwrap_or_default();
        if files.is_empty() {
            files.extend(home());
        }
        files.iter().any(|file| file.exists())
    }

    async fn config(&self) -> Result<Config> {
        let options =
            KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Ok(match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)
                    .map_err(|error| one_line(&error).context(path.display().to_string()))?;
                Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(|error| one_line(&error).context(path.display().to_string()))?
            }
            None if self.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| one_line(&error))?
            }
            None => Config::infer().await.map_err(|_neither| {
                anyhow!("no cluster is known: give --kubeconfig FILE, or set KUBECONFIG")
            })?,
        })
    }
}

/// Connects to the cluster that the user means, and does `work`.
///
/// # Errors
/// It cannot be reached; those of `work`.
pub(crate) fn with<T>(common: &Common, work: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let mut config = Box::pin(common.access.config()).await?;
        config.connect_timeout = Some(CONNECT);
        let url = config.cluster_url.clone();
        let client = Client::try_from(config).map_err(|error| one_line(&error))?;
        Box::pin(client.apiserver_version())
            .await
            .map_err(|error| fault(error).context(format!("cannot reach the cluster at {url}")))?;
        Box::pin(work(&client)).await
    })
}

/// What the API server said, or why nothing was heard of it, in one line.
pub(crate) fn fault(error: kube::Error) -> anyhow::Error {
    let kube::Error::Api(status) = error else { return one_line(&error) };
    if status.message.is_empty() {
        anyhow!("HTTP {}", status.code)
    } else {
        anyhow!(status.message)
    }
}

/// The deepest reason: what is above it only says that there is one.
fn one_line(error: &dyn Error) -> anyhow::Error {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = deepest.to_string();
    anyhow!(text.lines().next().unwrap_or_default().to_owned())
}

/// Looks until `look` finds something; an `Err` inside is what stands in the way so far.
///
/// # Errors
/// Those of `look`; not before the deadline: what stood in the way last.
pub(crate) async fn until<T>(
    deadline: Instant,
    mut look: impl AsyncFnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    loop {
        match Box::pin(look()).await? {
            Ok(found) => return Ok(found),
            Err(obstacle) if Instant::now() >= deadline => {
                return Err(anyhow!("not in time: {obstacle}"));
            }
            Err(_obstacle) => tokio::time::sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_reason_is_the_one_that_is_said() {
        let error = anyhow!("connection refused").context("connecting").context("service");
        assert_eq!(one_line(error.as_ref()).to_string(), "connection refused");
    }

    #[tokio::test]
    async fn waiting_ends_with_what_stood_in_the_way() {
        let never = until::<()>(Instant::now(), async || Ok(Err("n2 sleeps".to_owned()))).await;
        assert_eq!(never.unwrap_err().to_string(), "not in time: n2 sleeps");
        let mut looks = 0;
        let later = until(Instant::now() + PATIENCE, async || {
            looks += 1;
            Ok(if looks > 1 { Ok(looks) } else { Err("not yet".to_owned()) })
        });
        assert_eq!(later.await.unwrap(), 2);
    }
}
