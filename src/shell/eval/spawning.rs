//! Loops and functions that start processes faster than these end: fork bombs, and crowds of more than a machine may bear.
//!
//! A loop counts where each round starts something in the background and waits for nothing. How many rounds there are is read
//! off its condition, its list or what it reads. A function counts where it starts itself beside itself.

use super::super::ast::{Id, Kind, Node, PartKind, RedirOp, Script, Slice, Target, Then};
use super::super::{Input, Oddity, Span, Value};
use super::simple::Reading;
use super::{Evaluator, Ix};

/// How often a loop goes round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounds {
    /// As often as is harmless, or nobody knows.
    Few,
    /// More than [`MOST`] times, or until something outside changes.
    Many,
    Endless,
}

/// So many processes at once are a crowd.
const MOST: u64 = 1000;
/// How deep groups and functions within the body of a loop are looked into, and at how many commands.
const DEEPEST_GROUP: usize = 8;
const MOST_LOOKED_AT: usize = 256;
/// Files that never end.
const ENDLESS: &[&[u8]] = &[b"/dev/zero", b"/dev/urandom", b"/dev/random", b"/dev/full"];
/// Programs that return at once, and say that all is well.
const AT_ONCE: &[&[u8]] =
    &[b":", b"true", b"echo", b"printf", b"date", b"pwd", b"id", b"whoami", b"uname", b"hostname", b"uptime"];
/// Others that return at once.
const QUICK: &[&[u8]] =
    &[b"disown", b"let", b"bg", b"export", b"local", b"declare", b"set", b"shift", b"unset", b"test", b"["];
const SHELLS: &[&[u8]] = &[b"sh", b"bash", b"dash", b"zsh", b"ksh", b"ash"];

/// What a body does each time round.
#[derive(Debug, Default)]
struct Body {
    starts: bool,
    waits: bool,
    /// It adds to a file.
    grows: bool,
    /// It starts something, or waits or ends, in a branch that need not be taken.
    may_start: bool,
    may_wait: bool,
    looked_at: usize,
}

