//! The rules, read from `policies/scan.toml` and `policies/scan-languages.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde::Deserialize;

use super::expression::Expression;
use super::languages::Language;
use super::{Kind, Severity};

const BUILTIN: &str = concat!(
    include_str!("../../policies/scan.toml"),
    "\n",
    include_str!("../../policies/scan-languages.toml")
);

/// A word of one letter would find a candidate everywhere.
const SHORTEST_WORD: usize = 2;

/// Rules that are ready to be used.
#[derive(Debug)]
pub struct Rules {
    pub(super) phrases: Vec<Phrase>,
    /// All words of all phrases that are ASCII.
    pub(super) words: Words,
    /// All others: apart, since they make the automaton four times as large, and most texts have no use for them.
    pub(super) words_beyond: Words,
    /// Names of files that agents read as instructions, as they stand in the data.
    files: Vec<String>,
    /// Of those that they read as people do.
    documents: Vec<String>,
}

/// Words by which phrases are found.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) automaton: AhoCorasick,
    /// For each word, the phrases that it is a word of.
    pub(super) phrases: Vec<Vec<usize>>,
}

impl Words {
    fn new(words: BTreeMap<String, Vec<usize>>) -> Result<Self, RulesError> {
        let (words, phrases): (Vec<String>, _) = words.into_iter().unzip();
        // Words of one rule may reach into those of another, and none may take the other's place.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::Standard)
            .build(words)
            .map_err(|error| RulesError::Rule { id: "*".to_owned(), what: error.to_string() })?;
        Ok(Self { automaton, phrases })
    }
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
    pub(super) reason: String,
    severity: Severity,
    document: Option<Severity>,
    configuration: Option<Severity>,
    /// It says what it says, quoted or not: a command line, a marker.
    pub(super) literal: bool,
    /// It begins with the word that it is found by: the expression is asked there and nowhere else.
    pub(super) begins: bool,
    /// It is odd only where people do not see it.
    pub(super) hidden: bool,
    /// Letters beyond ASCII are how it is spelt, and no disguise.
    pub(super) foreign: bool,
    pub(super) expression: Expression,
    /// Where this matches in what was found, it is something innocent.
    pub(super) unless: Option<Expression>,
    /// Where this matches what stands right before it, it is something innocent.
    pub(super) unless_before: Option<Expression>,
    #[cfg_attr(not(test), expect(dead_code, reason = "run by a test"))]
    pub(super) hits: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "run by a test"))]
    pub(super) misses: Vec<String>,
}

impl Phrase {
    /// What it counts for in a text of this kind.
    pub(super) fn severity(&self, kind: Kind) -> Severity {
        match kind {
            Kind::Instructions => None,
            Kind::Configuration => self.configuration,
            Kind::Document => self.document,
        }
        .unwrap_or(self.severity)
    }

    /// What it counts for where people do not see it.
    pub(super) fn severity_hidden(&self, kind: Kind) -> Severity {
        match kind {
            _ if self.hidden => self.severity(kind),
            // Comments of documents say much that is only odd in instructions.
            Kind::Document if self.document.is_some() => self.severity(kind).raised(),
            _ => Severity::High,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    files: Vec<String>,
    documents: Vec<String>,
    rule: Vec<RuleDocument>,
    #[serde(default)]
    language: Vec<Language>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleDocument {
    pub(super) id: String,
    pub(super) severity: Severity,
    #[serde(default)]
    pub(super) document: Option<Severity>,
    #[serde(default)]
    pub(super) configuration: Option<Severity>,
    pub(super) reason: String,
    #[serde(default)]
    pub(super) literal: bool,
    #[serde(default)]
    pub(super) begins: bool,
    #[serde(default)]
    pub(super) hidden: bool,
    #[serde(skip)]
    pub(super) foreign: bool,
    pub(super) words: Vec<String>,
    pub(super) expression: String,
    #[serde(default)]
    pub(super) unless: Option<String>,
    #[serde(default, rename = "unless-before")]
    pub(super) unless_before: Option<String>,
    pub(super) hits: Vec<String>,
    pub(super) misses: Vec<String>,
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
        let mut words: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut phrases = Vec::new();
        let foreign = document.language.into_iter().flat_map(Language::rules);
        for (index, rule) in document.rule.into_iter().chain(foreign).enumerate() {
            let wrong = |what: String| RulesError::Rule { id: rule.id.clone(), what };
            if rule.words.is_empty() {
                return Err(wrong("it has no words to be found by".to_owned()));
            }
            for word in rule.words.iter().flat_map(|word| cases(word)) {
                if word.len() < SHORTEST_WORD || word.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(wrong(format!("`{word}` is not a word: two or more bytes, lower case")));
                }
                words.entry(word).or_default().push(index);
            }
            let compile =
                |expression: &str| Expression::new(expression).map_err(|error| wrong(error.to_string()));
            let expression = match rule.begins {
                true => compile(&format!("\\A(?:{})", rule.expression))?,
                false => compile(&rule.expression)?,
            };
            let unless = rule.unless.as_deref().map(compile).transpose()?;
            let unless_before =
                rule.unless_before.as_deref().map(|it| compile(&format!("(?:{it})\\z"))).transpose()?;
            phrases.push(Phrase {
                expression,
                unless,
                unless_before,
                id: rule.id,
                severity: rule.severity,
                document: rule.document,
                configuration: rule.configuration,
                reason: rule.reason,
                literal: rule.literal,
                begins: rule.begins,
                hidden: rule.hidden,
                foreign: rule.foreign,
                hits: rule.hits,
                misses: rule.misses,
            });
        }
        let (words, beyond) = words.into_iter().partition(|(word, _)| word.is_ascii());
        let (words, words_beyond) = (Words::new(words)?, Words::new(beyond)?);
        Ok(Self { phrases, words, words_beyond, files: document.files, documents: document.documents })
    }

    /// What a file with this path, relative to a workspace, is to an agent; `None` where agents do not look for it.
    pub fn kind(&self, path: &str) -> Option<Kind> {
        const CONFIGURATION: [&str; 5] = [".json", ".jsonc", ".toml", ".yml", ".yaml"];
        let path = path.to_ascii_lowercase();
        if lists(&self.files, &path) {
            let configuration = CONFIGURATION.iter().any(|end| path.ends_with(end));
            return Some(if configuration { Kind::Configuration } else { Kind::Instructions });
        }
        lists(&self.documents, &path).then_some(Kind::Document)
    }

    /// Whether a file with this path, relative to a workspace, is one that agents read as instructions.
    pub fn is_agent_file(&self, path: &str) -> bool {
        self.kind(path).is_some()
    }
}

/// A word as it may be written: the automaton folds the cases of ASCII only.
fn cases(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned()];
    if !word.is_ascii() {
        let mut rest = word.chars();
        let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
        forms.extend([first + rest.as_str(), word.to_uppercase()]);
    }
    // What is ASCII in those the automaton folds.
    forms.iter_mut().for_each(|form| form.make_ascii_lowercase());
    forms.dedup();
    forms
}

/// Whether a path in lower case is one of those.
fn lists(patterns: &[String], path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    patterns.iter().any(|pattern| {
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
