//! What sed makes of text that is known: the lines that it prints, and the files that it writes.
//!
//! A script is followed where both kinds of sed read it alike; for anything else there is no answer.

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::constants::MOST;

/// Patterns longer than this are not followed.
const LONGEST_PATTERN: usize = 256;
/// Commands of one script, and how many of them are carried out in all.
const MOST_COMMANDS: usize = 128;
const MOST_STEPS: usize = 50_000;

/// What a script makes.
#[derive(Default)]
pub(super) struct Edited {
    pub(super) text: Vec<u8>,
    /// What `w` writes, by the names of the files.
    pub(super) files: Vec<(Vec<u8>, Vec<u8>)>,
    /// The last line of it has no end as yet: it gets one before anything else is printed.
    open: bool,
}

/// Arguments of sed, as far as they are followed.
#[derive(Default)]
pub(super) struct Arguments<'a> {
    pub(super) in_place: bool,
    extended: bool,
    quiet: bool,
    scripts: Vec<&'a [u8]>,
    pub(super) files: Vec<&'a [u8]>,
}

impl<'a> Arguments<'a> {
    /// Reads the words behind `sed`.
    pub(super) fn read(words: &[&'a [u8]]) -> Option<Self> {
        let mut found = Self::default();
        let mut words = words.iter().copied();
        let mut plain = Vec::new();
        while let Some(word) = words.next() {
            match word {
                b"--regexp-extended" => found.extended = true,
                b"--quiet" | b"--silent" => found.quiet = true,
                b"--posix" | b"--unbuffered" => {}
                b"--expression" => found.scripts.push(words.next()?),
                b"-" => plain.push(word),
                _ if word.starts_with(b"--in-place") => found.in_place = true,
                _ if word.starts_with(b"--") => found.scripts.push(word.strip_prefix(b"--expression=")?),
                [b'-', letters @ ..] => {
                    for (at, letter) in letters.iter().enumerate() {
                        match letter {
                            b'E' | b'r' => found.extended = true,
                            b'n' => found.quiet = true,
                            b'u' => {}
                            // what stands behind it is the end of the name that is kept
                            b'i' => {
                                found.in_place = true;
                                break;
                            }
                            b'e' => {
                                let rest = letters.get(at + 1..).filter(|rest| !rest.is_empty());
                                found.scripts.push(match rest {
                                    Some(rest) => rest,
                                    None => words.next()?,
                                });
                                break;
                            }
                            _ => return None,
                        }
                    }
                }
                _ => plain.push(word),
            }
        }
        // `sed -i '' s/x/y/ file` of the BSDs
        if found.in_place && plain.len() > 1 && plain.first().is_some_and(|word| word.is_empty()) {
            plain.remove(0);
        }
        if found.scripts.is_empty() {
            found.scripts.push(*plain.first()?);
            plain.remove(0);
        }
        found.files = plain;
        Some(found)
    }

    /// Whether the script may write files of its own.
    pub(super) fn may_write(&self) -> bool {
        self.scripts.iter().any(|script| script.contains(&b'w'))
    }

    /// Carries the script out.
    pub(super) fn run(&self, input: &[u8]) -> Option<Edited> {
        let script = self.scripts.join(&b'\n');
        Machine::new(&script, self.extended, self.quiet)?.run(input)
    }
}

/// What `perl -p` makes of text where its code is substitutions as sed has them.
pub(super) fn substituted_by_perl(code: &[u8], input: &[u8]) -> Option<Vec<u8>> {
    let mut machine = Machine::new(code, true, false)?;
    // variables stand in patterns and replacements
    let plain =
        |command: &Command| matches!(command.function, Function::Substitute(_)) && command.from.is_none();
    let is_plain = machine.commands.iter().all(plain) && !code.iter().any(|byte| b"$@&".contains(byte));
    if is_plain { machine.run(input).map(|edited| edited.text) } else { None }
}

/// The lines that grep finds, or with `-o` what it finds in them.
pub(super) fn found_by_grep(name: &[u8], args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let (mut extended, mut fixed) = (name == b"egrep", name == b"fgrep");
    let (mut folds, mut inverted, mut only) = (false, false, false);
    let mut pattern = None;
    for arg in args {
        match arg.strip_prefix(b"-") {
            Some(letters) if !letters.is_empty() && pattern.is_none() => {
                for letter in letters {
                    match letter {
                        b'E' => extended = true,
                        b'F' => fixed = true,
                        b'i' => folds = true,
                        b'v' => inverted = true,
                        b'o' => only = true,
                        b'h' | b'a' | b'e' => {}
                        _ => return None,
                    }
                }
            }
            _ if pattern.is_none() => pattern = Some(*arg),
            _ => return None,
        }
    }
    let pattern = pattern.filter(|pattern| !pattern.contains(&b'\n'))?;
    let regex = if fixed {
        let escaped = regex::escape(std::str::from_utf8(pattern).ok()?);
        RegexBuilder::new(&escaped).unicode(false).case_insensitive(folds).build().ok()?
    } else {
        regex(pattern, extended, folds)?
    };
    let lines = super::filters::lines(input).into_iter().filter(|line| regex.is_match(line) != inverted);
    let found: Vec<&[u8]> = if only {
        let all =
            lines.flat_map(|line| regex.find_iter(line).map(|found| found.as_bytes()).collect::<Vec<_>>());
        all.filter(|found| !found.is_empty()).collect()
    } else {
        lines.collect()
    };
    Some(super::filters::ended(&found))
}

enum Address {
    Line(usize),
    Last,
    Matching(Regex),
}

struct Substitution {
    regex: Regex,
    replacement: Vec<u8>,
    all: bool,
    /// The first that is replaced.
    first: usize,
    print: bool,
    file: Option<Vec<u8>>,
}

enum Function {
    Substitute(Box<Substitution>),
    Map(Vec<(u8, u8)>),
    Delete,
    DeleteFirst,
    Print,
    PrintFirst,
    Quit {
        print: bool,
    },
    Append(Vec<u8>),
    Insert(Vec<u8>),
    Change(Vec<u8>),
    Hold {
        append: bool,
    },
    Get {
        append: bool,
    },
    Exchange,
    Next,
    Join,
    Branch {
        label: Vec<u8>,
        after: Option<bool>,
    },
    Label(Vec<u8>),
    /// Up to the command of this number, unless the address fits.
    Open(usize),
    Close,
    Write(Vec<u8>),
    Number,
}

struct Command {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    function: Function,
    /// Whether it is between the lines of its addresses, and whether it ever was.
    inside: bool,
    started: bool,
}

struct Machine {
    commands: Vec<Command>,
    quiet: bool,
}

impl Machine {
    fn new(script: &[u8], extended: bool, quiet: bool) -> Option<Self> {
        let mut rest = script;
        let mut quiet = quiet;
        if let Some(behind) = rest.strip_prefix(b"#n\n") {
            (rest, quiet) = (behind, true);
        }
        let mut commands: Vec<Command> = Vec::new();
        let mut open = Vec::new();
        loop {
            let start = rest.iter().position(|byte| !b" \t\n;".contains(byte)).unwrap_or(rest.len());
            rest = rest.get(start..)?;
            if rest.is_empty() {
                break;
            }
            if commands.len() >= MOST_COMMANDS {
                return None;
            }
            if rest.starts_with(b"#") {
                rest = line(rest).1;
                continue;
            }
            let (command, behind) = command(rest, extended)?;
            rest = behind;
            match command.function {
                Function::Open(_) => open.push(commands.len()),
                Function::Close => {
                    let end = commands.len();
                    commands.get_mut(open.pop()?)?.function = Function::Open(end);
                }
                _ => {}
            }
            commands.push(command);
        }
        let labels = || {
            commands.iter().filter_map(|command| match &command.function {
                Function::Label(label) => Some(label),
                _ => None,
            })
        };
        let leads = |command: &Command| match &command.function {
            Function::Branch { label, .. } => label.is_empty() || labels().any(|own| own == label),
            _ => true,
        };
        (open.is_empty() && commands.iter().all(leads)).then_some(Self { commands, quiet })
    }

