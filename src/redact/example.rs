//! Examples of secrets that are none: `{a36}` stands for 36 letters and digits that look random.
//!
//! `{ESC}` stands for the character of that name.
//!
//! Neither the rules nor the tests hold a string that a scanner (or a person) could take for a real key.

/// Expands the holes of an example; returns the text and what was put into each hole.
///
/// `a`: letters and digits, `u`: capitals and digits, `l`: lower case and digits, `h`: hexadecimal, `b`: base64,
/// `d`: digits.
pub(super) fn expand(example: &str) -> (String, Vec<String>) {
    let (mut text, mut filled, mut rest) = (String::new(), Vec::new(), example);
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        if let Some(tail) = after.strip_prefix("ESC}") {
            text.push('\x1b');
            rest = tail;
            continue;
        }
        match hole(after) {
            Some((content, tail)) => {
                text.push_str(&content);
                filled.push(content);
                rest = tail;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    (text, filled)
}

fn hole(after: &str) -> Option<(String, &str)> {
    let (inside, tail) = after.split_once('}')?;
    let (kind, count) = inside.split_at_checked(1)?;
    let alphabet = match kind {
        "a" => "k7Qm2ZxV9bTf4RnW8cHs1JpL6dYg3NqX5vKzBtMhDwEaGuCyAoSeFiPjUrOl0I",
        "u" => "K7QM2ZXV9BTF4RNW8CHS1JPL6DYG3A5E0IOU",
        "l" => "k7qm2zxv9btf4rnw8chs1jpl6dyg3a5e0iou",
        "h" => "7e2a9c4f1b8d6035",
        "b" => "k7Qm2ZxV9b+f4RnW8cHs1JpL/dYg3NqX5vKzBtMh",
        "d" => "7294150368",
        _ => return None,
    };
    let count: usize = count.parse().ok().filter(|count| *count <= 100_000)?;
    Some((alphabet.chars().cycle().take(count).collect(), tail))
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn holes_are_filled_and_the_rest_is_kept() {
        assert_eq!(expand("a{d3}b{h2}"), ("a729b7e".to_owned(), vec!["729".to_owned(), "7e".to_owned()]));
        assert_eq!(expand("a{ESC}[m"), ("a\x1b[m".to_owned(), Vec::new()));
        assert_eq!(expand("{\"a\": {x}} ${Y}").0, "{\"a\": {x}} ${Y}");
    }
}
