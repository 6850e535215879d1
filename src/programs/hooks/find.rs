//! `find`: its expression is a language of tests and actions.

use super::super::effect::{Effect, Operation};
use super::super::elsewhere::happen_in;
use super::super::engine::{self, Context};
use super::super::knowledge::Program;
use super::super::{program_word, words};
use super::found::{self, Found, Listing, Selection};
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
    "-prune",
    "-quit",
    "-true",
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
    &["-type", "-xtype", "-maxdepth", "-mindepth", "-regextype", "-fstype", "-D", "-xattrname"];

/// What `find` prints.
pub(in super::super) fn listed_by_find(arguments: &[Value]) -> Listing {
    let mut expression = Expression::new(arguments);
    let mut selection = Selection::default();
    let mut printed: Option<Found> = None;
    let mut exact = true;
    while let Some(step) = expression.next() {
        match step {
            Step::Print => {
                let here = selection.here();
                printed = Some(printed.map_or_else(|| here.clone(), |printed| printed.or(&here)));
                selection.test(&Found::Everything);
            }
            // a program that is started prints what it likes, and so does a format
            Step::Exec { .. } | Step::PrintElse | Step::Unreadable(_) => exact = false,
            Step::Delete | Step::Write(_) => exact = false,
            other => other.narrow(&mut selection),
        }
    }
    let found = printed.unwrap_or_else(|| selection.whole());
    let starts = starts_at(&expression.paths);
    exact &= starts.len() <= MAX_COMMANDS;
    Listing { names: printed_names(&found, &starts, expression.shallow), exact }
}

/// The paths that are printed; of a whole tree, each file of it by itself.
fn printed_names(found: &Found, starts: &[Value], shallow: bool) -> Vec<Value> {
    let every = Value::from([Piece::known(b"/"), Piece::glob(b"*")]);
    let mut names = Vec::new();
    for path in starts.iter().take(MAX_COMMANDS) {
        names.extend(found.below(path, shallow));
        if *found == Found::Everything {
            names.push(words::concat(&[path, &every]));
        }
    }
    names
}

/// One word of an expression with what belongs to it.
enum Step<'a> {
    Not,
    Or,
    Open,
    Close,
    Test(Found),
    Delete,
    Exec {
        inner: Vec<Value>,
        in_directory: bool,
    },
    Print,
    /// Prints something else than the name.
    PrintElse,
    Write(Option<Value>),
    Unreadable(&'a Value),
}

impl Step<'_> {
    /// Holds the step against what is found; an action leaves all.
    fn narrow(self, selection: &mut Selection) {
        match self {
            Self::Not => selection.not(),
            Self::Or => selection.or(),
            Self::Open => selection.open(),
            Self::Close => selection.close(),
            Self::Test(found) => selection.test(&found),
            _ => selection.test(&Found::Everything),
        }
    }
}

/// The words of a `find`, step by step.
struct Expression<'a> {
    words: std::slice::Iter<'a, Value>,
    paths: Vec<Value>,
    shallow: bool,
    begun: bool,
}

impl<'a> Expression<'a> {
    fn new(arguments: &'a [Value]) -> Self {
        Self { words: arguments.iter(), paths: Vec::new(), shallow: false, begun: false }
    }

