//! Deciding about candidates: is this a secret, is it none, or would more text tell?

use std::sync::{Arc, OnceLock};

use regex_automata::dfa::Automaton;
use regex_automata::util::primitives::StateID;

use super::candidate::{Begun, Candidate, Known, state};
use super::rules::{Before, Rule};
use super::run::{Run, Sight, WINDOW, count, in_lines, is_final, is_unquoted, plain_lead, run, run_lead};
use super::search::{Ahead, Search};
use super::{Rules, Secret, Span, Stream, check, encoding, escape, quote};

/// Values shorter than this are not looked for: they would be found everywhere.
pub(super) const SHORTEST_VALUE: usize = 8;

/// Longer values are looked for in pieces of this size.
const LONGEST_VALUE: usize = 4 << 10;

/// A mask shows nothing of a known value that is shorter: it may be a password that a person chose.
const SHORT_VALUE: usize = 32;

/// Finds and masks secrets. Cheap to clone; fixed once made.
#[derive(Debug, Clone)]
pub struct Redactor {
    engine: Arc<Engine>,
}

#[derive(Debug)]
pub(super) struct Engine {
    rules: Vec<Arc<Rule>>,
    values: Vec<Value>,
    pub(super) search: Search,
    /// What each literal may be the beginning of.
    begun: Vec<Begun>,
}

/// One form of a known secret.
#[derive(Debug)]
struct Value {
    /// What a mask begins with.
    label: String,
    form: encoding::Form,
    /// A mask shows nothing of it.
    hidden: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Value(usize),
    Rule(usize),
}

/// What a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No secret.
    No,
    /// More text may make it one; nothing before `from` would be masked.
    More { from: usize },
    /// A secret.
    Secret(Found),
}

/// A secret in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) target: Target,
    /// It filled the window and goes on: the state from which to go on.
    pub(super) open: Option<StateID>,
}

impl Redactor {
    /// Puts shapes and exact values together. Values shorter than eight bytes are not looked for.
    pub fn new(rules: &Rules, secrets: Vec<Secret>) -> Self {
        static SHIPPED: OnceLock<Redactor> = OnceLock::new();
        if secrets.is_empty() && rules.is_builtin() {
            return SHIPPED.get_or_init(|| Self::put_together(rules, secrets)).clone();
        }
        Self::put_together(rules, secrets)
    }

    fn put_together(rules: &Rules, secrets: Vec<Secret>) -> Self {
        let mut values: Vec<Value> = Vec::new();
        for secret in &secrets {
            for piece in secret.expose().trim_ascii().chunks(LONGEST_VALUE) {
                if piece.len() < SHORTEST_VALUE {
                    continue;
                }
                let name = secret.name().bytes().map(|byte| char::from(printable(byte)));
                let label: String = "[redacted:value"
                    .chars()
                    .chain(" ".chars().filter(|_| !secret.name().is_empty()))
                    .chain(name)
                    .collect();
                values.extend(encoding::forms(piece, SHORTEST_VALUE).into_iter().map(|form| Value {
                    label: label.clone(),
                    form,
                    hidden: piece.len() < SHORT_VALUE,
                }));
            }
        }
        // Of two values that start alike the longer one is tried first.
        values.sort_by_key(|value| std::cmp::Reverse(value.form.len()));
        Self { engine: Arc::new(Engine::new(rules.rules.clone(), values)) }
    }

