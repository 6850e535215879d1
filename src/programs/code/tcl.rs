//! Tcl and expect: what `exec`, `spawn`, `send` and `file delete` are given.

use super::super::effect::{Effect, Operation};
use super::super::words;
use super::shell;
use crate::shell::Value;

/// Adds what a script starts, types into what it started, and deletes. Commands are found wherever a word of theirs
/// stands, also inside braces and brackets, since those may be evaluated.
pub(super) fn effects(text: &[u8], effects: &mut Vec<Effect>) {
    let mut at = 0;
    let mut before = b'\n';
    while let Some(&byte) = text.get(at) {
        if byte.is_ascii_alphanumeric()
            && !(before.is_ascii_alphanumeric() || matches!(before, b'_' | b'-' | b'$' | b'.'))
        {
            let rest = text.get(at..).unwrap_or_default();
            let length =
                rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            let (word, after) = rest.split_at_checked(length).unwrap_or_default();
            if after.first().is_some_and(|next| matches!(next, b' ' | b'\t')) {
                command(word, after, effects);
            }
            at += length.max(1);
            before = b'a';
            continue;
        }
        before = byte;
        at += 1;
    }
}

fn command(word: &[u8], after: &[u8], effects: &mut Vec<Effect>) {
    match word {
        b"exec" | b"spawn" | b"system" | b"overlay" => {
            let text = plain(after);
            let command =
                without_options(&text, &["-noecho", "-ignorestderr", "-keepnewline", "-nottycopy", "--"]);
            if !command.is_empty() {
                effects.push(shell(Value::known(command)));
            }
        }
        // What is typed into a program that was spawned: most often a shell.
        b"send" | b"exp_send" => {
            let text = plain(after);
            let typed = without_options(&text, &["-h", "-s", "-null", "-raw", "--"]);
            // `\r` is the key that ends a line
            let typed = String::from_utf8_lossy(typed).replace("\\r", "\n").replace("\\n", "\n");
            let first = words::split(typed.as_bytes()).and_then(|words| words.into_iter().next());
            if let Some(typed) = first.as_ref().and_then(Value::as_known) {
                effects.push(shell(Value::known(typed.trim_ascii())));
            }
        }
        b"file" => {
            let text = plain(after);
            let Some(mut operands) = words::split(&text) else { return };
            if operands.first().and_then(Value::as_str) != Some("delete") {
                return;
            }
            let recursive = operands.iter().any(|word| word.as_str() == Some("-force"));
            operands.drain(..1);
            operands.retain(|word| !matches!(word.as_str(), Some("-force" | "--")));
            for path in operands {
                effects.push(Effect::Delete { path, recursive, how: Operation::Remove });
            }
        }
        _ => {}
    }
}

/// The rest of a command, with its braces as quotes: up to the end of the line or of the bracket around it.
fn plain(after: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let (mut depth, mut quoted) = (0_usize, false);
    let mut bytes = after.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                text.push(byte);
                text.extend(bytes.next());
            }
            b'"' if depth == 0 => {
                quoted = !quoted;
                text.push(byte);
            }
            b'{' if !quoted => {
                depth += 1;
                text.push(if depth == 1 { b'\'' } else { byte });
            }
            b'}' if !quoted => {
                if depth == 0 {
                    break;
                }
                text.push(if depth == 1 { b'\'' } else { byte });
                depth -= 1;
            }
            b';' | b'\n' | b']' if depth == 0 && !quoted => break,
            _ => text.push(byte),
        }
    }
    text.trim_ascii().to_vec()
}

/// The words behind the options of the command itself.
fn without_options<'t>(text: &'t [u8], options: &[&str]) -> &'t [u8] {
    let mut rest = text;
    while let Some(option) = options.iter().find(|option| {
        rest.strip_prefix(option.as_bytes())
            .is_some_and(|after| after.first().is_none_or(u8::is_ascii_whitespace))
    }) {
        rest = rest.get(option.len()..).unwrap_or_default().trim_ascii_start();
    }
    rest
}
