//! Parts of a text that a person who looks at the rendered page does not see: comments and hidden elements.

use core::ops::Range;
use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

/// Longest part: an unclosed comment does not hide the rest of a book from its quoting.
const LONGEST: usize = 64 << 10;

/// Longest tag that is looked at.
const LONGEST_TAG: usize = 1024;

#[allow(clippy::unwrap_used, reason = "a test looks at it")]
static STYLE: LazyLock<Regex> = LazyLock::new(|| {
    RegexBuilder::new(
        r#"(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*[01](?:[^.0-9]|$)|opacity\s*:\s*0(?:[^.]|$)|color\s*[:=]\s*["']?(?:white\b|\#fff(?:fff)?\b|transparent|rgba?\(\s*255\s*,\s*255\s*,\s*255)|(?:left|right|top|text-indent)\s*:\s*-\d{3}|clip(?:-path)?\s*:\s*(?:rect\(\s*0|inset\(\s*(?:50|100)%)|[\s"']hidden(?:[\s>=]|$)|aria-hidden)"#,
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
    let mut done = 0;
    for start in memmem::find_iter(text, b"[//]: #") {
        if start >= done {
            let rest = text.get(start..(start + LONGEST).min(text.len())).unwrap_or_default();
            done = start + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            parts.push(start..done);
        }
    }
    let mut close = 0;
    for start in memchr::memchr_iter(b'<', text) {
        let Some(open) = tag(text, start) else { continue };
        if !text.get(start..open).is_some_and(|tag| STYLE.is_match(tag)) {
            continue;
        }
        if close < open {
            let rest = text.get(open..).unwrap_or_default();
            close = open + memmem::find(rest, b"</").unwrap_or(rest.len());
        }
        parts.push(start..close.min(open + LONGEST));
    }
    parts.sort_by_key(|part| part.start);
    parts
}

/// Where a tag with attributes that begins at a place ends.
fn tag(text: &[u8], start: usize) -> Option<usize> {
    let rest = text.get(start + 1..(start + LONGEST_TAG).min(text.len()))?;
    if !rest.first()?.is_ascii_alphabetic() {
        return None;
    }
    let length = memchr::memchr2(b'<', b'>', rest).unwrap_or(rest.len());
    let inner = rest.get(..length)?;
    memchr::memchr3(b' ', b'\n', b'\t', inner)?;
    Some(start + 1 + length)
}

/// Whether a place lies in one of the parts.
pub(super) fn covers(parts: &[Range<usize>], at: usize) -> bool {
    let after = parts.partition_point(|part| part.start <= at);
    // Parts may nest; few do.
    parts.get(after.saturating_sub(4)..after).unwrap_or_default().iter().any(|part| part.contains(&at))
}
