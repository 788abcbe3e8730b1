//! `l2smctl delete`: removes objects.

use std::process::ExitCode;

use anyhow::Result;
use l2sm_api::grpc::v1::{DeleteRequest, ObjectRef};
use l2sm_api::objects::{Document, Kind};

use super::{Common, Misuse};
use crate::say::say;
use crate::{manifest, target};

/// Remove objects: all of them, or none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl delete network blue
  l2smctl delete l2net/blue l2net/red --cascade
  l2smctl delete -f blue.yaml --ignore-not-found")]
pub(crate) struct Args {
    /// KIND NAME… or KIND/NAME….
    #[arg(value_name = "KIND", required_unless_present = "filename", conflicts_with = "filename")]
    words: Vec<String>,
    /// The objects of a manifest, a directory of manifests, or - for standard input; repeatable.
    #[arg(short, long = "filename", value_name = "FILE")]
    filename: Vec<String>,
    /// Detach what is attached to a network first.
    #[arg(long)]
    cascade: bool,
    /// Succeed for objects that are not there.
    #[arg(long)]
    ignore_not_found: bool,
}

/// Removes what was asked for.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let request = DeleteRequest {
        objects: if args.filename.is_empty() {
            from_words(args, common)?
        } else {
            from_files(args, common)?
        },
        cascade: args.cascade,
        ignore_not_found: args.ignore_not_found,
    };
    let deleted = common.with(async |client| client.delete(request).await)?;
    for object in &deleted {
        say!("{}", line(object));
    }
    Ok(ExitCode::SUCCESS)
}

/// What happened to an object, as kubectl says it.
fn line(object: &ObjectRef) -> String {
    let kind = Kind::find(&object.kind).map(target::qualified);
    format!("{} \"{}\" deleted", kind.unwrap_or_else(|_newer| object.kind.clone()), object.name)
}

fn from_words(args: &Args, common: &Common) -> Result<Vec<ObjectRef>> {
    let named = target::parse_named(&args.words).map_err(Misuse)?;
    let refer = |(kind, name): (Kind, String)| ObjectRef {
        kind: kind.name().into(),
        namespace: common.namespace_of(kind).into(),
        name,
    };
    Ok(named.into_iter().map(refer).collect())
}

fn from_files(args: &Args, common: &Common) -> Result<Vec<ObjectRef>> {
    let documents = manifest::read(&args.filename, common.namespace.as_deref())?;
    let refer = |Document { object, .. }: &Document| ObjectRef {
        kind: object.kind().name().into(),
        namespace: object.metadata().namespace.clone(),
        name: object.metadata().name.clone(),
    };
    Ok(documents.iter().map(refer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said_as_kubectl_says_it() {
        let object =
            ObjectRef { kind: "L2Network".into(), namespace: "red".into(), name: "blue".into() };
        assert_eq!(line(&object), "l2network.l2sm.l2sm.k8s.local \"blue\" deleted");
    }
}
