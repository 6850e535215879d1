//! Finds calls by their names and reads their literal arguments.

mod literals;
mod names;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(in crate::programs) use literals::literals;

use literals::{from_base64, from_hex, perl_quote, quoted, unescaped};
use names::{CALLS, Call, is_called, means_the_call};

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::elsewhere::{below, happen_in};
use super::shell;
use crate::shell::Value;

/// How many bytes of arguments are read in all, so that nested calls cannot make the work quadratic.
const ARGUMENT_BUDGET: usize = 1 << 18;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) effects: Vec<Effect>,
    /// A command is started whose words are not literal.
    pub(super) computed: bool,
    /// Literals that the code decodes (hex, base64).
    pub(super) decoded: Vec<Vec<u8>>,
    /// The budget ran out.
    pub(super) exhausted: bool,
    /// The directory that the code entered last, and the first of the effects that happen there.
    pub(super) entered: Option<(Value, usize)>,
}

impl Found {
    /// What follows happens in this directory.
    fn enter(&mut self, directory: Value) {
        let directory = match &self.entered {
            Some((outer, _)) => below(outer, &directory),
            None => directory,
        };
        self.settle();
        self.entered = Some((directory, self.effects.len()));
    }

    /// Puts what was found since a directory was entered into that directory.
    fn settle(&mut self) {
        if let Some((directory, since)) = &mut self.entered {
            happen_in(directory, self.effects.get_mut(*since..).unwrap_or_default());
            *since = self.effects.len();
        }
    }
}

/// Finds every call in a text, in one pass over its words.
pub(super) fn calls(language: Language, text: &[u8]) -> Found {
    let mut found = Found::default();
    let mut budget = ARGUMENT_BUDGET;
    let mut at = 0;
    // `from os import system as s`, `s = os.system`
    let mut renamed: Vec<(&[u8], Call, &[u8])> = Vec::new();
    while let Some(byte) = text.get(at) {
        if *byte == b'`' && commands_in_backquotes(language) {
            // m4 closes a backquote with a quote
            let closes = |byte: &u8| *byte == b'`' || (*byte == b'\'' && language == Language::Other);
            let end = text.iter().skip(at + 1).position(closes).map_or(text.len(), |end| at + 1 + end);
            let command = text.get(at + 1..end).unwrap_or_default();
            found.effects.push(shell(Value::known(unescaped(command))));
            at = end + 1;
            continue;
        }
        if text.get(at..at + 2) == Some(b"%x")
            && language == Language::Ruby
            && let Some((command, end)) = perl_quote(text, at)
        {
            found.effects.push(shell(Value::known(command)));
            at = end;
            continue;
        }
        if !is_word(*byte) {
            at += 1;
            continue;
        }
        let start = at;
        while text.get(at).is_some_and(|byte| is_word(*byte)) {
            at += 1;
        }
        let word = text.get(start..at).unwrap_or_default();
        if word == b"qx"
            && language == Language::Perl
            && let Some((command, end)) = perl_quote(text, start)
        {
            found.effects.push(shell(Value::known(command)));
            at = end;
            continue;
        }
        let before = text.get(..start).unwrap_or_default();
        let Some(call) = call_of(word) else {
            let renamed = renamed.iter().find(|(name, ..)| *name == word);
            if let Some((_, call, original)) = renamed
                && is_called(language, original, text, at)
            {
                let arguments = arguments(text, at, language, &mut budget);
                found.exhausted |= budget == 0;
                happens(language, *call, original, &arguments, before, text, &mut found);
            }
            continue;
        };
        if !means_the_call(language, call, word, before, text) {
            continue;
        }
        if let Some(name) = new_name(text, start, at)
            && renamed.len() < MOST_RENAMED
        {
            renamed.push((name, call, word));
            continue;
        }
        if !is_called(language, word, text, at) {
            continue;
        }
        let arguments = arguments(text, at, language, &mut budget);
        found.exhausted |= budget == 0;
        happens(language, call, word, &arguments, before, text, &mut found);
    }
    if language == Language::Awk {
        awk_pipes(text, &mut found);
    }
    found.settle();
    found
}

/// Calls that a text gives names of its own.
const MOST_RENAMED: usize = 16;

/// The call that a word names.
fn call_of(word: &[u8]) -> Option<Call> {
    static INDEX: LazyLock<HashMap<&'static [u8], Call>> =
        LazyLock::new(|| CALLS.iter().rev().map(|(name, call)| (name.as_bytes(), *call)).collect());
    INDEX.get(word).copied()
}

