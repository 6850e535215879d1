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
    let mut close = vec![0usize; tokens.len()];
    let mut open = Vec::new();
    let mut any = false;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Byte(_, b'{') => open.push(index),
            Token::Byte(_, b'}') => {
                if let Some(from) = open.pop()
                    && let Some(slot) = close.get_mut(from)
                {
                    *slot = index;
                    any = true;
                }
            }
            _ => {}
        }
    }
    if !any {
        return Ok(None);
    }
    let mut spent = 0;
    let expanded = expand_range(&tokens, &close, 0, tokens.len(), 0, &mut spent)?;
    Ok(Some(expanded.into_iter().map(|word| chunks(&word, parts)).collect()))
}

fn expand_range(
    tokens: &[Token],
    close: &[usize],
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
        let until = close.get(at).copied().unwrap_or(0);
        let choices =
            if until > at && until < end { choices(tokens, close, at, until, depth, spent)? } else { None };
        let Some(choices) = choices else {
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

/// What the braces at `open..=until` stand for; `None` where they are literal.
fn choices(
    tokens: &[Token],
    close: &[usize],
    open: usize,
    until: usize,
    depth: usize,
    spent: &mut usize,
) -> Result<Option<Vec<Vec<Token>>>, ()> {
    let mut commas = Vec::new();
    let mut at = open + 1;
    while at < until {
        match tokens.get(at) {
            Some(Token::Byte(_, b'{')) => at = close.get(at).copied().unwrap_or(0).max(at),
            Some(Token::Byte(_, b',')) => commas.push(at),
            _ => {}
        }
        at += 1;
    }
    if commas.is_empty() {
        return Ok(sequence(tokens.get(open + 1..until).unwrap_or(&[]))?.map(|items| {
            items.into_iter().map(|item| item.into_iter().map(Token::Made).collect()).collect()
        }));
    }
    let mut all = Vec::new();
    let mut from = open + 1;
    for comma in commas.into_iter().chain([until]) {
        all.extend(expand_range(tokens, close, from, comma, depth + 1, spent)?);
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
