//! The gate for words: texts that may not occur.

use super::code;
use super::finding::Finding;
use super::sources::Source;

/// Paths that exist on one machine only. Written in two parts, so that this file passes.
const MACHINE: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Ends a tcx chain, and so would switch off the programs of the cluster's main CNI.
const ENDS_CHAIN: &str = concat!("TC_ACT", "_OK");

/// Where that may not occur.
const KERNEL_CRATE: &str = "l2sm-ebpf/";

/// Looks at every file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(|source| machine_paths(source).chain(chain_ends(source))).collect()
}

/// Paths of one machine: they mean nothing on another.
fn machine_paths(source: &Source) -> impl Iterator<Item = Finding> {
    let found = MACHINE.into_iter().flat_map(|path| places(source, path).map(move |at| (at, path)));
    let found = found.filter(|(at, _)| begins(source.text.split_at(*at).0));
    found.map(|(at, path)| {
        let what = format!("a path of one machine ({path}…), limit 0");
        Finding::error(&source.path, code::line(&source.text, at), what)
    })
}

/// Whether a path may begin after `before`: not in the middle of a longer one, nor of an address.
fn begins(before: &str) -> bool {
    let inside = |c: char| code::in_word(c) || ".-~$}*/".contains(c);
    !before.ends_with(inside)
}

fn chain_ends(source: &Source) -> impl Iterator<Item = Finding> {
    let kernel = source.path.starts_with(KERNEL_CRATE);
    let places = kernel.then(|| places(source, ENDS_CHAIN)).into_iter().flatten();
    places.map(|at| {
        let what =
            format!("{ENDS_CHAIN} (say TC_ACT_UNSPEC: others' programs come after), limit 0");
        Finding::error(&source.path, code::line(&source.text, at), what)
    })
}

fn places<'a>(source: &'a Source, text: &'a str) -> impl Iterator<Item = usize> + 'a {
    source.text.match_indices(text).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: String) -> Vec<(usize, String)> {
        let source = Source { path: path.to_owned(), text };
        check(&[source]).into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn a_path_of_one_machine_fails_in_any_file() {
        for path in MACHINE {
            for before in ["", "cd ", "\"", "PATH=", "a:", "("] {
                let found = found("docs/a.md", format!("one\n{before}{path}x"));
                assert_eq!(found.len(), 1, "{before}{path}");
                assert_eq!(found[0].0, 2);
            }
        }
    }

    #[test]
    fn a_longer_path_with_such_a_part_passes() {
        for before in ["..", "~", "https://host", "$HOME", "${HOME}", "/srv"] {
            assert_eq!(found("a.sh", format!("cd {before}{}x", MACHINE[0])), [], "{before}");
        }
    }

    #[test]
    fn the_verdict_that_ends_a_chain_fails_in_the_kernel_crate_alone() {
        let text = format!("a\nb {ENDS_CHAIN}\n");
        let found_there = found("l2sm-ebpf/src/act.rs", text.clone());
        assert_eq!(found_there.len(), 1);
        assert_eq!(found_there[0].0, 2);
        assert_eq!(found("docs/datapath.md", text), []);
    }
}
