//! Parts of a text that a person who looks at the rendered page does not see: comments and hidden elements.

use core::ops::Range;
use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

/// Longest part: an unclosed comment does not hide the rest of a book from its quoting.
const LONGEST: usize = 64 << 10;

#[allow(clippy::unwrap_used, reason = "a test looks at it")]
static ELEMENT: LazyLock<Regex> = LazyLock::new(|| {
    RegexBuilder::new(
        r#"<[a-z][a-z0-9]{0,15}\s[^<>]{0,300}?(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?:[^.]|$)|color\s*:\s*(?:white|\#fff|transparent)|\bhidden[\s>=]|aria-hidden)[^<>]{0,300}>?"#,
    )
    .unicode(false)
    .case_insensitive(true)
    .build()
    .unwrap()
});

/// Where they are, in order.
pub(super) fn find(text: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(start) =
        text.get(at..).and_then(|rest| memmem::find(rest, b"<!--")).map(|found| at + found)
    {
        let body = start + 4;
        let end = text
            .get(body..)
            .and_then(|rest| memmem::find(rest.get(..LONGEST).unwrap_or(rest), b"-->"))
            .map_or((body + LONGEST).min(text.len()), |found| body + found);
        parts.push(start..end);
        at = end;
    }
    // Link definitions that link to nothing: `[//]: # (text)`.
    for start in memmem::find_iter(text, b"[//]: #") {
        let line =
            text.get(start..).and_then(|rest| memchr::memchr(b'\n', rest)).unwrap_or(text.len() - start);
        parts.push(start..start + line.min(LONGEST));
    }
    // Only where one of the words stands is the expression asked.
    let mut done = 0;
    for word in ELEMENT_WORDS.find_iter(text) {
        if word.start() < done {
            continue;
        }
        let from = word.start().saturating_sub(320);
        let window = text.get(from..(word.end() + 320).min(text.len())).unwrap_or_default();
        if let Some(found) = ELEMENT.find(window) {
            let open = from + found.end();
            let close = text
                .get(open..(open + LONGEST).min(text.len()))
                .and_then(|rest| memmem::find(rest, b"</"))
                .map_or(open, |found| open + found);
            parts.push(from + found.start()..close);
            done = open;
        }
    }
    parts.sort_by_key(|part| part.start);
    parts
}

#[allow(clippy::unwrap_used, reason = "a test looks at it")]
static ELEMENT_WORDS: LazyLock<aho_corasick::AhoCorasick> = LazyLock::new(|| {
    aho_corasick::AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(["none", "hidden", "font-size", "opacity", "color"].map(|word| match word {
            "none" => "display",
            other => other,
        }))
        .unwrap()
});

/// Whether a place lies in one of the parts.
pub(super) fn covers(parts: &[Range<usize>], at: usize) -> bool {
    let after = parts.partition_point(|part| part.start <= at);
    // Parts may nest; few do.
    parts.get(after.saturating_sub(4)..after).unwrap_or_default().iter().any(|part| part.contains(&at))
}
