//! What a literal may be the beginning of.
//!
//! Nothing of it is made before the literal is met: most never are.

use std::sync::{Arc, OnceLock};

use regex_automata::Anchored;
use regex_automata::dfa::Automaton;
use regex_automata::util::primitives::StateID;

use super::engine::Target;
use super::escape;
use super::rules::Rule;
use super::shape::Shape;

/// What a literal may be the beginning of: values first, then rules in their order.
#[derive(Debug)]
pub(super) struct Begun {
    targets: Vec<Target>,
    candidates: OnceLock<Candidates>,
}

/// The same by the byte behind the literal: of several rules that begin alike most go on in other ways.
#[derive(Debug)]
struct Candidates {
    all: Box<[Candidate]>,
    lists: Vec<Box<[Candidate]>>,
    /// By that byte, which of the lists it is.
    by_next: Box<[usize; 256]>,
}

#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) target: Target,
    /// Bytes of the literal.
    pub(super) length: usize,
    /// Each match has a quote behind it, and no line ends before that.
    pub(super) needs_quote: bool,
    /// What is known of how it goes on: none of the literal need be read again.
    pub(super) known: Known,
}

#[derive(Debug, Clone)]
pub(super) enum Known {
    /// The state of the first automaton behind the literal.
    State(StateID),
    /// What follows in a secret without a lead.
    Shape(Arc<Shape>),
    Nothing,
}

impl Begun {
    pub(super) fn new(targets: Vec<Target>) -> Self {
        Self { targets, candidates: OnceLock::new() }
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What may go on with a byte, or with whatever comes. What is left out does not, whatever follows.
    pub(super) fn candidates(&self, rules: &[Arc<Rule>], literal: &[u8], next: Option<u8>) -> &[Candidate] {
        let candidates = self.candidates.get_or_init(|| Candidates::new(&self.targets, rules, literal));
        match next {
            Some(next) => {
                candidates.lists.get(candidates.by_next[usize::from(next)]).map_or(&[], |list| list)
            }
            None => &candidates.all,
        }
    }
}

impl Candidates {
    fn new(targets: &[Target], rules: &[Arc<Rule>], literal: &[u8]) -> Self {
        let rule = |target: &Target| match target {
            Target::Rule(index) => rules.get(*index),
            Target::Value(_) => None,
        };
        let new = |target: &Target| {
            let known = rule(target).map_or(Known::Nothing, |rule| Known::of(rule, literal));
            let needs_quote = rule(target).and_then(|rule| rule.lead.as_ref()).is_some_and(|lead| {
                lead.needs_quote() && !literal.contains(&b'"') && !literal.contains(&b'\'')
            });
            Candidate { target: *target, length: literal.len(), needs_quote, known }
        };
        let all: Box<[Candidate]> = targets.iter().map(new).collect();
        let (mut seen, mut lists): (Vec<Vec<bool>>, _) = (Vec::new(), Vec::new());
        let mut by_next = Box::new([0; 256]);
        for (next, which) in (0..=u8::MAX).zip(by_next.iter_mut()) {
            let goes_on = |candidate: &Candidate| {
                rule(&candidate.target).is_none_or(|rule| candidate.known.goes_on(rule, next))
            };
            let list: Vec<bool> = all.iter().map(goes_on).collect();
            *which = seen.iter().position(|other| *other == list).unwrap_or(seen.len());
            if *which == seen.len() {
                let members = all.iter().zip(&list).filter(|(_, is_member)| **is_member);
                lists.push(members.map(|(candidate, _)| candidate.clone()).collect());
                seen.push(list);
            }
        }
        Self { all, lists, by_next }
    }
}

impl Known {
    fn of(rule: &Rule, literal: &[u8]) -> Self {
        if rule.lead.is_none()
            && let Some(shape) = rule.secret.shape_behind(literal)
        {
            return Self::Shape(Arc::new(shape));
        }
        state(rule, literal).map_or(Self::Nothing, Self::State)
    }

    /// Whether a byte behind the literal leaves any hope. What a terminal does not show may stand there, too.
    fn goes_on(&self, rule: &Rule, next: u8) -> bool {
        let is_passed_over = if rule.lead.is_some() { escape::may_start(next) } else { next == 0x1b };
        if rule.lines || is_passed_over {
            return true;
        }
        match self {
            Self::Shape(shape) => shape.may_begin_with(next),
            Self::State(state) => rule.first().automaton().is_none_or(|automaton| {
                let state = automaton.next_state(*state, next);
                !automaton.is_dead_state(state) && !automaton.is_quit_state(state)
            }),
            Self::Nothing => true,
        }
    }
}

impl Candidate {
    /// Where the first automaton is behind the literal.
    pub(super) fn entry(&self) -> Option<(usize, StateID)> {
        match self.known {
            Known::State(state) => Some((self.length, state)),
            Known::Shape(_) | Known::Nothing => None,
        }
    }
}

/// The state of a rule's first automaton behind one of its literals; `None` where that depends on more than them.
pub(super) fn state(rule: &Rule, literal: &[u8]) -> Option<StateID> {
    let automaton = rule.first().automaton()?;
    let mut state = automaton.universal_start_state(Anchored::Yes)?;
    for byte in literal {
        state = automaton.next_state(state, *byte);
        if automaton.is_special_state(state) {
            return None;
        }
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::super::Rules;
    use super::*;

    fn names<'a>(rules: &'a [Arc<Rule>], begun: &Begun, literal: &str, next: Option<u8>) -> Vec<&'a str> {
        let candidates = begun.candidates(rules, literal.as_bytes(), next);
        let name = |candidate: &Candidate| match candidate.target {
            Target::Rule(index) => rules[index].id.as_str(),
            Target::Value(_) => "value",
        };
        candidates.iter().map(name).collect()
    }

    #[test]
    fn what_follows_a_literal_leaves_few_of_those_that_begin_with_it() {
        let rules = Rules::builtin().rules;
        let rule = |id: &str| Target::Rule(rules.iter().position(|rule| rule.id == id).unwrap());
        let begun = Begun::new(vec![
            Target::Value(0),
            rule("assignment-quoted"),
            rule("assignment-tight"),
            rule("assignment-loose"),
        ]);
        let after = |next: Option<u8>| names(&rules, &begun, "password", next);
        assert_eq!(after(None).len(), 4, "whatever may come");
        assert_eq!(after(Some(b'=')).len(), 4);
        assert_eq!(after(Some(b':')), ["value", "assignment-quoted", "assignment-loose"]);
        assert_eq!(after(Some(b'.')), ["value"], "a known value may be anything");
        assert_eq!(after(Some(0x1b)).len(), 4, "a colour is passed over");
        let begun = Begun::new(vec![rule("github-token")]);
        let after = |next: u8| names(&rules, &begun, "ghp_", Some(next)).len();
        assert_eq!((after(b'a'), after(b'_'), after(0x1b)), (1, 0, 1));
        let begun = Begun::new(vec![rule("private-key")]);
        assert_eq!(
            names(&rules, &begun, "-----BEGIN ", Some(b'a')).len(),
            1,
            "lines are read by no expression"
        );
    }
}
