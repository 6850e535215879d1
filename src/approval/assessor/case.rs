//! What an assessor is shown of a command: everything that the gate knows of it, as one line of JSON in plain ASCII.

use serde::Serialize;

use crate::gate::{self, Command, Decision, Finding};
use crate::policy::{Access, Network};
use crate::stage::Pending;

/// Longest case, in bytes: a model that is shown more overlooks more.
const LONGEST: usize = 24 << 10;

/// Most commands in one.
const MOST: usize = 64;

#[derive(Serialize)]
struct Case<'a> {
    /// Exactly what would run.
    requested: &'a Command,
    directory: &'a str,
    workspaces: &'a [String],
    workspace_is_writable: bool,
    network: String,
    /// Each command in it, as the shell would start it, with what it does.
    commands: Vec<Part>,
    /// Why a person would be asked.
    findings: Vec<Why<'a>>,
}

#[derive(Serialize)]
struct Part {
    argv: Vec<String>,
    /// Programs that start it, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    through: Vec<String>,
    effects: Vec<String>,
}

#[derive(Serialize)]
struct Why<'a> {
    rule: &'a str,
    argv: &'a [String],
    effect: &'a str,
    reason: &'a str,
}

/// Puts it together. `Err` says why it is for a person.
pub(super) fn of(pending: &Pending) -> Result<String, &'static str> {
    let request = pending.request();
    let survey = gate::survey(&request.command, &request.facts);
    let mut commands: Vec<Part> = Vec::new();
    for act in survey.acts() {
        let (argv, through) = (act.words(), act.scene.via.clone());
        let effect = gate::finding(act, "", Decision::Allow, "", "").effect;
        let known = commands.iter_mut().find(|part| part.argv == argv && part.through == through);
        if let Some(part) = known {
            if !part.effects.contains(&effect) {
                part.effects.push(effect);
            }
        } else if commands.len() < MOST {
            commands.push(Part { argv, through, effects: vec![effect] });
        } else {
            return Err("it has too many commands to be assessed by a model");
        }
    }
    let findings = &pending.judgement().findings;
    let case = Case {
        requested: &request.command,
        directory: &request.facts.cwd,
        workspaces: &request.facts.workspaces,
        workspace_is_writable: request.terms.profile.workspace != Access::Read,
        network: network(&request.terms.profile.network),
        commands,
        findings: findings.iter().map(shown).collect(),
    };
    let json = serde_json::to_string(&case).map_err(|_| "it cannot be written as JSON")?;
    let json = ascii(&json);
    if json.len() > LONGEST { Err("it is too long to be assessed by a model") } else { Ok(json) }
}

fn network(network: &Network) -> String {
    match network {
        Network::None => "none".to_owned(),
        Network::Host => "the host's, unfiltered".to_owned(),
        Network::Proxy(allow) => {
            let hosts: Vec<String> = allow.iter().map(ToString::to_string).collect();
            format!("only {}", hosts.join(", "))
        }
    }
}

fn shown(finding: &Finding) -> Why<'_> {
    let Finding { rule, argv, effect, reason, .. } = finding;
    Why { rule, argv, effect, reason }
}

/// The same JSON in plain ASCII: what is not, and what marks tags, as escapes. Such characters stand in strings alone, and there
/// mean the same.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '`' | '\u{7f}' => push(&mut out, c),
            ' '..='~' => out.push(c),
            c => push(&mut out, c),
        }
    }
    out
}

fn push(out: &mut String, c: char) {
    use std::fmt::Write as _;
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn escapes_are_the_same_json_and_show_everything(text in "\\PC{0,40}|[<>&`\"\\\\{}\\x00-\\x1f\\u{202e}\\u{e0041}\\u{200b}]{0,20}") {
            let json = serde_json::to_string(&text).expect("a string");
            let plain = ascii(&json);
            proptest::prop_assert!(plain.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !b"<>&`".contains(&byte)));
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&plain).expect("JSON"), text);
        }
    }
}
