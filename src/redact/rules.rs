//! The shapes of secrets, read from data.
//!
//! A rule has literals, which find it by one look for each byte, and anchored regular expressions, which confirm
//! it: an optional `lead` that stays readable, and the `secret` that is masked. The expressions become deterministic
//! automata: one step for each byte, no backtracking, and a state that says whether more text could matter. Automata
//! are made when their rule first meets a literal, so that start-up pays for none of them.

use std::sync::{Arc, OnceLock};

use regex_automata::dfa::dense;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use schemars::JsonSchema;
use serde::Deserialize;

use super::check::Check;
use super::escape::{LONGEST, MOST_SKIPPED};
use super::run::needs_quote;
use super::shape::Shape;

/// Largest automaton of one expression, in bytes.
const AUTOMATON_LIMIT: usize = 4 << 20;

/// Shortest and longest literal: fewer bytes stand in too many places of any text.
const MIN_LITERAL: usize = 3;
const MAX_LITERAL: usize = 32;

/// How expressions are read: over bytes.
pub(super) fn bytewise() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

/// The rules that come with execward. What is compiled in is made from them by `build.rs`.
#[cfg(test)]
const SHIPPED: &str = include_str!("../../policies/redact.toml");

/// Most literals that one with sets stands for.
const MAX_EXPANDED: usize = 1024;

/// The shapes of secrets.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) rules: Vec<Arc<Rule>>,
}

/// Why rules could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// Not TOML, or not of the form of rules. The text shows the place.
    #[error("redaction rules: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A rule that could never work.
    #[error("redaction rule `{id}`: {what}")]
    Rule {
        /// Of the rule.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// A rule that does not do what its own example says.
    #[error("redaction rule `{id}`: the example `{example}` {what}")]
    Example {
        /// Of the rule.
        id: String,
        /// As written.
        example: String,
        /// What happened instead.
        what: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Source>,
}

/// A rule as written: in `policies/redact.toml`, and as `[[redact]]` in a policy. The former says what each field means.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(rename = "SecretShape")]
pub struct Source {
    id: String,
    literals: Vec<String>,
    #[serde(default)]
    before: Before,
    #[serde(default)]
    not_before: Vec<String>,
    #[serde(default)]
    lead: String,
    secret: String,
    #[serde(default)]
    needs: Option<char>,
    #[serde(default)]
    keep: usize,
    #[serde(default)]
    not_after: String,
    #[serde(default)]
    checks: Vec<Check>,
    #[serde(default = "default_short")]
    short: usize,
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    lines: bool,
    #[serde(default)]
    quoted: bool,
    masks: Vec<String>,
    leaves: Vec<String>,
}

/// Below this many bytes a mask shows nothing of a secret.
const fn default_short() -> usize {
    18
}

/// What must stand before a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Before {
    /// No letter, digit or underscore: the literal starts a word.
    #[default]
    Word,
    /// No letter: the literal starts a word, or a part of a compound name (`MY_TOKEN`, `x2token`).
    Part,
    /// Anything.
    Any,
    /// At least eight digits.
    Digits,
}

/// A shape.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    /// What a mask begins with.
    pub(super) label: String,
    pub(super) literals: Vec<Vec<u8>>,
    pub(super) before: Before,
    /// Words that must not stand right before a literal: `NextToken` is no secret.
    not_before: Vec<Vec<u8>>,
    /// The last bytes of those words.
    not_before_ends: Box<[bool; 256]>,
    /// A byte that every match has.
    needs: Option<u8>,
    /// The longest match, lead included, where there is one.
    reach: OnceLock<Option<usize>>,
    pub(super) lead: Option<Expression>,
    pub(super) secret: Expression,
    /// Bytes at the end of what `secret` matches that stay readable.
    pub(super) keep: usize,
    /// Bytes that must not follow.
    pub(super) not_after: Vec<u8>,
    pub(super) checks: Vec<Check>,
    pub(super) short: usize,
    /// The mask shows nothing of the secret, however long.
    pub(super) whole: bool,
    /// A key in lines, each of which may have something in front of it.
    pub(super) lines: bool,
    /// Where a quote stands before the secret, that goes on to the one that closes it.
    pub(super) quoted: bool,
    masks: Vec<String>,
    leaves: Vec<String>,
}

