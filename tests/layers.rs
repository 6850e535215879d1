//! Reads every `crate::` and `super::` path of the sources and fails on an edge that the layer table lacks.
//!
//! The table is the architecture: a module may use what its row names and nothing else of the crate. The longest
//! prefix decides which row a path belongs to, so that the pure part of a module can have a row of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules of the crate it may use.
type Row = (&'static str, &'static [&'static str]);

/// Layer 0: pure. No files, environment, network, processes, threads, clock or randomness.
const PURE: &[Row] = &[
    ("shell", &[]),
    ("programs", &["shell"]),
    ("gate", &["shell", "programs"]),
    ("scan", &[]),
    ("redact", &[]),
    ("policy", &["shell", "programs", "gate", "scan", "redact"]),
    ("network", &["policy"]),
    ("wire", &["shell", "gate", "scan"]),
    ("audit::record", &["shell", "gate", "redact", "wire", "audit::chain", "audit::checkpoint"]),
    ("audit::chain", &["gate", "audit::record"]),
    ("audit::checkpoint", &["audit::chain"]),
    ("stage", &["shell", "programs", "gate", "policy", "redact", "wire", "audit::record", "audit::chain"]),
];

/// Layer 1: effects. Layer 0 and `sys`, never each other; the sandbox knows no policy, approval no sandbox.
const EFFECTS: &[Row] = &[
    ("sys", &[]),
    ("wire::framing", &["wire", "sys"]),
    ("wire::peer", &["wire", "sys"]),
    (
        "prepare",
        &["shell", "programs", "gate", "policy", "redact", "scan", "wire", "stage", "audit::record", "sys"],
    ),
    // A table for each thing that outlives the supervisor, and nothing of what it means.
    ("state", &["sys"]),
    (
        "approval",
        &[
            "shell",
            "programs",
            "gate",
            "policy",
            "redact",
            "wire",
            "stage",
            "audit::record",
            "state",
            "models",
            "sys",
        ],
    ),
    (
        "audit",
        &[
            "shell",
            "gate",
            "redact",
            "wire",
            "stage",
            "audit::record",
            "audit::chain",
            "audit::checkpoint",
            "sys",
        ],
    ),
    // A job and its schedule; what runs it is the supervisor.
    ("jobs", &["shell", "gate", "policy", "wire", "http", "sys"]),
    // `prepare`: the checked directory whose descriptor travels to the runner.
    ("sandbox", &["wire", "wire::framing", "stage", "prepare", "sys"]),
    ("private", &[]),
    // `policy` for what a secret can be called.
    ("secrets", &["policy", "redact", "private"]),
    ("resolve", &[]),
    ("proxy", &["policy", "network", "resolve"]),
    ("http", &["network", "resolve", "private"]),
    // `policy` for its times.
    ("models", &["policy", "http", "state"]),
    ("runner", &["wire", "wire::framing", "sys"]),
    // Blocking and without state of its own: what the command line needs to ask a daemon.
    ("client", &["shell", "gate", "wire", "wire::peer", "sys"]),
];

/// What every shell may use: all that stands below it.
const BELOW: &[&str] = &[
    "shell",
    "programs",
    "gate",
    "network",
    "policy",
    "redact",
    "scan",
    "wire",
    "wire::framing",
    "wire::peer",
    "stage",
    "audit",
    "audit::record",
    "audit::chain",
    "audit::checkpoint",
    "sys",
    "state",
    "prepare",
    "approval",
    "models",
    "jobs",
    "http",
    "private",
    "secrets",
    "resolve",
    "proxy",
    "sandbox",
    "runner",
    "client",
];

/// Layer 2: the shells that put the rest together. They do not use each other, with the edges of [`COMPOSED`].
const SHELLS: &[&str] = &["supervisor", "cli", "ops", "adapters"];

/// Edges between shells that the design asks for, with the reason.
const COMPOSED: &[(&str, &str, &str)] = &[
    ("cli", "supervisor", "`execward run` without a daemon is a private supervisor for one command"),
    ("cli", "ops", "`execward doctor --attack` runs its probes as such commands"),
    (
        "ops",
        "supervisor",
        "`execward doctor` looks at what the supervisor would use, and has it run a command",
    ),
    ("cli", "adapters", "`execward mcp` and `execward hook` are started from the command line"),
];

/// Crates and parts of std that a module must not name: (module, path prefix, reason).
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("runner", "tokio", "the runner is single-threaded: it forks, and landlock and seccomp bind threads"),
    ("runner", "clap", "the runner reads frames, never arguments"),
    ("runner", "tracing", "a subscriber could start threads and open files"),
    ("runner", "bollard", "only sandbox::docker talks to an engine"),
    ("approval", "nix::mount", "approval knows no sandbox"),
];

/// What nothing in layer 0 may name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::os",
    "tokio",
    "tracing",
    "tracing_subscriber",
    "nix",
    "libc",
    "rustix",
    "getrandom",
    "landlock",
    "seccompiler",
    "caps",
];

