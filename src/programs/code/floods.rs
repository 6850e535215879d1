//! Loops without end that start processes: `while True: os.system('sleep 99 &')`, in whatever language.
//!
//! A loop header without a condition, a call that starts something and returns, and no word of waiting or ending anywhere:
//! a server that starts a thread for each connection has one.

/// Headers of endless loops, without blanks and in lower case.
const HEADERS: &[&str] = &[
    "whiletrue",
    "while(true)",
    "while1",
    "while(1)",
    "while!0",
    "for(;;)",
    "for{",
    "loop{",
    "loopdo",
    "untilfalse",
    "while[1]",
    "while{1}",
    "while{true}",
];
/// Calls that start something and return at once.
const STARTS: &[&str] = &[
    "popen(",
    "spawn",
    "process(",
    "thread(",
    "fork(",
    "fork;",
    "fork}",
    "start-process",
    "startprocess",
    "forkpty(",
];
/// Calls that start something in the background where their text says so.
const TEXTS: &[&str] =
    &["system", "exec", "shell_exec", "passthru", "execute(", "run(", "call(", "sh(", "getline", "open("];
/// Words by which a loop waits or ends.
const ENDS: &[&str] = &[
    "sleep",
    "wait",
    "join",
    "accept",
    "recv",
    "break",
    "communicate",
    "poll",
    "input(",
    "readline",
    "stdin",
    "queue",
    ".get(",
    "await",
    "return",
    "exit",
    "last",
    "select",
    "sync",
];

/// Whether a text starts processes without end; `code` is what of it is no comment and no literal.
pub(super) fn floods(code: &[u8], text: &[u8]) -> bool {
    let ((bare, _), (_, quoted)) = (apart(code), apart(text));
    let has = |words: &[&str]| words.iter().any(|word| bare.contains(word));
    if !has(HEADERS) || has(ENDS) {
        return false;
    }
    has(STARTS) || has(TEXTS) && quoted
}

/// The text outside of quotes, in lower case and without blanks, and whether some quoted text ends with, or has, a lone `&`.
fn apart(text: &[u8]) -> (String, bool) {
    let mut bare = String::with_capacity(text.len());
    let (mut quote, mut quoted) = (0, false);
    let mut before = 0;
    for (at, &byte) in text.iter().enumerate() {
        let next = text.get(at + 1).copied().unwrap_or_default();
        match byte {
            _ if quote != 0 => {
                quoted |= byte == b'&' && !matches!(before, b'&' | b'>') && !matches!(next, b'&' | b'>');
                if byte == quote && before != b'\\' {
                    quote = 0;
                }
            }
            b'\'' | b'"' | b'`' => quote = byte,
            _ if byte.is_ascii_whitespace() => {}
            _ => bare.push(char::from(byte.to_ascii_lowercase())),
        }
        before = byte;
    }
    (bare, quoted)
}

#[cfg(test)]
mod tests {
    use super::floods;

    #[test]
    fn loops_without_end_that_start_processes() {
        for text in [
            "import os\nwhile True: os.system('sleep 99 &')",
            "import subprocess\nwhile True: subprocess.Popen(['sleep', '99'])",
            "while(1){system(\"sleep 99 &\")}",
            "for(;;) require('child_process').spawn('sleep', ['99'])",
            "loop{spawn \"sleep 99\"}",
            "while true do os.execute(\"sleep 99 &\") end",
            "while 1 { fork; }",
        ] {
            assert!(floods(text.as_bytes(), text.as_bytes()), "{text}");
        }
        for text in [
            "while True: os.system('make')",
            "while True:\n  c, _ = s.accept()\n  threading.Thread(target=f, args=(c,)).start()",
            "while True:\n  subprocess.Popen(['x'])\n  time.sleep(1)",
            "for i in range(3): subprocess.Popen(['x'])",
            "for(;;) { if (done) break; spawn('x') }",
        ] {
            assert!(!floods(text.as_bytes(), text.as_bytes()), "{text}");
        }
    }
}
