//! Code that plainly only computes and prints.
//!
//! Nothing here trusts a tokenizer: a forbidden word counts wherever it stands, also inside a string or a pattern,
//! because a quote that is misread could hide it.

mod awk;
mod debugger;
mod javascript;
mod judged;
mod other;
mod python;
mod verbs;

pub(super) use python::spelled as python_spelled;

use std::collections::HashSet;

pub(in crate::programs) use verbs::changes_models;
use verbs::{changes_data, is_verb, names_a_change};

use super::super::effect::{Effect, Language};
use super::lexed::{Lexed, lexed};
use super::scan;
use crate::shell::Value;

/// Longest text that is looked at; longer one-liners are asked about.
pub(super) const MAX_TEXT: usize = 16384;

/// Whether a code text plainly only computes and prints: the policy may let it run without a question.
///
/// `false` says nothing about the text; `true` promises that it names no module, function or construct by which the
/// language starts programs, writes files, opens connections or runs text.
pub fn is_inert(language: Language, text: &Value) -> bool {
    let Some(text) = text.as_str().filter(|text| text.len() <= MAX_TEXT) else { return false };
    match language {
        Language::Python => python::is_inert(text),
        Language::JavaScript => javascript::is_inert(&with_names(language, text)),
        Language::Perl => {
            // options that only hold the author to something
            let seen = data_apart(language, text)
                .map(|(_, code)| without(&without(&code, PERL_PRAGMAS), PERL_TELLS));
            let seen = seen.as_deref().unwrap_or(text);
            let conjoined = seen
                .replace("&&", "")
                .replace("<>", "")
                .replace("<STDIN>", "")
                .replace("<=", "")
                .replace("< ", "");
            let derefs = conjoined.replace("->[", "").replace("->{", "");
            !seen.contains('`')
                && !conjoined.contains(['<', '&'])
                && !text.contains("/e")
                && !text.contains("}e")
                && !seen.contains("::")
                && !derefs.contains("->")
                && !(seen.contains("->") && (seen.contains("](") || seen.contains("}(")))
                && words(seen).all(|word| !PERL.contains(&word))
        }
        Language::Ruby => {
            let plain = |seen: &str| {
                !seen.contains('`')
                    && !seen.contains("%x")
                    && !seen.contains("::")
                    && !["inject(\"", "inject('", "reduce(\"", "reduce('"]
                        .iter()
                        .any(|call| seen.contains(call))
                    && words(seen).all(|word| !RUBY.contains(&word))
            };
            match data_apart(language, text) {
                Some((plain_text, code)) => {
                    plain(&ruby_reads(&plain_text, &code)) && reads_named_files(language, text)
                }
                None => plain(text),
            }
        }
        Language::Php => {
            let plain = |seen: &str| {
                !seen.contains(['`', '$']) && words(seen).all(|word| PHP.contains(&word) || is_number(word))
            };
            let apart =
                || data_apart(language, text).is_some_and(|(_, code)| plain(&without_variables(&code)));
            (plain(text) || apart()) && reads_named_files(language, text) || php_echo(text)
        }
        Language::Lua => words(text).all(|word| !LUA.contains(&word)),
        Language::Awk => awk(text) || awk::is_inert(text),
        Language::Sed => sed(text),
        Language::Editor => editor(text) || debugger::only_looks(text),
        Language::Other => other::only_computes(text),
        _ => false,
    }
}

/// A text without comments, and its code without what stands in literals, where nothing in it runs what they hold.
fn data_apart(language: Language, text: &str) -> Option<(String, String)> {
    let lexed = lexed(language, text.as_bytes())?;
    if scan::evaluates(language, &lexed.plain, &lexed.code) {
        return None;
    }
    Some((String::from_utf8(lexed.plain).ok()?, String::from_utf8(lexed.code).ok()?))
}

/// A text without comments, and without what stands in literals that may look like code; all of it where that cannot be told.
fn with_names(language: Language, text: &str) -> String {
    let Some(Lexed { plain, code }) = lexed(language, text.as_bytes()) else { return text.to_owned() };
    if scan::evaluates(language, &plain, &code) {
        return text.to_owned();
    }
    let mut seen = plain;
    let mut at = 0;
    // what is blank in the code and was not in the text stands in a literal
    while at < seen.len() {
        let hidden = |at: usize| seen.get(at) != code.get(at) || seen.get(at) == Some(&b' ');
        let mut end = at;
        while end < seen.len() && hidden(end) {
            end += 1;
        }
        let content = seen.get_mut(at..end).unwrap_or_default();
        if content.iter().any(|byte| matches!(byte, b'(' | b'`' | b'\n')) {
            content.fill(b' ');
        }
        at = end + 1;
    }
    String::from_utf8(seen).unwrap_or_else(|_| text.to_owned())
}

/// Pragmas of Perl.
const PERL_PRAGMAS: &[&str] = &["use strict", "use warnings", "use utf8", "use feature", "use v5", "BEGIN"];