/// Crates that one module alone may name.
const OWNED: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("bollard", &["sandbox::docker"]),
    ("rmcp", &["adapters::mcp"]),
    ("rusqlite", &["state"]),
    ("tokio_rustls", &["http", "sandbox::docker"]),
    ("ratatui", &["cli"]),
    ("landlock", &["runner", "sandbox", "sys", "ops"]),
    ("seccompiler", &["runner", "sandbox", "sys"]),
];

/// What can leave a layer of the jail out, and who alone may name it: nothing that a session goes through.
const SEALED: &[(&str, &[&str])] = &[
    ("runner::control", &["ops::attack"]),
    ("sys::spawn::step", &["runner::control"]),
    ("sys::attack", &["runner::control", "ops::attack", "cli::doctor"]),
];

#[test]
fn sources_keep_to_the_layer_table() {
    let sources = sources();
    assert!(sources.len() > 10, "the sources were not found: {sources:?}");
    let problems: Vec<String> = sources
        .iter()
        .flat_map(|(path, module)| {
            let text = fs::read_to_string(path).expect("a source can be read");
            judge(module, &text).into_iter().map(move |problem| format!("{}: {problem}", path.display()))
        })
        .collect();
    assert!(problems.is_empty(), "edges that the layer table lacks:\n  {}", problems.join("\n  "));
}

#[test]
fn every_module_has_a_row() {
    for (path, module) in sources() {
        if module.is_empty() {
            continue;
        }
        assert!(
            row(&module).is_some(),
            "{}: module `{module}` is in no layer: add it to the table in tests/layers.rs",
            path.display()
        );
    }
}

#[test]
fn pure_modules_forbid_unsafe_and_impure_calls() {
    for (name, _) in PURE {
        let top = name.replace("::", "/");
        let file = [format!("src/{top}/mod.rs"), format!("src/{top}.rs")]
            .into_iter()
            .map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
            .find(|path| path.exists());
        // `wire` holds framing too, so the lint stands in each of its pure files and not at its top.
        let (Some(file), false) = (file, *name == "wire") else { continue };
        let text = fs::read_to_string(&file).expect("a source can be read");
        if code(&text).trim().is_empty() {
            continue;
        }
        for attribute in ["forbid(unsafe_code)", "clippy::disallowed_methods"] {
            assert!(text.contains(attribute), "{}: a pure module opens with `{attribute}`", file.display());
        }
    }
}

#[test]
fn an_edge_that_the_table_lacks_is_found() {
    let judged = |module: &str, text: &str| judge(module, text).join("; ");
    assert!(judged("shell::parse", "use crate::gate::Facts;").contains("shell::parse uses gate"));
    assert!(judged("shell", "use crate::{shell::Span, policy::{self, Rule}};").contains("uses policy"));
    assert!(judged("shell", "fn f() { crate :: sys::open(); }").contains("uses sys"));
    assert!(judged("gate::facts", "use super::super::policy::Rule;").contains("uses policy"));
    assert!(judged("stage", "use crate::audit::File;").contains("uses audit"));
    assert!(judged("wire::runner", "use crate::wire::peer::Peer;").contains("uses wire::peer"));
    assert!(judged("supervisor", "use crate::cli::Args;").contains("uses cli"));
    assert!(judged("redact", "fn f() { let _ = std::fs::read(\"x\"); }").contains("std::fs"));
    assert!(judged("redact", "use std::{fmt, fs::File};").contains("std::fs"));
    assert!(judged("runner", "use tokio::net::UnixStream;").contains("tokio"));
    assert!(judged("gate", "use clap::Parser;").contains("clap"));
    assert!(judged("gate", "fn f() { unsafe { g() } }").contains("unsafe"));
    assert!(judged("supervisor", "use crate::runner::control::enter;").contains("uses runner::control"));
    assert!(judged("runner::standing", "use super::control::World;").contains("uses runner::control"));
    assert!(judged("runner::init", "use crate::sys::spawn::step;").contains("uses sys::spawn::step"));
    assert!(judged("sys::spawn::confine", "use crate::sys::attack::Layer;").contains("uses sys::attack"));
}