/// The name that a text gives to the call whose name stands at `start..end`: by `as NAME` behind it, or by `NAME =` before it
/// when it is not called there.
fn new_name(text: &[u8], start: usize, end: usize) -> Option<&[u8]> {
    let after = text.get(end..)?.trim_ascii_start();
    if let Some(name) = after.strip_prefix(b"as ") {
        let name = name.trim_ascii_start();
        let length = name.iter().take_while(|byte| is_word(**byte)).count();
        return name.get(..length).filter(|name| !name.is_empty());
    }
    if !matches!(after.first(), None | Some(b';' | b',')) && text.get(end) != Some(&b'\n') {
        return None;
    }
    let before = text.get(start.saturating_sub(128)..start)?;
    let dotted = |byte: &&u8| is_word(**byte) || matches!(byte, b'.' | b':' | b'(' | b')' | b'"' | b'\'');
    let before = before.get(..before.len() - before.iter().rev().take_while(dotted).count())?;
    let before = before.trim_ascii_end().strip_suffix(b"=")?.trim_ascii_end();
    let length = before.iter().rev().take_while(|byte| is_word(**byte)).count();
    before.get(before.len() - length..).filter(|name| !name.is_empty())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn commands_in_backquotes(language: Language) -> bool {
    matches!(language, Language::Perl | Language::Ruby | Language::Php | Language::Other)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// Literal arguments of a call.
#[derive(Default)]
struct Arguments {
    literals: Vec<Vec<u8>>,
    /// Something in it is not literal.
    computed: bool,
    /// The bytes between the call's name and its end.
    raw: Vec<u8>,
    /// A list stands in it.
    list: bool,
    /// The directory that it is told to run in: `cwd="/"`, `{cwd: '/'}`, `chdir: "/"`.
    directory: Option<Vec<u8>>,
}

/// Whether a literal is the value of an option that names the directory of what is started.
fn names_directory(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let key = before.strip_suffix(b"=>").or(before.strip_suffix(b":")).or(before.strip_suffix(b"="));
    let Some(key) = key.map(<[u8]>::trim_ascii_end) else { return false };
    let key = key.strip_suffix(b"'").or(key.strip_suffix(b"\"")).unwrap_or(key);
    let rest = key.strip_suffix(b"cwd").or(key.strip_suffix(b"chdir"));
    rest.is_some_and(|rest| !rest.last().is_some_and(|byte| is_word(*byte)))
}

/// Reads what follows a call's name: in parentheses, or up to the end of the statement.
fn arguments(text: &[u8], from: usize, language: Language, budget: &mut usize) -> Arguments {
    let mut arguments = Arguments::default();
    let mut at = from;
    let mut depth = 0_usize;
    let mut joins = false;
    let mut named = false;
    let python = language == Language::Python;
    while let Some(&byte) = text.get(at) {
        if *budget == 0 {
            break;
        }
        *budget -= 1;
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                arguments.list |= byte == b'[';
            }
            b')' | b']' | b'}' => {
                if depth <= 1 {
                    break;
                }
                depth -= 1;
            }
            b';' | b'\n' if depth == 0 => break,
            // a backslash in front of a quote: the whole call stands inside a string
            b'\\' => {}
            b'\'' | b'"' | b'`' => {
                let (literal, end) = quoted(text, at);
                let prefixed = python
                    && text.get(at.wrapping_sub(1)).is_some_and(|before| matches!(before, b'f' | b'F'));
                arguments.computed |= prefixed && literal.contains(&b'{');
                if names_directory(text.get(from..at).unwrap_or_default()) {
                    arguments.directory = Some(literal);
                    named = false;
                } else if named {
                    named = false;
                } else if joins && let Some(last) = arguments.literals.last_mut() {
                    last.extend_from_slice(&literal);
                } else {
                    arguments.literals.push(literal);
                }
                *budget = budget.saturating_sub(end.saturating_sub(at));
                at = end;
                joins = python || language == Language::Awk;
                continue;
            }
            b'+' | b'.' => joins = true,
            b'=' => named = text.get(at + 1) != Some(&b'=') && text.get(at + 1) != Some(&b'>'),
            b',' => {
                joins = false;
                named = false;
            }
            b' ' | b'\t' => {}
            _ => {
                // perl's q(...) and qq{...}
                if byte == b'q'
                    && language == Language::Perl
                    && !text.get(at.wrapping_sub(1)).is_some_and(|b| is_word(*b))
                    && let Some((literal, end)) = perl_quote(text, at)
                {
                    arguments.literals.push(literal);
                    at = end;
                    continue;
                }
                if is_word(byte) || byte == b'$' || byte == b'@' || byte == 0 {
                    let prefix = python && text.get(at + 1).is_some_and(|next| matches!(next, b'\'' | b'"'));
                    if !prefix {
                        arguments.computed = true;
                        joins = false;
                    }
                }
            }
        }
        at += 1;
    }
    arguments.raw = text.get(from..at.min(text.len())).unwrap_or_default().to_vec();
    arguments
}

