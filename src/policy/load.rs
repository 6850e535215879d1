//! Reads a policy file and holds it against its own examples.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::document::{Document, Example, RuleDocument};
use super::index::Index;
use super::rule::Rule;
use super::sections::Approval;
use super::{Limits, Policy, PolicyError, Profile, profile};
use crate::gate::{Command, Facts};
use crate::shell::Dialect;

/// The longest policy that is read: 4 MiB, some 20,000 rules.
const LONGEST: usize = 4 << 20;

pub(super) fn load(text: &str, name: &str) -> Result<Policy, PolicyError> {
    let (policy, document) = read(text, name)?;
    for rule in &document.rule {
        for example in &rule.get_ref().examples {
            hold(&policy, rule.get_ref(), example).map_err(|mistake| {
                PolicyError::at(name, text, mistake.span, &mistake.message, mistake.hint)
            })?;
        }
    }
    Ok(policy)
}

/// Reads a policy whose examples were held against it when this was built: they take longer than starting a command.
pub(super) fn load_tested(text: &str, name: &str) -> Result<Policy, PolicyError> {
    read(text, name).map(|(policy, _)| policy)
}

fn read(text: &str, name: &str) -> Result<(Policy, Document), PolicyError> {
    if text.len() > LONGEST {
        return Err(PolicyError::at(name, "", None, "the policy is longer than 4 MiB", ""));
    }
    let document: Document =
        toml::from_str(text).map_err(|error| PolicyError::from_toml(name, text, &error))?;
    check(&document)
        .map_err(|mistake| PolicyError::at(name, text, mistake.span, &mistake.message, mistake.hint))?;
    let (base, profiles) = profiles(&document)
        .map_err(|mistake| PolicyError::at(name, text, mistake.span, &mistake.message, mistake.hint))?;
    let rules: Vec<Rule> = document.rule.iter().map(|rule| Rule::new(rule.get_ref())).collect();
    let policy = Policy {
        index: Index::new(&rules),
        rules,
        roots: document.workspace.roots.clone(),
        later: document.workspace.later,
        approval: Approval { timeout: document.approval.timeout.unwrap_or(Approval::default().timeout) },
        profiles,
        base,
        default: document.default,
        name: name.to_owned(),
        digest: digest(text),
    };
    Ok((policy, document))
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
    for root in document.workspace.roots.iter().flatten() {
        if !root.starts_with('/') {
            let message = format!("the workspace root `{root}` is not an absolute path");
            return Err(Mistake { span: None, message, hint: "start it with `/`" });
        }
    }
    Ok(())
}

/// The profile of the sections at the top, and the others by name.
fn profiles(document: &Document) -> Result<(Profile, BTreeMap<String, Profile>), Mistake> {
    let plain = |message: String, hint| Mistake { span: None, message, hint };
    let base = Profile {
        name: profile::DEFAULT.to_owned(),
        network: document
            .network
            .network()
            .map_err(|message| plain(format!("[network]: {message}"), NETWORK_HINT))?,
        workspace: document.workspace.access,
        limits: document.limits.over(&Limits::default()),
        pass: document.environment.pass.clone(),
        masked: document.sandbox.masked.clone(),
        minimum: document.sandbox.minimum.unwrap_or_default(),
        selectable: true,
    };
    proper(&base).map_err(|(message, hint)| plain(message, hint))?;
    let mut profiles = BTreeMap::new();
    for (name, section) in &document.profile {
        let (at, name) = (name.span(), name.get_ref());
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(named) {
            let hint = "use lower-case letters, digits and `-`, as in `no-network`";
            return Err(Mistake::new(at, format!("`{name}` is not the name of a profile"), hint));
        }
        if name == profile::DEFAULT {
            let message = "the profile `default` is what the sections at the top say".to_owned();
            return Err(Mistake::new(at, message, "write [network], [limits], [environment] or [sandbox]"));
        }
        let stated = section.get_ref();
        let mut profile = stated.over(name, &base).map_err(|message| {
            Mistake::new(at.clone(), format!("profile `{name}`: {message}"), NETWORK_HINT)
        })?;
        proper(&profile).map_err(|(message, hint)| {
            Mistake::new(at.clone(), format!("profile `{name}`: {message}"), hint)
        })?;
        let beyond = profile.beyond(&base);
        profile.selectable = beyond.is_empty() || stated.selectable;
        profiles.insert(name.clone(), profile);
    }
    Ok((base, profiles))
}

const NETWORK_HINT: &str = "as in `network = { mode = \"proxy\", allow = [\"registry.npmjs.org:443\"] }`";

/// What the types cannot say of a profile.
fn proper(profile: &Profile) -> Result<(), (String, &'static str)> {
    for name in &profile.pass {
        let stem = name.strip_suffix('*').unwrap_or(name);
        if stem.is_empty() || !stem.chars().all(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err((
                format!("`{name}` is not the name of a variable"),
                "a name is letters, digits and `_`; a trailing `*` stands for any rest",
            ));
        }
    }
    for path in &profile.masked {
        let rest = path.strip_prefix("~/").unwrap_or(path);
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.is_empty() || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err((
                format!("`{path}` cannot be masked"),
                "name it by an absolute path, below the home (`~/x`) or below the workspace (`x/y`)",
            ));
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