    fn next(&mut self) -> Option<Step<'a>> {
        loop {
            let word = self.words.next()?;
            let Some(text) = word.as_str() else {
                if self.begun && !word.has_glob() {
                    return Some(Step::Unreadable(word));
                } else if !self.begun {
                    self.paths.push(word.clone());
                }
                continue;
            };
            if matches!(text, "-H" | "-L" | "-P" | "-E" | "-X" | "-s" | "-x") || text.starts_with("-O") {
                continue;
            }
            if !self.begun && !text.starts_with('-') && !matches!(text, "(" | ")" | "!" | ",") {
                self.paths.push(word.clone());
                continue;
            }
            if text == "-f" && !self.begun {
                self.paths.extend(self.words.next().cloned());
                continue;
            }
            self.begun = text != "-D";
            return Some(match text {
                "!" | "-not" => Step::Not,
                "-o" | "-or" | "," => Step::Or,
                "(" => Step::Open,
                ")" => Step::Close,
                "-delete" => Step::Delete,
                "-exec" | "-execdir" | "-ok" | "-okdir" => {
                    Step::Exec { inner: self.command(), in_directory: text.ends_with("dir") }
                }
                "-fprint" | "-fprint0" | "-fls" | "-fprintf" => {
                    let path = self.words.next().cloned();
                    if text == "-fprintf" {
                        self.words.next();
                    }
                    Step::Write(path)
                }
                "-files0-from" => {
                    let file = self.words.next();
                    self.paths.push(
                        file.map_or_else(Value::default, |file| {
                            words::unknown(&format!("the names in {file}"))
                        }),
                    );
                    continue;
                }
                "-print" | "-print0" => Step::Print,
                "-ls" | "-help" | "--help" | "-version" | "--version" => Step::PrintElse,
                "-printf" => {
                    self.words.next();
                    Step::PrintElse
                }
                "-a" | "-and" => continue,
                _ if PLAIN.contains(&text) => Step::Test(Found::Everything),
                _ if NARROW.contains(&text) => Step::Test(Found::Some),
                "-maxdepth" => {
                    let depth = self.words.next().and_then(Value::as_known);
                    self.shallow = matches!(depth, Some(b"0" | b"1"));
                    Step::Test(Found::Everything)
                }
                _ if WITH_VALUE.contains(&text) => {
                    self.words.next();
                    Step::Test(Found::Everything)
                }
                _ if NARROW_BY.contains(&text) || text.starts_with("-newer") => {
                    match (text, self.words.next().and_then(Value::as_known)) {
                        (_, Some(pattern)) if is_everything(pattern) => Step::Test(Found::Everything),
                        ("-name", Some(pattern)) => Step::Test(Found::named(pattern)),
                        _ => Step::Test(Found::Some),
                    }
                }
                _ => Step::Unreadable(word),
            });
        }
    }

    /// The command of `-exec`, up to its end.
    fn command(&mut self) -> Vec<Value> {
        let mut inner: Vec<Value> = Vec::new();
        for word in self.words.by_ref() {
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
        inner
    }
}

/// Patterns that every name fits.
fn is_everything(pattern: &[u8]) -> bool {
    matches!(pattern, b"*" | b"?*" | b"*?" | b".*" | b"/*" | b"**")
}

/// How many words the commands that `-exec` starts may have in all before only the first are looked at.
const MAX_WORDS: usize = 4096;

/// Deletions that are told apart; an expression of more is taken to delete all that it looks at.
const MOST_DELETIONS: usize = 64;

