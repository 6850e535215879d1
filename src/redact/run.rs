//! Running a rule's expressions over a buffer that may have more to come.

use std::collections::BTreeSet;

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;

use super::shape::{Counted, Shape};
use super::{escape, lines};

/// Bytes of a secret that are looked at before it is taken for one without an end: it is masked, and the stream
/// swallows what still belongs to it.
pub(super) const WINDOW: usize = 16 << 10;

/// Longest lead of a secret.
const LEAD_WINDOW: usize = 4 << 10;

/// How far an automaton came.
pub(super) enum Run {
    /// Nothing that follows matters: the end of the match, if there was one.
    Done(Option<usize>),
    /// The text ended first: the end of the match so far, if there was one. The final one is no shorter.
    Starved(Option<usize>),
    /// The window ended first: whether there was a match so far.
    Full(bool, StateID),
}

/// What was found of a key, or what is found line by line, whichever is more.
pub(super) fn in_lines(ran: Run, buffer: &[u8], start: usize, ended: bool) -> Run {
    let Run::Done(end) = ran else { return ran };
    match lines::key(buffer.get(start..).unwrap_or_default(), ended) {
        lines::Key::Ends(bytes) => Run::Done(end.max(Some(start + bytes))),
        lines::Key::None => Run::Done(end),
        lines::Key::More => Run::Starved(end),
    }
}

/// What [`run`] finds of a secret, by counting from `at` on; `None` where the window ends first.
pub(super) fn count(shape: &Shape, buffer: &[u8], at: usize, window: usize, ended: bool) -> Option<Run> {
    let text = buffer.get(at..).unwrap_or_default();
    let text = text.get(..window).unwrap_or(text);
    let is_cut = text.len() == window;
    match shape.count(text, ended && !is_cut) {
        Counted::Match(length) if length == window => None,
        Counted::Starved if is_cut => None,
        Counted::Match(length) => Some(Run::Done(Some(at + length))),
        Counted::No => Some(Run::Done(None)),
        Counted::Starved => Some(Run::Starved(None)),
    }
}

/// What is seen of a candidate at first sight.
pub(super) enum Sight {
    /// It is none.
    No,
    /// Its lead ends behind that many bytes.
    Lead(usize),
    /// What counting found of a secret without a lead.
    Secret(Run),
    /// Nothing: it takes more.
    Unclear,
}

/// What [`run_lead`] finds from a state on, where that is plain: nearly everywhere.
#[inline]
pub(super) fn plain_lead(automaton: &dense::DFA<Vec<u32>>, mut state: StateID, text: &[u8]) -> Sight {
    let mut end = None;
    for (index, byte) in text.get(..LEAD_WINDOW / 2).unwrap_or(text).iter().enumerate() {
        if escape::MAY_START[usize::from(*byte)] {
            return Sight::Unclear;
        }
        state = automaton.next_state(state, *byte);
        if automaton.is_special_state(state) {
            if automaton.is_match_state(state) {
                end = Some(index);
            } else {
                return end.map_or(Sight::No, Sight::Lead);
            }
        }
    }
    Sight::Unclear
}

/// Bytes in which a quote is looked for that a lead must have.
const QUOTE_WINDOW: usize = 256;

/// Whether each match has a quote, and no line ends before it.
pub(super) fn needs_quote(automaton: &dense::DFA<Vec<u32>>) -> bool {
    let Some(start) = automaton.universal_start_state(Anchored::Yes) else { return false };
    let bytes: Vec<u8> =
        automaton.byte_classes().representatives(..).filter_map(|unit| unit.as_u8()).collect();
    let (mut seen, mut open) = (BTreeSet::from([start]), vec![start]);
    while let Some(state) = open.pop() {
        let goes_on = |state| !automaton.is_dead_state(state) && !automaton.is_quit_state(state);
        if automaton.is_match_state(state)
            || automaton.is_match_state(automaton.next_eoi_state(state))
            || goes_on(automaton.next_state(state, b'\n'))
        {
            return false;
        }
        // One that shares its class with other bytes stands for them, too.
        for byte in bytes.iter().filter(|byte| !matches!(byte, b'"' | b'\'')) {
            let next = automaton.next_state(state, *byte);
            if goes_on(next) && seen.insert(next) {
                open.push(next);
            }
        }
    }
    true
}

/// Whether a line ends in a text before any quote does stand in it.
pub(super) fn is_unquoted(text: &[u8]) -> bool {
    let text = text.get(..QUOTE_WINDOW).unwrap_or(text);
    memchr::memchr3(b'"', b'\'', b'\n', text).is_some_and(|at| text.get(at) == Some(&b'\n'))
}

