//! Finds calls by their names and reads their literal arguments.

mod arguments;
mod awk;
mod bound;
mod executes;
mod lists;
mod literals;
mod names;
mod receiver;
mod writes;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(super) use executes::{evaluates, runs_literals};
pub(super) use literals::from_base64;
pub(in crate::programs) use literals::literals;
pub(super) use writes::{Write, writes};

use arguments::{Arguments, LISTED, arguments, value};
use bound::Bound;
use executes::only_shows;
use literals::{from_hex, perl_quote, quoted, unescaped};
use names::{CALLS, Call, is_called, means_the_call};
use receiver::{is_method, receiver, receiver_name};

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::elsewhere::{below, happen_in};
use super::lexed::{Lexed, lexed};
use super::shell;
use crate::shell::Value;

/// How many bytes of arguments are read in all, so that nested calls cannot make the work quadratic.
const ARGUMENT_BUDGET: usize = 1 << 18;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) effects: Vec<Effect>,
    /// Something is started.
    pub(super) starts: bool,
    /// A command is started whose words are not literal.
    pub(super) computed: bool,
    /// Literals that the code decodes (hex, base64).
    pub(super) decoded: Vec<Vec<u8>>,
    /// Something is written to a file that is not known.
    pub(super) writes_unknown: bool,
    /// Names that stand for files that are written.
    pub(super) named: Vec<Vec<u8>>,
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

/// Finds the calls of a text. What stands in a comment is none, and what stands in a literal is one only where the text may
/// run what its literals hold: where it names an evaluator, or starts something.
pub(super) fn calls(language: Language, text: &[u8]) -> Found {
    let Some(Lexed { plain, code }) = lexed(language, text) else { return calls_anywhere(language, text) };
    if evaluates(language, &plain, &code) {
        return calls_anywhere(language, text);
    }
    let mut found = calls_in(language, &plain, &code);
    if found.starts || found.computed || found.exhausted {
        return calls_in(language, &plain, &plain);
    }
    if only_shows(&code) {
        found.decoded.clear();
    }
    found
}

/// Finds every call, also within literals and comments.
pub(super) fn calls_anywhere(language: Language, text: &[u8]) -> Found {
    calls_in(language, text, text)
}

