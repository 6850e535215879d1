//! Which program a program word names.

use smallvec::SmallVec;

use super::knowledge::{Knowledge, Program};
use super::words;
use crate::shell::{Piece, Value};

/// Directories whose programs are known by their names.
const STANDARD: &[&str] = &[
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/lib32",
    "/usr/libexec",
    "/usr/games",
    "/snap/bin",
    "/opt/homebrew/bin",
    "/usr/lib/git-core",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/systemd",
    "/usr/lib/systemd",
    "/system/bin",
    "/busybox",
    "/run/current-system/sw/bin",
    "/usr/libexec/git-core",
];

/// How many programs a pattern in the place of the program may name.
const MAX_PATTERN: usize = 8;

/// What a program word leads to.
pub(super) struct Found<'k> {
    /// Known programs that it may be.
    pub(super) programs: SmallVec<[&'k Program; 1]>,
    /// It is a file outside the standard directories, whatever its name.
    pub(super) runs_file: bool,
}

/// Looks a program word up.
pub(super) fn find<'k>(word: &Value, knowledge: &'k Knowledge) -> Found<'k> {
    if let Some(name) = standard_name(word) {
        return Found { programs: knowledge.find(name).into_iter().collect(), runs_file: false };
    }
    if let Some(name) = looked_up(word) {
        return Found { programs: knowledge.find(name).into_iter().collect(), runs_file: false };
    }
    match (word.as_known(), words::basename(word)) {
        // `./rm` is not rm, but may be a copy of it
        (Some(_), Some(name)) => {
            let programs = name.as_str().and_then(|name| knowledge.find(name));
            Found { programs: programs.into_iter().collect(), runs_file: true }
        }
        _ if word.has_unknown() => {
            Found { programs: tail_name(word, knowledge).into_iter().collect(), runs_file: false }
        }
        _ => Found { programs: by_pattern(word, knowledge), runs_file: true },
    }
}

/// `$(which rm)`, `$(command -v rm)`, `$(type -P rm)`: the program that the search path has for a name. Where nothing
/// is found nothing runs.
fn looked_up(word: &Value) -> Option<&str> {
    let [Piece::Unknown(hole)] = word.pieces.as_slice() else { return None };
    let source = hole.source.as_str();
    let inner = source.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.or_else(|| source.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')))?;
    let mut words = inner.split_ascii_whitespace();
    let name = match (words.next()?, words.next()?) {
        ("command", "-v") | ("type", "-p" | "-P") | ("whence", "-p") | ("which", "-a" | "--") => {
            words.next()?
        }
        ("which", name) => name,
        _ => return None,
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '+');
    (words.next().is_none() && !name.starts_with('-') && name.chars().all(plain)).then_some(name)
}

/// The name of a program that is looked up in PATH or stands in a standard directory.
pub(super) fn standard_name(word: &Value) -> Option<&str> {
    let text = word.as_str()?;
    if !text.contains('/') {
        // zsh has the program itself for `=rm`
        return Some(text.strip_prefix('=').filter(|name| !name.is_empty()).unwrap_or(text));
    }
    let path = normal(text)?;
    let (directory, name) = path.rsplit_once('/')?;
    let versioned = directory.starts_with("/usr/lib/") || directory.starts_with("/usr/libexec/");
    if !versioned && !STANDARD.contains(&directory) {
        return None;
    }
    // the same name as it is written, or `/bin/rm/.`
    text.rsplit('/').find(|part| *part == name)
}

/// `./rm` where the directory is one whose programs are known by their names: the same path from the root.
pub(super) fn placed(word: &Value, cwd: &Value) -> Option<Value> {
    let text = word.as_str()?;
    if text.starts_with('/') || !text.contains('/') {
        return None;
    }
    let path = Value::known(format!("{}/{text}", cwd.as_str().filter(|cwd| cwd.starts_with('/'))?));
    standard_name(&path).is_some().then_some(path)
}

/// `/b?n/rebo[o]t`: a pattern that names what stands in a directory whose programs are known by their names.
pub(super) fn is_standard_pattern(word: &Value) -> bool {
    if word.as_known().is_some() || !word.prefix().starts_with(b"/") {
        return false;
    }
    let text = word.to_string();
    let Some((directory, _)) = text.rsplit_once('/') else { return false };
    directory.contains(['*', '?', '['])
        || normal(directory).is_some_and(|path| STANDARD.contains(&path.as_str()))
}

/// An absolute path without `.`, `..`, doubled slashes and the ways around through /proc.
fn normal(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
        // /proc/self/root, /proc/1/root, /proc/thread-self/root, /proc/self/task/1/root are the root directory
        if parts.first() == Some(&"proc") && parts.len() > 2 && parts.last() == Some(&"root") {
            parts.clear();
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// `$DIR/rm`: the directory is not known, the name is.
fn tail_name<'k>(word: &Value, knowledge: &'k Knowledge) -> Option<&'k Program> {
    let suffix = word.suffix();
    let slash = suffix.iter().rposition(|byte| *byte == b'/')?;
    let name = suffix.get(slash + 1..).and_then(|name| std::str::from_utf8(name).ok());
    name.and_then(|name| knowledge.find(name))
}

/// `/b?n/r[m]`: every known program that the pattern may name.
fn by_pattern<'k>(word: &Value, knowledge: &'k Knowledge) -> SmallVec<[&'k Program; 1]> {
    let mut pattern = Vec::new();
    for piece in &word.pieces {
        match piece {
            Piece::Known(bytes) | Piece::Glob(bytes) => pattern.extend_from_slice(bytes),
            Piece::Unknown(_) => pattern.push(b'*'),
        }
    }
    let start = pattern.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let mut name = Vec::new();
    let mut in_set = false;
    for byte in pattern.get(start..).unwrap_or_default() {
        match (in_set, byte) {
            (false, b'[') => in_set = true,
            // a set stands for any letter here: too wide is the safe side
            (true, b']') => {
                in_set = false;
                name.push(b'?');
            }
            (true, _) => {}
            (false, byte) => name.push(*byte),
        }
    }
    let mut names: Vec<&str> =
        knowledge.names().filter(|known| words::wildcard(&name, known.as_bytes())).collect();
    names.sort_unstable_by_key(|name| (name.len(), *name));
    names.into_iter().take(MAX_PATTERN).filter_map(|name| knowledge.find(name)).collect()
}
