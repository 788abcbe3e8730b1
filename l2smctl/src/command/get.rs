//! `l2smctl get`: lists objects.

use std::process::ExitCode;

use anyhow::Result;
use jiff::Timestamp;
use l2sm_api::objects::{Kind, columns};
use serde_json::Value;

use super::{Common, Misuse};
use crate::client::Client;
use crate::output::table::Table;
use crate::output::{Format, json};
use crate::say::{self, say};
use crate::target::{self, Target};

/// List objects.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Kinds: l2networks (l2net, networks), l2attachments (l2att, attachments), l2nodes (nodes),
externalvteps (extvtep), overlays, networkedgedevices (neds).

Examples:
  l2smctl get networks
  l2smctl get l2net blue -o yaml
  l2smctl get networks,attachments -A -o wide
  l2smctl get l2network/blue l2node/n1 -o json")]
pub(crate) struct Args {
    /// KIND, KIND NAME… or KIND/NAME…; several kinds with commas between.
    #[arg(value_name = "KIND", required = true)]
    words: Vec<String>,
    /// How to show them.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Objects of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
}

/// The objects of a kind that were found.
#[derive(Debug)]
struct Found {
    kind: Kind,
    objects: Vec<Value>,
}

/// Lists what was asked for. What is not found is an error after what is found is shown.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let targets = target::parse(&args.words).map_err(Misuse)?;
    let by_name = targets.iter().all(|target| target.name.is_some());
    let (found, missing) = common.with(async |client| {
        let mut found: Vec<Found> = Vec::new();
        let mut missing = Vec::new();
        for target in &targets {
            let objects = fetch(client, args, common, target).await?;
            if objects.is_empty() {
                let lost = target
                    .name
                    .as_deref()
                    .map(|name| not_found(target.kind, name, namespace(args, common, target.kind)));
                missing.extend(lost);
            }
            match found.iter_mut().find(|found| found.kind == target.kind) {
                Some(found) => found.objects.extend(objects),
                None => found.push(Found { kind: target.kind, objects }),
            }
        }
        Ok((found, missing))
    })?;
    show(args, common, found, by_name)?;
    missing.iter().for_each(say::error);
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The namespace that is looked in; empty for all.
fn namespace<'a>(args: &Args, common: &'a Common, kind: Kind) -> &'a str {
    if args.all_namespaces { "" } else { common.namespace_of(kind) }
}

async fn fetch(
    client: &mut Client,
    args: &Args,
    common: &Common,
    target: &Target,
) -> Result<Vec<Value>> {
    let name = target.name.as_deref().unwrap_or_default();
    client.list(target.kind.name(), namespace(args, common, target.kind), name).await
}

/// The error for an object that is not there.
pub(super) fn not_found(kind: Kind, name: &str, namespace: &str) -> String {
    let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    format!("{}{place}: not found", target::full_name(kind, name))
}

fn show(args: &Args, common: &Common, found: Vec<Found>, by_name: bool) -> Result<()> {
    match args.output {
        Format::Json | Format::Yaml => {
            let objects: Vec<_> = found.into_iter().flat_map(|found| found.objects).collect();
            if by_name && objects.is_empty() {
                return Ok(());
            }
            let value = json::listed(objects, by_name);
            if args.output == Format::Yaml {
                say::text(format_args!("{}", json::yaml(&value)?));
            } else {
                say!("{}", json::text(&value)?);
            }
        }
        Format::Name => {
            for Found { kind, objects } in &found {
                let names = objects.iter().filter_map(|object| text(object, "/metadata/name"));
                names.for_each(|name| say!("{}", target::full_name(*kind, name)));
            }
        }
        Format::Table | Format::Wide => show_tables(args, common, &found, by_name),
    }
    Ok(())
}

fn show_tables(args: &Args, common: &Common, found: &[Found], by_name: bool) {
    let wide = args.output == Format::Wide;
    let mut first = true;
    for Found { kind, objects } in found {
        if objects.is_empty() {
            if !by_name {
                say::progress(format_args!("{}\n", none(args, common, *kind)));
            }
            continue;
        }
        let gap = if first { "" } else { "\n" };
        first = false;
        let table = tabulate(*kind, objects, wide, args.all_namespaces, Timestamp::now());
        say::text(format_args!("{gap}{table}"));
    }
}

fn none(args: &Args, common: &Common, kind: Kind) -> String {
    let plural = kind.definition().plural;
    if args.all_namespaces || !kind.is_namespaced() {
        format!("no {plural}")
    } else {
        format!("no {plural} in namespace {}", common.namespace())
    }
}

/// Objects of one kind as a table.
pub(super) fn tabulate(
    kind: Kind,
    objects: &[Value],
    wide: bool,
    with_namespace: bool,
    now: Timestamp,
) -> Table {
    let columns: Vec<_> = columns(kind).iter().filter(|column| wide || !column.wide).collect();
    let namespaced = with_namespace && kind.is_namespaced();
    let heading = columns.iter().map(|column| column.name);
    let mut table = Table::new(namespaced.then_some("NAMESPACE").into_iter().chain(heading));
    for object in objects {
        let namespace = text(object, "/metadata/namespace").unwrap_or_default().to_owned();
        let cells = columns.iter().map(|column| column.cell(object, now));
        table.row(namespaced.then_some(namespace).into_iter().chain(cells));
    }
    table
}

/// The text at a JSON pointer.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_namespaces_are_told_apart_in_a_first_column() {
        let object = json!({
            "metadata": {"name": "blue", "namespace": "red"},
            "status": {"internalConnectivity": "Available", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let table = |namespaces| {
            let objects = std::slice::from_ref(&object);
            tabulate(Kind::L2Network, objects, false, namespaces, Timestamp::UNIX_EPOCH).to_string()
        };
        assert!(table(true).starts_with("NAMESPACE   NAME   AVAILABILITY"), "{}", table(true));
        assert!(table(false).starts_with("NAME   AVAILABILITY"), "{}", table(false));
        assert!(table(false).contains("blue   Available"), "{}", table(false));
    }

    #[test]
    fn what_is_missing_is_named_in_full() {
        assert_eq!(
            not_found(Kind::L2Network, "green", "default"),
            "l2network.l2sm.l2sm.k8s.local/green in default: not found"
        );
        assert_eq!(not_found(Kind::L2Node, "n9", ""), "l2node.l2sm.l2sm.k8s.local/n9: not found");
    }
}
