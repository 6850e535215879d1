//! What a scan of the workspace's agent files means for the commands of a session.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::gate::{Decision, Finding};
use crate::policy::{OnHit, Scan};
use crate::prepare::context::Seen;
use crate::redact::Redactor;
use crate::shell::Span;
use crate::wire::rpc::Suspect;

/// Findings that people are asked about one by one.
const MOST: usize = 16;

/// What was found, until the session has dealt with it.
#[derive(Debug, Default)]
pub(super) struct Context {
    findings: Mutex<Vec<Finding>>,
    /// It stays, whoever agrees to whatever.
    stands: bool,
}

impl Context {
    /// What the policy makes of a scan.
    pub(super) fn new(policy: &Scan, suspects: &[Suspect], cut: bool) -> Self {
        let decision = match policy.on_hit {
            OnHit::Flag => Decision::Allow,
            OnHit::Ask => Decision::Ask,
            OnHit::Deny => Decision::Deny,
        };
        let mut findings: Vec<Finding> = Vec::new();
        let mut told = BTreeSet::new();
        let mut left_out = 0;
        for Suspect { path, finding, .. } in suspects {
            if !told.insert((path, &finding.rule)) || findings.len() >= MOST {
                left_out += 1;
                continue;
            }
            findings.push(Finding {
                rule: format!("scan.{}", finding.rule),
                decision,
                span: Span::default(),
                argv: Vec::new(),
                effect: format!("{path}:{}:{} says `{}`", finding.line, finding.column, finding.text),
                reason: format!("a file that agents obey {}", finding.reason),
                hint: HINT.to_owned(),
                run_under: String::new(),
            });
        }
        if left_out > 0 {
            findings
                .push(about(decision, format!("{left_out} more such places in the workspace's agent files")));
        }
        if cut {
            // A workspace without end is no attack, and what lies at its top was scanned.
            let rest = "the workspace is too large to find all of its agent files";
            findings.push(about(Decision::Allow, rest.to_owned()));
        }
        Self { findings: Mutex::new(findings), stands: policy.on_hit == OnHit::Deny }
    }

    /// What the next command of the session is told.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A command was cleared in spite of it: it has been said, or somebody has agreed. Whether there was something.
    pub(super) fn settle(&self) -> bool {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = !(self.stands || findings.is_empty());
        if settled {
            findings.clear();
        }
        settled
    }
}

const HINT: &str =
    "look at it with `execward scan`; a file that is in order goes under `accept` in the policy's [scan]";

fn about(decision: Decision, effect: String) -> Finding {
    Finding {
        rule: "scan.more".to_owned(),
        decision,
        span: Span::default(),
        argv: Vec::new(),
        effect,
        reason: "agents may obey what stands in such files".to_owned(),
        hint: HINT.to_owned(),
        run_under: String::new(),
    }
}

/// The findings that the policy asks about, without secrets in what they quote.
pub(super) fn suspects(policy: &Scan, seen: &Seen, redactor: &Redactor) -> Vec<Suspect> {
    let mut suspects = listed(seen, redactor);
    suspects
        .retain(|suspect| suspect.finding.severity >= policy.severity && !policy.accepts(&suspect.sha256));
    suspects
}

/// All findings, file by file.
pub(super) fn listed(seen: &Seen, redactor: &Redactor) -> Vec<Suspect> {
    let suspects = seen.files.iter().flat_map(|file| {
        file.findings.iter().map(|finding| {
            let mut finding = finding.clone();
            finding.text = redactor.text(&finding.text).0;
            Suspect {
                path: crate::gate::render(&file.path.to_string_lossy()),
                sha256: file.sha256.clone(),
                finding,
            }
        })
    });
    suspects.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{self, Severity};

    fn suspect(path: &str, rule: &str) -> Suspect {
        let finding = scan::Finding {
            rule: rule.to_owned(),
            severity: Severity::High,
            line: 3,
            column: 5,
            text: "ignore this".to_owned(),
            reason: "tells the reader something".to_owned(),
        };
        Suspect { path: path.to_owned(), sha256: "0".repeat(64), finding }
    }

    fn context(on_hit: OnHit, suspects: &[Suspect], cut: bool) -> Context {
        Context::new(&Scan { on_hit, ..Scan::default() }, suspects, cut)
    }

    fn decisions(context: &Context) -> Vec<Decision> {
        context.findings().iter().map(|finding| finding.decision).collect()
    }

    #[test]
    fn the_policy_says_what_becomes_of_a_hit() {
        let suspects = [suspect("AGENTS.md", "a"), suspect("AGENTS.md", "a"), suspect("CLAUDE.md", "a")];
        for (on_hit, decision) in
            [(OnHit::Flag, Decision::Allow), (OnHit::Ask, Decision::Ask), (OnHit::Deny, Decision::Deny)]
        {
            let context = context(on_hit, &suspects, false);
            assert_eq!(decisions(&context), [decision; 3], "two, and that there is a third");
            context.settle();
            assert_eq!(context.findings().is_empty(), on_hit != OnHit::Deny);
        }
    }

    #[test]
    fn a_look_that_was_cut_short_is_said_and_asks_nobody() {
        assert_eq!(decisions(&context(OnHit::Deny, &[], true)), [Decision::Allow]);
        assert_eq!(decisions(&context(OnHit::Ask, &[], false)), []);
    }

    #[test]
    fn a_flood_of_findings_is_counted() {
        let suspects: Vec<Suspect> = (0..100).map(|at| suspect("AGENTS.md", &format!("r{at}"))).collect();
        let findings = context(OnHit::Ask, &suspects, false).findings();
        assert_eq!(findings.len(), MOST + 1);
        assert!(findings[MOST].effect.starts_with("84 more"), "{:?}", findings[MOST]);
    }
}
