//! `l2smctl wait`: until objects have a condition, or are gone.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use l2sm_api::objects::Kind;

use super::get::{not_found, text};
use super::{Common, Misuse};
use crate::client::Client;
use crate::condition;
use crate::say::say;
use crate::target::{self, Target};

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
        let status = known.into_iter().find(|known| known.eq_ignore_ascii_case(status));
        if name.is_empty() {
            return Err(expected.to_owned());
        }
        let status = status.ok_or(expected)?.to_owned();
        Ok(Self::Condition { name: name.to_owned(), status })
    }
}

/// Waits for each object in turn; the time is for all together.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let targets = targets(args)?;
    let deadline = Instant::now() + common.timeout();
    common.with(async |client| {
        let mut waiting = objects(client, common, targets).await?;
        while let Some((kind, name)) = waiting.front() {
            match obstacle(client, args, common, *kind, name).await? {
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

/// The objects that are meant, as far as the command line tells.
fn targets(args: &Args) -> Result<Vec<Target>, Misuse> {
    let targets = target::parse(&args.words).map_err(Misuse)?;
    match targets.iter().find(|target| target.name.is_some() == args.all) {
        Some(_) if args.all => Err(Misuse("--all: expected a kind, and no names".to_owned())),
        Some(Target { kind, .. }) => {
            Err(Misuse(format!("{kind}: expected a name after the kind, or --all")))
        }
        None => Ok(targets),
    }
}

/// The objects to wait for: those named, or all there are now.
async fn objects(
    client: &mut Client,
    common: &Common,
    targets: Vec<Target>,
) -> Result<VecDeque<(Kind, String)>> {
    let mut found = VecDeque::new();
    for Target { kind, name } in targets {
        if let Some(name) = name {
            found.push_back((kind, name));
            continue;
        }
        let objects = client.list(kind.name(), common.namespace_of(kind), "").await?;
        let names = objects.iter().filter_map(|object| text(object, "/metadata/name"));
        found.extend(names.map(|name| (kind, name.to_owned())));
    }
    Ok(found)
}

/// What is in the way of the goal; `None`: it is reached.
async fn obstacle(
    client: &mut Client,
    args: &Args,
    common: &Common,
    kind: Kind,
    name: &str,
) -> Result<Option<String>> {
    let namespace = common.namespace_of(kind);
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

    fn waiting_for(words: &[&str], all: bool) -> Args {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Args { words, goal: Goal::Gone, all }
    }

    #[test]
    fn all_or_names_are_needed_and_not_both() {
        assert_eq!(targets(&waiting_for(&["l2net/blue"], false)).unwrap().len(), 1);
        assert_eq!(targets(&waiting_for(&["nodes"], true)).unwrap().len(), 1);
        assert!(targets(&waiting_for(&["nodes"], false)).unwrap_err().0.ends_with("or --all"));
        assert!(targets(&waiting_for(&["nodes", "n1"], true)).unwrap_err().0.starts_with("--all"));
    }

    #[test]
    fn goals_are_read_as_kubectl_reads_them() {
        let goal = |name: &str, status: &str| {
            Ok(Goal::Condition { name: name.into(), status: status.into() })
        };
        assert_eq!("condition=Ready".parse(), goal("Ready", "True"));
        assert_eq!("condition=Ready=true".parse(), goal("Ready", "True"));
        assert_eq!("condition=Ready=False".parse(), goal("Ready", "False"));
        assert_eq!("delete".parse(), Ok(Goal::Gone));
        for text in ["", "Ready", "condition=", "condition=Ready=maybe", "deleted"] {
            assert!(text.parse::<Goal>().unwrap_err().starts_with("expected condition="), "{text}");
        }
    }
}
