//! Launchers whose inner command starts where a plain grammar cannot see.

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::engine::{self, Context};
use super::super::knowledge::Program;
use super::super::template::Verb;
use super::super::words;
use super::exec;
use crate::shell::{Dialect, Value};

/// `flock [options] FILE COMMAND...`, `flock [options] FILE -c TEXT`.
pub(super) fn flock(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    for word in &parsed.unread {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    }
    let mut texts: Vec<Value> =
        program.grammar.find("-c").into_iter().flat_map(|id| parsed.values(id).cloned()).collect();
    let command = parsed.operands.get(1..).unwrap_or_default();
    match command.split_first() {
        Some((first, rest)) if matches!(first.as_known(), Some(b"-c" | b"--command")) => {
            texts.extend(rest.first().cloned());
        }
        Some(_) => effects.push(exec(command.to_vec(), "flock")),
        None => {}
    }
    for text in texts {
        effects.push(Effect::Script {
            language: Language::Shell(Dialect::Posix),
            text,
            target: Target::Here,
            arguments: Vec::new(),
        });
    }
}

/// `guix shell PACKAGES -- COMMAND...`: what stands before the dashes is for the table, what follows is a command.
pub(super) fn after_dashes(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) -> bool {
    let Some(at) = arguments.iter().position(|word| word.as_known() == Some(b"--")) else { return false };
    let (before, after) = (arguments.get(..at), arguments.get(at + 1..));
    let command = after.unwrap_or_default().to_vec();
    if !command.is_empty() {
        effects.push(exec(command, &program.name));
    }
    // of a table whose operands are themselves a command, only the options count
    let starts = program.effects.iter().any(|template| template.verb == Verb::Exec);
    let before = before.unwrap_or_default().iter();
    let before: Vec<Value> =
        before.filter(|word| !starts || word.prefix().starts_with(b"-")).cloned().collect();
    engine::run_parsed(program, program.grammar.parse(&before), context, effects);
    true
}

/// `nix develop FLAKE -c COMMAND...`, `nix run FLAKE#PROGRAM -- ARGUMENTS...`.
pub(super) fn nix(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) -> bool {
    let operand = arguments.iter().position(|word| !word.prefix().starts_with(b"-"));
    let Some(verb) = operand.and_then(|at| arguments.get(at)).and_then(Value::as_str) else { return false };
    let rest_after = |markers: &[&[u8]]| {
        let at =
            arguments.iter().position(|word| word.as_known().is_some_and(|word| markers.contains(&word)))?;
        Some((at, arguments.get(at + 1..).unwrap_or_default().to_vec()))
    };
    let name = Value::known("nix");
    let install =
        |names: Vec<Value>| Effect::Package { manager: name.to_string(), action: Operation::Install, names };
    match verb {
        "develop" | "shell" | "env" => {
            let Some((at, command)) = rest_after(&[b"-c", b"--command"]) else { return false };
            if !command.is_empty() {
                effects.push(exec(command, &program.name));
            }
            let operands = arguments.get(..at).unwrap_or_default().iter().skip(1);
            let named: Vec<Value> =
                operands.filter(|word| !word.prefix().starts_with(b"-")).cloned().collect();
            // none named: the flake of the project, as locked
            if !named.is_empty() {
                effects.push(install(named));
            }
            true
        }
        "run" => {
            let Some((at, words)) = rest_after(&[b"--"]) else { return false };
            let operands = arguments.get(..at).unwrap_or_default().iter().skip(1);
            let named: Vec<Value> =
                operands.filter(|word| !word.prefix().starts_with(b"-")).cloned().collect();
            if let Some((_, name)) =
                named.first().and_then(Value::as_str).and_then(|name| name.split_once('#'))
            {
                let mut argv = vec![Value::known(name)];
                argv.extend(words);
                effects.push(exec(argv, &program.name));
            }
            effects.push(install(named));
            true
        }
        _ => false,
    }
}

/// `capsh [options] -- ARGUMENTS FOR BASH`.
pub(super) fn capsh(arguments: &[Value], effects: &mut Vec<Effect>) {
    let starts =
        |word: &Value| matches!(word.as_known(), Some(b"--" | b"==")) || word.prefix().starts_with(b"-+");
    let Some(at) = arguments.iter().position(starts) else { return };
    let mut argv = vec![Value::known("bash")];
    argv.extend(arguments.iter().skip(at + 1).cloned());
    effects.push(exec(argv, "capsh"));
}

