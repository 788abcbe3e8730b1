//! The crates of the workspace, as their manifests have them.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;
use crate::lint::finding::Finding;

/// A crate of the workspace, as its manifest has it.
pub(super) struct Package {
    pub(super) name: String,
    /// Path of the manifest, relative to the root.
    pub(super) manifest: String,
    /// The manifest's text, to find lines in.
    pub(super) text: String,
    pub(super) dependencies: Vec<Dependency>,
}

pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) ours: bool,
    pub(super) optional: bool,
}

/// The crates of the workspace.
pub(super) fn packages() -> Result<Vec<Package>> {
    let mut cargo = command::cargo();
    let json = command::read(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&json).context("cargo metadata is not JSON")?;
    let root = text(&metadata, "workspace_root");
    items(&metadata, "packages").map(|package| Package::read(package, root)).collect()
}

impl Package {
    fn read(package: &Value, root: &str) -> Result<Self> {
        let path = text(package, "manifest_path");
        let manifest = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned();
        let dependencies = items(package, "dependencies").filter(|d| text(d, "kind") != "dev");
        Ok(Self {
            name: text(package, "name").to_owned(),
            text: fs::read_to_string(path).with_context(|| format!("cannot read {manifest}"))?,
            manifest,
            dependencies: dependencies.map(Dependency::read).collect(),
        })
    }

    /// A finding at the line of the manifest that names `dependency`.
    pub(super) fn finding(&self, dependency: &str, what: String) -> Finding {
        Finding::error(&self.manifest, line(&self.text, dependency), what)
    }
}

impl Dependency {
    fn read(dependency: &Value) -> Self {
        Self {
            name: text(dependency, "name").to_owned(),
            // Only a crate of the workspace has a path.
            ours: dependency.get("path").is_some(),
            optional: dependency.get("optional").and_then(Value::as_bool) == Some(true),
        }
    }
}

/// The line of a manifest that declares `dependency`, counted from one; the first if none does.
fn line(manifest: &str, dependency: &str) -> usize {
    let declares = |line: &str| {
        let name = line.trim_start().trim_start_matches('[').rsplit("dependencies.").next();
        let rest = name.and_then(|name| name.trim_matches('"').strip_prefix(dependency));
        rest.is_some_and(|rest| rest.starts_with([' ', '.', '=', ']', '"']))
    };
    manifest.lines().position(declares).map_or(1, |at| at + 1)
}

/// The text of a field; empty when there is none.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list; none when there is no list.
fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_line_of_a_dependency_is_found_in_every_way_to_write_it() {
        let manifest =
            "[dependencies]\nayame = \"1\"\naya.workspace = true\n[dependencies.tokio]\n";
        assert_eq!(line(manifest, "aya"), 3);
        assert_eq!(line(manifest, "tokio"), 4);
        assert_eq!(line(manifest, "absent"), 1);
    }
}
