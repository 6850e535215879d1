//! Sources that the same text wrote and that run without their being named: what is compiled and started, what is imported,
//! what a build reads.

use super::written::{script, split};
use super::{Task, Walk, program_name};
use crate::programs::{self, Effect, Knowledge, Language, Target};
use crate::shell::{Dialect, Input, Invocation, Redirect, RedirectKind, Value, Written};

/// How many bytes of files are read for the commands of one request.
pub(super) const MOST_READ: usize = 8 << 20;

/// How many files are followed in one command.
const MOST_FOLLOWED: usize = 32;

/// Where an interpreter looks for what it is given by a name that is no file.
pub(super) fn stands_for(path: &Value, language: Language) -> Vec<Value> {
    let Some(path) = path.as_known() else { return Vec::new() };
    let ends: &[&[u8]] = match language {
        Language::Python => &[b".py", b"/__main__.py", b"/__init__.py"],
        Language::JavaScript => {
            &[b".js", b".mjs", b".cjs", b".ts", b"/index.js", b"/index.mjs", b"/index.ts"]
        }
        _ => return Vec::new(),
    };
    // `python3 -m package.module`
    let dotted =
        language == Language::Python && !path.contains(&b'/') && path != b"." && !path.ends_with(b".py");
    let path: Vec<u8> = path.iter().map(|byte| if dotted && *byte == b'.' { b'/' } else { *byte }).collect();
    ends.iter().map(|end| Value::known([path.as_slice(), end].concat())).collect()
}

/// The modules that a text imports, by their names.
fn imported(language: Language, text: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let mut found: Vec<Vec<u8>> = Vec::new();
    match language {
        Language::Python => {
            // imported at every start
            found.extend([b"sitecustomize".to_vec(), b"usercustomize".to_vec()]);
            for statement in text.split(['\n', ';', ':']) {
                let statement = statement.trim();
                let list = match statement.strip_prefix("from ") {
                    Some(rest) => rest.split(" import").next(),
                    None => statement.strip_prefix("import "),
                };
                for name in list.unwrap_or_default().split(',') {
                    let name = name.split_whitespace().next().unwrap_or_default();
                    let last = name.trim_matches('.').replace('.', "/");
                    if !last.is_empty() {
                        found.push(last.into_bytes());
                    }
                }
            }
        }
        Language::JavaScript => {
            let quoted = text.split(['"', '\'', '`']).skip(1).step_by(2);
            let near = quoted.filter(|name| name.starts_with("./") || name.starts_with("../"));
            found.extend(near.map(|name| name.as_bytes().to_vec()));
        }
        _ => {}
    }
    found.truncate(MOST_FOLLOWED);
    found
}

