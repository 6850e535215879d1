//! Which rules can speak of an act, so that a policy of many rules costs little more than a small one.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::condition::Kind;
use super::rule::Rule;
use crate::gate::Act;
use crate::gate::place::{Component, FirstNames};

/// Rules by what they ask for first: the program where they name one, else the kind of effect, and where all their paths are
/// known to begin with certain names, by these.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_program: HashMap<Vec<u8>, Vec<u32>, FixedState>,
    by_kind: [Vec<u32>; Kind::COUNT],
    by_path: [Paths; Kind::COUNT],
}

/// Rules by the names with which the paths begin that they speak of.
#[derive(Debug, Default)]
struct Paths {
    all: Vec<u32>,
    by_name: HashMap<Vec<u8>, Branch, FixedState>,
}

/// Rules whose paths begin with one name.
#[derive(Debug, Default)]
struct Branch {
    /// Those of which no second name is known.
    here: Vec<u32>,
    by_name: HashMap<Vec<u8>, Vec<u32>, FixedState>,
}

/// Lists of rules, each in the order of the file.
type Lists<'i> = SmallVec<[&'i [u32]; 6]>;

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
            let lists = index.by_kind.iter_mut().zip(&mut index.by_path).enumerate();
            for (kind, (list, paths)) in lists.filter(|(kind, _)| rule.may_speak_of(*kind)) {
                match rule.first_names(kind) {
                    Some(names) => paths.add(names, at),
                    None => list.push(at),
                }
            }
        }
        index
    }

    /// The places of the rules that may speak of the act, in the order of the file.
    pub(super) fn candidates(&self, act: &Act) -> impl Iterator<Item = usize> {
        let kind = Kind::of(&act.effect) as usize;
        let mut lists = Lists::new();
        lists.extend(self.by_kind.get(kind).map(Vec::as_slice));
        if !self.by_program.is_empty() {
            lists.extend(self.by_program.get(&*act.scene.program).map(Vec::as_slice));
        }
        if let Some(paths) = self.by_path.get(kind).filter(|paths| !paths.all.is_empty()) {
            paths.find(act, &mut lists);
        }
        std::iter::from_fn(move || {
            let next = lists.iter().filter_map(|list| list.first()).min().copied()?;
            for list in &mut lists {
                if let Some(rest) = list.strip_prefix(&[next]) {
                    *list = rest;
                }
            }
            usize::try_from(next).ok()
        })
    }
}

impl Paths {
    fn add(&mut self, names: Vec<FirstNames>, at: u32) {
        add(&mut self.all, at);
        for (first, second) in names {
            let branch = self.by_name.entry(first).or_default();
            match second {
                Some(second) => add(branch.by_name.entry(second).or_default(), at),
                None => add(&mut branch.here, at),
            }
        }
    }

    /// Adds the lists of the rules that may speak of the act's paths. A part of a path that is a pattern may be any name.
    fn find<'i>(&'i self, act: &Act, lists: &mut Lists<'i>) {
        let readings = act.place.iter().flat_map(|place| &place.readings);
        for path in readings.map(|reading| reading.path.components.as_slice()) {
            let found = match path {
                [Component::Name(first), rest @ ..] => match (self.by_name.get(&**first), rest.first()) {
                    (None, _) => continue,
                    (Some(branch), None) => Some((branch, None)),
                    (Some(branch), Some(Component::Name(second))) => {
                        Some((branch, branch.by_name.get(&**second)))
                    }
                    (Some(_), Some(_)) => None,
                },
                [] => continue,
                _ => None,
            };
            match found {
                Some((branch, second)) => {
                    lists.push(&branch.here);
                    lists.extend(second.map(Vec::as_slice));
                }
                None => lists.push(&self.all),
            }
        }
    }
}

fn add(list: &mut Vec<u32>, at: u32) {
    if list.last() != Some(&at) {
        list.push(at);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::gate::{Command, Decision, Facts};
    use crate::policy::Policy;

    /// Rules that are found by the beginnings of paths say the same as rules that are asked one by one.
    #[test]
    fn rules_are_found_by_how_their_paths_begin() {
        let mut text = String::from("default = \"allow\"\n");
        let paths = ["/srv/a/**", "/srv/b/**", "/srv/*/c", "/data/**", "/data", "~/keep/**"];
        for (number, path) in paths.iter().enumerate() {
            let _ = write!(
                text,
                "\n[[rule]]\nid = \"r.{number}\"\neffect = {{ delete = {{ path = \"{path}\" }} }}\ndecision = \"ask\"\n\
                 reason = \"r\"\nexamples = []\n"
            );
        }
        let policy = Policy::parse(&text, "x.toml").unwrap_or_else(|error| panic!("{error}"));
        let facts: Facts = serde_json::from_value(serde_json::json!({
            "cwd": "/home/user/project", "home": "/home/user", "user": "user", "uid": 1000,
            "workspaces": ["/home/user/project"], "dialect": "bash",
        }))
        .unwrap_or_else(|error| panic!("{error}"));
        for (command, asks) in [
            ("rm /srv/a/x", true),
            ("rm /srv/b/x/y", true),
            ("rm /srv/d/x", false),
            ("rm /srv/d/c", true),
            ("rm /srv/[b-d]/x", true),
            ("rm /s*/a/x", true),
            ("rm /srv/\"$1\"/x", true),
            ("rm /data", true),
            ("rm /data/x", true),
            ("rm /dat/x", false),
            ("rm ~/keep/x", true),
            ("rm ~/other/x", false),
            ("cd /srv/a && rm x", true),
        ] {
            let judgement = policy.judge(&Command::Shell(command.to_owned()), &facts);
            assert_eq!(judgement.decision == Decision::Ask, asks, "{command}: {:?}", judgement.findings);
        }
    }
}
