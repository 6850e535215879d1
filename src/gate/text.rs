//! What a person sees: a rendering of a command that cannot deceive.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Characters that are shown of a text at most; a longer one is shown as head, tail and length.
const MOST_SHOWN: usize = 4000;
/// Of these, so many at the end.
const TAIL: usize = 1000;
/// Blanks in a row that are shown as they are.
const MOST_BLANKS: usize = 8;

/// Renders text so that it cannot deceive: what is invisible, turns the direction of writing or only looks like ASCII is
/// shown by its code point, long runs of blanks by their length, and what is too long by its head, its tail, how much is left
/// out between, and a digest of the whole. Newlines and tabs are shown as `\n` and `\t`.
///
/// | shown | stands for |
/// |---|---|
/// | `\n` `\t` `\r` | newline, tab, carriage return |
/// | `\u{202e}` | the character with this code point |
/// | `\<9 blanks>` | a run of blanks |
/// | `\<12 of 4012 characters left out, sha256 ...>` | what stands between head and tail |
/// | `\\` | a backslash that would else begin one of these |
///
/// No two texts that are shown whole are shown alike.
pub fn render(text: &str) -> String {
    // Most of what is shown is short and plain.
    let plain = |byte: u8| (byte.is_ascii_graphic() && byte != b'\\') || byte == b' ';
    let mut blanks = 0;
    let is_plain = |byte: u8| {
        blanks = if byte == b' ' { blanks + 1 } else { 0 };
        plain(byte) && blanks <= MOST_BLANKS
    };
    if text.len() <= MOST_SHOWN && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    render_pieces(text, &[]).concat()
}

/// As [`render`], cut at these byte offsets: the pieces, one more than offsets, are together what is shown of the whole, and
/// each that is too long is shown by its own head and tail. Offsets must ascend and lie between characters.
pub fn render_pieces(text: &str, cuts: &[usize]) -> Vec<String> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let context: Vec<char> = chars.iter().map(|(_, c)| *c).collect();
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    let mut start = 0;
    for end in cuts.iter().copied().chain([usize::MAX]) {
        let end = chars.partition_point(|(at, _)| *at < end).max(start);
        pieces.push(piece(text, &context, start, end));
        start = end;
    }
    pieces
}

