//! The files that the text itself writes: what is in them, and what is read from them again.
//!
//! A script that is written and run in one text is judged like one that stands in the text. The content is followed
//! through redirections, `tee`, `dd`, `cp`, `mv`, `install` and `ln`; what of it is not known is a hole in it.

use super::super::{Input, Piece, RedirectKind, Unknown, Value, Written};
use super::simple::Reading;
use super::state::{CWD, Slot};
use super::{Evaluator, constants, sed};

/// The longest content that is followed, in bytes.
const LONGEST: usize = 1 << 16;
/// Holes and texts that alternate in one content; what comes after them is one hole.
const MOST_PIECES: usize = 256;

/// Programs in front of another that change nothing about what it writes.
const IN_FRONT: &[&str] = &["sudo", "doas", "command", "builtin", "exec", "env", "nohup", "time", "busybox"];

/// Programs that read the files that they are given one behind the other, as they would read standard input.
const FILTERS: &[&[u8]] = &[
    b"cat", b"tac", b"rev", b"head", b"tail", b"sed", b"gsed", b"awk", b"gawk", b"mawk", b"nawk", b"cut",
    b"base64", b"base32", b"basenc", b"xxd", b"gunzip", b"zcat", b"gzip", b"sort", b"uniq", b"grep", b"fold",
    b"nl", b"jq",
];

