//! Why a command is decided as it is, and what near it would be allowed.

use super::rule::Rule;
use super::{Policy, Role};
use crate::gate::{self, Command, Decision, Facts, Judgement};
use crate::programs::Effect;

/// Most commands that are tried in search of one that is allowed.
const MOST_TRIED: usize = 400;

/// Why a command is decided as it is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Explanation {
    /// What is decided.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Every rule that speaks of it, those that allow and those that a stricter one outweighs included.
    pub matched: Vec<Matched>,
    /// The nearest command that would be allowed, of those that were tried. It does something else: whether that is enough
    /// is the reader's to say.
    pub nearest: Option<String>,
}

/// A rule that speaks of a part of a command.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Matched {
    /// Its layer: `system`, `operator`, `project`.
    pub layer: &'static str,
    /// Its id.
    pub rule: String,
    /// What it decides.
    pub decision: Decision,
    /// The part.
    pub argv: Vec<String>,
    /// What that does.
    pub effect: String,
}

impl Policy {
    /// Explains a verdict. Pure, and slower than a verdict.
    pub fn explain(&self, command: &Command, facts: &Facts) -> Explanation {
        let judgement = self.judge(command, facts);
        let mut matched = Vec::new();
        self.each_match(command, facts, &mut |role, rule, act| {
            let found = Matched {
                layer: role.name(),
                rule: rule.id().to_owned(),
                decision: rule.decision.into(),
                argv: act.words(),
                effect: gate::finding(act, "", Decision::Allow, "", "").effect,
            };
            if !matched.contains(&found) {
                matched.push(found);
            }
        });
        let nearest = if judgement.decision == Decision::Allow { None } else { self.nearest(command, facts) };
        Explanation { judgement, matched, nearest }
    }

    /// Calls back for each rule with each act that it speaks of.
    pub(super) fn each_match(
        &self,
        command: &Command,
        facts: &Facts,
        found: &mut dyn FnMut(Role, &Rule, &gate::Act),
    ) {
        let survey = gate::survey(command, facts);
        for act in survey.acts() {
            for (role, rule) in self.rules() {
                if rule.speaks_of(act, facts) || rule.confines(act, facts) {
                    found(role, rule, act);
                }
            }
        }
    }

    /// The first allowed of the commands near this one: with an option or an operand less, with a path in the workspace,
    /// with the flag that only pretends, without its wrapper; else the nearest of the examples with the same program.
    fn nearest(&self, command: &Command, facts: &Facts) -> Option<String> {
        let words = match command {
            Command::Argv(argv) => argv.clone(),
            Command::Shell(text) => plain_words(text)?,
        };
        // Judged as what was asked for: a text is read by a shell, to which `if` is no program.
        let as_asked = |argv: &[String]| match command {
            Command::Argv(_) => Command::Argv(argv.to_vec()),
            Command::Shell(_) => Command::Shell(shell_words::join(argv)),
        };
        let unread =
            |act: &gate::Act| matches!(act.effect, Effect::Opaque { .. } | Effect::Unreadable { .. });
        let allowed = |argv: &Vec<String>| {
            let command = as_asked(argv);
            !argv.is_empty()
                && self.judge(&command, facts).decision == Decision::Allow
                // of what is not known, nobody can say that it is a way to do anything
                && !gate::survey(&command, facts).acts().iter().any(unread)
        };
        let survey = gate::survey(command, facts);
        let started: Vec<Vec<String>> =
            survey.acts().iter().filter(|act| act.is_start()).map(gate::Act::words).collect();
        // With a word less than was asked for, something must be left that is done to something.
        let operands = |argv: &[String]| argv.iter().skip(1).filter(|word| !word.starts_with('-')).count();
        let has_object = |argv: &Vec<String>| {
            started.contains(argv)
                || argv.first() == words.first() && operands(argv) >= operands(&words)
                || gate::survey(&as_asked(argv), facts).acts().iter().any(|act| act.place.is_some())
        };
        let near = variants(&words, &started);
        let twice = near.iter().flat_map(|near| variants(near, &started));
        let tried = near.iter().cloned().chain(twice).filter(|argv| *argv != words).take(MOST_TRIED);
        // The program alone, or without what it was to be done to, is no way to do anything.
        let says_something = |argv: &Vec<String>| {
            argv.first() != words.first() || argv.len() > 1 && (operands(argv) > 0) == (operands(&words) > 0)
        };
        if let Some(argv) = tried.filter(says_something).find(|argv| allowed(argv) && has_object(argv)) {
            return Some(shell_words::join(argv));
        }
        let mut examples: Vec<(usize, Vec<String>)> = self
            .layers
            .iter()
            .flat_map(|layer| layer.examples.iter().flatten())
            .filter(|example| example.expect == Decision::Allow)
            .filter_map(|example| match (&example.argv, &example.command) {
                (Some(argv), _) => Some(argv.clone()),
                (_, Some(text)) => plain_words(text),
                _ => None,
            })
            .filter(|argv| argv.first() == words.first())
            .map(|argv| (argv.iter().filter(|word| !words.contains(word)).count(), argv))
            .collect();
        examples.sort();
        examples.into_iter().map(|(_, argv)| argv).find(allowed).map(shell_words::join)
    }
}

/// The words of a text that is one simple command without anything that a shell would expand.
fn plain_words(text: &str) -> Option<Vec<String>> {
    let special = |c: char| "|&;<>()$`\\\"'*?[#~=%!{}\n".contains(c);
    (!text.contains(special)).then(|| text.split_whitespace().map(str::to_owned).collect())
}

/// Commands that differ in one thing, the likeliest first. `started` are those that the command is known to start: without its
/// wrapper a command is one of them.
fn variants(words: &[String], started: &[Vec<String>]) -> Vec<Vec<String>> {
    let Some((program, rest)) = words.split_first() else { return Vec::new() };
    let with = |rest: Vec<String>| std::iter::once(program.clone()).chain(rest).collect::<Vec<String>>();
    let mut all = Vec::new();
    // Below the workspace instead of elsewhere.
    for (at, word) in rest.iter().enumerate() {
        let name = word.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // what holds a colon is more than a path: a mount, a URL, a place on another host
        if word.contains('/') && !word.contains(':') && !name.is_empty() && name != ".." && name != "." {
            for place in ["build", "/tmp"] {
                let mut other = rest.to_vec();
                if let Some(slot) = other.get_mut(at) {
                    *slot = format!("{place}/{name}");
                }
                all.push(with(other));
            }
        }
    }
    // Without an option.
    for (at, word) in rest.iter().enumerate() {
        // a number behind a dash is what is asked for: `kill -9 -1`, `head -5`
        if word.starts_with('-') && !word.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
            let mut other = rest.to_vec();
            other.remove(at);
            all.push(with(other));
        }
    }
    // Only pretending.
    if !rest.iter().any(|word| word == "--dry-run") {
        let mut other = rest.to_vec();
        other.push("--dry-run".to_owned());
        all.push(with(other));
    }
    // Without the wrapper.
    if started.iter().any(|started| started == rest) {
        all.push(rest.to_vec());
    }
    // Without an operand.
    for (at, word) in rest.iter().enumerate() {
        if !word.starts_with('-') && rest.len() > 1 {
            let mut other = rest.to_vec();
            other.remove(at);
            all.push(with(other));
        }
    }
    all
}
