//! What execward says that a program prints, held against what bash printed.

use std::borrow::Cow;

use execward::shell::{Budget, Context, Piece, Value, read};

/// How two answers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// bash said nothing: the program is none, or failed before it printed.
    Silent,
    /// The words are the same.
    Same,
    /// Part of a word is not known to execward, and the rest is the same.
    Unknown,
    /// execward refuses to read the program.
    Refused,
    /// execward says something that bash did not do.
    Wrong,
}

/// A stretch of output.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Bytes(Vec<u8>),
    Anything,
}

/// The context in which [`super::shells::outputs`] runs programs.
pub fn context(directory: &std::path::Path) -> Context<'static> {
    let variables = [("HOME", "/home/user"), ("LC_ALL", "C.UTF-8")];
    Context {
        cwd: std::sync::Arc::new(Value::known(directory.join("empty").to_str().unwrap())),
        home: "/home/user".into(),
        user: "user".into(),
        homes: Cow::Owned(
            [("root", "/root"), ("nobody", "/nonexistent")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        ),
        variables: variables.map(|(name, value)| (name.to_owned(), Value::known(value))).into(),
        ..Context::default()
    }
}

/// Compares what bash printed with the words that execward says `printf '<%s>' S ...` is given.
pub fn outcome(program: &str, context: &Context, printed: &[u8]) -> Outcome {
    if printed.is_empty() {
        return Outcome::Silent;
    }
    let Ok(evaluation) = read(program, None, context, &mut Budget::default()) else {
        return Outcome::Refused;
    };
    let calls: Vec<&[Value]> = evaluation
        .invocations
        .iter()
        .map(|invocation| invocation.argv.as_slice())
        .filter(|argv| {
            argv.first().and_then(Value::as_str) == Some("printf")
                && argv.get(1).and_then(Value::as_str) == Some("<%s>")
        })
        .collect();
    let mut worst = Outcome::Same;
    for line in lines(printed) {
        let exact = calls.iter().any(|argv| matches(&tokens(argv, true), line));
        let loose = exact || calls.iter().any(|argv| matches(&tokens(argv, false), line));
        worst = worst.max(match (exact, loose) {
            (true, _) => Outcome::Same,
            (_, true) => Outcome::Unknown,
            _ => Outcome::Wrong,
        });
    }
    worst
}

/// Each call's output begins with `<S>`, which no word holds.
fn lines(printed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = printed;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next =
            rest.windows(3).skip(1).position(|window| window == b"<S>").map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(next);
        rest = after;
        Some(line)
    })
}

fn tokens(argv: &[Value], exact: bool) -> Vec<Token> {
    let mut tokens = Vec::new();
    for value in argv.iter().skip(2) {
        let value = if exact {
            let unset = value
                .pieces
                .iter()
                .any(|piece| matches!(piece, Piece::Unknown(hole) if hole.unset && hole.splits));
            let empty = value.with_unset_empty();
            if unset && empty.pieces.is_empty() {
                continue;
            }
            empty
        } else {
            value.clone()
        };
        let vanishes = !value.pieces.is_empty()
            && value.pieces.iter().all(|piece| match piece {
                Piece::Unknown(hole) => hole.splits,
                Piece::Glob(_) => !exact,
                Piece::Known(_) => false,
            });
        if vanishes || !exact && value.has_glob() {
            tokens.push(Token::Anything);
            continue;
        }
        tokens.push(Token::Bytes(b"<".to_vec()));
        for piece in &value.pieces {
            tokens.push(match piece {
                Piece::Known(bytes) => Token::Bytes(bytes.to_vec()),
                Piece::Glob(bytes) if exact => Token::Bytes(bytes.to_vec()),
                Piece::Glob(_) | Piece::Unknown(_) => Token::Anything,
            });
        }
        tokens.push(Token::Bytes(b">".to_vec()));
    }
    if exact && tokens.contains(&Token::Anything) { vec![Token::Bytes(vec![0])] } else { tokens }
}

/// Whether the tokens can stand for the text; the wildcards make it a plain pattern match with one place to go back to.
fn matches(tokens: &[Token], text: &[u8]) -> bool {
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Bytes(bytes) => parts.last_mut().unwrap().extend_from_slice(bytes),
            Token::Anything => parts.push(Vec::new()),
        }
    }
    let Some((first, rest)) = parts.split_first() else { return text.is_empty() };
    let Some(mut text) = text.strip_prefix(first.as_slice()) else { return false };
    let Some((last, middle)) = rest.split_last() else { return text.is_empty() };
    for part in middle {
        let found = if part.is_empty() {
            Some(0)
        } else {
            text.windows(part.len()).position(|window| window == part.as_slice())
        };
        let Some(at) = found else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}