/// Runs the automaton of a lead as [`run`] does, but for what a terminal does not show: a colour changes nothing between a name
/// and its value.
pub(super) fn run_lead(
    automaton: &dense::DFA<Vec<u32>>,
    entry: Option<(usize, StateID)>,
    buffer: &[u8],
    at: usize,
    ended: bool,
) -> Run {
    let Some((mut read, mut state)) = entry.or_else(|| start_state(automaton, buffer, at)) else {
        return Run::Done(None);
    };
    let text = buffer.get(at..).unwrap_or_default();
    let (mut end, mut last, mut skipped) = (None, at + read, 0);
    while let Some(byte) = text.get(read).filter(|_| read < LEAD_WINDOW) {
        if escape::may_start(*byte) && skipped < escape::MOST_SKIPPED {
            match escape::start(text.get(read..).unwrap_or_default()) {
                escape::Start::Sequence(bytes) => {
                    read += bytes;
                    skipped += bytes;
                    continue;
                }
                escape::Start::More if !ended => return Run::Starved(end.or(Some(last))),
                escape::Start::More | escape::Start::Other => {}
            }
        }
        state = automaton.next_state(state, *byte);
        if automaton.is_special_state(state) {
            if automaton.is_match_state(state) {
                end = Some(last);
            } else if automaton.is_dead_state(state) || automaton.is_quit_state(state) {
                return Run::Done(end);
            }
        }
        read += 1;
        last = at + read;
    }
    if text.len() >= LEAD_WINDOW {
        return Run::Full(end.is_some(), state);
    }
    if !ended {
        return if is_final(automaton, state) { Run::Done(end) } else { Run::Starved(end.or(Some(last))) };
    }
    if automaton.is_match_state(automaton.next_eoi_state(state)) {
        end = Some(last);
    }
    Run::Done(end)
}

/// Where an automaton is before the first byte of `buffer[at..]`.
fn start_state(automaton: &dense::DFA<Vec<u32>>, buffer: &[u8], at: usize) -> Option<(usize, StateID)> {
    if let Some(start) = automaton.universal_start_state(Anchored::Yes) {
        return Some((0, start));
    }
    let before = at.checked_sub(1).and_then(|last| buffer.get(last)).copied();
    let start = start::Config::new().anchored(Anchored::Yes).look_behind(before);
    Some((0, automaton.start_state(&start).ok()?))
}

/// Runs an automaton over `buffer[at..]`, at most `window` bytes, as far as bytes matter. `entry`: where it is after the
/// first bytes, if that is known.
pub(super) fn run(
    automaton: &dense::DFA<Vec<u32>>,
    entry: Option<(usize, StateID)>,
    buffer: &[u8],
    at: usize,
    window: usize,
    ended: bool,
) -> Run {
    let Some((read, mut state)) = entry.or_else(|| start_state(automaton, buffer, at)) else {
        return Run::Done(None);
    };
    let text = buffer.get(at..).unwrap_or_default();
    let mut end = None;
    let looked_at = text.get(read..text.len().min(window)).unwrap_or_default();
    for (index, byte) in looked_at.iter().enumerate() {
        state = automaton.next_state(state, *byte);
        if automaton.is_special_state(state) {
            if automaton.is_match_state(state) {
                end = Some(at + read + index);
            } else if automaton.is_dead_state(state) || automaton.is_quit_state(state) {
                return Run::Done(end);
            }
        }
    }
    if text.len() >= window {
        return Run::Full(end.is_some(), state);
    }
    if !ended {
        return if is_final(automaton, state) { Run::Done(end) } else { Run::Starved(end) };
    }
    if automaton.is_match_state(automaton.next_eoi_state(state)) {
        end = Some(buffer.len());
    }
    Run::Done(end)
}

