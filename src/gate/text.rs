//! What a person sees: a rendering of a command that cannot deceive.

use std::fmt::Write as _;

/// Characters that are shown of a text at most; a longer one is shown as head, tail and length.
const MOST_SHOWN: usize = 4000;
/// Of these, so many at the end.
const TAIL: usize = 1000;
/// One blank more than are shown.
const LONG_RUN: &str = "         ";
/// Blanks in a row that are shown as they are.
const MOST_BLANKS: usize = 8;

/// Renders text so that it cannot deceive: what is invisible, turns the direction of writing or only looks like ASCII is
/// shown by its code point, long runs of blanks by their length, and what is too long by its head, its tail and how much
/// is left out between. Newlines and tabs are shown as `\n` and `\t`.
pub fn render(text: &str) -> String {
    // Most of what is shown is short and plain.
    if text.len() <= MOST_SHOWN
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !text.contains(LONG_RUN)
    {
        return text.to_owned();
    }
    let count = text.chars().count();
    if count <= MOST_SHOWN {
        return escape(text);
    }
    let head: String = text.chars().take(MOST_SHOWN - TAIL).collect();
    let tail: String = text.chars().skip(count - TAIL).collect();
    let left_out = count - MOST_SHOWN;
    format!("{} <<{left_out} of {count} characters left out>> {}", escape(&head), escape(&tail))
}

fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut blanks = 0usize;
    let chars: Vec<char> = text.chars().collect();
    for (index, c) in chars.iter().copied().enumerate() {
        if c == ' ' {
            blanks += 1;
            if chars.get(index + 1) != Some(&' ') {
                if blanks > MOST_BLANKS {
                    let _ = write!(shown, "<<{blanks} blanks>>");
                } else {
                    shown.extend(std::iter::repeat_n(' ', blanks));
                }
                blanks = 0;
            }
            continue;
        }
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            _ if c.is_control() || deceives(&chars, index).is_some() => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            _ => shown.push(c),
        }
    }
    shown
}

/// What is deceptive about a text, if anything: the first kind of character that shows as something else than it is.
pub(super) fn deception(text: &str) -> Option<&'static str> {
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    if text.chars().any(control) {
        return Some("control characters");
    }
    if text.is_ascii() {
        return None;
    }
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).find_map(|index| deceives(&chars, index))
}

/// Whether the character at this place shows as nothing, as something else, or turns what follows around.
/// Sources: Unicode 16, UAX #9 (bidi), UTS #39 (confusables), CVE-2021-42574.
fn deceives(chars: &[char], index: usize) -> Option<&'static str> {
    let c = *chars.get(index)?;
    if c.is_ascii() {
        return None;
    }
    Some(match u32::from(c) {
        // Joiners belong to many scripts and to emoji; beside ASCII they only hide.
        0x200c | 0x200d | 0xfe0f if beside_text(chars, index) => return None,
        0x061c | 0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069 => {
            "characters that turn the direction of writing"
        }
        0x00ad
        | 0x034f
        | 0x115f
        | 0x1160
        | 0x17b4
        | 0x17b5
        | 0x180b..=0x180e
        | 0x200b..=0x200d
        | 0x2060..=0x2065
        | 0x206a..=0x206f
        | 0x3164
        | 0xfe00..=0xfe0f
        | 0xfeff
        | 0xffa0
        | 0xfff0..=0xfffb
        | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a => "invisible characters",
        0xe0000..=0xe0fff => "invisible tag characters",
        0x00a0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x2800 => {
            "blanks that are none to a shell"
        }
        0x3000 if !beside_text(chars, index) => "blanks that are none to a shell",
        0xff0d | 0xff0f | 0xff10..=0xff19 | 0xff21..=0xff3a | 0xff41..=0xff5a | 0x1d400..=0x1d7ff => {
            "letters that look like ASCII"
        }
        0x2010..=0x2012 | 0x2212 | 0xfe58 | 0xfe63 => "dashes that look like ASCII",
        0x2044 | 0x2215 | 0x29f8 | 0x2571 => "slashes that look like ASCII",
        0x037e | 0x05c3 | 0xa789 | 0x2223 | 0x01c0 | 0x2016 => "signs that look like ASCII",
        _ if looks_latin(c) && in_mixed_word(chars, index) => "letters that look like ASCII",
        _ => return None,
    })
}

