//! Languages of lines: sed, make, editors and debuggers.

use super::super::effect::{Effect, Operation};
use super::shell;
use crate::shell::Value;

/// Adds the commands of a sed script: `e`, `w`, and the flags of `s`.
pub(super) fn sed(text: &[u8], effects: &mut Vec<Effect>) {
    let mut at = 0;
    while at < text.len() {
        at = sed_command(text, at, effects);
    }
}

/// Reads one command of a sed script and returns the place behind it.
fn sed_command(text: &[u8], from: usize, effects: &mut Vec<Effect>) -> usize {
    let line_end =
        |at: usize| text.iter().skip(at).position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end);
    let mut at = from;
    // addresses: numbers, `$`, `/regex/`, `\cregexc`, and what stands between them
    while let Some(&byte) = text.get(at) {
        match byte {
            b'/' => at = delimited(text, at + 1, b'/'),
            b'\\' => match text.get(at + 1) {
                Some(&delimiter) => at = delimited(text, at + 2, delimiter),
                None => return text.len(),
            },
            b'0'..=b'9'
            | b'$'
            | b','
            | b'~'
            | b'+'
            | b'!'
            | b' '
            | b'\t'
            | b'\n'
            | b';'
            | b'{'
            | b'}'
            | b'I'
            | b'M' => at += 1,
            _ => break,
        }
    }
    let Some(&command) = text.get(at) else { return text.len() };
    at += 1;
    match command {
        b's' | b'y' => {
            let Some(&delimiter) = text.get(at) else { return text.len() };
            let from_regex = at + 1;
            let middle = delimited(text, from_regex, delimiter);
            let end = delimited(text, middle, delimiter);
            let replacement = text.get(middle..end.saturating_sub(1)).unwrap_or_default();
            at = end;
            while let Some(&flag) = text.get(at) {
                match flag {
                    b'e' if command == b's' => {
                        let plain: Vec<u8> =
                            replacement.iter().copied().filter(|byte| *byte != b'\\').collect();
                        effects.push(shell(Value::known(plain)));
                        // what is left of the line stands around it
                        let regex = text.get(from_regex..middle.saturating_sub(1)).unwrap_or_default();
                        if !matches!(regex, b".*" | b"^.*$" | b"^.*" | b".*$") || replacement.contains(&b'&')
                        {
                            effects.push(shell(super::words::unknown("the line that sed reads")));
                        }
                    }
                    b'w' if command == b's' => {
                        let end = line_end(at);
                        write(text.get(at + 1..end).unwrap_or_default(), effects);
                        return end;
                    }
                    b'g' | b'p' | b'i' | b'I' | b'm' | b'M' | b'0'..=b'9' => {}
                    _ => break,
                }
                at += 1;
            }
            at
        }
        b'e' => {
            let end = line_end(at);
            let command = text.get(at..end).unwrap_or_default().trim_ascii();
            effects.push(shell(if command.is_empty() {
                super::words::unknown("the line that sed reads")
            } else {
                Value::known(command)
            }));
            end
        }
        b'w' | b'W' => {
            let end = line_end(at);
            write(text.get(at..end).unwrap_or_default(), effects);
            end
        }
        b'r' | b'R' => {
            let end = line_end(at);
            effects.push(Effect::Read {
                path: Value::known(text.get(at..end).unwrap_or_default().trim_ascii()),
            });
            end
        }
        b'a' | b'i' | b'c' | b':' | b'b' | b't' | b'T' | b'#' => {
            let mut end = line_end(at);
            // text goes on behind a backslash at the end of a line
            while end > 0 && text.get(end - 1) == Some(&b'\\') && end < text.len() {
                end = line_end(end + 1);
            }
            if matches!(command, b'b' | b't' | b'T') {
                let semicolon = text.iter().skip(at).position(|byte| *byte == b';' || *byte == b'}');
                return semicolon.map_or(end, |offset| (at + offset).min(end));
            }
            end
        }
        _ => at,
    }
}

/// The place behind the next delimiter that no backslash protects and that is in no bracket.
fn delimited(text: &[u8], from: usize, delimiter: u8) -> usize {
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if byte == delimiter => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

pub(super) fn write(path: &[u8], effects: &mut Vec<Effect>) {
    effects.push(Effect::Write { path: Value::known(path.trim_ascii()), how: Operation::Overwrite });
}

/// Adds the commands of a makefile: recipes, `$(shell ...)` and `!=`.
pub(super) fn make(text: &[u8], effects: &mut Vec<Effect>) {
    let mut at = 0;
    while let Some(offset) = find(text.get(at..).unwrap_or_default(), b"(shell ")
        .or(find(text.get(at..).unwrap_or_default(), b"{shell "))
    {
        let start = at + offset + 7;
        let mut depth = 1;
        let mut end = start;
        while let Some(byte) = text.get(end) {
            match byte {
                b'(' | b'{' => depth += 1,
                b')' | b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            end += 1;
        }
        effects.push(shell(Value::known(text.get(start..end.min(text.len())).unwrap_or_default())));
        at = start;
    }
    // just indents recipes by blanks
    let blanks = !text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"\t"));
    for line in text.split(|byte| *byte == b'\n') {
        // what runs the recipes
        let shell_of = line.trim_ascii_start().strip_prefix(b"SHELL").map(<[u8]>::trim_ascii_start);
        if let Some(program) = shell_of.and_then(|rest| {
            [b":=".as_slice(), b"?=", b"="].into_iter().find_map(|sign| rest.strip_prefix(sign))
        }) {
            effects.push(shell(Value::known(program.trim_ascii())));
        }
        let recipe = if let Some(recipe) =
            line.strip_prefix(b"\t").or_else(|| line.strip_prefix(b" ").filter(|_| blanks))
        {
            Some(recipe)
        } else if let Some(at) = find(line, b"!=") {
            line.get(at + 2..)
        } else if line.contains(&b':') && !line.starts_with(b"#") {
            line.iter().position(|byte| *byte == b';').and_then(|at| line.get(at + 1..))
        } else {
            None
        };
        if let Some(recipe) = recipe {
            let plain = recipe.trim_ascii();
            let start =
                plain.iter().position(|byte| !matches!(byte, b'@' | b'-' | b'+')).unwrap_or(plain.len());
            let text = plain.get(start..).unwrap_or_default();
            if !text.is_empty() {
                // `$$` is a dollar for the shell
                let text = String::from_utf8_lossy(text).replace("$$", "$");
                // make that starts make in the background multiplies
                let again = text.contains("$(MAKE)") || text.contains("${MAKE}");
                if again && text.replace("&&", "").contains('&') {
                    effects
                        .push(Effect::Flood { what: "make that starts itself in the background".to_owned() });
                }
                effects.push(shell(Value::known(text)));
            }
        }
    }
}

pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Adds the shell escapes of editors, pagers and debuggers: `!command`, `:r !command`, `shell command`.
pub(super) fn editor(text: &[u8], effects: &mut Vec<Effect>) {
    for line in text.split(|byte| matches!(byte, b'\n')) {
        let mut rest = line;
        // `+`, `:`, ranges and modifiers
        loop {
            rest = rest.trim_ascii_start();
            let skipped = rest.iter().position(|byte| {
                !matches!(byte, b'+' | b':' | b'%' | b'0'..=b'9' | b',' | b'$' | b'.' | b'\'' | b'<' | b'>')
            });
            rest = rest.get(skipped.unwrap_or(rest.len())..).unwrap_or_default();
            let modifier = [
                "silent!", "silent", "sil!", "sil", "execute", "exe", "exec", "read", "write", "r", "w",
                "norm", "bufdo", "argdo", "windo", "g//", "terminal", "term", "ter", "shell", "pipe",
                "exec!", "make", "grep", "|", "platform",
            ]
            .into_iter()
            .find(|word| {
                rest.strip_prefix(word.as_bytes()).is_some_and(|after| {
                    after
                        .first()
                        .is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\''))
                })
            });
            let Some(modifier) = modifier else { break };
            rest = rest.get(modifier.len()..).unwrap_or_default().trim_ascii_start();
            if matches!(modifier, "terminal" | "term" | "ter" | "shell" | "pipe") {
                effects.push(shell(Value::known(rest)));
                break;
            }
        }
        let rest = rest.strip_prefix(b"\"").or(rest.strip_prefix(b"'")).unwrap_or(rest);
        if let Some(command) = rest.strip_prefix(b"!")
            && !command.trim_ascii().is_empty()
        {
            effects.push(shell(Value::known(command.trim_ascii())));
        }
        if let Some(path) =
            rest.strip_prefix(b"w ").or(rest.strip_prefix(b"saveas ")).or(rest.strip_prefix(b"w! "))
            && !path.starts_with(b"!")
        {
            write(path, effects);
        }
    }
    // kak's `%sh{command}`
    for at in memchr::memmem::find_iter(text, b"%sh{") {
        let command = text.get(at + 4..).unwrap_or_default();
        let end = command.iter().position(|byte| *byte == b'}').unwrap_or(command.len());
        effects.push(shell(Value::known(command.get(..end).unwrap_or_default())));
    }
    // `| !command` behind another command
    for (at, _) in text.windows(2).enumerate().filter(|(_, pair)| *pair == b"|!" || *pair == b":!") {
        let command = text.get(at + 2..).unwrap_or_default();
        let end = command.iter().position(|byte| *byte == b'\n').unwrap_or(command.len());
        if at > 0 {
            effects.push(shell(Value::known(command.get(..end).unwrap_or_default())));
        }
    }
}

/// Command lines of build files: `command = ...` (ninja), `COMMAND ...` (CMake).
pub(super) fn build(text: &[u8], effects: &mut Vec<Effect>) {
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(command) = line.trim_ascii().strip_prefix(b"command") {
            let command = command.trim_ascii();
            if let Some(command) = command.strip_prefix(b"=") {
                effects.push(shell(Value::known(command.trim_ascii())));
            }
        }
    }
    // what TeX hands to a shell, and a macro of m4 whose argument is not quoted
    for start in [b"write18{".as_slice(), b"syscmd("] {
        let close = if start.ends_with(b"{") { b'}' } else { b')' };
        for at in memchr::memmem::find_iter(text, start) {
            let command = text.get(at + start.len()..).unwrap_or_default();
            let end = command.iter().position(|byte| *byte == close).unwrap_or(command.len());
            let command = command.get(..end).unwrap_or_default();
            if !command.starts_with(b"`") && !command.starts_with(b"\"") {
                effects.push(shell(Value::known(command)));
            }
        }
    }
    let mut rest = text;
    while let Some(at) = find(rest, b"COMMAND") {
        rest = rest.get(at + 7..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b')').unwrap_or(rest.len());
        effects.push(shell(Value::known(rest.get(..end).unwrap_or_default().trim_ascii())));
    }
}

/// Adds the commands in the macros of rpm: `%(rm x)`.
pub(super) fn macros(text: &[u8], effects: &mut Vec<Effect>) {
    const MOST: usize = 64;
    for at in memchr::memmem::find_iter(text, b"%(").take(MOST) {
        let command = text.get(at + 2..).unwrap_or_default();
        let end = command.iter().rposition(|byte| *byte == b')').unwrap_or(command.len());
        effects.push(shell(Value::known(command.get(..end).unwrap_or_default())));
    }
}