impl Walk<'_> {
    /// The written modules that code imports, with the language that they are in.
    pub(super) fn imports(&self, effects: &[Effect], task: &Task) -> Vec<Effect> {
        let mut found = Vec::new();
        for effect in effects {
            let Effect::Script { language, text, .. } = effect else { continue };
            let Some(text) = text.as_known() else { continue };
            for module in imported(*language, text) {
                let module = module.strip_prefix(b"./").unwrap_or(&module).to_vec();
                let names = stands_for(&Value::known(module.clone()), *language);
                let is_module = |path: &[u8]| {
                    names.iter().filter_map(Value::as_known).chain([module.as_slice()]).any(|name| {
                        path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
                    })
                };
                let files = self.written.iter().filter(|file| is_module(&file.path));
                for content in files.filter_map(|file| file.content.as_ref()).take(MOST_FOLLOWED) {
                    if self.follows(content, &mut found) {
                        found.extend(code(*language, content, task));
                    }
                }
            }
        }
        found
    }

    /// What the sources do that a program compiles and starts.
    pub(super) fn built(&self, task: &Task, found: &mut Vec<Effect>) {
        let invocation = &task.invocation;
        let program = program_name(invocation);
        let words = || invocation.argv.iter().skip(1).filter_map(Value::as_str);
        let first = words().find(|word| !word.starts_with(['-', '+']));
        let sources =
            self.written.iter().filter_map(|file| Some((split(&file.path).1, file.content.as_ref()?)));
        let composes =
            (program.ends_with("-compose") || first == Some("compose")) && words().any(|word| word == "up");
        for (name, content) in sources.take(MOST_FOLLOWED) {
            let ends = |ends: &[&[u8]]| ends.iter().any(|end| name.ends_with(end));
            let starts = match program {
                "go" => matches!(first, Some("run" | "test" | "generate")) && ends(&[b".go"]),
                "cargo" => match first {
                    Some("run" | "r" | "test" | "t" | "bench" | "nextest") => ends(&[b".rs"]),
                    Some("build" | "b" | "check" | "c" | "clippy" | "install" | "doc") => name == b"build.rs",
                    _ => false,
                },
                "tcc" => words().any(|word| word == "-run") && ends(&[b".c"]),
                "zig" => first == Some("run") && ends(&[b".zig", b".c"]),
                _ => false,
            };
            if starts && self.follows(content, found) {
                found.extend(source(content));
            }
            match (program, name) {
                ("cmake" | "ctest", _) if name == b"CMakeLists.txt" || ends(&[b".cmake"]) => {
                    found.extend(content.as_known().map(programs::code::build_effects).unwrap_or_default());
                }
                ("docker" | "docker-compose" | "podman" | "podman-compose", _)
                    if ends(&[b".yml", b".yaml"]) && composes =>
                {
                    found.extend(content.as_known().and_then(composed));
                }
                ("ninja" | "samu" | "ninja-build", b"build.ninja") => {
                    found.extend(content.as_known().map(programs::code::build_effects).unwrap_or_default());
                }
                ("go", _) if first == Some("generate") && ends(&[b".go"]) => {
                    let lines = content.as_known().map(|text| text.split(|byte| *byte == b'\n'));
                    let commands = lines
                        .into_iter()
                        .flatten()
                        .filter_map(|line| line.trim_ascii().strip_prefix(b"//go:generate "));
                    for command in commands.take(MOST_FOLLOWED) {
                        let text = Value::known(command);
                        script(Language::Shell(Dialect::Posix), text, &[], task, found);
                    }
                }
                ("direnv", b".envrc") => {
                    script(Language::Shell(Dialect::Bash), content.clone(), &[], task, found);
                }
                ("run-parts", _) => {
                    let directory = first.unwrap_or_default().trim_end_matches('/').as_bytes();
                    let inside = |path: &[u8]| split(path).0.ends_with(directory);
                    if self.written.iter().any(|file| split(&file.path).1 == name && inside(&file.path)) {
                        script(Language::Shell(Dialect::Posix), content.clone(), &[], task, found);
                    }
                }
                _ => {}
            }
        }
        if program == "tcc"
            && words().any(|word| word == "-run")
            && let Input::Known(bytes) = &invocation.stdin
        {
            found.extend(source(&Value::known(bytes.clone())));
        }
    }

    /// Remembers the sources that a compiler is given, for the program that it makes of them.
    pub(super) fn learn_compiled(&mut self, invocation: &Invocation) {
        let compiler = match program_name(invocation) {
            "gcc" | "cc" | "clang" | "tcc" | "g++" | "c++" | "clang++" | "rustc" => true,
            "go" | "make" | "cargo" | "cmake" | "zig" | "ninja" => {
                invocation.argv.get(1).and_then(Value::as_str) == Some("build")
            }
            _ => false,
        };
        if !compiler {
            return;
        }
        let ends = |path: &[u8]| {
            [b".c".as_slice(), b".cc", b".cpp", b".rs", b".go", b".zig", b".h"]
                .iter()
                .any(|end| path.ends_with(end))
        };
        let files =
            self.written.iter().filter(|file| ends(&file.path)).filter_map(|file| file.content.clone());
        let mut sources: Vec<Value> = files.collect();
        if let Input::Known(bytes) = &invocation.stdin {
            sources.push(Value::known(bytes.clone()));
        }
        for text in sources {
            if self.compiled.len() < MOST_FOLLOWED && !self.compiled.contains(&text) {
                self.compiled.push(text);
            }
        }
    }
}

