//! The gate for dependency arrows: which crate may depend on which.
//!
//! What a crate declares comes from `cargo metadata`. What the pure crates reach comes from
//! `cargo tree` for that crate alone: metadata resolves the features of the whole workspace at
//! once, and there `l2sm-common` has aya because the agent asks for it.

mod manifest;

use anyhow::Result;

use self::manifest::{Dependency, Package};
use super::finding::Finding;
use crate::command;

/// What one crate may depend on, tests of its own aside.
struct Rule {
    name: &'static str,
    ours: Ours,
    others: Others,
    /// Crates that it may not reach through any chain of dependencies.
    never: &'static [&'static str],
}

/// Which crates of the workspace a crate may depend on.
enum Ours {
    Only(&'static [&'static str]),
    Any,
}

/// Which other crates a crate may depend on.
enum Others {
    Only(&'static [&'static str]),
    /// Only these, and only as optional dependencies.
    OnlyOptional(&'static [&'static str]),
    Any,
}

/// A crate with its own list of ours, and nothing said about others.
const fn rule(name: &'static str, ours: &'static [&'static str]) -> Rule {
    Rule { name, ours: Ours::Only(ours), others: Others::Any, never: &[] }
}

/// A crate that may use everything of ours.
const fn top(name: &'static str) -> Rule {
    Rule { ours: Ours::Any, ..rule(name, &[]) }
}

/// The table of `docs/architecture.md`, "The parts". Whoever adds a crate adds its line here.
const RULES: [Rule; 13] = [
    Rule { others: Others::OnlyOptional(&["aya"]), ..rule("l2sm-common", &[]) },
    Rule {
        others: Others::Only(&["aya-ebpf", "aya-log-ebpf"]),
        ..rule("l2sm-ebpf", &["l2sm-common"])
    },
    Rule {
        never: &["aya", "kube", "rtnetlink", "tokio", "tonic"],
        ..rule("l2sm-core", &["l2sm-common"])
    },
    rule("l2sm-api", &["l2sm-core", "l2sm-common"]),
    rule("l2sm-agent", &["l2sm-api", "l2sm-core", "l2sm-common"]),
    rule("l2sm-controller", &["l2sm-api", "l2sm-core", "l2sm-common"]),
    rule("l2sm-operator", &["l2sm-api", "l2sm-core", "l2sm-common", "l2sm-controller"]),
    rule("l2sm-cni", &["l2sm-api"]),
    rule("l2smctl", &["l2sm-api", "l2sm-core"]),
    rule("xtask", &[]),
    rule("l2sm-cluster", &[]),
    top("l2sm-tests"),
    top("l2sm-bench"),
];

/// Looks at every crate of the workspace.
///
/// # Errors
/// When cargo cannot read the workspace.
pub(super) fn check() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in manifest::packages()? {
        let Some(rule) = RULES.iter().find(|rule| rule.name == package.name) else {
            let what = format!("{} is not in the table of xtask/src/lint/arrows.rs", package.name);
            findings.push(Finding::error(&package.manifest, 1, what));
            continue;
        };
        findings.extend(declared(rule, &package));
        if !rule.never.is_empty() {
            findings.extend(reached(rule, &package, &tree(&package.name)?));
        }
    }
    Ok(findings)
}

/// The dependencies that a manifest declares against its rule.
fn declared(rule: &Rule, package: &Package) -> Vec<Finding> {
    let wrong = package.dependencies.iter().filter_map(|dependency| {
        let limit = forbidden(rule, dependency)?;
        let what = format!("{} depends on {}, limit: {limit}", rule.name, dependency.name);
        Some(package.finding(&dependency.name, what))
    });
    wrong.collect()
}

