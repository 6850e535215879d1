//! The gate over corpora: commands with the verdict that they must get under the shipped policy.
//!
//! The committed corpora (`tests/corpus/gate.jsonl`, each of whose lines was a bug, and `adversarial.jsonl`, whose verdicts
//! were written down before they were judged) must hold line by line. A larger one, in a directory that the variable
//! `EXECWARD_CORPUS` names, is scored: its `dangerous.jsonl` and `benign.jsonl` hold lines of `command` and `expect`
//! (`hardline`; `dangerous`: at least ask; `allow`; `ask`: at most ask). The commands are judged and never run.

#![allow(clippy::disallowed_methods, reason = "the corpora are files; the gate itself reads none")]

mod escapes_p;
mod properties;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use execward::gate::{Command, Decision, Facts, Finding, Judgement};
use execward::policy::Policy;
use execward::shell::Dialect;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    command: String,
    expect: String,
    /// A rule that must be among the findings.
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    why: String,
    #[serde(default)]
    technique: String,
}

fn facts() -> Facts {
    let environment = [
        ("HOME", "/home/user"),
        ("USER", "user"),
        ("LOGNAME", "user"),
        ("SHELL", "/bin/bash"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("PWD", "/home/user/project"),
        ("LANG", "C.UTF-8"),
    ];
    Facts {
        cwd: "/home/user/project".to_owned(),
        home: "/home/user".to_owned(),
        user: "user".to_owned(),
        uid: 1000,
        workspaces: vec!["/home/user/project".to_owned()],
        homes: BTreeMap::from([("root".to_owned(), "/root".to_owned())]),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        dialect: Dialect::Bash,
        backend: "jail".to_owned(),
        profile: String::new(),
    }
}

fn judge(command: &str) -> Judgement {
    Policy::builtin().judge(&Command::Shell(command.to_owned()), &facts())
}

fn meets(expect: &str, decision: Decision) -> bool {
    match expect {
        "hardline" => decision == Decision::Hardline,
        "dangerous" => decision >= Decision::Ask,
        "deny" => decision == Decision::Deny,
        "allow" => decision == Decision::Allow,
        "asks" => decision == Decision::Ask,
        "ask" => decision <= Decision::Ask,
        other => panic!("`{other}` is not an expectation"),
    }
}

fn cases(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), index + 1))
        })
        .collect()
}

