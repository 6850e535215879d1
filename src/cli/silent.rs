//! A line that is typed and not shown.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks at the terminal that is standard input; `None` where it is none.
///
/// # Errors
/// The terminal's.
pub(super) fn ask(what: &str) -> io::Result<Option<Zeroizing<String>>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
    prompt(&format!("{what}: "));
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    let restored = tcsetattr(&stdin, SetArg::TCSAFLUSH, &before);
    prompt("\n");
    read?;
    restored?;
    Ok(Some(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned())))
}

/// Writes a question without a line's end.
pub(super) fn prompt(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
