//! JavaScript that plainly only computes, reads, prints, and writes files that it names.

mod members;
mod started;

use super::{asks_for_credentials, changes_data, is_number, names_a_change, words, writes_named_files};
use crate::programs::Language;

/// Words that stand for more than computing wherever they stand.
const FORBIDDEN: &[&str] = &[
    "eval",
    "Function",
    "globalThis",
    "global",
    "constructor",
    "prototype",
    "__proto__",
    "WebSocket",
    "Deno",
    "Bun",
    "child_process",
    "Reflect",
    "Proxy",
    "mainModule",
    "binding",
    "dlopen",
    "kill",
    "XMLHttpRequest",
    "module",
    "exports",
    "with",
    "vm",
    "Worker",
    "WebAssembly",
    "getPrototypeOf",
    "getOwnPropertyDescriptor",
    "defineProperty",
    "apply",
    "call",
    "bind",
    "abort",
    "chdir",
    "setuid",
    "setgid",
    "_linkedBinding",
    "loadEnvFile",
    "getBuiltinModule",
    "cluster",
    "worker_threads",
    "net",
    "dgram",
    "inspector",
    "repl",
    "createServer",
    "listen",
    "createRequire",
    "register",
    "v8",
    "execSync",
    "spawn",
    "spawnSync",
    "fork",
    "execa",
    "shelljs",
    "zx",
];

/// Modules of node that compute and tell.
const MODULES: &[&str] = &[
    "path",
    "os",
    "url",
    "util",
    "assert",
    "querystring",
    "punycode",
    "string_decoder",
    "crypto",
    "events",
    "buffer",
    "timers",
    "perf_hooks",
    "zlib",
    "stream",
    "dns",
    "readline",
    "process",
    "fs",
    "fs/promises",
];

/// Calls of `fs` that read and tell, and that write to a file that they name: what they write is seen by itself.
const CALLS: &[&str] = &[
    "readFileSync",
    "readFile",
    "existsSync",
    "readdirSync",
    "readdir",
    "statSync",
    "lstatSync",
    "stat",
    "access",
    "accessSync",
    "realpathSync",
    "constants",
    "writeFileSync",
    "writeFile",
    "appendFileSync",
];

pub(super) fn is_inert(text: &str) -> bool {
    let letters = text.chars().any(|letter| !letter.is_ascii() && letter.is_alphanumeric());
    // names may be spelled by their code points
    if letters || text.contains("\\u") || text.contains("\\x") || asks_for_credentials(text) {
        return false;
    }
    // what is told and no more
    let text = &[
        "process.versions.v8",
        "require.resolve(",
        "module.paths",
        "globalThis.crypto",
        // in a page of a browser
        "$$eval(",
        "$eval(",
        "Deno.version",
        "Bun.version",
        "Deno.args",
        "Bun.argv",
        "Deno.readTextFileSync(",
        "Deno.readTextFile(",
    ]
    .iter()
    .fold(text.to_owned(), |seen, known| {
        seen.replace(known, if known.ends_with('(') { "safe(" } else { "safe" })
    });
    let text = &started::without(text);
    let Some(foreign) = imports(text) else { return false };
    if computes_members(text) && (members::puts_together(text) || !members::calls_only_names(text))
        || !words(text).all(|word| !FORBIDDEN.contains(&word))
        || text.contains("process") && words(text).any(|word| word == "report")
    {
        return false;
    }
    let seen = ["writeFileSync(", "process.stdout.write(", "writeFile("]
        .iter()
        .fold(text.to_owned(), |seen, call| seen.replace(call, " safe("));
    if foreign && (names_a_change(&seen) || changes_data(&seen)) {
        return false;
    }
    files(text)
}

/// Whether a module is required that is none of node's own; `None` where it cannot be seen which.
fn imports(text: &str) -> Option<bool> {
    let mut foreign = false;
    let named = |behind: &str| {
        let behind = behind.trim_start();
        let quote = behind.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
        let (name, behind) = behind.get(1..)?.split_once(quote)?;
        // nothing is put to it
        if !matches!(
            behind.trim_start_matches([' ', '\t']).chars().next(),
            None | Some(')' | ';' | '\n' | ',')
        ) {
            return None;
        }
        let plain = name.strip_prefix("node:").unwrap_or(name);
        let data = name.starts_with('.') && name.ends_with(".json");
        Some(!data && !MODULES.contains(&plain))
    };
    for (at, word) in text.match_indices("require").chain(text.match_indices("import")) {
        let behind = text.get(at + word.len()..).unwrap_or_default().trim_start();
        if behind.starts_with(".meta") {
            continue;
        }
        // `import a from 'x'`, `import {a, b} from 'x'`, `import 'x'`, `import('x')`, `require('x')`
        let behind = match behind.strip_prefix('(') {
            Some(inside) => inside,
            None if word == "require" => return None,
            None => match behind.split_once("from") {
                Some((list, behind)) if !list.contains(['\'', '"', ';']) => behind,
                _ => behind,
            },
        };
        foreign |= named(behind)?;
    }
    Some(foreign)
}

