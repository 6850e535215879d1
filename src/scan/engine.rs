//! The passes over a text.

use super::rules::{Phrase, Rules, Words};
use super::{Finding, Kind, Severity, encoded, escaped, fold, hidden, invisible};
use core::ops::Range;

/// An expression looks at one window at a time.
const WINDOW: usize = 1024;

/// How far a window reaches into the next: more than any phrase is long.
const OVERLAP: usize = 512;

/// How much of what stands right before a phrase may make it an innocent one.
const BEFORE: usize = 96;

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
pub(super) fn find(rules: &Rules, kind: Kind, text: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let look = Look { rules, kind, hidden: &hidden::find(text) };
    look.phrases(text, &|at| at, &mut |phrase, at, length| {
        hits.push(look.hit(phrase, text, at, length, at));
    });
    if !text.is_ascii() {
        invisible::find(text, &mut hits);
        look.folded(text, &mut hits);
    }
    look.escaped(text, &mut hits);
    look.decoded(text, 0, DEPTH, &mut hits);
    hits
}

/// What a text is looked at with.
struct Look<'a> {
    rules: &'a Rules,
    kind: Kind,
    /// What people do not see of it.
    hidden: &'a [Range<usize>],
}

impl Look<'_> {
    /// Phrases in a text, whose places `origin` gives in the text that is scanned.
    fn phrases(
        &self,
        text: &[u8],
        origin: &dyn Fn(usize) -> usize,
        found: &mut dyn FnMut(&Phrase, usize, usize),
    ) {
        self.phrases_of(&self.rules.words, text, origin, found);
        if !text.is_ascii() {
            self.phrases_of(&self.rules.words_beyond, text, origin, found);
        }
    }

    fn phrases_of(
        &self,
        words: &Words,
        text: &[u8],
        origin: &dyn Fn(usize) -> usize,
        found: &mut dyn FnMut(&Phrase, usize, usize),
    ) {
        let rules = self.rules;
        let Ok(places) = words.automaton.try_find_overlapping_iter(text) else { return };
        // For each phrase, up to where it has been looked for.
        let mut done = vec![0; rules.phrases.len()];
        for word in places {
            for &index in words.phrases.get(word.pattern().as_usize()).map_or(&[][..], Vec::as_slice) {
                let (Some(phrase), Some(done)) = (rules.phrases.get(index), done.get_mut(index)) else {
                    continue;
                };
                if word.end() <= *done && !phrase.begins
                    || phrase.hidden && !hidden::covers(self.hidden, origin(word.start()))
                {
                    continue;
                }
                // What begins with the word is looked at from there; anything else, where the word may stand in it.
                let back = if phrase.begins { 0 } else { OVERLAP };
                let from = word.start().saturating_sub(back).max(done.saturating_sub(OVERLAP));
                let to = (word.end() + WINDOW).min(text.len());
                let window = text.get(from..to).unwrap_or_default();
                for place in phrase.expression.regex().into_iter().flat_map(|it| it.find_iter(window)) {
                    let at = from + place.start();
                    if is_word(text, at) && !is_innocent(phrase, text, at, place.as_bytes()) {
                        found(phrase, at, place.len());
                    }
                }
                if !phrase.begins {
                    *done = if to == text.len() { to } else { to - OVERLAP };
                }
            }
        }
    }

    /// A finding at a place in a text, and where that is in the text that is scanned.
    fn hit(&self, phrase: &Phrase, text: &[u8], at: usize, length: usize, origin: usize) -> Hit {
        let unseen = hidden::covers(self.hidden, origin);
        // Every text of a configuration stands in quotation marks.
        let quoted = self.kind != Kind::Configuration && !phrase.literal && is_quoted(text, at, length);
        let severity = match () {
            () if unseen => phrase.severity_hidden(self.kind),
            () if quoted => phrase.severity(self.kind).lowered(),
            () => phrase.severity(self.kind),
        };
        Hit {
            rule: if unseen { format!("{}+hidden", phrase.id) } else { phrase.id.clone() },
            severity,
            reason: phrase.reason.clone(),
            at: origin,
            length,
            text: shown(text.get(at..at + length).unwrap_or_default()),
        }
    }

    /// Phrases in the text as it looks, where it looks other than it is.
    fn folded(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let odd = |from: usize| {
            let at = text.get(from..)?.iter().position(|byte| !byte.is_ascii())?;
            Some(from + at)
        };
        windows(text, &odd, &mut |from, window| {
            if let Some(folded) = fold::fold(window) {
                self.changed(from, window, &folded, hits);
            }
        });
    }

    /// Phrases in the text with its escapes undone, and that as it looks.
    fn escaped(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let controls = self.kind == Kind::Configuration;
        windows(text, &|from| escaped::next(text, from, controls), &mut |from, window| {
            let Some(undone) = escaped::undo(window) else { return };
            self.changed(from, window, &undone, hits);
            if let Some(mut folded) = fold::fold(&undone.text) {
                for offset in &mut folded.offsets {
                    *offset = u32::try_from(undone.origin(*offset as usize)).unwrap_or(u32::MAX);
                }
                self.changed(from, window, &folded, hits);
            }
        });
    }

    /// Phrases in a window that was written otherwise.
    fn changed(&self, from: usize, window: &[u8], folded: &fold::Folded, hits: &mut Vec<Hit>) {
        let origin = |at: usize| from + folded.origin(at);
        self.phrases(&folded.text, &origin, &mut |phrase, at, length| {
            let (first, last) = (folded.origin(at), folded.origin((at + length).saturating_sub(1)));
            let original = window.get(first..=last).unwrap_or_default();
            let written = folded.text.get(at..at + length).unwrap_or_default();
            // What was not changed was found before.
            if original == written {
                return;
            }
            let mut hit = self.hit(phrase, &folded.text, at, length, from + first);
            hit.length = last + 1 - first;
            // An innocent accent or dash is no disguise: letters or invisible characters are, and escapes for either.
            let escapes = (at..at + length).any(|at| {
                let (byte, written) = (folded.text.get(at), window.get(folded.origin(at)));
                matches!(written, Some(b'&' | b'%' | b'\\'))
                    && byte != written
                    && byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b' ')
            });
            if escapes || !phrase.foreign && is_disguised(original) {
                hit.rule.push_str(if escapes { "+encoded" } else { "+folded" });
                hit.severity = hit.severity.raised();
                hit.text = shown(original);
            }
            hits.push(hit);
        });
    }

    /// Findings inside encodings, at the place of the encoding.
    fn decoded(&self, text: &[u8], base: usize, depth: usize, hits: &mut Vec<Hit>) {
        if depth == 0 {
            return;
        }
        for (place, inner) in encoded::find(text) {
            let (at, length) = if depth == DEPTH { (place.start, place.len()) } else { (base, place.len()) };
            self.phrases(&inner, &|_| at, &mut |phrase, start, found| {
                hits.push(Hit {
                    rule: format!("{}+encoded", phrase.id),
                    severity: phrase.severity(self.kind).raised(),
                    reason: format!("{} (in an encoding)", phrase.reason),
                    at,
                    length,
                    text: shown(inner.get(start..start + found).unwrap_or_default()),
                });
            });
            self.decoded(&inner, at, depth - 1, hits);
        }
    }
}