impl Evaluator<'_> {
    /// What is read from a file of this name.
    pub(super) fn content(&self, path: &Value) -> Input {
        self.made(path).unwrap_or_else(|| Input::File(path.clone()))
    }

    /// The content of a file that the text itself makes.
    pub(super) fn made(&self, path: &Value) -> Option<Input> {
        let bytes = path.as_known()?;
        if bytes == b"/dev/null" {
            return Some(Input::Known(Vec::new()));
        }
        if bytes == b"/dev/stdin" || bytes == b"/dev/fd/0" || bytes == b"/proc/self/fd/0" {
            return Some(self.place.stdin.clone());
        }
        if let Some(process) = self.process(bytes) {
            return Some(process);
        }
        if self.files.is_empty() {
            return None;
        }
        let content = self.files.get(&self.absolute(bytes))?.as_ref()?;
        Some(match content.as_known() {
            Some(bytes) => Input::Known(bytes.to_vec()),
            None => Input::Text(content.clone()),
        })
    }

    /// The output of a process substitution, by the name that it is given.
    pub(super) fn process(&self, path: &[u8]) -> Option<Input> {
        let number: usize = std::str::from_utf8(path.strip_prefix(b"/dev/fd/")?).ok()?.parse().ok()?;
        let process = self.processes.get(63usize.checked_sub(number)?)?;
        let printed = self.printed.get(process)?;
        Some(match &printed.known {
            Some(bytes) => Input::Known(bytes.clone()),
            None => Input::Pipe(printed.writers.clone()),
        })
    }

    /// A path made absolute where the current directory is known.
    pub(super) fn absolute(&self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") {
            return constants::normal(path);
        }
        let cwd = match self.variables.get(CWD).and_then(|slots| slots.first()) {
            Some(Slot::Scalar(value)) => value.as_known(),
            _ => self.context.cwd.as_known(),
        };
        match cwd {
            Some(cwd) => constants::normal(&[cwd, b"/", path].concat()),
            None => path.strip_prefix(b"./").unwrap_or(path).to_vec(),
        }
    }

    /// A filter of files that the text makes, without their names, and what it reads of them.
    pub(super) fn input_of_files<'v>(&self, argv: &[&'v [u8]]) -> Option<(Vec<&'v [u8]>, Vec<u8>)> {
        if self.files.is_empty() && self.processes.is_empty() {
            return None;
        }
        let name = argv.first()?.rsplit(|byte| *byte == b'/').next()?;
        if !FILTERS.contains(&name) {
            return None;
        }
        let mut input = None;
        let mut rest = Vec::with_capacity(argv.len());
        for (at, word) in argv.iter().enumerate() {
            let made = if at == 0 || word.starts_with(b"-") { None } else { self.made(&Value::known(*word)) };
            match made {
                Some(Input::Known(bytes)) => input.get_or_insert_with(Vec::new).extend_from_slice(&bytes),
                _ => rest.push(*word),
            }
        }
        input.map(|input| (rest, input))
    }

    /// Notes what editors make of files that the text wrote: what they do that is not followed leaves a file of which nothing
    /// is known.
    fn edit_files(&mut self, program: &str, arguments: &[Value], stdin: &Input) {
        let words: Option<Vec<&[u8]>> = arguments.iter().map(Value::as_known).collect();
        let script = words.as_deref().filter(|_| program.ends_with("sed")).and_then(sed::Arguments::read);
        if let Some(script) = script.as_ref().filter(|script| script.may_write()) {
            let contents = script.files.iter().filter_map(|file| self.made(&Value::known(*file)));
            let inputs = if script.files.is_empty() { vec![stdin.clone()] } else { contents.collect() };
            let known = inputs.iter().filter_map(|input| match input {
                Input::Known(bytes) => script.run(bytes),
                _ => None,
            });
            for (path, text) in known.flat_map(|edited| edited.files).collect::<Vec<_>>() {
                self.write_file(&path, false, Some(Value::known(text)));
            }
        }
        let in_place = |word: &Value| match word.prefix() {
            [b'-', b'-', name @ ..] => name.starts_with(b"in-place"),
            [b'-', letters @ ..] => {
                letters.iter().take_while(|letter| **letter != b'e').any(|letter| *letter == b'i')
            }
            _ => false,
        };
        let edits = !program.ends_with("sed") && program != "perl" || arguments.iter().any(in_place);
        if self.files.is_empty() || !edits {
            return;
        }
        // `perl -pi -e CODE`
        let code = words.as_deref().filter(|_| program == "perl").and_then(|words| {
            let at = words.iter().position(|word| word.starts_with(b"-") && word.ends_with(b"e"))?;
            let prints = words.get(..=at)?.iter().any(|word| word.contains(&b'p'));
            words.get(at + 1).copied().filter(|_| prints)
        });
        for word in arguments.iter().filter_map(Value::as_known).filter(|word| !word.starts_with(b"-")) {
            let Some(Some(content)) = self.files.get(&self.absolute(word)) else { continue };
            self.debt += super::report::COST_OF_A_PROGRAM;
            let text = content.as_known().and_then(|text| match (&script, code) {
                (Some(script), _) => script.run(text).map(|edited| edited.text),
                (None, Some(code)) => sed::substituted_by_perl(code, text),
                (None, None) => None,
            });
            self.write_file(word, false, text.map(Value::known));
        }
    }

    /// Notes the files that a command writes, with what it prints.
    pub(super) fn record_files(&mut self, reading: &Reading, printed: Option<&[u8]>, stdin: &Input) {
        let writes = written_by(&reading.redirects);
        if !writes.is_empty() {
            let content = match printed {
                Some(bytes) => Some(Value::known(bytes)),
                None => self.in_part(reading, stdin),
            };
            // what is put together from files is no more unknown than they are
            let from_files = content.is_none()
                && matches!(
                    program_of(&reading.argv),
                    Some(("cat" | "head" | "tail" | "sort" | "jq" | "zcat", _))
                );
            for (path, append, own) in writes.into_iter().filter(|_| !from_files) {
                let content = if own { content.clone() } else { None };
                self.write_file(&path, append, content);
            }
        }
        let Some((program, arguments)) = program_of(&reading.argv) else { return };
        let known = || arguments.iter().filter_map(Value::as_known);
        let operands = || known().filter(|word| !word.starts_with(b"-"));
        match program {
            "sed" | "gsed" | "perl" | "patch" | "ed" | "ex" => self.edit_files(program, arguments, stdin),
            "tee" | "sponge" => {
                let append = known().any(|word| matches!(word, b"-a" | b"--append"));
                for path in operands().map(<[u8]>::to_vec).collect::<Vec<_>>() {
                    self.write_file(&path, append, text_of(stdin));
                }
            }
            "dd" => {
                let key = |name: &[u8]| known().find_map(|word| word.strip_prefix(name));
                let source = key(b"if=").map(|path| self.content(&Value::known(path)));
                if let Some(path) = key(b"of=").map(<[u8]>::to_vec) {
                    let content = text_of(source.as_ref().unwrap_or(stdin));
                    self.write_file(&path, false, content);
                }
            }
            "cp" | "mv" | "install" | "ln" => {
                let all: Vec<&[u8]> = operands().collect();
                let Some((to, sources)) = all.split_last() else { return };
                for from in sources {
                    let content = match *from {
                        b"/dev/stdin" => text_of(stdin),
                        _ if self.files.is_empty() => None,
                        _ => self.made(&Value::known(*from)).as_ref().and_then(text_of),
                    };
                    let Some(content) = content else { continue };
                    let name = from.rsplit(|byte| *byte == b'/').next().unwrap_or(from);
                    self.write_file(&[to, b"/".as_slice(), name].concat(), false, Some(content.clone()));
                    self.write_file(to, false, Some(content));
                }
            }
            _ => {}
        }
    }

    /// What a command prints, where only a part of it is known.
    pub(super) fn in_part(&self, reading: &Reading, stdin: &Input) -> Option<Value> {
        let (program, arguments) = program_of(&reading.argv)?;
        match program {
            "cat" | "tee" if arguments.iter().all(|word| word.prefix().starts_with(b"-")) => text_of(stdin),
            "cat" => {
                let made = arguments.iter().filter_map(|word| self.made(word));
                let texts: Vec<Value> = made.filter_map(|input| text_of(&input)).collect();
                (!texts.is_empty()).then(|| joined(&texts, b""))
            }
            "echo" => Some(joined(arguments, b" ")),
            "printf" => Some(joined(arguments, b"\n")),
            _ => None,
        }
    }

    /// Notes the content of a file.
    pub(super) fn write_file(&mut self, path: &[u8], append: bool, content: Option<Value>) {
        if path.starts_with(b"/dev/") && !path.starts_with(b"/dev/shm/") {
            return;
        }
        let path = self.absolute(path);
        let content = content.filter(|content| content.weight() <= LONGEST);
        let content = match (append, self.files.get(&path)) {
            (true, Some(Some(old))) if old.weight() <= LONGEST => {
                content.map(|new| joined(&[old.clone(), new], b""))
            }
            _ => content,
        };
        self.debt += 1 + content.as_ref().map_or(0, Value::weight) / 64;
        self.out.written.push(Written { path: path.clone(), content: content.clone() });
        self.files.insert(path, content);
    }
}

