//! What can be wrong with a policy, shown at the place where it is.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// A policy that cannot be used. [`std::fmt::Display`] renders the line, a caret and a hint, without colour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rendered}")]
pub struct PolicyError {
    rendered: String,
    message: String,
    /// Line and column, both from 1, where the place is known.
    place: Option<(usize, usize)>,
}

impl PolicyError {
    /// The message alone, without the source line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Line and column in the file, both from 1 (columns count characters); `None` where the mistake has no place.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.place
    }

    /// An error at a range of bytes of the text.
    pub(crate) fn at(
        name: &str,
        text: &str,
        span: Option<std::ops::Range<usize>>,
        message: &str,
        hint: &str,
    ) -> Self {
        // A span that is not on character boundaries would make the renderer panic.
        let span = span.filter(|span| text.get(span.clone()).is_some());
        let title = Level::ERROR.primary_title(message);
        let mut groups = vec![match &span {
            Some(span) => title.element(
                Snippet::source(text).path(name).annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            // the file at least
            None => Group::with_title(title).element(Origin::path(name)),
        }];
        if !hint.is_empty() {
            groups.push(Group::with_title(Level::HELP.with_name("hint").secondary_title(hint)));
        }
        let place = span.and_then(|span| {
            let before = text.get(..span.start)?;
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            Some((before.matches('\n').count() + 1, before.get(line_start..)?.chars().count() + 1))
        });
        Self { rendered: Renderer::plain().render(&groups).to_string(), message: message.to_owned(), place }
    }

    /// An error of the TOML reader.
    pub(crate) fn from_toml(name: &str, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message();
        let hint = hint_for(message);
        let short = message.lines().next().unwrap_or("the file does not parse");
        let short = short.split(", expected one of ").next().unwrap_or(short);
        Self::at(name, text, error.span(), short, &hint)
    }
}

/// The message for a name that is not one of the names that there are.
pub(crate) fn unknown_name<'a>(what: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    format!("unknown {what} `{name}`, expected one of {}", names.join(", "))
}

/// Finds the nearest of the names that a message lists: serde writes "unknown field `x`, expected one of `a`, `b`".
fn hint_for(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(wrong) = quoted.next() else { return String::new() };
    if !message.contains("unknown") {
        return String::new();
    }
    let names: Vec<&str> = quoted.collect();
    let near = names
        .iter()
        .map(|name| (distance(wrong, name), *name))
        .min()
        .filter(|(far, _)| *far <= 1 + wrong.len() / 3);
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if names.is_empty() => String::new(),
        None => format!("one of: {}", names.join(", ")),
    }
}

/// Edit distance, for short names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, own) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (theirs, up) in right.iter().zip(row.iter().skip(1)) {
            let best = (diagonal + usize::from(own != *theirs)).min(before + 1).min(up + 1);
            diagonal = *up;
            before = best;
            next.push(best);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        assert_eq!(distance("decison", "decision"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(
            hint_for("unknown field `decison`, expected one of `id`, `decision`"),
            "did you mean `decision`?"
        );
        assert_eq!(
            hint_for("unknown field `zzzzzz`, expected one of `id`, `decision`"),
            "one of: id, decision"
        );
        assert_eq!(hint_for("expected `=`"), "");
    }

    #[test]
    fn a_span_off_a_character_does_not_panic() {
        let error = PolicyError::at("p.toml", "é = 1", Some(1..2), "wrong", "");
        assert!(error.to_string().contains("wrong"));
    }
}
