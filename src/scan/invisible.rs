//! Characters that a person does not see, and a model reads.

use super::engine::Hit;
use super::{Severity, engine};

/// Whether a character shows nothing: format characters, fillers, variation selectors, tags.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
        | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff9..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

fn is_tag(c: char) -> bool {
    matches!(u32::from(c), 0xe0000..=0xe007f)
}

fn is_selector(c: char) -> bool {
    matches!(u32::from(c), 0xfe00..=0xfe0f | 0xe0100..=0xe01ef)
}

/// Zero-width characters that join or part nothing visible between Latin letters.
fn is_zero_width(c: char) -> bool {
    matches!(u32::from(c), 0x200b..=0x200d | 0x2060..=0x2064 | 0xfeff | 0x180e | 0x115f | 0x1160 | 0x3164 | 0xffa0)
}

/// Finds runs of invisible characters.
pub(super) fn find(text: &[u8], hits: &mut Vec<Hit>) {
    // All of them lie in few blocks: the lead bytes of those are looked for, and nothing else.
    let mut start = 0;
    let mut before = '\n';
    while let Some(found) = engine::next_of(text, start) {
        let Some((first, length)) = engine::char_at(text, found) else {
            start = found + 1;
            continue;
        };
        if !is_invisible(first) {
            start = found + length;
            before = first;
            continue;
        }
        if found > start {
            before = engine::char_before(text, found).unwrap_or('\n');
        }
        let mut end = found;
        let mut run: Vec<char> = Vec::new();
        while let Some((c, length)) = engine::char_at(text, end) {
            if !is_invisible(c) {
                break;
            }
            if run.len() < 4096 {
                run.push(c);
            }
            end += length;
        }
        let after = engine::char_at(text, end).map_or('\n', |(c, _)| c);
        if let Some((rule, severity, reason)) = judge(&run, found, before, after) {
            hits.push(Hit {
                rule: rule.to_owned(),
                severity,
                reason: reason.to_owned(),
                at: found,
                length: end - found,
                text: shown(&run),
            });
        }
        start = end;
        before = after;
    }
}

type Judged = Option<(&'static str, Severity, &'static str)>;

fn judge(run: &[char], at: usize, before: char, after: char) -> Judged {
    let tags = run.iter().filter(|c| is_tag(**c)).count();
    // A flag of a part of a country: a black flag, its letters, a cancel tag.
    let flag = before == '\u{1f3f4}' && tags <= 7 && run.last() == Some(&'\u{e007f}');
    if tags > 0 && !flag {
        return Some(("invisible.tags", Severity::High, "tag characters spell out text that nobody sees"));
    }
    if run.iter().filter(|c| is_selector(**c)).count() >= 4 {
        return Some((
            "invisible.selectors",
            Severity::High,
            "a run of variation selectors carries hidden bytes",
        ));
    }
    if run.iter().any(|c| matches!(*c, '\u{202d}' | '\u{202e}')) {
        return Some((
            "invisible.override",
            Severity::High,
            "the direction of the text is overridden: it does not read as it looks",
        ));
    }
    let zero_width = run.iter().filter(|c| is_zero_width(**c)).count();
    if zero_width >= 8 {
        return Some(("invisible.run", Severity::High, "a run of zero-width characters carries hidden bits"));
    }
    if run.iter().any(|c| matches!(u32::from(*c), 0x202a..=0x202c | 0x2066..=0x2069)) {
        return Some((
            "invisible.direction",
            Severity::Low,
            "the direction of the text is changed by invisible characters",
        ));
    }
    let latin = before.is_ascii_alphabetic() && after.is_ascii_alphabetic();
    if latin && at > 0 && zero_width > 0 {
        return Some(("invisible.in-word", Severity::Medium, "invisible characters stand inside a word"));
    }
    None
}

/// What tags spell, where they spell something; the code points otherwise.
fn shown(run: &[char]) -> String {
    let spelt: String = run
        .iter()
        .filter_map(|c| u32::from(*c).checked_sub(0xe0000).and_then(char::from_u32))
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .collect();
    if spelt.len() >= 2 {
        return spelt;
    }
    run.iter().take(16).collect()
}
