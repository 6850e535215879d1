//! What small filters print when everything they are given is known.

use super::super::Dialect;
use super::escapes::{Style, unescaped};
use super::printf::{echo, printf};

/// Output past this is not followed.
pub(super) const MOST: usize = 256 << 10;

/// The output of a program with known words and input; `None` where it is not known. Only programs without effects
/// are followed, and only in the ways that matter for hiding text.
pub(super) fn output(argv: &[&[u8]], stdin: Option<&[u8]>, dialect: Dialect) -> Option<Vec<u8>> {
    output_within(argv, stdin, dialect, 0)
}

/// The same of a program that so many others started.
pub(super) fn output_within(
    argv: &[&[u8]],
    stdin: Option<&[u8]>,
    dialect: Dialect,
    depth: usize,
) -> Option<Vec<u8>> {
    let bare = super::filters::bare(argv);
    // what `env` or busybox starts is no builtin
    let is_started = bare.len() != argv.len();
    let argv = bare;
    let (program, args) = argv.split_first()?;
    // `echo` and `printf` are bash's own where no path leads to others
    let own = dialect == Dialect::Bash && !is_started && !program.contains(&b'/');
    let name = program.rsplit(|byte| *byte == b'/').next()?;
    if let Some(out) = super::filters::output(name, args, stdin) {
        return (out.len() <= MOST).then_some(out);
    }
    if let Some(out) = super::starters::output(name, args, stdin, depth) {
        return Some(out);
    }
    let out = match name {
        b"echo" => echo(args, own)?,
        b"printf" => printf(args, own)?,
        b":" | b"true" | b"test" | b"[" | b"false" => Vec::new(),
        b"cat" | b"tee" | b"tac" | b"rev" => {
            let plain = match name {
                b"tee" => true,
                _ => args.iter().all(|arg| *arg == b"-"),
            };
            if !plain {
                return None;
            }
            let input = stdin?;
            match name {
                b"rev" => lines(input, |line, out| {
                    let text = String::from_utf8_lossy(line);
                    out.extend_from_slice(text.chars().rev().collect::<String>().as_bytes());
                }),
                b"tac" => {
                    let mut all: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
                    all.reverse();
                    all.concat()
                }
                _ => input.to_vec(),
            }
        }
        b"base64" => match args {
            [b"-d" | b"-D" | b"--decode" | b"-di" | b"-id"] | [b"-d" | b"--decode", b"-"] => base64(stdin?)?,
            _ => return None,
        },
        b"openssl" => match args {
            [b"base64", rest @ ..] | [b"enc", b"-base64" | b"-a", rest @ ..]
                if rest.contains(&b"-d".as_slice())
                    && rest.iter().all(|arg| matches!(*arg, b"-d" | b"-A" | b"-a" | b"-base64")) =>
            {
                base64(stdin?)?
            }
            _ => return None,
        },
        b"xxd" => match args {
            [
                b"-r" | b"-rp" | b"-pr" | b"-p" | b"-ps" | b"-plain" | b"-postscript" | b"-revert",
                rest @ ..,
            ] if args.iter().any(|arg| arg.contains(&b'r') && arg.len() < 4 || *arg == b"-revert")
                && args.iter().any(|arg| arg.contains(&b'p'))
                && rest.iter().all(|arg| {
                    matches!(*arg, b"-r" | b"-p" | b"-ps" | b"-plain" | b"-postscript" | b"-revert" | b"-")
                }) =>
            {
                hex(stdin?)
            }
            [b"-r"] | [b"-r", b"-"] => dumped(stdin?)?,
            _ => return None,
        },
        b"gunzip" | b"zcat" | b"gzip" | b"pigz" => {
            let decompresses = name != b"gzip" && name != b"pigz"
                || args.iter().any(|arg| matches!(*arg, b"-d" | b"-dc" | b"-cd" | b"--decompress"));
            if !args.iter().all(|arg| arg.starts_with(b"-")) {
                return None;
            }
            if decompresses { gunzip(stdin?)? } else { gzip(stdin?) }
        }
        b"tr" => tr(args, stdin?)?,
        b"cut" => cut(args, stdin?)?,
        b"head" | b"tail" => ends(name == b"head", args, stdin?)?,
        b"seq" => numbers(args)?,
        b"dirname" => match args {
            [path] => with_newline(dirname(path)),
            _ => return None,
        },
        b"basename" => match args {
            [path] => with_newline(basename(path)),
            [b"-s", suffix, path] | [path, suffix] if !path.starts_with(b"-") => {
                let name = basename(path);
                with_newline(name.strip_suffix(*suffix).filter(|rest| !rest.is_empty()).unwrap_or(name))
            }
            _ => return None,
        },
        b"realpath" | b"readlink" => {
            let path = args.iter().find(|arg| !arg.starts_with(b"-"))?;
            if args.iter().filter(|arg| !arg.starts_with(b"-")).count() != 1 || !path.starts_with(b"/") {
                return None;
            }
            with_newline(&normal(path))
        }
        _ if prints_settings(program, name, args) => Vec::new(),
        _ => return None,
    };
    (out.len() <= MOST).then_some(out)
}

