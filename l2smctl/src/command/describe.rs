//! `l2smctl describe`: one object, at length.

use std::process::ExitCode;

use anyhow::{Result, bail};
use jiff::Timestamp;
use l2sm_api::objects::Kind;
use serde_json::Value;

use super::get::{not_found, tabulate, text};
use super::{Common, Misuse};
use crate::condition;
use crate::output::json;
use crate::output::table::Table;
use crate::{say, target};

/// Show objects at length: what was asked for, what is, and what stands in the way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  l2smctl describe network blue
  l2smctl describe l2node/n1 l2node/n2")]
pub(crate) struct Args {
    /// KIND NAME… or KIND/NAME….
    #[arg(value_name = "KIND", required = true)]
    words: Vec<String>,
}

/// Describes what was asked for.
pub(crate) fn run(args: &Args, common: &Common) -> Result<ExitCode> {
    let targets = target::parse_named(&args.words).map_err(Misuse)?;
    let texts = common.with(async |client| {
        let mut texts = Vec::new();
        for (kind, name) in &targets {
            let namespace = common.namespace_of(*kind);
            let objects = client.list(kind.name(), namespace, name).await?;
            let Some(object) = objects.first() else { bail!(not_found(*kind, name, namespace)) };
            let attachments = match kind {
                Kind::L2Network => client.list(Kind::L2Attachment.name(), "", "").await?,
                Kind::L2Attachment
                | Kind::L2Node
                | Kind::ExternalVtep
                | Kind::Overlay
                | Kind::NetworkEdgeDevice => Vec::new(),
            };
            texts.push(describe(*kind, object, &attachments, Timestamp::now())?);
        }
        Ok(texts)
    })?;
    say::text(format_args!("{}", texts.join("\n\n")));
    Ok(ExitCode::SUCCESS)
}

/// An object at length; `attachments` are all there are, of which a network's own are shown.
fn describe(kind: Kind, object: &Value, attachments: &[Value], now: Timestamp) -> Result<String> {
    let mut out = heading(kind, object);
    for part in ["spec", "status"] {
        let Some(fields) = object.get(part).and_then(Value::as_object) else {
            continue;
        };
        let shown = fields.iter().filter(|(field, _)| *field != "conditions");
        let shown: serde_json::Map<_, _> =
            shown.map(|(field, value)| (field.clone(), value.clone())).collect();
        section(&mut out, &capital(part), &json::yaml(&shown)?);
    }
    section(&mut out, "Conditions", &conditions(object).to_string());
    if kind == Kind::L2Network {
        let own: Vec<_> =
            attachments.iter().filter(|found| is_of(found, object)).cloned().collect();
        let table = match own.len() {
            0 => "none\n".to_owned(),
            _ => tabulate(Kind::L2Attachment, &own, false, true, now).to_string(),
        };
        section(&mut out, "Attachments", &table);
    }
    Ok(out)
}

fn heading(kind: Kind, object: &Value) -> String {
    let fields = [
        ("Name:", text(object, "/metadata/name")),
        ("Namespace:", text(object, "/metadata/namespace")),
        ("Kind:", Some(kind.name())),
        ("Created:", text(object, "/metadata/creationTimestamp")),
    ];
    let mut table = String::new();
    for (name, value) in fields {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            continue;
        };
        let name = format!("{name:<13}");
        table.extend([&name, value, "\n"]);
    }
    table
}

fn conditions(object: &Value) -> Table {
    let mut table = Table::new(["TYPE", "STATUS", "REASON", "MESSAGE"]);
    for found in condition::all(object) {
        table.row(
            ["type", "status", "reason", "message"].map(|field| condition::text(found, field)),
        );
    }
    table
}

/// Whether an attachment joins this network. It may say in which namespace the network is; else it
/// is in its own.
fn is_of(attachment: &Value, network: &Value) -> bool {
    let own = text(attachment, "/metadata/namespace");
    let namespace = text(attachment, "/spec/networkNamespace").or(own);
    text(attachment, "/spec/network") == text(network, "/metadata/name")
        && namespace == text(network, "/metadata/namespace")
}

fn section(out: &mut String, title: &str, text: &str) {
    out.push_str(title);
    out.push_str(":\n");
    for line in text.lines() {
        out.extend(["  ", line, "\n"]);
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attachment(name: &str, namespace: &str, network_namespace: Option<&str>) -> Value {
        json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"network": "blue", "networkNamespace": network_namespace, "pod": name},
        })
    }

    #[test]
    fn a_network_is_described_with_its_conditions_and_own_attachments() {
        let network = json!({
            "metadata": {"name": "blue", "namespace": "red"},
            "spec": {"type": "vnet"},
            "status": {"vni": 7, "conditions": [
                {"type": "Ready", "status": "False", "reason": "Waiting", "message": "for n2"}]},
        });
        let attachments = [
            attachment("own", "red", None),
            attachment("other", "default", None),
            attachment("guest", "default", Some("red")),
        ];
        let text =
            describe(Kind::L2Network, &network, &attachments, Timestamp::UNIX_EPOCH).unwrap();
        assert!(text.starts_with("Name:        blue\nNamespace:   red\n"), "{text}");
        assert!(text.contains("Spec:\n  type: vnet\n"), "{text}");
        assert!(text.contains("Status:\n  vni: 7\n"), "{text}");
        assert!(text.contains("  Ready   False    Waiting   for n2\n"), "{text}");
        assert!(text.contains("own") && text.contains("guest"), "{text}");
        assert!(!text.contains("other"), "{text}");
    }

    #[test]
    fn a_node_has_no_attachments_section() {
        let node = json!({"metadata": {"name": "n1"}, "spec": {"udpPort": 7000}});
        let text = describe(Kind::L2Node, &node, &[], Timestamp::UNIX_EPOCH).unwrap();
        assert!(!text.contains("Attachments") && !text.contains("Namespace"), "{text}");
    }
}
