//! Subcommands of git whose operands mean different things by their look.

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::knowledge::Program;
use super::super::{variables, words};
use crate::shell::{Dialect, Value};

/// `git checkout X`: a branch is switched to, a path is overwritten. Both look alike; a dash, a slash at the end, a
/// pattern or a name with an extension is a path, and so is whatever follows a commit.
pub(super) fn checkout(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let parsed = program.grammar.parse(arguments);
    let has = |name: &str| program.grammar.find(name).is_some_and(|id| parsed.has(id));
    if parsed.help || has("-b") || has("--orphan") || has("-B") {
        return;
    }
    // One side of a conflict, of a file that a package manager writes anew from the project's own.
    let locks = [
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lock",
        "Cargo.lock",
        "poetry.lock",
        "uv.lock",
        "Pipfile.lock",
        "composer.lock",
        "Gemfile.lock",
        "go.sum",
    ];
    let is_lock = |word: &Value| {
        word.as_str().is_some_and(|path| locks.contains(&path.rsplit('/').next().unwrap_or(path)))
    };
    let picks_side = has("--ours") || has("--theirs");
    if picks_side && !parsed.operands.is_empty() && parsed.operands.iter().all(is_lock) {
        return;
    }
    let separated = arguments.iter().any(|word| word.as_known() == Some(b"--"));
    let is_path = |word: &Value| match word.as_str() {
        Some(text) => {
            text == "."
                || text.starts_with("./")
                || text.starts_with("../")
                || text.ends_with('/')
                || text.starts_with(':')
        }
        None => word.has_glob(),
    };
    if (separated && !parsed.operands.is_empty())
        || parsed.operands.len() > 1
        || parsed.operands.first().is_some_and(is_path)
        || picks_side
        || has("--pathspec-from-file")
    {
        effects.push(Effect::Repository { action: "checkout --".to_owned(), target: Value::default() });
    }
}

/// `git show REVISION:PATH`, `git diff --no-index FILES`: what prints the content of files.
pub(super) fn show(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let parsed = program.grammar.parse(arguments);
    let files = program.grammar.find("--no-index").is_some_and(|id| parsed.has(id));
    for word in &parsed.operands {
        let path = if files { Some(word.clone()) } else { words::behind(word, b':') };
        effects.extend(path.filter(|path| !path.pieces.is_empty()).map(|path| Effect::Read { path }));
    }
}

/// `git clone ext::COMMAND`: a transport that is a command.
pub(super) fn transport(arguments: &[Value], effects: &mut Vec<Effect>) {
    for word in arguments.iter().filter(|word| word.prefix().starts_with(b"ext::")) {
        let Some(command) = word.as_str().map(|text| text.trim_start_matches("ext::")) else {
            effects.push(script(words::skip(word, 5)));
            continue;
        };
        // blanks part the words, and `% ` is how ext:: spells a blank inside one (git-remote-ext(1))
        let words = command.replace("% ", "\0");
        let argv = words.split(' ').filter(|word| !word.is_empty());
        effects.push(super::exec(argv.map(|word| Value::known(word.replace('\0', " "))).collect(), "git"));
    }
}

/// `git config NAME VALUE`, `git config set NAME VALUE`.
pub(super) fn config(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let parsed = program.grammar.parse(arguments);
    let has = |name: &str| program.grammar.find(name).is_some_and(|id| parsed.has(id));
    for word in &parsed.unread {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    }
    let file = program.grammar.find("-f").and_then(|id| parsed.values(id).last());
    effects.extend(file.map(|file| Effect::Read { path: file.clone() }));
    let scope = if has("--system") {
        "git --system "
    } else if has("--global") {
        "git --global "
    } else {
        "git "
    };
    let looks = ["--get", "--get-all", "--get-regexp", "--get-urlmatch", "-l"].iter().any(|name| has(name));
    let (verb, operands) = match parsed.operands.split_first() {
        Some((first, rest)) => match first.as_known() {
            Some(b"get" | b"list") => return,
            Some(b"set" | b"unset" | b"rename-section" | b"remove-section" | b"edit") => {
                (first.to_string(), rest)
            }
            _ => (String::new(), parsed.operands.as_slice()),
        },
        None => (String::new(), parsed.operands.as_slice()),
    };
    if parsed.help || looks {
        return;
    }
    if let Some(file) = file {
        effects.push(Effect::Write { path: file.clone(), how: Operation::Edit });
    }
    let removes = has("--unset") || has("--unset-all") || has("--remove-section") || verb == "unset";
    match operands {
        [name, value, ..] if !removes => {
            let before = effects.len();
            let setting = words::concat(&[name, &Value::known("="), value]);
            variables::git_setting(&setting, effects);
            let dangerous = effects.len() > before;
            effects.retain(|effect| !matches!(effect, Effect::Persist { .. }));
            if dangerous || scope != "git " || name.as_known().is_none() {
                effects.push(Effect::Persist { what: format!("{scope}{name}"), value: value.clone() });
            }
        }
        [name, ..] if removes && scope != "git " => {
            effects.push(Effect::Persist { what: format!("{scope}{name}"), value: Value::default() });
        }
        _ if has("-e") || verb == "edit" => {
            effects.push(Effect::Persist { what: format!("{scope}configuration"), value: Value::default() });
        }
        _ => {}
    }
}

fn script(text: Value) -> Effect {
    Effect::Script {
        language: Language::Shell(Dialect::Posix),
        text,
        target: Target::Here,
        arguments: Vec::new(),
    }
}
