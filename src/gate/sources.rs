//! What a hole stands for, where the program that fills it tells: `$(ls /dev/sd?)`, `find / | xargs rm`.
//!
//! A list that a program prints is not known before it runs, but where its entries come from often is. Each source is
//! turned into patterns, as a shell would write them: what `ls /dev/sd?` prints is `/dev/sd?`.

use std::borrow::Borrow;
use std::rc::Rc;
use std::sync::Arc;

use super::Facts;
use super::classify::{Ground, classify};
use super::place::Path;
use super::{PathClass, reader};
use crate::programs::{self, Effect, READ, fits_nearly_all};
use crate::shell::{self, Budget, COUNTED, Input, Invocation, Piece, Unknown, Value, Written};

/// Sources that are told apart for one hole.
const MOST: usize = 16;
/// How far back a pipeline is followed.
const FARTHEST: usize = 16;

/// Everything that a command's holes are looked up in.
pub(super) struct Sources<'w> {
    pub(super) facts: &'w Facts,
    pub(super) budget: &'w mut Budget,
    /// The commands of the text, where the hole may be the output of some.
    pub(super) invocations: &'w [Rc<Invocation>],
    pub(super) stdin: &'w Input,
    pub(super) cwd: &'w Arc<Value>,
    /// The files that the text wrote.
    pub(super) written: &'w [Written],
}

