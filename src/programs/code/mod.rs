//! Code in other languages: what its literal arguments say that it starts, deletes or writes.
//!
//! This is no interpreter. It finds the names of calls that start commands or change files anywhere in the text, also
//! inside strings (which may be evaluated), and reads the literal arguments that follow. What it finds is judged as
//! if it were a command; what it does not find stays a script in a language that the gate cannot read, which the
//! policy asks about unless [`is_inert`] says that the text plainly only computes and prints.

mod compiled;
mod floods;
mod foreign;
mod given;
mod inert;
mod lexed;
mod lines;
mod scan;
mod sql;
mod tcl;
mod written;

pub use compiled::{build_effects, source_effects};
pub(in crate::programs) use inert::changes_models;
pub use inert::is_inert;
pub(in crate::programs) use written::printed;
pub use written::written;

use super::effect::{Effect, Language, Target};
use super::elsewhere::happen_in;
use super::engine::{self, Context};
use super::knowledge::Knowledge;
use super::words;
use crate::shell::{Dialect, Input, Invocation, Piece, Value};

/// How often text that is found inside text is looked at again (`exec(bytes.fromhex(...))`).
const MAX_DEPTH: usize = 3;

/// What can be seen in a code text that an invocation runs: a file that the same text wrote, a process substitution.
pub fn code_effects(
    language: Language,
    text: &Value,
    invocation: &Invocation,
    knowledge: &Knowledge,
) -> Vec<Effect> {
    let mut found = Vec::new();
    let context = Context { invocation, knowledge, argv: &invocation.argv, cwd: None, depth: 0 };
    effects(language, text, &context, &mut found);
    found
}

/// Adds what can be seen in a code text.
pub(super) fn effects(language: Language, text: &Value, context: &Context<'_>, effects: &mut Vec<Effect>) {
    let mut bytes = given::with_given(language, flattened(text), text, context);
    if language == Language::Python
        && bytes.len() <= inert::MAX_TEXT
        && let Ok(text) = std::str::from_utf8(&bytes)
    {
        bytes = inert::python_spelled(text).into_bytes();
    }
    // a loop in a comment or in quotes is none
    let seen = lexed::lexed(language, &bytes);
    let code = seen.as_ref().map_or(bytes.as_slice(), |seen| &seen.code);
    if !matches!(language, Language::Shell(_) | Language::OtherShell | Language::Sql)
        && floods::floods(code, &bytes)
    {
        effects.push(Effect::Flood { what: "a loop without end that starts processes".to_owned() });
    }
    match language {
        Language::Shell(_) => {}
        // near enough to bash for commands that destroy
        Language::OtherShell => {
            effects.push(shell(text.clone()));
            effects.extend(foreign::as_bash(&bytes).map(|text| shell(Value::known(text))));
        }
        Language::Sed => lines::sed(&bytes, effects),
        Language::Make => lines::make(&bytes, effects),
        Language::Sql => sql::sql(&bytes, effects),
        Language::Editor => {
            lines::editor(&bytes, effects);
            if memchr::memmem::find(&bytes, b"lua ").is_some() {
                calls(Language::Lua, &bytes, context, 0, effects);
            }
            calls(language, &bytes, context, 0, effects);
        }
        Language::Perl => {
            opened(&bytes, context, effects);
            calls(language, &bytes, context, 0, effects);
        }
        Language::Python => {
            foreign::notebook(code, effects);
            calls(language, &bytes, context, 0, effects);
        }
        Language::Other => {
            lines::build(&bytes, effects);
            if context
                .argv
                .first()
                .and_then(words::basename)
                .is_some_and(|name| name.prefix().starts_with(b"rpm"))
            {
                lines::macros(&bytes, effects);
            }
            tcl::effects(&bytes, effects);
            calls(language, &bytes, context, 0, effects);
        }
        _ => calls(language, &bytes, context, 0, effects),
    }
    if matches!(
        language,
        Language::Python
            | Language::JavaScript
            | Language::Ruby
            | Language::Perl
            | Language::Php
            | Language::Lua
    ) {
        read(language, &bytes, effects);
    }
}

/// Adds what text of a makefile starts.
pub(super) fn make(text: &Value, effects: &mut Vec<Effect>) {
    lines::make(&flattened(text), effects);
}

/// Perl opens the files that it is given by their names, and a name with a pipe is a command: `perl -ne print 'rm x |'`.
fn opened(text: &[u8], context: &Context<'_>, effects: &mut Vec<Effect>) {
    let words = context.invocation.argv.iter().skip(1);
    let reads = words
        .clone()
        .any(|word| word.prefix().starts_with(b"-") && word.prefix().iter().any(|byte| b"np".contains(byte)));
    if !reads && memchr::memmem::find(text, b"<").is_none() {
        return;
    }
    for word in words.filter_map(Value::as_known).map(<[u8]>::trim_ascii).filter(|word| *word != text) {
        let command = word.strip_suffix(b"|").or(word.strip_prefix(b"|"));
        effects.extend(command.map(|command| shell(Value::known(command))));
    }
}

/// The text with holes as NUL bytes, which no language takes for a part of a word.
fn flattened(text: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in &text.pieces {
        match piece {
            Piece::Known(known) | Piece::Glob(known) => bytes.extend_from_slice(known),
            Piece::Unknown(_) => bytes.push(0),
        }
    }
    bytes
}