/// What the rule allows instead, if it does not allow `dependency`.
fn forbidden(rule: &Rule, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    let list = |names: &[&str]| {
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if dependency.ours {
        return match rule.ours {
            Ours::Only(names) if !names.contains(&name) => Some(format!("{} of ours", list(names))),
            Ours::Only(_) | Ours::Any => None,
        };
    }
    match rule.others {
        Others::Only(names) if !names.contains(&name) => {
            Some(format!("{} of others'", list(names)))
        }
        Others::OnlyOptional(names) if !dependency.optional || !names.contains(&name) => {
            Some(format!("{} of others', and that optional", list(names)))
        }
        Others::Only(_) | Others::OnlyOptional(_) | Others::Any => None,
    }
}

/// The tree of what `name` is built with, every feature of its own on: depth and crate, a line each.
fn tree(name: &str) -> Result<String> {
    let mut cargo = command::cargo();
    cargo.args(["tree", "--package", name, "--edges", "normal", "--all-features"]);
    command::read(cargo.args(["--target", "all", "--prefix", "depth", "--format", " {p}"]))
}

/// The crates of `tree` that the rule says never, each with the chain that leads to it.
fn reached(rule: &Rule, package: &Package, tree: &str) -> Vec<Finding> {
    let mut chain: Vec<&str> = Vec::new();
    let mut findings: Vec<Finding> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let depth = words.next().and_then(|depth| depth.parse().ok());
        let (Some(depth), Some(name)) = (depth, words.next()) else {
            continue;
        };
        chain.truncate(depth);
        chain.push(name);
        if rule.never.contains(&name) {
            let what =
                format!("{} reaches {name}, limit: never ({})", rule.name, chain.join(" -> "));
            let finding = package.finding(chain.get(1).unwrap_or(&name), what);
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Rule {
        RULES.iter().find(|rule| rule.name == name).unwrap()
    }

    /// What the crate `name` is told when its manifest declares `dependency`.
    fn told(name: &str, dependency: &str) -> Option<String> {
        let ours = dependency.starts_with("l2sm");
        forbidden(named(name), &Dependency { name: dependency.to_owned(), ours, optional: false })
    }

    #[test]
    fn an_arrow_that_the_table_does_not_have_is_told_what_it_has() {
        assert_eq!(told("l2sm-core", "l2sm-api").unwrap(), "l2sm-common of ours");
        assert_eq!(told("xtask", "l2sm-common").unwrap(), "none of ours");
        assert_eq!(told("l2smctl", "l2sm-agent").unwrap(), "l2sm-api, l2sm-core of ours");
        assert_eq!(told("l2sm-ebpf", "libc").unwrap(), "aya-ebpf, aya-log-ebpf of others'");
        assert!(told("l2sm-common", "serde").is_some());
        assert!(told("l2sm-api", "l2sm-controller").is_some());
    }

    #[test]
    fn arrows_of_the_table_pass() {
        assert_eq!(told("l2sm-core", "l2sm-common"), None);
        assert_eq!(told("l2sm-ebpf", "aya-ebpf"), None);
        assert_eq!(told("l2sm-tests", "l2sm-agent"), None);
        assert_eq!(told("l2sm-agent", "tokio"), None);
    }

    #[test]
    fn the_shared_crate_may_have_aya_as_an_option_only() {
        let aya = |optional| Dependency { name: "aya".to_owned(), ours: false, optional };
        assert_eq!(forbidden(named("l2sm-common"), &aya(true)), None);
        assert!(forbidden(named("l2sm-common"), &aya(false)).is_some());
    }

    #[test]
    fn a_forbidden_crate_is_found_however_deep_with_the_chain_that_leads_to_it() {
        let tree = "0 l2sm-core v0.1.0\n1 ipnet v2\n1 redb v4\n2 log v1\n2 tokio v1\n1 sha2 v1\n";
        let package = Package {
            name: "l2sm-core".to_owned(),
            manifest: "l2sm-core/Cargo.toml".to_owned(),
            text: "[dependencies]\nipnet = \"2\"\nredb.workspace = true\n".to_owned(),
            dependencies: Vec::new(),
        };
        let findings = reached(named("l2sm-core"), &package, tree);
        let what = "l2sm-core reaches tokio, limit: never (l2sm-core -> redb -> tokio)".to_owned();
        assert_eq!(findings, [Finding::error("l2sm-core/Cargo.toml", 3, what)]);
    }
}