/// An anchored expression and, once needed, its automaton.
#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    automaton: OnceLock<Option<dense::DFA<Vec<u32>>>>,
    needs_quote: OnceLock<bool>,
    shape: OnceLock<Option<Shape>>,
}

impl Expression {
    fn new(text: String) -> Self {
        Self { text, automaton: OnceLock::new(), needs_quote: OnceLock::new(), shape: OnceLock::new() }
    }

    /// Bytes of the longest match; `None` where there is none.
    fn longest(&self) -> Option<usize> {
        syntax::parse_with(&self.text, &bytewise()).ok()?.properties().maximum_len()
    }

    /// What the automaton would find by counting, where that is as good.
    pub(super) fn shape(&self) -> Option<&Shape> {
        let read = || Shape::of(&syntax::parse_with(&self.text, &bytewise()).ok()?);
        self.shape.get_or_init(read).as_ref()
    }

    /// The same behind a literal that its matches begin with.
    pub(super) fn shape_behind(&self, literal: &[u8]) -> Option<Shape> {
        Shape::behind(&syntax::parse_with(&self.text, &bytewise()).ok()?, literal)
    }

    /// The automaton; `None` when the expression cannot be compiled, which loading rules out.
    pub(super) fn automaton(&self) -> Option<&dense::DFA<Vec<u32>>> {
        self.automaton.get_or_init(|| compile(&self.text).ok()).as_ref()
    }
}

impl Expression {
    /// Whether each match has a quote, and no line ends before it.
    pub(super) fn needs_quote(&self) -> bool {
        *self.needs_quote.get_or_init(|| self.automaton().is_some_and(needs_quote))
    }
}

impl Rules {
    /// The rules compiled in from `policies/redact.toml`. A test compiles every expression of that file and runs
    /// every example in it.
    pub fn builtin() -> Self {
        Self::shipped().clone()
    }

    fn shipped() -> &'static Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| {
            let file = serde_json::from_str::<File>(include_str!(concat!(env!("OUT_DIR"), "/redact.json")));
            file.ok().and_then(|file| Self::of(file).ok()).unwrap_or_default()
        })
    }

    /// Whether these are the rules that are compiled in, and no others.
    pub(super) fn is_builtin(&self) -> bool {
        let builtin = &Self::shipped().rules;
        self.rules.len() == builtin.len()
            && self.rules.iter().zip(builtin).all(|(rule, builtin)| Arc::ptr_eq(rule, builtin))
    }

    /// Reads rules, compiles all of them and runs their examples.
    ///
    /// # Errors
    ///
    /// When the text is not of the right form, an expression cannot be compiled within bounds, or a rule does not do
    /// what its examples say.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        Self::read(text)?.checked()
    }

    /// Compiles every rule and runs its examples.
    fn checked(self) -> Result<Self, RulesError> {
        for rule in &self.rules {
            for expression in rule.lead.iter().chain([&rule.secret]) {
                compile(&expression.text).map_err(|what| RulesError::Rule { id: rule.id.clone(), what })?;
            }
        }
        self.check_examples()?;
        Ok(self)
    }

    /// These rules and others, which add to what is masked and take nothing away from it.
    #[must_use]
    pub fn and(mut self, more: &Self) -> Self {
        for rule in &more.rules {
            if !self.rules.iter().any(|own| Arc::ptr_eq(own, rule)) {
                self.rules.push(Arc::clone(rule));
            }
        }
        self
    }

    /// These rules and the ones that a policy writes down.
    ///
    /// # Errors
    /// As [`Self::parse`], and where one has the name of another.
    pub fn with(&self, sources: &[Source]) -> Result<Self, RulesError> {
        let own = sources.iter().map(|source| Rule::new(source.clone()).map(Arc::new));
        let own = Self { rules: own.collect::<Result<_, _>>()? }.checked()?;
        let mut all = self.clone();
        for rule in own.rules {
            if rule.id.is_empty() || all.rules.iter().any(|other| other.id == rule.id) {
                let what = "there is a rule of that name, or it has none".to_owned();
                return Err(RulesError::Rule { id: rule.id.clone(), what });
            }
            all.rules.push(rule);
        }
        Ok(all)
    }

    fn read(text: &str) -> Result<Self, RulesError> {
        Self::of(toml::from_str(text)?)
    }

    fn of(file: File) -> Result<Self, RulesError> {
        let rules = file.rule.into_iter().map(|source| Rule::new(source).map(Arc::new));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    fn check_examples(&self) -> Result<(), RulesError> {
        for rule in &self.rules {
            let alone = super::Redactor::new(&Self { rules: vec![Arc::clone(rule)] }, Vec::new());
            let fail = |example: &String, what| {
                Err(RulesError::Example { id: rule.id.clone(), example: example.clone(), what })
            };
            for example in &rule.masks {
                let (text, secrets) = super::example::expand(example);
                let (masked, count) = alone.text(&text);
                if count == 0 {
                    return fail(example, "is not masked");
                }
                if secrets.iter().any(|secret| masked.contains(secret.as_str())) {
                    return fail(example, "is masked, but not all of the secret");
                }
            }
            for example in &rule.leaves {
                let (text, _) = super::example::expand(example);
                if alone.text(&text).1 != 0 {
                    return fail(example, "is masked");
                }
            }
        }
        Ok(())
    }
}

