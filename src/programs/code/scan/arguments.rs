//! The literal arguments of a call, with the names that the text gave to literals put in.

use super::bound::Bound;
use super::is_word;
use super::literals::{perl_quote, quoted};
use crate::programs::effect::Language;
use crate::programs::words;
use crate::shell::{Piece, Value};

/// In a literal: a part that is computed. No language takes a NUL for a part of a word.
pub(super) const COMPUTED: u8 = 0;
/// In a literal: any of the names in a directory.
pub(super) const LISTED: u8 = 1;

/// Literal arguments of a call.
#[derive(Default, Clone)]
pub(super) struct Arguments {
    pub(super) literals: Vec<Vec<u8>>,
    /// Something in it is not literal.
    pub(super) computed: bool,
    /// The bytes between the call's name and its end, and what the names in it stand for.
    pub(super) raw: Vec<u8>,
    /// A list stands in it.
    pub(super) list: bool,
    /// The first argument is one literal, and all of it; `None` where there is no first argument.
    pub(super) first: Option<bool>,
    /// How many arguments there are.
    pub(super) count: usize,
    /// The names that stand in it for what the text gave them to.
    pub(super) names: Vec<Vec<u8>>,
    /// The directory that it is told to run in: `cwd="/"`, `{cwd: '/'}`, `chdir: "/"`.
    pub(super) directory: Option<Vec<u8>>,
}

/// How what follows is put to the literal before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    No,
    /// A literal right behind another is a part of it, in languages where that is so.
    Next,
    /// `"rm " + x`
    Text,
    /// `Path("/") / x`, `os.path.join("/", x)`
    Path,
    /// `"rm %s" % x`, `"rm {}".format(x)`
    Format,
}

impl Arguments {
    fn put(&mut self, literal: &[u8], join: Join) {
        let Some(last) = self.literals.last_mut().filter(|_| join != Join::No) else {
            self.literals.push(literal.to_vec());
            return;
        };
        match join {
            Join::Path if literal.starts_with(b"/") => *last = literal.to_vec(),
            Join::Path => {
                if !last.ends_with(b"/") {
                    last.push(b'/');
                }
                last.extend_from_slice(literal);
            }
            Join::Format => match [b"%s".as_slice(), b"{}", b"%d", b"{0}"]
                .into_iter()
                .find_map(|place| Some((find(last, place)?, place.len())))
            {
                Some((at, length)) => {
                    last.splice(at..at + length, literal.iter().copied());
                }
                None => last.extend_from_slice(literal),
            },
            _ => last.extend_from_slice(literal),
        }
    }

    /// An argument ends here.
    fn ends(&mut self) {
        let whole = || match self.literals.as_slice() {
            [one] => !self.computed && !one.contains(&COMPUTED),
            _ => false,
        };
        self.first = self.first.or_else(|| Some(whole()));
        self.count += 1;
    }

    /// Something that is computed stands here.
    fn unknown(&mut self, join: Join) {
        self.computed = true;
        let known = self.literals.last_mut().filter(|_| matches!(join, Join::Text | Join::Path));
        if let Some(last) = known.filter(|last| last.last() != Some(&COMPUTED)) {
            if join == Join::Path && !last.ends_with(b"/") {
                last.push(b'/');
            }
            last.push(COMPUTED);
        }
    }

    /// How many bytes it holds.
    fn size(&self) -> usize {
        let all = self.literals.iter().chain(&self.names).map(|part| part.len() + 1);
        self.raw.len() + all.sum::<usize>()
    }

