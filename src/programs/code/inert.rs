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
    "ast_literal",
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

fn python(text: &str) -> bool {
    if text.contains("__") || text.contains('\\') && text.contains("\\x") || !text.is_ascii() {
        return false;
    }
    let opens = text.matches("open(").count();
    let reads = ["open('", "open(\"", "open(0)", "open(sys.argv["]
        .iter()
        .map(|call| text.matches(call).count())
        .sum::<usize>();
    let forbidden =
        |word: &str| PYTHON.contains(&word) && word != "open" || word.starts_with('_') && word.len() > 1;
    if words(text).any(forbidden) || opens != reads || text.matches("open").count() != opens {
        return false;
    }
    // `open('x', 'w')`: a mode that writes
    let modes =
        ["'w", "\"w", "'a'", "\"a\"", "'a+", "'x'", "\"x\"", "'r+", "\"r+", "'ab", "'xb", "mode=", "opener"];
    if opens > 0 && modes.iter().any(|mode| text.contains(mode)) {
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

fn javascript(text: &str) -> bool {
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