impl Default for Rules {
    /// No rules.
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

impl Rule {
    fn new(source: Source) -> Result<Self, RulesError> {
        let fail = |what: &str| Err(RulesError::Rule { id: source.id.clone(), what: what.to_owned() });
        if source.literals.is_empty() {
            return fail("needs at least one literal to be found by");
        }
        let mut literals = Vec::new();
        for literal in &source.literals {
            match expand(literal.as_bytes()) {
                Some(expanded) => literals.extend(expanded),
                None => return fail("a literal has sets like `[0-9a]`, and stands for at most 1024"),
            }
        }
        if literals.iter().any(|literal| !(MIN_LITERAL..=MAX_LITERAL).contains(&literal.len())) {
            return fail("a literal has 3 to 32 bytes");
        }
        if source.not_before.iter().any(|word| word.len() > super::stream::LOOK_BEHIND) {
            return fail("a word before a literal has at most 48 bytes");
        }
        if source.masks.is_empty() || source.leaves.is_empty() {
            return fail("needs examples: what it masks and what it leaves");
        }
        if source.needs.is_some_and(|byte| !byte.is_ascii()) {
            return fail("what it needs is one ASCII character");
        }
        let mut not_before_ends = Box::new([false; 256]);
        for last in source.not_before.iter().filter_map(|word| word.as_bytes().last()) {
            not_before_ends[usize::from(*last)] = true;
        }
        Ok(Self {
            label: format!("[redacted:{}", source.id),
            id: source.id,
            literals,
            not_before_ends,
            needs: source.needs.and_then(|byte| u8::try_from(byte).ok()),
            reach: OnceLock::new(),
            before: source.before,
            not_before: source.not_before.into_iter().map(String::into_bytes).collect(),
            lead: (!source.lead.is_empty()).then(|| Expression::new(source.lead)),
            secret: Expression::new(source.secret),
            keep: source.keep,
            not_after: source.not_after.into_bytes(),
            checks: source.checks,
            short: source.short,
            whole: source.whole,
            lines: source.lines,
            quoted: source.quoted,
            masks: source.masks,
            leaves: source.leaves,
        })
    }
}

impl Rule {
    /// What its matches begin with: the lead, or else the secret.
    pub(super) fn first(&self) -> &Expression {
        self.lead.as_ref().unwrap_or(&self.secret)
    }

