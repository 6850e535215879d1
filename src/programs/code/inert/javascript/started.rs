//! Commands that JavaScript starts by their literal text: each is judged by itself, as the scan finds it.

use crate::programs::code::scan;
use crate::programs::{Effect, Language};

/// How a module is named that starts commands.
const MODULES: &[&str] = &[
    "require('child_process')",
    "require(\"child_process\")",
    "require('node:child_process')",
    "require(\"node:child_process\")",
    "from 'child_process'",
    "from \"child_process\"",
    "from 'node:child_process'",
    "from \"node:child_process\"",
];

/// Options that change neither what is started nor what it is given.
const OPTIONS: &[&str] =
    &["encoding", "stdio", "timeout", "maxBuffer", "utf8", "inherit", "pipe", "ignore", "cwd"];

/// The text without the module and its calls, where all of them are given one literal.
pub(super) fn without(text: &str) -> String {
    if !MODULES.iter().any(|module| text.contains(module)) {
        return text.to_owned();
    }
    let literal = |at: usize| {
        let rest = text.get(at..)?.trim_start();
        let quote = rest.chars().next().filter(|letter| matches!(letter, '\'' | '"' | '`'))?;
        let (command, behind) = rest.get(1..)?.split_once(quote)?;
        let behind = behind.trim_start();
        let options = match behind.strip_prefix(',') {
            Some(options) => options.trim_start().strip_prefix('{')?.split_once('}')?.0,
            None => behind.starts_with(')').then_some("")?,
        };
        let plain =
            options.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        (!command.contains("${") && !command.contains('\\')).then(|| {
            plain
                .into_iter()
                .all(|word| OPTIONS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    let calls = text
        .match_indices("execSync")
        .filter(|(at, call)| text.get(at + call.len()..).is_some_and(|rest| rest.starts_with('(')));
    let judged = calls.clone().all(|(at, call)| literal(at + call.len() + 1) == Some(true));
    // `const { execSync } = require(...)`, `import { execSync } from`, and the calls: it has no other name
    let named = text.match_indices("execSync").all(|(at, call)| {
        let behind = text.get(at + call.len()..).unwrap_or_default().trim_start();
        behind.starts_with('(')
            || behind.starts_with('}')
                && text.get(..at).is_some_and(|before| before.trim_end().ends_with('{'))
    });
    let found = scan::calls(Language::JavaScript, text.as_bytes());
    let started = found.effects.iter().filter(|effect| matches!(effect, Effect::Script { .. })).count();
    let loops = ["while", "for (;;", "for(;;", "setInterval"].iter().any(|word| text.contains(word));
    if !judged || !named || found.computed || found.exhausted || started < calls.count() || loops {
        return text.to_owned();
    }
    let seen = MODULES.iter().fold(text.to_owned(), |seen, module| {
        seen.replace(module, if module.starts_with("from") { "from 'node:path'" } else { "require('path')" })
    });
    seen.replace("execSync", "safe")
}
