//! The lines of cargo and of libtest that say what happened.

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

/// `line` without the colours of a terminal.
pub(super) fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    // A colour is digits and semicolons up to an `m`.
    let rest = parts.map(|part| part.split_once('m').map_or(part, |(_, text)| text));
    rest.fold(first, |text, part| text + part)
}

/// The name of the binary whose tests come next, when cargo says so.
pub(super) fn binary(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name}, documentation"));
    }
    let (source, file) = line.strip_prefix("Running ")?.strip_suffix(')')?.split_once(" (")?;
    let (_, file) = file.rsplit_once("/deps/")?;
    let (name, _hash) = file.rsplit_once('-')?;
    Some(match source.strip_prefix("unittests ") {
        Some(source) => format!("{name}, {source}"),
        None => source.to_owned(),
    })
}

/// The counts, and the seconds, of a line that ends the tests of a binary.
pub(super) fn result(line: &str) -> Option<(Counts, f64)> {
    let (_verdict, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let field = |name: &str| -> Option<usize> {
        let mut fields = rest.split("; ");
        fields.find_map(|field| field.strip_suffix(name)?.trim().parse().ok())
    };
    let seconds = rest.rsplit_once("finished in ")?.1.trim_end_matches('s').parse().ok()?;
    let (passed, failed, skipped) = (field("passed")?, field("failed")?, field("ignored")?);
    Some((Counts { passed, failed, skipped }, seconds))
}

/// The name of a test that failed.
pub(super) fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_do_not_hide_a_line() {
        let line =
            "\x1b[1m\x1b[92m     Running\x1b[0m unittests src/lib.rs (target/debug/deps/a-1)";
        assert_eq!(binary(plain(line).trim()), Some("a, src/lib.rs".to_owned()));
        assert_eq!(plain("test a ... \x1b[31mFAILED\x1b[0m"), "test a ... FAILED");
    }
}