/// Programs that print what a shell is to set for them, for `eval "$(...)"`: with what is nobody's business but theirs, and no
/// text of the request's. Taken for nothing, since what they set is theirs alone.
fn prints_settings(program: &[u8], name: &[u8], args: &[&[u8]]) -> bool {
    const SYSTEM: &[&[u8]] = &[b"/usr/", b"/bin/", b"/opt/homebrew/", b"/home/linuxbrew/"];
    if program.contains(&b'/') && !SYSTEM.iter().any(|start| program.starts_with(start)) {
        return false;
    }
    let shell = |word: &&[u8]| matches!(*word, b"bash" | b"sh" | b"-" | b"--" | b"posix");
    match (name, args) {
        (b"ssh-agent", [b"-s"] | []) | (b"dircolors", [b"-b"] | []) | (b"brew", [b"shellenv"]) => true,
        (b"lesspipe" | b"lesspipe.sh" | b"luarocks", [b"path"] | []) => true,
        (b"direnv", [b"hook", one]) | (b"starship" | b"zoxide" | b"atuin", [b"init", one]) => shell(one),
        (b"mise" | b"rtx", [b"activate", one]) => shell(one),
        (b"conda" | b"mamba" | b"micromamba", [hook, b"hook"]) => {
            matches!(*hook, b"shell.bash" | b"shell.posix")
        }
        (
            b"pyenv" | b"rbenv" | b"nodenv" | b"goenv" | b"jenv" | b"plenv" | b"phpenv",
            [b"init" | b"virtualenv-init", rest @ ..],
        ) => rest.iter().all(|word| shell(word) || *word == b"--path" || *word == b"--no-rehash"),
        (b"fnm", [b"env", rest @ ..]) => rest.iter().all(|word| word.starts_with(b"--") || shell(word)),
        (b"opam", [b"env", rest @ ..]) => {
            rest.iter().all(|word| word.starts_with(b"--switch") || *word == b"--shell=bash")
        }
        (b"minikube", [b"docker-env" | b"podman-env"]) => true,
        _ => false,
    }
}

/// Numbers of `seq` that are written out.
const MOST_NUMBERS: i64 = 256;

fn numbers(args: &[&[u8]]) -> Option<Vec<u8>> {
    if let [b"-f", format, rest @ ..] = args {
        let count = numbers(rest)?.iter().filter(|byte| **byte == b'\n').count();
        return (!format.contains(&b'%')).then(|| with_newline(format).repeat(count));
    }
    let known: Option<Vec<i64>> =
        args.iter().map(|arg| std::str::from_utf8(arg).ok()?.parse().ok()).collect();
    let (first, step, last) = match known?.as_slice() {
        [last] => (1, 1, *last),
        [first, last] => (*first, 1, *last),
        [first, step, last] if *step != 0 => (*first, *step, *last),
        _ => return None,
    };
    let count = last.checked_sub(first)?.checked_div(step)?.checked_add(1)?;
    if count > MOST_NUMBERS {
        return None;
    }
    let number = |index: i64| format!("{}\n", first.saturating_add(index.saturating_mul(step)));
    Some((0..count.max(0)).map(number).collect::<String>().into_bytes())
}

fn with_newline(path: &[u8]) -> Vec<u8> {
    [path, b"\n"].concat()
}