    /// A stream of its own for one output; several may run at once.
    pub fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.engine))
    }

    /// A whole text, with the number of places masked.
    pub fn text(&self, text: &str) -> (String, u64) {
        self.masked(text).unwrap_or_else(|| (text.to_owned(), 0))
    }

    /// The same, where anything is masked.
    pub fn masked(&self, text: &str) -> Option<(String, u64)> {
        // Most texts of records and messages are short and have nothing that any rule or value begins with.
        if !self.engine.search.stands_in(text.as_bytes()) {
            return None;
        }
        let mut stream = self.stream();
        let mut out = Vec::with_capacity(text.len());
        stream.push(text.as_bytes(), &mut out);
        stream.finish(&mut out);
        let text = String::from_utf8(out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        (stream.masked() > 0).then(|| (text, stream.masked()))
    }

    /// Where secrets stand in a text, and by which rule they are known.
    pub fn find(&self, text: &[u8]) -> Vec<Span> {
        let (mut stream, mut out) = (self.stream().with_places(), Vec::new());
        for step in text.chunks(WINDOW) {
            stream.push(step, &mut out);
            out.clear();
        }
        stream.finish(&mut out);
        stream.places()
    }
}

impl Engine {
    fn new(rules: Vec<Arc<Rule>>, values: Vec<Value>) -> Self {
        let mut wanted: Vec<(Vec<u8>, Target)> = Vec::new();
        for (index, value) in values.iter().enumerate() {
            wanted.extend(value.form.literals().into_iter().map(|literal| (literal, Target::Value(index))));
        }
        for (index, rule) in rules.iter().enumerate() {
            wanted.extend(rule.literals.iter().map(|literal| (literal.clone(), Target::Rule(index))));
        }
        let search = Search::new(wanted.iter().map(|(literal, _)| literal.clone()).collect());
        let mut targets = vec![Vec::new(); search.literals().len()];
        for (literal, target) in wanted {
            if let Some(targets) = search.literal_at(&literal).and_then(|index| targets.get_mut(index)) {
                targets.push(target);
            }
        }
        let begun = targets.into_iter().map(|mut targets| {
            targets.sort();
            targets.dedup();
            Begun::new(targets)
        });
        Self { rules, values, begun: begun.collect(), search }
    }

    /// What the literal that stands at a place may be the beginning of there. What is left out is none, whatever comes.
    pub(super) fn candidates(&self, literal: usize, buffer: &[u8], at: usize) -> &[Candidate] {
        let (Some(begun), Some(bytes)) = (self.begun.get(literal), self.search.literals().get(literal))
        else {
            return &[];
        };
        begun.candidates(&self.rules, bytes, buffer.get(at + bytes.len()).copied())
    }

    /// Judges a candidate whose literal stands at `at`. The verdict on more text is the same, unless it is
    /// [`Verdict::More`]. `ended`: no more text will come. Of secrets and what may be some only those matter that begin before `until`.
    /// `ahead` is of the same buffer.
    pub(super) fn judge(
        &self,
        candidate: &Candidate,
        buffer: &[u8],
        ahead: &mut Ahead,
        at: usize,
        until: usize,
        ended: bool,
    ) -> Verdict {
        match candidate.target {
            Target::Value(index) => self.judge_value(index, buffer, at, ended),
            Target::Rule(index) => match self.judge_rule(index, candidate, buffer, at, until, ended) {
                Verdict::Secret(found) => self.complete(found, buffer, ahead, ended),
                verdict => verdict,
            },
        }
    }

    fn judge_value(&self, index: usize, buffer: &[u8], at: usize, ended: bool) -> Verdict {
        let (Some(value), Some(text)) = (self.values.get(index), buffer.get(at..)) else {
            return Verdict::No;
        };
        let target = Target::Value(index);
        match value.form.begins(text, ended) {
            encoding::Begin::Form(bytes) => {
                Verdict::Secret(Found { start: at, end: at + bytes, target, open: None })
            }
            encoding::Begin::More => Verdict::More { from: at },
            encoding::Begin::Other => Verdict::No,
        }
    }

