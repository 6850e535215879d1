//! Files that the same text wrote and that it runs: they are judged by what is in them.

use std::rc::Rc;

use super::built::{self, stands_for};
use super::{Task, Walk, program_name};
use crate::gate::place::{Base, Path, Place};
use crate::programs::{self, Effect, Knowledge, Language, Target};
use crate::shell::{Dialect, Input, Invocation, RedirectKind, Unknown, Value, Written};

/// Names under which git runs a hook, wherever `core.hooksPath` leads.
const HOOKS: &[&[u8]] = &[
    b"applypatch-msg",
    b"pre-applypatch",
    b"post-applypatch",
    b"pre-commit",
    b"pre-merge-commit",
    b"prepare-commit-msg",
    b"commit-msg",
    b"post-commit",
    b"pre-rebase",
    b"post-checkout",
    b"post-merge",
    b"pre-push",
    b"post-rewrite",
    b"pre-auto-gc",
    b"reference-transaction",
    b"fsmonitor-watchman",
    b"sendemail-validate",
];

/// Files that are remembered for one request, and how much of them is followed in one command.
const MOST_FILES: usize = 1024;
pub(super) const MOST_FOLLOWED: usize = 32;

impl Walk<'_> {
    /// Remembers what a text writes.
    pub(super) fn remember(&mut self, written: Vec<Written>) {
        for file in written {
            if self.written.len() >= MOST_FILES {
                let reason = "more files are written than are followed";
                let span = crate::shell::Span::default();
                return self.refuse("parse.too-much", span, reason, "split the command into smaller ones");
            }
            if !self.written.contains(&file) {
                self.written.push(file);
            }
        }
    }

    /// Remembers what code writes into files that it names.
    pub(super) fn learn_written(&mut self, effect: &Effect, task: &Task) {
        let Effect::Script { language, text, target: Target::Here, .. } = effect else { return };
        let Some(text) = text.as_known() else { return };
        let cwd = task.invocation.cwd.as_known();
        let files = programs::code::written(*language, text).into_iter().take(MOST_FOLLOWED);
        let placed = |path: Vec<u8>| match cwd {
            Some(cwd) if !path.starts_with(b"/") && !cwd.is_empty() => [cwd, b"/", &path].concat(),
            _ => path,
        };
        let files =
            files.map(|(path, content)| Written { path: placed(path), content: Some(Value::known(content)) });
        self.remember(files.collect());
    }

    /// The effects of a command, with those of the files that it runs in their place.
    pub(super) fn with_contents(&self, all: Vec<Effect>, task: &Task, base: &Base) -> Vec<Effect> {
        let runs_file = all.iter().any(|effect| matches!(effect, Effect::RunFile { .. }));
        if self.written.is_empty()
            && self.scripts.is_empty()
            && !runs_file
            && program_name(&task.invocation) != "tcc"
        {
            return all;
        }
        let mut found = Vec::with_capacity(all.len());
        for effect in self.by_name(task).into_iter().chain(all) {
            match &effect {
                Effect::RunFile { path, language } => self.run_file(path, *language, task, base, &mut found),
                Effect::Opaque { argv } => {
                    let written = argv.first().into_iter().flat_map(|word| self.unnamed(word));
                    for text in written.cloned() {
                        script(Language::Shell(Dialect::Bash), text, &[], task, &mut found);
                    }
                    found.push(effect);
                }
                _ => {
                    if !self.written.is_empty() {
                        self.scheduled(&effect, task, base, &mut found);
                    }
                    found.push(effect);
                }
            }
        }
        if !self.written.is_empty() || !self.scripts.is_empty() {
            self.implied(task, &mut found);
            let imported = self.imports(&found, task);
            found.extend(imported);
        }
        self.built(task, &mut found);
        found
    }

    fn run_file(
        &self,
        path: &Value,
        language: Option<Language>,
        task: &Task,
        base: &Base,
        found: &mut Vec<Effect>,
    ) {
        let invocation = &task.invocation;
        // The command's own before those of the texts around it: every text's first substitution is `/dev/fd/63`.
        let own = invocation
            .files
            .iter()
            .chain(task.around.files.iter().rev().map(Rc::as_ref))
            .find(|(name, _)| name == path);
        let mut contents: Vec<Value> = Vec::new();
        match own.map(|(_, content)| content.clone()).or_else(|| descriptor(path, task)) {
            Some(Input::Known(bytes)) => contents.push(Value::known(bytes)),
            Some(Input::Text(value)) => contents.push(value),
            Some(_) => contents.push(unknown(path)),
            None => {
                contents = self.contents(path, base);
                let others = language.map(|language| stands_for(path, language)).unwrap_or_default();
                contents.extend(self.unnamed(path).cloned());
                contents.extend(others.iter().flat_map(|path| self.contents(path, base)));
            }
        }
        if language.is_none() && contents.is_empty() {
            found.extend(self.compiled.iter().flat_map(built::source));
        }
        if contents.is_empty() {
            found.push(Effect::RunFile { path: path.clone(), language });
            return;
        }
        let at = invocation.argv.iter().position(|word| word == path);
        let arguments = at.and_then(|at| invocation.argv.get(at..)).unwrap_or_default();
        for text in contents {
            match (language, interpreter(&text)) {
                // the kernel starts what the first line names
                (None, Some(mut argv)) => {
                    argv.push(path.clone());
                    argv.extend(arguments.iter().skip(1).cloned());
                    found.push(exec(argv, path));
                }
                (language, _) => {
                    let language = language.unwrap_or(Language::Shell(Dialect::Bash));
                    script(language, text, arguments, task, found);
                }
            }
        }
    }

    /// What was written to a file, each time.
    fn contents(&self, path: &Value, base: &Base) -> Vec<Value> {
        if self.written.is_empty() {
            return Vec::new();
        }
        let place = Place::resolve(path, base);
        let same = |file: &&Written| place.readings.iter().any(|reading| is(&reading.path, &file.path));
        let of_file = |file: &Written| file.content.clone().unwrap_or_else(|| unknown(path));
        let found: Vec<Value> = self.written.iter().filter(same).take(MOST_FOLLOWED).map(of_file).collect();
        if !found.is_empty() || base.links.is_empty() {
            return found;
        }
        // it may have been written by another name
        let linked = |file: &&Written| {
            let written = Place::resolve(&Value::known(file.path.clone()), base);
            written.readings.iter().any(|written| {
                !written.path.is_loose() && place.readings.iter().any(|reading| reading.path == written.path)
            })
        };
        self.written.iter().take(MOST_FOLLOWED).filter(linked).map(of_file).collect()
    }

    /// A name without a directory, where the text wrote a program of that name and put its directory on the search path.
    fn by_name(&self, task: &Task) -> Vec<Effect> {
        let invocation = &task.invocation;
        let Some(name) = invocation.argv.first().and_then(Value::as_known) else { return Vec::new() };
        if name.is_empty() || name.contains(&b'/') {
            return Vec::new();
        }
        let path_is_set =
            invocation.assignments.iter().chain(&invocation.exported).any(|(name, _)| name == "PATH");
        let found = |path: &[u8]| {
            let (directory, own) = split(path);
            own == name && (path_is_set || directory.ends_with(b"bin"))
        };
        let mut paths: Vec<&[u8]> =
            self.written.iter().map(|file| file.path.as_slice()).filter(|path| found(path)).collect();
        paths.dedup();
        let run = |path: &[u8]| Effect::RunFile { path: Value::known(path), language: None };
        paths.into_iter().take(MOST_FOLLOWED).map(run).collect()
    }

    /// The language of a file of the project that a tool runs without being told to.
    fn runs_code(program: &str, name: &[u8]) -> Option<Language> {
        let ends = |end: &[u8]| name.ends_with(end);
        Some(match program {
            "pip" | "pip3" | "uv" | "poetry" | "python" | "python3" | "pipx" if name == b"setup.py" => {
                Language::Python
            }
            "pytest" | "py.test" | "tox" | "nox" | "scons" | "invoke" | "inv" | "fab" if ends(b".py") => {
                Language::Python
            }
            "scons" if name == b"SConstruct" => Language::Python,
            "rake" if ends(b".rb") || name == b"Rakefile" => Language::Ruby,
            "bundle" | "rspec" | "vagrant" | "pod" | "guard" | "gem" | "cap"
                if ends(b".rb")
                    || matches!(name, b"Gemfile" | b"Vagrantfile" | b"Podfile" | b"Guardfile") =>
            {
                Language::Ruby
            }
            "npm" | "npx" | "yarn" | "pnpm" | "jest" | "vitest" | "mocha" | "webpack" | "vite" | "rollup"
            | "gulp" | "grunt" | "eslint" | "bun" | "deno"
                if ends(b".js") || ends(b".mjs") || ends(b".cjs") || ends(b".ts") =>
            {
                Language::JavaScript
            }
            "phpunit" | "composer" | "pest" if ends(b".php") => Language::Php,
            "gradle" | "gradlew" if ends(b".gradle") || ends(b".kts") => Language::Other,
            "ant" if name == b"build.xml" => Language::Other,
            "prove" if ends(b".t") || ends(b".pl") => Language::Perl,
            _ => return None,
        })
    }

    /// Files that a program runs without their being named: makefiles, hooks, the scripts of a package.
    fn implied(&self, task: &Task, found: &mut Vec<Effect>) {
        let program = program_name(&task.invocation);
        let files = self.written.iter().filter_map(|file| Some((split(&file.path), file.content.as_ref()?)));
        let mut read: Vec<(Language, Value)> = Vec::new();
        let again = task.around.via.iter().any(|via| via == program);
        for ((directory, name), content) in files.take(MOST_FOLLOWED) {
            match (program, name) {
                ("make" | "gmake" | "bmake", b"Makefile" | b"makefile" | b"GNUmakefile" | b"BSDmakefile")
                    if only_shows(&task.invocation, content) => {}
                ("make" | "gmake" | "bmake", b"Makefile" | b"makefile" | b"GNUmakefile" | b"BSDmakefile")
                | ("just", b"justfile" | b"Justfile" | b".justfile") => {
                    read.push((Language::Make, content.clone()));
                }
                // a file whose task starts the tool again is read once
                (_, name) if !again && Self::runs_code(program, name).is_some() => {
                    // what it surely does; that it cannot be read to the end is no news of a project's own code
                    let language = Self::runs_code(program, name).unwrap_or(Language::Other);
                    let effects = programs::code::code_effects(
                        language,
                        content,
                        &task.invocation,
                        Knowledge::shipped(),
                    );
                    found.extend(effects);
                }
                ("task" | "go-task", b"Taskfile.yml" | b"Taskfile.yaml" | b"taskfile.yml") => {
                    let lines = content.as_known().map(commands_of).unwrap_or_default();
                    read.extend(lines.into_iter().map(|text| (Language::Shell(Dialect::Posix), text)));
                }
                ("npm" | "yarn" | "pnpm" | "bun" | "npx", b"package.json") => {
                    let scripts = content.as_known().map(scripts_of).unwrap_or_default();
                    read.extend(scripts.into_iter().map(|text| (Language::Shell(Dialect::Posix), text)));
                }
                ("git", _) if directory.ends_with(b"hooks") || HOOKS.contains(&name) => {
                    let arguments = [Value::known(name)];
                    match interpreter(content) {
                        Some(mut argv) => {
                            argv.push(Value::known([directory, b"/".as_slice(), name].concat()));
                            found.push(exec(argv, &arguments[0]));
                        }
                        None => read.push((Language::Shell(Dialect::Posix), content.clone())),
                    }
                }
                _ => {}
            }
        }
        if matches!(program, "npm" | "yarn" | "pnpm" | "bun") && !only_tells(&task.invocation) {
            read.extend(self.scripts.iter().map(|text| (Language::Shell(Dialect::Posix), text.clone())));
        }
        for (language, text) in read {
            script(language, text, &[], task, found);
        }
    }
}

