//! Code that plainly only computes and prints.
//!
//! Nothing here trusts a tokenizer: a forbidden word counts wherever it stands, also inside a string or a pattern,
//! because a quote that is misread could hide it.

use super::super::effect::Language;
use crate::shell::Value;

/// Longest text that is looked at; longer one-liners are asked about.
const MAX_TEXT: usize = 2048;

/// Whether a code text plainly only computes and prints: the policy may let it run without a question.
///
/// `false` says nothing about the text; `true` promises that it names no module, function or construct by which the
/// language starts programs, writes files, opens connections or runs text.
pub fn is_inert(language: Language, text: &Value) -> bool {
    let Some(text) = text.as_str().filter(|text| text.len() <= MAX_TEXT) else { return false };
    match language {
        Language::Python => python(text),
        Language::JavaScript => javascript(text),
        Language::Perl => {
            !text.contains('`')
                && !text.contains('<')
                && !text.contains('&')
                && !text.contains("/e")
                && !text.contains("}e")
                && !text.contains("::")
                && !text.contains("->")
                && words(text).all(|word| !PERL.contains(&word))
        }
        Language::Ruby => {
            !text.contains('`')
                && !text.contains("%x")
                && !text.contains("::")
                && words(text).all(|word| !RUBY.contains(&word))
        }
        Language::Php => {
            !text.contains('`')
                && !text.contains('$')
                && words(text).all(|word| PHP.contains(&word) || is_number(word))
                || php_echo(text)
        }
        Language::Lua => words(text).all(|word| !LUA.contains(&word)),
        Language::Awk => awk(text),
        Language::Sed => sed(text),
        Language::Editor => editor(text),
        _ => false,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Modules that neither start anything nor write or connect.
const PYTHON_MODULES: &[&str] = &[
    "json",
    "sys",
    "re",
    "math",
    "cmath",
    "datetime",
    "collections",
    "itertools",
    "string",
    "random",
    "statistics",
    "decimal",
    "fractions",
    "textwrap",
    "base64",
    "hashlib",
    "hmac",
    "uuid",
    "time",
    "calendar",
    "csv",
    "html",
    "parse",
    "urllib",
    "binascii",
    "struct",
    "functools",
    "operator",
    "pprint",
    "unicodedata",
    "zlib",
    "secrets",
    "bisect",
    "heapq",
    "enum",
    "typing",
    "dataclasses",
    "difflib",
    "platform",
    "locale",
    "keyword",
    "token",
    "zoneinfo",
    "numbers",
    "array",
    "copy",
    "ipaddress",
    "tomllib",
    "ast",
];

const PYTHON: &[&str] = &[
    "exec",
    "eval",
    "compile",
    "getattr",
    "setattr",
    "delattr",
    "open",
    "globals",
    "locals",
    "vars",
    "breakpoint",
    "help",
    "modules",
    "os",
    "subprocess",
    "shutil",
    "importlib",
    "ctypes",
    "socket",
    "pathlib",
    "builtins",
    "pickle",
    "marshal",
    "system",
    "popen",
    "fork",
    "request",
    "setprofile",
    "settrace",
    "addaudithook",
    "codecs",
    "memoryview",
    "input",
    "_getframe",
    "attrgetter",
    "methodcaller",
    "loader",
    "spec",
    "meta_path",
    "path_hooks",
    "displayhook",
    "excepthook",
];

/// What `os` gives that only tells.
const PYTHON_OS: &[&str] = &[
    "os.getcwd(",
    "os.path.",
    "os.environ.get(",
    "os.environ[",
    "os.environ)",
    "os.getenv(",
    "os.cpu_count(",
    "os.getpid(",
    "os.getuid(",
    "os.uname(",
    "os.name",
    "os.sep",
    "os.linesep",
];

/// Imports, and prints of what they hold: the code of a module that is installed or of the project runs, as in a test.
fn python_shows(text: &str) -> bool {
    let dotted = |name: &str| {
        !name.is_empty()
            && name
                .split('.')
                .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    let names = |list: &str| {
        list.split(',').all(|item| {
            let mut words = item.split_whitespace();
            words.next().is_some_and(dotted)
                && match (words.next(), words.next(), words.next()) {
                    (None, ..) => true,
                    (Some("as"), Some(name), None) => dotted(name),
                    _ => false,
                }
        })
    };
    let shown = |item: &str| {
        let item = item.trim();
        let quote = item.chars().next().filter(|c| matches!(c, '\'' | '"'));
        match quote.and_then(|quote| item.strip_prefix(quote)?.strip_suffix(quote)) {
            Some(inner) => !inner.contains(['\'', '"', '\\']),
            None => dotted(item) || item.is_empty(),
        }
    };
    text.split([';', '\n']).map(str::trim).filter(|statement| !statement.is_empty()).all(|statement| {
        if let Some(list) = statement.strip_prefix("import ") {
            return names(list);
        }
        if let Some(rest) = statement.strip_prefix("from ") {
            return rest
                .split_once(" import ")
                .is_some_and(|(module, list)| dotted(module.trim()) && names(list));
        }
        let inner = statement.strip_prefix("print(").and_then(|rest| rest.strip_suffix(')'));
        inner.is_some_and(|list| list.split(',').all(shown))
    })
}

/// Whether every `open(...)` of a Python text only reads, and reads a file that it names.
fn python_only_reads(text: &str) -> bool {
    text.match_indices("open(").all(|(at, call)| {
        let rest = text.get(at + call.len()..).unwrap_or_default().trim_start();
        if rest.starts_with("0)") || rest.starts_with("sys.argv[") {
            return true;
        }
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else { return false };
        let Some((_, behind)) = rest.get(1..).and_then(|rest| rest.split_once(quote)) else { return false };
        let Some((more, _)) = behind.split_once(')') else { return false };
        more.split(',').map(str::trim).all(|part| {
            part.is_empty()
                || matches!(part, "'r'" | "\"r\"" | "'rb'" | "\"rb\"" | "'rt'")
                || part.starts_with("encoding='")
                || part.starts_with("encoding=\"")
                || part.starts_with("errors='")
                || part.starts_with("newline='")
        })
    })
}

fn python(text: &str) -> bool {
    if text.is_ascii() && words(text).all(|word| !PYTHON.contains(&word)) && python_shows(text) {
        return true;
    }
    let mut seen = text.to_owned();
    for name in PYTHON_OS {
        seen = seen.replace(name, " safe ");
    }
    // the statement itself; `from os import` and `import os as o` keep the word
    let imports_os = |statement: &str| {
        statement.trim().strip_prefix("import ").is_some_and(|list| {
            list.split(',').all(|name| PYTHON_MODULES.contains(&name.trim()) || name.trim() == "os")
        })
    };
    let kept: Vec<&str> = seen.split([';', '\n']).filter(|statement| !imports_os(statement)).collect();
    python_computes(&kept.join(";"))
}

fn python_computes(text: &str) -> bool {
    if text.contains("__") || text.contains('\\') && text.contains("\\x") || !text.is_ascii() {
        return false;
    }
    let opens = text.matches("open(").count();
    let forbidden =
        |word: &str| PYTHON.contains(&word) && word != "open" || word.starts_with('_') && word.len() > 1;
    if words(text).any(forbidden) || !python_only_reads(text) || text.matches("open").count() != opens {
        return false;
    }
    text.split([';', '\n']).all(|statement| {
        let statement = statement.trim();
        match statement.strip_prefix("import ").or_else(|| statement.strip_prefix("from ")) {
            Some(modules) => {
                let modules = modules.split(" import ").next().unwrap_or_default();
                modules.split(',').all(|module| {
                    let module = module.split_whitespace().next().unwrap_or_default();
                    module.split('.').all(|part| PYTHON_MODULES.contains(&part))
                })
            }
            None => !statement.contains("import"),
        }
    })
}

const JAVASCRIPT: &[&str] = &[
    "require",
    "import",
    "eval",
    "Function",
    "globalThis",
    "global",
    "constructor",
    "prototype",
    "__proto__",
    "fetch",
    "WebSocket",
    "Deno",
    "Bun",
    "child_process",
    "fs",
    "Reflect",
    "Proxy",
    "mainModule",
    "binding",
    "dlopen",
    "kill",
    "exit_",
    "setTimeout",
    "setInterval",
    "setImmediate",
    "XMLHttpRequest",
    "module",
    "exports",
    "with",
    "window",
    "self",
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
    "report",
    "loadEnvFile",
    "getBuiltinModule",
];

/// Modules of node that compute and tell.
const JAVASCRIPT_MODULES: &[&str] =
    &["path", "os", "url", "util", "assert", "querystring", "punycode", "string_decoder"];

/// Calls of `fs` that read and tell, with the word behind the dot.
const JAVASCRIPT_READS: &[&str] = &["readFileSync", "existsSync", "readdirSync", "statSync", "lstatSync"];

/// The text without the `require` of data and of modules that only compute; `None` where `fs` does more than read.
fn without_requires(text: &str) -> Option<String> {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut reads_files = false;
    while let Some(at) = rest.find("require(") {
        let (before, call) = rest.split_at_checked(at)?;
        let inside = call.strip_prefix("require(")?;
        let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (name, behind) = inside.get(1..)?.split_once(quote)?;
        let behind = behind.trim_start().strip_prefix(')')?;
        let plain = name.strip_prefix("node:").unwrap_or(name);
        let data = (name.starts_with("./") || name.starts_with("../")) && name.ends_with(".json");
        if plain == "fs" {
            reads_files = true;
            // the whole module only behind a dot, or under its own name
            let named = before.trim_end().ends_with("fs=") || before.trim_end().ends_with("fs =");
            if !named && !behind.starts_with('.') {
                return None;
            }
            kept.push_str(before.trim_end().trim_end_matches("fs=").trim_end_matches("fs ="));
            kept.push_str(" files ");
            rest = behind.strip_prefix('.').unwrap_or(behind);
            if behind.starts_with('.') && !JAVASCRIPT_READS.iter().any(|call| reads_literal(rest, call)) {
                return None;
            }
            continue;
        }
        if !data && !JAVASCRIPT_MODULES.contains(&plain) {
            return None;
        }
        kept.push_str(before);
        kept.push_str(" data ");
        rest = behind;
    }
    kept.push_str(rest);
    if !reads_files {
        return Some(kept);
    }
    let mut plain = String::with_capacity(kept.len());
    let mut rest = kept.as_str();
    while let Some(at) = rest.find("fs.") {
        let (before, call) = rest.split_at_checked(at)?;
        let call = call.strip_prefix("fs.")?;
        if !JAVASCRIPT_READS.iter().any(|name| reads_literal(call, name)) {
            return None;
        }
        plain.push_str(before);
        rest = call;
    }
    plain.push_str(rest);
    Some(plain)
}

/// Whether this is a call of that name on a file that is named in the text.
fn reads_literal(call: &str, name: &str) -> bool {
    let arguments = call.strip_prefix(name).and_then(|rest| rest.strip_prefix('('));
    arguments.is_some_and(|rest| rest.starts_with(['\'', '"', '0']))
}

fn javascript(text: &str) -> bool {
    let Some(text) = without_requires(text) else { return false };
    let text = text.as_str();
    // a computed member could spell any name
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let inside = rest.get(at + 1..).unwrap_or_default();
        let member =
            rest.get(..at).and_then(|before| before.trim_end().chars().next_back()).is_some_and(|last| {
                last.is_alphanumeric() || matches!(last, ')' | ']' | '_' | '"' | '\'' | '$' | '}' | '.')
            });
        let literal = inside.split(']').next().unwrap_or_default();
        if member && !is_number(literal) {
            return false;
        }
        rest = inside;
    }
    text.is_ascii()
        && !text.contains('\\')
        && !text.contains('`')
        && words(text).all(|word| !JAVASCRIPT.contains(&word))
}

const PERL: &[&str] = &[
    "system", "exec", "qx", "open", "unlink", "rename", "rmdir", "mkdir", "eval", "do", "require", "use",
    "fork", "kill", "syscall", "socket", "connect", "link", "symlink", "chmod", "chown", "utime", "truncate",
    "sysopen", "syswrite", "opendir", "chdir", "chroot", "dump", "pipe", "readpipe", "no", "BEGIN", "sub",
    "tie", "bless", "glob", "e", "ee", "ge", "gee", "eg", "ie", "gie", "ige", "INC", "ENV", "dbmopen",
    "ARGV", "umask", "wait", "alarm", "select", "sleep_", "while", "CORE", "package", "format", "write",
    "binmode",
];

const RUBY: &[&str] = &[
    "system",
    "exec",
    "spawn",
    "fork",
    "open",
    "popen",
    "eval",
    "instance_eval",
    "class_eval",
    "module_eval",
    "send",
    "__send__",
    "public_send",
    "method",
    "require",
    "load",
    "require_relative",
    "File",
    "IO",
    "Dir",
    "FileUtils",
    "Process",
    "Kernel",
    "Open3",
    "PTY",
    "Net",
    "Socket",
    "TCPSocket",
    "URI",
    "URL",
    "const_get",
    "Object",
    "binding",
    "define_method",
    "instance_variable_get",
    "trap",
    "at_exit",
    "ObjectSpace",
    "write",
    "Marshal",
    "YAML",
    "syscall",
    "test",
    "BEGIN",
    "END",
    "autoload",
    "exit_",
    "tap_",
    "then_",
    "Fiddle",
    "DRb",
    "Pathname",
    "Tempfile",
    "StringIO_",
];

const PHP: &[&str] = &[
    "echo",
    "print",
    "phpversion",
    "PHP_VERSION",
    "PHP_EOL",
    "PHP_OS",
    "json_encode",
    "strlen",
    "date",
    "time",
    "md5",
    "sha1",
    "base64_encode",
    "base64_decode",
    "urlencode",
    "urldecode",
    "php_sapi_name",
    "phpinfo",
    "php_uname",
];

/// `echo "text";` with one literal and nothing in it that PHP expands.
fn php_echo(text: &str) -> bool {
    let text = text.trim().trim_end_matches(';').trim();
    let Some(rest) = text.strip_prefix("echo ").or_else(|| text.strip_prefix("print ")) else { return false };
    let rest = rest.trim();
    let Some(inner) = rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) else { return false };
    !inner.contains(['\'', '\\'])
}

const LUA: &[&str] = &[
    "os",
    "io",
    "require",
    "load",
    "loadstring",
    "loadfile",
    "dofile",
    "debug",
    "package",
    "_G",
    "_ENV",
    "setmetatable",
    "getmetatable",
    "rawget",
    "rawset",
    "vim",
    "ffi",
    "getfenv",
    "setfenv",
    "module",
];

/// awk starts programs by `system`, by pipes and by coprocesses, and writes by `>`.
fn awk(text: &str) -> bool {
    let plain = text.replace("||", "");
    !plain.contains('|')
        && !text.contains('@')
        && !redirects(text)
        && words(text).all(|word| {
            !matches!(word, "system" | "getline" | "ENVIRON" | "close" | "fflush" | "load" | "include")
        })
}

/// Whether a `>` in awk may write: in a statement that prints.
fn redirects(text: &str) -> bool {
    text.split(['{', ';', '\n', '}']).any(|statement| {
        statement.find("print").is_some_and(|at| statement.get(at..).unwrap_or_default().contains('>'))
    })
}

/// Commands of vi that only move, save and leave, and plain substitutions.
fn editor(text: &str) -> bool {
    let text = text.trim_start_matches([':', '+']).trim();
    let plain =
        ["q", "q!", "wq", "x", "w", "qa", "qa!", "wqa", "wa", "xa", "set", "syntax on", "e", "noh", "$", "1"];
    let substitution = ["%s/", "s/", "%s#", "%s|", "g/", "v/"].iter().any(|start| text.starts_with(start))
        && !text.contains("\\=")
        && !text.contains('!');
    plain.contains(&text)
        || is_number(text)
        || substitution
        || text.strip_prefix("set ").is_some_and(|option| {
            !option.contains(['!', '|', '`']) && !option.contains("prg") && !option.contains("shell")
        })
}

/// sed without `e`, `w` and `r`: judged by what its script was seen to do.
fn sed(text: &str) -> bool {
    let mut effects = Vec::new();
    super::lines::sed(text.as_bytes(), &mut effects);
    effects.is_empty()
}
