//! Clients that copy files from and to another host by commands of their own: `sftp`, `ftp`, `lftp`.

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::engine::{self, Context};
use super::super::knowledge::Program;
use super::super::words;
use super::MAX_COMMANDS;
use crate::shell::{Dialect, Input, Value};

/// Adds what their commands do: those of an option, and those that come by standard input. `false`: the table says the rest.
pub(super) fn transfer(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) -> bool {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return true;
    }
    let host = parsed.operands.first().cloned();
    let is_lftp = program.name == "lftp";
    let mut texts: Vec<Value> = Vec::new();
    if is_lftp {
        let options = ["-c", "-e"].iter().filter_map(|name| program.grammar.find(name));
        texts.extend(options.flat_map(|id| parsed.values(id).cloned()));
        effects.extend(
            program
                .grammar
                .find("-f")
                .into_iter()
                .flat_map(|id| parsed.values(id))
                .map(|path| Effect::RunFile { path: path.clone(), language: None }),
        );
    }
    if !matches!(context.invocation.stdin, Input::Inherited | Input::Pipe(_)) {
        texts.push(engine::stdin_text(&context.invocation.stdin));
    }
    let mut sent = Vec::new();
    for text in &texts {
        let Some(known) = text.as_known() else {
            effects.push(Effect::Unreadable { program: program.name.clone(), word: text.clone() });
            continue;
        };
        let lines = known.split(|byte| *byte == b'\n' || is_lftp && *byte == b';');
        for line in lines.take(MAX_COMMANDS) {
            command(line.trim_ascii(), &mut sent, effects);
        }
    }
    if is_lftp {
        effects.extend(host.iter().map(|url| Effect::Fetch { url: url.clone() }));
        effects.extend(host.iter().map(|url| Effect::Send { url: url.clone(), path: None }));
    }
    let url = host.unwrap_or_else(|| Value::known("a host"));
    let sent = sent.into_iter().map(|path| Effect::Send { url: url.clone(), path: Some(path) });
    if is_lftp {
        effects.extend(sent);
        return true;
    }
    engine::run_parsed(program, parsed, context, effects);
    effects.extend(sent);
    true
}

/// One line: `!text`, `put FILE`, `mirror -R FROM TO`.
fn command(line: &[u8], sent: &mut Vec<Value>, effects: &mut Vec<Effect>) {
    if let Some(text) = line.strip_prefix(b"!") {
        return effects.push(Effect::Script {
            language: Language::Shell(Dialect::Posix),
            text: Value::known(text.trim_ascii()),
            target: Target::Here,
            arguments: Vec::new(),
        });
    }
    let Some(split) = words::split(line) else { return };
    let Some((name, rest)) = split.split_first() else { return };
    let has = |names: &[&str]| rest.iter().filter_map(Value::as_str).any(|word| names.contains(&word));
    let operands: Vec<&Value> = rest.iter().filter(|word| !word.prefix().starts_with(b"-")).collect();
    match name.as_known() {
        Some(b"put" | b"mput" | b"reput" | b"send" | b"append") => sent.extend(operands.into_iter().cloned()),
        Some(b"mirror") if has(&["-R", "--reverse"]) => {
            sent.extend(operands.first().map(|path| (*path).clone()));
        }
        Some(b"mirror") => {
            let Some(to) = operands.get(1).or(operands.first()) else { return };
            if has(&["--delete", "-e", "--delete-first"]) {
                effects.push(Effect::Delete { path: (*to).clone(), recursive: true, how: Operation::Remove });
            }
            effects.push(Effect::Write { path: (*to).clone(), how: Operation::Create });
        }
        Some(b"get" | b"mget" | b"reget" | b"recv") => {
            let to = operands.get(1).or(operands.first());
            effects.extend(to.map(|path| Effect::Write { path: (*path).clone(), how: Operation::Create }));
        }
        Some(b"rm" | b"mrm" | b"rmdir" | b"delete" | b"mdelete" | b"mdel" | b"rename" | b"mv" | b"del") => {
            effects.extend(operands.into_iter().map(|path| Effect::Remote {
                action: "delete on another host".to_owned(),
                resource: path.clone(),
                destructive: true,
            }));
        }
        Some(b"shell" | b"local" | b"lrm") => {
            let text = words::join(rest);
            effects.push(Effect::Script {
                language: Language::Shell(Dialect::Posix),
                text,
                target: Target::Here,
                arguments: Vec::new(),
            });
        }
        _ => {}
    }
}
