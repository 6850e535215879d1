//! Calls of Python whose arguments are literals: what they do is judged by itself, and the rest of the text by what is left.

use super::{is_given_once, words};
use crate::programs::code::scan;
use crate::programs::{Effect, Language, Operation};

/// Calls whose literal arguments are judged by themselves: as files that are written and deleted, and as commands.
const JUDGED: &[&str] = &[
    "shutil.rmtree(",
    "shutil.copy(",
    "shutil.copy2(",
    "shutil.copyfile(",
    "shutil.copytree(",
    "shutil.move(",
    "os.rename(",
    "os.makedirs(",
    "subprocess.run(",
    "subprocess.check_output(",
    "subprocess.check_call(",
    "subprocess.call(",
    "subprocess.Popen(",
    "subprocess.getoutput(",
    "os.system(",
    "os.popen(",
    "subprocess.PIPE",
    "subprocess.DEVNULL",
    "subprocess.STDOUT",
    "subprocess.CalledProcessError",
    "subprocess.TimeoutExpired",
];

/// Directories that builds make.
const MADE: &[&str] = &[
    "build",
    "dist",
    "out",
    "target",
    "node_modules",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    "htmlcov",
    "coverage",
];

/// What may give a command more than its words, or start it without end.
const UNJUDGED: &[&str] =
    &["input", "stdin=", "env=", "executable", "preexec_fn", "while", "Thread", "Pool", "chdir", "*"];

/// The code without calls that are judged by themselves, where all that they are given was seen.
pub(super) fn without(text: &str, code: String) -> String {
    if !JUDGED.iter().any(|call| code.contains(call)) || UNJUDGED.iter().any(|word| code.contains(word)) {
        return code;
    }
    let calls = JUDGED.iter().filter(|call| call.ends_with('('));
    if !calls
        .flat_map(|call| code.match_indices(call))
        .all(|(at, call)| is_given_literals(&code, at + call.len()))
    {
        return code;
    }
    let found = scan::calls(Language::Python, text.as_bytes());
    let known = |effect: &Effect| match effect {
        Effect::Write { path, .. } | Effect::Read { path } => path.as_known().is_some(),
        Effect::Delete { path, how, .. } => {
            *how == Operation::Move || path.as_str().is_some_and(|path| MADE.contains(&path))
        }
        // which program runs is known, and the rest is judged with its holes
        Effect::Exec { argv, .. } => argv.first().is_some_and(|word| word.as_known().is_some()),
        Effect::Script { text, .. } => text.as_known().is_some(),
        Effect::Fetch { .. } => true,
        _ => false,
    };
    if found.computed || found.writes_unknown || found.exhausted || !found.effects.iter().all(known) {
        return code;
    }
    // `os.path.os.system` is another way to the same, and none that is looked for
    if JUDGED.iter().any(|call| {
        code.match_indices(call).any(|(at, _)| {
            let before = code.get(..at).and_then(|before| before.chars().next_back());
            before.is_some_and(|last| last.is_alphanumeric() || matches!(last, '_' | '.'))
        })
    }) {
        return code;
    }
    let code = without_ends(&code);
    let seen = JUDGED.iter().fold(code, |seen, call| seen.replace(call, " safe("));
    // the modules themselves; what is left of them is a word that is not allowed
    let imported = |statement: &str| {
        let list = statement.trim().strip_prefix("import ")?;
        list.split(',').any(|name| matches!(name.trim(), "shutil" | "subprocess")).then_some(())
    };
    let statements = seen.split_inclusive([';', '\n']).map(|statement| {
        match imported(statement.trim_end_matches([';', '\n'])) {
            Some(()) if !statement.contains(" as ") => {
                statement.replace("shutil", "sys").replace("subprocess", "sys")
            }
            _ => statement.to_owned(),
        }
    });
    statements.collect()
}

/// The code without the ends of processes that it started itself.
fn without_ends(code: &str) -> String {
    let mut seen = code.to_owned();
    for (at, _) in code.match_indices(" = subprocess.Popen(").take(MOST_STARTED) {
        let before = code.get(..at).unwrap_or_default();
        let name = before
            .rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .next()
            .unwrap_or_default();
        if name.is_empty() || !is_given_once(code, name) {
            continue;
        }
        for end in ["kill()", "terminate()", "send_signal(signal.SIGINT)", "send_signal(signal.SIGTERM)"] {
            seen = seen.replace(&format!(" {name}.{end}"), " safe");
            seen = seen.replace(&format!("\n{name}.{end}"), "\nsafe");
            seen = seen.replace(&format!(";{name}.{end}"), ";safe");
        }
    }
    seen
}

/// How many processes are remembered.
const MOST_STARTED: usize = 8;

/// Whether the arguments that begin here are literals, lists of them, and plain options: a name may have been given more than
/// was seen.
fn is_given_literals(code: &str, from: usize) -> bool {
    const OPTIONS: &[&str] = &[
        "True",
        "False",
        "None",
        "args",
        "capture_output",
        "text",
        "check",
        "timeout",
        "shell",
        "cwd",
        "encoding",
        "errors",
        "universal_newlines",
        "stdout",
        "stderr",
        "subprocess",
        "PIPE",
        "DEVNULL",
        "STDOUT",
        "ignore_errors",
        "exist_ok",
        "dirs_exist_ok",
        "mode",
    ];
    let rest = code.get(from..).unwrap_or_default();
    let mut depth = 1_usize;
    let end = rest.find(|letter: char| {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some(given) = end.and_then(|end| rest.get(..end)) else { return false };
    let bare: String = without_list(given).replace("subprocess.", "subprocess").split_whitespace().collect();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_'\",[]()=".contains(letter);
    // the command itself may have a name, and nothing else of what it is given
    let first = bare.split(',').next().unwrap_or_default();
    let named = |word: &str| {
        let option = word.strip_prefix("subprocess").filter(|rest| !rest.is_empty()).unwrap_or(word);
        OPTIONS.contains(&option)
            || word.bytes().all(|byte| byte.is_ascii_digit())
            || word == first && is_fixed(code, word)
    };
    bare.chars().all(plain)
        && !["\"[", "'[", ")[", "]["].iter().any(|part| bare.contains(part))
        && words(&bare).all(named)
}

/// What a call is given, without the words of a list that comes first: those that are no literals are seen as holes, or leave the
/// whole call computed.
fn without_list(given: &str) -> String {
    let Some(list) = given.trim_start().strip_prefix('[') else { return given.to_owned() };
    let mut depth = 1_usize;
    let end = list.find(|letter: char| {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let behind = end.and_then(|end| list.get(end + 1..));
    behind.map_or_else(|| given.to_owned(), |behind| format!("[]{behind}"))
}

/// Whether a name stands in two places of a text, where it is given something and here: nothing else can have changed what it
/// stands for.
fn is_fixed(code: &str, name: &str) -> bool {
    let given = format!("{name} = ");
    let Some(at) = code.find(&given) else { return false };
    let rest = code.get(at + given.len()..).unwrap_or_default();
    let value = rest.split(['\n', ';']).next().unwrap_or_default().trim();
    // one list of literals, or one literal: their contents are out of sight here
    let plain = match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
        Some(items) => items.chars().all(|letter| matches!(letter, '\'' | '"' | ',' | ' ')),
        None => matches!(value, "''" | "\"\""),
    };
    plain && words(code).filter(|word| *word == name).count() == 2 && is_given_once(code, name)
}
