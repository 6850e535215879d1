//! awk that only computes and prints, and whose pipes and redirections are literal: these are judged by themselves.

use super::super::lexed::{Lexed, lexed};
use super::words;
use crate::programs::Language;

/// Filters to which a text may print, and what it may ask for.
const FILTERS: &[&str] = &[
    "sort", "uniq", "date", "wc", "head", "tail", "cat", "column", "tr", "cut", "nl", "rev", "tac",
    "hostname",
];

pub(super) fn is_inert(text: &str) -> bool {
    let Some(Lexed { plain, code }) = lexed(Language::Awk, text.as_bytes()) else { return false };
    let (Ok(plain), Ok(code)) = (String::from_utf8(plain), String::from_utf8(code)) else { return false };
    let forbidden = |word: &str| word.ends_with("system") || word == "ENVIRON";
    !code.contains('@') && !words(&code).any(forbidden) && Reader { plain: &plain, code: &code }.is_plain()
}

struct Reader<'t> {
    plain: &'t str,
    /// The text with nothing in its literals.
    code: &'t str,
}

impl Reader<'_> {
    fn is_plain(&self) -> bool {
        let bytes = self.code.as_bytes();
        let mut at = 0;
        let mut depth = 0_usize;
        // how deep the statement's print stands
        let mut prints = None;
        let mut gets = false;
        let mut last_literal: Option<&str> = None;
        while let Some(&byte) = bytes.get(at) {
            let before = last_literal.take();
            match byte {
                b'{' | b'}' | b';' | b'\n' => {
                    prints = None;
                    gets = false;
                }
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b'"' => {
                    let Some((literal, end)) = self.literal(at) else { return false };
                    last_literal = Some(literal).filter(|_| self.starts(at));
                    at = end;
                    continue;
                }
                b'|' if bytes.get(at + 1) == Some(&b'|') => at += 1,
                b'|' => {
                    let rest = self.code.get(at + 1..).unwrap_or_default();
                    let blank = rest.len() - rest.trim_start().len();
                    let given = if rest.trim_start().starts_with("getline") {
                        before
                    } else {
                        self.literal(at + 1 + blank)
                            .filter(|(_, end)| self.ends(*end))
                            .map(|(literal, _)| literal)
                    };
                    if !given.is_some_and(is_filter) {
                        return false;
                    }
                }
                b'>' if prints == Some(depth) => {
                    let behind = at + 1 + usize::from(bytes.get(at + 1) == Some(&b'>'));
                    if !self.names_file(behind) {
                        return false;
                    }
                    at = behind;
                    continue;
                }
                b'<' if gets && !self.names_file(at + 1) => return false,
                b' ' | b'\t' => last_literal = before,
                _ if byte.is_ascii_alphabetic() => {
                    let rest = self.code.get(at..).unwrap_or_default();
                    let word = words(rest).next().unwrap_or_default();
                    match word {
                        "print" | "printf" => prints = Some(depth),
                        "getline" => gets = true,
                        _ => {}
                    }
                    at += word.len().max(1);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        true
    }

    /// The literal that opens here, and the place behind it.
    fn literal(&self, at: usize) -> Option<(&str, usize)> {
        let inner = self.code.get(at..)?.strip_prefix('"')?;
        let end = at + 1 + inner.find('"')?;
        Some((self.plain.get(at + 1..end)?, end + 1))
    }

    /// Whether an expression begins here.
    fn starts(&self, at: usize) -> bool {
        let before = self.code.get(..at).unwrap_or_default().trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['{', '}', ';', '(', '\n', '!', '&'])
    }

    /// Whether an expression ends here.
    fn ends(&self, at: usize) -> bool {
        let rest = self.code.get(at..).unwrap_or_default().trim_start_matches([' ', '\t']);
        rest.is_empty() || rest.starts_with(['}', ';', '\n', ')'])
    }

    /// Whether the file that is read or written is one literal.
    fn names_file(&self, at: usize) -> bool {
        let rest = self.code.get(at..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.literal(at + blank)
            .is_some_and(|(name, end)| !name.is_empty() && !name.contains('\\') && self.ends(end))
    }
}

/// Whether a command is a filter, with plain words.
fn is_filter(command: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || " _.,:+-=%".contains(letter);
    let name = command.split_whitespace().next().unwrap_or_default();
    FILTERS.contains(&name) && command.chars().all(plain)
}
