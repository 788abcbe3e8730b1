//! `l2smctl wait`: until objects have a condition, or are gone.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use l2sm_api::objects::Kind;

use super::get::{not_found, text};
use super::{Connection, Namespace};
use crate::client::Client;
use crate::say::say;
use crate::{condition, target};

/// How often the controller is asked.
const POLL: Duration = Duration::from_millis(100);

/// Wait until objects have a condition, or are gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl wait --for=condition=Ready l2network/blue
  l2smctl wait --for=condition=Ready=false network blue red --timeout 2m
  l2smctl wait --for=condition=Ready networks --all
  l2smctl wait --for=delete l2network/blue")]
pub(crate) struct Args {
    /// KIND NAME… or KIND/NAME….
    #[arg(value_name = "KIND", required = true)]
    words: Vec<String>,
    /// What to wait for: condition=TYPE, condition=TYPE=STATUS, or delete.
    #[arg(long = "for", value_name = "WHAT")]
    goal: Goal,
    /// All objects of the kind.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    connection: Connection,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    /// The object is not there.
    Gone,
    /// A condition has a status.
    Condition { name: String, status: String },
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "delete" {
            return Ok(Self::Gone);
        }
        let expected = "expected condition=TYPE, condition=TYPE=True|False|Unknown, or delete";
        let rest = text.strip_prefix("condition=").ok_or(expected)?;
        let (name, status) = rest.split_once('=').unwrap_or((rest, "True"));
        let known = ["True", "False", "Unknown"];
        let status = known
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(status));
        if name.is_empty() {
            return Err(expected.to_owned());
        }
        let status = status.ok_or(expected)?.to_owned();
        Ok(Self::Condition {
            name: name.to_owned(),
            status,
        })
    }
}

/// Waits for each object in turn; the time is for all together.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let deadline = Instant::now() + args.connection.timeout;
    args.connection.with(async |client| {
        let mut waiting: VecDeque<_> = objects(client, args).await?.into();
        while let Some((kind, name)) = waiting.front() {
            match obstacle(client, args, *kind, name).await? {
                None => {
                    say!("{} condition met", target::full_name(*kind, name));
                    waiting.pop_front();
                }
                Some(obstacle) if Instant::now() >= deadline => {
                    let full = target::full_name(*kind, name);
                    bail!("timed out waiting for {full}: {obstacle}")
                }
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn objects(client: &mut Client, args: &Args) -> Result<Vec<(Kind, String)>> {
    if !args.all {
        return target::parse_named(&args.words).map_err(|why| anyhow!(why));
    }
    let mut found = Vec::new();
    for target in target::parse(&args.words).map_err(|why| anyhow!(why))? {
        if target.name.is_some() {
            bail!("--all waits for all objects of a kind: expected no names");
        }
        let namespace = args.namespace.of(target.kind);
        let objects = client.list(target.kind.name(), namespace, "").await?;
        let names = objects
            .iter()
            .filter_map(|object| text(object, "/metadata/name"));
        found.extend(names.map(|name| (target.kind, name.to_owned())));
    }
    Ok(found)
}

/// What is in the way of the goal; `None`: it is reached.
async fn obstacle(
    client: &mut Client,
    args: &Args,
    kind: Kind,
    name: &str,
) -> Result<Option<String>> {
    let namespace = args.namespace.of(kind);
    let objects = client.list(kind.name(), namespace, name).await?;
    match (&args.goal, objects.first()) {
        (Goal::Gone, None) => Ok(None),
        (Goal::Gone, Some(_)) => Ok(Some("it is still there".to_owned())),
        (Goal::Condition { .. }, None) => bail!(not_found(kind, name, namespace)),
        (Goal::Condition { name, status }, Some(object)) => {
            Ok(condition::obstacle(object, name, status))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_kubectl_reads_them() {
        let goal = |name: &str, status: &str| {
            Ok(Goal::Condition {
                name: name.into(),
                status: status.into(),
            })
        };
        assert_eq!("condition=Ready".parse(), goal("Ready", "True"));
        assert_eq!("condition=Ready=true".parse(), goal("Ready", "True"));
        assert_eq!("condition=Ready=False".parse(), goal("Ready", "False"));
        assert_eq!("delete".parse(), Ok(Goal::Gone));
        for text in [
            "",
            "Ready",
            "condition=",
            "condition=Ready=maybe",
            "deleted",
        ] {
            assert!(
                text.parse::<Goal>()
                    .unwrap_err()
                    .starts_with("expected condition="),
                "{text}"
            );
        }
    }
}
