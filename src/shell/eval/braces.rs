//! Brace expansion: `{a,b}`, `{1..9}`, nested and side by side.

use super::super::Span;
use super::super::ast::{Part, PartKind, Script};

/// A byte that may take part in brace expansion, or something that may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u32, u8),
    /// An index into the word's parts.
    Part(usize),
    /// A byte that a sequence made.
    Made(u8),
}

/// A piece of an expanded word.
#[derive(Debug, Clone)]
pub(super) enum Chunk {
    Part(Part),
    Made(Vec<u8>),
}

/// More results than anybody writes on purpose.
const MOST: usize = 1 << 16;
/// Braces within braces.
const DEPTH: usize = 16;

/// The words that a word with braces stands for; `None` where it has none. An error where there are too many.
pub(super) fn expand(script: &Script, parts: &[Part]) -> Result<Option<Vec<Vec<Chunk>>>, ()> {
    let candidate = parts.iter().any(|part| {
        part.kind == PartKind::Literal && !part.quoted && script.bytes(part.span).contains(&b'{')
    });
    if !candidate {
        return Ok(None);
    }
    let mut tokens = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if part.kind == PartKind::Literal && !part.quoted {
            let bytes = script.bytes(part.span).iter();
            tokens.extend(bytes.zip(part.span.start..).map(|(byte, at)| Token::Byte(at, *byte)));
        } else {
            tokens.push(Token::Part(index));
        }
    }
    if !tokens.iter().any(|token| matches!(token, Token::Byte(_, b'}'))) {
        return Ok(None);
    }
    let mut spent = 0;
    let expanded = expand_range(&tokens, 0, tokens.len(), 0, &mut spent)?;
    Ok(Some(expanded.into_iter().map(|word| chunks(&word, parts)).collect()))
}

fn expand_range(
    tokens: &[Token],
    start: usize,
    end: usize,
    depth: usize,
    spent: &mut usize,
) -> Result<Vec<Vec<Token>>, ()> {
    if depth > DEPTH {
        return Err(());
    }
    let mut words: Vec<Vec<Token>> = vec![Vec::new()];
    let mut at = start;
    while at < end {
        let Some(token) = tokens.get(at).copied() else { break };
        let until = match token {
            Token::Byte(_, b'{') => close(tokens, start, at, end, spent)?,
            _ => None,
        };
        let choices = match until {
            Some(until) => choices(tokens, at, until, depth, spent)?,
            None => None,
        };
        let (Some(choices), Some(until)) = (choices, until) else {
            for word in &mut words {
                word.push(token);
            }
            *spent += words.len();
            if *spent > MOST * 4 {
                return Err(());
            }
            at += 1;
            continue;
        };
        let mut longer = Vec::new();
        for word in &words {
            for choice in &choices {
                *spent += word.len() + choice.len() + 1;
                if *spent > MOST * 4 || longer.len() > MOST {
                    return Err(());
                }
                let mut word = word.clone();
                word.extend_from_slice(choice);
                longer.push(word);
            }
        }
        words = longer;
        at = until + 1;
    }
    Ok(words)
}

/// Where the brace that is opened closes, as bash looks for it: at the first `}` of its own level behind a comma or `..`;
/// `{}` at the start of a word opens nothing.
fn close(
    tokens: &[Token],
    start: usize,
    open: usize,
    end: usize,
    spent: &mut usize,
) -> Result<Option<usize>, ()> {
    let byte = |at: usize| match tokens.get(at) {
        Some(Token::Byte(_, byte)) if at < end => Some(*byte),
        _ => None,
    };
    if open == start && byte(open + 1) == Some(b'}') {
        return Ok(None);
    }
    let (mut level, mut separated) = (0usize, false);
    for at in open + 1..end {
        *spent += 1;
        match byte(at) {
            Some(b'{') => level += 1,
            Some(b'}') if level > 0 => level -= 1,
            Some(b'}') if separated => return Ok(Some(at)),
            Some(b',') if level == 0 => separated = true,
            Some(b'.') if level == 0 && byte(at + 1) == Some(b'.') && byte(at + 2) != Some(b'}') => {
                separated = true;
            }
            _ => {}
        }
    }
    if *spent > MOST * 4 { Err(()) } else { Ok(None) }
}

