//! `l2smctl apply`: creates or updates the objects of manifests.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use l2sm_api::grpc::v1::Applied;
use l2sm_api::grpc::v1::applied::Outcome;
use l2sm_api::objects::Kind;

use super::Common;
use crate::say::say;
use crate::{manifest, target};

/// Create or update the objects of manifests: all of them, or none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl apply -f blue.yaml
  l2smctl apply -f networks/ -f more.yaml --dry-run
  cat blue.yaml | l2smctl apply -f -")]
pub(crate) struct Args {
    /// A manifest, a directory of manifests, or - for standard input; repeatable.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    filename: Vec<String>,
    /// Check everything, here and at the controller, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Reads and checks all manifests, then applies them.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let documents = manifest::read(&args.filename, common.namespace.as_deref())?;
    let objects = manifest::json(&documents)?;
    let applied = common.with(async |client| client.apply(objects, args.dry_run).await);
    let applied = applied.map_err(|error| {
        if error.is::<crate::client::Unreachable>() {
            return error;
        }
        anyhow!(manifest::locate(&format!("{error:#}"), &documents))
    })?;
    for applied in &applied {
        say!("{}{}", line(applied), if args.dry_run { " (dry run)" } else { "" });
    }
    Ok(ExitCode::SUCCESS)
}

/// What happened to an object, as kubectl says it.
fn line(applied: &Applied) -> String {
    let outcome = match applied.outcome() {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    };
    let name = match Kind::find(&applied.kind) {
        Ok(kind) => target::full_name(kind, &applied.name),
        Err(_newer) => format!("{}/{}", applied.kind, applied.name),
    };
    format!("{name} {outcome}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_said_as_kubectl_says_it() {
        let applied = |kind: &str, outcome: Outcome| Applied {
            kind: kind.into(),
            namespace: "default".into(),
            name: "blue".into(),
            outcome: outcome.into(),
        };
        assert_eq!(
            line(&applied("L2Network", Outcome::Created)),
            "l2network.l2sm.l2sm.k8s.local/blue created"
        );
        assert_eq!(line(&applied("Newer", Outcome::Unchanged)), "Newer/blue unchanged");
    }
}
