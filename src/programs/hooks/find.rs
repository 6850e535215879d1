//! `find`: its expression is a language of tests and actions.

use super::super::effect::{Effect, Operation};
use super::super::elsewhere::happen_in;
use super::super::engine::{self, Context};
use super::super::knowledge::Program;
use super::super::{program_word, words};
use super::{MAX_COMMANDS, exec};
use crate::shell::{Piece, Value};

/// Tests and actions without an argument that do not narrow what is found.
const PLAIN: &[&str] = &[
    "-depth",
    "-d",
    "-follow",
    "-mount",
    "-xdev",
    "-x",
    "-noleaf",
    "-warn",
    "-nowarn",
    "-daystart",
    "-print",
    "-print0",
    "-ls",
    "-prune",
    "-quit",
    "-true",
    "-a",
    "-and",
    "-help",
    "--help",
    "-version",
    "--version",
    "-E",
    "-X",
    "-s",
    "-ignore_readdir_race",
    "-noignore_readdir_race",
    "-readable",
    "-writable",
    "-executable",
    "-H",
    "-L",
    "-P",
];

/// Tests without an argument that narrow.
const NARROW: &[&str] = &["-empty", "-false", "-nouser", "-nogroup"];

/// Tests with an argument that narrow.
const NARROW_BY: &[&str] = &[
    "-amin",
    "-anewer",
    "-atime",
    "-cmin",
    "-cnewer",
    "-ctime",
    "-gid",
    "-group",
    "-ilname",
    "-iname",
    "-inum",
    "-ipath",
    "-iregex",
    "-iwholename",
    "-links",
    "-lname",
    "-mmin",
    "-mtime",
    "-name",
    "-newer",
    "-path",
    "-perm",
    "-regex",
    "-samefile",
    "-size",
    "-uid",
    "-used",
    "-user",
    "-wholename",
    "-flags",
    "-context",
    "-Bmin",
    "-Bnewer",
    "-Btime",
];

/// Words with an argument that do not narrow.
const WITH_VALUE: &[&str] =
    &["-type", "-xtype", "-maxdepth", "-mindepth", "-regextype", "-printf", "-fstype", "-D", "-xattrname"];

/// What `find` prints: the names where it starts when no test narrows them, names below when one does.
pub(in super::super) fn found(arguments: &[Value]) -> Option<Value> {
    let is_path = |word: &&Value| match word.as_str() {
        Some(text) => !text.starts_with('-') && !matches!(text, "(" | "!"),
        None => true,
    };
    let options =
        arguments.iter().take_while(|word| matches!(word.as_known(), Some(b"-H" | b"-L" | b"-P"))).count();
    let paths: Vec<Value> = arguments.iter().skip(options).take_while(is_path).cloned().collect();
    let mut narrowed = false;
    let mut negated = false;
    let mut rest = arguments.iter().skip(options + paths.len());
    while let Some(word) = rest.next() {
        match word.as_str() {
            Some("!" | "-not") => {
                negated = true;
                continue;
            }
            Some("-o" | "-or" | ",") => narrowed = false,
            Some(text) if NARROW.contains(&text) => narrowed |= !negated,
            Some(text) if NARROW_BY.contains(&text) => {
                let everything = rest.next().and_then(Value::as_known).is_some_and(is_everything);
                narrowed |= !negated && !everything;
            }
            _ => {}
        }
        negated = false;
    }
    let start = starts_at(&paths).into_iter().next()?;
    Some(if narrowed { words::below(&start, "{}") } else { start })
}

/// Patterns that every name fits.
fn is_everything(pattern: &[u8]) -> bool {
    matches!(pattern, b"*" | b"?*" | b"*?" | b".*" | b"/*" | b"**")
}

/// How many words the commands that `-exec` starts may have in all before only the first are looked at.
const MAX_WORDS: usize = 4096;