/// A path without `.`, `..` and doubled slashes, read without links.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    [b"/".as_slice(), &kept.join(b"/".as_slice())].concat()
}

fn dirname(path: &[u8]) -> &[u8] {
    let trimmed = path.trim_suffix_slashes();
    match trimmed.iter().rposition(|byte| *byte == b'/') {
        Some(0) => b"/",
        Some(at) => trimmed.get(..at).unwrap_or(b".").trim_suffix_slashes(),
        None if trimmed.is_empty() && !path.is_empty() => b"/",
        None => b".",
    }
}

fn basename(path: &[u8]) -> &[u8] {
    let trimmed = path.trim_suffix_slashes();
    if trimmed.is_empty() && !path.is_empty() {
        return b"/";
    }
    trimmed.rsplit(|byte| *byte == b'/').next().unwrap_or(trimmed)
}

trait Slashes {
    fn trim_suffix_slashes(&self) -> &[u8];
}

impl Slashes for [u8] {
    fn trim_suffix_slashes(&self) -> &[u8] {
        let kept = self.len() - self.iter().rev().take_while(|byte| **byte == b'/').count();
        self.get(..kept).unwrap_or(self)
    }
}

fn lines(input: &[u8], mut each: impl FnMut(&[u8], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let (text, end) = line.strip_suffix(b"\n").map_or((line, b"".as_slice()), |text| (text, b"\n"));
        each(text, &mut out);
        out.extend_from_slice(end);
    }
    out
}

/// The content of one gzip member (RFC 1952); `None` where it is none or holds more than is followed.
fn gunzip(input: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = input.split_at_checked(10)?;
    let [0x1f, 0x8b, 8, flags, ..] = header else { return None };
    if flags & 4 != 0 {
        let (length, extra) = rest.split_at_checked(2)?;
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = extra.get(length..)?;
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    miniz_oxide::inflate::decompress_to_vec_with_limit(rest, MOST).ok()
}

/// One gzip member that holds this.
fn gzip(input: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(miniz_oxide::deflate::compress_to_vec(input, 1));
    // nothing here asks for the checksum
    out.extend([0; 4]);
    out.extend(u32::try_from(input.len()).unwrap_or_default().to_le_bytes());
    out
}

pub(super) fn base64(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in input {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            b'\n' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

fn hex(input: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = input
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0u8, |value, digit| value << 4 | digit)).collect()
}

/// The bytes of a dump as xxd writes it: an offset, pairs of digits, then two blanks and what they look like.
fn dumped(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let offset = usize::from_str_radix(std::str::from_utf8(line.get(..colon)?).ok()?.trim(), 16).ok()?;
        let digits = line.get(colon + 1..)?.trim_ascii_start();
        let end = digits.windows(2).position(|pair| pair == b"  ").unwrap_or(digits.len());
        if offset != out.len() {
            return None;
        }
        out.extend(hex(digits.get(..end)?));
    }
    Some(out)
}

fn tr_set(set: &[u8]) -> Option<Vec<u8>> {
    if set.starts_with(b"[:") || set.contains(&b'=') && set.starts_with(b"[") {
        return match set {
            b"[:upper:]" => Some((b'A'..=b'Z').collect()),
            b"[:lower:]" => Some((b'a'..=b'z').collect()),
            b"[:digit:]" => Some((b'0'..=b'9').collect()),
            b"[:space:]" => Some(b"\t\n\x0b\x0c\r ".to_vec()),
            _ => None,
        };
    }
    // classes, and counts like `[x*3]`, inside a set
    if set.windows(2).any(|pair| pair == b"[:" || pair == b"[=")
        || set.starts_with(b"[") && set.contains(&b'*')
    {
        return None;
    }
    let plain = unescaped(set, Style::Set).0;
    let mut out = Vec::new();
    let mut rest = plain.as_slice();
    while let Some((low, tail)) = rest.split_first() {
        match tail {
            [b'-', high, left @ ..] if low <= high => {
                out.extend(*low..=*high);
                rest = left;
            }
            _ => {
                out.push(*low);
                rest = tail;
            }
        }
    }
    Some(out)
}