/// Whether a computed member could spell any name: `x[y]` where `y` is neither a number nor a plain literal.
fn computes_members(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let inside = rest.get(at + 1..).unwrap_or_default();
        let before = rest.get(..at).and_then(|before| before.trim_end().chars().next_back());
        let keyword = rest.get(..at).is_some_and(|before| {
            let before = before.trim_end();
            let word = before.rsplit(|letter| !is_name(letter)).next().unwrap_or_default();
            matches!(
                word,
                "of" | "in" | "return" | "await" | "case" | "typeof" | "const" | "let" | "var" | "yield"
            )
        });
        let member = before.is_some_and(|last| {
            last.is_alphanumeric() || matches!(last, ')' | ']' | '_' | '"' | '\'' | '$' | '}' | '.' | '`')
        }) && !keyword;
        let literal = members::near(inside).split(']').next().unwrap_or_default();
        let quoted = ['\'', '"'].iter().any(|quote| {
            literal
                .strip_prefix(*quote)
                .and_then(|literal| literal.strip_suffix(*quote))
                .is_some_and(|name| !name.contains(['\'', '"', '\\', '+', '`']))
        });
        if member && !is_number(literal) && !quoted {
            return true;
        }
        rest = inside;
    }
    false
}

/// Whether `fs` only reads, and writes files that it names.
fn files(text: &str) -> bool {
    let names = ["fs", "node:fs", "fs/promises", "node:fs/promises"];
    let mut aliases = Vec::new();
    for (at, _) in text.match_indices(['\'', '"']) {
        let behind = text.get(at + 1..).unwrap_or_default();
        let Some((name, behind)) = behind.split_once(['\'', '"']).filter(|(name, _)| names.contains(name))
        else {
            continue;
        };
        _ = name;
        let before = text.get(..at).unwrap_or_default().trim_end();
        let target = match before.strip_suffix("require(") {
            Some(before) => {
                match behind.trim_start().strip_prefix(')').and_then(|rest| rest.strip_prefix('.')) {
                    Some(call) if is_named_call(call) => continue,
                    Some(_) => return false,
                    None => before.trim_end().strip_suffix('='),
                }
            }
            None => before.strip_suffix("from"),
        };
        let Some(target) = target.map(str::trim_end) else { return false };
        match target.strip_suffix('}').map(|list| list.rsplit('{').next().unwrap_or_default()) {
            Some(list) if list.contains(':') || !list.split(',').all(|name| is_named_call(name.trim())) => {
                return false;
            }
            Some(_) => {}
            None => {
                let name = target.rsplit(|letter: char| !is_name(letter)).next().unwrap_or_default();
                aliases.push(name);
            }
        }
    }
    let alias_only_calls = |alias: &&str| {
        !alias.is_empty()
            && text.match_indices(*alias).all(|(at, alias)| {
                let before = text.get(..at).unwrap_or_default();
                let behind = text.get(at + alias.len()..).unwrap_or_default();
                let part = before.ends_with(is_name)
                    || behind.starts_with(is_name)
                    || before.ends_with(['\'', '"', ':']);
                let given = behind
                    .trim_start()
                    .strip_prefix('=')
                    .is_some_and(|rest| rest.trim_start().starts_with("require"))
                    || behind.trim_start().starts_with("from");
                part || given || behind.strip_prefix('.').is_some_and(is_named_call)
            })
    };
    aliases.iter().all(alias_only_calls) && writes_named_files(Language::JavaScript, text).is_some()
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

/// Whether a call begins with a name of those that read, or write to a file that they name.
fn is_named_call(call: &str) -> bool {
    let call = call.strip_prefix("promises.").unwrap_or(call);
    let name = call.split(|letter: char| !is_name(letter)).next().unwrap_or_default();
    CALLS.contains(&name)
}