/// The files that redirections write: the path, whether at its end, and whether standard output goes there.
pub(super) fn written_by(redirects: &[super::super::Redirect]) -> Vec<(Vec<u8>, bool, bool)> {
    let write = |redirect: &super::super::Redirect| {
        let append = match redirect.kind {
            RedirectKind::Write => false,
            RedirectKind::Append => true,
            _ => return None,
        };
        let own = redirect.fd == Some(1) || redirect.fd.is_none();
        Some((redirect.target.as_known()?.to_vec(), append, own))
    };
    redirects.iter().filter_map(write).collect()
}

/// The name of the program, behind what may stand in front of it, and its arguments.
fn program_of(argv: &[Value]) -> Option<(&str, &[Value])> {
    let mut rest = argv;
    loop {
        let (first, arguments) = rest.split_first()?;
        let word = first.as_str()?;
        let name = word.rsplit('/').next().unwrap_or(word);
        if !IN_FRONT.contains(&name) {
            return Some((name, arguments));
        }
        let options = arguments.iter().take_while(|word| word.prefix().starts_with(b"-")).count();
        rest = arguments.get(options..)?;
    }
}

fn text_of(input: &Input) -> Option<Value> {
    match input {
        Input::Known(bytes) => Some(Value::known(bytes.clone())),
        Input::Text(value) => Some(value.clone()),
        Input::File(_) | Input::Pipe(_) | Input::Inherited => None,
    }
}

/// Texts one behind the other.
pub(super) fn joined(values: &[Value], between: &[u8]) -> Value {
    let mut all = Value::default();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            all.push(Piece::known(between));
        }
        add(&mut all, value);
    }
    all
}

/// Puts a text behind another.
pub(super) fn add(all: &mut Value, more: &Value) {
    for piece in &more.pieces {
        if all.pieces.len() >= MOST_PIECES {
            all.push(Piece::from(Unknown { source: "...".to_owned(), ..Unknown::default() }));
            return;
        }
        all.push(piece.clone());
    }
}
