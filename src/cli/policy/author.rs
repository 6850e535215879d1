//! Trying, checking and explaining a policy.

use std::fmt::Write as _;

use super::super::arguments::{Place, Words};
use super::super::check;
use super::super::exit::Exit;
use super::super::run::listed;
use super::super::screen::{Screen, print, shown};
use super::{counted, failed, mistaken};
use crate::approval::marked;
use crate::policy::Explanation;
use crate::stage::{Digest, Malformed};
use crate::supervisor::{Local, Source};

/// A policy that was read: its examples hold. Says which rules they reach.
pub(super) fn test(policy: &Source, json: bool, screen: Screen) -> Exit {
    let coverage = policy.coverage();
    let uncovered: Vec<&str> =
        coverage.iter().filter(|(_, examples)| *examples == 0).map(|(rule, _)| rule.as_str()).collect();
    let digest = Digest::from(policy.digest()).to_hex();
    let text = if json {
        let reached: serde_json::Map<String, serde_json::Value> =
            coverage.iter().map(|(rule, examples)| (rule.clone(), (*examples).into())).collect();
        let value = serde_json::json!({
            "outcome": "ok",
            "policy": policy.name(),
            "digest": digest,
            "rules": policy.rule_ids().collect::<Vec<_>>(),
            "examples": policy.examples(),
            "coverage": reached,
            "uncovered": uncovered,
        });
        format!("{value}\n")
    } else {
        let mut text = format!(
            "{}: {}, and every example holds ({}, digest {digest})\n",
            policy.name(),
            counted(number(coverage.len()), "rule"),
            counted(number(policy.examples()), "example"),
        );
        let reached = coverage.len() - uncovered.len();
        let _ = writeln!(text, "rules that an example reaches: {reached} of {}", coverage.len());
        for rule in uncovered {
            let _ = writeln!(text, "  none reaches {rule}");
        }
        text
    };
    print(screen, &text, Exit::SUCCESS)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(super) fn lint(policy: &Source, json: bool, screen: Screen) -> Exit {
    let lints = policy.lint();
    let exit = if lints.is_empty() { Exit::SUCCESS } else { Exit::NO };
    if json {
        let outcome = if lints.is_empty() { "ok" } else { "found" };
        let value = serde_json::json!({"outcome": outcome, "policy": policy.name(), "lints": lints});
        return print(screen, &format!("{value}\n"), exit);
    }
    let mut text = String::new();
    for lint in &lints {
        let _ = writeln!(text, "{} [{}]: {}", lint.rule, lint.kind.name(), shown(&lint.message));
        if let Some(witness) = &lint.witness {
            let _ = writeln!(text, "  as in: {}", shown(witness));
        }
    }
    if lints.is_empty() {
        let _ = writeln!(text, "{}: nothing found", policy.name());
    }
    print(screen, &text, exit)
}

pub(super) fn explain(words: Words, at: Place, json: bool, screen: Screen) -> Exit {
    let local = match Local::look(at.state) {
        Ok(local) => local,
        Err(error) => return failed(&error.to_string(), error.hint(), json, Exit::USAGE, screen),
    };
    let command = match words.command() {
        Ok(command) => command,
        Err(error) => {
            let hint = "execward policy explain -c TEXT, or execward policy explain -- CMD...";
            return failed(&error, hint, json, Exit::USAGE, screen);
        }
    };
    if let Err(error) = Malformed::check(&command) {
        return failed(&error.to_string(), "", json, Exit::NO, screen);
    }
    let (policy, facts) = match check::world(&local, at.policy.as_deref(), at.workspace, at.cwd) {
        Ok(world) => world,
        Err(check::NoWorld::Policy(error)) => return mistaken(&error, json, screen),
        Err(check::NoWorld::Other(error)) => return failed(&error, "", json, Exit::USAGE, screen),
    };
    let explanation = policy.explain(&command, &facts);
    let exit = Exit::of_check(explanation.judgement.decision);
    if json {
        return match serde_json::to_string(&explanation) {
            Ok(line) => print(screen, &(line + "\n"), exit),
            Err(error) => failed(&error.to_string(), "", json, Exit::USAGE, screen),
        };
    }
    let Explanation { judgement, matched, nearest } = explanation;
    let mut text = format!("{}\n", judgement.decision.name());
    if !judgement.findings.is_empty() {
        text.push_str(&marked(&command, &judgement.findings));
        text.push_str(&listed(&judgement.findings, true));
    }
    for profile in &judgement.run_under {
        let _ = writeln!(text, "runs under the profile {profile}");
    }
    if matched.is_empty() {
        text.push_str("no rule of the policy speaks of it\n");
    } else {
        text.push_str("rules that speak of it:\n");
    }
    for found in matched {
        let _ = writeln!(
            text,
            "  {} ({}, {}): {}: {}",
            found.rule,
            found.layer,
            found.decision.name(),
            shown(&found.argv.join(" ")),
            shown(&found.effect),
        );
    }
    if let Some(nearest) = nearest {
        let _ = writeln!(text, "the nearest command that would be allowed, which does something else:");
        let _ = writeln!(text, "  {}", shown(&nearest));
    }
    print(screen, &text, exit)
}