/// Classes of Perl that make text of data, and data of text.
const PERL_TELLS: &[&str] = &["JSON::PP->new", "->pretty", "->canonical", "->utf8", "->encode(", "->decode("];

fn without(text: &str, parts: &[&str]) -> String {
    parts.iter().fold(text.to_owned(), |seen, part| seen.replace(part, ""))
}

/// Modules of Ruby that compute.
const RUBY_MODULES: &[&str] =
    &["json", "date", "time", "set", "csv", "digest", "securerandom", "pp", "bigdecimal", "prime"];

/// The code of a text without the modules that it asks for, and without calls that read files, whose files are seen.
fn ruby_reads(plain: &str, code: &str) -> String {
    let mut seen = without(
        code,
        &["File.read(", "File.readlines(", "File.exist?(", "File.basename(", "Gem::Version", "Gem::VERSION"],
    );
    let asked: Vec<&str> = plain
        .match_indices("require ")
        .filter_map(|(at, word)| {
            let rest = plain.get(at + word.len()..)?.trim_start();
            let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
            rest.get(1..)?.split(quote).next()
        })
        .collect();
    if asked.len() == words(code).filter(|word| *word == "require").count()
        && asked.iter().all(|name| RUBY_MODULES.contains(name))
    {
        seen = seen.replace("require ", "");
    }
    seen
}

/// Whether all that a text was seen to do is to read files that it names.
fn reads_named_files(language: Language, text: &str) -> bool {
    let found = scan::calls_anywhere(language, text.as_bytes());
    let named = |effect: &Effect| matches!(effect, Effect::Read { path } if path.as_str().is_some_and(|path| !path.contains(':') && !path.starts_with('|')));
    let code = data_apart(language, text).map_or_else(|| text.to_owned(), |(_, code)| code);
    let calls =
        ["File.read(", "File.readlines(", "file_get_contents("].iter().map(|call| code.matches(call).count());
    let reads = found.effects.iter().filter(|effect| named(effect)).count();
    calls.sum::<usize>() <= reads
}