#[test]
fn the_committed_corpus_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases = cases(&directory.join("gate.jsonl"));
    cases.extend(self::cases(&directory.join("adversarial.jsonl")));
    assert!(cases.len() >= 1500, "the corpus shrank to {} cases", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let judgement = judge(&case.command);
        let has_rule = case
            .rule
            .as_ref()
            .is_none_or(|rule| judgement.findings.iter().any(|finding| &finding.rule == rule));
        if !meets(&case.expect, judgement.decision) || !has_rule {
            let rules: Vec<&str> = judgement.findings.iter().map(|finding| finding.rule.as_str()).collect();
            let _ = writeln!(
                wrong,
                "{:?} is {:?} {rules:?}, not {} {:?} {}",
                case.command, judgement.decision, case.expect, case.rule, case.why
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// A workspace that lies in a directory of temporary files is no output of a build, and neither is a file in it.
#[test]
fn what_a_build_makes_lies_below_a_workspace() {
    for workspace in ["/home/user/tmp/project", "/home/user/build/target/x.tmp", "/home/user/dist"] {
        let facts = Facts { cwd: workspace.to_owned(), workspaces: vec![workspace.to_owned()], ..facts() };
        let judge =
            |command: &str| Policy::builtin().judge(&Command::Shell(command.to_owned()), &facts).decision;
        assert_eq!(judge("rm -rf src"), Decision::Ask, "{workspace}");
        assert_eq!(judge("rm -rf ."), Decision::Ask, "{workspace}");
        assert_eq!(judge("rm -rf tmp target"), Decision::Allow, "{workspace}");
    }
}

#[test]
fn a_tilde_in_what_is_known_of_a_program_is_the_home() {
    let found = |command: &str| -> Vec<String> {
        judge(command).findings.into_iter().map(|finding| finding.effect).collect()
    };
    let secret = found("aws secretsmanager get-secret-value --secret-id x");
    assert!(secret.iter().any(|effect| effect.contains("/home/user/.aws/credentials")), "{secret:?}");
    // that of a command's own words, in quotes, is a name
    let named = found("rm -rf '~/src'");
    assert!(named.iter().any(|effect| effect.contains("/home/user/project/~/src")), "{named:?}");
}

#[test]
fn a_text_in_a_text_that_cannot_be_read_is_said_to_be_one() {
    let judgement = judge("eval 'if true'");
    assert_eq!(judgement.decision, Decision::Deny);
    let reasons: Vec<&str> = judgement.findings.iter().map(|finding| finding.reason.as_str()).collect();
    assert!(
        reasons.iter().any(|reason| reason.starts_with("the text that a shell is given: line 1")),
        "{reasons:?}"
    );
}

/// The other policies are stricter than the default or as strict: nothing dangerous runs under any of them without a
/// person, and nothing of the hardline list becomes anything else.
#[test]
fn no_shipped_policy_allows_what_is_dangerous() {
    let mut all = cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/gate.jsonl"));
    if let Some(directory) = std::env::var_os("EXECWARD_CORPUS") {
        all.extend(cases(&Path::new(&directory).join("dangerous.jsonl")));
    }
    let mut wrong = String::new();
    for (name, text) in Policy::SHIPPED {
        let policy = Policy::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
        for case in &all {
            let command = Command::Shell(case.command.clone());
            let decision = policy.judge(&command, &facts()).decision;
            let (default, lowest) = (judge(&case.command).decision, case.expect.as_str());
            let fine = match lowest {
                "hardline" => (decision == Decision::Hardline) == (default == Decision::Hardline),
                // A checkout of a pipeline may be thrown away.
                "dangerous" if name == "policies/ci.toml" => {
                    let lost = |finding: &Finding| finding.rule.starts_with("delete.");
                    decision >= Decision::Ask || judge(&case.command).findings.iter().all(lost)
                }
                "dangerous" => decision >= Decision::Ask,
                _ => true,
            };
            if !fine {
                let _ = writeln!(wrong, "{name}: {:?} is {}", case.command, decision.name());
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn a_given_corpus_is_scored() {
    let Some(directory) = std::env::var_os("EXECWARD_CORPUS") else {
        eprintln!("skipped: EXECWARD_CORPUS names no directory");
        return;
    };
    let mut all = cases(&Path::new(&directory).join("dangerous.jsonl"));
    all.extend(cases(&Path::new(&directory).join("benign.jsonl")));
    let mut table: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut misses = Vec::new();
    for case in &all {
        let judgement = judge(&case.command);
        *table.entry(&case.expect).or_default().entry(judgement.decision.name()).or_default() += 1;
        if !meets(&case.expect, judgement.decision) {
            let findings: Vec<String> = judgement
                .findings
                .iter()
                .take(3)
                .map(|finding| format!("{}: {}", finding.rule, finding.effect))
                .collect();
            misses.push((case, judgement.decision, findings));
        }
    }
    for (case, decision, findings) in &misses {
        eprintln!(
            "{:10} {:9} {:16} {:?} {findings:?}",
            case.expect,
            decision.name(),
            case.technique,
            case.command
        );
    }
    for (expect, counts) in &table {
        eprintln!("{expect:10} {counts:?}");
    }
    let missed = |expect: &str| misses.iter().filter(|(case, ..)| case.expect == expect).count();
    let rows = |expect: &str| all.iter().filter(|case| case.expect == expect).count();
    let share = |expect: &str| missed(expect) as f64 / rows(expect).max(1) as f64;
    assert!(share("hardline") <= 0.02, "{} hardline rows are missed", missed("hardline"));
    assert_eq!(missed("dangerous"), 0, "dangerous rows are allowed");
    assert_eq!(missed("ask"), 0, "rows that may ask are refused");
    assert!(share("allow") <= 0.01, "{} allow rows are not allowed", missed("allow"));
    let refused = misses
        .iter()
        .filter(|(case, decision, _)| case.expect == "allow" && *decision > Decision::Ask)
        .count();
    assert_eq!(refused, 0, "allow rows are refused");
}
