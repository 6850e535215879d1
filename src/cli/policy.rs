//! `execward policy`: what those need who write policies.

mod arguments;
mod author;
mod replay;

use std::path::Path;

pub(super) use self::arguments::Policy;
use super::exit::Exit;
use super::screen::{Screen, print};
use super::session::{At, Trouble, done};
use crate::stage::Digest;
use crate::supervisor::{Local, PolicyFileError, Source, load_policy, load_policy_alone};
use crate::wire::rpc::{self, Socket};

pub(super) fn policy(arguments: Policy, screen: Screen) -> Exit {
    match arguments {
        Policy::Test { file, json } => {
            with(file.as_deref(), json, screen, |policy| author::test(policy, json, screen))
        }
        Policy::Show { file, json: false } => {
            with(file.as_deref(), false, screen, |policy| print(screen, policy.text(), Exit::SUCCESS))
        }
        Policy::Show { file, json: true } => with(file.as_deref(), true, screen, |policy| {
            let value = serde_json::json!({
                "outcome": "ok",
                "policy": policy.name(),
                "digest": Digest::from(policy.digest()).to_hex(),
                "rules": policy.rule_ids().collect::<Vec<_>>(),
            });
            print(screen, &format!("{value}\n"), Exit::SUCCESS)
        }),
        Policy::Lint { file, json } => {
            with(file.as_deref(), json, screen, |policy| author::lint(policy, json, screen))
        }
        Policy::Explain { words, at, json } => author::explain(words, at, json, screen),
        Policy::Replay { log, policy, state, all, json } => {
            replay::replay(log.as_deref(), policy.as_deref(), state, all, json, screen)
        }
        Policy::Reload { at } => reload(&at, screen),
        Policy::Schema => print(screen, &schema(), Exit::SUCCESS),
    }
}

/// Has the daemon read it again; on a mistake the old one stays, and the mistake is shown.
fn reload(at: &At, screen: Screen) -> Exit {
    let reloaded = at
        .connect(Socket::Operator)
        .and_then(|mut client| client.ask::<rpc::Policy>("policy/reload", &rpc::Nothing {}));
    let text = |policy: &rpc::Policy| {
        let rules = counted(policy.rules, "rule");
        let mut text = format!("{}, {rules}, digest {}\n", policy.source, policy.digest);
        if !policy.restart.is_empty() {
            let sections = policy.restart.join(", ");
            text.push_str(&format!(
                "different in execward.toml, and read again by a restart alone: {sections}\n"
            ));
        }
        text
    };
    done(reloaded.map(|policy| at.say(&policy, text, screen)).map_err(Trouble::from), screen)
}

/// `1 rule`, `2 rules`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The schema as it is committed.
fn schema() -> String {
    serde_json::to_string_pretty(&crate::policy::schema()).map(|text| text + "\n").unwrap_or_default()
}

/// A file by itself, or else the policy in force.
fn with(file: Option<&Path>, json: bool, screen: Screen, then: impl FnOnce(&Source) -> Exit) -> Exit {
    let local = match Local::look(None) {
        Ok(local) => local,
        Err(error) => return failed(&error.to_string(), error.hint(), json, Exit::USAGE, screen),
    };
    let uid = local.principal.uid;
    let read = match file {
        Some(path) => load_policy_alone(path, uid),
        None => load_policy(None, &local.directories, uid),
    };
    match read {
        Ok(policy) => then(&policy),
        Err(error) => mistaken(&error, json, screen),
    }
}

/// A policy that cannot be used: the answer is no.
fn mistaken(error: &PolicyFileError, json: bool, screen: Screen) -> Exit {
    if !json {
        screen.plain(format_args!("{error}\n"));
        screen.hint(error.hint());
        return Exit::NO;
    }
    failed(&error.to_string(), "", json, Exit::NO, screen)
}

fn failed(error: &str, hint: &str, json: bool, exit: Exit, screen: Screen) -> Exit {
    if json {
        let value = serde_json::json!({"outcome": "failed", "error": error});
        return print(screen, &format!("{value}\n"), exit);
    }
    screen.error(error);
    screen.hint(hint);
    exit
}