impl Walk<'_> {
    /// Remembers what goes into a file whose name is known only when it runs: `f=$(mktemp); echo ... > "$f"; sh "$f"`.
    pub(super) fn learn_unnamed(&mut self, invocation: &Invocation) {
        let writes =
            |redirect: &&Redirect| matches!(redirect.kind, RedirectKind::Write | RedirectKind::Append);
        let targets = invocation.redirects.iter().filter(writes).map(|redirect| &redirect.target);
        let mut names: Vec<&Value> = targets.filter(|path| path.as_known().is_none()).collect();
        let (program, words) = (program_name(invocation), invocation.argv.get(1..).unwrap_or_default());
        let words = || words.iter().filter_map(Value::as_known);
        if program == "tee" {
            names.extend(invocation.argv.iter().skip(1).filter(|word| word.as_known().is_none()));
        }
        if names.is_empty() || self.unnamed.len() >= MOST_FOLLOWED {
            return;
        }
        let content = match (program, &invocation.stdin) {
            ("echo", _) => Value::known(words().collect::<Vec<_>>().join(&b' ')),
            ("printf", _) => Value::known(words().collect::<Vec<_>>().join(&b'\n')),
            ("cat" | "tee", Input::Known(bytes)) => Value::known(bytes.clone()),
            ("cat" | "tee", Input::Text(text)) => text.clone(),
            _ => return,
        };
        self.unnamed.extend(names.into_iter().map(|name| (name.to_string(), content.clone())));
    }

    /// Remembers the files of a directory that is moved or copied, by their new names, and what code may print into a file.
    pub(super) fn learn_moved(&mut self, invocation: &Invocation) {
        let placed = |path: &[u8]| match invocation.cwd.as_known() {
            Some(cwd) if !path.starts_with(b"/") && !cwd.is_empty() => [cwd, b"/", path].concat(),
            _ => path.to_vec(),
        };
        let mut found = Vec::new();
        if matches!(program_name(invocation), "mv" | "cp") {
            let words = invocation.argv.iter().skip(1).filter_map(Value::as_known);
            let operands: Vec<&[u8]> = words.filter(|word| !word.starts_with(b"-")).collect();
            if let [from, to] = operands.as_slice() {
                let (from, to) = (placed(from), placed(to));
                let from = [from.strip_suffix(b"/").unwrap_or(&from), b"/"].concat();
                let files = self
                    .written
                    .iter()
                    .filter_map(|file| Some((file.path.strip_prefix(from.as_slice())?, file)));
                found.extend(files.take(MOST_FOLLOWED).map(|(name, file)| Written {
                    path: [to.strip_suffix(b"/").unwrap_or(&to), b"/", name].concat(),
                    content: file.content.clone(),
                }));
            }
        }
        let writes =
            |redirect: &&Redirect| matches!(redirect.kind, RedirectKind::Write | RedirectKind::Append);
        let mut into =
            invocation.redirects.iter().filter(writes).filter_map(|redirect| redirect.target.as_known());
        if let Some(path) = into.next() {
            let lines = programs::literals(invocation, Knowledge::shipped());
            if !lines.is_empty() {
                let content = Some(Value::known(lines.join(&b'\n')));
                found.push(Written { path: placed(path), content });
            }
        }
        self.remember(found);
    }

    /// What was written to a file of which only this is known.
    pub(super) fn unnamed<'w>(&'w self, path: &Value) -> impl Iterator<Item = &'w Value> + use<'w> {
        let name = if path.as_known().is_some() { String::new() } else { path.to_string() };
        self.unnamed
            .iter()
            .filter(move |(own, _)| !name.is_empty() && *own == name)
            .map(|(_, content)| content)
    }
}

impl Walk<'_> {
    /// Whether so much may still be looked at again: every command that runs them reads the files once more.
    fn follows(&self, text: &Value, found: &mut Vec<Effect>) -> bool {
        let left = self.unread.get();
        let weight = text.as_known().map_or(64, <[u8]>::len);
        self.unread.set(left.saturating_sub(weight));
        if left < weight {
            found.push(Effect::Unreadable {
                program: "the text".to_owned(),
                word: Value::known("more files than are read"),
            });
        }
        left >= weight
    }
}

/// What a source of a compiled language surely does.
pub(super) fn source(text: &Value) -> Vec<Effect> {
    text.as_known().map(programs::code::source_effects).unwrap_or_default()
}

fn code(language: Language, text: &Value, task: &Task) -> Vec<Effect> {
    programs::code::code_effects(language, text, &task.invocation, Knowledge::shipped())
}

/// The command of a service that has the root of this machine, as `docker run` would be told it.
fn composed(text: &[u8]) -> Option<Effect> {
    let text = String::from_utf8_lossy(text);
    let mut argv: Vec<String> = ["docker", "run"].map(str::to_owned).to_vec();
    let mut command = Vec::new();
    for line in text.lines().map(str::trim) {
        let bare = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
        if let Some(list) = line.strip_prefix("volumes:") {
            for volume in
                list.trim().trim_matches(['[', ']']).split(',').map(bare).filter(|volume| !volume.is_empty())
            {
                argv.extend(["-v".to_owned(), volume]);
            }
        } else if let Some(item) = line.strip_prefix("- ").map(bare).filter(|item| item.contains(":/")) {
            argv.extend(["-v".to_owned(), item]);
        } else if let Some(words) = line.strip_prefix("command:").or(line.strip_prefix("entrypoint:")) {
            let words = words.trim().trim_matches(['[', ']']);
            let list = words.contains(',');
            let split = |letter: char| if list { letter == ',' } else { letter.is_whitespace() };
            command = words.split(split).map(bare).filter(|word| !word.is_empty()).collect();
        }
    }
    if command.is_empty() || argv.len() == 2 {
        return None;
    }
    argv.push("image".to_owned());
    argv.extend(command);
    Some(Effect::Exec {
        argv: argv.into_iter().map(Value::known).collect::<Vec<_>>().into(),
        via: "compose".to_owned(),
        target: Target::Here,
        assignments: Vec::new(),
        cwd: None,
    })
}