impl Sources<'_> {
    /// Whether the operand of an effect has a hole that may be looked up.
    pub(super) fn has_hole(effect: &Effect) -> bool {
        let kills = matches!(effect, Effect::Kill { .. });
        operand_of(effect).is_some_and(|value| value.has_unknown() || kills && value.has_glob())
    }

    /// The effect, or several in its place: one for each thing that a hole of its operand stands for.
    pub(super) fn spread(&mut self, effect: Effect) -> Vec<Effect> {
        let Some(operand) = operand_of(&effect) else { return vec![effect] };
        if matches!(effect, Effect::Kill { .. }) && every_process(operand) {
            return with_operand(&effect, Value::known("-1")).into_iter().collect();
        }
        let kills = matches!(effect, Effect::Kill { .. });
        let values = self.values(operand).or_else(|| {
            // `ps ax -o pid= | while read p; do kill $p; done`
            let read =
                kills && matches!(operand.pieces.as_slice(), [Piece::Unknown(hole)] if is_variable(hole));
            read.then(|| self.of_input(self.stdin.clone())).flatten().map(|values| (values, false))
        });
        let Some((values, exact)) = values else { return vec![effect] };
        let named = |value: Value| {
            let all = kills && every_process(&value);
            with_operand(&effect, if all { Value::known("-1") } else { value })
        };
        let mut effects: Vec<Effect> = values.into_iter().filter_map(named).collect();
        // who listens at a port, or has a name, is no more of a question than the name
        let named = effects
            .iter()
            .all(|effect| matches!(effect, Effect::Kill { target, .. } if target.as_known().is_some()));
        if !exact && !(kills && (self.asks_for_listeners(operand) || named && !effects.is_empty())) {
            effects.push(effect.clone());
        }
        effects
    }

    /// What a value with holes stands for, and whether it stands for nothing else; `None` where nothing is told.
    fn values(&mut self, value: &Value) -> Option<(Vec<Value>, bool)> {
        let at = value.pieces.iter().position(|piece| matches!(piece, Piece::Unknown(_)))?;
        let Some(Piece::Unknown(hole)) = value.pieces.get(at) else { return None };
        let holes = value.pieces.iter().filter(|piece| matches!(piece, Piece::Unknown(_))).count();
        let all_listed = match hole.source.as_str() {
            _ if holes != 1 => None,
            READ => self.listed(),
            "$(git rev-parse --show-toplevel)" => self.toplevel(value),
            source if value.pieces.len() == 1 => self.own_processes(source),
            _ => None,
        };
        let exact = all_listed.is_some();
        let listed = if all_listed.is_some() {
            all_listed
        } else if hole.source.ends_with(COUNTED) && value.pieces.len() == 1 {
            Some(vec![glob("[0-9]*")])
        } else if let (Some(below), "$(find)" | "$(ls)") = (&hole.below, hole.source.as_str()) {
            self.of_listing(below, hole.source.contains("find"))
        } else if hole.source.starts_with("what ") || hole.source.starts_with("$REPLY") {
            self.of_input(self.stdin.clone())
        } else {
            self.of_substitution(hole)
        }?;
        let (before, after) = (value.pieces.get(..at)?, value.pieces.get(at + 1..)?);
        // `/etc/$f` with a name of `ls /etc`: what is printed is the name alone
        let below = matches!(before, [Piece::Known(prefix)] if prefix.ends_with(b"/"));
        let fill = |inner: Value| {
            let inner = match inner.pieces.as_slice() {
                [Piece::Known(directory), Piece::Glob(_)] if below && directory.starts_with(b"/") => {
                    Value { pieces: inner.pieces.iter().skip(1).cloned().collect() }
                }
                _ => inner,
            };
            let mut filled = Value::default();
            for piece in before.iter().cloned().chain(inner.pieces).chain(after.iter().cloned()) {
                filled.push(piece);
            }
            filled
        };
        Some((listed.into_iter().take(MOST).map(fill).collect(), exact))
    }

    /// The root of the repository, which is a workspace or stands above it. Where there is no repository nothing stands for it:
    /// what follows must then be nothing of the machine's.
    fn toplevel(&self, value: &Value) -> Option<Vec<Value>> {
        let [Piece::Unknown(_), Piece::Known(rest)] = value.pieces.as_slice() else { return None };
        let alone = Path::literal(&String::from_utf8_lossy(rest));
        let classes = classify(&alone, &Ground::new(self.facts));
        let nothing = classes.without(&[PathClass::Elsewhere]).is_empty();
        let roots = self.facts.workspaces.iter().map(|root| Value::known(root.as_bytes()));
        (rest.first() == Some(&b'/')
            && nothing
            && !rest.split(|byte| *byte == b'/').any(|part| part == b".."))
        .then(|| roots.collect())
    }

    /// What arrives on standard input, where all of it is what `find` and its like print.
    fn listed(&self) -> Option<Vec<Value>> {
        let Input::Pipe(from) = self.stdin else { return None };
        let mut all = Vec::new();
        for index in from.iter().take(MOST + 1) {
            let listing = programs::output(self.invocations.get(*index)?)?;
            if !listing.exact {
                return None;
            }
            all.extend(listing.names);
        }
        (!all.is_empty() && all.len() <= MOST).then_some(all)
    }

    /// `$(...)`: its text is read, and its last command asked.
    fn of_substitution(&mut self, hole: &Unknown) -> Option<Vec<Value>> {
        let inner = substituted(&hole.source)?;
        let context = reader::of_request(self.facts, self.cwd);
        let evaluation = shell::read(inner, None, &context, self.budget).ok()?;
        let last = evaluation.invocations.last()?;
        printed(last, &evaluation.invocations, 0)
    }

    /// The output of a `find` or `ls` of the same text that looks below this directory.
    fn of_listing(&self, below: &[u8], find: bool) -> Option<Vec<Value>> {
        let lists = |invocation: &&Rc<Invocation>| {
            let program = invocation.argv.first().and_then(Value::as_str).unwrap_or_default();
            program.ends_with(if find { "find" } else { "ls" })
                && invocation.argv.iter().skip(1).any(|word| word.prefix().starts_with(below))
        };
        printed(self.invocations.iter().find(lists)?, self.invocations, 0)
    }

    /// What a shell has started itself, as `kill` is given it: `$(jobs -p)`, `$(cat server.pid)` of a file into which the text
    /// has put `$!`.
    fn own_processes(&self, source: &str) -> Option<Vec<Value>> {
        let inner = substituted(source)?.trim();
        let file = inner.strip_prefix("cat ").or_else(|| inner.strip_prefix('<')).map(str::trim);
        let holds_own = |file: &Written| {
            let content = file.content.as_ref().map_or(&[] as &[Piece], |content| content.pieces.as_slice());
            let own = |piece: &Piece| matches!(piece, Piece::Unknown(hole) if hole.source == "$!");
            matches!(content, [piece] | [piece, Piece::Known(_)] if own(piece))
        };
        let is_own = match file {
            Some(path) => {
                let mut of_name =
                    self.written.iter().filter(|file| *file.path == *path.as_bytes()).peekable();
                of_name.peek().is_some() && of_name.all(holds_own)
            }
            None => matches!(inner, "jobs -p" | "jobs -pr" | "jobs -rp"),
        };
        let own = Unknown { source: "what this shell has started".to_owned(), ..Unknown::default() };
        is_own.then(|| vec![Value::unknown(own)])
    }

    /// `kill $(lsof -ti:3000)`
    fn asks_for_listeners(&self, value: &Value) -> bool {
        let of_port = |source: &str| substituted(source).is_some_and(lists_a_port);
        value.pieces.iter().all(|piece| matches!(piece, Piece::Unknown(hole) if of_port(&hole.source)))
    }

    /// What arrives on standard input, entry by entry.
    fn of_input(&self, input: Input) -> Option<Vec<Value>> {
        input_of(&input, self.invocations, 0)
    }
}