#[test]
fn an_edge_of_the_table_is_not_reported() {
    let clean = |module: &str, text: &str| assert_eq!(judge(module, text), Vec::<String>::new());
    clean("gate", "use crate::shell::{Span, Dialect}; use crate::programs::Effect;");
    clean("stage", "use crate::audit::record::Record;");
    clean("audit::record", "mod tests { use super::*; }");
    clean("shell::parse", "use super::Span; // never crate::policy");
    clean("shell", "const S: &str = \"crate::policy\"; const C: char = '\"'; fn f<'a>(x: &'a str) {}");
    clean("cli::run", "use crate::supervisor::serve;");
    clean("audit::record", "pub(in crate::audit) struct S;");
    clean("shell::tests", "use std::time::Instant;");
    clean("sys", "fn f() { unsafe { libc::getpid() }; }");
}

/// Every source of the library with the path of its module.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a source directory can be listed") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).expect("the file is below the root");
                let mut parts: Vec<_> = relative
                    .with_extension("")
                    .iter()
                    .map(|part| part.to_string_lossy().into_owned())
                    .collect();
                parts.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
                found.push((path.clone(), parts.join("::")));
            }
        }
    }
    found.sort();
    found
}

/// What is wrong with the source `text` of `module`; empty where nothing is.
fn judge(module: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut problems = BTreeSet::new();
    for path in paths(module, &code) {
        if let Some(inner) = path.strip_prefix("crate::") {
            if !may_use(module, inner) {
                problems.insert(format!("{module} uses {inner}"));
            }
        } else {
            problems.extend(outside(module, &path));
        }
    }
    if tokens(&code).iter().any(|token| token == "unsafe") && !within(module, "sys") {
        problems.insert("unsafe outside src/sys".to_owned());
    }
    problems.into_iter().collect()
}

/// Whether `module` may use the path `used` of this crate.
fn may_use(module: &str, used: &str) -> bool {
    // The roots of the two crates hold no logic: lib.rs declares modules, main.rs chooses the role.
    if module.is_empty() {
        return true;
    }
    let sealed = SEALED.iter().find(|(name, _)| within(used, name) && !within(module, name));
    if sealed.is_some_and(|(_, users)| !users.iter().any(|user| within(module, user))) {
        return false;
    }
    let Some((own, allowed)) = row(module) else { return false };
    // A name that is no module of the table: an item of the crate's root, of which there is none.
    let Some((target, _)) = row(used) else { return false };
    own == target || allowed.contains(&target) || (within(target, own) && !is_pure(own))
}

/// Whether the row of this name is of layer 0.
fn is_pure(own: &str) -> bool {
    PURE.iter().any(|(name, _)| *name == own)
}

/// The row of the longest module prefix of `path`.
fn row(path: &str) -> Option<(&'static str, Vec<&'static str>)> {
    let rows = PURE.iter().chain(EFFECTS).map(|(name, allowed)| (*name, allowed.to_vec()));
    let shells = SHELLS.iter().map(|name| {
        let composed = COMPOSED.iter().filter(|(from, ..)| from == name).map(|(_, to, _)| *to);
        (*name, BELOW.iter().copied().chain(composed).collect())
    });
    rows.chain(shells).filter(|(name, _)| within(path, name)).max_by_key(|(name, _)| name.len())
}

/// What is wrong with naming the path `used` of another crate in `module`.
fn outside(module: &str, used: &str) -> Vec<String> {
    let mut problems = Vec::new();
    // Unit tests of a pure module may time it, and hold it against other programs.
    let pure = !module.ends_with("::tests") && row(module).is_some_and(|(own, _)| is_pure(own));
    if pure && let Some(impure) = IMPURE.iter().find(|impure| within(used, impure)) {
        problems.push(format!("{module} is pure and names {impure}"));
    }
    for (_, name, reason) in FORBIDDEN.iter().filter(|(of, name, _)| within(module, of) && within(used, name))
    {
        problems.push(format!("{module} names {name}: {reason}"));
    }
    for (name, owners) in OWNED.iter().filter(|(name, _)| within(used, name)) {
        if !module.is_empty() && !owners.iter().any(|owner| within(module, owner)) {
            problems.push(format!("{module} names {name}, which belongs to {owners:?}"));
        }
    }
    problems
}