/// Whether there was a match before the last byte, and nothing that follows could make it longer. (Automata report a
/// match one byte late.)
pub(super) fn is_final(automaton: &dense::DFA<Vec<u32>>, state: StateID) -> bool {
    automaton.is_match_state(state)
        && (0..=u8::MAX).all(|byte| automaton.is_dead_state(automaton.next_state(state, byte)))
        && !automaton.is_match_state(automaton.next_eoi_state(state))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redact::Rules;

    /// One for each literal; a sixth of them have another one in what follows it.
    #[test]
    fn most_shapes_behind_a_literal_are_counted() {
        let rules = Rules::builtin().rules;
        let literals: Vec<_> = rules
            .iter()
            .filter(|rule| rule.lead.is_none())
            .flat_map(|rule| rule.literals.iter().map(move |literal| (rule, literal)))
            .collect();
        let counted =
            literals.iter().filter(|(rule, literal)| rule.secret.shape_behind(literal).is_some()).count();
        assert!(counted * 10 > literals.len() * 9, "{counted} of {}", literals.len());
    }

    #[test]
    fn most_shapes_are_counted() {
        let rules = Rules::builtin().rules;
        let counted = rules.iter().filter(|rule| rule.secret.shape().is_some()).count();
        assert!(counted * 2 > rules.len(), "{counted} of {}", rules.len());
    }

    #[test]
    fn leads_of_values_between_quotes_need_one() {
        let rules = Rules::builtin().rules;
        let needing: Vec<&str> = rules
            .iter()
            .filter(|rule| rule.lead.as_ref().is_some_and(|lead| lead.needs_quote()))
            .map(|rule| rule.id.as_str())
            .collect();
        for id in ["password-quoted", "assignment-quoted", "docker-auth", "password-in-call"] {
            assert!(needing.contains(&id), "{id} is not one of {needing:?}");
        }
        for id in
            ["assignment-tight", "assignment-loose", "environment-token", "netrc", "authorization-parameter"]
        {
            assert!(!needing.contains(&id), "{id}");
        }
        assert!(is_unquoted(b": abc\n\"") && !is_unquoted(b": \"abc\n") && !is_unquoted(b": abc"));
    }

    proptest! {
        #[test]
        fn counting_behind_a_literal_finds_what_the_automaton_finds(
            which in any::<prop::sample::Index>(),
            literal in any::<prop::sample::Index>(),
            rest in "[A-Za-z0-9]{0,70}[._=/+@ -]?[A-Za-z0-9_-]{0,60}[._=/+@ -]?[a-f0-9]{0,64}|[a-f0-9]{0,70}|[ -~]{0,9}",
            ended in any::<bool>(),
        ) {
            let rules = Rules::builtin().rules;
            let rules: Vec<_> = rules.iter().filter(|rule| rule.lead.is_none()).collect();
            let rule = which.get(&rules);
            let literal = literal.get(&rule.literals);
            let (Some(shape), Some(automaton)) = (rule.secret.shape_behind(literal), rule.secret.automaton()) else {
                return Ok(());
            };
            let text = [literal, rest.as_bytes()].concat();
            let counted = count(&shape, &text, literal.len(), WINDOW - literal.len(), ended);
            match (counted, run(automaton, None, &text, 0, WINDOW, ended)) {
                (Some(Run::Done(Some(end))), Run::Starved(_)) if end == text.len() => {
                    let ran = run(automaton, None, &text, 0, WINDOW, true);
                    prop_assert!(matches!(ran, Run::Done(Some(same)) if same == end), "{} {rest}", rule.id);
                }
                (Some(Run::Done(end)), Run::Done(same)) => prop_assert_eq!(end, same, "{} {}", rule.id, rest),
                (Some(Run::Starved(_)), Run::Starved(_)) => {}
                _ => prop_assert!(false, "{} {rest}", rule.id),
            }
            if let Some(first) = rest.bytes().next().filter(|first| !shape.may_begin_with(*first)) {
                let ran = run(automaton, None, &text, 0, WINDOW, ended);
                prop_assert!(matches!(ran, Run::Done(None)), "{} {rest} {first}", rule.id);
            }
        }

        #[test]
        fn counting_finds_what_the_automaton_finds(
            which in any::<prop::sample::Index>(),
            // Most of it is what keys are made of.
            parts in prop::collection::vec(("[A-Za-z0-9]{0,40}|[._=/+@ -]|[ -~]{0,3}", 0..9_usize), 0..8),
            ended in any::<bool>(),
        ) {
            let rules = Rules::builtin().rules;
            let counted: Vec<_> = rules.iter().filter(|rule| rule.secret.shape().is_some()).collect();
            let rule = which.get(&counted);
            let mut text = Vec::new();
            for (part, literal) in &parts {
                if let Some(literal) = rule.literals.get(*literal) {
                    text.extend(literal);
                }
                text.extend(part.as_bytes());
            }
            let (Some(shape), Some(automaton)) = (rule.secret.shape(), rule.secret.automaton()) else {
                return Ok(());
            };
            for at in 0..text.len() {
                let ran = run(automaton, None, &text, at, WINDOW, ended);
                match count(shape, &text, at, WINDOW, ended) {
                    // An automaton wants one byte more than counting does where as many came as there may be.
                    Some(Run::Done(Some(end))) if end == text.len() && matches!(ran, Run::Starved(_)) => {
                        let ran = run(automaton, None, &text, at, WINDOW, true);
                        prop_assert!(matches!(ran, Run::Done(Some(same)) if same == end), "{} at {at}", rule.id);
                    }
                    Some(Run::Done(end)) => prop_assert!(matches!(ran, Run::Done(same) if same == end), "{} at {at}", rule.id),
                    Some(Run::Starved(_)) => prop_assert!(matches!(ran, Run::Starved(_)), "{} at {at}", rule.id),
                    Some(Run::Full(..)) | None => prop_assert!(false, "no window is full"),
                }
            }
        }
    }
}
