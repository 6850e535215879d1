//! Which rules can speak of an act, so that a policy of many rules costs little more than a small one.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::condition::Kind;
use super::rule::Rule;
use crate::gate::Act;

/// Rules by what they ask for first: the program where they name one, else the kind of effect.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_program: HashMap<Vec<u8>, Vec<u32>, FixedState>,
    by_kind: [Vec<u32>; Kind::COUNT],
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (at, rule) in (0u32..).zip(rules) {
            if let Some(programs) = rule.programs() {
                for program in programs {
                    add(index.by_program.entry(program.clone().into_bytes()).or_default(), at);
                }
                continue;
            }
            for (kind, list) in index.by_kind.iter_mut().enumerate() {
                if rule.may_speak_of(kind) {
                    list.push(at);
                }
            }
        }
        index
    }

    /// The places of the rules that may speak of the act, in the order of the file.
    pub(super) fn candidates(&self, act: &Act) -> impl Iterator<Item = usize> {
        let kind = Kind::of(&act.effect) as usize;
        let by_kind = self.by_kind.get(kind).map_or(&[] as &[u32], Vec::as_slice);
        let named = if self.by_program.is_empty() { None } else { self.by_program.get(&*act.scene.program) };
        let (mut left, mut right) = (by_kind, named.map_or(&[] as &[u32], Vec::as_slice));
        std::iter::from_fn(move || {
            let list = match (left.first(), right.first()) {
                (Some(one), Some(other)) if one < other => &mut left,
                (Some(_), None) => &mut left,
                _ => &mut right,
            };
            let (first, rest) = list.split_first()?;
            *list = rest;
            usize::try_from(*first).ok()
        })
    }
}

fn add(list: &mut Vec<u32>, at: u32) {
    if list.last() != Some(&at) {
        list.push(at);
    }
}