/// Names of calls that read, copy or move files, in whatever language.
const READERS: &[&[u8]] = &[
    b"read", b"open", b"copy", b"load", b"file", b"lines", b"require", b"link", b"parse", b"import", b"cp",
    b"slurp", b"stream",
];

/// How many literals of one text are taken for files that it reads.
const MOST_FILES: usize = 512;

/// Files that a text names where something in it reads files: which call reads which is not known, and what is no file of keys
/// interests nobody.
fn read(language: Language, text: &[u8], effects: &mut Vec<Effect>) {
    let seen = lexed::lexed(language, text);
    let code = seen.as_ref().map_or(text, |seen| &seen.code).to_ascii_lowercase();
    if !READERS.iter().any(|name| memchr::memmem::find(&code, name).is_some()) {
        return;
    }
    let plain = seen.map(|seen| seen.plain);
    let literals = scan::literals(plain.as_deref().unwrap_or(text));
    let is_path = |literal: &Vec<u8>| {
        literal.contains(&b'/')
            && literal.starts_with(b"/") | literal.starts_with(b"~") | literal.starts_with(b".")
            && !literal.iter().any(u8::is_ascii_whitespace)
    };
    let paths = literals.into_iter().filter(is_path).take(MOST_FILES);
    effects.extend(paths.map(|path| Effect::Read { path: Value::known(path) }));
}

fn calls(language: Language, text: &[u8], context: &Context<'_>, depth: usize, effects: &mut Vec<Effect>) {
    let found = scan::calls(language, text);
    effects.extend(found.effects);
    let before = effects.len();
    if found.exhausted {
        effects.push(Effect::Unreadable {
            program: super::notation::language_name(language).to_owned(),
            word: words::unknown("more code than is looked at"),
        });
    }
    // a command that is computed: any literal of the text, and what comes by standard input, may be it
    if found.computed || language == Language::Other && names_a_start(text) {
        let stdin = match &context.invocation.stdin {
            Input::Known(bytes) => Some(bytes.clone()),
            _ => None,
        };
        // an apostrophe in a comment opens no literal
        let plain = lexed::lexed(language, text).map(|lexed| lexed.plain);
        let literals = scan::literals(plain.as_deref().unwrap_or(text));
        let literals: Vec<Vec<u8>> = literals.into_iter().chain(stdin).collect();
        let mut lists = MAX_LISTS;
        for (at, literal) in literals.iter().enumerate() {
            if !is_command(literal, context) {
                continue;
            }
            effects.push(shell(Value::known(literal.clone())));
            // `run "rm", "-rf", "/"`: a program by itself, its arguments in the literals that follow
            if lists > 0 && !literal.iter().any(u8::is_ascii_whitespace) {
                lists -= 1;
                let argv: Vec<_> =
                    literals.iter().skip(at).take(MAX_ARGUMENTS).cloned().map(Value::known).collect();
                effects.push(Effect::Exec {
                    argv: argv.into(),
                    via: "code".to_owned(),
                    target: Target::Here,
                    assignments: Vec::new(),
                    cwd: None,
                });
            }
        }
    }
    if let Some((directory, _)) = &found.entered {
        happen_in(directory, effects.get_mut(before..).unwrap_or_default());
    }
    // `exec(open("/dev/stdin").read())`
    if depth == 0
        && let Input::Known(bytes) = &context.invocation.stdin
        && memchr::memmem::find(text, b"stdin").is_some()
        && scan::runs_literals(language, text)
    {
        calls(language, bytes, context, depth + 1, effects);
    }
    if depth < MAX_DEPTH {
        for decoded in found.decoded {
            if is_command(&decoded, context) {
                effects.push(shell(Value::known(decoded.clone())));
            }
            calls(language, &decoded, context, depth + 1, effects);
        }
    }
}

/// Lists of literals in one text that are taken for an argv, and how long one may be.
const MAX_LISTS: usize = 8;
const MAX_ARGUMENTS: usize = 32;

/// Words by which languages that are not read otherwise start programs.
const STARTS: &[&[u8]] = &[
    b"system",
    b"shell",
    b"exec",
    b"execute",
    b"run",
    b"cmd",
    b"command",
    b"process",
    b"spawn",
    b"popen",
    b"sh",
    b"runtime",
    b"createprocess",
    b"proc",
    b"open3",
    b"program",
    b"execshellcmd",
    b"processbuilder",
];

/// Whether a text in a language that is not read has a word that starts programs.
fn names_a_start(text: &[u8]) -> bool {
    text.split(|byte| !byte.is_ascii_alphabetic())
        .any(|word| word.len() > 1 && STARTS.iter().any(|start| start.eq_ignore_ascii_case(word)))
}

/// Whether a literal begins with a program that is known.
fn is_command(literal: &[u8], context: &Context<'_>) -> bool {
    let first =
        literal.trim_ascii_start().split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    let Ok(name) = std::str::from_utf8(first) else { return false };
    let name = name.rsplit('/').next().unwrap_or_default();
    engine::is_more_than_looking(name, context.knowledge)
}

/// Text for a shell, run here.
fn shell(text: Value) -> Effect {
    Effect::Script {
        language: Language::Shell(Dialect::Bash),
        text,
        target: Target::Here,
        arguments: Vec::new(),
    }
}