/// One piece, by the numbers of its characters.
fn piece(text: &str, chars: &[char], start: usize, end: usize) -> String {
    let count = end - start;
    let mut shown = String::with_capacity(count.min(MOST_SHOWN) + 16);
    if count <= MOST_SHOWN {
        escape(chars, start, end, &mut shown);
        return shown;
    }
    escape(chars, start, start + MOST_SHOWN - TAIL, &mut shown);
    let left_out = count - MOST_SHOWN;
    let digest = Sha256::digest(text.as_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let _ = write!(shown, "\\<{left_out} of {count} characters left out, sha256 {digest}...>");
    escape(chars, end - TAIL, end, &mut shown);
    shown
}

fn escape(chars: &[char], start: usize, end: usize, shown: &mut String) {
    let mut blanks = 0usize;
    for index in start..end {
        let Some(&c) = chars.get(index) else { break };
        let next = chars.get(index + 1);
        if c == ' ' {
            blanks += 1;
            if next != Some(&' ') || index + 1 == end {
                if blanks > MOST_BLANKS {
                    let _ = write!(shown, "\\<{blanks} blanks>");
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
            // it would be read as the beginning of an escape, together with what is shown behind it
            '\\' if reads_as_escape(chars, index + 1) => shown.push_str("\\\\"),
            _ if c.is_control() || has_no_shape(c) || deceives(chars, index).is_some() => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            _ => shown.push(c),
        }
    }
}

/// Whether a backslash in front of this character would make an escape of what is shown for it.
fn reads_as_escape(chars: &[char], index: usize) -> bool {
    match chars.get(index) {
        Some('n' | 't' | 'r' | 'u' | '<' | '\\' | '\n' | '\t' | '\r') => true,
        Some(' ') => chars.iter().skip(index).take_while(|c| **c == ' ').count() > MOST_BLANKS,
        Some(c) => c.is_control() || has_no_shape(*c) || deceives(chars, index).is_some(),
        None => false,
    }
}

/// Characters that each font draws as it likes, or not at all: private use, and what is no character.
fn has_no_shape(c: char) -> bool {
    matches!(u32::from(c), 0xe000..=0xf8ff | 0xf0000..=0x0010_ffff | 0xfffc | 0xfdd0..=0xfdef)
        || u32::from(c) & 0xfffe == 0xfffe
}

/// What is deceptive about a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deception {
    /// Wherever it stands.
    Anywhere(&'static str),
    /// In the name of a program, an option or a path; people write it in messages and documents.
    InNames(&'static str),
}

/// What is deceptive about a text, if anything: the first kind of character that shows as something else than it is.
pub(super) fn deception(text: &str) -> Option<Deception> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) {
        return None;
    }
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    if text.chars().any(control) {
        return Some(Deception::Anywhere("control characters"));
    }
    // a terminal writes what follows over what stands before, but for the end of a line
    let bytes = text.as_bytes();
    if bytes.windows(2).any(|pair| pair.first() == Some(&b'\r') && pair.last() != Some(&b'\n')) {
        return Some(Deception::Anywhere("carriage returns"));
    }
    if text.is_ascii() {
        return None;
    }
    let chars: Vec<char> = text.chars().collect();
    let mut in_names = None;
    for index in 0..chars.len() {
        match deceives(&chars, index) {
            Some(what) if !is_written(&chars, index) => return Some(Deception::Anywhere(what)),
            Some(what) => in_names = in_names.or(Some(Deception::InNames(what))),
            None => {}
        }
    }
    in_names
}

/// Whether people write the character at this place in ordinary text: the blanks of French, dashes and minus signs, wide
/// letters, soft hyphens between letters, the marks of writing from right to left beside such letters.
fn is_written(chars: &[char], index: usize) -> bool {
    let around = || [before(chars, index), chars.get(index + 1)].into_iter().flatten();
    let right_to_left =
        |c: &char| matches!(u32::from(*c), 0x0590..=0x08ff | 0xfb1d..=0xfdff | 0xfe70..=0xfefc);
    match chars.get(index).map_or(0, |c| u32::from(*c)) {
        0x00ad => around().count() == 2 && around().all(|c| c.is_alphabetic()),
        0x061c | 0x200e | 0x200f => around().any(right_to_left),
        0x00a0
        | 0x2002..=0x200a
        | 0x202f
        | 0x205f
        | 0x3000
        | 0x2010..=0x2015
        | 0x2212
        | 0xff0d
        | 0xff10..=0xff19
        | 0xff21..=0xff3a
        | 0xff41..=0xff5a
        | 0x1d400..=0x1d7ff => true,
        _ => false,
    }
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
        0x200c | 0x200d if joins(chars, index) => return None,
        0xfe0f if is_text(before(chars, index)) || is_keycap(chars, index) => return None,
        0xe0061..=0xe007f if is_flag(chars, index) => return None,
        // In front of an option it stands for one dash or two.
        0x2013..=0x2015 if begins_option(chars, index) => "dashes that look like ASCII",
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
        0x2044 | 0x2215 | 0x29f8 | 0x2571 | 0x338 | 0xff3c | 0x29f5 | 0x2216 | 0xfe68 => {
            "slashes that look like ASCII"
        }
        0x037e | 0x05c3 | 0xa789 | 0x2223 | 0x01c0 | 0x2016 => "signs that look like ASCII",
        // Strokes that lie over the letter in front of them.
        0x0334..=0x0337 | 0x20d2 | 0x20d3 | 0x20d8..=0x20db | 0x20e5 | 0x20e6 | 0x20eb => {
            "strokes that lie over other letters"
        }
        _ if is_wide(c) && !beside_text(chars, index) => "signs that look like ASCII",
        _ if looks_latin(c) && in_mixed_word(chars, index) => "letters that look like ASCII",
        _ => return None,
    })
}

/// Whether a dash begins a word as the dashes of an option do.
fn begins_option(chars: &[char], index: usize) -> bool {
    let outside = |c: &char| c.is_whitespace() || matches!(c, '\'' | '"' | '=' | '(' | '`');
    before(chars, index).is_none_or(outside)
        && chars.get(index + 1).is_some_and(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
        })
}