/// Finds the calls whose names stand in `code`, in one pass over its words; `text` is what they are given.
pub(super) fn calls_in(language: Language, text: &[u8], code: &[u8]) -> Found {
    let mut found = Found::default();
    let mut budget = ARGUMENT_BUDGET;
    let mut at = 0;
    let bound = Bound::new(language, text, &mut budget);
    // `from os import system as s`, `s = os.system`
    let mut renamed: Vec<(&[u8], Call, &[u8])> = Vec::new();
    while let Some(byte) = code.get(at) {
        // zx, Bun: $`command`
        let tagged = language == Language::JavaScript && at > 0 && code.get(at - 1) == Some(&b'$');
        if *byte == b'`' && (tagged || commands_in_backquotes(language)) {
            // m4 closes a backquote with a quote
            let closes = |byte: &u8| *byte == b'`' || (*byte == b'\'' && language == Language::Other);
            let end = text.iter().skip(at + 1).position(closes).map_or(text.len(), |end| at + 1 + end);
            let command = text.get(at + 1..end).unwrap_or_default();
            let command = bound.interpolated(unescaped(command), b'"', false, at);
            found.starts = true;
            found.effects.push(shell(Value::known(command)));
            at = end + 1;
            continue;
        }
        if code.get(at..at + 2) == Some(b"%x")
            && language == Language::Ruby
            && let Some((command, end)) = perl_quote(text, at)
        {
            let command = bound.interpolated(command, b'"', false, at);
            found.starts = true;
            found.effects.push(shell(Value::known(command)));
            at = end;
            continue;
        }
        if !is_word(*byte) {
            at += 1;
            continue;
        }
        let start = at;
        while code.get(at).is_some_and(|byte| is_word(*byte)) {
            at += 1;
        }
        let word = text.get(start..at).unwrap_or_default();
        // awk: `1system("x")`
        let glued = language == Language::Awk && byte.is_ascii_digit() && word.ends_with(b"system");
        let start = if glued { at - b"system".len() } else { start };
        let word = text.get(start..at).unwrap_or_default();
        if word == b"qx"
            && language == Language::Perl
            && let Some((command, end)) = perl_quote(text, start)
        {
            let command = bound.interpolated(command, b'"', false, start);
            found.starts = true;
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
                let arguments = arguments(text, at, &bound, &mut budget);
                found.exhausted |= budget == 0;
                happens(&bound, *call, original, &arguments, before, text, &mut found);
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
        let arguments = arguments(text, at, &bound, &mut budget);
        found.exhausted |= budget == 0;
        happens(&bound, call, word, &arguments, before, text, &mut found);
    }
    if language == Language::Awk {
        awk::pipes(text, &mut found);
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
    !part.is_empty() && memchr::memmem::find(text, part).is_some()
}

fn happens(
    bound: &Bound<'_>,
    call: Call,
    word: &[u8],
    arguments: &Arguments,
    before: &[u8],
    text: &[u8],
    found: &mut Found,
) {
    let literals = &arguments.literals;
    let language = bound.language;
    match call {
        Call::Start => {
            let before = found.effects.len();
            found.starts = true;
            let listed = (language == Language::Python && arguments.computed && arguments.list)
                .then(|| lists::words(&arguments.raw, bound));
            match listed.flatten() {
                Some(argv) => found.effects.push(Effect::Exec {
                    argv: argv.into(),
                    via: "code".to_owned(),
                    target: Target::Here,
                    assignments: Vec::new(),
                    cwd: None,
                }),
                None => start(word, arguments, found),
            }
            if let Some(directory) = &arguments.directory {
                let directory = value(directory);
                happen_in(&directory, found.effects.get_mut(before..).unwrap_or_default());
            }
        }
        Call::Enter => {
            if let ([directory], false) = (literals.as_slice(), arguments.computed) {
                found.enter(value(directory));
            }
        }
        Call::Delete | Call::DeleteTree => {
            // what a walk finds lies anywhere below, unless something chooses
            let listed = literals.iter().any(|literal| literal.contains(&LISTED));
            let recursive = call == Call::DeleteTree
                || contains(&arguments.raw, b"recursive")
                || language == Language::Editor && literals.iter().any(|part| part == b"rf")
                || listed && !*bound.chooses.get_or_init(|| chooses(text));
            let how = if word.starts_with(b"truncate") { Operation::Truncate } else { Operation::Remove };
            if let Some(command) = in_home(arguments, recursive) {
                found.effects.push(shell(Value::known(command)));
                return;
            }
            for path in paths(bound, arguments, before) {
                found.effects.push(Effect::Delete { path, recursive, how });
            }
        }
        Call::Write if word == b"open" && language == Language::Python && is_method(before) => {
            // `Path("x").open("w")`: the file is in front, and the mode comes first
            let path = receiver(bound, before);
            let reads = match (arguments.first, literals.first()) {
                (None, _) => true,
                (_, Some(mode)) => mode.starts_with(b"r") && !mode.contains(&b'+'),
                (_, None) => false,
            };
            found.writes_unknown |= !reads && path.is_none();
            found.named.extend(receiver_name(before));
            found.effects.extend(path.map(|path| match reads {
                true => Effect::Read { path: value(&path) },
                false => Effect::Write { path: value(&path), how: Operation::Overwrite },
            }));
        }
        Call::Write
            if word == b"open"
                && before.ends_with(b"os.")
                && (contains(&arguments.raw, b"O_WRONLY") || contains(&arguments.raw, b"O_RDWR")) =>
        {
            let path = literals.first().map(|path| value(path));
            found.writes_unknown |= path.is_none();
            found.effects.extend(path.map(|path| Effect::Write { path, how: Operation::Overwrite }));
        }
        Call::Write => {
            let known = arguments.first == Some(true);
            let mode = literals.get(usize::from(known || language != Language::Python));
            let mode = mode.map(Vec::as_slice).unwrap_or_default();
            let is_mode = mode.iter().all(|byte| b"rwaxbtU+".contains(byte));
            let computed = match word {
                b"open" | b"fopen" => {
                    (mode.is_empty() || !is_mode)
                        && (arguments.count > 1 + ways_to_read(&arguments.raw)
                            || contains(&arguments.raw, b"mode"))
                        || contains(&arguments.raw, b"mode")
                        || !known && is_mode && mode.iter().any(|byte| b"wax+".contains(byte))
                }
                b"write_text" | b"write_bytes" => receiver(bound, before).is_none(),
                b"save" if before.ends_with(b"torch.") => !ends_with_literal(&arguments.raw),
                // text that is given back
                _ if word.starts_with(b"to_") && gives_back(&arguments.raw) => return,
                b"save" if arguments.count == 0 => return,
                _ => !known,
            };
            found.writes_unknown |= computed;
            if matches!(word, b"open" | b"fopen") {
                if word == b"open"
                    && literals
                        .iter()
                        .any(|part| part.starts_with(b"|") || part.ends_with(b"|") || *part == b"-|")
                {
                    found.starts = true;
                    // `open F, "-|", "rm", "-rf", "/"`
                    let behind = literals.iter().position(|part| matches!(part.as_slice(), b"-|" | b"|-"));
                    if let Some([_, _, _, ..]) = behind.and_then(|at| literals.get(at..)) {
                        let argv = literals.iter().skip(behind.unwrap_or(0) + 1).cloned().map(Value::known);
                        found.effects.push(Effect::Exec {
                            argv: argv.collect::<Vec<_>>().into(),
                            via: "code".to_owned(),
                            target: Target::Here,
                            assignments: Vec::new(),
                            cwd: None,
                        });
                        return;
                    }
                    let command = literals.last().cloned().unwrap_or_default();
                    let command: Vec<u8> = command.into_iter().filter(|byte| *byte != b'|').collect();
                    found.effects.push(shell(Value::known(command)));
                    return;
                }
                // `open(os.path.join(a, b))`: the one literal is no mode
                let reads = mode.is_empty()
                    || language == Language::Python
                        && !is_mode
                        && arguments.count == 1
                        && literals.len() == 1
                        && !arguments.raw.contains(&b'*')
                    || mode.starts_with(b"r") && !mode.contains(&b'+')
                    || mode.starts_with(b"<");
                let one_word = literals.first().is_some_and(|name| name.starts_with(b">"));
                if reads && !one_word {
                    found.effects.extend(literals.first().map(|path| Effect::Read { path: value(path) }));
                    return;
                }
            }
            let is_receiver = matches!(word, b"write_text" | b"write_bytes" | b"open" | b"write");
            let file = receiver_name(before).filter(|_| is_receiver);
            found.named.extend(arguments.names.iter().cloned().chain(file));
            let target = match word {
                b"write_text" | b"write_bytes" => None,
                b"save" if before.ends_with(b"torch.") => literals.last(),
                b"copyfile" | b"copytree" | b"copy2" | b"copy" | b"move" | b"rename" | b"renameSync"
                | b"symlink" => literals.get(1),
                _ => literals.iter().find(|part| !matches!(part.as_slice(), b">" | b">>" | b"+<")),
            };
            let path = match target {
                Some(path) => {
                    path.iter().copied().skip_while(|byte| *byte == b'>' || *byte == b' ').collect()
                }
                None => receiver(bound, before).unwrap_or_default(),
            };
            if !path.is_empty() {
                found.effects.push(Effect::Write { path: value(&path), how: Operation::Overwrite });
            }
            if matches!(word, b"move" | b"rename" | b"renameSync")
                && let Some(path) = literals.first()
            {
                let path = value(path);
                found.effects.push(Effect::Delete { path, recursive: true, how: Operation::Move });
            }
        }
        Call::Read => {
            found.effects.extend(literals.first().map(|path| Effect::Read { path: value(path) }));
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

/// How many arguments of `open` say how text is read, and not whether it is written.
fn ways_to_read(raw: &[u8]) -> usize {
    let bare: Vec<u8> = raw.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let named = [b",encoding=".as_slice(), b",newline=", b",errors="];
    named.iter().filter(|name| contains(&bare, name)).count()
}

/// Whether the last argument of a call is one literal.
fn ends_with_literal(raw: &[u8]) -> bool {
    let raw = raw.trim_ascii_end();
    let Some(last) = raw.iter().rposition(|byte| *byte == b',') else { return false };
    let literal = raw.get(last + 1..).unwrap_or_default().trim_ascii();
    let quote = literal.first().copied().filter(|byte| matches!(byte, b'\'' | b'"'));
    quote.is_some_and(|quote| {
        literal.len() > 2
            && literal.last() == Some(&quote)
            && literal.iter().filter(|byte| **byte == quote || **byte == b'\\').count() == 2
    })
}

/// Whether a call that makes text of a table is given no file to write it to: nothing at all, or options alone.
fn gives_back(raw: &[u8]) -> bool {
    let inside = raw.trim_ascii_start().strip_prefix(b"(").unwrap_or(raw).trim_ascii();
    let files = [b"path".as_slice(), b"buf", b"excel_writer"];
    let option = inside.iter().take_while(|byte| is_word(**byte)).count();
    let named = inside.get(option..).unwrap_or_default().trim_ascii_start().starts_with(b"=");
    inside.is_empty() || option > 0 && named && !files.iter().any(|file| contains(inside, file))
}

/// Whether a walk leaves out some of what it finds: what it asks of the kind of a file leaves out nothing that counts.
fn chooses(text: &[u8]) -> bool {
    const KINDS: &[&[u8]] =
        &[b"is_file", b"isfile", b"is_dir", b"isdir", b"exists", b"islink", b"is_symlink"];
    let asks = memchr::memmem::find_iter(text, b"if ").any(|at| {
        let rest = text.get(at + 3..).unwrap_or_default();
        let near = rest.get(..48).unwrap_or(rest);
        let line = near.split(|byte| *byte == b'\n').next().unwrap_or_default();
        !KINDS.iter().any(|kind| contains(line, kind))
    });
    asks || contains(text, b"glob('*.") || contains(text, b"glob(\"*.")
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
    let mut argv: Vec<Vec<u8>> = arguments.literals.iter().map(|literal| arguments::text(literal)).collect();
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
fn paths(bound: &Bound<'_>, arguments: &Arguments, before: &[u8]) -> Vec<Value> {
    use crate::shell::Piece;
    let literals = &arguments.literals;
    if literals.is_empty() {
        return match receiver(bound, before) {
            Some(path) => vec![value(&path)],
            None => vec![super::words::unknown("a computed path")],
        };
    }
    let globs = contains(&arguments.raw, b"glob")
        || contains(&arguments.raw, b"Dir[")
        || contains(&arguments.raw, b"<");
    let pattern = |path: &Vec<u8>| {
        let active = globs && path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        if active { Value::from(Piece::glob(path.as_slice())) } else { value(path) }
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