    #[inline(always)]
    fn judge_rule(
        &self,
        index: usize,
        candidate: &Candidate,
        buffer: &[u8],
        at: usize,
        until: usize,
        ended: bool,
    ) -> Verdict {
        let Some(rule) = self.rules.get(index) else { return Verdict::No };
        let text = buffer.get(at..).unwrap_or_default();
        if rule.lacks(text, ended) {
            return Verdict::No;
        }
        let behind = text.get(candidate.length..).unwrap_or_default();
        if candidate.needs_quote && is_unquoted(behind) {
            return Verdict::No;
        }
        // Most that begin like a secret are none, which costs less to see than what stands before.
        let sight = match (&candidate.known, &rule.lead) {
            (Known::State(state), Some(lead)) => {
                lead.automaton().map_or(Sight::Unclear, |automaton| plain_lead(automaton, *state, behind))
            }
            (Known::Shape(shape), _) if behind.first() != Some(&0x1b) => {
                let window = WINDOW - candidate.length;
                match count(shape, buffer, at + candidate.length, window, ended) {
                    Some(Run::Done(None)) => Sight::No,
                    Some(ran) => Sight::Secret(ran),
                    None => Sight::Unclear,
                }
            }
            _ => Sight::Unclear,
        };
        if matches!(sight, Sight::No) {
            return Verdict::No;
        }
        self.look_closer(index, rule, candidate, sight, (buffer, at, until), ended)
    }

    /// Judges what looks like a rule at first sight.
    #[inline(never)]
    fn look_closer(
        &self,
        index: usize,
        rule: &Rule,
        candidate: &Candidate,
        sight: Sight,
        (buffer, at, until): (&[u8], usize, usize),
        ended: bool,
    ) -> Verdict {
        if !rule.before.holds(buffer, at) || rule.is_preceded_wrongly(buffer.get(..at).unwrap_or_default()) {
            return Verdict::No;
        }
        let mut start = at;
        if let Some(expression) = &rule.lead {
            // An expression that does not compile, which loading rules out, fails closed: no lead, any secret.
            if let Some(automaton) = expression.automaton() {
                start = match sight {
                    Sight::Lead(bytes) => at + candidate.length + bytes,
                    _ => match run_lead(automaton, candidate.entry(), buffer, at, ended) {
                        Run::Done(Some(end)) => end,
                        Run::Done(None) | Run::Full(..) => return Verdict::No,
                        Run::Starved(end) => return Verdict::More { from: end.unwrap_or(buffer.len()) },
                    },
                };
                let behind = start;
                match escape::skip(buffer, start, ended) {
                    Some(next) => start = next,
                    None => return Verdict::More { from: start },
                }
                if start >= until {
                    return Verdict::No;
                }
                if rule.quoted {
                    match quote::end(
                        buffer.get(..behind).unwrap_or_default(),
                        buffer.get(start..).unwrap_or_default(),
                    ) {
                        quote::End::At(length) => {
                            let secret = buffer.get(start..start + length).unwrap_or_default();
                            let holds = !secret.is_empty() && check::hold(&rule.checks, secret);
                            let (end, target) = (start + length, Target::Rule(index));
                            return if holds {
                                Verdict::Secret(Found { start, end, target, open: None })
                            } else {
                                Verdict::No
                            };
                        }
                        quote::End::More if !ended => return Verdict::More { from: start },
                        quote::End::More | quote::End::None => {}
                    }
                }
            }
        }
        let mut entry = if rule.lead.is_none() { candidate.entry() } else { None };
        let mut counts = true;
        // What is searched for is often coloured: `grep` shows the prefix of a token apart from the rest of it.
        let behind = start + candidate.length;
        if rule.lead.is_none() && buffer.get(behind) == Some(&0x1b) {
            let state = match candidate.known {
                Known::State(state) => Some(state),
                Known::Shape(_) => state(rule, buffer.get(start..behind).unwrap_or_default()),
                Known::Nothing => None,
            };
            if let Some(state) = state {
                let Some(next) = escape::skip(buffer, behind, ended) else {
                    return Verdict::More { from: start };
                };
                entry = Some((next - start, state));
                counts = false;
            }
        }
        let counted = match sight {
            _ if !counts => None,
            Sight::Secret(ran) => Some(ran),
            _ if rule.lead.is_none() => None,
            _ => rule.secret.shape().and_then(|shape| count(shape, buffer, start, WINDOW, ended)),
        };
        let ran = match counted {
            Some(ran) => ran,
            None => {
                let Some(automaton) = rule.secret.automaton() else {
                    let (end, target) = (buffer.len(), Target::Rule(index));
                    return Verdict::Secret(Found { start, end, target, open: None });
                };
                run(automaton, entry, buffer, start, WINDOW, ended)
            }
        };
        let ran = if rule.lines { in_lines(ran, buffer, start, ended) } else { ran };
        let (end, open) = match ran {
            Run::Done(Some(end)) => (end.saturating_sub(rule.keep), None),
            Run::Full(true, state) if rule.keep == 0 => (start + WINDOW, Some(state)),
            Run::Done(None) | Run::Full(..) => return Verdict::No,
            Run::Starved(_) => return Verdict::More { from: start },
        };
        let secret = buffer.get(start..end).unwrap_or_default();
        let followed_wrongly = buffer.get(end).is_some_and(|next| rule.not_after.contains(next));
        if secret.is_empty() || followed_wrongly || !check::hold(&rule.checks, secret) {
            return Verdict::No;
        }
        Verdict::Secret(Found { start, end, target: Target::Rule(index), open })
    }