/// Whether both neighbours are text of another script, or pictures.
fn beside_text(chars: &[char], index: usize) -> bool {
    let other = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| !c.is_ascii());
    other(index.checked_sub(1))
        && (other(index.checked_add(1)) || index + 1 == chars.len() || chars.get(index) == Some(&'\u{fe0f}'))
}

/// Whether the word around a look-alike letter holds ASCII letters too: a word in another script is text, a mixed one
/// is made to deceive.
fn in_mixed_word(chars: &[char], index: usize) -> bool {
    let letters = |c: &&char| c.is_alphanumeric();
    let before = chars.get(..index).unwrap_or(&[]).iter().rev().take_while(letters);
    let after = chars.get(index + 1..).unwrap_or(&[]).iter().take_while(letters);
    before.take(64).chain(after.take(64)).any(char::is_ascii_alphabetic)
}

/// Cyrillic, Greek, Armenian and Cherokee letters that cannot be told from Latin ones.
fn looks_latin(c: char) -> bool {
    "\u{0430}\u{0435}\u{043e}\u{0440}\u{0441}\u{0443}\u{0445}\u{0456}\u{0458}\u{0455}\u{0501}\u{051b}\u{051d}\u{04bb}\u{0433}\u{043c}\u{0442}\u{043a}\u{0432}\u{043d}\u{0410}\u{0412}\u{0415}\u{041a}\u{041c}\u{041d}\u{041e}\u{0420}\u{0421}\u{0422}\u{0425}\u{0405}\u{0406}\u{0408}\u{03bf}\u{03b1}\u{03b9}\u{03bd}\u{03c1}\u{03ba}\u{03c5}\u{0391}\u{0392}\u{0395}\u{0396}\u{0397}\u{0399}\u{039a}\u{039c}\u{039d}\u{039f}\u{03a1}\u{03a4}\u{03a5}\u{03a7}\u{0578}\u{057d}\u{0585}\u{0561}\u{13a1}\u{13a2}\u{13aa}\u{13bb}\u{13bd}\u{13c0}\u{13da}\u{13df}\u{13e2}\u{0131}\u{0261}\u{017f}\u{1d0f}"
        .contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_shown() {
        for (text, shown) in [
            ("ls -la", "ls -la"),
            ("r\u{200b}m", "r\\u{200b}m"),
            ("echo \u{202e}/ fr- mr", "echo \\u{202e}/ fr- mr"),
            ("\u{433}m -rf /", "\\u{433}m -rf /"),
            ("rm -rf \u{2215}", "rm -rf \\u{2215}"),
            ("a\nb\tc\u{1b}[2J", "a\\nb\\tc\\u{1b}[2J"),
            ("x\u{e0041}", "x\\u{e0041}"),
        ] {
            assert_eq!(render(text), shown);
            assert_eq!(
                deception(text).is_some(),
                text != shown && !text.contains("a\n") || text.contains('\u{1b}'),
                "{shown}"
            );
        }
    }

    #[test]
    fn other_scripts_are_text() {
        for text in [
            "git commit -m '\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}'",
            "echo \u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}",
            "echo caf\u{e9} \u{2014} na\u{ef}ve",
            "echo \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{2764}\u{fe0f}",
        ] {
            assert_eq!(deception(text), None, "{text}");
        }
    }

    #[test]
    fn long_texts_keep_head_tail_and_length() {
        let text = format!("head{}tail", "x".repeat(10_000));
        let shown = render(&text);
        assert!(shown.starts_with("headx") && shown.ends_with("xtail"), "{shown}");
        assert!(shown.contains("<<6008 of 10008 characters left out>>"), "{}", shown.len());
        assert!(render(&format!("ls{}rm", " ".repeat(500))).contains("<<500 blanks>>"));
    }
}
