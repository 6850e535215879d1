//! Reads a policy file and holds it against its own examples.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::document::{Document, Example, RuleDocument};
use super::index::Index;
use super::rule::Rule;
use super::{Policy, PolicyError};
use crate::gate::{Command, Facts};
use crate::shell::Dialect;

/// The longest policy that is read: 4 MiB, some 20,000 rules.
const LONGEST: usize = 4 << 20;

pub(super) fn load(text: &str, name: &str) -> Result<Policy, PolicyError> {
    if text.len() > LONGEST {
        return Err(PolicyError::at(name, "", None, "the policy is longer than 4 MiB", ""));
    }
    let document: Document =
        toml::from_str(text).map_err(|error| PolicyError::from_toml(name, text, &error))?;
    check(&document)
        .map_err(|mistake| PolicyError::at(name, text, mistake.span, &mistake.message, mistake.hint))?;
    let rules: Vec<Rule> = document.rule.iter().map(|rule| Rule::new(rule.get_ref())).collect();
    let policy = Policy {
        index: Index::new(&rules),
        rules,
        environment: document.environment,
        workspace: document.workspace,
        network: document.network,
        limits: document.limits,
        approval: document.approval,
        default: document.default,
        name: name.to_owned(),
        digest: digest(text),
    };
    for rule in &document.rule {
        for example in &rule.get_ref().examples {
            hold(&policy, rule.get_ref(), example).map_err(|mistake| {
                PolicyError::at(name, text, mistake.span, &mistake.message, mistake.hint)
            })?;
        }
    }
    Ok(policy)
}

struct Mistake {
    span: Option<std::ops::Range<usize>>,
    message: String,
    hint: &'static str,
}

impl Mistake {
    fn new(span: std::ops::Range<usize>, message: String, hint: &'static str) -> Self {
        Self { span: Some(span), message, hint }
    }
}

/// What the types cannot say.
fn check(document: &Document) -> Result<(), Mistake> {
    let mut seen = BTreeMap::new();
    for rule in &document.rule {
        let inner = rule.get_ref();
        let id = inner.id.get_ref();
        let at = inner.id.span();
        let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if id.is_empty() || !id.chars().all(proper) {
            let hint = "use lower-case letters, digits, `-` and `.`, as in `delete.outside-workspace`";
            return Err(Mistake::new(at, format!("`{id}` is not a rule id"), hint));
        }
        if ["hardline", "opaque", "parse", "text"].iter().any(|own| id.split('.').next() == Some(own)) {
            let hint = "`hardline.`, `opaque.`, `parse.` and `text.` name what is compiled in";
            return Err(Mistake::new(at, format!("the rule id `{id}` is reserved"), hint));
        }
        if seen.insert(id.clone(), ()).is_some() {
            return Err(Mistake::new(
                at,
                format!("there are two rules with the id `{id}`"),
                "give one of them another id",
            ));
        }
        if inner.reason.get_ref().trim().is_empty() {
            let hint = "say in a few words what would go wrong: the person who is asked reads it";
            return Err(Mistake::new(inner.reason.span(), "the reason is empty".to_owned(), hint));
        }
        if inner.condition().is_empty() {
            let hint = "give `effect`, `program`, `arguments`, `target`, `via` or `fed`; for everything, set `default`";
            return Err(Mistake::new(rule.span(), format!("the rule `{id}` has no condition"), hint));
        }
        if let Some(except) = inner.except.iter().find(|except| except.get_ref().is_empty()) {
            let hint = "an empty exception would switch the rule off";
            return Err(Mistake::new(except.span(), "the exception has no condition".to_owned(), hint));
        }
    }
    for root in &document.workspace.roots {
        if !root.starts_with('/') {
            let message = format!("the workspace root `{root}` is not an absolute path");
            return Err(Mistake { span: None, message, hint: "start it with `/`" });
        }
    }
    for name in &document.environment.pass {
        let stem = name.strip_suffix('*').unwrap_or(name);
        let proper = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if stem.is_empty() || !stem.chars().all(proper) {
            let message = format!("`{name}` is not the name of a variable");
            return Err(Mistake {
                span: None,
                message,
                hint: "a name is letters, digits and `_`; a trailing `*` stands for any rest",
            });
        }
    }
    Ok(())
}

/// Judges an example and compares.
fn hold(policy: &Policy, rule: &RuleDocument, example: &Spanned<Example>) -> Result<(), Mistake> {
    let inner = example.get_ref();
    let command = match (&inner.command, &inner.argv) {
        (Some(text), None) => Command::Shell(text.clone()),
        (None, Some(argv)) => Command::Argv(argv.clone()),
        _ => {
            let message = "an example has either `command` or `argv`".to_owned();
            return Err(Mistake::new(
                example.span(),
                message,
                "`command` is shell text, `argv` a list of words",
            ));
        }
    };
    let judgement = policy.judge(&command, &example_facts(inner.cwd.as_deref(), &inner.environment));
    if judgement.decision == inner.expect {
        return Ok(());
    }
    let by: Vec<&str> = judgement.findings.iter().map(|finding| finding.rule.as_str()).take(4).collect();
    let by = if by.is_empty() { "no rule spoke of it".to_owned() } else { format!("by {}", by.join(", ")) };
    let message = format!(
        "an example of the rule `{}` fails: `{}` is {}, not {} ({by})",
        rule.id.get_ref(),
        crate::gate::render(&command.display()),
        judgement.decision.name(),
        inner.expect.name(),
    );
    Err(Mistake::new(
        example.span(),
        message,
        "examples are judged in /home/user/project, a workspace of the user `user`",
    ))
}

/// The world in which examples are judged.
pub(super) fn example_facts(cwd: Option<&str>, environment: &BTreeMap<String, String>) -> Facts {
    let mut variables: BTreeMap<String, String> = [
        ("HOME", "/home/user"),
        ("USER", "user"),
        ("LOGNAME", "user"),
        ("SHELL", "/bin/bash"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    variables.extend(environment.clone());
    Facts {
        cwd: cwd.unwrap_or("/home/user/project").to_owned(),
        home: "/home/user".to_owned(),
        user: "user".to_owned(),
        uid: 1000,
        workspaces: vec!["/home/user/project".to_owned()],
        homes: BTreeMap::from([("root".to_owned(), "/root".to_owned())]),
        environment: variables,
        dialect: Dialect::Bash,
        backend: "jail".to_owned(),
    }
}

fn digest(text: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"execward policy\0");
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.update([0]);
    hasher.update(text.as_bytes());
    hasher.finalize().into()
}
