//! Sources of compiled languages (C, Rust, Go and their like): what they surely do, where a text writes and starts them.
//!
//! Nothing is guessed here: a project's own code that cannot be read to the end is no news.

use super::super::effect::{Effect, Language, Target};
use super::scan;
use crate::shell::Value;

/// What a source surely does.
pub fn source_effects(text: &[u8]) -> Vec<Effect> {
    let (plain, code) = seen(text);
    let mut found = scan::calls_in(Language::Other, &plain, &code).effects;
    found.extend(chained(&plain, &code));
    found.retain(|effect| match effect {
        Effect::Script { .. } | Effect::Exec { .. } => true,
        Effect::Delete { path, .. } | Effect::Write { path, .. } => path.as_known().is_some(),
        Effect::Kill { target, .. } => target.as_known().is_some(),
        _ => false,
    });
    let bare: Vec<u8> = code.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let forks = [
        b"while(1)fork()".as_slice(),
        b"for(;;)fork()",
        b"while(1){fork()",
        b"for(;;){fork()",
        b"while(true)fork()",
    ];
    if forks.iter().any(|loops| memchr::memmem::find(&bare, loops).is_some()) {
        found.push(Effect::Flood { what: "forks in a loop".to_owned() });
    }
    found
}

/// The commands of a build's description.
pub fn build_effects(text: &[u8]) -> Vec<Effect> {
    let mut found = Vec::new();
    super::lines::build(text, &mut found);
    found
}

/// `Command::new("rm").args(["-rf", "/"])`: the literals of the statement.
fn chained(plain: &[u8], code: &[u8]) -> Vec<Effect> {
    const MOST: usize = 64;
    let starts = memchr::memmem::find_iter(code, b"Command::new(").take(MOST);
    let command = |at: usize| {
        let rest = code.get(at..)?;
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let argv: Vec<Value> =
            scan::literals(plain.get(at..at + end)?).into_iter().map(Value::known).collect();
        (!argv.is_empty()).then(|| Effect::Exec {
            argv: argv.into(),
            via: "code".to_owned(),
            target: Target::Here,
            assignments: Vec::new(),
            cwd: None,
        })
    };
    starts.filter_map(command).collect()
}

/// The text without comments, and without comments and what stands in literals.
fn seen(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut plain, mut code) = (text.to_vec(), text.to_vec());
    let blank = |bytes: &mut Vec<u8>, from: usize, to: usize| {
        let end = to.min(bytes.len());
        for byte in bytes.get_mut(from.min(end)..end).unwrap_or_default() {
            *byte = if *byte == b'\n' { b'\n' } else { b' ' };
        }
    };
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let length = match byte {
            b'/' if rest.starts_with(b"//") => {
                rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
            }
            b'/' if rest.starts_with(b"/*") => {
                memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2)
            }
            b'"' => literal(rest, b'"', !matches!(before, Some(b'r' | b'#'))),
            b'`' => literal(rest, b'`', false),
            // a letter, and no lifetime
            b'\'' if rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'') => literal(rest, b'\'', true),
            _ => {
                at += 1;
                continue;
            }
        };
        if byte == b'/' {
            blank(&mut plain, at, at + length);
            blank(&mut code, at, at + length);
        } else {
            let edge = usize::from(byte != b'`');
            blank(&mut code, at + edge, (at + length).saturating_sub(edge));
        }
        at += length;
    }
    (plain, code)
}

/// How long a literal is, with its quotes.
fn literal(text: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if escapes => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}
