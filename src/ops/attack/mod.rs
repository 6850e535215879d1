//! `execward doctor --attack`: every escape that the sandbox promises to stop, tried on this host and this configuration.
//!
//! Each row of [`LIST`] is tried from inside a sandbox by a copy of this binary; what it was after, the canary, is looked at
//! from outside; and the same attempt is made in a throw-away world ([`control`]) in which none of the layers stands, so that
//! an attempt that could not have succeeded is not taken for one that was stopped.

pub mod control;
mod outside;

pub use outside::{Outside, Place};

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::sys::attack::{Control, Expect, LIST, Probe};

/// What a probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It succeeded.
    Open(String),
    /// It was refused as promised.
    Held(String),
    /// Nothing is shown.
    Inconclusive(String),
}

impl Said {
    /// Reads what a probe printed. A filter may end the caller instead of answering it.
    pub fn of(stdout: &str, signal: Option<i32>) -> Self {
        let line = stdout.lines().last().unwrap_or_default();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "OPEN" => Self::Open(rest.to_owned()),
            "HELD" => Self::Held(rest.to_owned()),
            "INCONCLUSIVE" => Self::Inconclusive(rest.to_owned()),
            _ if signal == Some(libc::SIGSYS) => Self::Held("ended by SIGSYS".to_owned()),
            _ => Self::Inconclusive(format!("it said nothing that can be read: {stdout}")),
        }
    }
}

/// What is known of one promise now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The attempt failed, and could have succeeded.
    Held,
    /// The attempt succeeded, or harmed what is outside.
    Open,
    /// Nothing is shown.
    Inconclusive,
    /// This host has nothing of the kind.
    NotApplicable,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Open => "open",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not applicable",
        })
    }
}

/// One promise in one backend.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Stable name of the promise.
    pub id: &'static str,
    /// What was attempted.
    pub name: &'static str,
    /// Where.
    pub backend: &'static str,
    /// What is known.
    pub verdict: Verdict,
    /// The layer that answered, as far as the answer says.
    pub layer: Option<&'static str>,
    /// The answer, and why it is not more than it is.
    pub detail: String,
}

/// A backend that can run a probe.
pub trait Backend {
    /// What receipts call it.
    fn name(&self) -> &'static str;

    /// Runs this argv in a sandbox of its own, in the workspace of the [`Place`].
    fn run(&mut self, argv: Vec<String>) -> Said;
}

/// Attacks a backend with the whole list. `told` hears of each row as it is known.
pub fn attack(
    backend: &mut impl Backend,
    outside: &Outside,
    controls: &BTreeMap<String, Said>,
    mut told: impl FnMut(&Row),
) -> Vec<Row> {
    let mut rows = Vec::new();
    for probe in LIST {
        outside.reset();
        let mut argv = vec![format!("./{}", crate::sys::attack::NAME), probe.id.to_owned()];
        argv.extend(outside.arguments());
        let said = backend.run(argv);
        let (verdict, detail) = judge(probe, &said, outside.damage(), controls.get(probe.id));
        let layer = match (verdict, probe.expect, &said) {
            (Verdict::Held, Expect::Held, Said::Held(why)) => Some(probe.stopped_by(why)),
            _ => None,
        };
        let row = Row { id: probe.id, name: probe.name, backend: backend.name(), verdict, layer, detail };
        told(&row);
        rows.push(row);
    }
    outside.reset();
    rows
}

/// What an attempt shows, given what it said, what the canary says, and whether it succeeds where nothing stops it.
pub fn judge(
    probe: &Probe,
    said: &Said,
    damage: Option<String>,
    control: Option<&Said>,
) -> (Verdict, String) {
    // The canary first: a probe may be wrong about what it did.
    if let Some(damage) = damage {
        return (Verdict::Open, damage);
    }
    match (probe.expect, said) {
        (Expect::Held, Said::Open(what)) => (Verdict::Open, what.clone()),
        (Expect::Contained, Said::Open(what)) => {
            (Verdict::Held, format!("{what}, and nothing of it is seen outside"))
        }
        (Expect::Works, Said::Open(_)) => (Verdict::Held, "works, as programs need".to_owned()),
        (Expect::Contained | Expect::Works, Said::Held(why)) => {
            (Verdict::Inconclusive, format!("should work inside, and does not: {why}"))
        }
        (_, Said::Inconclusive(why)) => (Verdict::Inconclusive, why.clone()),
        (Expect::Held, Said::Held(why)) => match (control, probe.control) {
            (Some(Said::Open(_)), _) => (Verdict::Held, why.clone()),
            (other, Control::MayLack(reason)) => (
                Verdict::NotApplicable,
                format!("{reason}; inside: {why}; without a sandbox: {}", words(other)),
            ),
            (other, Control::Bare) => (
                Verdict::Inconclusive,
                format!("{why}; but it does not succeed in a throw-away world either: {}", words(other)),
            ),
        },
    }
}

fn words(said: Option<&Said>) -> &str {
    match said {
        Some(Said::Open(text) | Said::Held(text) | Said::Inconclusive(text)) => text,
        None => "it could not be tried",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_counts_as_stopped_only_where_it_could_have_succeeded() {
        let probe = |id: &str| LIST.iter().find(|probe| probe.id == id).unwrap();
        let held = Said::Held("no".into());
        let open = Said::Open("yes".into());
        let verdict = |id, said: &Said, damage: Option<&str>, control| {
            judge(probe(id), said, damage.map(str::to_owned), control).0
        };
        assert_eq!(verdict("F1", &held, None, Some(&open)), Verdict::Held);
        assert_eq!(verdict("F1", &held, None, Some(&held)), Verdict::Inconclusive);
        assert_eq!(verdict("F1", &held, None, None), Verdict::Inconclusive);
        assert_eq!(verdict("S3", &held, None, Some(&held)), Verdict::NotApplicable);
        assert_eq!(verdict("F1", &open, None, Some(&open)), Verdict::Open);
        // Whatever it said.
        assert_eq!(verdict("F1", &held, Some("changed"), Some(&open)), Verdict::Open);
        assert_eq!(verdict("I3b", &open, None, None), Verdict::Held);
        assert_eq!(verdict("I3b", &open, Some("seen"), None), Verdict::Open);
        assert_eq!(verdict("W14", &held, None, None), Verdict::Inconclusive);
    }

    #[test]
    fn what_a_probe_says_is_read_and_nothing_else() {
        assert_eq!(Said::of("OPEN it\n", None), Said::Open("it".into()));
        assert_eq!(Said::of("noise\nHELD why not\n", Some(libc::SIGSYS)), Said::Held("why not".into()));
        assert!(matches!(Said::of("", Some(libc::SIGSYS)), Said::Held(_)));
        assert!(matches!(Said::of("HELDx", None), Said::Inconclusive(_)));
    }
}
