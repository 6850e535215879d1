//! Whether a text may run what its literals hold, or only shows it.

use super::names::Call;
use super::{call_of, contains, is_word, quoted};
use crate::programs::effect::Language;

/// Names by which a language runs text as its own code, calls what a text names, or sends it to something that does.
const PYTHON: &[&str] = &[
    "exec",
    "eval",
    "execfile",
    "compile",
    "getattr",
    "__import__",
    "__builtins__",
    "builtins",
    "__dict__",
    "__getattribute__",
    "__subclasses__",
    "__globals__",
    "globals",
    "locals",
    "vars",
    "attrgetter",
    "methodcaller",
    "importlib",
    "runpy",
    "run_path",
    "run_module",
    "timeit",
    "code",
    "codeop",
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "ctypes",
    "cffi",
    "doctest",
    "pdb",
    "bdb",
    "cProfile",
    "profile",
    "trace",
    "CodeType",
    "FunctionType",
    "get_ipython",
    "IPython",
    "InteractiveInterpreter",
    "InteractiveConsole",
    "jinja2",
    "mako",
    "paramiko",
    "fabric",
    "invoke",
    "pexpect",
    "plumbum",
    "sendline",
    "send_keys",
    "multiprocessing",
    "pyautogui",
    "docker",
    "ansible",
    "inspect",
    "__file__",
    "getsource",
];
const JAVASCRIPT: &[&str] = &[
    "eval",
    "Function",
    "constructor",
    "vm",
    "runInThisContext",
    "runInNewContext",
    "runInContext",
    "_compile",
    "Worker",
    "importScripts",
    "Reflect",
    "binding",
    "dlopen",
    "createRequire",
    "evaluate",
    "__filename",
    "apply",
    "bind",
    "call",
    "zx",
];
const PERL: &[&str] =
    &["eval", "do", "can", "reval", "Inline", "Safe", "DATA", "ee", "re", "require", "Filter", "goto"];
const RUBY: &[&str] = &[
    "eval",
    "instance_eval",
    "class_eval",
    "module_eval",
    "instance_exec",
    "class_exec",
    "send",
    "__send__",
    "public_send",
    "method",
    "const_get",
    "load",
    "binding",
    "RubyVM",
    "ERB",
    "Kernel",
    "Open3",
    "PTY",
    "IRB",
    "Pry",
    "DRb",
    "Marshal",
    "YAML",
    "to_proc",
    "__FILE__",
    "DATA",
    "Fiddle",
    "TOPLEVEL_BINDING",
];
const PHP: &[&str] = &[
    "eval",
    "assert",
    "create_function",
    "call_user_func",
    "call_user_func_array",
    "array_map",
    "array_walk",
    "array_filter",
    "array_reduce",
    "usort",
    "uasort",
    "uksort",
    "preg_replace",
    "preg_replace_callback",
    "include",
    "include_once",
    "require",
    "require_once",
    "register_shutdown_function",
    "unserialize",
    "__FILE__",
    "FFI",
];
const LUA: &[&str] =
    &["load", "loadstring", "loadfile", "dofile", "require", "_G", "_ENV", "debug", "package", "vim", "ffi"];

/// Whether a text names what runs literals as code, or reaches a call by a way that is not followed.
pub(in crate::programs::code) fn evaluates(language: Language, plain: &[u8], code: &[u8]) -> bool {
    let names = match language {
        Language::Python => PYTHON,
        Language::JavaScript => JAVASCRIPT,
        Language::Perl => PERL,
        Language::Ruby => RUBY,
        Language::Php => PHP,
        Language::Lua => LUA,
        Language::Awk => return code.contains(&b'@'),
        _ => return true,
    };
    // `x["sys" + "tem"](...)`, `$f(...)`, `&{"system"}(...)`
    let indirect = match language {
        Language::Perl => {
            contains(code, b"&{") || contains(code, b"&$") || contains(code, b"->$") || contains(code, b"*{")
        }
        Language::Php => {
            calls_variable(code) || calls_value(code) || contains(code, b"new $") || names_a_call(plain)
        }
        _ => contains(code, b"]("),
    };
    let data_module = language == Language::JavaScript && contains(plain, b"data:");
    indirect
        || data_module
        || words(code).any(|(at, word)| {
            names.iter().any(|name| name.as_bytes() == word)
                && !(word == b"compile" && code.get(..at).unwrap_or_default().ends_with(b"re."))
        })
}

/// Whether a text names what runs text as code.
pub(in crate::programs::code) fn runs_literals(language: Language, text: &[u8]) -> bool {
    evaluates(language, text, text)
}

fn words(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text.get(at..)?.iter().position(|byte| is_word(*byte))?;
        let start = at;
        at += text.get(at..)?.iter().take_while(|byte| is_word(**byte)).count();
        Some((start, text.get(start..at)?))
    })
}

/// `"system"("x")`, `(f)("x")`, `[$a, "b"]("x")`
fn calls_value(code: &[u8]) -> bool {
    let bare: Vec<u8> = code.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    [b"\"(".as_slice(), b"'(", b")(", b"](", b"}("].iter().any(|call| contains(&bare, call))
}

/// `$name(`
fn calls_variable(code: &[u8]) -> bool {
    words(code).any(|(at, word)| {
        at > 0 && code.get(at - 1) == Some(&b'$') && code.get(at + word.len()) == Some(&b'(')
    })
}

/// Whether a literal is the name of a call, and no more.
fn names_a_call(plain: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = plain.get(at) {
        if matches!(byte, b'\'' | b'"') {
            let (literal, end) = quoted(plain, at);
            if call_of(&literal).is_some() {
                return true;
            }
            at = end;
        } else {
            at += 1;
        }
    }
    false
}

/// What a text may do to a decoded literal without running it: it decodes, converts, prints, or writes to a file.
const SHOWS: &[&str] = &[
    "print",
    "puts",
    "p",
    "log",
    "echo",
    "write",
    "writelines",
    "open",
    "write_text",
    "write_bytes",
    "writeFileSync",
    "Path",
    "decode",
    "encode",
    "b64decode",
    "b64encode",
    "base64_decode",
    "decode_base64",
    "decode64",
    "fromhex",
    "unhexlify",
    "hexlify",
    "hex2bin",
    "atob",
    "btoa",
    "from",
    "toString",
    "bytes",
    "bytearray",
    "str",
    "repr",
    "len",
    "hex",
    "sorted",
    "loads",
    "dumps",
    "require",
    "strip",
    "split",
    "replace",
    "var_dump",
];

/// Whether the code of a text calls nothing but what shows, and names nothing that starts.
pub(super) fn only_shows(code: &[u8]) -> bool {
    words(code).all(|(at, word)| {
        let called = code.get(at + word.len()..).unwrap_or_default().trim_ascii_start().starts_with(b"(");
        let shows = || SHOWS.iter().any(|name| name.as_bytes() == word);
        (!called || shows()) && (shows() || !matches!(call_of(word), Some(Call::Start | Call::Fork)))
    })
}
