//! Effects of redirections.

use super::effect::{Effect, Operation};
use crate::shell::{Invocation, RedirectKind, Value};

/// Adds what the redirections of a command do.
pub(super) fn effects(invocation: &Invocation, effects: &mut Vec<Effect>) {
    for redirect in &invocation.redirects {
        let path = &redirect.target;
        if let Some(url) = network(path) {
            effects.push(Effect::Fetch { url: url.clone() });
            effects.push(Effect::Send { url, path: None });
            continue;
        }
        match redirect.kind {
            RedirectKind::Read => effects.push(Effect::Read { path: path.clone() }),
            RedirectKind::Write if prints_nothing(invocation) || reads_it(invocation, path) => {
                if !is_void(path) {
                    effects.push(Effect::Delete {
                        path: path.clone(),
                        recursive: false,
                        how: Operation::Truncate,
                    });
                }
            }
            RedirectKind::Write => {
                effects.push(Effect::Write { path: path.clone(), how: Operation::Overwrite });
            }
            RedirectKind::Append => {
                effects.push(Effect::Write { path: path.clone(), how: Operation::Append });
            }
            RedirectKind::ReadWrite => {
                effects.push(Effect::Read { path: path.clone() });
                effects.push(Effect::Write { path: path.clone(), how: Operation::Edit });
            }
            RedirectKind::Here | RedirectKind::Duplicate => {}
        }
    }
}

/// `> file`, `: > file` and `cat /dev/null > file` only make the file empty.
fn prints_nothing(invocation: &Invocation) -> bool {
    match invocation.argv.first() {
        None => true,
        Some(word) => match word.as_known() {
            Some(b":" | b"true" | b"false") => true,
            Some(b"cat") => {
                let read = invocation.argv.get(1..).unwrap_or_default();
                !read.is_empty() && read.iter().all(|word| word.as_known() == Some(b"/dev/null"))
            }
            _ => false,
        },
    }
}

/// `sort f > f`: the shell empties the file before it is read.
fn reads_it(invocation: &Invocation, path: &Value) -> bool {
    const READERS: &[&[u8]] = &[
        b"cat",
        b"sort",
        b"uniq",
        b"awk",
        b"gawk",
        b"sed",
        b"grep",
        b"tr",
        b"cut",
        b"head",
        b"tail",
        b"tac",
        b"rev",
        b"nl",
        b"fmt",
        b"fold",
        b"column",
        b"paste",
        b"iconv",
        b"jq",
        b"yq",
        b"envsubst",
        b"xmllint",
        b"expand",
        b"unexpand",
    ];
    let same = |word: &Value| word == path && word.as_known().is_some_and(|path| !path.starts_with(b"/dev/"));
    let reads =
        invocation.argv.first().and_then(Value::as_known).is_some_and(|program| READERS.contains(&program));
    reads && invocation.argv.iter().skip(1).any(same)
        || invocation.redirects.iter().any(|other| other.kind == RedirectKind::Read && same(&other.target))
}

/// bash makes connections of `/dev/tcp/host/port` and `/dev/udp/host/port` in redirections.
fn network(path: &Value) -> Option<Value> {
    let prefix = path.prefix();
    (prefix.starts_with(b"/dev/tcp/") || prefix.starts_with(b"/dev/udp/")).then(|| path.clone())
}

/// Files that keep nothing and tell nothing.
pub(super) fn is_void(path: &Value) -> bool {
    let Some(path) = path.as_known() else { return false };
    matches!(
        path,
        b"/dev/null"
            | b"/dev/zero"
            | b"/dev/full"
            | b"/dev/random"
            | b"/dev/urandom"
            | b"/dev/stdin"
            | b"/dev/stdout"
            | b"/dev/stderr"
            | b"/dev/tty"
            | b"-"
    ) || descriptor(path, b"/dev/fd/")
        || descriptor(path, b"/proc/self/fd/")
}

fn descriptor(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}