fn happens(
    language: Language,
    call: Call,
    word: &[u8],
    arguments: &Arguments,
    before: &[u8],
    text: &[u8],
    found: &mut Found,
) {
    let literals = &arguments.literals;
    match call {
        Call::Start => {
            let before = found.effects.len();
            start(word, arguments, found);
            if let Some(directory) = &arguments.directory {
                let directory = Value::known(directory.as_slice());
                happen_in(&directory, found.effects.get_mut(before..).unwrap_or_default());
            }
        }
        Call::Enter => {
            if let ([directory], false) = (literals.as_slice(), arguments.computed) {
                found.enter(Value::known(directory.as_slice()));
            }
        }
        Call::Delete | Call::DeleteTree => {
            let recursive = call == Call::DeleteTree || contains(&arguments.raw, b"recursive");
            let how = if word.starts_with(b"truncate") { Operation::Truncate } else { Operation::Remove };
            if let Some(command) = in_home(arguments, recursive) {
                found.effects.push(shell(Value::known(command)));
                return;
            }
            for path in paths(literals, arguments, before) {
                found.effects.push(Effect::Delete { path, recursive, how });
            }
        }
        Call::Write => {
            let mode = literals.get(1).map(Vec::as_slice).unwrap_or_default();
            if matches!(word, b"open" | b"fopen") {
                if word == b"open"
                    && literals
                        .iter()
                        .any(|part| part.starts_with(b"|") || part.ends_with(b"|") || *part == b"-|")
                {
                    let command = literals.last().cloned().unwrap_or_default();
                    let command: Vec<u8> = command.into_iter().filter(|byte| *byte != b'|').collect();
                    found.effects.push(shell(Value::known(command)));
                    return;
                }
                let reads = mode.is_empty()
                    || mode.starts_with(b"r") && !mode.contains(&b'+')
                    || mode.starts_with(b"<");
                let one_word = literals.first().is_some_and(|name| name.starts_with(b">"));
                if reads && !one_word {
                    found.effects.extend(
                        literals.first().map(|path| Effect::Read { path: Value::known(path.as_slice()) }),
                    );
                    return;
                }
            }
            let target = match word {
                b"copyfile" | b"copy" | b"move" | b"rename" | b"renameSync" | b"symlink" => literals.get(1),
                _ => literals.iter().find(|part| !matches!(part.as_slice(), b">" | b">>" | b"+<")),
            };
            let path = match target {
                Some(path) => {
                    path.iter().copied().skip_while(|byte| *byte == b'>' || *byte == b' ').collect()
                }
                None => receiver(before).unwrap_or_default(),
            };
            if !path.is_empty() {
                found.effects.push(Effect::Write { path: Value::known(path), how: Operation::Overwrite });
            }
            if matches!(word, b"move" | b"rename" | b"renameSync")
                && let Some(path) = literals.first()
            {
                let path = Value::known(path.as_slice());
                found.effects.push(Effect::Delete { path, recursive: true, how: Operation::Move });
            }
        }
        Call::Read => {
            found
                .effects
                .extend(literals.first().map(|path| Effect::Read { path: Value::known(path.as_slice()) }));
        }
        Call::Kill => {
            found.effects.push(kill(language, &arguments.raw));
        }
        Call::Fork => {
            let loops = [b"while".as_slice(), b"for ", b"for(", b"loop", b"until", b"map", b"iter", b"goto"];
            if loops.iter().any(|word| contains(text, word)) {
                found.effects.push(Effect::Flood { what: "forks in a loop".to_owned() });
            }
        }
        Call::Hex => found.decoded.extend(literals.iter().filter_map(|literal| from_hex(literal))),
        Call::Base64 => found.decoded.extend(literals.iter().map(|literal| from_base64(literal))),
        Call::Http => {
            found
                .effects
                .extend(literals.first().map(|url| Effect::Fetch { url: Value::known(url.clone()) }));
        }
    }
}

/// `kill(pid, signal)`, and the other way round in Perl and Ruby.
fn kill(language: Language, raw: &[u8]) -> Effect {
    let raw: Vec<u8> = raw.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut numbers: Vec<&[u8]> = raw
        .split(|byte| matches!(byte, b',' | b'(' | b')' | b'=' | b'>'))
        .filter(|part| !part.is_empty())
        .collect();
    let signal_first = matches!(language, Language::Perl | Language::Ruby);
    let signal = match (signal_first, numbers.as_slice()) {
        (true, [_, ..]) => Some(numbers.remove(0)),
        (false, [_, signal, ..]) => Some(*signal),
        _ => None,
    };
    let signal = match signal {
        Some(signal) if signal.iter().all(u8::is_ascii_digit) => Value::known(signal),
        _ => Value::default(),
    };
    let pids = if signal_first { numbers.as_slice() } else { numbers.get(..1).unwrap_or_default() };
    let all = |number: &&&[u8]| matches!(**number, b"1" | b"-1");
    let target = match (pids.iter().find(all), numbers.contains(&b"-1".as_slice())) {
        (Some(pid), _) => Value::known(*pid),
        (None, true) => Value::known("-1"),
        (None, false) => super::words::unknown("a computed process"),
    };
    Effect::Kill { target, signal }
}