/// What the braces at `open..=until` stand for; `None` where they are literal.
fn choices(
    tokens: &[Token],
    open: usize,
    until: usize,
    depth: usize,
    spent: &mut usize,
) -> Result<Option<Vec<Vec<Token>>>, ()> {
    let inside = tokens.get(open + 1..until).unwrap_or(&[]);
    if !inside.iter().any(|token| matches!(token, Token::Byte(_, b','))) {
        return Ok(sequence(inside)?.map(|items| {
            items.into_iter().map(|item| item.into_iter().map(Token::Made).collect()).collect()
        }));
    }
    let mut commas = Vec::new();
    let mut level = 0usize;
    for (at, token) in (open + 1..until).zip(inside) {
        match token {
            Token::Byte(_, b'{') => level += 1,
            Token::Byte(_, b'}') => level = level.saturating_sub(1),
            Token::Byte(_, b',') if level == 0 => commas.push(at),
            _ => {}
        }
    }
    let mut all = Vec::new();
    let mut from = open + 1;
    for comma in commas.into_iter().chain([until]) {
        all.extend(expand_range(tokens, from, comma, depth + 1, spent)?);
        from = comma + 1;
    }
    Ok(Some(all))
}

/// `1..9`, `a..z`, `1..9..2`
fn sequence(tokens: &[Token]) -> Result<Option<Vec<Vec<u8>>>, ()> {
    if tokens.len() > 64 {
        return Ok(None);
    }
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Byte(_, byte) if byte.is_ascii() => text.push(char::from(*byte)),
            _ => return Ok(None),
        }
    }
    let mut fields = text.split("..");
    let (Some(first), Some(last)) = (fields.next(), fields.next()) else { return Ok(None) };
    let step = match fields.next().map(str::parse::<i64>) {
        None => 1,
        Some(Ok(step)) => step.saturating_abs().max(1),
        Some(Err(_)) => return Ok(None),
    };
    if fields.next().is_some() {
        return Ok(None);
    }
    let letters = |text: &str| match text.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Some(i64::from(*letter)),
        _ => None,
    };
    let (low, high, letter) = match (first.parse::<i64>(), last.parse::<i64>()) {
        (Ok(low), Ok(high)) => (low, high, false),
        _ => match (letters(first), letters(last)) {
            (Some(low), Some(high)) => (low, high, true),
            _ => return Ok(None),
        },
    };
    let count = low.abs_diff(high) / step.unsigned_abs() + 1;
    if count > MOST as u64 / 16 {
        return Err(());
    }
    let padded =
        |text: &str| text.trim_start_matches('-').len() > 1 && text.trim_start_matches('-').starts_with('0');
    let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
    let mut items = Vec::new();
    let mut value = low;
    for _ in 0..count {
        items.push(if letter {
            u8::try_from(value).map(|byte| vec![byte]).unwrap_or_default()
        } else {
            format!("{value:0width$}").into_bytes()
        });
        value = if low <= high { value.saturating_add(step) } else { value.saturating_sub(step) };
    }
    Ok(Some(items))
}

/// Puts neighbouring bytes together again.
fn chunks(word: &[Token], parts: &[Part]) -> Vec<Chunk> {
    let mut out: Vec<Chunk> = Vec::new();
    for token in word {
        match (token, out.last_mut()) {
            (Token::Byte(at, _), Some(Chunk::Part(last)))
                if last.kind == PartKind::Literal && !last.quoted && last.span.end == *at =>
            {
                last.span.end += 1;
            }
            (Token::Byte(at, _), _) => {
                let span = Span { start: *at, end: *at + 1 };
                out.push(Chunk::Part(Part { kind: PartKind::Literal, quoted: false, span }));
            }
            (Token::Part(index), _) => out.extend(parts.get(*index).map(|part| Chunk::Part(*part))),
            (Token::Made(byte), Some(Chunk::Made(last))) => last.push(*byte),
            (Token::Made(byte), _) => out.push(Chunk::Made(vec![*byte])),
        }
    }
    out
}
