//! The gate for sizes: the tail of long files and long functions is what hurts a code base.

use super::code;
use super::finding::{Finding, Level};
use super::sources::Source;

/// A file has at most `hard` lines; over `usual` is worth a word.
const FILE: Limit = Limit { usual: 300, hard: 600 };

/// The same for a function, from its `fn` to its closing brace.
const FUNCTION: Limit = Limit { usual: 40, hard: 80 };

/// How many lines something may have.
struct Limit {
    usual: usize,
    hard: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function<'a> {
    name: &'a str,
    /// Where it begins, counted from one.
    line: usize,
    lines: usize,
}

/// Looks at every Rust file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().filter(|source| source.is_rust()).flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let code = code::mask(&source.text);
    let lines = source.text.lines().count();
    let file = FILE.judge(lines).map(|(level, limit)| {
        let what = format!("the file has {lines} lines, limit {limit}");
        Finding { file: source.path.clone(), line: 1, what, level }
    });
    let functions = functions(&code).into_iter().filter_map(|Function { name, line, lines }| {
        let (level, limit) = FUNCTION.judge(lines)?;
        let what = format!("fn {name} has {lines} lines, limit {limit}");
        Some(Finding { file: source.path.clone(), line, what, level })
    });
    file.into_iter().chain(functions).collect()
}

impl Limit {
    /// How bad `lines` are, and the limit they pass.
    fn judge(&self, lines: usize) -> Option<(Level, usize)> {
        match lines {
            _ if lines > self.hard => Some((Level::Error, self.hard)),
            _ if lines > self.usual => Some((Level::Warning, self.usual)),
            _ => None,
        }
    }
}

/// The functions in `code`, which is masked.
fn functions(code: &str) -> Vec<Function<'_>> {
    let places = code::words(code, "fn");
    places.filter_map(|at| function(code, at)).collect()
}

/// The function that the `fn` at `at` begins; none for a type (`fn(u8)`) or without a body.
fn function(code: &str, at: usize) -> Option<Function<'_>> {
    let (_, after) = code.split_at(at + "fn".len());
    let name = code::word(after.trim_start());
    if name.is_empty() {
        return None;
    }
    let (_, body) = after.split_at(opening(after)?);
    let end = code.len() - body.len() + closing(body)?;
    let line = code::line(code, at);
    Some(Function { name, line, lines: code::line(code, end) - line + 1 })
}

/// Where the body of a function begins in `signature`: the first brace that is not inside
/// parentheses, brackets or generic arguments. None when a semicolon comes first.
fn opening(signature: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut angles = 0_usize;
    let mut before = ' ';
    for (at, c) in signature.char_indices() {
        match c {
            '{' if depth == 0 && angles == 0 => return Some(at),
            ';' if depth == 0 => return None,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '<' if depth == 0 => angles += 1,
            '>' if depth == 0 && before != '-' => angles = angles.saturating_sub(1),
            _ => {}
        }
        before = c;
    }
    None
}

/// Where the brace that `body` begins with is closed.
fn closing(body: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, usize, usize)> {
        let code = code::mask(text);
        let functions = functions(&code).into_iter();
        functions.map(|f| (f.name.to_owned(), f.line, f.lines)).collect()
    }

    fn source(text: String) -> Source {
        Source { path: "a.rs".to_owned(), text }
    }

    /// A function of `lines` lines.
    fn long(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    x();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_reaches_from_its_fn_to_its_closing_brace() {
        let text =
            "\n/// fn not() {\npub fn a(\n    x: u8,\n) -> u8 {\n    if x { 1 } else { 2 }\n}\n";
        assert_eq!(found(text), [("a".to_owned(), 3, 5)]);
    }

    #[test]
    fn functions_inside_functions_count_too() {
        let text = "fn outer() {\n    fn inner() {\n    }\n}\n";
        assert_eq!(found(text), [("outer".to_owned(), 1, 4), ("inner".to_owned(), 2, 2)]);
    }

    #[test]
    fn types_and_declarations_are_no_functions() {
        assert_eq!(found("type F = fn(u8) -> [u8; 2];\ntrait T { fn f(x: [u8; 2]); }"), []);
    }

    #[test]
    fn braces_of_generics_and_strings_are_not_the_body() {
        let text =
            "fn a(m: Map<{ 1 << 2 }>) -> Map<{ N }> where [u8; { N }]: Sized {\n    \"}\";\n}\n";
        assert_eq!(found(text), [("a".to_owned(), 1, 3)]);
        assert_eq!(found("fn b(f: impl Fn(u8) -> u8) -> Vec<u8> {\n}"), [("b".to_owned(), 1, 2)]);
    }

    #[test]
    fn a_function_over_eighty_lines_fails() {
        let findings = check(&[source(long(81))]);
        assert_eq!(findings, [Finding::error("a.rs", 1, "fn long has 81 lines, limit 80".into())]);
    }

    #[test]
    fn a_function_of_forty_one_to_eighty_lines_is_a_warning() {
        assert!(check(&[source(long(40))]).is_empty());
        for lines in [41, 80] {
            let [finding] = &check(&[source(long(lines))])[..] else { panic!("one finding") };
            assert_eq!(finding.level, Level::Warning, "{lines}");
        }
    }

    #[test]
    fn a_file_over_six_hundred_lines_fails() {
        let findings = check(&[source("\n".repeat(601))]);
        let what = "the file has 601 lines, limit 600".to_owned();
        assert_eq!(findings, [Finding::error("a.rs", 1, what)]);
        assert_eq!(check(&[source("\n".repeat(600))])[0].level, Level::Warning);
        assert!(check(&[source("\n".repeat(300))]).is_empty());
    }

    #[test]
    fn only_rust_files_are_measured() {
        let source = Source { path: "a.md".to_owned(), text: "\n".repeat(2000) };
        assert!(check(&[source]).is_empty());
    }
}
