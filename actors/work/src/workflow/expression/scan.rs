//! Reading the text around and in front of expressions, without the grammar: where one ends, and whether it is small
//! enough to be parsed at all.

use super::error::Fault;

/// Most brackets open at a time.
const MAX_NESTING: usize = 24;
/// Most operators, dots and brackets together: each may be one more level of what the parser builds.
const MAX_OPERATORS: usize = 300;
/// Most question marks: the parser calls itself for each of them.
const MAX_CONDITIONALS: usize = 32;

/// Where the expression ends that starts a text: the index of the closing `}`.
///
/// Strings of CEL, which may hold braces, and braces of maps are skipped.
pub(super) fn end_of_expression(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, symbol) in Symbols::of(text) {
        match symbol {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Refuses an expression that could exhaust the stack of a parser or of an interpreter.
pub(super) fn check_size(source: &str) -> Result<(), Fault> {
    let (mut open, mut operators, mut conditionals) = (0_usize, 0, 0);
    for (at, symbol) in Symbols::of(source) {
        match symbol {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => conditionals += 1,
            _ => {}
        }
        if b"([{.?+-*/%<>=!&|".contains(&symbol) {
            operators += 1;
        }
        if open > MAX_NESTING {
            return Err(Fault::at(at, format!("more than {MAX_NESTING} brackets are open: nest less")));
        }
        if operators > MAX_OPERATORS {
            let message =
                format!("more than {MAX_OPERATORS} operators, dots and brackets: let a step compute it");
            return Err(Fault::at(at, message));
        }
        if conditionals > MAX_CONDITIONALS {
            return Err(Fault::at(
                at,
                format!("more than {MAX_CONDITIONALS} question marks: use several steps"),
            ));
        }
    }
    Ok(())
}

/// Where a word stands as a name, not in a string and not as a part of another one.
pub(super) fn find_word(source: &str, word: &str) -> Option<usize> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut last = None;
    for (at, symbol) in Symbols::of(source) {
        let starts = is_name(&symbol) && last.is_none_or(|last: usize| last + 1 != at);
        last = is_name(&symbol).then_some(at).or(last);
        if !starts {
            continue;
        }
        if let Some(rest) = source.get(at..).and_then(|rest| rest.strip_prefix(word))
            && !rest.as_bytes().first().is_some_and(is_name)
        {
            return Some(at);
        }
    }
    None
}

/// The bytes of an expression outside of its strings and comments.
struct Symbols<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Symbols<'a> {
    fn of(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    fn starts_with(&self, what: &[u8]) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(what))
    }

    /// Skips a string whose quote stands here.
    fn skip_string(&mut self, quote: u8) {
        let raw = self.is_raw();
        let triple = self.starts_with(&[quote; 3]);
        let end: &[u8] = if triple { &[quote; 3] } else { &[quote] };
        self.at += end.len();
        while self.at < self.bytes.len() {
            if self.starts_with(end) {
                self.at += end.len();
                return;
            }
            // A backslash takes the next byte with it, unless the string is raw.
            self.at += if self.starts_with(b"\\") && !raw { 2 } else { 1 };
        }
    }

    /// Whether an `r` in front of the quote makes backslashes ordinary: `r''`, `br''`, `rb''`.
    fn is_raw(&self) -> bool {
        let before = self.bytes.get(..self.at).unwrap_or_default();
        let prefix = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
        let prefix: Vec<u8> = prefix.take(3).map(u8::to_ascii_lowercase).collect();
        matches!(prefix.as_slice(), b"r" | b"rb" | b"br")
    }
}

impl Iterator for Symbols<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'"' | b'\'' => self.skip_string(byte),
                b'/' if self.starts_with(b"//") => {
                    while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => {
                    self.at += 1;
                    return Some((self.at - 1, byte));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_ends_at_its_own_brace() {
        let ends = |text: &'static str| end_of_expression(text).map(|end| &text[..end]);
        assert_eq!(ends("a} b}"), Some("a"));
        assert_eq!(ends("{'a': {'b': 1}}.a} rest"), Some("{'a': {'b': 1}}.a"));
        assert_eq!(ends(r#""}" + '}' + "\"}"}"#), Some(r#""}" + '}' + "\"}""#));
        assert_eq!(ends(r#"r"\"}"#), Some(r#"r"\""#), "a backslash is ordinary in a raw string");
        assert_eq!(ends(r#"bar"\"}" }"#), Some(r#"bar"\"}" "#), "the end of a name is no prefix");
        assert_eq!(ends(r#""""a"}b""" }"#), Some(r#""""a"}b""" "#));
        assert_eq!(ends("a // not } yet\n}"), Some("a // not } yet\n"));
        for open in ["a", "{", "'}", "\"\\", "\"\"\"}\"", ""] {
            assert_eq!(ends(open), None, "{open:?}");
        }
    }

    #[test]
    fn what_nests_without_bound_is_refused_before_it_is_parsed() {
        let refused = |source: String| check_size(&source).unwrap_err().message;
        assert!(refused("(".repeat(25)).contains("24 brackets"));
        assert!(refused("a?b:".repeat(40)).contains("32 question marks"));
        assert!(refused("-".repeat(301)).contains("300 operators"));
        assert!(refused(format!("a{}", "+a".repeat(301))).contains("300 operators"));
        assert_eq!(check_size(&format!("'{}'", "(".repeat(1000))), Ok(()), "strings do not count");
        assert_eq!(check_size(&format!("[{}]", "1,".repeat(1000))), Ok(()), "nor do elements");
    }

    #[test]
    fn a_word_is_found_as_a_name_only() {
        assert_eq!(find_word("steps.a + a", "a"), Some(6));
        assert_eq!(find_word("'a' + ba + a2 + a", "a"), Some(16));
        assert_eq!(find_word("ab", "a"), None);
    }
}