/// Options of bwrap(1) with two values; those of its table have one or none.
const BWRAP_PAIRS: &[&str] = &[
    "--bind",
    "--bind-try",
    "--dev-bind",
    "--dev-bind-try",
    "--ro-bind",
    "--ro-bind-try",
    "--bind-fd",
    "--ro-bind-fd",
    "--symlink",
    "--setenv",
    "--chmod",
    "--file",
    "--bind-data",
    "--ro-bind-data",
];

/// `bwrap [options] COMMAND...`: some options take two or three values.
pub(super) fn bwrap(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    let mut rest = arguments;
    while let Some((word, after)) = rest.split_first() {
        let skipped = match word.as_str() {
            Some("--") => {
                rest = after;
                break;
            }
            Some("--help" | "--version") => return,
            Some("--overlay") => 3,
            Some(pair) if BWRAP_PAIRS.contains(&pair) => 2,
            Some(option) if option.starts_with("--") => match program.grammar.find(option) {
                Some(_) if program.grammar.takes_value(option) => 1,
                Some(_) => 0,
                None => {
                    effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
                    engine::guess(context.argv, context.knowledge, effects);
                    0
                }
            },
            _ => break,
        };
        rest = after.get(skipped..).unwrap_or_default();
    }
    if !rest.is_empty() {
        effects.push(exec(rest.to_vec(), "bwrap"));
    }
}

/// Modules of Python that are programs under another name.
const PYTHON_PROGRAMS: &[&str] = &[
    "pip",
    "pip3",
    "pytest",
    "pipx",
    "uv",
    "poetry",
    "pipenv",
    "black",
    "ruff",
    "mypy",
    "flake8",
    "isort",
    "pylint",
    "tox",
    "nox",
    "sphinx",
    "build",
    "twine",
    "coverage",
    "ansible",
    "jupyter",
    "gunicorn",
    "uvicorn",
    "flask",
    "django",
    "virtualenv",
    "awscli",
    "conda",
    "IPython",
    "unittest",
    "pyflakes",
    "pycodestyle",
    "bandit",
    "mkdocs",
    "pre_commit",
    "cookiecutter",
    "yamllint",
    "alembic",
    "celery",
    "httpie",
];

/// Modules of Python that read and print.
const PYTHON_READERS: &[&str] = &[
    "json.tool",
    "tokenize",
    "ast",
    "dis",
    "tabnanny",
    "calendar",
    "this",
    "site",
    "sysconfig",
    "platform",
    "pydoc",
    "base64",
    "mimetypes",
    "uuid",
    "json",
    "pyclbr",
    "symtable",
    "pickletools",
    "inspect",
    "locale",
    "ensurepip.version",
    "py_compile",
    "compileall",
    "doctest_",
];