/// Each window around a place that `next` finds, which together hold all of them.
fn windows(text: &[u8], next: &dyn Fn(usize) -> Option<usize>, each: &mut dyn FnMut(usize, &[u8])) {
    let mut start = 0;
    while let Some(odd) = next(start) {
        let from = odd.saturating_sub(OVERLAP).max(start.saturating_sub(OVERLAP));
        let from = boundary(text, from);
        let to = boundary(text, (odd + WINDOW * 2).min(text.len()));
        each(from, text.get(from..to).unwrap_or_default());
        start = to.max(odd + 1);
    }
}

/// Whether something in a phrase, or right before it, makes it an innocent one.
fn is_innocent(phrase: &Phrase, text: &[u8], at: usize, found: &[u8]) -> bool {
    let before = text.get(at.saturating_sub(BEFORE)..at).unwrap_or_default();
    // What ends with another paragraph says nothing of this one.
    let before = before.get(paragraph(before)..).unwrap_or_default();
    phrase.unless.as_ref().is_some_and(|unless| unless.is_match(found))
        || phrase.unless_before.as_ref().is_some_and(|unless| unless.is_match(before))
}

/// Where the last paragraph of a text begins: behind an empty line.
fn paragraph(text: &[u8]) -> usize {
    let mut lines = memchr::memrchr_iter(b'\n', text);
    let mut end = lines.next();
    while let (Some(later), Some(earlier)) = (end, lines.next()) {
        if text.get(earlier + 1..later).is_some_and(|line| line.trim_ascii().is_empty()) {
            return later + 1;
        }
        end = Some(earlier);
    }
    0
}

/// Whether what begins with a letter has none right before it.
fn is_word(text: &[u8], at: usize) -> bool {
    let letter = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    !letter(Some(at)) || !letter(at.checked_sub(1))
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