    fn run(&mut self, input: &[u8]) -> Option<Edited> {
        let mut made = Edited::default();
        let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        let ended = lines.last().is_some_and(|line| line.is_empty());
        if ended {
            lines.pop();
        }
        let (mut space, mut held): (Vec<u8>, Vec<u8>) = Default::default();
        let mut steps = 0;
        let mut number = 0;
        // `D` begins again with what is left
        let mut kept = false;
        // the last line may have no end
        let mut has_end = true;
        'lines: while number < lines.len() || kept {
            if !kept {
                space = lines.get(number)?.to_vec();
                number += 1;
                has_end = number < lines.len() || ended;
            }
            kept = false;
            let mut appended: Vec<u8> = Vec::new();
            let mut replaced = false;
            let mut at = 0;
            let mut print = !self.quiet;
            let mut quits = false;
            while at < self.commands.len() {
                steps += 1;
                if steps > MOST_STEPS || made.text.len() + space.len() + held.len() > MOST {
                    return None;
                }
                let last = number == lines.len();
                let chosen = self.commands.get_mut(at)?.chooses(number, last, &space)?;
                let command = self.commands.get(at)?;
                at += 1;
                if !chosen {
                    if let Function::Open(end) = command.function {
                        at = end;
                    }
                    continue;
                }
                match &command.function {
                    Function::Substitute(one) => {
                        let Some(changed) = one.apply(&space)? else { continue };
                        space = changed;
                        replaced = true;
                        if one.print {
                            made.print(&space, has_end);
                        }
                        if let Some(file) = &one.file {
                            made.write(file, &space);
                        }
                    }
                    Function::Map(pairs) => {
                        for byte in &mut space {
                            if let Some((_, to)) = pairs.iter().find(|(from, _)| from == byte) {
                                *byte = *to;
                            }
                        }
                    }
                    Function::Delete => (print, at) = (false, self.commands.len()),
                    Function::DeleteFirst => {
                        (print, at) = (false, self.commands.len());
                        if let Some(end) = space.iter().position(|byte| *byte == b'\n') {
                            space.drain(..=end);
                            kept = true;
                        }
                    }
                    Function::Print => made.print(&space, has_end),
                    Function::PrintFirst => {
                        made.print(line(&space).0, has_end || space.contains(&b'\n'));
                    }
                    Function::Quit { print: prints } => {
                        print &= prints;
                        quits = true;
                        at = self.commands.len();
                    }
                    Function::Append(text) => {
                        appended.extend_from_slice(text);
                        appended.push(b'\n');
                    }
                    Function::Insert(text) => made.print(text, true),
                    Function::Change(text) => {
                        if command.to.is_none() || !command.inside || command.negated {
                            made.print(text, true);
                        }
                        (print, at) = (false, self.commands.len());
                    }
                    Function::Hold { append: false } => held.clone_from(&space),
                    Function::Hold { append: true } => {
                        held.extend_from_slice(&[b"\n", space.as_slice()].concat())
                    }
                    // what is held has an end
                    Function::Get { append: false } => {
                        has_end = true;
                        space.clone_from(&held);
                    }
                    Function::Get { append: true } => {
                        has_end = true;
                        space.extend_from_slice(&[b"\n", held.as_slice()].concat());
                    }
                    Function::Exchange => {
                        has_end = true;
                        std::mem::swap(&mut space, &mut held);
                    }
                    Function::Next | Function::Join => {
                        let joins = matches!(command.function, Function::Join);
                        let Some(next) = lines.get(number) else {
                            quits = true;
                            break;
                        };
                        if !appended.is_empty() {
                            return None;
                        }
                        if joins {
                            space.push(b'\n');
                        } else {
                            if print {
                                made.print(&space, true);
                            }
                            space.clear();
                        }
                        space.extend_from_slice(next);
                        number += 1;
                        has_end = number < lines.len() || ended;
                    }
                    Function::Branch { label, after } => {
                        let jumps = after.is_none_or(|wanted| wanted == replaced);
                        if after.is_some() {
                            replaced = false;
                        }
                        if jumps && label.is_empty() {
                            at = self.commands.len();
                        } else if jumps {
                            let is_label = |command: &Command| matches!(&command.function, Function::Label(own) if own == label);
                            at = self.commands.iter().position(is_label)?;
                        }
                    }
                    Function::Label(_) | Function::Open(_) | Function::Close => {}
                    Function::Write(file) => made.write(file, &space),
                    Function::Number => made.print(number.to_string().as_bytes(), true),
                }
            }
            if print {
                made.print(&space, has_end);
            }
            if let Some(text) = appended.strip_suffix(b"\n") {
                made.print(text, true);
            }
            if quits {
                break 'lines;
            }
        }
        (made.text.len() <= MOST).then_some(made)
    }
}