/// The words of code, each with its place.
fn words_at(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code.get(at..)?.find(is_name)?;
        let rest = code.get(start..)?;
        let word = rest.get(..rest.find(|letter| !is_name(letter)).unwrap_or(rest.len()))?;
        at = start + word.len();
        Some((start, word))
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Addresses where clouds give out the credentials of a machine.
fn asks_for_credentials(text: &str) -> bool {
    ["169.254.", "metadata.google", "100.100.100.200", "file:"].iter().any(|address| text.contains(address))
}

/// Whether a text writes files, where all that it was seen to do is to read, to fetch, and to write files that it names: these
/// are judged by themselves. `None` where it does more.
fn writes_named_files(language: Language, text: &str) -> Option<bool> {
    let found = scan::calls_anywhere(language, text.as_bytes());
    let known = !found.computed && !found.writes_unknown && !found.exhausted;
    let once = || {
        let names: HashSet<&Vec<u8>> = found.named.iter().collect();
        // each is looked for in the whole text
        names.len() <= MOST_NAMES
            && names.into_iter().all(|name| {
                let name = String::from_utf8_lossy(name);
                MODULES.contains(&&*name) || is_given_once(text, &name)
            })
    };
    // what Python starts was taken out of sight where it is judged by itself, and counts as a word elsewhere
    let starts = language == Language::Python;
    let plain = found.effects.iter().all(|effect| match effect {
        Effect::Write { .. } | Effect::Read { .. } | Effect::Fetch { .. } => true,
        Effect::Exec { .. } | Effect::Script { .. } | Effect::Delete { .. } => starts,
        _ => false,
    });
    let writes = found.effects.iter().any(|effect| matches!(effect, Effect::Write { .. }));
    (known && plain && (!writes || once())).then_some(writes)
}

/// How often a name may stand in a text for it to be looked at.
const MOST_PLACES: usize = 256;

/// How many names may stand for files that are written.
const MOST_NAMES: usize = 32;

/// Modules whose functions are called by their names.
const MODULES: &[&str] = &["fs", "io", "gzip", "bz2", "lzma", "tokenize", "Image", "promises", "fsp"];

/// Whether a text gives a name to something in one place and in no other, so that it stands for that wherever it is used.
fn is_given_once(text: &str, name: &str) -> bool {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    // around each of them its line is looked at
    if name.is_empty() || text.match_indices(name).nth(MOST_PLACES).is_some() {
        return false;
    }
    let given = text.match_indices(name).filter(|(at, _)| {
        let (before, behind) = text.split_at_checked(*at).unwrap_or_default();
        let behind = behind.get(name.len()..).unwrap_or_default();
        if before.ends_with(is_name) || behind.starts_with(is_name) || before.ends_with('.') {
            return false;
        }
        let line = before.rsplit(['\n', ';']).next().unwrap_or_default();
        let rest = behind.split(['\n', ';']).next().unwrap_or_default();
        let next = rest.trim_start();
        let assigned = next.starts_with('=') && !next.starts_with("==") && !next.starts_with("=>")
            || [
                "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=", ":=", "++", "--", ">>=", "<<=", "??=", "||=",
                "&&=",
            ]
            .iter()
            .any(|sign| next.starts_with(sign));
        // `a, b = ...`, `{a, b} = ...`
        let among = !line.contains('(') && rest.contains('=') && next.starts_with([',', '}', ']', ':', ')']);
        let last = line.split(|letter: char| !is_name(letter)).rfind(|word| !word.is_empty());
        let parameter = ["def ", "lambda", "function", "=>", "catch", "class "]
            .iter()
            .any(|word| line.contains(word) || rest.contains(word));
        let looped = line.contains("for") && (rest.contains(" in ") || rest.contains(" of "));
        assigned
            || among
            || parameter
            || looped
            || matches!(last, Some("as" | "for" | "global" | "nonlocal" | "import" | "del"))
    });
    given.count() == 1
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

const PERL: &[&str] = &[
    "system", "exec", "qx", "open", "unlink", "rename", "rmdir", "mkdir", "eval", "do", "require", "use",
    "fork", "kill", "syscall", "socket", "connect", "link", "symlink", "chmod", "chown", "utime", "truncate",
    "sysopen", "syswrite", "opendir", "chdir", "chroot", "dump", "pipe", "readpipe", "no", "BEGIN", "sub",
    "tie", "bless", "glob", "e", "ee", "ge", "gee", "eg", "ie", "gie", "ige", "INC", "ENV", "dbmopen",
    "ARGV", "umask", "wait", "alarm", "select", "sleep_", "CORE", "package", "format", "write", "binmode",
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
    "to_sym",
    "intern",
    "alias_method",
    "public_method",
    "instance_method",
    "singleton_method",
    "singleton_class",
    "alias",
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
    "php",
    "print_r",
    "var_dump",
    "var_export",
    "json_decode",
    "file_get_contents",
    "true",
    "false",
    "null",
    "count",
    "strtoupper",
    "strtolower",
    "ucfirst",
    "implode",
    "explode",
    "array_keys",
    "array_values",
    "array_sum",
    "array_merge",
    "array_unique",
    "in_array",
    "range",
    "max",
    "min",
    "round",
    "floor",
    "ceil",
    "abs",
    "number_format",
    "sprintf",
    "printf",
    "str_replace",
    "str_repeat",
    "substr",
    "trim",
    "strrev",
    "ini_get",
    "extension_loaded",
    "get_loaded_extensions",
    "function_exists",
    "class_exists",
    "PHP_VERSION_ID",
    "JSON_PRETTY_PRINT",
    "crc32",
    "hash",
    "microtime",
    "memory_get_usage",
    "foreach",
    "for",
    "as",
    "if",
    "else",
    "elseif",
    "isset",
    "empty",
    "array",
    "array_slice",
    "array_key_exists",
    "array_column",
    "array_reverse",
    "array_flip",
    "is_array",
    "is_string",
    "is_null",
    "strpos",
    "str_contains",
    "str_starts_with",
    "str_ends_with",
    "str_pad",
    "ucwords",
    "sort",
    "ksort",
    "asort",
    "arsort",
    "rsort",
    "preg_match",
    "preg_match_all",
    "intdiv",
    "n",
];

/// PHP without its variables, but for those that are called, that stand for the name of another, or whose members are asked for.
fn without_variables(code: &str) -> String {
    let mut whole = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find('$') {
        let (before, behind) = rest.split_at_checked(at).unwrap_or_default();
        let name =
            words(behind).next().filter(|name| behind.get(1..).is_some_and(|rest| rest.starts_with(*name)));
        let length = name.map_or(0, str::len);
        let next = behind.get(1 + length..).unwrap_or_default().trim_start();
        whole.push_str(before);
        let data = length > 0 && !next.starts_with('(') && !next.starts_with("->") && !next.starts_with("::");
        whole.push_str(if data { " " } else { "$" });
        rest = behind.get(1 + length..).unwrap_or_default();
    }
    whole + rest
}

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
            !word.ends_with("system")
                && !matches!(word, "getline" | "ENVIRON" | "close" | "fflush" | "load" | "include")
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
            // a debugger's settings by which a program is started otherwise, or a file is written
            let starts =
                ["prg", "shell", "exec", "args", "env", "logging", "auto-load", "filename", "cwd", "sysroot"];
            !option.contains(['!', '|', '`', '$', ';']) && !starts.iter().any(|word| option.contains(word))
        })
}

/// sed without `e`, `w` and `r`: judged by what its script was seen to do.
fn sed(text: &str) -> bool {
    let mut effects = Vec::new();
    super::lines::sed(text.as_bytes(), &mut effects);
    effects.is_empty()
}