impl Evaluator<'_> {
    /// Looks at a loop: without end it is a fork bomb, with too many rounds a crowd.
    pub(super) fn spawning(&mut self, script: &Script, ix: Ix, node: &Node) {
        let (rounds, body) = match node.kind {
            Kind::While { condition, body } => (self.rounds_of_while(script, node, condition), body),
            Kind::ForArith { words, body } => (rounds_of_arithmetic(script, words), body),
            Kind::For { words: Some(words), body, .. } => (rounds_of_list(script, words), body),
            _ => return,
        };
        if rounds == Rounds::Few {
            return;
        }
        let mut found = Body::default();
        self.look_at(script, body, &mut found, 0);
        let grows = found.grows && rounds == Rounds::Endless;
        if found.waits || !found.starts && !found.may_start && !grows {
            return;
        }
        let span = self.span_of(ix, node.span);
        if !found.starts || found.may_wait {
            return self.out.oddities.push(Oddity::Crowd { span });
        }
        self.out.oddities.push(match rounds {
            Rounds::Endless => Oddity::SelfForking { name: "loop".to_owned(), span },
            _ => Oddity::Crowd { span },
        });
    }

    fn rounds_of_while(&self, script: &Script, node: &Node, condition: Id) -> Rounds {
        let until = script.bytes(node.span).starts_with(b"until");
        match always(script, condition) {
            Some(holds) if holds != until => return Rounds::Endless,
            Some(_) => return Rounds::Few,
            None => {}
        }
        let Some(Kind::List { items }) = script.node(condition).map(|node| node.kind) else {
            return Rounds::Few;
        };
        let last = script.items.get(items.range()).and_then(<[_]>::last);
        let kind = last.and_then(|item| script.node(item.node)).map(|node| node.kind);
        let text = script.node(condition).map_or(&[][..], |node| script.bytes(node.span));
        if let Some(Kind::Simple { words, .. }) = kind {
            match script.ids(words).first().and_then(|word| script.plain(*word)) {
                Some(b"read") => return if until { Rounds::Few } else { self.rounds_of_input() },
                Some(program) if AT_ONCE.contains(&program) && !until => return Rounds::Endless,
                _ => {}
            }
        }
        // a condition without a variable asks for something that the loop does not change
        let varies = text.contains(&b'$') || matches!(kind, Some(Kind::Arith { .. }));
        if largest(text) > MOST || !varies { Rounds::Many } else { Rounds::Few }
    }

    /// Rounds of `while read`: one for each line of standard input.
    fn rounds_of_input(&self) -> Rounds {
        match &self.place.stdin {
            Input::File(path) if path.as_known().is_some_and(|path| ENDLESS.contains(&path)) => {
                Rounds::Endless
            }
            Input::Known(bytes) => of_count(bytes.iter().filter(|byte| **byte == b'\n').count() as u64),
            Input::Pipe(writers) => {
                let argv =
                    |index: &usize| self.out.invocations.get(*index).map(|writer| writer.argv.as_slice());
                writers.iter().take(DEEPEST_GROUP).filter_map(argv).map(rounds_of_writer).fold(
                    Rounds::Few,
                    |most, rounds| {
                        if most == Rounds::Endless || rounds == Rounds::Few { most } else { rounds }
                    },
                )
            }
            _ => Rounds::Few,
        }
    }

    /// Whether the commands of a list start something in the background, and whether any in front of it may take time.
    fn look_at(&self, script: &Script, list: Id, body: &mut Body, depth: usize) {
        let Some(Kind::List { items }) = script.node(list).map(|node| node.kind) else { return };
        for item in script.items.get(items.range()).unwrap_or(&[]) {
            body.looked_at += 1;
            if body.looked_at > MOST_LOOKED_AT {
                body.waits = true;
                return;
            }
            if item.then == Then::Background {
                body.starts = true;
                continue;
            }
            let Some(node) = script.node(item.node) else { continue };
            match node.kind {
                Kind::Group { list } | Kind::Subshell { list } if depth < DEEPEST_GROUP => {
                    self.look_at(script, list, body, depth + 1);
                }
                Kind::Simple { words, .. } => self.look_at_command(script, node, words, body, depth),
                Kind::Coproc { .. } => body.starts = true,
                Kind::While { condition, body: inner } if depth < DEEPEST_GROUP => {
                    self.look_at(script, condition, body, depth + 1);
                    self.look_at(script, inner, body, depth + 1);
                }
                Kind::For { body: inner, .. } | Kind::ForArith { body: inner, .. }
                    if depth < DEEPEST_GROUP =>
                {
                    self.look_at(script, inner, body, depth + 1);
                }
                Kind::If { lists } if depth < DEEPEST_GROUP => {
                    let (condition, branches) = match script.ids(lists).split_first() {
                        Some((condition, branches)) => (Some(*condition), branches.to_vec()),
                        None => (None, Vec::new()),
                    };
                    condition.into_iter().for_each(|list| self.look_at(script, list, body, depth + 1));
                    self.look_at_branches(script, &branches, body, depth);
                }
                Kind::Case { arms, .. } if depth < DEEPEST_GROUP => {
                    let arms = script.arms.get(arms.range()).unwrap_or(&[]);
                    let branches: Vec<Id> = arms.iter().filter_map(|arm| arm.body).collect();
                    self.look_at_branches(script, &branches, body, depth);
                }
                Kind::Arith { .. } | Kind::Cond { .. } => {}
                _ => body.waits = true,
            }
        }
    }

    /// Looks at lists of which one may run.
    fn look_at_branches(&self, script: &Script, branches: &[Id], body: &mut Body, depth: usize) {
        for list in branches {
            let mut branch = Body { looked_at: body.looked_at, ..Body::default() };
            self.look_at(script, *list, &mut branch, depth + 1);
            body.looked_at = branch.looked_at;
            body.waits |= body.looked_at > MOST_LOOKED_AT;
            body.may_start |= branch.starts || branch.may_start;
            body.may_wait |= branch.waits || branch.may_wait;
        }
    }

    fn look_at_command(&self, script: &Script, node: &Node, words: Slice, body: &mut Body, depth: usize) {
        let words = script.ids(words);
        let program = words.first().and_then(|word| script.plain(*word));
        let Some(program) = program else {
            body.waits |= !words.is_empty();
            return;
        };
        let mut rest: Vec<&[u8]> = Vec::with_capacity(words.len());
        rest.extend(words.iter().skip(1).map(|word| literal(script, *word).unwrap_or_default()));
        let named = std::str::from_utf8(program).ok().and_then(|name| self.functions.get(name)?.last());
        if let Some(function) = named.filter(|_| depth < DEEPEST_GROUP) {
            let script = self.script(function.ix);
            match script.node(function.body).map(|node| node.kind) {
                Some(Kind::Group { list } | Kind::Subshell { list }) => {
                    self.look_at(&script, list, body, depth + 1);
                }
                _ => body.waits = true,
            }
        } else if AT_ONCE.contains(&program)
            || QUICK.contains(&program)
            || program == b"exec" && rest.is_empty()
        {
            body.starts |= names_process(script, node, words);
            let redirs = script.redirs.get(node.redirs.range()).unwrap_or(&[]);
            body.grows |=
                redirs.iter().any(|redir| matches!(redir.op, RedirOp::Append | RedirOp::AppendBoth));
        } else if detaches(program, &rest) {
            body.starts = true;
        } else {
            let zero = |time: &&[u8]| time.iter().all(|byte| matches!(byte, b'0' | b'.'));
            body.waits |= program != b"sleep" || !rest.iter().all(zero);
        }
    }

    /// Another call of a function that is being walked, in a command substitution: where nothing can end it, it is a chain of
    /// processes without end.
    pub(super) fn is_chain(&self, name: &str, captures: usize) -> bool {
        if self.captures.len() <= captures {
            return false;
        }
        let Some(function) = self.functions.get(name).and_then(|all| all.last()) else { return false };
        let script = self.script(function.ix);
        let Some(node) = script.node(function.body) else { return false };
        let text = script.bytes(node.span);
        let ends: &[&[u8]] =
            &[b"return", b"exit", b"if", b"case", b"&&", b"||", b"for", b"while", b"until", b"kill", b"exec"];
        // a body of some length ends it in a way that is not looked for
        text.len() < 256 && !ends.iter().any(|word| text.windows(word.len()).any(|part| part == *word))
    }

    /// `b() { bash -c b & bash -c b & }; export -f b`: a function that another program is told to call.
    pub(super) fn notice_calls(&mut self, reading: &Reading) {
        if self.calls.is_empty() {
            return;
        }
        let program = reading.argv.first().and_then(Value::as_str).unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or(program);
        let many = matches!(program, "parallel" | "xargs");
        if !many && !SHELLS.contains(&program.as_bytes()) {
            return;
        }
        let mut bomb = None;
        for word in reading.argv.iter().skip(1).take(DEEPEST_GROUP).filter_map(Value::as_str) {
            let mut tokens = word.split(|letter: char| letter.is_whitespace() || ";&|(){}".contains(letter));
            let Some(call) = tokens.find_map(|token| self.calls.iter().find(|call| call.name == token))
            else {
                continue;
            };
            let beside = self.place.background > call.background || backgrounds(word.as_bytes()) || many;
            if beside {
                bomb = Some(call.name.clone());
            }
        }
        if let Some(name) = bomb
            && self.exports_functions()
        {
            self.fork_bomb(&name);
        }
    }

    /// Whether the text exports functions at all: only then another shell knows them. It is looked through once.
    fn exports_functions(&mut self) -> bool {
        let ways: &[&[u8]] =
            &[b"export -f", b"declare -fx", b"declare -xf", b"typeset -fx", b"set -a", b"allexport"];
        let Some(script) = self.scripts.first() else { return false };
        *self.exports_functions.get_or_insert_with(|| {
            let text = script.bytes(Span { start: 0, end: script.source });
            ways.iter().any(|way| text.windows(way.len()).any(|part| part == *way))
        })
    }
}