/// Adds what a `find` command does.
pub(super) fn find(program: &Program, arguments: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) {
    let mut words_left = arguments.iter();
    let mut paths: Vec<Value> = Vec::new();
    let mut narrowed = false;
    // the one name that is asked for, where that is all that narrows
    let mut name: Option<Value> = None;
    let mut shallow = false;
    let mut negated = false;
    let mut in_expression = false;
    while let Some(word) = words_left.next() {
        let Some(text) = word.as_str() else {
            if in_expression && !word.has_glob() {
                return unreadable(program, word, context, effects);
            } else if !in_expression {
                paths.push(word.clone());
            }
            continue;
        };
        if matches!(text, "-H" | "-L" | "-P" | "-E" | "-X" | "-s" | "-x") || text.starts_with("-O") {
            continue;
        }
        if !in_expression && !text.starts_with('-') && !matches!(text, "(" | ")" | "!" | ",") {
            paths.push(word.clone());
            continue;
        }
        if text == "-f" && !in_expression {
            paths.extend(words_left.next().cloned());
            continue;
        }
        in_expression = text != "-D";
        match text {
            "!" | "-not" => {
                negated = true;
                continue;
            }
            // each side of an `or` finds its own files
            "-o" | "-or" | "," => (narrowed, name) = (false, None),
            "(" | ")" => {}
            "-delete" => delete(&paths, narrowed, name.as_ref(), shallow, effects),
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let mut inner = Vec::new();
                for word in words_left.by_ref() {
                    let ends = match word.as_known() {
                        Some(b";") => true,
                        Some(b"+") => inner.last().and_then(Value::as_known) == Some(b"{}"),
                        _ => false,
                    };
                    if ends {
                        break;
                    }
                    inner.push(word.clone());
                }
                let before = effects.len();
                start(&inner, &paths, narrowed, name.as_ref(), shallow, context, effects);
                // where it stands itself, at least; what is found is named by its whole path here
                if text.ends_with("dir")
                    && let [directory] = starts_at(&paths).as_slice()
                    && (directory.prefix().starts_with(b"/") || !inner.iter().any(has_place))
                {
                    happen_in(directory, effects.get_mut(before..).unwrap_or_default());
                }
            }
            "-fprint" | "-fprint0" | "-fls" | "-fprintf" => {
                if let Some(path) = words_left.next() {
                    effects.push(Effect::Write { path: path.clone(), how: Operation::Overwrite });
                }
                if text == "-fprintf" {
                    words_left.next();
                }
            }
            "-files0-from" => paths.push(
                words_left
                    .next()
                    .map_or_else(Value::default, |file| words::unknown(&format!("the names in {file}"))),
            ),
            _ if PLAIN.contains(&text) => {}
            _ if NARROW.contains(&text) => narrowed |= !negated,
            "-maxdepth" => {
                shallow =
                    words_left.next().is_some_and(|depth| matches!(depth.as_known(), Some(b"0" | b"1")));
            }
            _ if WITH_VALUE.contains(&text) => {
                words_left.next();
            }
            _ if NARROW_BY.contains(&text) || text.starts_with("-newer") => {
                let pattern = words_left.next().and_then(Value::as_known);
                let everything = pattern.is_some_and(is_everything);
                if let ("-name", Some(pattern), false, false) = (text, pattern, negated, everything) {
                    name = Some(Value::from([Piece::glob(pattern)]));
                }
                narrowed |= !negated && !everything;
            }
            _ => return unreadable(program, word, context, effects),
        }
        negated = false;
    }
}

fn unreadable(program: &Program, word: &Value, context: &Context<'_>, effects: &mut Vec<Effect>) {
    effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    engine::guess(context.argv, context.knowledge, effects);
}

/// Options of fd with a value.
const FD_VALUES: &[&str] = &[
    "-e",
    "--extension",
    "-t",
    "--type",
    "-d",
    "--max-depth",
    "--min-depth",
    "--exact-depth",
    "-E",
    "--exclude",
    "-S",
    "--size",
    "--changed-within",
    "--changed-before",
    "-o",
    "--owner",
    "-j",
    "--threads",
    "--max-results",
    "-c",
    "--color",
    "--ignore-file",
    "--format",
    "--batch-size",
    "--and",
];

/// Where it looks; the current directory when nothing is named.
fn starts_at(paths: &[Value]) -> Vec<Value> {
    if paths.is_empty() { vec![Value::known(".")] } else { paths.to_vec() }
}

/// What is found below a directory, where tests narrow it: by its name, in the directory itself and further down, or not
/// known.
fn found_below(path: &Value, name: Option<&Value>, shallow: bool) -> Vec<Value> {
    let Some(name) = name else { return vec![words::below(path, "{}")] };
    let slash = Value::known("/");
    let mut found = Vec::with_capacity(2);
    let active = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
    let is_one = !name.pieces.iter().any(|piece| matches!(piece, Piece::Glob(name) if active(name)));
    // the one file of a name is meant; of a pattern, all that lie below
    if shallow || is_one {
        found.push(words::concat(&[path, &slash, name]));
    }
    if !shallow {
        found.push(words::concat(&[path, &slash, &words::below(&Value::known("."), "{}"), &slash, name]));
    }
    found
}

/// Whether a word of a command stands for what is found.
fn has_place(word: &Value) -> bool {
    let found = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"{}");
    word.pieces.iter().any(|piece| matches!(piece, Piece::Known(bytes) if found(bytes)))
}

fn delete(paths: &[Value], narrowed: bool, name: Option<&Value>, shallow: bool, effects: &mut Vec<Effect>) {
    for path in starts_at(paths) {
        if !narrowed {
            effects.push(Effect::Delete { path, recursive: true, how: Operation::Remove });
            continue;
        }
        let found = found_below(&path, name, shallow).into_iter();
        effects.extend(found.map(|path| Effect::Delete { path, recursive: false, how: Operation::Remove }));
    }
}

