//! The gate for seams: parts of the agent that know nothing of one another.
//!
//! `app.rs` wires them and `reconcile.rs` sees them through traits; a direct import between two of
//! them would make each untestable without the other.

use super::code;
use super::finding::Finding;
use super::sources::Source;

/// Where the agent's modules are.
const ROOT: &str = "l2sm-agent/src/";

/// Those that never import one another.
const SEAMS: [&str; 4] = ["datapath", "netlink", "cni", "controller"];

/// Looks at the files of these modules.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().filter(|source| source.is_rust()).flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let Some((own, depth)) = module(&source.path) else {
        return Vec::new();
    };
    let code = code::mask(&source.text);
    let foreign = |(_, name): &(usize, &str)| *name != own && SEAMS.contains(name);
    let finding = |(at, name): (usize, &str)| {
        let what = format!("{own} imports {name}, limit 0: app.rs wires them");
        Finding::error(&source.path, code::line(&code, at), what)
    };
    modules_named(&code, depth).into_iter().filter(foreign).map(finding).collect()
}

/// The seam that a file belongs to, and how many `super::` lead from it to the crate's root.
fn module(path: &str) -> Option<(&'static str, usize)> {
    let inside = path.strip_prefix(ROOT)?.strip_suffix(".rs")?;
    let first = inside.split('/').next()?;
    let own = SEAMS.into_iter().find(|seam| *seam == first)?;
    Some((own, inside.split('/').count()))
}

/// The modules of the crate's root that `code`, which is masked, names, and where.
fn modules_named(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let by_crate = code.match_indices("crate::").map(|(at, found)| (at, at + found.len()));
    let up = "super::".repeat(depth);
    let by_super: Vec<_> =
        code.match_indices(&up).map(|(at, found)| (at, at + found.len())).collect();
    let roots =
        by_crate.chain(by_super).filter(|(at, _)| !code.split_at(*at).0.ends_with(code::in_word));
    roots.flat_map(|(_, end)| first_names(code, end)).collect()
}

/// The first names of the path, or of each path of the group, that begins at `at`.
fn first_names(code: &str, at: usize) -> Vec<(usize, &str)> {
    let (_, path) = code.split_at(at);
    let Some(group) = path.strip_prefix('{') else {
        return vec![(at, code::word(path))];
    };
    let mut names = Vec::new();
    let mut depth = 1_usize;
    let mut start = true;
    for (offset, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => start = true,
            _ if start && code::in_word(c) => {
                names.push((at + 1 + offset, code::word(group.split_at(offset).1)));
                start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source { path: format!("{ROOT}{path}"), text: text.to_owned() };
        check(&[source]).into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn an_import_across_a_seam_fails() {
        for text in [
            "use crate::netlink::links;",
            "fn f() { crate::netlink::run() }",
            "use crate::{config, netlink};",
            "use crate::{config::{A, B},\n    netlink::links::{C}};",
            "use super::netlink::links;",
            "mod tests { use super::super::netlink; }",
        ] {
            let found = found("datapath.rs", text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].1.starts_with("datapath imports netlink"), "{found:?}");
        }
    }

    #[test]
    fn the_line_is_that_of_the_name() {
        assert_eq!(found("cni.rs", "use crate::{\n    config,\n    datapath,\n};")[0].0, 3);
    }

    #[test]
    fn files_below_a_module_are_the_modules() {
        assert_eq!(found("cni/server.rs", "use super::super::controller::Client;").len(), 1);
        assert_eq!(found("cni/server.rs", "use crate::controller::Client;").len(), 1);
    }

    #[test]
    fn a_module_may_import_itself_and_what_is_no_seam() {
        let text =
            "use crate::datapath::maps;\nuse crate::config::Config;\nuse crate::{report, metrics};";
        assert_eq!(found("datapath/load.rs", text), []);
        assert_eq!(found("datapath/load.rs", "use super::netlink_names;"), []);
        assert_eq!(found("controller/client.rs", "use super::cni;"), []);
    }

    #[test]
    fn comments_and_strings_import_nothing() {
        assert_eq!(found("cni.rs", "// crate::netlink\nf(\"crate::netlink\");"), []);
    }

    #[test]
    fn the_wiring_may_import_all() {
        assert_eq!(found("app.rs", "use crate::{datapath, netlink, cni, controller};"), []);
    }
}
