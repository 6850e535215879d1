//! An expression of a rule, which is made ready when a text first asks for it: most texts ask for few, and those of other
//! languages take longer to make than a text takes to scan.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

/// Largest automaton of one expression, in bytes.
const SIZE_LIMIT: usize = 2 << 20;

/// Largest cache of one expression: bounded repetitions have many states, and one that runs out of room is slow.
const CACHE_LIMIT: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    ready: OnceLock<Option<Regex>>,
}

impl Expression {
    /// An expression as rules write it.
    ///
    /// # Errors
    /// What is wrong with its syntax. One that is too large is found by the test of the shipped rules, and finds nothing.
    pub(super) fn new(written: &str) -> Result<Self, Box<regex_syntax::Error>> {
        let text = between(written);
        regex_syntax::ParserBuilder::new()
            .utf8(false)
            .unicode(false)
            .case_insensitive(true)
            .ignore_whitespace(true)
            .build()
            .parse(&text)?;
        Ok(Self { text, ready: OnceLock::new() })
    }

    /// What it is matched with.
    pub(super) fn regex(&self) -> Option<&Regex> {
        let ready = self.ready.get_or_init(|| {
            RegexBuilder::new(&self.text)
                .unicode(false)
                .case_insensitive(true)
                .ignore_whitespace(true)
                .size_limit(SIZE_LIMIT)
                .dfa_size_limit(CACHE_LIMIT)
                .build()
                .ok()
        });
        ready.as_ref()
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(text))
    }
}

/// `_` outside of a class stands for what may be between two words: spaces, line ends, quotes, marks of a list.
fn between(expression: &str) -> String {
    let (mut written, mut class, mut escaped) = (String::new(), false, false);
    for c in expression.chars() {
        match c {
            '_' if !class && !escaped => written.push_str("(?:[^0-9a-z]{1,12})"),
            other => written.push(other),
        }
        if !escaped {
            class = if class { c != ']' } else { c == '[' };
        }
        escaped = c == '\\' && !escaped;
    }
    written
}