impl Edited {
    fn print(&mut self, text: &[u8], ends: bool) {
        if self.open {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(text);
        self.open = !ends;
        if ends {
            self.text.push(b'\n');
        }
    }

    fn write(&mut self, file: &[u8], text: &[u8]) {
        let own = match self.files.iter_mut().find(|(name, _)| name == file) {
            Some((_, own)) => own,
            None => {
                self.files.push((file.to_vec(), Vec::new()));
                let Some((_, own)) = self.files.last_mut() else { return };
                own
            }
        };
        own.extend_from_slice(text);
        own.push(b'\n');
    }
}

impl Command {
    /// Whether the addresses choose this line; `None` where that depends on which sed it is.
    fn chooses(&mut self, number: usize, last: bool, space: &[u8]) -> Option<bool> {
        let fits = |address: &Address| match address {
            Address::Line(line) => *line == number,
            Address::Last => last,
            Address::Matching(regex) => regex.is_match(space),
        };
        let chosen = match (&self.from, &self.to) {
            (None, _) => true,
            (Some(from), None) => fits(from),
            (Some(_), Some(to)) if self.inside => {
                // one that was jumped over
                if matches!(to, Address::Line(line) if number > *line) {
                    return None;
                }
                self.inside = match to {
                    Address::Line(line) => number < *line,
                    other => !fits(other),
                };
                true
            }
            (Some(from), Some(to)) => {
                let starts = fits(from);
                if !starts && !self.started && matches!(from, Address::Line(line) if number > *line) {
                    return None;
                }
                let ends = matches!(to, Address::Line(line) if *line <= number);
                self.inside = starts && !ends && !matches!(to, Address::Last if last);
                self.started |= starts;
                starts
            }
        };
        Some(chosen != self.negated)
    }
}

impl Substitution {
    /// The text with what is replaced; `Some(None)` where nothing is.
    fn apply(&self, space: &[u8]) -> Option<Option<Vec<u8>>> {
        let mut out = Vec::with_capacity(space.len());
        let mut end = 0;
        let mut any = false;
        for (index, found) in self.regex.captures_iter(space).enumerate() {
            if index + 1 < self.first {
                continue;
            }
            let whole = found.get(0)?;
            out.extend_from_slice(space.get(end..whole.start())?);
            Captures::expand(&found, &self.replacement, &mut out);
            end = whole.end();
            any = true;
            if out.len() > MOST {
                return None;
            }
            if !self.all {
                break;
            }
        }
        out.extend_from_slice(space.get(end..)?);
        Some(any.then_some(out))
    }
}

fn unindented(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// A line, and what stands behind it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}

/// Reads a command with its addresses.
fn command(text: &[u8], extended: bool) -> Option<(Command, &[u8])> {
    let (from, mut rest) = address(text, extended)?;
    let mut to = None;
    if from.is_some()
        && let Some(behind) = rest.trim_ascii_start().strip_prefix(b",")
    {
        (to, rest) = address(behind.trim_ascii_start(), extended)?;
        to.as_ref()?;
    }
    rest = rest.trim_ascii_start();
    let negated = rest.starts_with(b"!");
    if negated {
        rest = rest.get(1..)?.trim_ascii_start();
    }
    let (name, rest) = rest.split_first()?;
    let (function, rest) = function(*name, rest, extended)?;
    let single = matches!(function, Function::Label(_) | Function::Close);
    if single && from.is_some() || to.is_some() && matches!(function, Function::Quit { .. }) {
        return None;
    }
    // what follows on the same line
    let rest = match rest.trim_ascii_start() {
        [] => &[][..],
        _ if matches!(function, Function::Open(_)) => rest,
        [b';' | b'}', ..] => rest,
        _ if rest.iter().find(|byte| !b" \t".contains(byte)) == Some(&b'\n') => rest,
        _ if ends_by_line(&function) => rest,
        _ => return None,
    };
    Some((Command { from, to, negated, function, inside: false, started: false }, rest))
}

/// Functions whose text ends with the line: all of that is read already.
fn ends_by_line(function: &Function) -> bool {
    match function {
        Function::Append(_) | Function::Insert(_) | Function::Change(_) | Function::Write(_) => true,
        Function::Substitute(one) => one.file.is_some(),
        _ => false,
    }
}

fn address(text: &[u8], extended: bool) -> Option<(Option<Address>, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 {
        let (number, rest) = text.split_at(digits);
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        return (number > 0 && !rest.starts_with(b"~")).then_some((Some(Address::Line(number)), rest));
    }
    let (separator, rest) = match text {
        [b'$', rest @ ..] => return Some((Some(Address::Last), rest)),
        [b'/', rest @ ..] => (b'/', rest),
        [b'\\', separator, rest @ ..] => (*separator, rest),
        _ => return Some((None, text)),
    };
    let (pattern, rest) = part(rest, separator)?;
    let (folds, rest) = rest.strip_prefix(b"I").map_or((false, rest), |rest| (true, rest));
    Some((Some(Address::Matching(regex(pattern, extended, folds)?)), rest))
}

fn function(name: u8, rest: &[u8], extended: bool) -> Option<(Function, &[u8])> {
    let simple = match name {
        b's' => return substitution(rest, extended),
        b'y' => return mapping(rest),
        b'a' | b'i' | b'c' => {
            let (text, rest) = inserted(rest)?;
            let function = match name {
                b'a' => Function::Append(text),
                b'i' => Function::Insert(text),
                _ => Function::Change(text),
            };
            return Some((function, rest));
        }
        b':' | b'b' | b't' | b'T' => {
            let rest = unindented(rest);
            let end = rest.iter().position(|byte| b";}\n \t".contains(byte)).unwrap_or(rest.len());
            let (label, rest) = rest.split_at(end);
            let label = label.to_vec();
            let after = match name {
                b't' => Some(true),
                b'T' => Some(false),
                _ => None,
            };
            let function =
                if name == b':' { Function::Label(label) } else { Function::Branch { label, after } };
            return Some((function, rest));
        }
        b'w' => {
            let (file, rest) = line(rest);
            return Some((Function::Write(file_name(file)?), rest));
        }
        b'd' => Function::Delete,
        b'D' => Function::DeleteFirst,
        b'p' => Function::Print,
        b'P' => Function::PrintFirst,
        b'q' => Function::Quit { print: true },
        b'Q' => Function::Quit { print: false },
        b'h' => Function::Hold { append: false },
        b'H' => Function::Hold { append: true },
        b'g' => Function::Get { append: false },
        b'G' => Function::Get { append: true },
        b'x' => Function::Exchange,
        b'n' => Function::Next,
        b'N' => Function::Join,
        b'{' => Function::Open(0),
        b'}' => Function::Close,
        b'=' => Function::Number,
        _ => return None,
    };
    Some((simple, rest))
}

/// The name of a file that is written, where it is none of the devices that stand for standard output.
fn file_name(text: &[u8]) -> Option<Vec<u8>> {
    let name = text.trim_ascii();
    (!name.is_empty() && !name.starts_with(b"/dev/")).then(|| name.to_vec())
}

/// The text of `a`, `i` and `c`.
fn inserted(rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let rest = unindented(rest);
    let rest = rest.strip_prefix(b"\\\n").unwrap_or(rest);
    let (mut text, rest) = line(rest);
    text = text.strip_prefix(b"\\").unwrap_or(text);
    // a text of several lines, or with letters that stand for others
    (!text.contains(&b'\\')).then(|| (text.to_vec(), rest))
}

fn substitution(text: &[u8], extended: bool) -> Option<(Function, &[u8])> {
    let (separator, rest) = text.split_first()?;
    if separator.is_ascii_alphanumeric() || matches!(separator, b'\\' | b'\n') {
        return None;
    }
    let (pattern, rest) = part(rest, *separator)?;
    let (replacement, mut rest) = part(rest, *separator)?;
    let (mut all, mut print, mut folds, mut first, mut file) = (false, false, false, 0, None);
    while let Some((flag, behind)) = rest.split_first() {
        match flag {
            b'g' => all = true,
            b'p' => print = true,
            b'i' | b'I' => folds = true,
            b'0'..=b'9' => first = first * 10 + usize::from(flag - b'0'),
            b'w' => {
                let (name, behind) = line(behind);
                file = Some(file_name(name)?);
                rest = behind;
                break;
            }
            _ if flag.is_ascii_alphabetic() => return None,
            _ => break,
        }
        if first > MOST {
            return None;
        }
        rest = behind;
    }
    let regex = regex(pattern, extended, folds)?;
    let replacement = expansion(replacement, regex.captures_len())?;
    let one = Substitution { regex, replacement, all, first, print, file };
    Some((Function::Substitute(Box::new(one)), rest))
}

fn mapping(text: &[u8]) -> Option<(Function, &[u8])> {
    let (separator, rest) = text.split_first()?;
    let (from, rest) = part(rest, *separator)?;
    let (to, rest) = part(rest, *separator)?;
    if from.len() != to.len() || from.contains(&b'\\') || to.contains(&b'\\') {
        return None;
    }
    Some((Function::Map(from.iter().copied().zip(to.iter().copied()).collect()), rest))
}

pub(super) fn regex(pattern: &[u8], extended: bool, folds: bool) -> Option<Regex> {
    let pattern = translated(pattern, extended)?;
    RegexBuilder::new(&pattern).unicode(false).case_insensitive(folds).size_limit(1 << 18).build().ok()
}

/// A part of an `s` up to its separator.
fn part(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        match *text.get(at)? {
            // what an escaped separator stands for depends on what it is
            b'\\' if separator != b'/' && text.get(at + 1) == Some(&separator) => return None,
            b'\\' => at += 2,
            byte if byte == separator => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => at += 1,
        }
    }
}

/// A pattern of sed as this crate's: without what the two choose differently among.
fn translated(pattern: &[u8], extended: bool) -> Option<String> {
    let pattern = std::str::from_utf8(pattern).ok().filter(|text| text.is_ascii())?;
    if pattern.len() > LONGEST_PATTERN || pattern.is_empty() {
        return None;
    }
    let mut out = String::from("(?s-u)");
    let letters: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    // right behind the start or what opens a group
    let mut start = true;
    let mut quantified = false;
    while let Some(&letter) = letters.get(at) {
        at += 1;
        let (operator, letter) = match letter {
            '\\' => {
                let next = *letters.get(at)?;
                at += 1;
                match next {
                    '(' | ')' | '{' | '}' | '+' | '?' => (!extended, next),
                    '.' | '*' | '/' | '\\' | '[' | ']' | '^' | '$' | '-' | '|' if next != '|' || extended => {
                        (false, next)
                    }
                    'n' => {
                        out.push_str("\\n");
                        (start, quantified) = (false, false);
                        continue;
                    }
                    's' | 'w' | 't' => {
                        out.push('\\');
                        out.push(next);
                        (start, quantified) = (false, false);
                        continue;
                    }
                    _ => return None,
                }
            }
            '(' | ')' | '{' | '}' | '+' | '?' => (extended, letter),
            '|' if extended => return None,
            '^' => (start && !out.ends_with('^') || extended, letter),
            '$' => (at == letters.len() || extended, letter),
            '*' if extended && start => return None,
            '*' => (!start, letter),
            '.' => (true, letter),
            '[' => {
                at += bracket(letters.get(at..)?, &mut out)?;
                (start, quantified) = (false, false);
                continue;
            }
            other => (false, other),
        };
        let quantifies = matches!(letter, '*' | '+' | '?' | '{') && operator;
        // which of several matches a group takes is chosen differently
        if quantifies && (start || quantified || out.ends_with(')') && !out.ends_with("\\)")) {
            return None;
        }
        if operator {
            out.push(letter);
        } else {
            out.push_str(&regex::escape(&letter.to_string()));
        }
        start = operator && (matches!(letter, '(' | '^') || extended && letter == '$');
        quantified = operator && matches!(letter, '*' | '+' | '?' | '}');
    }
    Some(out)
}

/// The replacement of an `s`, as this crate's.
fn expansion(replacement: &[u8], groups: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(replacement.len());
    let mut bytes = replacement.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'&' => out.extend_from_slice(b"${0}"),
            b'$' => out.extend_from_slice(b"$$"),
            b'\\' => match bytes.next()? {
                digit @ b'0'..=b'9' if usize::from(digit - b'0') < groups => {
                    out.extend_from_slice(&[b'$', b'{', *digit, b'}']);
                }
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                other @ (b'/' | b'&' | b'\\' | b'.' | b'-' | b'*' | b' ' | b'"' | b'\'' | b'\n') => {
                    out.push(*other);
                }
                _ => return None,
            },
            byte => out.push(*byte),
        }
    }
    Some(out)
}

/// A bracket behind its `[`, as this crate has it: how many letters it takes.
fn bracket(letters: &[char], out: &mut String) -> Option<usize> {
    let mut at = usize::from(letters.first() == Some(&'^')) + 1;
    out.push('[');
    out.extend(letters.get(..at - 1)?);
    match letters.get(at - 1)? {
        '[' | '\\' | '&' | '~' => at -= 1,
        // one that stands first is a letter
        ']' => out.push_str("\\]"),
        letter => out.push(*letter),
    }
    loop {
        match letters.get(at)? {
            ']' => {
                out.push(']');
                return Some(at + 1);
            }
            '[' if letters.get(at + 1) == Some(&':') => {
                let length = 2 + letters.iter().skip(at).position(|letter| *letter == ']')?;
                let name = letters.get(at..at + length - 1)?;
                if !name.ends_with(&[':', ']']) {
                    return None;
                }
                out.extend(name);
                at += length - 1;
            }
            '[' | '\\' | '&' | '~' => return None,
            letter => {
                out.push(*letter);
                at += 1;
            }
        }
    }
}
