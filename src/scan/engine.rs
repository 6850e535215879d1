//! The passes over a text.

use super::rules::{Phrase, Rules};
use super::{Finding, Severity, encoded, fold, hidden, invisible};

/// An expression looks at one window at a time.
const WINDOW: usize = 1024;

/// How far a window reaches into the next: more than any phrase is long.
const OVERLAP: usize = 512;

/// How deep encodings may be nested.
const DEPTH: usize = 3;

/// Longest text that is shown.
const SHOWN: usize = 200;

/// A finding by its place in bytes.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) rule: String,
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) text: String,
}

impl Hit {
    /// The rule without where it was found.
    pub(super) fn base(&self) -> &str {
        self.rule.split('+').next().unwrap_or_default()
    }
}

/// Everything in a text.
pub(super) fn find(rules: &Rules, text: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let parts = hidden::find(text);
    phrases(rules, text, &mut |phrase, at, length| {
        hits.push(hit(phrase, text, at, length));
    });
    if !text.is_ascii() {
        invisible::find(text, &mut hits);
        folded(rules, text, &mut hits);
    }
    for hit in &mut hits {
        if hidden::covers(&parts, hit.at) && !hit.rule.starts_with("invisible") {
            hit.rule.push_str("+hidden");
            hit.severity = Severity::High;
        }
    }
    decoded(rules, text, 0, DEPTH, &mut hits);
    hits
}

/// Phrases in the text as it is.
fn phrases(rules: &Rules, text: &[u8], found: &mut dyn FnMut(&Phrase, usize, usize)) {
    // For each phrase, up to where it has been looked for.
    let mut done = vec![0; rules.phrases.len()];
    for word in rules.words.find_iter(text) {
        for &index in rules.of_word.get(word.pattern().as_usize()).map_or(&[][..], Vec::as_slice) {
            let (Some(phrase), Some(done)) = (rules.phrases.get(index), done.get_mut(index)) else {
                continue;
            };
            if word.end() <= *done {
                continue;
            }
            let from = word.start().saturating_sub(OVERLAP).max(done.saturating_sub(OVERLAP));
            let to = (word.end() + WINDOW).min(text.len());
            let window = text.get(from..to).unwrap_or_default();
            for place in phrase.expression.find_iter(window) {
                let innocent = phrase.unless.as_ref().is_some_and(|unless| unless.is_match(place.as_bytes()));
                if !innocent && is_word(text, from + place.start()) {
                    found(phrase, from + place.start(), place.len());
                }
            }
            *done = if to == text.len() { to } else { to - OVERLAP };
        }
    }
}

/// Whether no letter stands right before.
fn is_word(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    !before.is_some_and(u8::is_ascii_alphanumeric)
}

fn hit(phrase: &Phrase, text: &[u8], at: usize, length: usize) -> Hit {
    let severity = match phrase.literal || !is_quoted(text, at, length) {
        true => phrase.severity,
        false => phrase.severity.lowered(),
    };
    Hit {
        rule: phrase.id.clone(),
        severity,
        reason: phrase.reason.clone(),
        at,
        length,
        text: shown(text.get(at..at + length).unwrap_or_default()),
    }
}

/// Whether a phrase stands in quotation marks or as code, as an example does: a mark shortly before it on its line, and
/// one shortly behind.
fn is_quoted(text: &[u8], at: usize, length: usize) -> bool {
    const NEAR: usize = 80;
    let before = text.get(at.saturating_sub(NEAR)..at).unwrap_or_default();
    let line = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(before, |end| before.get(end + 1..).unwrap_or_default());
    let after = text.get(at + length..(at + length + NEAR * 2).min(text.len())).unwrap_or_default();
    let pairs: [(&[u8], &[u8]); 4] = [
        (b"\"", b"\""),
        (b"`", b"`"),
        ("\u{201c}".as_bytes(), "\u{201d}".as_bytes()),
        ("\u{ab}".as_bytes(), "\u{bb}".as_bytes()),
    ];
    let marked = pairs.iter().any(|(open, close)| {
        memchr::memmem::rfind(line, open).is_some_and(|mark| {
            // An even number of marks: the one before closes something else.
            open != close
                || memchr::memmem::find_iter(line.get(..mark).unwrap_or_default(), open).count() % 2 == 0
        }) && memchr::memmem::find(after, close).is_some()
    });
    // An apostrophe is no quotation mark; one after a space or bracket is.
    let single = line.iter().rposition(|byte| *byte == b'\'').is_some_and(|mark| {
        let front = mark.checked_sub(1).and_then(|before| line.get(before));
        !front.is_some_and(u8::is_ascii_alphanumeric)
    }) && after.contains(&b'\'');
    marked || single
}

