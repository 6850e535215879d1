//! `execward redact`: the redactor as a filter, and what it finds.

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
        Some(RedactWhat::Test { files, policy, json }) => test(files, policy.as_deref(), *json, screen),
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
    Ok(Redactor::new(&policy.redaction, Vec::new()))
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

fn test(files: &[PathBuf], policy: Option<&Path>, json: bool, screen: Screen) -> Exit {
    let redactor = match redactor(policy, screen) {
        Ok(redactor) => redactor,
        Err(exit) => return exit,
    };
    let (mut text, mut exit, mut found) = (String::new(), Exit::SUCCESS, 0);
    for file in files {
        let mut bytes = Vec::new();
        let read = if file.as_os_str() == "-" {
            io::stdin().lock().read_to_end(&mut bytes).map(drop)
        } else {
            std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)).map(drop)
        };
        let path = shown(&file.to_string_lossy());
        if let Err(error) = read {
            screen.error(format_args!("{path}: {error}"));
            exit = Exit::USAGE;
            continue;
        }
        let (mut line, mut start, mut at) = (1, 0, 0);
        for span in redactor.find(&bytes) {
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
            found += 1;
            if json {
                let _ = writeln!(text, "{}", serde_json::to_string(&place).unwrap_or_default());
            } else {
                let Place { column, length, rule, .. } = place;
                let _ = writeln!(text, "{path}:{line}:{column}: {rule}, {length} bytes");
            }
        }
    }
    if found > 0 && exit == Exit::SUCCESS {
        exit = Exit::NO;
    }
    print(screen, &text, exit)
}