/// `make -n`, of a makefile that starts nothing while it is read, nor against that option.
fn only_shows(invocation: &Invocation, content: &Value) -> bool {
    let asked = |word: &Value| matches!(word.as_str(), Some("-n" | "--dry-run" | "--just-print" | "--recon"));
    let starts = |text: &str| {
        ["$(shell", "${shell", "!=", "+", "$(MAKE", "$(file", "$(guile", "${MAKE", "include"]
            .iter()
            .any(|sign| text.contains(sign))
    };
    invocation.argv.iter().any(asked) && content.as_str().is_some_and(|text| !starts(text))
}

/// Learns the scripts that a command puts into a package: `npm pkg set scripts.x='...'`.
pub(super) fn learn_scripts(invocation: &Invocation, scripts: &mut Vec<Value>) {
    if !matches!(program_name(invocation), "npm" | "yarn" | "pnpm" | "bun") {
        return;
    }
    let room = MOST_FOLLOWED.saturating_sub(scripts.len());
    let words = || invocation.argv.iter().skip(1).filter(|word| !word.prefix().starts_with(b"-"));
    let texts: Vec<Value> = match words().next().and_then(Value::as_str) {
        Some("set-script") => words().nth(2).cloned().into_iter().collect(),
        Some("pkg" | "pm") => words()
            .filter(|word| word.prefix().starts_with(b"scripts.") || word.prefix().starts_with(b"scripts["))
            .filter_map(|word| programs::behind(word, b'='))
            .collect(),
        _ => return,
    };
    scripts.extend(texts.into_iter().take(room));
}