    /// Whether one of the words stands before a literal that must not.
    pub(super) fn is_preceded_wrongly(&self, before: &[u8]) -> bool {
        let Some(end) = before.last_chunk::<2>() else {
            return self.not_before.iter().any(|word| before.ends_with(word));
        };
        let may_end = self.not_before_ends[usize::from(end[1])];
        may_end
            && self.not_before.iter().any(|word| {
                // Nearly every one that ends like this is whole: no call for the others.
                word.last_chunk::<2>().is_none_or(|last| last == end) && before.ends_with(word)
            })
    }

    /// Whether text that begins with a literal of the rule has no match for want of what each has. `ended`: no more will come.
    pub(super) fn lacks(&self, text: &[u8], ended: bool) -> bool {
        let Some(byte) = self.needs else { return false };
        let longest = || {
            let lead = self.lead.as_ref().map_or(Some(0), Expression::longest)?;
            // And what a terminal does not show, within the lead and behind it.
            lead.checked_add(self.secret.longest()?)?.checked_add(2 * (MOST_SKIPPED + LONGEST))
        };
        let Some(reach) = *self.reach.get_or_init(longest) else { return false };
        let reached = text.get(..reach);
        (ended || reached.is_some()) && memchr::memchr(byte, reached.unwrap_or(text)).is_none()
    }
}

/// What a literal with sets of bytes stands for; `None` where it does not read, or stands for too many.
fn expand(literal: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut expanded, mut rest) = (vec![Vec::with_capacity(literal.len())], literal);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let mut set = Vec::new();
        if *first == b'[' {
            let end = 1 + rest.iter().skip(1).position(|byte| *byte == b']')?;
            let mut members = rest.get(..end)?;
            while let Some((from, after)) = members.split_first() {
                let (to, after) = match after {
                    [b'-', to, after @ ..] => (to, after),
                    _ => (from, after),
                };
                set.extend(*from..=*to);
                members = after;
            }
            rest = rest.get(end + 1..)?;
        } else {
            expanded.iter_mut().for_each(|begun| begun.push(*first));
            continue;
        }
        if set.is_empty() || set.len() * expanded.len() > MAX_EXPANDED {
            return None;
        }
        let longer =
            |begin: &Vec<u8>| set.iter().map(|byte| [begin, &[*byte][..]].concat()).collect::<Vec<_>>();
        expanded = expanded.iter().flat_map(longer).collect();
    }
    Some(expanded)
}

/// Compiles an anchored expression over bytes: classes are ASCII, `.` and negated classes match any byte.
fn compile(text: &str) -> Result<dense::DFA<Vec<u32>>, String> {
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(regex_automata::dfa::StartKind::Anchored)
                .accelerate(false)
                .dfa_size_limit(Some(AUTOMATON_LIMIT))
                .determinize_size_limit(Some(4 * AUTOMATON_LIMIT)),
        )
        .syntax(bytewise())
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(AUTOMATON_LIMIT)))
        .build(text)
        .map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })
}

#[cfg(test)]
mod tests {
    use regex_automata::Anchored;
    use regex_automata::dfa::Automaton;

    use super::*;

    #[test]
    fn what_a_rule_says_it_needs_each_of_its_matches_has() {
        let mut seen = 0;
        for rule in Rules::read(SHIPPED).unwrap().rules.iter().filter(|rule| rule.needs.is_some()) {
            let alone = Arc::new(Rule { needs: None, ..again(rule) });
            let redactor = super::super::Redactor::new(&Rules { rules: vec![alone] }, Vec::new());
            let byte = rule.needs.map(char::from).unwrap();
            for example in &rule.masks {
                let (text, _) = super::super::example::expand(example);
                assert_eq!(redactor.text(&text).1, 1, "the control: {text}");
                for other in ["", ".", "/", " "] {
                    let without = text.replace(byte, other);
                    assert_eq!(redactor.text(&without).1, 0, "{}: {without}", rule.id);
                }
                seen += 1;
            }
            let reach = rule.lead.as_ref().unwrap().longest().unwrap() + rule.secret.longest().unwrap();
            let far = "x".repeat(reach + 2 * (MOST_SKIPPED + LONGEST));
            assert!(rule.lacks(format!("://{far}@").as_bytes(), false), "it is out of reach");
            assert!(!rule.lacks(b"://x", false), "it may come");
            assert!(rule.lacks(b"://x", true) && !rule.lacks(b"://x@", false));
        }
        assert!(seen > 0);
    }