/// The text of a substitution.
fn substituted(source: &str) -> Option<&str> {
    let inner = source.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    inner.or_else(|| source.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')))
}

/// Whether a text is an `lsof` that lists who uses some port and nobody else: its selections add up.
fn lists_a_port(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    if !words.next().is_some_and(|word| word == "lsof" || word.ends_with("/lsof")) {
        return false;
    }
    let address = |word: &str| {
        let port = word.rsplit_once(':').map(|(_, port)| port.trim_matches(['"', '{', '}']));
        let port = port.map(|port| port.strip_prefix("$").unwrap_or(port).trim_start_matches('{'));
        port.is_some_and(|port| {
            let proper = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | '-');
            !port.is_empty() && port.chars().all(proper)
        })
    };
    let mut named = false;
    let mut waits = false;
    for word in words {
        let word = word.trim_start_matches('"');
        if std::mem::take(&mut waits) {
            named |= address(word);
            if !address(word) {
                return false;
            }
            continue;
        }
        if word == "2>/dev/null" {
            continue;
        }
        let Some(letters) = word.strip_prefix('-') else { return false };
        let known = letters.trim_start_matches(['t', 'n', 'P', 'a', 'w']);
        match known.split_at_checked(1) {
            None => {}
            // `-i :3000`, `-s tcp:listen`
            Some(("i" | "s", "")) => waits = true,
            Some(("i", rest)) if address(rest) => named = true,
            Some(("s", rest)) if address(rest) => {}
            _ => return false,
        }
    }
    named && !waits
}

fn input_of<I: Borrow<Invocation>>(input: &Input, invocations: &[I], depth: usize) -> Option<Vec<Value>> {
    match input {
        Input::Pipe(from) if depth < FARTHEST => {
            let mut all = Vec::new();
            for index in from.iter().take(MOST) {
                all.extend(printed(invocations.get(*index)?.borrow(), invocations, depth + 1)?);
            }
            Some(all)
        }
        Input::Text(value) => Some(vec![value.clone()]),
        Input::Known(bytes) => {
            let words = String::from_utf8_lossy(bytes).split_whitespace().map(Value::known).collect();
            Some(words)
        }
        _ => None,
    }
}

/// What a command prints, entry by entry.
fn printed<I: Borrow<Invocation>>(
    invocation: &Invocation,
    invocations: &[I],
    depth: usize,
) -> Option<Vec<Value>> {
    let (program, arguments) = invocation.argv.split_first()?;
    let program = program.as_str()?.rsplit('/').next()?;
    let operands = || arguments.iter().filter(|word| word.prefix().first() != Some(&b'-'));
    match program {
        "find" | "fd" | "tree" | "du" => Some(found(program, arguments)),
        "ls" | "dir" | "vdir" => {
            let listed: Vec<&Value> = operands().collect();
            if listed.is_empty() {
                return Some(vec![glob("*")]);
            }
            // A pattern is printed as it expands; a directory as what is in it.
            Some(
                listed
                    .into_iter()
                    .map(|word| if word.has_glob() { word.clone() } else { entries(word, "*") })
                    .collect(),
            )
        }
        "echo" | "printf" | "realpath" | "readlink" | "dirname" | "stat" | "basename" => {
            Some(operands().cloned().collect())
        }
        "lsblk" | "blkid" | "sfdisk" | "fdisk" | "lshw" | "parted" | "losetup" | "pvs" | "nvme" => {
            Some(vec![joined("/dev/sd", "*"), joined("/dev/nvme", "*")])
        }
        "df" | "findmnt" | "mount" => Some(vec![joined("/dev/sd", "*"), Value::known("/")]),
        "ps" | "pgrep" | "pidof" | "top" | "pstree" => Some(vec![pids(program, arguments)]),
        "seq" => Some(vec![glob("[0-9]*")]),
        // who has a file of a whole system tree open
        "lsof"
            if operands().any(|word| matches!(word.as_known(), Some(b"/" | b"/usr" | b"/lib" | b"/etc"))) =>
        {
            Some(vec![Value::known("-1")])
        }
        "lsof" => {
            Some(vec![Value::unknown(Unknown { source: "what lsof finds".to_owned(), ..Unknown::default() })])
        }
        "git" if operands().next().and_then(Value::as_str) == Some("ls-files") => Some(vec![glob("*")]),
        // These pass on what they read, or some of it.
        "cat" | "sort" | "uniq" | "head" | "tail" | "tac" | "shuf" | "grep" | "egrep" | "rev" | "tee"
        | "awk" | "sed" | "cut" | "tr" | "xargs" | "column" | "nl" | "paste"
            if matches!(invocation.stdin, Input::Pipe(_) | Input::Text(_)) =>
        {
            let passed = input_of(&invocation.stdin, invocations, depth + 1)?;
            let every = passed.iter().all(|value| value.as_known() == Some(b"-1"));
            let name = if every { name_picked(program, arguments) } else { None };
            // as `pgrep -f NAME`
            Some(name.map_or(passed, |name| vec![Value::known(name)]))
        }
        _ => None,
    }
}

