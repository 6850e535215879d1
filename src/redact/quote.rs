//! Values between quotes: such a one ends with the quote that closes it, whatever stands in it.

/// Longest value.
const LONGEST: usize = 1 << 10;

/// Where a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Behind that many bytes.
    At(usize),
    /// More text would tell.
    More,
    /// No quote stands before it, or none closes it on its line.
    None,
}

/// The end of the value that `text` begins with, where a quote stands at the end of `before`. In a string within a string both of
/// the quotes are escaped (`\"token\": \"...\"`), and those in the value once more.
pub(super) fn end(before: &[u8], text: &[u8]) -> End {
    let Some((quote @ (b'"' | b'\'' | b'`'), before)) = before.split_last() else { return End::None };
    let backslashes = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count();
    // `"TOKEN=") && ...`: this one closes what began before the name.
    if text.first().is_some_and(|first| b"),;}]: +|&".contains(first)) {
        return End::None;
    }
    let outer = backslashes(before);
    let is_cut = text.len() >= LONGEST;
    let text = text.get(..LONGEST).unwrap_or(text);
    let mut from = 0;
    while let Some(at) =
        memchr::memchr3(*quote, b'\n', b'\r', text.get(from..).unwrap_or_default()).map(|at| from + at)
    {
        if text.get(at) != Some(quote) {
            return End::None;
        }
        let value = text.get(..at).unwrap_or_default();
        let inner = backslashes(value);
        // What is escaped in the value itself has twice as many and one more; an even number are escaped backslashes.
        if inner <= outer || (outer == 0 && inner % 2 == 0) {
            return End::At(at - inner.min(outer));
        }
        from = at + 1;
    }
    if is_cut { End::None } else { End::More }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_with_the_quote_that_closes_it() {
        for (before, text, expected) in [
            ("a=\"", "b c'd\" e\"", End::At(5)),
            ("a='", "b\"c'", End::At(3)),
            ("a=\"", "b\\\"c\"", End::At(4)),
            ("a=\"", "b\\\\\"c", End::At(3)),
            ("a=\\\"", "b c\\\", d\"", End::At(3)),
            ("a=\\\"", "b\\\\\\\"c\\\"", End::At(6)),
            ("a=\"", "", End::More),
            ("a=\"", "b c", End::More),
            ("a=\"", "b\nc\"", End::None),
            ("a=", "b\"", End::None),
            ("a=\"", ") == f(\"b\"", End::None),
            ("", "b\"", End::None),
        ] {
            assert_eq!(end(before.as_bytes(), text.as_bytes()), expected, "{before}{text}");
        }
        assert_eq!(end(b"\"", &[b'x'; LONGEST]), End::None);
    }
}