    /// A name of the text, for what it gave it to.
    fn merge(&mut self, other: &Self, join: Join) {
        self.raw.extend_from_slice(&other.raw);
        self.list |= other.list;
        self.computed |= other.computed;
        for (at, literal) in other.literals.iter().enumerate() {
            self.put(literal, if at == 0 { join } else { Join::No });
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A path that a literal is, with holes and patterns where it has them.
pub(super) fn value(literal: &[u8]) -> Value {
    let mut value = Value::default();
    for part in literal.chunk_by(|one, other| [one, other].into_iter().all(|byte| *byte > LISTED)) {
        match part {
            [COMPUTED] => {
                for piece in words::unknown("a computed part").pieces {
                    value.push(piece);
                }
            }
            [LISTED] => value.push(Piece::glob(b"*")),
            known => value.push(Piece::known(known)),
        }
    }
    value
}

/// A text for a shell that a literal is. What is computed in it is left out; whoever asks knows that there was something.
pub(super) fn text(literal: &[u8]) -> Vec<u8> {
    let shown = literal.iter().filter(|byte| **byte != COMPUTED);
    shown.map(|byte| if *byte == LISTED { b'*' } else { *byte }).collect()
}

/// Whether a literal is the value of an option that names the directory of what is started.
fn names_directory(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let key = before.strip_suffix(b"=>").or(before.strip_suffix(b":")).or(before.strip_suffix(b"="));
    let Some(key) = key.map(<[u8]>::trim_ascii_end) else { return false };
    let key = key.strip_suffix(b"'").or(key.strip_suffix(b"\"")).unwrap_or(key);
    let rest = key.strip_suffix(b"cwd").or(key.strip_suffix(b"chdir"));
    rest.is_some_and(|rest| !rest.last().is_some_and(|byte| is_word(*byte)))
}

/// Reads what follows a call's name: in parentheses, or up to the end of the statement.
pub(super) fn arguments(text: &[u8], from: usize, bound: &Bound<'_>, budget: &mut usize) -> Arguments {
    let language = bound.language;
    let mut arguments = Arguments::default();
    let mut at = from;
    let mut depth = 0_usize;
    let mut join = Join::No;
    // within the parentheses of `os.path.join`, and of what is put into a format
    let mut path_join = None;
    let mut format_join = None;
    let mut named = false;
    let python = language == Language::Python;
    while let Some(&byte) = text.get(at) {
        if *budget == 0 {
            break;
        }
        *budget -= 1;
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                arguments.list |= byte == b'[';
                if byte == b'(' && join == Join::Format {
                    format_join = Some(depth);
                }
                if byte == b'[' {
                    join = Join::No;
                }
            }
            b')' | b']' | b'}' => {
                if depth <= 1 {
                    break;
                }
                if path_join == Some(depth) {
                    path_join = None;
                }
                if format_join == Some(depth) {
                    format_join = None;
                }
                depth -= 1;
            }
            b';' | b'\n' if depth == 0 => break,
            // a backslash in front of a quote: the whole call stands inside a string
            b'\\' => {}
            b'\'' | b'"' | b'`' => {
                let (literal, end) = quoted(text, at);
                let prefixed = python
                    && text.get(at.wrapping_sub(1)).is_some_and(|before| matches!(before, b'f' | b'F'));
                let literal = bound.interpolated(literal, byte, prefixed, at);
                arguments.computed |= prefixed && literal.contains(&b'{');
                if names_directory(text.get(from..at).unwrap_or_default()) {
                    arguments.directory = Some(literal);
                    named = false;
                } else if named {
                    named = false;
                } else {
                    arguments.put(&literal, join);
                }
                *budget = budget.saturating_sub(end.saturating_sub(at));
                at = end;
                // `"/ fr- mr"[::-1]`, `"/ fr- mr".reverse`
                let turned = [b"[::-1]".as_slice(), b".reverse"]
                    .into_iter()
                    .find(|turn| text.get(at..).is_some_and(|rest| rest.starts_with(turn)));
                if let Some(turn) = turned
                    && let Some(last) = arguments.literals.last_mut()
                {
                    last.reverse();
                    at += turn.len();
                }
                join = if python || language == Language::Awk { Join::Next } else { Join::No };
                continue;
            }
            b'+' | b'.' => join = Join::Text,
            b'%' if join == Join::Next && python => join = Join::Format,
            b'/' if python => join = Join::Path,
            b'=' => named = text.get(at + 1) != Some(&b'=') && text.get(at + 1) != Some(&b'>'),
            b',' => {
                if depth <= 1 {
                    arguments.ends();
                }
                join = match (path_join, format_join) {
                    (Some(_), _) => Join::Path,
                    (_, Some(_)) => Join::Format,
                    _ => Join::No,
                };
                named = false;
            }
            b' ' | b'\t' => {}
            _ => {
                // perl's q(...) and qq{...}
                if byte == b'q'
                    && language == Language::Perl
                    && !text.get(at.wrapping_sub(1)).is_some_and(|b| is_word(*b))
                    && let Some((literal, end)) = perl_quote(text, at)
                {
                    arguments.literals.push(bound.interpolated(literal, b'"', false, at));
                    at = end;
                    continue;
                }
                if is_word(byte) || matches!(byte, b'$' | b'@' | COMPUTED) {
                    let start = at + usize::from(!is_word(byte));
                    let length = text
                        .get(start..)
                        .unwrap_or_default()
                        .iter()
                        .take_while(|byte| is_word(**byte))
                        .count();
                    let end = start + length;
                    let word = text.get(start..end).unwrap_or_default();
                    let next = text.get(end);
                    *budget = budget.saturating_sub(length);
                    at = end.max(at + 1);
                    if python && length <= 2 && matches!(next, Some(b'\'' | b'"')) {
                        continue;
                    }
                    // the name of an argument stands for nothing
                    let rest = text.get(at..).unwrap_or_default().trim_ascii_start();
                    if python && depth > 0 && rest.starts_with(b"=") && !rest.starts_with(b"==") {
                        // `args=["rm", "x"]` is the command all the same
                        if word == b"args" {
                            at = text.len() - rest.len() + 1;
                        }
                        continue;
                    }
                    // `{stdio: 'inherit'}`
                    if language == Language::JavaScript && depth > 1 && rest.starts_with(b":") {
                        continue;
                    }
                    if python
                        && (matches!(word, b"True" | b"False" | b"None")
                            || word.iter().all(u8::is_ascii_digit))
                        && named
                    {
                        named = false;
                        continue;
                    }
                    if python
                        && word == b"subprocess"
                        && named
                        && let Some(constant) = [b".PIPE".as_slice(), b".DEVNULL", b".STDOUT"]
                            .into_iter()
                            .find(|constant| rest.starts_with(constant))
                    {
                        named = false;
                        at += constant.len();
                        continue;
                    }
                    if let Some((literal, behind)) = letters(word, text, at) {
                        match arguments.literals.last_mut() {
                            Some(last) if last.is_empty() => *last = literal,
                            _ => arguments.put(&literal, join),
                        }
                        at = behind;
                        join = Join::No;
                        continue;
                    }
                    // what a module is called is no part of what it is asked for
                    if word == b"require"
                        && let Some(end) =
                            text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b')'))
                        && next == Some(&b'(')
                    {
                        arguments.computed = true;
                        at += end + 1;
                        continue;
                    }
                    match bound.get(word, start).filter(|_| next != Some(&b'(')) {
                        // what a name stands for is paid for: `x = x + x` doubles
                        Some(other) if !named && other.size() > *budget => {
                            arguments.computed = true;
                            *budget = 0;
                        }
                        Some(other) if !named => {
                            *budget -= other.size();
                            arguments.names.push(word.to_vec());
                            arguments.names.extend(other.names.iter().cloned());
                            // awk puts what stands side by side together
                            let awk = language == Language::Awk;
                            arguments.merge(other, if join == Join::Next && !awk { Join::No } else { join });
                            join = if awk { Join::Next } else { Join::No };
                        }
                        Some(_) => named = false,
                        None => {
                            let called = next == Some(&b'(') || next == Some(&b'.');
                            let before = text.get(..start).unwrap_or_default();
                            if called && only_names_paths(language, word, before) {
                                // what it makes of its arguments is put together here
                            } else if called {
                                arguments.computed = true;
                            } else {
                                arguments.unknown(join);
                            }
                            join = match word {
                                b"join" if joins_paths(before) => {
                                    path_join = Some(depth + 1);
                                    Join::No
                                }
                                b"format" if join == Join::Text => Join::Format,
                                _ => Join::No,
                            };
                        }
                    }
                    continue;
                }
            }
        }
        at += 1;
    }
    let raw = text.get(from..at.min(text.len())).unwrap_or_default();
    if raw.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != b'(') {
        arguments.ends();
    }
    arguments.raw.splice(0..0, raw.iter().copied());
    arguments
}