/// The name that must be in the lines which a filter leaves: `grep node`, `awk '/node/ {print $2}'`.
fn name_picked(program: &str, arguments: &[Value]) -> Option<String> {
    let mut words = arguments.iter().filter_map(Value::as_str);
    let plain =
        |name: &str| name.chars().filter(|letter| !matches!(letter, '[' | ']' | '^' | '$' | '\\')).collect();
    match program {
        "grep" | "egrep" => {
            let inverted = |word: &str| {
                word == "--invert-match"
                    || word.starts_with('-') && !word.starts_with("--") && word.contains('v')
            };
            if words.clone().any(inverted) {
                return None;
            }
            words.find(|word| !word.starts_with('-')).filter(|name| is_a_name(name)).map(plain)
        }
        "awk" | "sed" => words.find_map(|text| {
            let mut parts = text.split('/');
            let before = parts.next().unwrap_or_default();
            let name = parts.next().filter(|name| is_a_name(name))?;
            parts.next().filter(|_| !before.trim_end().ends_with('!'))?;
            Some(plain(name))
        }),
        _ => None,
    }
}

/// Whether a pattern can only fit what has some name in it: not one that stands in the line of nearly every process.
fn is_a_name(pattern: &str) -> bool {
    let letters: String =
        pattern.chars().filter(|letter| !matches!(letter, '[' | ']' | '^' | '$' | '\\')).collect();
    let named = letters
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|part| part.len() >= 3 && part.chars().any(|letter| letter.is_ascii_alphabetic()));
    named
        && !pattern.contains('|')
        && !["a-z", "A-Z", "0-9"].iter().any(|class| pattern.contains(class))
        && !matches!(letters.as_str(), "root" | "pts" | "tty" | "bin" | "usr")
}