/// Adds what a `find` command does.
pub(super) fn find(program: &Program, arguments: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) {
    let mut expression = Expression::new(arguments);
    let mut selection = Selection::default();
    let mut deletions = 0;
    while let Some(step) = expression.next() {
        let paths = &expression.paths;
        match step {
            Step::Delete => {
                deletions += 1;
                match deletions {
                    ..MOST_DELETIONS => delete(paths, &selection.here(), expression.shallow, effects),
                    MOST_DELETIONS => delete(paths, &Found::Everything, expression.shallow, effects),
                    _ => {}
                }
                selection.test(&Found::Everything);
            }
            Step::Exec { inner, in_directory } => {
                let before = effects.len();
                start(&inner, paths, &selection.here(), expression.shallow, context, effects);
                // where it stands itself, at least; what is found is named by its whole path here
                if in_directory
                    && let [directory] = starts_at(paths).as_slice()
                    && (directory.prefix().starts_with(b"/") || !inner.iter().any(has_place))
                {
                    happen_in(directory, effects.get_mut(before..).unwrap_or_default());
                }
                selection.test(&Found::Everything);
            }
            Step::Write(path) => {
                let write = |path| Effect::Write { path, how: Operation::Overwrite };
                effects.extend(path.map(write));
                selection.test(&Found::Everything);
            }
            Step::Unreadable(word) => return unreadable(program, word, context, effects),
            other => other.narrow(&mut selection),
        }
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

/// Whether a word of a command stands for what is found.
fn has_place(word: &Value) -> bool {
    let found = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"{}");
    word.pieces.iter().any(|piece| matches!(piece, Piece::Known(bytes) if found(bytes)))
}

fn delete(paths: &[Value], found: &Found, shallow: bool, effects: &mut Vec<Effect>) {
    let recursive = *found == Found::Everything;
    for path in starts_at(paths) {
        let below = found.below(&path, shallow).into_iter();
        effects.extend(below.map(|path| Effect::Delete { path, recursive, how: Operation::Remove }));
    }
}

/// `-exec`: what is found stands for itself when tests narrow it, and for the whole tree when they do not.
fn start(
    inner: &[Value],
    paths: &[Value],
    found: &Found,
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
        for one in found.below(&path, shallow) {
            let argv: Vec<Value> = inner.iter().map(|word| replaced(word, b"{}", &one)).collect();
            if *found == Found::Everything {
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
    let asked: Vec<Value> = arguments.iter().take(at).chain(after.iter().skip(1)).cloned().collect();
    let (found, paths) = asked_of_fd(&asked);
    for path in paths {
        for one in found.below(&path, false) {
            let mut argv: Vec<Value> = command.iter().map(|word| replaced(word, b"{}", &one)).collect();
            if !argv.contains(&one) {
                argv.push(one);
            }
            if found == Found::Everything {
                whole_tree(&argv, &path, context, effects);
            }
            effects.push(exec(argv, "fd"));
        }
    }
}

/// What `fd` prints.
pub(in super::super) fn listed_by_fd(arguments: &[Value]) -> Listing {
    let (found, paths) = asked_of_fd(arguments);
    let prints_else = |word: &Value| {
        let word = word.as_str().unwrap_or("-x");
        let starts = |option: &str| word.starts_with(option);
        starts("-x")
            || starts("-X")
            || starts("--exec")
            || starts("--format")
            || starts("-l")
            || starts("--list")
    };
    let exact = paths.len() <= MAX_COMMANDS && !arguments.iter().any(prints_else);
    Listing { names: printed_names(&found, &paths, false), exact }
}

/// What `fd` finds and where it looks, by its options and operands.
fn asked_of_fd(arguments: &[Value]) -> (Found, Vec<Value>) {
    // the first operand is the pattern, the others are where it looks; a value of an option is none of them
    let mut operands = Vec::new();
    let mut found = Found::Everything;
    let mut extensions: Option<Found> = None;
    let (mut glob, mut literal, mut whole_path) = (false, false, false);
    let mut extension = |name: Option<&[u8]>| {
        let named = name.map_or(Found::Some, |name| Found::named(&[b"*.", name].concat()));
        extensions = Some(extensions.take().map_or(named.clone(), |before| before.or(&named)));
    };
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            Some("--search-path" | "--base-directory" | "-C") => {
                operands.push(Value::known("."));
                operands.extend(rest.next().cloned());
            }
            Some("-e" | "--extension") => extension(rest.next().and_then(Value::as_known)),
            Some(option) if FD_VALUES.contains(&option) => {
                if !matches!(option, "-t" | "--type" | "-j" | "--threads" | "-d" | "--max-depth") {
                    found = found.and(&Found::Some);
                }
                rest.next();
            }
            Some("-g" | "--glob") => glob = true,
            Some("-F" | "--fixed-strings") => literal = true,
            Some("-p" | "--full-path") => whole_path = true,
            Some(option) if option.starts_with("-e") || option.starts_with("--ext") => {
                let name = option.strip_prefix("-e").or_else(|| option.strip_prefix("--extension="));
                extension(name.map(str::as_bytes));
            }
            Some(option) if option.starts_with('-') && option.len() > 1 => {}
            _ => operands.push(word.clone()),
        }
    }
    let pattern = operands.first().filter(|word| !matches!(word.as_known(), Some(b"." | b"" | b".*")));
    if let Some(pattern) = pattern {
        let named = match pattern.as_known() {
            Some(pattern) if glob && is_everything(pattern) => Found::Everything,
            _ if whole_path => Found::Some,
            Some(pattern) if glob => Found::named(pattern),
            Some(pattern) if literal && !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) => {
                Found::named(&[b"*", pattern, b"*"].concat())
            }
            Some(pattern) if !literal => {
                found::pattern_of(pattern).map_or(Found::Some, |pattern| Found::named(&pattern))
            }
            _ => Found::Some,
        };
        found = found.and(&named);
    }
    if let Some(extensions) = extensions {
        found = extensions.and(&found);
    }
    (found, starts_at(operands.get(1..).unwrap_or_default()))
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
