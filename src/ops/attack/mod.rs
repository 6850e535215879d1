//! `execward doctor --attack`: every escape that the sandbox promises to stop, tried on this host and this configuration.
//!
//! Each row of [`LIST`] is tried from inside a sandbox by a copy of this binary; what it was after, the canary, is looked at
//! from outside; and the same attempt is made in a throw-away world ([`control`]) in a jail that lacks the layers that the row
//! names, and those alone: so an attempt that could not have succeeded is not taken for one that was stopped, and a layer that
//! did not stop it is not praised for it.

pub mod control;
mod outside;

pub use outside::{Outside, Place};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::control::Tried;
use crate::sys::attack::{Control, Expect, LIST, Layer, Probe};

/// What a probe said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The layers that stop it: with all of them missing it succeeds, and with any one of them put back it does not.
    pub layers: Vec<Layer>,
    /// The answer, and why it is not more than it is.
    pub detail: String,
    /// What came of the control, and how that was confined.
    pub control: String,
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
    controls: &BTreeMap<String, Tried>,
    mut told: impl FnMut(&Row),
) -> Vec<Row> {
    let mut rows = Vec::new();
    for probe in LIST {
        outside.reset();
        let mut argv = vec![format!("./{}", crate::sys::attack::NAME), probe.id.to_owned()];
        argv.extend(outside.arguments());
        let said = backend.run(argv);
        let tried = controls.get(probe.id);
        let (verdict, detail) = judge(probe, said, outside.damage(), tried);
        let layers = tried.filter(|_| verdict == Verdict::Held).map(|tried| tried.alone.clone());
        let row = Row {
            id: probe.id,
            name: probe.name,
            backend: backend.name(),
            verdict,
            layers: layers.unwrap_or_default(),
            detail,
            control: tried.map(Tried::to_string).unwrap_or_default(),
        };
        told(&row);
        rows.push(row);
    }
    outside.reset();
    rows
}

/// What an attempt comes to with what the canary says: a probe may be wrong about what it did, and what it does inside is nothing
/// where nothing of it is seen outside.
fn seen(probe: &Probe, said: Said, damage: Option<String>) -> Said {
    match (damage, probe.expect, said) {
        (Some(damage), ..) => Said::Open(damage),
        (None, Expect::Contained, Said::Open(what)) => {
            Said::Held(format!("{what}, and nothing of it is seen outside"))
        }
        (None, Expect::Contained, Said::Held(why)) => {
            Said::Inconclusive(format!("should work inside, and does not: {why}"))
        }
        (None, _, said) => said,
    }
}

/// What an attempt shows, given what it said, what the canary says, and whether it succeeds where what stops it is missing.
pub fn judge(
    probe: &Probe,
    said: Said,
    damage: Option<String>,
    control: Option<&Tried>,
) -> (Verdict, String) {
    let damaged = damage.is_some();
    match (probe.expect, seen(probe, said, damage)) {
        (Expect::Works, Said::Open(_)) if !damaged => (Verdict::Held, "works, as programs need".to_owned()),
        (Expect::Works, Said::Held(why)) => {
            (Verdict::Inconclusive, format!("should work inside, and does not: {why}"))
        }
        (_, Said::Open(what)) => (Verdict::Open, what),
        (_, Said::Inconclusive(why)) => (Verdict::Inconclusive, why),
        (Expect::Contained, Said::Held(why)) => (Verdict::Held, why),
        (Expect::Held, Said::Held(why)) => match (control.map(|tried| &tried.said), probe.control) {
            (Some(Said::Open(_)), _) => (Verdict::Held, why),
            (_, Control::MayLack(reason)) => (Verdict::NotApplicable, format!("{reason}; inside: {why}")),
            (_, Control::Bare) => (
                Verdict::Inconclusive,
                format!("{why}; but it does not succeed in a throw-away world either"),
            ),
        },
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
        let verdict = |id, said: &Said, damage: Option<&str>, control: Option<&Said>| {
            let tried = |said: &Said| Tried {
                id: String::new(),
                without: Vec::new(),
                said: said.clone(),
                alone: Vec::new(),
            };
            judge(probe(id), said.clone(), damage.map(str::to_owned), control.map(tried).as_ref()).0
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
