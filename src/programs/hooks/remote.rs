//! Command-line clients of remote services: what they do is said by a verb among their operands.

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::engine::Context;
use super::super::grammar::Parsed;
use super::super::knowledge::{Program, Verbs};
use super::super::words;
use crate::shell::{Dialect, Value};

/// Operands that are looked at for a verb; behind them stand names of resources.
const VERB_DEPTH: usize = 5;

/// Adds the remote effect of the first verb among the operands.
pub(in super::super) fn effects(
    program: &Program,
    verbs: &Verbs,
    parsed: &Parsed,
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    // a table for the subcommand says more than its name
    if let Some(first) = parsed.operands.first().and_then(Value::as_str)
        && program.subcommands.contains_key(first)
    {
        return;
    }
    if asks_for_help(context.argv, program.grammar.single_dash) {
        return;
    }
    let is_in = |word: &Value, list: &str| {
        word.as_known().is_some_and(|word| {
            list.split_whitespace().any(|pattern| words::wildcard(pattern.as_bytes(), word))
        })
    };
    let verb = |word: &&Value| {
        is_in(word, &verbs.reads)
            || word.as_known().is_none_or(|_| is_in(word, &verbs.destroys) || is_in(word, &verbs.changes))
    };
    for (at, word) in parsed.operands.iter().take(VERB_DEPTH).enumerate() {
        let is = |list: &str| is_in(word, list);
        // what is called so is looked at, or changed by the verb behind it
        if is(&verbs.nouns) && parsed.operands.iter().take(VERB_DEPTH).skip(at + 1).any(|word| verb(&word)) {
            continue;
        }
        if is(&verbs.reads) {
            return;
        }
        if matches!(word.as_known(), Some(b"cp" | b"sync" | b"copy" | b"download"))
            && download(parsed.operands.get(at + 1..).unwrap_or_default(), context, effects)
        {
            return;
        }
        let destructive = word.as_known().is_none() || is(&verbs.destroys);
        if destructive || is(&verbs.changes) {
            let path = parsed.operands.get(..=at).unwrap_or_default();
            // many clients share a table: the name is the one that was written
            let name = context
                .argv
                .first()
                .and_then(words::basename)
                .unwrap_or_else(|| Value::known(program.name.as_str()));
            let action = format!("{name} {}", words::join(path));
            let resource = words::join(parsed.operands.get(at + 1..).unwrap_or_default());
            effects.push(Effect::Remote { action, resource, destructive });
            return;
        }
    }
}

/// `gh pr merge --help`, `terraform destroy -help`. Behind an option it may be that one's value.
fn asks_for_help(argv: &[Value], single_dash: bool) -> bool {
    let options = argv.iter().take_while(|word| word.as_known() != Some(b"--"));
    let pairs = options.clone().zip(options.skip(1));
    let is_help = |(before, word): (&Value, &Value)| {
        (word.as_known() == Some(b"--help") || single_dash && word.as_known() == Some(b"-help"))
            && before.as_known().is_some_and(|before| !before.starts_with(b"-"))
    };
    pairs.into_iter().any(is_help)
}

/// `aws s3 cp s3://bucket/key .`: what comes from there changes files here alone.
fn download(operands: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) -> bool {
    let is_remote = |value: &Value| value.prefix().windows(3).any(|part| part == b"://");
    let Some((to, from)) = operands.split_last() else { return false };
    if to.as_known().is_none() || is_remote(to) || from.is_empty() || !from.iter().all(is_remote) {
        return false;
    }
    effects.extend(from.iter().map(|url| Effect::Fetch { url: url.clone() }));
    let mirrors =
        |word: &Value| matches!(word.as_known(), Some(b"--delete" | b"--delete-destination" | b"-d"));
    if context.argv.iter().any(mirrors) {
        effects.push(Effect::Delete { path: to.clone(), recursive: true, how: Operation::Remove });
    }
    effects.push(Effect::Write { path: to.clone(), how: Operation::Create });
    true
}

/// The shell text in `--parameters commands=...` of `aws ssm send-command`: shorthand or JSON, as the client reads it.
pub(in super::super) fn scripts(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let Some(option) = program.grammar.find("--parameters") else { return };
    let parsed = program.grammar.parse(arguments);
    for value in parsed.values(option) {
        let Some(text) = value.as_str() else {
            effects.push(remote_script(value.clone()));
            continue;
        };
        let list = text.strip_prefix("commands=").unwrap_or(text).trim();
        let texts: Vec<String> = match serde_json::from_str::<serde_json::Value>(list) {
            Ok(json) => {
                let commands = json.get("commands").unwrap_or(&json);
                let strings = commands.as_array().into_iter().flatten().chain([commands]);
                strings.filter_map(serde_json::Value::as_str).map(str::to_owned).collect()
            }
            Err(_) => vec![list.trim_start_matches('[').trim_end_matches(']').to_owned()],
        };
        effects.extend(
            texts.into_iter().take(super::MAX_COMMANDS).map(|text| remote_script(Value::known(text))),
        );
    }
}

fn remote_script(text: Value) -> Effect {
    let (language, target) = (Language::Shell(Dialect::Posix), Target::Host("instances".to_owned()));
    Effect::Script { language, text, target, arguments: Vec::new() }
}
