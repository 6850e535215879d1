//! Every example of every data file, and what the examples cannot say.

use super::knowledge::{Knowledge, Program, Subcommand};
use super::notation::brief;
use super::{Effect, effects};
use crate::shell::{Input, Invocation, Origin, Redirect, RedirectKind, Span, Value};

/// An invocation of known words. `< x`, `> x`, `>> x` and `<<< x` as words of their own are redirections.
pub(super) fn invocation(command: &str) -> Invocation {
    let words = shell_words::split(command).unwrap();
    let mut argv = Vec::new();
    let mut redirects = Vec::new();
    let mut assignments = Vec::new();
    let mut stdin = Input::Inherited;
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let kind = match word.as_str() {
            "<" => RedirectKind::Read,
            ">" => RedirectKind::Write,
            ">>" => RedirectKind::Append,
            "<<<" => RedirectKind::Here,
            _ => {
                let assignment = word.split_once('=').filter(|(name, _)| {
                    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                });
                match assignment {
                    Some((name, value)) if argv.is_empty() => {
                        assignments.push((name.to_owned(), Value::known(value)));
                    }
                    _ => argv.push(value(&word)),
                }
                continue;
            }
        };
        let target = Value::known(words.next().unwrap());
        match kind {
            RedirectKind::Here => stdin = Input::Known(target.as_known().unwrap().to_vec()),
            RedirectKind::Read => stdin = Input::File(target.clone()),
            _ => {}
        }
        redirects.push(Redirect { kind, fd: None, target, span: Span::default() });
    }
    Invocation {
        spans: vec![Span::default(); argv.len()],
        argv,
        span: Span::default(),
        assignments,
        exported: Vec::new(),
        redirects,
        stdin,
        cwd: Value::known("/home/user/project"),
        background: false,
        origin: Origin::Plain,
    }
}

/// `%GLOB` stands for an active `*`, `%HOLE` for an unquoted unknown.
fn value(word: &str) -> Value {
    use crate::shell::{Piece, Unknown};
    let mut value = Value::default();
    let mut rest = word;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        let piece = if let Some(tail) = after.strip_prefix("%GLOB") {
            rest = tail;
            Piece::Glob(b"*".to_vec())
        } else if let Some(tail) = after.strip_prefix("%HOLE") {
            rest = tail;
            Piece::Unknown(Unknown { source: "$X".to_owned(), may_be_empty: true, splits: true, below: None })
        } else {
            rest = after.get(1..).unwrap();
            Piece::Known(b"%".to_vec())
        };
        super::words::push(&mut value, Piece::Known(before.as_bytes().to_vec()));
        super::words::push(&mut value, piece);
    }
    super::words::push(&mut value, Piece::Known(rest.as_bytes().to_vec()));
    value
}

pub(super) fn briefly(command: &str) -> String {
    effects(&invocation(command), Knowledge::shipped()).iter().map(brief).collect::<Vec<_>>().join("; ")
}

fn examples<'p>(program: &'p Program, all: &mut Vec<&'p (String, String)>) {
    all.extend(&program.examples);
    for sub in program.subcommands.values() {
        if let Subcommand::Table(sub) = sub {
            examples(sub, all);
        }
    }
}

#[test]
fn every_table_can_be_read() {
    let mistakes = Knowledge::shipped().mistakes();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn no_name_is_described_twice() {
    let mut seen = std::collections::BTreeMap::new();
    for (file, text) in super::knowledge::SHIPPED {
        let names: Vec<String> = super::knowledge::names_of(text);
        for name in names {
            if let Some(other) = seen.insert(name.clone(), file) {
                panic!("`{name}` is described in {other} and in {file}");
            }
        }
    }
}

#[test]
fn the_index_sees_what_a_toml_reader_sees() {
    for (file, text) in super::knowledge::SHIPPED {
        let whole: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut expected: Vec<String> = Vec::new();
        for (name, table) in &whole {
            expected.push(name.clone());
            let aliases = table.get("aliases").and_then(|aliases| aliases.as_str()).unwrap_or_default();
            expected.extend(aliases.split_whitespace().map(str::to_owned));
        }
        let mut found = super::knowledge::names_of(text);
        expected.sort();
        found.sort();
        assert_eq!(expected, found, "in {file}");
    }
}

#[test]
fn examples_hold() {
    let knowledge = Knowledge::shipped();
    let mut names: Vec<&str> = knowledge.names().collect();
    names.sort_unstable();
    let mut failures = Vec::new();
    let mut count = 0;
    for name in names {
        let mut all = Vec::new();
        let Some(program) = knowledge.find(name) else { continue };
        if program.name == name {
            examples(program, &mut all);
        }
        for (command, expected) in all {
            count += 1;
            let found = briefly(command);
            if found != *expected {
                failures.push(format!("{name}: `{command}`\n   expected: {expected}\n   found:    {found}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} examples fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 20);
}

#[test]
fn unknown_programs_do_not_hide_commands() {
    assert_eq!(briefly("frobnicate --fast rm -rf /"), "opaque [frobnicate --fast rm -rf /]; exec [rm -rf /]");
    let found = effects(&invocation("frobnicate rm -rf /"), Knowledge::shipped());
    assert!(found.iter().any(super::is_guess));
    assert_eq!(briefly("frobnicate rm"), "opaque [frobnicate rm]");
}

#[test]
fn a_program_is_known_by_its_place() {
    assert_eq!(briefly("/bin/rm x"), "delete x");
    assert_eq!(briefly("/usr/bin/../bin/rm x"), "delete x");
    assert_eq!(briefly("//bin//rm x"), "delete x");
    assert_eq!(briefly("/proc/self/root/bin/rm x"), "delete x");
    assert_eq!(briefly("./rm x"), "run ./rm; delete x");
    assert_eq!(briefly("/tmp/rm x"), "run /tmp/rm; delete x");
    assert_eq!(briefly("RM x"), "opaque [RM x]");
    assert_eq!(briefly("/%GLOB/rm x"), "run /*/rm; delete x");
}

#[test]
fn redirections_are_effects() {
    assert_eq!(briefly("echo x > a >> b"), "write a; append b");
    assert_eq!(briefly("> data.db"), "truncate data.db");
    assert_eq!(briefly(": > data.db"), "truncate data.db");
    assert_eq!(briefly("echo x > /dev/null"), "");
    assert_eq!(briefly("echo x > /dev/tcp/h/80"), "fetch /dev/tcp/h/80; send to /dev/tcp/h/80");
}

#[test]
fn an_unquoted_hole_may_be_any_flag() {
    let found = effects(&invocation("rm %HOLE /etc"), Knowledge::shipped());
    assert!(found.iter().any(|effect| matches!(effect, Effect::Delete { recursive: true, .. })));
}
