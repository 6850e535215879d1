//! Printing: lower-case one-line messages on stderr, colour only where a terminal can show it.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use super::exit::Exit;

/// stderr, with or without colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    colour: bool,
}

#[derive(Debug, Clone, Copy)]
enum Tone {
    Red = 31,
    Yellow = 33,
    Cyan = 36,
}

impl Screen {
    /// Colour for a terminal that can show it, unless NO_COLOR (no-color.org) says otherwise.
    pub(super) fn new() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { colour: io::stderr().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// What went wrong.
    pub(super) fn error(self, what: impl Display) {
        // A policy's mistake comes with its label, and with the lines of the file under it.
        let what = what.to_string();
        self.line("error", Tone::Red, what.strip_prefix("error: ").unwrap_or(&what));
    }

    /// What to do about it; nothing where that is empty.
    pub(super) fn hint(self, what: impl Display) {
        let what = what.to_string();
        if !what.is_empty() {
            self.line("hint", Tone::Cyan, what);
        }
    }

    /// What a person should know.
    pub(super) fn note(self, what: impl Display) {
        self.line("note", Tone::Yellow, what);
    }

    /// Text as it is.
    pub(super) fn plain(self, text: impl Display) {
        // Nothing can be said about a stderr that is gone.
        let _ = write!(io::stderr(), "{text}");
    }

    fn line(self, label: &str, tone: Tone, what: impl Display) {
        let mut stderr = io::stderr().lock();
        let _ = if self.colour {
            writeln!(stderr, "\x1b[1;{}m{label}:\x1b[0m {what}", tone as u8)
        } else {
            writeln!(stderr, "{label}: {what}")
        };
    }
}

/// Text of others, made safe to show: it keeps its lines and blanks, and nothing else that could move the cursor or
/// deceive.
pub(super) fn shown(text: &str) -> String {
    let line = |line: &str| line.split(' ').map(crate::gate::render).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Writes to stdout. A reader that has gone is no error to shout about, but it is not success either.
pub(super) fn print(screen: Screen, text: &str, then: Exit) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => then,
        Err(error) => unwritten(screen, &error),
    }
}

/// The exit for a stdout that could not be written.
pub(super) fn unwritten(screen: Screen, error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::PIPE;
    }
    screen.error(format_args!("cannot write to stdout: {error}"));
    Exit::FAILED
}
