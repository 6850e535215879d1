//! What a program that nobody described is given: keys that it may show, files that it may write.
//!
//! Nothing says what it does with a word, so only two things are taken to be so: a file of keys that it is given is read, and
//! what stands behind an option that is called as options for results are is written.

use super::class::PathClass;
use super::place::{Base, Place};
use crate::programs::{Effect, Operation};
use crate::shell::Value;

/// How options are called behind which a program finds where its result goes.
const RESULTS: &[&str] = &[
    "-o",
    "out",
    "output",
    "outfile",
    "out-file",
    "output-file",
    "outdir",
    "out-dir",
    "output-dir",
    "output-directory",
    "outputdir",
    "output-path",
    "out-path",
    "dest",
    "destination",
    "dest-dir",
    "target-dir",
    "log-file",
    "logfile",
    "save",
    "save-to",
    "write-to",
    "export",
    "dump",
];

/// Parts of the names of options by which a program is told to use a key, not to show it: servers, clients, `--env-file`.
const USES: &[&[u8]] = &[b"key", b"cert", b"identity", b"env", b"tls", b"ssl", b"kubeconfig", b"credential"];

/// Reading keys, and writing results, as far as the words of an unknown program tell.
pub(super) fn effects(effect: &Effect, base: &Base) -> Vec<Effect> {
    let Effect::Opaque { argv } = effect else { return Vec::new() };
    let mut found = Vec::new();
    let mut before: &[u8] = b"";
    for word in argv.iter().skip(1) {
        let Some(text) = word.as_known() else {
            before = b"";
            continue;
        };
        let (option, value) = option_of(before, text);
        before = if text.starts_with(b"-") { text } else { b"" };
        if value.is_empty()
            || value.iter().any(u8::is_ascii_whitespace)
            || memchr::memmem::find(value, b"://").is_some()
        {
            continue;
        }
        let is_result = is_result(option) && leads_out(value);
        if !is_result && !looks_like_a_path(value) {
            continue;
        }
        let path = Value::known(value);
        if is_result {
            found.push(Effect::Write { path, how: Operation::Create });
        } else if !uses(option) && Place::resolve(&path, base).may_be().has(PathClass::Credential) {
            found.push(Effect::Read { path });
        }
    }
    found
}

/// The option that a word belongs to, and the part of it that may be a path: `--out=PATH`, `-o PATH`, `name=PATH`, `@PATH`.
fn option_of<'w>(before: &'w [u8], word: &'w [u8]) -> (&'w [u8], &'w [u8]) {
    let (option, value) = match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..).unwrap_or_default()),
        None if word.starts_with(b"-") => (word, b"".as_slice()),
        None => (before, word),
    };
    (option, value.strip_prefix(b"@").unwrap_or(value))
}

fn is_result(option: &[u8]) -> bool {
    if option == b"-o" {
        return true;
    }
    let name = option.strip_prefix(b"--").or(option.strip_prefix(b"-")).unwrap_or_default();
    RESULTS.iter().any(|result| result.as_bytes().eq_ignore_ascii_case(name))
}

fn uses(option: &[u8]) -> bool {
    option.starts_with(b"-") && USES.iter().any(|part| memchr::memmem::find(option, part).is_some())
}

/// Away from where the command runs. What happens to a disk is a finding of its own.
fn leads_out(value: &[u8]) -> bool {
    (value.starts_with(b"/") || value.starts_with(b"~") || value.starts_with(b".."))
        && !value.starts_with(b"/dev/")
}

/// Most words are none: to look each of them up would take longer than all the rest.
fn looks_like_a_path(value: &[u8]) -> bool {
    value.iter().any(|byte| matches!(byte, b'/' | b'.')) || value.starts_with(b"id_")
}
