//! A rule that was read.

use super::condition::{Condition, Sureness};
use super::document::{RuleDocument, SecretDocument, Verdict};
use crate::gate::place::FirstNames;
use crate::gate::{self, Act, Facts, Finding};

/// A rule: what it speaks of, what it decides, and why.
#[derive(Debug)]
pub(super) struct Rule {
    id: String,
    pub(super) condition: Condition,
    pub(super) except: Vec<Condition>,
    pub(super) decision: Verdict,
    pub(super) run_under: String,
    pub(super) secrets: Vec<SecretDocument>,
    reason: String,
    pub(super) hint: String,
}

impl Rule {
    pub(super) fn new(document: &RuleDocument) -> Self {
        Self {
            id: document.id.get_ref().clone(),
            condition: document.condition(),
            except: document.except.iter().map(|except| except.get_ref().clone()).collect(),
            decision: document.decision,
            run_under: document.run_under.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default(),
            secrets: document.secrets.iter().map(|secret| secret.get_ref().clone()).collect(),
            reason: one_line(document.reason.get_ref()),
            hint: one_line(&document.hint),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The programs that the rule speaks of, where it names each in full.
    pub(super) fn programs(&self) -> Option<&[String]> {
        let names = self.condition.program.as_ref()?;
        let literal = |name: &String| !name.contains(['*', '?', '[', '\\']);
        names.0.iter().all(literal).then_some(names.0.as_slice())
    }

    /// The paths that the rule's effects name, as patterns.
    pub(super) fn paths(&self) -> Vec<String> {
        let effects = self.condition.effect.iter().flat_map(|effects| &effects.0);
        let many = effects.filter_map(|(_, details)| details.path.as_ref());
        many.flat_map(|many| &many.0).filter_map(super::condition::Selector::pattern).collect()
    }

    /// Whether the rule may speak of effects of this kind, by its number.
    pub(super) fn may_speak_of(&self, kind: usize) -> bool {
        self.condition
            .effect
            .as_ref()
            .is_none_or(|effects| effects.0.iter().any(|(wanted, _)| *wanted as usize == kind))
    }

    /// The names with which every path begins of which the rule speaks in effects of this kind; `None` where some path may
    /// begin with any name.
    pub(super) fn first_names(&self, kind: usize) -> Option<Vec<FirstNames>> {
        let effects = self.condition.effect.as_ref()?;
        let own = effects.0.iter().filter(|(wanted, _)| *wanted as usize == kind);
        let names: Option<Vec<_>> = own.map(|(_, details)| details.first_names()).collect();
        names.map(|names| names.concat())
    }

    /// Whether the rule speaks of the act. A rule that tightens speaks of what may happen; one that allows, and an
    /// exception, only of what certainly does.
    pub(super) fn speaks_of(&self, act: &Act, facts: &Facts) -> bool {
        let sureness = if self.decision == Verdict::Allow { Sureness::Must } else { Sureness::May };
        self.holds(act, facts, sureness)
    }

    /// Whether the rule has the act run under its profile. That takes away, so it speaks of what may happen, whatever else
    /// the rule decides.
    pub(super) fn confines(&self, act: &Act, facts: &Facts) -> bool {
        !self.run_under.is_empty() && self.holds(act, facts, Sureness::May)
    }

    /// Whether the rule gives its secrets to the command whose start the act is. That gives, so it speaks of what certainly
    /// happens, whatever else the rule decides.
    pub(super) fn gives(&self, act: &Act, facts: &Facts) -> bool {
        !self.secrets.is_empty() && act.is_start() && self.holds(act, facts, Sureness::Must)
    }

    fn holds(&self, act: &Act, facts: &Facts, sureness: Sureness) -> bool {
        self.condition.matches(act, facts, sureness)
            && !self.except.iter().any(|except| except.matches(act, facts, Sureness::Must))
    }

    /// The finding, for a rule that decides more than allow, or that confines. A rule without an effect speaks of the command
    /// as a whole, and says so once.
    pub(super) fn finding(&self, act: &Act) -> Option<Finding> {
        let says = self.decision != Verdict::Allow || !self.run_under.is_empty();
        (says && (self.condition.effect.is_some() || act.is_start())).then(|| Finding {
            run_under: self.run_under.clone(),
            ..gate::finding(act, &self.id, self.decision.into(), &self.reason, &self.hint)
        })
    }
}

/// A text as it stands in a verdict: in one line, with nothing in it that a terminal would obey or that shows as something else.
/// Lines of its own could pass for lines of the verdict.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(['\n', '\r', '\t']).map(str::trim).filter(|part| !part.is_empty()).collect();
    let line = words.join(" ");
    if is_plain(&line) { line } else { gate::render(&line) }
}

/// Whether a text is shown as it stands, but for backslashes.
pub(super) fn is_plain(text: &str) -> bool {
    gate::render(&text.replace('\\', "/")) == text.replace('\\', "/")
}
