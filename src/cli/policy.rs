//! `execward policy`.

use super::arguments::Policy as Arguments;
use super::exit::Exit;
use super::screen::{Screen, print};
use crate::stage::Digest;
use crate::supervisor::{Local, load_policy};

pub(super) fn policy(arguments: Arguments, screen: Screen) -> Exit {
    let (file, json, show) = match arguments {
        Arguments::Test { file, json } => (file, json, false),
        Arguments::Show { file, json } => (file, json, true),
    };
    let local = match Local::look(None) {
        Ok(local) => local,
        Err(error) => {
            screen.error(&error);
            screen.hint(error.hint());
            return Exit::USAGE;
        }
    };
    let policy = match load_policy(file.as_deref(), &local.directories, local.principal.uid) {
        Ok(policy) => policy,
        Err(error) => {
            if json {
                let value = serde_json::json!({"outcome": "failed", "error": error.to_string()});
                return print(screen, &format!("{value}\n"), Exit::NO);
            }
            screen.plain(format_args!("{error}\n"));
            screen.hint(error.hint());
            return Exit::NO;
        }
    };
    if show && !json {
        return print(screen, policy.text(), Exit::SUCCESS);
    }
    let rules: Vec<&str> = policy.rule_ids().collect();
    let digest = Digest::from(policy.digest()).to_hex();
    let text = if json {
        let value = serde_json::json!({
            "outcome": "ok",
            "policy": policy.name(),
            "digest": digest,
            "rules": rules,
        });
        format!("{value}\n")
    } else {
        format!("{}: {} rules, and every example holds (digest {digest})\n", policy.name(), rules.len())
    };
    print(screen, &text, Exit::SUCCESS)
}