/// Whether a package manager is asked for something that runs none of the package's scripts.
fn only_tells(invocation: &Invocation) -> bool {
    let mut words = invocation.argv.iter().skip(1).filter_map(Value::as_str);
    let asked = words.find(|word| !word.starts_with('-'));
    asked.is_some_and(|word| {
        [
            "pkg",
            "pm",
            "set-script",
            "ls",
            "list",
            "view",
            "info",
            "show",
            "outdated",
            "search",
            "config",
            "get",
            "help",
            "why",
            "explain",
            "root",
            "prefix",
            "bin",
            "audit",
            "whoami",
            "ping",
            "docs",
            "repo",
        ]
        .contains(&word)
    })
}

fn exec(argv: Vec<Value>, via: &Value) -> Effect {
    Effect::Exec {
        argv: argv.into(),
        via: via.to_string(),
        target: Target::Here,
        assignments: Vec::new(),
        cwd: None,
    }
}

pub(super) fn script(
    language: Language,
    text: Value,
    arguments: &[Value],
    task: &Task,
    found: &mut Vec<Effect>,
) {
    found.extend(programs::code::code_effects(language, &text, &task.invocation, Knowledge::shipped()));
    if language == Language::Make {
        return;
    }
    found.push(Effect::Script { language, text, target: Target::Here, arguments: arguments.to_vec() });
}