/// Whether `path` is `prefix` or below it.
fn within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path that `code` names: `crate::...` for this crate, the bare path for another.
fn paths(module: &str, code: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let mut found = BTreeSet::new();
    // Inline modules that are open, with the depth of braces inside each.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, inside)| depth < *inside);
            }
            "mod" if tokens.get(at + 2).is_some_and(|next| next == "{") => {
                inline.push((tokens[at + 1].clone(), depth + 1));
            }
            _ if tokens.get(at + 1).is_some_and(|next| next == "::") && starts_path(&tokens, at) => {
                let here: Vec<&str> = module
                    .split("::")
                    .filter(|part| !part.is_empty())
                    .chain(inline.iter().map(|(name, _)| name.as_str()))
                    .collect();
                let mut leaves = Vec::new();
                tree(&tokens, &mut at.clone(), &mut Vec::new(), &mut leaves);
                found.extend(leaves.iter().filter_map(|leaf| resolve(&here, leaf)));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether the token at `at` is the first segment of a path.
fn starts_path(tokens: &[String], at: usize) -> bool {
    let word = tokens[at].chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    // `pub(in crate::audit)` names no use.
    word && (at == 0 || !matches!(tokens[at - 1].as_str(), "::" | "in"))
}

/// Reads a path or a use-tree from `at` on and adds each full path to `leaves`.
fn tree(tokens: &[String], at: &mut usize, prefix: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    let before = prefix.len();
    while let Some(token) = tokens.get(*at) {
        if token == "{" {
            *at += 1;
            while tokens.get(*at).is_some_and(|token| token != "}") {
                if tokens[*at] == "," {
                    *at += 1;
                } else {
                    let start = *at;
                    tree(tokens, at, prefix, leaves);
                    *at = (*at).max(start + 1);
                }
            }
            *at += 1;
            prefix.truncate(before);
            return;
        }
        if token != "self" || prefix.is_empty() {
            prefix.push(token.clone());
        }
        *at += 1;
        if tokens.get(*at).is_none_or(|next| next != "::") {
            break;
        }
        *at += 1;
    }
    leaves.push(prefix.clone());
    prefix.truncate(before);
    // `use a::b as c`
    if tokens.get(*at).is_some_and(|token| token == "as") {
        *at += 2;
    }
}

/// The absolute form of `leaf`, named in the module `here`; `None` where it stays inside that very module.
fn resolve(here: &[&str], leaf: &[String]) -> Option<String> {
    let supers = leaf.iter().take_while(|segment| *segment == "super").count();
    match leaf.first()?.as_str() {
        "crate" | "execward" => Some(format!("crate::{}", leaf[1..].join("::"))),
        "self" | "Self" => None,
        "super" => {
            let base = here.get(..here.len().checked_sub(supers)?)?;
            let full: Vec<&str> =
                base.iter().copied().chain(leaf[supers..].iter().map(String::as_str)).collect();
            Some(format!("crate::{}", full.join("::")))
        }
        _ => Some(leaf.join("::")),
    }
}

/// Words, `::` and single marks.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut letters = code.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_alphanumeric() || letter == '_' {
            let mut word = String::from(letter);
            while let Some(next) = letters.next_if(|next| next.is_alphanumeric() || *next == '_') {
                word.push(next);
            }
            tokens.push(word);
        } else if letter == ':' && letters.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !letter.is_whitespace() {
            tokens.push(letter.to_string());
        }
    }
    tokens
}

/// `text` without comments, strings and character literals.
fn code(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let skip = match rest {
            ['/', '/', ..] => rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => string(rest),
            ['r', ..] if raw_hashes(rest).is_some() && !ends_in_word(&out) => raw_string(rest),
            ['\'', '\\', ..] => 3 + rest[3..].iter().position(|letter| *letter == '\'').unwrap_or(0),
            ['\'', _, '\'', ..] => 2,
            _ => 0,
        };
        if skip == 0 {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.push(' ');
            at += if matches!(rest[0], '/') { skip } else { skip + 1 };
        }
    }
    out
}

fn ends_in_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
}

/// Length of a block comment, which may hold others.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Index of the closing quote.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at
}

/// How many `#` open the raw string at the start of `rest`; `None` where there is none.
fn raw_hashes(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|letter| **letter == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Index of the last character of the raw string at the start of `rest`.
fn raw_string(rest: &[char]) -> usize {
    let hashes = raw_hashes(rest).unwrap_or(0);
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = 2 + hashes;
    let close = rest[body..].windows(end.len()).position(|window| window == end.as_slice());
    close.map_or(rest.len() - 1, |close| body + close + hashes)
}
