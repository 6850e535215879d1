//! Commands of gdb and lldb that look at a program and step through it.
//!
//! What a debugger shares with editors is read here as both would: a command that an editor takes for something else is none of
//! these.

use super::words;

/// Commands that tell, stop and go on. A program is started by them with the words that the command line gave it.
const COMMANDS: &[&str] = &[
    "run",
    "r",
    "start",
    "starti",
    "bt",
    "backtrace",
    "where",
    "info",
    "i",
    "print",
    "p",
    "x",
    "list",
    "l",
    "frame",
    "f",
    "up",
    "down",
    "break",
    "b",
    "tbreak",
    "watch",
    "rwatch",
    "awatch",
    "catch",
    "continue",
    "c",
    "next",
    "n",
    "nexti",
    "ni",
    "step",
    "s",
    "stepi",
    "si",
    "finish",
    "until",
    "advance",
    "quit",
    "q",
    "exit",
    "disassemble",
    "disas",
    "ptype",
    "whatis",
    "display",
    "undisplay",
    "handle",
    "thread",
    "delete",
    "enable",
    "disable",
    "set",
    "show",
    "file",
    "kill",
    "detach",
    "y",
    "register",
    "image",
    "expr",
    "echo",
];

/// What may be set.
const SETTINGS: &[&str] = &[
    "pagination",
    "confirm",
    "width",
    "height",
    "print",
    "verbose",
    "disassembly-flavor",
    "follow-fork-mode",
    "detach-on-fork",
    "breakpoint",
    "disable-randomization",
    "debuginfod",
    "style",
    "logging",
    "var",
];

/// Whether all commands of a text only look.
pub(super) fn only_looks(text: &str) -> bool {
    let mut commands =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    commands.peek().is_some() && commands.all(looks)
}

fn looks(command: &str) -> bool {
    let (name, rest) = command.split_once([' ', '/']).unwrap_or((command, ""));
    let rest = rest.trim();
    let plain = |word: char| word.is_ascii_alphanumeric() || " ._=-/<,:@".contains(word);
    if command.contains(['!', '`', '|', ';', '%', '{']) || command.contains("$(") || !COMMANDS.contains(&name)
    {
        return false;
    }
    // an editor writes to the file that such a command names
    let places = ["list", "l", "break", "b", "tbreak", "info", "i", "until", "advance", "run", "r", "file"];
    if !places.contains(&name) && (rest.contains(['/', '~']) || rest.contains("..")) {
        return false;
    }
    match name {
        // a shell reads what a program is started with, and an editor takes a name here for a script
        "run" | "r" | "start" | "starti" => {
            rest.is_empty() || rest.starts_with(['<', '-']) && rest.chars().all(plain)
        }
        "set" => {
            SETTINGS.contains(&rest.split([' ', '=']).next().unwrap_or_default())
                && !calls(rest)
                && !rest.contains("file")
        }
        "file" => !rest.starts_with(['/', '~']) && !rest.contains("..") && rest.chars().all(plain),
        // with a file that it writes to
        "image" | "expr" | "thread" | "register" | "frame" | "info" | "catch" | "break" | "watch" => {
            !calls(rest)
                && !words(rest)
                    .any(|word| matches!(word, "shell" | "python" | "commands" | "source" | "call" | "pipe"))
        }
        _ => !calls(rest),
    }
}

/// Whether a function of the program is called: what it does is not known.
fn calls(expression: &str) -> bool {
    expression.match_indices('(').any(|(at, _)| {
        let before = expression.get(..at).unwrap_or_default().trim_end();
        let name = before
            .rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .next()
            .unwrap_or_default();
        !name.is_empty() && name != "sizeof" || before.ends_with([')', ']'])
    })
}
