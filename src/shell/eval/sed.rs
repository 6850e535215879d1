//! What sed makes of text that is known: the lines that it prints, and the files that it writes.
//!
//! A script is followed where both kinds of sed read it alike; for anything else there is no answer.

mod pattern;
mod script;

use regex::bytes::{Captures, Regex};

use super::constants::MOST;
pub(super) use pattern::regex;
use script::{command, line};

/// Commands of one script, and how many of them are carried out in all; on long lines they count for more.
const MOST_COMMANDS: usize = 128;
const MOST_STEPS: usize = 8192;

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
    /// What each byte becomes.
    Map(Vec<u8>),
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
        let mut held_end = true;
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
                steps += 1 + space.len() / 64;
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
                    Function::Map(table) => {
                        for byte in &mut space {
                            *byte = table.get(usize::from(*byte)).copied().unwrap_or(*byte);
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
                    Function::Hold { append: false } => {
                        held_end = has_end;
                        held.clone_from(&space);
                    }
                    Function::Hold { append: true } => {
                        held_end |= has_end;
                        held.push(b'\n');
                        held.extend_from_slice(&space);
                    }
                    Function::Get { append: false } => {
                        has_end = held_end;
                        space.clone_from(&held);
                    }
                    Function::Get { append: true } => {
                        has_end |= held_end;
                        space.push(b'\n');
                        space.extend_from_slice(&held);
                    }
                    Function::Exchange => {
                        std::mem::swap(&mut has_end, &mut held_end);
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