/// Whether this makes a picture of the digit in front of it: `1` in a box.
fn is_keycap(chars: &[char], index: usize) -> bool {
    before(chars, index).is_some_and(|c| matches!(c, '0'..='9' | '#' | '*'))
        && chars.get(index + 1) == Some(&'\u{20e3}')
}

/// Whether tags are those of the flags of England, Scotland or Wales, which are the only ones that fonts draw.
fn is_flag(chars: &[char], index: usize) -> bool {
    /// Tags of one flag, with the one that ends them.
    const TAGS: usize = 6;
    let start = (0..TAGS)
        .filter_map(|back| index.checked_sub(back + 1))
        .find(|at| chars.get(*at) == Some(&'\u{1f3f4}'));
    let tags = start.and_then(|at| chars.get(at + 1..at + 1 + TAGS)).unwrap_or_default();
    let read: String =
        tags.iter().filter_map(|c| char::from_u32(u32::from(*c).checked_sub(0xe0000)?)).collect();
    matches!(read.as_str(), "gbeng\u{7f}" | "gbsct\u{7f}" | "gbwls\u{7f}")
}

/// Signs of other scripts that are wide as these are, and look like ASCII beside it.
fn is_wide(c: char) -> bool {
    matches!(
        u32::from(c),
        0x3000 | 0xff02 | 0xff04 | 0xff06 | 0xff07 | 0xff0a | 0xff1c | 0xff1e | 0xff40 | 0xff5c
    )
}

/// Whether this is text of another script, or a picture, which is shown as it is whatever stands around it.
fn is_text(c: Option<&char>) -> bool {
    let plain = |c: char| !c.is_ascii() && !c.is_control() && !has_no_shape(c) && !looks_latin(c);
    c.is_some_and(|&c| plain(c) && deceives(&[c], 0).is_none())
}

/// The character before this place.
fn before(chars: &[char], index: usize) -> Option<&char> {
    chars.get(index.checked_sub(1)?)
}

/// Whether a joiner stands between two letters or pictures. What it is beside must not be shown as an escape: beside that
/// it would only hide.
fn joins(chars: &[char], index: usize) -> bool {
    let joined = match before(chars, index) {
        Some('\u{fe0f}') => before(chars, index - 1),
        joined => joined,
    };
    is_text(joined) && (index + 1 == chars.len() || is_text(chars.get(index + 1)))
}