/// The letters of `chr(114)`, `map(chr, [114, 109])`, `fromCharCode(114, 109)`, and the place behind them.
fn letters(word: &[u8], text: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    if !matches!(word, b"chr" | b"fromCharCode") {
        return None;
    }
    let open = |byte: &u8| matches!(byte, b'(' | b'[' | b',' | b' ');
    let start = at + text.get(at..)?.iter().take_while(|byte| open(byte)).count();
    let numeral = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b',' | b' ');
    let length = text.get(start..)?.iter().take_while(|byte| numeral(byte)).count();
    let numbers = std::str::from_utf8(text.get(start..start + length)?).ok()?;
    let letters: Option<Vec<u8>> = numbers.split(',').map(|number| number.trim().parse().ok()).collect();
    let closes = matches!(text.get(start + length), Some(b')' | b']'));
    // the parenthesis that `chr` opened by itself is behind it
    let own = text.get(at) == Some(&b'(');
    letters.filter(|_| closes).map(|letters| (letters, start + length + usize::from(own)))
}

/// Whether a word is a part of what makes a path of its arguments: `os.path.join(`, `pathlib.Path(`.
fn only_names_paths(language: Language, word: &[u8], before: &[u8]) -> bool {
    let part = before.last().is_some_and(|byte| *byte == b'.' || is_word(*byte));
    language == Language::Python
        && match word {
            b"os" | b"pathlib" | b"Path" | b"PurePath" => !part || before.ends_with(b"pathlib."),
            b"path" => before.ends_with(b"os."),
            b"join" => before.ends_with(b"os.path."),
            _ => false,
        }
}

/// `os.path.join`, `path.join`, `File.join`: what stands in front of `join`.
fn joins_paths(before: &[u8]) -> bool {
    [b"path.".as_slice(), b"File."].iter().any(|name| before.ends_with(name))
}
