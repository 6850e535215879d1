//! The rules, read from `policies/scan.toml`.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::Severity;

const BUILTIN: &str = include_str!("../../policies/scan.toml");

/// Largest automaton of one expression, in bytes.
const SIZE_LIMIT: usize = 2 << 20;

/// A word of one letter would find a candidate everywhere.
const SHORTEST_WORD: usize = 2;

/// Rules that are ready to be used.
#[derive(Debug)]
pub struct Rules {
    pub(super) phrases: Vec<Phrase>,
    /// All words of all phrases.
    pub(super) words: AhoCorasick,
    /// For each word, the phrases that it is a word of.
    pub(super) of_word: Vec<Vec<usize>>,
    /// Names of files that agents read, as they stand in the data.
    files: Vec<String>,
}

/// Why rules could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// Not TOML, or not of the form of rules.
    #[error("scan rules: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A rule that could never work.
    #[error("scan rule `{id}`: {what}")]
    Rule {
        /// Of the rule.
        id: String,
        /// What is wrong.
        what: String,
    },
}

/// A phrase that is looked for.
#[derive(Debug)]
pub(super) struct Phrase {
    pub(super) id: String,
    pub(super) severity: Severity,
    pub(super) reason: String,
    /// It says what it says, quoted or not: a command line, a marker.
    pub(super) literal: bool,
    pub(super) expression: Regex,
    /// Where this matches in what was found, it is something innocent.
    pub(super) unless: Option<Regex>,
    #[cfg_attr(not(test), expect(dead_code, reason = "run by a test"))]
    pub(super) hits: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "run by a test"))]
    pub(super) misses: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    files: Vec<String>,
    rule: Vec<RuleDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    id: String,
    severity: Severity,
    reason: String,
    #[serde(default)]
    literal: bool,
    words: Vec<String>,
    expression: String,
    #[serde(default)]
    unless: Option<String>,
    hits: Vec<String>,
    misses: Vec<String>,
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

impl Rules {
    /// The rules that are shipped.
    pub fn builtin() -> &'static Self {
        #[allow(clippy::expect_used, reason = "a test reads the same text")]
        static RULES: LazyLock<Rules> =
            LazyLock::new(|| Rules::parse(BUILTIN).expect("the shipped rules can be read"));
        &RULES
    }

    /// Reads rules.
    ///
    /// # Errors
    /// When they are no rules, or one can never find anything.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let document: Document = toml::from_str(text)?;
        let mut words: Vec<String> = Vec::new();
        let mut of_word: Vec<Vec<usize>> = Vec::new();
        let mut phrases = Vec::new();
        for (index, rule) in document.rule.into_iter().enumerate() {
            let wrong = |what: String| RulesError::Rule { id: rule.id.clone(), what };
            if rule.words.is_empty() {
                return Err(wrong("it has no words to be found by".to_owned()));
            }
            for word in &rule.words {
                if word.len() < SHORTEST_WORD
                    || !word.is_ascii()
                    || word.bytes().any(|byte| byte.is_ascii_uppercase())
                {
                    return Err(wrong(format!(
                        "`{word}` is not a word: two or more ASCII characters, lower case"
                    )));
                }
                match words.iter().position(|known| known == word).and_then(|at| of_word.get_mut(at)) {
                    Some(of) => of.push(index),
                    None => {
                        words.push(word.clone());
                        of_word.push(vec![index]);
                    }
                }
            }
            let compile = |expression: &str| {
                RegexBuilder::new(&between(expression))
                    .unicode(false)
                    .case_insensitive(true)
                    .ignore_whitespace(true)
                    .size_limit(SIZE_LIMIT)
                    .build()
                    .map_err(|error| wrong(error.to_string()))
            };
            let expression = compile(&rule.expression)?;
            let unless = rule.unless.as_deref().map(compile).transpose()?;
            phrases.push(Phrase {
                expression,
                unless,
                id: rule.id,
                severity: rule.severity,
                reason: rule.reason,
                literal: rule.literal,
                hits: rule.hits,
                misses: rule.misses,
            });
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(&words)
            .map_err(|error| RulesError::Rule { id: "*".to_owned(), what: error.to_string() })?;
        Ok(Self { phrases, words, of_word, files: document.files })
    }

    /// Whether a file with this path, relative to a workspace, is one that agents read as instructions.
    pub fn is_agent_file(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        let name = path.rsplit('/').next().unwrap_or_default();
        self.files.iter().any(|pattern| {
            let pattern = pattern.to_ascii_lowercase();
            if let Some(directory) = pattern.strip_suffix("/**") {
                path.starts_with(&format!("{directory}/")) || path.contains(&format!("/{directory}/"))
            } else if let Some(top) = pattern.strip_prefix('/') {
                path == top
            } else if pattern.contains('/') {
                path == pattern || path.ends_with(&format!("/{pattern}"))
            } else if let Some(end) = pattern.strip_prefix('*') {
                name.ends_with(end)
            } else {
                name == pattern
            }
        })
    }
}
