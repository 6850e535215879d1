//! What `echo` and `printf` print. A NUL is a byte like others: it separates items on their way to `xargs -0`.

use super::constants::MOST;
use super::escapes::{Style, is_common, unescaped};

/// The output of `echo`; `None` where it is not known. `sure` says that it is bash's own.
pub(super) fn echo(args: &[&[u8]], sure: bool) -> Option<Vec<u8>> {
    let mut newline = true;
    let mut escapes = false;
    let mut rest = args;
    while let Some((first, tail)) = rest.split_first() {
        let option = first.len() > 1
            && first.starts_with(b"-")
            && first.iter().skip(1).all(|letter| matches!(letter, b'n' | b'e' | b'E'));
        if !option {
            break;
        }
        if !sure && *first != b"-n" {
            return None;
        }
        for letter in first.iter().skip(1) {
            match letter {
                b'n' => newline = false,
                b'e' => escapes = true,
                _ => escapes = false,
            }
        }
        rest = tail;
    }
    let mut out = rest.join(b" ".as_slice());
    // dash reads escapes without being told to
    if !sure && out.contains(&b'\\') {
        return None;
    }
    if escapes {
        let (plain, ended) = unescaped(&out, Style::Echo);
        out = plain;
        newline &= !ended;
    }
    if newline {
        out.push(b'\n');
    }
    Some(out)
}

/// The output of `printf`; `None` where it is not known. `sure` says that it is bash's own.
pub(super) fn printf(args: &[&[u8]], sure: bool) -> Option<Vec<u8>> {
    let (format, mut args) = match args.split_first()? {
        (first, args) if *first == b"--" => args.split_first()?,
        (first, _) if first.starts_with(b"-") => return None,
        found => found,
    };
    if !sure && !is_common(format) {
        return None;
    }
    let mut out = Vec::new();
    loop {
        let before = args.len();
        let mut rest = *format;
        while !rest.is_empty() {
            let text = rest.iter().position(|byte| *byte == b'%').unwrap_or(rest.len());
            let (chunk, behind) = rest.split_at(text);
            out.extend(unescaped(chunk, Style::Format).0);
            if behind.is_empty() {
                break;
            }
            let (conversion, behind) = Conversion::read(behind.get(1..)?, &mut args)?;
            rest = behind;
            if conversion.letter == b'%' {
                out.push(b'%');
                continue;
            }
            let arg = args.split_first().map(|(arg, left)| {
                args = left;
                *arg
            });
            if conversion.print(arg, &mut out, sure)? {
                return Some(out);
            }
            if out.len() > MOST {
                return None;
            }
        }
        if args.is_empty() || args.len() == before {
            return Some(out);
        }
    }
}

/// What stands behind a `%`.
struct Conversion {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    letter: u8,
}

impl Conversion {
    /// Reads one, and what stands behind it.
    fn read<'a>(text: &'a [u8], args: &mut &[&[u8]]) -> Option<(Self, &'a [u8])> {
        let flags = text.iter().take_while(|byte| matches!(byte, b'-' | b'0')).count();
        let (flags, mut rest) = text.split_at(flags);
        let width = count(&mut rest, args)?;
        let precision = match rest.strip_prefix(b".") {
            Some(behind) => {
                rest = behind;
                Some(count(&mut rest, args)?)
            }
            None => None,
        };
        let (letter, rest) = rest.split_first()?;
        let (left, zeros) = (flags.contains(&b'-'), flags.contains(&b'0'));
        Some((Self { left, zeros, width, precision, letter: *letter }, rest))
    }

    /// Adds an argument; true where it ends all output.
    fn print(&self, arg: Option<&[u8]>, out: &mut Vec<u8>, sure: bool) -> Option<bool> {
        let text = arg.unwrap_or(b"");
        let (bytes, ended) = match self.letter {
            b's' => (text.to_vec(), false),
            b'b' if sure || is_common(text) => unescaped(text, Style::Argument),
            // nothing is a NUL
            b'c' => (vec![text.first().copied().unwrap_or(0)], false),
            b'q' => (quoted(text)?, false),
            b'd' | b'i' | b'x' | b'o' | b'X' | b'u' => (self.number(text)?.into_bytes(), false),
            _ => return None,
        };
        let numeric = !matches!(self.letter, b's' | b'b' | b'c' | b'q');
        if self.width == 0 && self.precision.is_none() {
            out.extend(bytes);
            return Some(ended);
        }
        // both count characters in some places and bytes in others
        if !bytes.is_ascii() || numeric && self.precision.is_some() || self.letter == b'q' {
            return None;
        }
        let kept = bytes.get(..self.precision.unwrap_or(bytes.len()).min(bytes.len()))?;
        let fill = self.width.saturating_sub(kept.len());
        if self.left {
            out.extend_from_slice(kept);
            out.extend(std::iter::repeat_n(b' ', fill));
        } else if self.zeros && numeric {
            let digits = kept.strip_prefix(b"-").unwrap_or(kept);
            out.extend_from_slice(kept.get(..kept.len() - digits.len())?);
            out.extend(std::iter::repeat_n(b'0', fill));
            out.extend_from_slice(digits);
        } else {
            out.extend(std::iter::repeat_n(b' ', fill));
            out.extend_from_slice(kept);
        }
        Some(ended)
    }

    fn number(&self, text: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(text).ok()?;
        let value = match text.strip_prefix(['\'', '"']) {
            Some(letter) => i64::from(u32::from(letter.chars().next()?)),
            None if text.is_empty() => 0,
            None => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let number = super::arith::parse_number(digits)?;
                if digits.len() < text.len() { number.wrapping_neg() } else { number }
            }
        };
        Some(match self.letter {
            b'x' => format!("{value:x}"),
            b'X' => format!("{value:X}"),
            b'o' => format!("{value:o}"),
            b'u' => value.cast_unsigned().to_string(),
            _ => value.to_string(),
        })
    }
}

/// Digits, or `*`, which takes an argument.
fn count(rest: &mut &[u8], args: &mut &[&[u8]]) -> Option<usize> {
    if let Some(behind) = rest.strip_prefix(b"*") {
        *rest = behind;
        let (arg, left) = args.split_first()?;
        *args = left;
        return std::str::from_utf8(arg).ok()?.parse().ok().filter(|count| *count <= MOST);
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, behind) = rest.split_at(digits);
    *rest = behind;
    if number.is_empty() {
        return Some(0);
    }
    std::str::from_utf8(number).ok()?.parse().ok().filter(|count| *count <= MOST)
}

/// `%q` of what needs no quotes.
fn quoted(text: &[u8]) -> Option<Vec<u8>> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+".contains(byte);
    (!text.is_empty() && text.iter().all(plain)).then(|| text.to_vec())
}
