//! `execward redact`: the redactor as a filter, and what it finds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{Redact, RedactWhat};
use super::exit::Exit;
use super::screen::{Screen, print, shown, unwritten};
use crate::redact::Redactor;
use crate::supervisor::{Local, load_policy};

/// How much is read at a time.
const CHUNK: usize = 64 << 10;

pub(super) fn redact(arguments: &Redact, screen: Screen) -> Exit {
    match &arguments.what {
        Some(RedactWhat::Test { paths, policy, json, count }) => {
            let how = if *count { How::Count { json: *json } } else { How::Places { json: *json } };
            test(paths, policy.as_deref(), how, screen)
        }
        None => filter(arguments, screen),
    }
}

/// The shapes of the policy in force. Without it nothing is let through: it may know what nobody else knows.
fn redactor(policy: Option<&Path>, screen: Screen) -> Result<Redactor, Exit> {
    let local = Local::look(None).map_err(|error| {
        screen.error(&error);
        screen.hint(error.hint());
        Exit::USAGE
    })?;
    let policy = load_policy(policy, &local.directories, local.principal.uid).map_err(|error| {
        screen.error(&error);
        screen.hint(error.hint());
        Exit::USAGE
    })?;
    Ok(Redactor::new(&policy.redaction(), Vec::new()))
}

fn filter(arguments: &Redact, screen: Screen) -> Exit {
    let mut stream = match redactor(arguments.policy.as_deref(), screen) {
        Ok(redactor) => redactor.stream(),
        Err(exit) => return exit,
    };
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut input = vec![0; CHUNK];
    let mut output = Vec::with_capacity(2 * CHUNK);
    loop {
        let ended = match stdin.read(&mut input) {
            Ok(0) => {
                stream.finish(&mut output);
                true
            }
            Ok(length) => {
                stream.push(&input[..length], &mut output);
                false
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => {
                screen.error(format_args!("cannot read standard input: {error}"));
                return Exit::USAGE;
            }
        };
        if let Err(error) = stdout.write_all(&output).and_then(|()| stdout.flush()) {
            return unwritten(screen, &error);
        }
        output.clear();
        if ended {
            break;
        }
    }
    let masked = stream.masked();
    if arguments.json {
        screen.plain(format_args!("{}\n", serde_json::json!({"outcome": "redacted", "masked": masked})));
    } else if masked > 0 {
        screen.note(format_args!("masked: {masked}"));
    }
    Exit::SUCCESS
}

/// A place as JSON.
#[derive(Debug, Serialize)]
struct Place<'a> {
    path: &'a str,
    /// From 1.
    line: usize,
    /// From 1, in bytes.
    column: usize,
    /// Bytes that would be masked.
    length: u64,
    rule: &'a str,
}

fn test(paths: &[PathBuf], policy: Option<&Path>, how: How, screen: Screen) -> Exit {
    let redactor = match redactor(policy, screen) {
        Ok(redactor) => redactor,
        Err(exit) => return exit,
    };
    let mut test =
        Test { redactor, how, screen, text: String::new(), tally: Tally::default(), failed: false };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            test.take(path, read.map(|_| bytes));
        } else if path.is_dir() {
            test.below(path);
        } else {
            test.take(path, std::fs::read(path));
        }
    }
    let Test { mut text, tally, failed, .. } = test;
    if let How::Count { json } = how {
        text = if json { format!("{}\n", tally.json()) } else { tally.text() };
    }
    let exit = match (failed, tally.places()) {
        (true, _) => Exit::USAGE,
        (false, 0) => Exit::SUCCESS,
        (false, _) => Exit::NO,
    };
    print(screen, &text, exit)
}

/// What is said of what is found.
#[derive(Debug, Clone, Copy)]
enum How {
    Places { json: bool },
    Count { json: bool },
}

#[derive(Debug)]
struct Test {
    redactor: Redactor,
    how: How,
    screen: Screen,
    text: String,
    tally: Tally,
    failed: bool,
}

impl Test {
    /// Takes the text files below a directory, in the order of their names, and follows no links.
    fn below(&mut self, directory: &Path) {
        let entries = std::fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.fail(directory, &error),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.below(&path),
                Ok(kind) if kind.is_file() => match std::fs::read(&path) {
                    Ok(bytes) if bytes.iter().take(CHUNK).any(|&byte| byte == 0) => self.tally.binary += 1,
                    read => self.take(&path, read),
                },
                Ok(_) => {}
                Err(error) => self.fail(&path, &error),
            }
        }
    }

    fn take(&mut self, path: &Path, read: io::Result<Vec<u8>>) {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(path, &error),
        };
        let path = shown(&path.to_string_lossy());
        self.tally.files += 1;
        self.tally.lines += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        let (mut line, mut start, mut at) = (1, 0, 0);
        for span in self.redactor.find(&bytes) {
            let place = usize::try_from(span.start).unwrap_or(usize::MAX).min(bytes.len());
            for end in memchr::memchr_iter(b'\n', &bytes[at..place]) {
                line += 1;
                start = at + end + 1;
            }
            at = place;
            let place = Place {
                path: &path,
                line,
                column: place - start + 1,
                length: span.end - span.start,
                rule: &span.rule,
            };
            match self.how {
                How::Places { json: true } => {
                    let _ = writeln!(self.text, "{}", serde_json::to_string(&place).unwrap_or_default());
                }
                How::Places { json: false } => {
                    let Place { column, length, rule, .. } = place;
                    let _ = writeln!(self.text, "{path}:{line}:{column}: {rule}, {length} bytes");
                }
                How::Count { .. } => {}
            }
            *self.tally.rules.entry(span.rule).or_default() += 1;
        }
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.screen.error(format_args!("{}: {error}", shown(&path.to_string_lossy())));
        self.failed = true;
    }
}

/// How much was looked at, and how much of it would be masked.
#[derive(Debug, Default)]
struct Tally {
    files: u64,
    /// Files below directories that hold zero bytes, and were not looked at.
    binary: u64,
    lines: u64,
    rules: BTreeMap<String, u64>,
}

impl Tally {
    fn places(&self) -> u64 {
        self.rules.values().sum()
    }

    #[allow(clippy::cast_precision_loss, reason = "nobody reads sixteen digits of it")]
    fn rate(&self) -> f64 {
        20_000.0 * self.places() as f64 / self.lines.max(1) as f64
    }

    fn json(&self) -> serde_json::Value {
        let Self { files, binary, lines, rules } = self;
        serde_json::json!({
            "files": files, "binary": binary, "lines": lines, "rules": rules, "places": self.places(),
            "per_20000_lines": self.rate(),
        })
    }

    fn text(&self) -> String {
        let mut rules: Vec<(&String, &u64)> = self.rules.iter().collect();
        rules.sort_by_key(|(rule, places)| (std::cmp::Reverse(**places), rule.as_str()));
        let mut text = String::new();
        for (rule, places) in rules {
            let _ = writeln!(text, "{places:>8}  {rule}");
        }
        let Self { files, binary, lines, .. } = self;
        let _ = writeln!(
            text,
            "{:>8}  in {files} files with {lines} lines: {:.2} in 20,000 lines ({binary} files are no text)",
            self.places(),
            self.rate()
        );
        text
    }
}