/// `$name`
fn is_variable(hole: &Unknown) -> bool {
    let name = hole.source.strip_prefix('$').unwrap_or_default();
    name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn some_processes() -> Value {
    Value::unknown(Unknown { source: "$(some processes)".to_owned(), ..Unknown::default() })
}

/// What `find` prints: the tree, or, where a name is asked for, what has that name.
fn found(program: &str, arguments: &[Value]) -> Vec<Value> {
    let is_root = |word: &&Value| !matches!(word.prefix().first(), Some(b'-' | b'(' | b'!'));
    let mut roots: Vec<Value> = if program == "fd" {
        Vec::new()
    } else {
        arguments
            .iter()
            .skip_while(|word| matches!(word.as_str(), Some("-L" | "-H" | "-P")))
            .take_while(is_root)
            .cloned()
            .collect()
    };
    if roots.is_empty() {
        roots.push(Value::known("."));
    }
    let text = |index: usize| arguments.get(index).and_then(Value::as_str);
    let mut name = "*".to_owned();
    let mut narrowed = program == "fd";
    for index in 0..arguments.len() {
        match text(index) {
            Some("-name" | "-iname") => text(index + 1).unwrap_or("*").clone_into(&mut name),
            Some(option) if NARROWING.contains(&option) => narrowed = true,
            _ => {}
        }
    }
    let below = |root: Value| {
        if narrowed && let Some(path) = root.as_known() {
            let below = Some(path.to_vec());
            return Value::unknown(Unknown {
                source: "what is found".to_owned(),
                below,
                ..Unknown::default()
            });
        }
        if name == "*" { entries(&root, "*") } else { entries(&entries_at_any_depth(&root), &name) }
    };
    roots.into_iter().map(below).collect()
}

/// Tests of `find` that leave only some of a tree, whatever its names.
const NARROWING: &[&str] = &[
    "-mtime",
    "-mmin",
    "-atime",
    "-amin",
    "-ctime",
    "-cmin",
    "-newer",
    "-size",
    "-empty",
    "-user",
    "-group",
    "-perm",
    "-path",
    "-ipath",
    "-regex",
    "-iregex",
    "-wholename",
    "-inum",
    "-samefile",
    "-links",
    "-uid",
    "-gid",
    "-nouser",
    "-nogroup",
];

/// Process ids: every process, unless some are asked for.
fn pids(program: &str, arguments: &[Value]) -> Value {
    let words = || arguments.iter().filter_map(Value::as_str);
    let is_init = |word: &str| matches!(word, "init" | "systemd" | "launchd");
    let whole_user = words().any(|word| matches!(word, "-u" | "-U" | "--euid" | "--uid" | "--user"));
    let all = match program {
        "ps" => {
            words().any(|word| {
                let letters = word.trim_start_matches('-');
                // the format that `o` asks for is no selection
                let selects = letters.split('o').next().unwrap_or_default();
                let every = selects.contains('a') && selects.contains('x');
                let unix = word.starts_with('-') && !word.starts_with("--");
                letters.bytes().all(|letter| letter.is_ascii_alphabetic())
                    && (every || unix && selects.contains(['e', 'A']))
            }) || whole_user
        }
        // a pattern that fits every name, or all but some
        "pgrep" => {
            let has = |letter: char| {
                words().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter))
            };
            let mut patterns = words().filter(|word| !word.starts_with('-') || word.is_empty());
            if whole_user {
                words().filter(|word| !word.starts_with('-')).count() <= 1
            } else {
                patterns.any(|pattern| fits_nearly_all(pattern, has('f'), has('x'), has('i')))
                    || words().any(is_init)
                    || words().any(|word| word == "-v" || word == "--inverse")
                    || arguments.is_empty()
            }
        }
        "pidof" => words().any(is_init),
        "top" | "pstree" => true,
        _ => false,
    };
    if all {
        return Value::known("-1");
    }
    // `pgrep -f vite`: whoever has that name
    let options = words().any(|word| matches!(word, "-u" | "-U" | "-g" | "-G" | "-P" | "-s" | "-t" | "-F"));
    match words().filter(|word| !word.starts_with('-')).collect::<Vec<_>>().as_slice() {
        [name] if !options && matches!(program, "pgrep" | "pidof") && name.parse::<i64>().is_err() => {
            Value::known(*name)
        }
        _ => some_processes(),
    }
}

/// The ids of all processes, where what names them is the directory of processes: `ls /proc`, `/proc/[0-9]*`.
fn every_process(value: &Value) -> bool {
    let text: Vec<u8> = value
        .pieces
        .iter()
        .flat_map(|piece| match piece {
            Piece::Known(bytes) | Piece::Glob(bytes) => bytes.to_vec(),
            Piece::Unknown(unknown) => unknown.below.clone().unwrap_or_default(),
        })
        .collect();
    text.starts_with(b"[0-9]*") || text.starts_with(b"/proc/") || text == b"/proc"
}

/// What is in a directory.
fn entries(directory: &Value, pattern: &str) -> Value {
    let mut value = directory.clone();
    if value.suffix().last() != Some(&b'/') {
        value.push(Piece::known(b"/"));
    }
    value.push(Piece::glob(pattern.as_bytes()));
    value
}

/// Any directory below a directory.
fn entries_at_any_depth(directory: &Value) -> Value {
    let mut value = directory.clone();
    value.push(Piece::known(b"/"));
    value.push(Piece::from(Unknown {
        source: "...".to_owned(),
        below: Some(b".".to_vec()),
        ..Unknown::default()
    }));
    value
}

fn glob(pattern: &str) -> Value {
    Value::from([Piece::glob(pattern.as_bytes())])
}

fn joined(prefix: &str, pattern: &str) -> Value {
    Value::from([Piece::known(prefix.as_bytes()), Piece::glob(pattern.as_bytes())])
}

/// The operand of an effect that lists are given to.
fn operand_of(effect: &Effect) -> Option<&Value> {
    match effect {
        Effect::Delete { path, .. }
        | Effect::Write { path, .. }
        | Effect::Read { path }
        | Effect::Metadata { path, .. }
        | Effect::Device { path, .. } => Some(path),
        Effect::Kill { target, .. } => Some(target),
        _ => None,
    }
}

/// The same effect on another operand.
fn with_operand(effect: &Effect, value: Value) -> Option<Effect> {
    let mut changed = effect.clone();
    match &mut changed {
        Effect::Delete { path, .. }
        | Effect::Write { path, .. }
        | Effect::Read { path }
        | Effect::Metadata { path, .. }
        | Effect::Device { path, .. } => *path = value,
        Effect::Kill { target, .. } => *target = value,
        _ => return None,
    }
    Some(changed)
}
