//! The examples in a policy: the world in which they are judged, and what is said where one fails.

use std::collections::BTreeMap;

use toml::Spanned;

use super::Policy;
use super::document::{Example, RuleDocument};
use super::load::Mistake;
use crate::gate::{Command, Facts, Judgement};
use crate::shell::Dialect;

/// Judges an example and compares.
pub(super) fn hold(
    policy: &Policy,
    upper: Option<&Policy>,
    rule: &RuleDocument,
    example: &Spanned<Example>,
) -> Result<(), Mistake> {
    let inner = example.get_ref();
    let Some((command, facts)) = inner.world() else {
        let message = "an example has either `command` or `argv`".to_owned();
        return Err(Mistake::new(example.span(), message, "`command` is shell text, `argv` a list of words"));
    };
    let empty = match &command {
        Command::Shell(text) => text.trim().is_empty(),
        Command::Argv(argv) => argv.is_empty(),
    };
    if empty {
        let message = "the command of an example is empty".to_owned();
        return Err(Mistake::new(example.span(), message, "an empty command is refused before it is judged"));
    }
    let mut judgement = policy.judge(&command, &facts);
    if let Some(upper) = upper {
        let upper = upper.judge(&command, &facts);
        let secrets = upper.secrets.iter().chain(&judgement.secrets).cloned().collect();
        let findings = judgement.findings.into_iter().chain(upper.findings).collect();
        judgement = Judgement { secrets, ..Judgement::from_findings(findings) };
    }
    if let Some(wanted) = &inner.secrets {
        let mut given: Vec<&str> = judgement.secrets.iter().map(|grant| grant.name.as_str()).collect();
        given.sort_unstable();
        if given != *wanted {
            let (id, shown) = (rule.id.get_ref(), crate::gate::render(&command.display()));
            let given = if given.is_empty() { "no secret".to_owned() } else { given.join(" and ") };
            return Err(Mistake::new(
                example.span(),
                format!("an example of the rule `{id}` fails: `{shown}` is given {given}"),
                "a secret is given to one plain command by itself, whose program and files no command can write",
            ));
        }
    }
    let other_profiles = inner.run_under.as_ref().filter(|wanted| **wanted != judgement.run_under);
    if judgement.decision == inner.expect && other_profiles.is_none() {
        return Ok(());
    }
    let shown = crate::gate::render(&command.display());
    let id = rule.id.get_ref();
    let message = if judgement.decision == inner.expect {
        let under = match judgement.run_under.as_slice() {
            [] => "no profile of a rule".to_owned(),
            names => names.join(" and "),
        };
        format!("an example of the rule `{id}` fails: `{shown}` runs under {under}")
    } else {
        let by: Vec<&str> = judgement.findings.iter().map(|finding| finding.rule.as_str()).take(4).collect();
        let by =
            if by.is_empty() { "no rule spoke of it".to_owned() } else { format!("by {}", by.join(", ")) };
        let (is, expected) = (judgement.decision.name(), inner.expect.name());
        format!("an example of the rule `{id}` fails: `{shown}` is {is}, not {expected} ({by})")
    };
    Err(Mistake::new(
        example.span(),
        message,
        "examples are judged in /home/user/project, a workspace of the user `user`",
    ))
}

impl Example {
    /// The command, and the world in which it is judged; `None` where it has no command or two.
    pub(super) fn world(&self) -> Option<(Command, Facts)> {
        let command = match (&self.command, &self.argv) {
            (Some(text), None) => Command::Shell(text.clone()),
            (None, Some(argv)) => Command::Argv(argv.clone()),
            _ => return None,
        };
        let mut facts = example_facts(self.cwd.as_deref(), &self.environment);
        if let Some(user) = &self.principal {
            facts.uid = if user == "root" {
                0
            } else if user == "user" {
                1000
            } else {
                1001
            };
            facts.user.clone_from(user);
        }
        if let Some(profile) = &self.session {
            facts.profile.clone_from(profile);
        }
        if let Some(backend) = &self.backend {
            facts.backend.clone_from(backend);
        }
        Some((command, facts))
    }
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
        profile: String::new(),
    }
}
