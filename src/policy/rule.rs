//! A rule that was read.

use super::condition::{Condition, Sureness};
use super::document::{RuleDocument, Verdict};
use crate::gate::{self, Act, Finding};

/// A rule: what it speaks of, what it decides, and why.
#[derive(Debug)]
pub(super) struct Rule {
    id: String,
    condition: Condition,
    except: Vec<Condition>,
    decision: Verdict,
    reason: String,
    hint: String,
}

impl Rule {
    pub(super) fn new(document: &RuleDocument) -> Self {
        Self {
            id: document.id.get_ref().clone(),
            condition: document.condition(),
            except: document.except.iter().map(|except| except.get_ref().clone()).collect(),
            decision: document.decision,
            reason: document.reason.get_ref().clone(),
            hint: document.hint.clone(),
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

    /// Whether the rule may speak of effects of this kind, by its number.
    pub(super) fn may_speak_of(&self, kind: usize) -> bool {
        self.condition
            .effect
            .as_ref()
            .is_none_or(|effects| effects.0.iter().any(|(wanted, _)| *wanted as usize == kind))
    }

    /// Whether the rule speaks of the act. A rule that tightens speaks of what may happen; one that allows, and an
    /// exception, only of what certainly does.
    pub(super) fn speaks_of(&self, act: &Act) -> bool {
        let sureness = if self.decision == Verdict::Allow { Sureness::Must } else { Sureness::May };
        self.condition.matches(act, sureness)
            && !self.except.iter().any(|except| except.matches(act, Sureness::Must))
    }

    /// The finding, for a rule that decides more than allow. A rule without an effect speaks of the command as a whole, and
    /// says so once.
    pub(super) fn finding(&self, act: &Act) -> Option<Finding> {
        (self.decision != Verdict::Allow && (self.condition.effect.is_some() || act.is_start()))
            .then(|| gate::finding(act, &self.id, self.decision.into(), &self.reason, &self.hint))
    }
}
