//! Launchers whose inner command starts where a plain grammar cannot see.

use super::super::effect::{Effect, Language, Target};
use super::super::engine::{self, Context};
use super::super::knowledge::Program;
use super::exec;
use crate::shell::{Dialect, Value};

/// `flock [options] FILE COMMAND...`, `flock [options] FILE -c TEXT`.
pub(super) fn flock(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    for word in &parsed.unread {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    }
    let mut texts: Vec<Value> =
        program.grammar.find("-c").into_iter().flat_map(|id| parsed.values(id).cloned()).collect();
    let command = parsed.operands.get(1..).unwrap_or_default();
    match command.split_first() {
        Some((first, rest)) if matches!(first.as_known(), Some(b"-c" | b"--command")) => {
            texts.extend(rest.first().cloned());
        }
        Some(_) => effects.push(exec(command.to_vec(), "flock")),
        None => {}
    }
    for text in texts {
        effects.push(Effect::Script {
            language: Language::Shell(Dialect::Posix),
            text,
            target: Target::Here,
            arguments: Vec::new(),
        });
    }
}

/// `capsh [options] -- ARGUMENTS FOR BASH`.
pub(super) fn capsh(arguments: &[Value], effects: &mut Vec<Effect>) {
    let starts =
        |word: &Value| matches!(word.as_known(), Some(b"--" | b"==")) || word.prefix().starts_with(b"-+");
    let Some(at) = arguments.iter().position(starts) else { return };
    let mut argv = vec![Value::known("bash")];
    argv.extend(arguments.iter().skip(at + 1).cloned());
    effects.push(exec(argv, "capsh"));
}

/// Options of bwrap(1) with two values; those of its table have one or none.
const BWRAP_PAIRS: &[&str] = &[
    "--bind",
    "--bind-try",
    "--dev-bind",
    "--dev-bind-try",
    "--ro-bind",
    "--ro-bind-try",
    "--bind-fd",
    "--ro-bind-fd",
    "--symlink",
    "--setenv",
    "--chmod",
    "--file",
    "--bind-data",
    "--ro-bind-data",
];

/// `bwrap [options] COMMAND...`: some options take two or three values.
pub(super) fn bwrap(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    let mut rest = arguments;
    while let Some((word, after)) = rest.split_first() {
        let skipped = match word.as_str() {
            Some("--") => {
                rest = after;
                break;
            }
            Some("--help" | "--version") => return,
            Some("--overlay") => 3,
            Some(pair) if BWRAP_PAIRS.contains(&pair) => 2,
            Some(option) if option.starts_with("--") => match program.grammar.find(option) {
                Some(_) if program.grammar.takes_value(option) => 1,
                Some(_) => 0,
                None => {
                    effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
                    engine::guess(context.argv, context.knowledge, effects);
                    0
                }
            },
            _ => break,
        };
        rest = after.get(skipped..).unwrap_or_default();
    }
    if !rest.is_empty() {
        effects.push(exec(rest.to_vec(), "bwrap"));
    }
}
