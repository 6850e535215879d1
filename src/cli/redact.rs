//! `execward redact`: the redactor as a filter.

use std::io::{self, Read as _, Write as _};

use super::arguments::Redact;
use super::exit::Exit;
use super::screen::{Screen, unwritten};
use crate::redact::{Redactor, Rules};

/// How much is read at a time.
const CHUNK: usize = 64 << 10;

pub(super) fn redact(arguments: &Redact, screen: Screen) -> Exit {
    let mut stream = Redactor::new(&Rules::builtin(), Vec::new()).stream();
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