fn start(word: &[u8], arguments: &Arguments, found: &mut Found) {
    let mut argv = arguments.literals.clone();
    // execlp("rm", "rm", "-rf", "/"): the second is argv[0]
    if word.starts_with(b"exec") || word.starts_with(b"spawn") {
        let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
        if let [first, second, ..] = argv.as_slice()
            && name(first) == name(second)
        {
            argv.remove(1);
        }
    }
    // options of the call, not of the command
    argv.retain(|part| {
        !matches!(part.as_slice(), b"inherit" | b"pipe" | b"utf8" | b"utf-8" | b"buffer" | b"r" | b"w")
    });
    if word.starts_with(b"popen") && argv.len() > 1 && !arguments.list {
        argv.truncate(1);
    }
    match argv.as_slice() {
        [] => found.computed = true,
        [one] if !arguments.computed || !arguments.list => {
            found.computed |= arguments.computed;
            found.effects.push(shell(Value::known(one.clone())));
        }
        _ => {
            found.computed |= arguments.computed;
            found.effects.push(Effect::Exec {
                argv: argv.into_iter().map(Value::known).collect::<Vec<_>>().into(),
                via: "code".to_owned(),
                target: Target::Here,
                assignments: Vec::new(),
                cwd: None,
            });
        }
    }
}

/// The paths of a deletion: its literals, what `glob` makes of them, or `Path("x")` in front of the call.
fn paths(literals: &[Vec<u8>], arguments: &Arguments, before: &[u8]) -> Vec<Value> {
    use crate::shell::Piece;
    if literals.is_empty() {
        return match receiver(before) {
            Some(path) => vec![Value::known(path)],
            None => vec![super::words::unknown("a computed path")],
        };
    }
    let globs = contains(&arguments.raw, b"glob") || contains(&arguments.raw, b"<");
    let pattern = |path: &Vec<u8>| {
        let active = globs && path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        if active { Value::from(Piece::glob(path.as_slice())) } else { Value::known(path.as_slice()) }
    };
    literals.iter().map(pattern).collect()
}

/// Expressions by which languages name the home: `Path.home()`, `os.path.expanduser("~")`, `process.env.HOME`.
const HOMES: &[&[u8]] = &[b"expanduser", b"Path.home", b"homedir(", b"Dir.home", b"HOME", b"user_home"];

/// The deletion of something in the home, as a shell would be told it: only the shell is told where the home is.
fn in_home(arguments: &Arguments, recursive: bool) -> Option<Vec<u8>> {
    if !HOMES.iter().any(|home| contains(&arguments.raw, home)) {
        return None;
    }
    let mut command: Vec<u8> = if recursive { b"rm -rf".to_vec() } else { b"rm -f".to_vec() };
    command.extend_from_slice(b" \"$HOME\"");
    for part in arguments.literals.iter().filter(|part| *part != b"HOME" && *part != b"~") {
        let part = part.strip_prefix(b"~").unwrap_or(part);
        if part.contains(&b'\'') {
            return None;
        }
        command.extend_from_slice(b"/'");
        command.extend_from_slice(part);
        command.push(b'\'');
    }
    Some(command)
}

/// `Path("x").` in front of a method.
fn receiver(before: &[u8]) -> Option<Vec<u8>> {
    let before = before.strip_suffix(b".")?;
    let before = before.strip_suffix(b")")?;
    let quote = *before.last().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let inner = before.get(..before.len() - 1)?;
    let start = inner.iter().rposition(|byte| *byte == quote)?;
    inner.get(start + 1..).map(<[u8]>::to_vec)
}

/// awk: `"command" | getline`, `print | "command"`, `print > "file"`.
fn awk_pipes(text: &[u8], found: &mut Found) {
    let mut at = 0;
    let mut last: Option<Vec<u8>> = None;
    let mut operator: Option<u8> = None;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let (literal, end) = quoted(text, at);
                match operator {
                    Some(b'|') => {
                        // any literal may be what is printed to it
                        found.computed |= is_shell(&literal);
                        found.effects.push(shell(Value::known(literal.clone())));
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
            b'|' | b'>' => {
                let rest = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
                if byte == b'|' && rest.starts_with(b"getline") {
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

/// Whether a `>` belongs to a print statement rather than to a comparison.
fn printing(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let start =
        before.iter().rposition(|byte| matches!(byte, b'{' | b';' | b'\n' | b'}')).map_or(0, |at| at + 1);
    contains(before.get(start..).unwrap_or_default(), b"print")
}