/// Whether wide signs stand in text: all of a run of them, or none.
fn beside_text(chars: &[char], index: usize) -> bool {
    /// Longest run.
    const MOST: usize = 16;
    let wide = |c: &&char| is_wide(**c);
    let same_before = chars.get(..index).unwrap_or(&[]).iter().rev().take_while(wide).take(MOST).count();
    let same_after = chars.get(index + 1..).unwrap_or(&[]).iter().take_while(wide).take(MOST).count();
    let behind = index + same_after + 1;
    same_before + same_after < MOST
        && is_text(before(chars, index - same_before))
        && (behind == chars.len() || is_text(chars.get(behind)))
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
    fn what_people_write_deceives_in_names_alone() {
        let rendered = |text: &str| render(text) != text;
        for text in [
            "Corrige\u{a0}: \u{e9}t\u{e9}",
            "5 \u{2212} 3",
            "\u{ff21}\u{ff30}\u{ff29}\u{3092}\u{4fee}\u{6b63}",
            "\u{5e2}\u{5d1}\u{200e} v1",
            "foo\u{ad}bar",
            "rm \u{2013}rf x",
        ] {
            assert!(matches!(deception(text), Some(Deception::InNames(_))) && rendered(text), "{text:?}");
        }
        for text in [
            "a\u{200e}b",
            "\u{202e}x",
            "ls src\recho",
            "x\u{e0067}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0068}\u{e007f}",
            "a\u{a0}b\u{200b}",
        ] {
            assert!(matches!(deception(text), Some(Deception::Anywhere(_))) && rendered(text), "{text:?}");
        }
        for text in [
            "1\u{fe0f}\u{20e3}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "pages 3\u{2013}5",
            "a \u{2013} b",
        ] {
            assert!(deception(text).is_none() && !rendered(text), "{text:?}");
        }
        assert_eq!(deception("a\r\nb\r\n"), None);
    }

    #[test]
    fn long_texts_keep_head_tail_and_length() {
        let text = format!("head{}tail", "x".repeat(10_000));
        let shown = render(&text);
        assert!(shown.starts_with("headx") && shown.ends_with("xtail"), "{shown}");
        assert!(shown.contains("\\<6008 of 10008 characters left out, sha256 "), "{shown}");
        let other = render(&format!("head{}y{}tail", "x".repeat(5000), "x".repeat(4999)));
        assert_ne!(shown, other, "what differs in the middle only is shown alike");
        assert!(render(&format!("ls{}rm", " ".repeat(500))).contains("\\<500 blanks>"));
    }

    #[test]
    fn what_looks_like_an_escape_is_escaped() {
        for (text, shown) in [
            (r"grep '\n' x", r"grep '\\n' x"),
            ("a\n", r"a\n"),
            (r"\<9 blanks>", r"\\<9 blanks>"),
            (r"\u{202e}", r"\\u{202e}"),
            (r"sed s/\./x/", r"sed s/\./x/"),
            (r"a\\b", r"a\\\b"),
            ("\\\n", r"\\\n"),
        ] {
            assert_eq!(render(text), shown, "{text:?}");
        }
    }

    /// Reads a rendering back.
    fn unrender(shown: &str) -> String {
        let mut text = String::new();
        let mut rest = shown;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            text.push_str(before);
            let behind = &escape[1..];
            rest = match behind.chars().next() {
                Some('n') => {
                    text.push('\n');
                    &behind[1..]
                }
                Some('t') => {
                    text.push('\t');
                    &behind[1..]
                }
                Some('r') => {
                    text.push('\r');
                    &behind[1..]
                }
                Some('\\') => {
                    text.push('\\');
                    &behind[1..]
                }
                Some('u') => {
                    let (code, rest) = behind[2..].split_once('}').unwrap();
                    text.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
                    rest
                }
                Some('<') => {
                    let (blanks, rest) = behind[1..].split_once(" blanks>").unwrap();
                    text.push_str(&" ".repeat(blanks.parse().unwrap()));
                    rest
                }
                _ => {
                    text.push('\\');
                    behind
                }
            };
        }
        text.push_str(rest);
        text
    }

    proptest::proptest! {
        #[test]
        fn a_rendering_can_be_read_back(
            parts in proptest::collection::vec(proptest::prop_oneof![
                "[\\\\ntru<>{} 0-9a-f]{0,6}", " {7,11}", "\\PC{0,4}", "[\u{200b}-\u{2069}\u{e000}\u{430}\n\t\u{7}]{0,3}",
                "[\u{200b}-\u{200d}\u{fe0f}\u{2764}\u{3042}\u{430}\u{3000}\u{ff02}ab]{0,6}",
                proptest::strategy::Just(r"\<9 blanks>".to_owned()), proptest::strategy::Just(r"\n".to_owned()),
            ], 0..12),
            at in 0usize..64,
        ) {
            let text = parts.concat();
            proptest::prop_assert_eq!(unrender(&render(&text)), text.as_str());
            let shown = render(&text);
            let visible = |c: char| !c.is_control() && deceives(&[c], 0).is_none() && !has_no_shape(c);
            proptest::prop_assert!(shown.chars().all(|c| visible(c) || beside_letters(&shown, c)), "{:?}", shown);
            // cut anywhere it is still the whole
            let cut = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            let pieces = render_pieces(&text, &[cut]);
            proptest::prop_assert_eq!(pieces.len(), 2);
            proptest::prop_assert_eq!(unrender(&pieces.concat()), text);
        }
    }

    /// Joiners and wide signs are text beside letters of their script.
    fn beside_letters(shown: &str, c: char) -> bool {
        let chars: Vec<char> = shown.chars().collect();
        chars.iter().enumerate().all(|(index, other)| *other != c || deceives(&chars, index).is_none())
    }
}