/// `python -m MODULE ...`: some modules are programs of their own. `false`: the table says the rest.
pub(super) fn python(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) -> bool {
    // `-m` ends the options: find it by reading word by word
    let mut rest = arguments;
    let module = loop {
        let Some((word, after)) = rest.split_first() else { return false };
        let Some(text) = word.as_str() else { return false };
        match text.strip_prefix('-') {
            None | Some("") => return false,
            Some("W" | "X") => rest = after.get(1..).unwrap_or_default(),
            Some(letters) if letters.starts_with('-') => rest = after,
            Some(letters) => match letters.find(['m', 'c', 'W', 'X']) {
                Some(at) if letters.get(at..).is_some_and(|tail| tail.starts_with('m')) => {
                    let attached = letters.get(at + 1..).unwrap_or_default();
                    if attached.is_empty() {
                        let Some((module, after)) = after.split_first() else { return false };
                        rest = after;
                        break module.clone();
                    }
                    rest = after;
                    break Value::known(attached);
                }
                Some(at) if letters.get(at..).is_some_and(|tail| tail.starts_with('c')) => return false,
                _ => rest = after,
            },
        }
    };
    let Some(name) = module.as_str() else {
        effects.push(Effect::RunFile { path: module, language: Some(Language::Python) });
        return true;
    };
    if PYTHON_READERS.contains(&name) {
        effects.extend(
            rest.iter()
                .filter(|word| !word.prefix().starts_with(b"-"))
                .map(|path| Effect::Read { path: path.clone() }),
        );
    } else if name == "timeit" || name == "profile" || name == "cProfile" || name == "trace" || name == "pdb"
    {
        let runs_file = |word: &&Value| {
            words::names_stdin(word) || word.as_known().is_some_and(|word| word.ends_with(b".py"))
        };
        if let Some(path) = rest.iter().find(runs_file).filter(|_| name != "timeit") {
            effects.push(Effect::RunFile { path: path.clone(), language: Some(Language::Python) });
        }
        for text in rest {
            super::super::code::effects(Language::Python, text, context, effects);
        }
        let text = words::join(rest);
        effects.push(Effect::Script {
            language: Language::Python,
            text,
            target: Target::Here,
            arguments: Vec::new(),
        });
    } else if name == "http.server" || name == "SimpleHTTPServer" || name == "pyftpdlib" {
        let has = |words: &[&str]| rest.iter().filter_map(Value::as_str).any(|word| words.contains(&word));
        // What listens on the loopback address alone is no way in.
        let local = ["127.0.0.1", "localhost", "::1", "--bind=127.0.0.1", "--bind=localhost", "-b127.0.0.1"];
        if !has(&["-h", "--help"]) && !has(&local) {
            let port = rest.first().cloned().unwrap_or_else(|| Value::known("8000"));
            effects.push(Effect::Listen { address: port });
        }
    } else if name == "venv"
        || name == "virtualenv"
        || name == "ensurepip"
        || name == "zipfile"
        || name == "tarfile"
        || name == "gzip"
    {
        let how = Operation::Create;
        effects.extend(
            rest.iter()
                .filter(|word| !word.prefix().starts_with(b"-"))
                .map(|path| Effect::Write { path: path.clone(), how }),
        );
    } else if PYTHON_PROGRAMS.contains(&name) {
        let mut argv = vec![module];
        argv.extend_from_slice(rest);
        effects.push(exec(argv, &program.name));
    } else {
        effects.push(Effect::RunFile { path: module, language: Some(Language::Python) });
        engine::guess(context.argv, context.knowledge, effects);
    }
    true
}

/// Addresses of `socat`: some are commands, some files, the rest connections.
pub(super) fn socat(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    for (at, address) in parsed.operands.iter().enumerate() {
        // a path by itself is opened as it stands
        if address.prefix().starts_with(b"/") || address.prefix().starts_with(b"./") {
            let path = match address.as_str().and_then(|text| text.split_once(',')) {
                Some((path, _)) => Value::known(path),
                None => address.clone(),
            };
            let how = Operation::Overwrite;
            effects.push(if at > 0 { Effect::Write { path, how } } else { Effect::Read { path } });
            continue;
        }
        let Some((kind, rest)) = words::cut(address, b':') else {
            if address.as_known().is_none() {
                effects.push(Effect::Unreadable { program: program.name.clone(), word: address.clone() });
            }
            continue;
        };
        // options of the address stand behind commas
        let plain = match rest.as_str().and_then(|text| text.split_once(',')) {
            Some((path, _)) => Value::known(path),
            None => rest,
        };
        match String::from_utf8_lossy(&kind).to_uppercase().as_str() {
            "EXEC" => match plain.as_known().and_then(words::split) {
                Some(argv) => effects.push(exec(argv, "socat")),
                None => {
                    effects.push(Effect::Unreadable { program: program.name.clone(), word: address.clone() });
                }
            },
            "SYSTEM" | "SHELL" => effects.push(Effect::Script {
                language: Language::Shell(Dialect::Posix),
                text: plain,
                target: Target::Here,
                arguments: Vec::new(),
            }),
            "FILE" | "OPEN" | "GOPEN" | "CREATE" | "CREAT" | "PIPE" if at > 0 => {
                let how = Operation::Overwrite;
                effects.push(Effect::Write { path: plain, how });
            }
            "FILE" | "OPEN" | "GOPEN" | "CREATE" | "CREAT" | "PIPE" => {
                effects.push(Effect::Read { path: plain });
            }
            kind if kind.contains("LISTEN") => effects.push(Effect::Listen { address: address.clone() }),
            // whoever serves the socket does what it is told there
            "UNIX" | "UNIX-CONNECT" | "UNIX-CLIENT" | "UNIX-SENDTO" => {
                effects.push(Effect::Read { path: plain.clone() });
                effects.push(Effect::Write { path: plain, how: Operation::Append });
            }
            "STDIN" | "STDOUT" | "STDIO" | "FD" => {}
            _ => {
                effects.push(Effect::Fetch { url: address.clone() });
                effects.push(Effect::Send { url: address.clone(), path: None });
            }
        }
    }
}