fn tr(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    match args {
        [b"-cd" | b"-dc" | b"-Cd", set] => {
            let set = tr_set(set)?;
            Some(input.iter().copied().filter(|byte| set.contains(byte)).collect())
        }
        [b"-s", set] => {
            let set = tr_set(set)?;
            let mut out: Vec<u8> = Vec::with_capacity(input.len());
            for byte in input {
                if out.last() != Some(byte) || !set.contains(byte) {
                    out.push(*byte);
                }
            }
            Some(out)
        }
        [b"-d", set] => {
            let set = tr_set(set)?;
            Some(input.iter().copied().filter(|byte| !set.contains(byte)).collect())
        }
        [from, to] if !from.starts_with(b"-") => {
            let (from, to) = (tr_set(from)?, tr_set(to)?);
            let last = *to.last()?;
            Some(
                input
                    .iter()
                    .map(|byte| match from.iter().rposition(|candidate| candidate == byte) {
                        Some(at) => to.get(at).copied().unwrap_or(last),
                        None => *byte,
                    })
                    .collect(),
            )
        }
        _ => None,
    }
}

fn cut(args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let mut delimiter = b'\t';
    let mut range = None;
    let mut fields = false;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (option, attached) = arg.split_at_checked(2)?;
        let value = if attached.is_empty() { *rest.next()? } else { attached };
        match option {
            b"-d" => delimiter = *value.first()?,
            b"-c" | b"-b" | b"-f" => {
                fields = option == b"-f";
                range = Some(value);
            }
            _ => return None,
        }
    }
    let range = std::str::from_utf8(range?).ok()?;
    let (low, high) = match range.split_once('-') {
        Some((low, high)) => (
            if low.is_empty() { 1 } else { low.parse::<usize>().ok()? },
            if high.is_empty() { usize::MAX } else { high.parse::<usize>().ok()? },
        ),
        None => (range.parse::<usize>().ok()?, range.parse::<usize>().ok()?),
    };
    if low == 0 || high < low {
        return None;
    }
    let mut cut = lines(input, |line, out| {
        if fields {
            if !line.contains(&delimiter) {
                out.extend_from_slice(line);
                return;
            }
            let chosen: Vec<&[u8]> = line
                .split(|byte| *byte == delimiter)
                .skip(low - 1)
                .take((high - low).saturating_add(1))
                .collect();
            out.extend(chosen.join(&delimiter));
        } else {
            out.extend(line.iter().skip(low - 1).take((high - low).saturating_add(1)));
        }
    });
    if !input.is_empty() && !input.ends_with(b"\n") {
        cut.push(b'\n');
    }
    Some(cut)
}

fn ends(head: bool, args: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
    let mut count: &[u8] = b"10";
    let (mut bytes, mut separator) = (false, b'\n');
    let mut rest = args.iter().copied();
    while let Some(arg) = rest.next() {
        match arg {
            b"-" | b"-q" | b"--quiet" | b"--silent" => {}
            b"-z" | b"--zero-terminated" => separator = 0,
            b"-n" | b"--lines" | b"-c" | b"--bytes" => {
                bytes = matches!(arg, b"-c" | b"--bytes");
                count = rest.next()?;
            }
            [b'-', b'n' | b'c', value @ ..] => {
                bytes = arg.starts_with(b"-c");
                count = value;
            }
            [b'-', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                bytes = false;
                count = digits;
            }
            _ => {
                let lines = arg.strip_prefix(b"--lines=");
                bytes = lines.is_none();
                count = lines.or_else(|| arg.strip_prefix(b"--bytes="))?;
            }
        }
    }
    let (sign, digits) = match count.split_first()? {
        (sign @ (b'+' | b'-'), digits) => (*sign, digits),
        _ => (b' ', count),
    };
    let number: usize =
        std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?.parse().ok()?;
    let parts: Vec<&[u8]> = if bytes {
        input.chunks(1).collect()
    } else {
        input.split_inclusive(|byte| *byte == separator).collect()
    };
    let kept = match (head, sign) {
        // all but the last
        (true, b'-') => parts.get(..parts.len().saturating_sub(number)),
        (true, _) => parts.get(..number.min(parts.len())),
        // from the one of this number on
        (false, b'+') => parts.get(number.saturating_sub(1).min(parts.len())..),
        (false, _) => parts.get(parts.len().saturating_sub(number)..),
    };
    kept.map(<[&[u8]]>::concat)
}
