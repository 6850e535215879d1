//! What a record says, with secrets masked and no longer than it may be.

use serde_json::Value;

use crate::audit::chain::Hash;
use crate::redact::Redactor;

/// Longest text in a record, in bytes.
pub(super) const MAX_TEXT: usize = 16 << 10;

/// Most members of a list.
pub(super) const MAX_LIST: usize = 512;

/// Longest record, about: what is not text or a member of a list is not cut.
pub(super) const MAX_RECORD: usize = 256 << 10;

/// Variables that every command has, whose names look like those of passwords. What they hold is masked by itself: with the names, the
/// first record of each process would have the automata made that tell the two apart, which takes longer than all the rest of it.
const DIRECTORIES: [&str; 2] = ["PWD", "OLDPWD"];

/// Masks every text, and counts the places. A member is redacted together with its name (`"password": ...`,
/// `API_TOKEN=...`): the name is half of the knowledge.
pub(super) fn redact(value: &mut Value, redactor: &Redactor, masked: &mut u64) {
    match value {
        Value::String(text) => {
            if let Some((redacted, count)) = redactor.masked(text) {
                *masked += count;
                *text = redacted;
            }
        }
        Value::Array(items) => redact_list(items, redactor, masked),
        Value::Object(fields) => {
            let mut names = Vec::new();
            let mut assignment = String::new();
            for (name, value) in fields.iter_mut() {
                if redactor.masked(name).is_some() {
                    names.push(name.clone());
                }
                let directory = DIRECTORIES.contains(&name.as_str());
                let text = match value {
                    Value::String(text) if !(directory && text.starts_with('/')) => text,
                    other => {
                        redact(other, redactor, masked);
                        continue;
                    }
                };
                assignment.clear();
                assignment.extend([name.as_str(), "=", text.as_str()]);
                if let Some((redacted, count)) = redactor.masked(&assignment) {
                    *masked += count;
                    let rest = redacted.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('='));
                    *text = rest.map(str::to_owned).unwrap_or(redacted);
                }
            }
            for name in names {
                if let Some(value) = fields.remove(&name) {
                    fields.insert(redactor.text(&name).0, value);
                }
            }
        }
        _ => {}
    }
}

/// Masks the words of an argv as a record does.
pub fn mask_words(words: &mut [String], redactor: &Redactor) {
    let mut items: Vec<Value> = words.iter().map(|word| Value::String(word.clone())).collect();
    redact_list(&mut items, redactor, &mut 0);
    for (word, item) in words.iter_mut().zip(items) {
        if let Value::String(masked) = item {
            *word = masked;
        }
    }
}

/// A list of words is an argv: a secret may stand in the word after its name (`--password`, `hunter2`).
fn redact_list(items: &mut [Value], redactor: &Redactor, masked: &mut u64) {
    let (mut before, mut joined) = (String::new(), String::new());
    for item in items {
        let Value::String(word) = item else {
            redact(item, redactor, masked);
            continue;
        };
        joined.clear();
        joined.extend([before.as_str(), " ", word.as_str()]);
        let alone = redactor.masked(word);
        let count = alone.as_ref().map_or(0, |(_, count)| *count);
        let rest = |(text, more): (String, u64)| {
            let rest = text.strip_prefix(before.as_str())?.strip_prefix(' ')?;
            (more > count).then(|| (rest.to_owned(), more))
        };
        let masked_here = redactor.masked(&joined).and_then(rest).or(alone);
        before.clone_from(word);
        if let Some((text, count)) = masked_here {
            *masked += count;
            *word = text;
        }
    }
}

/// Cuts texts and lists until the whole is short enough; says whether anything was cut.
pub(super) fn bound(whole: Value) -> (Value, bool) {
    if room(&whole, MAX_RECORD).is_some() {
        return (whole, false);
    }
    let mut longest = MAX_TEXT;
    loop {
        let mut cut = whole.clone();
        shorten(&mut cut, longest);
        if longest <= 16 || cut.to_string().len() <= MAX_RECORD {
            let changed = cut != whole;
            return (cut, changed);
        }
        longest /= 4;
    }
}

/// What is left of `room` bytes behind a value that is written in full, at the most that it can take; `None` where it may
/// not fit, or something in it is too long.
fn room(value: &Value, room: usize) -> Option<usize> {
    /// Of a byte of text, written as `\u0000`.
    const LONGEST: usize = 6;
    /// Of a number, and of what stands around a text.
    const OTHER: usize = 32;
    let text = |text: &str, room: usize| {
        let fits = text.len() <= MAX_TEXT;
        fits.then(|| room.checked_sub(text.len() * LONGEST + OTHER)).flatten()
    };
    match value {
        Value::String(string) => text(string, room),
        Value::Array(items) if items.len() > MAX_LIST => None,
        Value::Array(items) => {
            items.iter().try_fold(room.checked_sub(OTHER)?, |room, item| self::room(item, room))
        }
        Value::Object(fields) if fields.len() > MAX_LIST => None,
        Value::Object(fields) => fields
            .iter()
            .try_fold(room.checked_sub(OTHER)?, |room, (name, value)| self::room(value, text(name, room)?)),
        _ => room.checked_sub(OTHER),
    }
}

/// Cuts what is too long, and says so in its place.
fn shorten(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest.max(160) => {
            let (length, hash) = (text.len(), Hash::of(text.as_bytes()));
            let mut end = longest.saturating_sub(120).min(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(&format!("\u{2026} [{length} bytes, sha256 {hash}]"));
        }
        Value::Array(items) => {
            let count = items.len();
            items.truncate(MAX_LIST.min(longest));
            items.iter_mut().for_each(|item| shorten(item, longest));
            if count > items.len() {
                items.push(Value::String(format!("\u{2026} [{count} in all]")));
            }
        }
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().skip(MAX_LIST.min(longest)).cloned().collect();
            for name in &names {
                fields.remove(name);
            }
            if !names.is_empty() {
                fields.insert("\u{2026}".to_owned(), format!("[{} more]", names.len()).into());
            }
            fields.values_mut().for_each(|value| shorten(value, longest));
        }
        _ => {}
    }
}