/// The bytes of a word that is one literal.
fn literal(script: &Script, word: Id) -> Option<&[u8]> {
    match script.parts(word) {
        [part] if part.kind == PartKind::Literal => Some(script.bytes(part.span)),
        _ => None,
    }
}

/// Whether a command names a process substitution, which runs beside it: `: <(sleep 1h)`, `exec 3> >(sleep 1h)`.
fn names_process(script: &Script, node: &Node, words: &[Id]) -> bool {
    let redirs = script.redirs.get(node.redirs.range()).unwrap_or(&[]);
    let targets = redirs.iter().filter_map(|redir| match redir.target {
        Target::Word(word) => Some(word),
        Target::HereDoc(_) => None,
    });
    let is_process =
        |word: Id| script.parts(word).iter().any(|part| matches!(part.kind, PartKind::Process { .. }));
    words.iter().copied().chain(targets).any(is_process)
}

/// Whether a program returns while what it has started goes on.
fn detaches(program: &[u8], words: &[&[u8]]) -> bool {
    let has = |names: &[&[u8]]| words.iter().any(|word| names.contains(word));
    let letter = |letter: u8| {
        words.iter().any(|word| word.starts_with(b"-") && !word.starts_with(b"--") && word.contains(&letter))
    };
    let text = || words.iter().find(|word| !word.starts_with(b"-"));
    match program {
        b"setsid" => has(&[b"-f", b"--fork"]),
        b"screen" => letter(b'd') && letter(b'm'),
        b"tmux" => has(&[b"-d"]) && has(&[b"new", b"new-session", b"new-window", b"split-window", b"neww"]),
        b"docker" | b"podman" | b"nerdctl" => has(&[b"run"]) && (letter(b'd') || has(&[b"--detach"])),
        b"systemd-run" => !has(&[b"--scope", b"--wait", b"-P", b"--pipe", b"-t", b"--pty"]),
        b"at" | b"batch" | b"daemonize" | b"dtach" | b"daemon" => true,
        b"start-stop-daemon" => has(&[b"-b", b"--background"]),
        b"eval" => words.iter().any(|word| backgrounds(word)),
        _ => SHELLS.contains(&program) && letter(b'c') && text().is_some_and(|text| backgrounds(text)),
    }
}