    fn again(rule: &Rule) -> Rule {
        let file: File = toml::from_str(SHIPPED).unwrap();
        let source = file.rule.into_iter().find(|source| source.id == rule.id).unwrap();
        Rule::new(source).unwrap()
    }

    #[test]
    fn builtin_rules_compile_and_do_what_their_examples_say() {
        let rules = Rules::parse(SHIPPED).unwrap();
        assert!(rules.rules.len() > 30, "only {} rules", rules.rules.len());
        let shape = |rule: &Rule| {
            let expressions = (rule.lead.as_ref().map(|lead| &lead.text), &rule.secret.text);
            format!(
                "{:?}",
                (&rule.id, &rule.literals, &rule.not_before, expressions, &rule.checks, rule.short)
            )
        };
        let shapes = |rules: &Rules| rules.rules.iter().map(|rule| shape(rule)).collect::<Vec<_>>();
        assert_eq!(shapes(&Rules::builtin()), shapes(&rules), "without their examples they are the same");
    }

    /// What of a literal belongs to the secret would have left when the rest of it comes.
    #[test]
    fn no_literal_reaches_into_the_secret() {
        for rule in Rules::builtin().rules.iter() {
            let Some(lead) = &rule.lead else { continue };
            let automaton = lead.automaton().unwrap();
            for literal in &rule.literals {
                let start = automaton.universal_start_state(Anchored::Yes).unwrap();
                let ends_within = literal.iter().scan(start, |state, byte| {
                    *state = automaton.next_state(*state, *byte);
                    Some(automaton.is_match_state(*state))
                });
                assert!(
                    !ends_within.into_iter().any(|ends| ends),
                    "{}: {}",
                    rule.id,
                    String::from_utf8_lossy(literal)
                );
            }
        }
    }

    #[test]
    fn rule_ids_are_unique() {
        let mut ids: Vec<_> = Rules::builtin().rules.iter().map(|rule| rule.id.clone()).collect();
        ids.sort();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn a_literal_may_have_sets_of_bytes() {
        let expanded = |literal: &str| {
            let bytes = expand(literal.as_bytes())?;
            Some(
                bytes
                    .into_iter()
                    .map(|bytes| String::from_utf8(bytes).unwrap())
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        assert_eq!(expanded("ab").as_deref(), Some("ab"));
        assert_eq!(expanded("[0-2]Q[x_-]").as_deref(), Some("0Qx 0Q_ 0Q- 1Qx 1Q_ 1Q- 2Qx 2Q_ 2Q-"));
        assert_eq!(expanded("[[]x[]]").as_deref(), Some("[x]"));
        for bad in ["a[", "a[]", "a[b", "[z-a]b", "[0-9][0-9][0-9][0-9]"] {
            assert_eq!(expanded(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mistake_in_a_rule_is_named() {
        let rule = |text: &str| Rules::parse(text).unwrap_err().to_string();
        let with =
            |field: &str| format!("[[rule]]\nid = 'x'\nmasks = ['abc{{a9}}']\nleaves = ['b']\n{field}");
        assert!(rule(&with("literals = []\nsecret = 'abc.+'")).contains("at least one literal"));
        assert!(rule(&with("literals = ['abc']\nsecret = '(abc'")).contains("rule `x`"));
        assert!(rule(&with("literals = ['abc']\nsecret = 'abd.*'")).contains("is not masked"));
        assert!(rule(&with("literals = ['abc']\nsecret = 'abc'")).contains("not all of the secret"));
        assert!(rule(&with("literals = ['abc']\nsecret = 'abc(.{900}){900}'")).contains("rule `x`"));
        assert!(rule(&with("literal = ['abc']\nsecret = 'abc.*'")).contains("unknown field"));
    }
}
