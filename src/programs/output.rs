//! What a program prints, where that is what another program will act on: `find / | xargs rm`.

use super::effect::{Effect, Language};
use super::engine;
use super::hooks::Listing;
use super::knowledge::Knowledge;
use super::program_word;
use super::template::{Selection, Verb};
use super::{code, words};
use crate::shell::{Invocation, Piece, Unknown, Value};

/// Words that a program prints without end; a starter that takes them all starts without end.
pub(super) fn endless() -> Value {
    words::unknown("words without end")
}

/// From how many numbers on `seq` counts as endless.
const ENDLESS: u64 = 10_000;

/// What an invocation prints on its standard output, where it prints names of files or devices.
///
/// The caller gives each to the next program of the pipeline as [`crate::shell::Input::Text`]. `None` where nothing is
/// known; constant text (`echo`, `printf`) is known to the evaluator already.
pub fn output(invocation: &Invocation) -> Option<Listing> {
    let (word, arguments) = invocation.argv.split_first()?;
    match program_word::standard_name(word)? {
        "find" | "gfind" => Some(super::hooks::listed_by_find(arguments)),
        "fd" | "fdfind" => Some(super::hooks::listed_by_fd(arguments)),
        name @ ("grep" | "egrep" | "fgrep" | "ggrep" | "rg" | "ag" | "ack" | "ugrep") => {
            let names = files_with_matches(name, arguments)?;
            Some(Listing { names, exact: false })
        }
        _ => output_of_other(invocation).map(|name| Listing { names: vec![name], exact: false }),
    }
}

fn output_of_other(invocation: &Invocation) -> Option<Value> {
    let (word, arguments) = invocation.argv.split_first()?;
    match program_word::standard_name(word)? {
        "lsblk" | "blkid" => Some(pattern(b"/dev/", b"*")),
        "ls" | "dir" | "vdir" | "locate" | "plocate" => Some(listed(arguments)),
        "git" if arguments.first().and_then(Value::as_known) == Some(b"ls-files") => {
            Some(words::below(&Value::known("."), "what git lists"))
        }
        // every package
        "rpm"
            if arguments
                .iter()
                .filter_map(Value::as_str)
                .any(|word| word.starts_with('-') && word.contains('q') && word.contains('a')) =>
        {
            Some(Value::known("*"))
        }
        "pacman" if arguments.iter().all(|word| matches!(word.as_str(), Some("-Q" | "-Qq"))) => {
            Some(Value::known("*"))
        }
        "dpkg" if arguments.iter().any(|word| word.as_str() == Some("--get-selections")) => {
            Some(Value::known("*"))
        }
        "yes" => Some(endless()),
        "seq" => {
            let last = arguments.last().and_then(Value::as_str)?;
            let endless_by = last.parse::<u64>().is_ok_and(|last| last >= ENDLESS);
            (endless_by || matches!(last, "inf" | "infinity")).then(endless)
        }
        "cat"
            if arguments
                .iter()
                .any(|word| matches!(word.as_known(), Some(b"/dev/zero" | b"/dev/urandom"))) =>
        {
            Some(endless())
        }
        _ => None,
    }
}

/// Whether a program runs what it reads from its standard input: a shell, an interpreter, `xargs`.
pub fn runs_input(invocation: &Invocation, knowledge: &Knowledge) -> bool {
    let Some(name) = invocation.argv.first().and_then(program_word::standard_name) else { return false };
    if matches!(name, "." | "source") {
        return true;
    }
    knowledge.find(name).is_some_and(|program| {
        matches!(program.hook.as_deref(), Some("xargs" | "parallel" | "crontab" | "python"))
            || program.effects.iter().any(|template| {
                matches!(template.verb, Verb::Script(_)) && template.selections.contains(&Selection::Stdin)
            })
            || invocation.argv.iter().skip(1).any(words::names_stdin)
                && program.effects.iter().any(|template| matches!(template.verb, Verb::Run(Some(_))))
    })
}

/// The quoted literals of the code that an invocation runs, in their order: `python3 -c 'print("rm x")'`.
pub fn literals(invocation: &Invocation, knowledge: &Knowledge) -> Vec<Vec<u8>> {
    let code = engine::effects(invocation, knowledge).into_iter().filter_map(|effect| match effect {
        Effect::Script { language: Language::Shell(_), .. } => None,
        Effect::Script { language, text, .. } => text.as_known().map(|text| code::printed(language, text)),
        _ => None,
    });
    code.flatten().collect()
}

/// `grep -rl TEXT DIR`: files of the directories, or some of the files.
fn files_with_matches(program: &str, arguments: &[Value]) -> Option<Vec<Value>> {
    let options = || arguments.iter().filter_map(Value::as_str).filter(|word| word.starts_with('-'));
    let has = |letters: &[char], names: &[&str]| {
        options().any(|word| {
            let is_bundle = !word.starts_with("--") && word.contains(letters);
            is_bundle || names.contains(&word)
        })
    };
    if !has(&['l', 'L'], &["--files-with-matches", "--files-without-match", "--files"]) {
        return None;
    }
    let recursive = !program.ends_with("grep")
        || program == "ugrep"
        || has(&['r', 'R'], &["--recursive", "--dereference-recursive"]);
    let given = has(&['e', 'f'], &["--regexp", "--file", "--files"]);
    let operands = arguments.iter().filter(|word| !word.prefix().starts_with(b"-"));
    let found: Vec<Value> = operands
        .skip(usize::from(!given))
        .map(|word| match word.as_known() {
            Some(_) if recursive => words::below(word, "what it finds"),
            _ => word.clone(),
        })
        .collect();
    match (found.is_empty(), recursive) {
        (true, true) => Some(vec![words::below(&Value::known("."), "what it finds")]),
        (true, false) => None,
        (false, _) => Some(found),
    }
}

fn pattern(directory: &[u8], glob: &[u8]) -> Value {
    Value::from([Piece::known(directory), Piece::glob(glob)])
}

/// `ls DIR` prints names in a directory, `ls FILES` the files themselves.
fn listed(arguments: &[Value]) -> Value {
    let mut named = arguments.iter().filter(|word| !word.prefix().starts_with(b"-"));
    match (named.next(), named.next()) {
        (Some(one), None) if one.has_glob() => one.clone(),
        (Some(one), None) => match one.as_known() {
            Some(path) => Value::unknown(Unknown {
                source: format!("what ls {one} prints"),
                may_be_empty: false,
                below: Some(path.to_vec()),
                ..Unknown::default()
            }),
            None => one.clone(),
        },
        _ => words::below(&Value::known("."), "what ls prints"),
    }
}