    /// A found secret may be, or run into, something better known: `TOKEN=` is followed by a vendor's token, or a
    /// known value starts inside it and ends after it.
    fn complete(&self, mut found: Found, buffer: &[u8], ahead: &mut Ahead, ended: bool) -> Verdict {
        if found.open.is_some() {
            return Verdict::Secret(found);
        }
        let leads = matches!(found.target, Target::Rule(index) if self.rules.get(index).is_some_and(|rule| rule.lead.is_some()));
        let undecided = Verdict::More { from: found.start };
        let secret = buffer.get(found.start..).unwrap_or_default();
        if !leads {
            // What it is called is decided already.
        } else if let Some(literal) = self.search.literal_at(secret) {
            for candidate in self.candidates(literal, buffer, found.start) {
                let known = match candidate.target {
                    Target::Value(index) => self.judge_value(index, buffer, found.start, ended),
                    Target::Rule(index) => {
                        self.judge_rule(index, candidate, buffer, found.start, usize::MAX, ended)
                    }
                };
                match known {
                    Verdict::Secret(known) if known.start == found.start && known.end >= found.end => {
                        found = known;
                        break;
                    }
                    Verdict::More { .. } => return undecided,
                    Verdict::Secret(_) | Verdict::No => {}
                }
            }
        } else if !ended && self.search.begun_by(secret).next().is_some() {
            return undecided;
        }
        if self.values.is_empty() || found.open.is_some() {
            return Verdict::Secret(found);
        }
        let mut next = found.start + 1;
        while let Some((at, literal)) = ahead.next(&self.search, buffer, next, found.end) {
            for target in self.targets(literal) {
                let Target::Value(index) = *target else { break };
                match self.judge_value(index, buffer, at, ended) {
                    Verdict::Secret(value) => found.end = found.end.max(value.end),
                    Verdict::More { .. } => return undecided,
                    Verdict::No => {}
                }
            }
            next = at + 1;
        }
        // What has not all come yet can only stand at the end.
        let unfinished = buffer.len().saturating_sub(self.search.longest_begun()).max(found.start + 1);
        let begins_value = |at: usize| {
            let text = buffer.get(at..).unwrap_or_default();
            self.search.literal_at(text).is_none()
                && self.search.begun_by(text).any(|literal| self.is_value(literal))
        };
        if !ended && (unfinished..found.end).any(begins_value) {
            return undecided;
        }
        Verdict::Secret(found)
    }

    fn targets(&self, literal: usize) -> &[Target] {
        self.begun.get(literal).map_or(&[], Begun::targets)
    }