fn unknown(path: &Value) -> Value {
    Value::unknown(Unknown { source: path.to_string(), may_be_empty: true, ..Unknown::default() })
}

/// The words of a first line `#!interpreter argument`: the kernel takes what follows the interpreter as one word, `env -S`
/// apart.
fn interpreter(text: &Value) -> Option<Vec<Value>> {
    let line = text.prefix().strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let words: Vec<Value> = words.map(Value::known).collect();
    (!words.is_empty()).then_some(words)
}

/// The values of `scripts` in a package.json.
fn scripts_of(text: &[u8]) -> Vec<Value> {
    let package: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let scripts = package.get("scripts").and_then(serde_json::Value::as_object);
    let texts = scripts.into_iter().flat_map(serde_json::Map::values).filter_map(serde_json::Value::as_str);
    texts.take(MOST_FOLLOWED).map(Value::known).collect()
}

/// The commands of a taskfile: what stands in a list, or behind `cmd:`.
fn commands_of(text: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(text);
    let command = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("- ").unwrap_or(line);
        let behind = |key: &str| line.strip_prefix(key).map(str::trim);
        let command = behind("cmd:").or_else(|| behind("sh:")).unwrap_or(line).trim_matches(['"', '\'']);
        (line.contains(' ') && !command.ends_with(':')).then(|| Value::known(command))
    };
    text.lines().filter_map(command).take(MOST_FOLLOWED).collect()
}

/// Whether a path may be the one that was written.
pub(super) fn is(path: &Path, written: &[u8]) -> bool {
    if !written.starts_with(b"/") || path.is_loose() {
        return matches!(path.components.last(), Some(last) if last.may_be(split(written).1));
    }
    let literal = Path::literal(&String::from_utf8_lossy(written));
    literal.components.len() == path.components.len() && literal.may_hold(&path.components)
}

/// Directory and name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// `/dev/fd/3` with `3<<< text`, `/dev/stdin`.
fn descriptor(path: &Value, task: &Task) -> Option<Input> {
    let invocation = &task.invocation;
    let path = path.as_str()?;
    let number = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|directory| path.strip_prefix(directory));
    let number: u32 = if path == "/dev/stdin" { 0 } else { number?.parse().ok()? };
    let mut here = invocation.redirects.iter().rev().filter(|redirect| redirect.kind == RedirectKind::Here);
    if let Some(redirect) = here.find(|redirect| redirect.fd.unwrap_or(0) == number) {
        return Some(Input::Text(redirect.target.clone()));
    }
    (number == 0).then(|| invocation.stdin.clone()).filter(|stdin| *stdin != Input::Inherited)
}
