//! Output without an end that goes into a file: `yes > x`, `cat /dev/zero > x`, `head -c 900G /dev/urandom > x`.

use std::rc::Rc;

use super::Task;
use crate::shell::{Input, Invocation, RedirectKind, Value};

/// Files that end only when nobody reads on.
const SOURCES: &[&[u8]] = &[b"/dev/zero", b"/dev/urandom", b"/dev/random", b"/dev/full"];
/// How far back a pipeline is followed.
const FARTHEST: usize = 8;
/// A size, in bytes, that fills most disks.
const VAST: u64 = 64 << 30;

/// What fills the disk, if a command does.
pub(super) fn fills(task: &Task, invocations: &[Rc<Invocation>]) -> Option<String> {
    let invocation = &task.invocation;
    let program = name(invocation)?;
    if program == "dd" {
        let key =
            |key: &[u8]| invocation.argv.iter().filter_map(Value::as_known).find_map(|w| w.strip_prefix(key));
        let source = key(b"if=").map(|path| SOURCES.contains(&path));
        let endless = source.unwrap_or_else(|| input_is_endless(invocation, invocations, 0));
        let number = |name: &[u8]| key(name).and_then(|text| size(std::str::from_utf8(text).ok()?));
        let vast =
            || number(b"count=")?.checked_mul(number(b"bs=").unwrap_or(512)).map(|bytes| bytes >= VAST);
        let unbounded = key(b"count=").is_none() || vast().unwrap_or(false);
        return (endless && key(b"of=").is_some_and(is_plain_file) && unbounded)
            .then(|| "writes without an end".to_owned());
    }
    let keeps = matches!(program, "tail" | "sort" | "tac" | "shuf" | "mapfile" | "readarray" | "sponge")
        && !invocation.argv.iter().filter_map(Value::as_known).any(|word| word.starts_with(b"-c"));
    if keeps
        && (invocation.argv.iter().skip(1).filter_map(Value::as_known).any(|word| SOURCES.contains(&word))
            || input_is_endless(invocation, invocations, 0))
    {
        return Some("keeps in memory what has no end".to_owned());
    }
    let into_file = program == "tee"
        && invocation.argv.iter().skip(1).filter_map(Value::as_known).any(is_plain_file)
        || invocation.redirects.iter().any(|redirect| {
            matches!(redirect.kind, RedirectKind::Write | RedirectKind::Append)
                && redirect.fd != Some(2)
                && redirect.target.as_known().is_none_or(is_plain_file)
        });
    (into_file && prints_without_end(invocation, invocations, 0)).then(|| "prints without an end".to_owned())
}

fn name(invocation: &Invocation) -> Option<&str> {
    let word = invocation.argv.first()?.as_str()?;
    Some(word.rsplit('/').next().unwrap_or(word))
}

/// A device takes what it is given and keeps no file; writing to a disk is another question.
fn is_plain_file(path: &[u8]) -> bool {
    !path.starts_with(b"/dev/") && !path.starts_with(b"-")
}

fn prints_without_end(invocation: &Invocation, invocations: &[Rc<Invocation>], depth: usize) -> bool {
    let Some(program) = name(invocation) else { return false };
    let words = || invocation.argv.iter().skip(1).filter_map(Value::as_known);
    match program {
        "yes" => true,
        "head" => {
            let sizes = words().filter_map(|word| std::str::from_utf8(word).ok());
            sizes.filter_map(size).any(|size| size >= VAST)
                && (words().any(|word| SOURCES.contains(&word))
                    || input_is_endless(invocation, invocations, depth))
        }
        "cat" | "tac" | "base64" | "base32" | "xxd" | "od" | "hexdump" | "gzip" | "bzip2" | "xz" | "zstd"
        | "tr" | "sed" | "rev" | "pv" | "tee" | "openssl" | "dd" | "fold" | "strings" => {
            let stops = words().any(|word| word.starts_with(b"count=") || word == b"-N");
            !stops
                && (words().any(|word| SOURCES.contains(&word.strip_prefix(b"if=").unwrap_or(word)))
                    || input_is_endless(invocation, invocations, depth))
        }
        _ => false,
    }
}

fn input_is_endless(invocation: &Invocation, invocations: &[Rc<Invocation>], depth: usize) -> bool {
    match &invocation.stdin {
        Input::File(path) => path.as_known().is_some_and(|path| SOURCES.contains(&path)),
        Input::Pipe(writers) if depth < FARTHEST => writers
            .iter()
            .filter_map(|index| invocations.get(*index))
            .any(|writer| prints_without_end(writer, invocations, depth + 1)),
        _ => false,
    }
}

/// `-c900G`, `900G`, `--bytes=1T` in bytes.
fn size(word: &str) -> Option<u64> {
    let text = word.trim_start_matches("--bytes=").trim_start_matches("-c");
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let shift = match text.get(digits..)?.bytes().next() {
        None | Some(b'b' | b'c') => 0,
        Some(b'K' | b'k') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P' | b'E') => 50,
        Some(_) => return None,
    };
    number.checked_mul(1 << shift)
}