    fn is_value(&self, literal: usize) -> bool {
        matches!(self.targets(literal).first(), Some(Target::Value(_)))
    }

    /// Whether a secret may start where an unfinished literal starts, and not only after it.
    pub(super) fn starts_secret(&self, literal: usize, buffer: &[u8], at: usize) -> bool {
        self.targets(literal).iter().any(|target| match target {
            Target::Value(_) => true,
            Target::Rule(index) => self
                .rules
                .get(*index)
                .is_some_and(|rule| rule.lead.is_none() && rule.before.holds(buffer, at)),
        })
    }

    /// Goes on with a secret that filled its window. Returns the state, or how many bytes still belong to it.
    pub(super) fn swallow(&self, target: Target, mut state: StateID, text: &[u8]) -> Result<StateID, usize> {
        let rule = match target {
            Target::Rule(index) => self.rules.get(index),
            Target::Value(_) => None,
        };
        let Some(automaton) = rule.and_then(|rule| rule.secret.automaton()) else { return Err(0) };
        let mut goes_on = None;
        for (index, byte) in text.iter().enumerate() {
            state = automaton.next_state(state, *byte);
            if goes_on == Some(state) {
                continue;
            }
            if automaton.is_dead_state(state) || automaton.is_quit_state(state) || is_final(automaton, state)
            {
                return Err(index);
            }
            goes_on = Some(state);
        }
        Ok(state)
    }

    /// The rule by which a secret is known.
    pub(super) fn name(&self, target: Target) -> &str {
        match target {
            Target::Value(_) => "value",
            Target::Rule(index) => self.rules.get(index).map_or("secret", |rule| &rule.id),
        }
    }

    /// Writes what stands in the place of a secret.
    pub(super) fn mask(&self, found: &Found, secret: &[u8], out: &mut Vec<u8>) {
        let (label, short, whole) = match found.target {
            Target::Value(index) => {
                let value = self.values.get(index);
                let short = if value.is_some_and(|value| value.hidden) { usize::MAX } else { SHORT_VALUE };
                (value.map_or("[redacted:value", |value| &value.label), short, false)
            }
            Target::Rule(index) => {
                let rule = self.rules.get(index);
                rule.map_or(("[redacted:secret", 0, true), |rule| (&rule.label, rule.short, rule.whole))
            }
        };
        out.extend_from_slice(label.as_bytes());
        let ends = secret.first_chunk().zip(secret.last_chunk()).filter(|_| secret.len() >= short.max(12));
        match ends {
            _ if whole => out.push(b']'),
            None => out.extend_from_slice(b" ***]"),
            Some((first, last)) => {
                let [a, b, c, d, e, f] = <[u8; 6]>::map(*first, printable);
                out.extend_from_slice(&[b' ', a, b, c, d, e, f, 0xe2, 0x80, 0xa6]);
                if found.open.is_none() {
                    out.extend_from_slice(&<[u8; 4]>::map(*last, printable));
                }
                out.push(b']');
            }
        }
    }
}

impl Before {
    fn holds(self, buffer: &[u8], at: usize) -> bool {
        let Some(last) = at.checked_sub(1).and_then(|last| buffer.get(last)) else {
            return self != Self::Digits;
        };
        let is_apart = || escape::ends(buffer.get(..at).unwrap_or_default());
        match self {
            Self::Any => true,
            Self::Word => (!last.is_ascii_alphanumeric() && *last != b'_') || is_apart(),
            Self::Part => !last.is_ascii_alphabetic() || is_apart(),
            Self::Digits => {
                let before = buffer.get(at.saturating_sub(8)..at).unwrap_or_default();
                before.len() == 8 && before.iter().all(u8::is_ascii_digit)
            }
        }
    }
}

/// A byte of a secret or of a name as it is shown: no control character, no part of a multi-byte character.
fn printable(byte: u8) -> u8 {
    if byte.is_ascii_graphic() && byte != b'[' && byte != b']' { byte } else { b'?' }
}
