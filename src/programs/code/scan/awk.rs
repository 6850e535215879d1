//! The pipes and redirections of awk, which starts and writes by them.

use super::super::shell;
use super::literals::quoted;
use super::{Found, contains};
use crate::programs::effect::{Effect, Operation};
use crate::shell::Value;

/// awk: `"command" | getline`, `print | "command"`, `print > "file"`.
pub(super) fn pipes(text: &[u8], found: &mut Found) {
    let mut at = 0;
    let mut last: Option<Vec<u8>> = None;
    let mut operator: Option<u8> = None;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let (literal, end) = quoted(text, at);
                match operator {
                    Some(b'|') => {
                        found.starts = true;
                        // any literal may be what is printed to it
                        found.computed |= is_shell(&literal);
                        found.effects.push(shell(Value::known(literal.clone())));
                    }
                    Some(b'<') if asking(text, at) => {
                        found.effects.push(Effect::Read { path: Value::known(literal.clone()) });
                    }
                    Some(b'>') if printing(text, at) => {
                        let path = Value::known(literal.clone());
                        found.effects.push(Effect::Write { path, how: Operation::Overwrite });
                    }
                    _ => {}
                }
                last = Some(literal);
                operator = None;
                at = end;
                continue;
            }
            b'|' if text.get(at + 1) == Some(&b'|') => at += 1,
            b'|' | b'>' | b'<' => {
                let rest = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
                found.starts |= byte == b'|';
                if byte == b'|'
                    && rest.strip_prefix(b"&").unwrap_or(rest).trim_ascii_start().starts_with(b"getline")
                {
                    match last.take() {
                        Some(command) => found.effects.push(shell(Value::known(command))),
                        None => found.computed = true,
                    }
                } else if byte == b'|' && !rest.starts_with(b"\"") && !rest.starts_with(b"&") {
                    found.computed = true;
                }
                operator = Some(byte);
            }
            b' ' | b'\t' | b'&' => {}
            _ => operator = None,
        }
        at += 1;
    }
    if contains(text, b"while") && contains(text, b"system") && contains(text, b"&") {
        found.effects.push(Effect::Flood { what: "starts commands in the background in a loop".to_owned() });
    }
}

/// Whether a command is a shell that reads what it runs.
fn is_shell(command: &[u8]) -> bool {
    let first = command.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    let name = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    matches!(
        name,
        b"sh" | b"bash" | b"dash" | b"zsh" | b"ksh" | b"ash" | b"busybox" | b"xargs" | b"sudo" | b"ssh"
    )
}

/// Whether a `<` belongs to a getline rather than to a comparison.
fn asking(text: &[u8], at: usize) -> bool {
    let near = text.get(at.saturating_sub(64)..at).unwrap_or_default();
    contains(near, b"getline") || !near.iter().any(|byte| matches!(byte, b'{' | b';' | b'\n' | b'}'))
}

/// Whether a `>` belongs to a print statement rather than to a comparison.
fn printing(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let start =
        before.iter().rposition(|byte| matches!(byte, b'{' | b';' | b'\n' | b'}')).map_or(0, |at| at + 1);
    contains(before.get(start..).unwrap_or_default(), b"print")
}
