//! What is a shell's in texts of other languages: `!command` in a notebook, shells whose words differ from bash's.

use super::super::effect::Effect;
use super::scan::from_base64;
use super::shell;
use crate::shell::Value;

/// Adds the commands of lines that IPython hands to a shell.
pub(super) fn notebook(code: &[u8], effects: &mut Vec<Effect>) {
    let mut at = 0;
    for line in code.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let line = line.trim_ascii();
        if let Some(command) = notebook_command(line) {
            effects.push(shell(Value::known(command)));
        } else if [b"%%bash".as_slice(), b"%%sh", b"%%script"].iter().any(|magic| line.starts_with(magic)) {
            effects.push(shell(Value::known(code.get(at..).unwrap_or_default())));
        }
    }
}

/// `!command`, `!!command`, `%sx command`, `x = !command`
fn notebook_command(line: &[u8]) -> Option<&[u8]> {
    let command =
        [b"!".as_slice(), b"%sx ", b"%system "].into_iter().find_map(|magic| line.strip_prefix(magic))?;
    let command = command.strip_prefix(b"!").unwrap_or(command);
    (!command.starts_with(b"=")).then_some(command)
}

/// Whether a line of a text is one of those.
pub(super) fn is_notebook(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        notebook_command(line.as_bytes()).is_some() || line.starts_with("%%") || line.starts_with("%run")
    })
}

/// A text for a shell of another kind, in words that bash has too; `None` where it has no others.
pub(super) fn as_bash(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(decoded) = encoded(text) {
        return Some(decoded);
    }
    const STARTS: &[(&[u8], &[u8])] = &[
        (b"and ", b""),
        (b"or ", b""),
        (b"not ", b""),
        (b"^", b""),
        (b"e:", b""),
        (b"run-external ", b""),
        (b"![", b""),
        (b"$[", b""),
        (b"ri ", b"Remove-Item "),
        (b"Start-Process ", b""),
        (b"start-process ", b""),
    ];
    let mut whole = Vec::with_capacity(text.len());
    let mut changed = false;
    for statement in text.split_inclusive(|byte| matches!(byte, b';' | b'\n' | b'|')) {
        let bare = statement.trim_ascii_start();
        match STARTS.iter().find(|(start, _)| bare.starts_with(start)) {
            Some((start, with)) => {
                changed = true;
                whole.extend_from_slice(with);
                let rest = bare.get(start.len()..).unwrap_or_default();
                let rest =
                    String::from_utf8_lossy(rest).replace("-ArgumentList ", "").replace("\",\"", "\" \"");
                let rest = if start.ends_with(b"[") { rest.trim_end().trim_end_matches(']') } else { &rest };
                whole.extend_from_slice(rest.as_bytes());
            }
            None => whole.extend_from_slice(statement),
        }
    }
    changed.then_some(whole)
}

/// What `-EncodedCommand` is given: UTF-16 in base64.
fn encoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if text.len() < 8 || !text.iter().all(alphabet) {
        return None;
    }
    let bytes = from_base64(text);
    let wide = !bytes.is_empty() && bytes.chunks(2).all(|pair| matches!(pair, [_, 0]));
    wide.then(|| bytes.into_iter().step_by(2).collect())
}