/// Phrases in the text as it looks, where it looks other than it is.
fn folded(rules: &Rules, text: &[u8], hits: &mut Vec<Hit>) {
    let mut start = 0;
    while start < text.len() {
        // The next byte that is not ASCII, and a window around it.
        let Some(odd) = text.get(start..).and_then(|rest| rest.iter().position(|byte| !byte.is_ascii()))
        else {
            return;
        };
        let from = (start + odd).saturating_sub(OVERLAP).max(start.saturating_sub(OVERLAP));
        let from = boundary(text, from);
        let to = boundary(text, (start + odd + WINDOW * 4).min(text.len()));
        let window = text.get(from..to).unwrap_or_default();
        if let Some(folded) = fold::fold(window) {
            phrases(rules, &folded.text, &mut |phrase, at, length| {
                let (first, last) = (folded.origin(at), folded.origin((at + length).saturating_sub(1)));
                let original = window.get(first..=last).unwrap_or_default();
                // What folding did not change was found before.
                if original.is_ascii() {
                    return;
                }
                let mut hit = hit(phrase, &folded.text, at, length);
                (hit.at, hit.length) = (from + first, last + 1 - first);
                // An innocent accent or dash is no disguise: letters or invisible characters are.
                if is_disguised(original) {
                    hit.rule.push_str("+folded");
                    hit.severity = hit.severity.raised();
                    hit.text = shown(original);
                }
                hits.push(hit);
            });
        }
        start = to.max(start + odd + 1);
    }
}

/// Whether there are letters among what was folded, or nothing to see.
fn is_disguised(original: &[u8]) -> bool {
    String::from_utf8_lossy(original)
        .chars()
        .any(|c| !c.is_ascii() && (c.is_alphanumeric() || fold::is_mark(c) || invisible::is_invisible(c)))
}

/// The start of the character at or before an offset.
fn boundary(text: &[u8], at: usize) -> usize {
    let back = (0..4).find(|back| {
        at.checked_sub(*back).and_then(|at| text.get(at)).is_none_or(|byte| byte & 0xc0 != 0x80)
    });
    at - back.unwrap_or(0).min(at)
}

/// Findings inside encodings, at the place of the encoding.
fn decoded(rules: &Rules, text: &[u8], base: usize, depth: usize, hits: &mut Vec<Hit>) {
    if depth == 0 {
        return;
    }
    for (place, inner) in encoded::find(text) {
        let (at, length) = if depth == DEPTH { (place.start, place.len()) } else { (base, place.len()) };
        phrases(rules, &inner, &mut |phrase, start, found| {
            hits.push(Hit {
                rule: format!("{}+encoded", phrase.id),
                severity: phrase.severity.raised(),
                reason: format!("{} (in an encoding)", phrase.reason),
                at,
                length,
                text: shown(inner.get(start..start + found).unwrap_or_default()),
            });
        });
        decoded(rules, &inner, at, depth - 1, hits);
    }
}

/// Gives each hit its line and column; they come in order.
pub(super) fn place(text: &[u8], hits: Vec<Hit>) -> Vec<Finding> {
    let (mut line, mut start, mut at) = (1, 0, 0);
    hits.into_iter()
        .map(|hit| {
            for end in memchr::memchr_iter(b'\n', text.get(at..hit.at).unwrap_or_default()) {
                line += 1;
                start = at + end + 1;
            }
            at = hit.at;
            let before = text.get(start..hit.at).unwrap_or_default();
            let column = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64 + 1;
            Finding {
                rule: hit.rule,
                severity: hit.severity,
                line,
                column,
                text: escape(&hit.text),
                reason: hit.reason,
            }
        })
        .collect()
}

/// As much of it as is shown.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned()
}

/// Printable ASCII: what is odd in a text must not do to the reader of the finding what it did to the reader of the text.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            ' '..='~' => escaped.push(c),
            '\n' | '\t' | '\r' => escaped.push(' '),
            other => escaped.extend(other.escape_unicode()),
        }
        if escaped.len() >= SHOWN {
            escaped.truncate(SHOWN);
            escaped.push_str("...");
            break;
        }
    }
    escaped
}

/// The next byte that may begin an invisible character: U+00AD, U+034F, U+061C, U+115F, U+17B4, U+180B, U+2000 to 206F,
/// U+3164, U+FE00 to FFFB, and everything above U+1D000.
pub(super) fn next_of(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let at = rest
        .iter()
        .position(|byte| matches!(byte, 0xc2 | 0xcd | 0xd8 | 0xe1 | 0xe2 | 0xe3 | 0xef | 0xf0 | 0xf3))?;
    Some(from + at)
}

/// The character that begins at an offset, and its length.
pub(super) fn char_at(text: &[u8], at: usize) -> Option<(char, usize)> {
    let bytes = text.get(at..(at + 4).min(text.len()))?;
    let c = bytes.utf8_chunks().next()?.valid().chars().next()?;
    Some((c, c.len_utf8()))
}

/// The character that ends at an offset.
pub(super) fn char_before(text: &[u8], at: usize) -> Option<char> {
    let start = boundary(text, at.checked_sub(1)?);
    char_at(text, start).filter(|(_, length)| start + length == at).map(|(c, _)| c)
}