/// `-exec`: what is found stands for itself when tests narrow it, and for the whole tree when they do not.
fn start(
    inner: &[Value],
    paths: &[Value],
    narrowed: bool,
    name: Option<&Value>,
    shallow: bool,
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    if inner.is_empty() {
        return;
    }
    let paths = starts_at(paths);
    let taken = if paths.len().saturating_mul(inner.len()) <= MAX_WORDS { paths.len() } else { MAX_COMMANDS };
    if taken < paths.len() {
        let word = words::unknown("more directories than are looked at");
        effects.push(Effect::Unreadable { program: "find".to_owned(), word });
    }
    for path in paths.into_iter().take(taken) {
        let all = if narrowed { found_below(&path, name, shallow) } else { vec![path.clone()] };
        for found in all {
            let argv: Vec<Value> = inner.iter().map(|word| replaced(word, b"{}", &found)).collect();
            if !narrowed {
                whole_tree(&argv, &path, context, effects);
            }
            effects.push(exec(argv, "find"));
        }
    }
}

/// A program that ruins each file of a tree ruins the tree.
fn whole_tree(argv: &[Value], path: &Value, context: &Context<'_>, effects: &mut Vec<Effect>) {
    let Some((word, arguments)) = argv.split_first() else { return };
    let known = program_word::standard_name(word).and_then(|name| context.knowledge.find(name));
    let Some(program) = known.filter(|program| program.hook.is_none()) else { return };
    let mut inner = Vec::new();
    engine::run(program, arguments, context, &mut inner);
    for effect in inner {
        match effect {
            Effect::Delete { path: at, how, .. } if at == *path => {
                effects.push(Effect::Delete { path: at, recursive: true, how });
            }
            Effect::Write { path: at, how } if at == *path && how == Operation::Overwrite => {
                effects.push(Effect::Delete { path: at, recursive: true, how: Operation::Overwrite });
            }
            Effect::Metadata { path: at, attribute, value, .. } if at == *path => {
                effects.push(Effect::Metadata { path: at, recursive: true, attribute, value });
            }
            _ => {}
        }
    }
}

/// `fd PATTERN -x COMMAND... ;`: what follows up to `;` is a command.
pub(super) fn fd(arguments: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) {
    let starts = |word: &Value| match word.as_known() {
        Some(b"-x" | b"-X" | b"--exec" | b"--exec-batch") => true,
        // `-tfx`: a bundle that ends in the option
        Some(word) => {
            word.len() > 2
                && word.starts_with(b"-")
                && !word.starts_with(b"--")
                && (word.ends_with(b"x") || word.ends_with(b"X"))
        }
        None => false,
    };
    let Some(at) = arguments.iter().position(starts) else { return };
    let behind = arguments.get(at + 1..).unwrap_or_default();
    let length = behind.iter().position(|word| word.as_known() == Some(b";")).unwrap_or(behind.len());
    let (command, after) = behind.split_at(length);
    if command.is_empty() {
        return;
    }
    // the first operand is the pattern, the others are where it looks; a value of an option is none of them
    let mut operands = Vec::new();
    let mut narrowed = false;
    let mut rest = arguments.iter().take(at).chain(after.iter().skip(1));
    while let Some(word) = rest.next() {
        match word.as_str() {
            Some("--search-path" | "--base-directory" | "-C") => {
                operands.push(Value::known("."));
                operands.extend(rest.next().cloned());
            }
            Some(option) if FD_VALUES.contains(&option) => {
                narrowed |= !matches!(option, "-t" | "--type" | "-j" | "--threads" | "-d" | "--max-depth");
                rest.next();
            }
            Some(option) if option.starts_with('-') => {
                narrowed |= option.starts_with("-e") || option.starts_with("--ext");
            }
            _ => operands.push(word.clone()),
        }
    }
    narrowed |=
        operands.first().is_some_and(|pattern| !matches!(pattern.as_known(), Some(b"." | b"" | b".*")));
    let below = operands.get(1..).unwrap_or_default();
    for path in starts_at(below) {
        let found = if narrowed { words::below(&path, "{}") } else { path.clone() };
        let mut argv: Vec<Value> = command.iter().map(|word| replaced(word, b"{}", &found)).collect();
        if !argv.contains(&found) {
            argv.push(found);
        }
        if !narrowed {
            whole_tree(&argv, &path, context, effects);
        }
        effects.push(exec(argv, "fd"));
    }
}

/// The word with each `hole` in its known bytes filled.
pub(super) fn replaced(word: &Value, hole: &[u8], with: &Value) -> Value {
    if hole.is_empty() {
        return word.clone();
    }
    let mut whole = Value::default();
    for piece in &word.pieces {
        let Piece::Known(bytes) = piece else {
            whole.push(piece.clone());
            continue;
        };
        let mut rest = &**bytes;
        while let Some(at) = rest.windows(hole.len()).position(|window| window == hole) {
            let (before, after) = rest.split_at(at);
            whole.push(Piece::known(before));
            for piece in &with.pieces {
                whole.push(piece.clone());
            }
            rest = after.get(hole.len()..).unwrap_or_default();
        }
        whole.push(Piece::known(rest));
    }
    whole
}