/// Whether a text starts something in the background: an `&` that is no part of `&&`, `>&`, `&>`, and after which it does not
/// wait.
fn backgrounds(text: &[u8]) -> bool {
    let at = |index: usize| text.get(index).copied().unwrap_or_default();
    let alone = (0..text.len()).any(|index| {
        let before = index.checked_sub(1).map(at).unwrap_or_default();
        at(index) == b'&'
            && !matches!(before, b'&' | b'>' | b'<' | b'\\')
            && !matches!(at(index + 1), b'&' | b'>')
    });
    alone && !text.windows(4).any(|part| part == b"wait") && !text.windows(6).any(|part| part == b"sleep 0")
}

fn of_count(count: u64) -> Rounds {
    if count > MOST { Rounds::Many } else { Rounds::Few }
}

/// The largest whole number in a text.
fn largest(text: &[u8]) -> u64 {
    let numbers = text.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let value = |digits: &[u8]| {
        digits.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    };
    numbers.map(value).max().unwrap_or_default()
}

/// Rounds of a loop that reads what a command prints, line by line.
fn rounds_of_writer(argv: &[Value]) -> Rounds {
    let Some((program, words)) = argv.split_first() else { return Rounds::Few };
    let mut words = words.iter().filter_map(Value::as_known);
    match program.as_known() {
        Some(b"yes") => Rounds::Endless,
        Some(b"cat" | b"tr" | b"od" | b"xxd" | b"base64" | b"hexdump") => {
            if words.any(|word| ENDLESS.contains(&word)) { Rounds::Endless } else { Rounds::Few }
        }
        Some(b"seq" | b"head" | b"jot") => match words.next_back() {
            Some(b"inf" | b"infinity") => Rounds::Endless,
            Some(last) => of_count(largest(last)),
            None => Rounds::Few,
        },
        // every file that there is
        Some(b"find") if words.next() == Some(b"/") => Rounds::Many,
        _ => Rounds::Few,
    }
}

