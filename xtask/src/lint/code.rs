//! Rust source with everything blanked that is not code, for scanners that look for words.

/// `text` with comments, strings and character literals replaced by blanks, line ends kept.
///
/// Not a parser: what it must get right is that a brace, a `fn` or a path in the result is code.
pub(super) fn mask(text: &str) -> String {
    let mut mask = Mask { rest: text, code: String::with_capacity(text.len()) };
    while let Some(next) = mask.rest.chars().next() {
        mask.take(next);
    }
    mask.code
}

/// Whether `c` may be part of an identifier.
pub(super) fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifier that `text` begins with; empty when it begins with none.
pub(super) fn word(text: &str) -> &str {
    let end = text.find(|c| !in_word(c)).unwrap_or(text.len());
    text.split_at(end).0
}

/// Where each `name` stands in `code` as a whole word, bytes.
pub(super) fn words<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(name).map(|(at, _)| at).filter(move |at| {
        let (before, from) = code.split_at(*at);
        !before.ends_with(in_word) && word(from) == name
    })
}

/// The line, counted from one, that the byte `at` of `text` is on.
pub(super) fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

struct Mask<'a> {
    rest: &'a str,
    code: String,
}

impl Mask<'_> {
    /// Takes one token, or one character where tokens do not matter.
    fn take(&mut self, next: char) {
        if let Some(length) = self.blank_length(next) {
            self.blank(length);
        } else {
            self.copy(word(self.rest).len().max(next.len_utf8()));
        }
    }

    /// The length of the comment or literal that comes next, if one does.
    fn blank_length(&self, next: char) -> Option<usize> {
        match next {
            '/' if self.rest.starts_with("//") => self.rest.find('\n').or(Some(self.rest.len())),
            '/' if self.rest.starts_with("/*") => Some(comment(self.rest)),
            '"' => Some(string(self.rest)),
            '\'' => character(self.rest),
            'r' | 'b' | 'c' => raw_string(self.rest),
            _ => None,
        }
    }

    fn copy(&mut self, length: usize) {
        let (copied, rest) = self.rest.split_at(length);
        self.code.push_str(copied);
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (blanked, rest) = self.rest.split_at(length);
        // As many bytes as before, so that a place in the code is that place in the text.
        let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
        self.code.extend(blanked.bytes().map(blank));
        self.rest = rest;
    }
}

/// Length of the block comment, nested ones included, that `rest` begins with.
fn comment(rest: &str) -> usize {
    let opens = rest.match_indices("/*").map(|(at, _)| (at, true));
    let closes = rest.match_indices("*/").map(|(at, _)| (at, false));
    let mut marks: Vec<(usize, bool)> = opens.chain(closes).collect();
    marks.sort_unstable();
    let mut depth = 0_usize;
    let mut end = 0;
    for (at, opens) in marks {
        // `/*/` is one mark, not two: the second would share its star.
        if at < end {
            continue;
        }
        end = at + 2;
        depth = if opens { depth + 1 } else { depth.saturating_sub(1) };
        if depth == 0 {
            return end;
        }
    }
    rest.len()
}

/// Length of the string, escapes and quotes included, that `rest` begins with.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// Length of the character literal that `rest` begins with; none when it is a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    let (at, second) = chars.next()?;
    if first == '\\' {
        // `second` is escaped, so that the quote of `'\''` does not end it.
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    (second == '\'').then_some(at + 1)
}

/// Length of the raw string (`r"…"`, `br#"…"#`) that `rest` begins with, if it does.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| word(rest) == *prefix)?;
    let hashes: String = rest.strip_prefix(prefix)?.chars().take_while(|c| *c == '#').collect();
    let opening = prefix.len() + hashes.len() + 1;
    let body =
        rest.get(opening..).filter(|_| rest.get(..opening).is_some_and(|s| s.ends_with('"')));
    let closing = format!("\"{hashes}");
    Some(body?.find(&closing).map_or(rest.len(), |at| opening + at + closing.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code that is left, without the blanks.
    fn left(text: &str) -> String {
        let code = mask(text);
        assert_eq!(code.len(), text.len(), "{code:?}");
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(left("a // } fn x\nb"), "a b");
        assert_eq!(left("a /* { /* } */ é */ b"), "a b");
        assert_eq!(left("a /*/ } */ b"), "a b");
        assert_eq!(left("a /* never closed"), "a");
    }

    #[test]
    fn strings_are_not_code() {
        assert_eq!(left(r#"f("}\"{", b"}")"#), "f( , b )");
        assert_eq!(left(r##"r#"a "}" b"# c r"\" d"##), "c d");
        assert_eq!(left("\"never closed }"), "");
    }

    #[test]
    fn an_identifier_that_ends_like_a_prefix_is_none() {
        assert_eq!(left(r#"for"x" r#type"#), "for r#type");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        assert_eq!(left(r"'{' '\'' '\u{7d}' '→' b'}' x"), "b x");
        assert_eq!(left("impl<'a, 'b> F<'a> {"), "impl<'a, 'b> F<'a> {");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let code = mask("\"a\nb\"\n// c\nfn");
        assert_eq!(line(&code, code.find("fn").unwrap()), 4);
    }

    #[test]
    fn words_are_whole() {
        let places: Vec<_> = words("fn fnord self.fn my_fn", "fn").collect();
        assert_eq!(places, [0, 14]);
    }
}