/// `for i in $(seq 100000)`, `for i in {1..100000}`.
fn rounds_of_list(script: &Script, words: Slice) -> Rounds {
    let ids = script.ids(words);
    if ids.len() as u64 > MOST {
        return Rounds::Many;
    }
    let makes = |text: &[u8]| {
        let ways: &[&[u8]] = &[b"..", b"seq ", b"head ", b"jot ", b"shuf ", b"range("];
        ways.iter().any(|way| text.windows(way.len()).any(|part| part == *way))
    };
    let texts = ids.iter().filter_map(|word| script.word(*word)).map(|word| script.bytes(word.span));
    texts
        .filter(|text| makes(text))
        .map(|text| of_count(largest(text)))
        .find(|rounds| *rounds != Rounds::Few)
        .unwrap_or(Rounds::Few)
}

/// `for ((;;))`, `for ((i = 0; i < 100000; i++))`, `for ((i = 1; i > 0; i++))`.
fn rounds_of_arithmetic(script: &Script, words: Slice) -> Rounds {
    let mut texts = script
        .ids(words)
        .iter()
        .map(|word| script.word(*word).map_or(&[][..], |word| script.bytes(word.span)).trim_ascii());
    let (first, condition, step) = (texts.next(), texts.next(), texts.next().unwrap_or_default());
    let condition = condition.unwrap_or_default();
    if condition.is_empty() {
        return Rounds::Endless;
    }
    let digits = condition.iter().all(u8::is_ascii_digit);
    if digits {
        return if largest(condition) == 0 { Rounds::Few } else { Rounds::Endless };
    }
    let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let up = has(step, b"++") || has(step, b"+=");
    let down = has(step, b"--") || has(step, b"-=");
    let (less, more) = (condition.contains(&b'<'), condition.contains(&b'>'));
    if step.is_empty() || up && more && !less || down && less && !more {
        // the body may still end it, but not by what is counted
        return if step.is_empty() { of_count(largest(condition)) } else { Rounds::Endless };
    }
    of_count(largest(condition).max(if down { first.map_or(0, largest) } else { 0 }))
}

/// The outcome of a condition that its words tell: of `:`, `[ 1 ]`, `((1))`, `! false`. To `sleep 0` there is no end either.
fn always(script: &Script, condition: Id) -> Option<bool> {
    let Kind::List { items } = script.node(condition)?.kind else { return None };
    let [item] = script.items.get(items.range())? else { return None };
    let mut kind = script.node(item.node)?.kind;
    let mut negated = false;
    // one command alone is a pipeline only where it is negated
    if let Kind::Pipeline { commands } = kind
        && let [command] = script.ids(commands)
    {
        negated = true;
        kind = script.node(*command)?.kind;
    }
    let text = |words: Slice| -> Option<Vec<&[u8]>> {
        let literal = |word: &Id| match script.parts(*word) {
            [part] if part.kind == PartKind::Literal => Some(script.bytes(part.span)),
            _ => None,
        };
        script.ids(words).iter().map(literal).collect()
    };
    let holds = match kind {
        Kind::Simple { words, .. } => {
            let words = text(words)?;
            match words.as_slice() {
                [b":" | b"true"] | [b"/bin/true"] => Some(true),
                [b"false"] => Some(false),
                [b"sleep", time] if time.iter().all(|byte| matches!(byte, b'0' | b'.')) => Some(true),
                [b"test", rest @ ..] | [b"[", rest @ .., b"]"] => of_test(rest),
                _ => None,
            }
        }
        Kind::Cond { words } => text(words).and_then(|words| of_test(&words)),
        Kind::Arith { word } => script.word(word).and_then(|word| {
            let text = std::str::from_utf8(script.bytes(word.span)).ok()?;
            text.trim().parse::<i64>().ok().map(|number| number != 0)
        }),
        _ => None,
    };
    holds.map(|holds| holds != negated)
}

/// A test whose outcome its words tell.
fn of_test(words: &[&[u8]]) -> Option<bool> {
    match words {
        [] => Some(false),
        [b"!", rest @ ..] => of_test(rest).map(|holds| !holds),
        [one] => Some(!one.is_empty()),
        [b"-n", text] => Some(!text.is_empty()),
        [b"-z", text] => Some(text.is_empty()),
        [b"-d" | b"-e", b"/" | b"."] => Some(true),
        [left, b"=" | b"==" | b"-eq", right] => Some(left == right),
        [left, b"!=" | b"-ne", right] => Some(left != right),
        _ => None,
    }
}
