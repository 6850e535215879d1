//! Where in a file something stands that the types do not keep a place for.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The place of what keys lead to, or of the one text among its elements; of the last key that is there where not all are. A
/// table is shown by its name. `None` where nothing of it stands in the file, or the file cannot be read.
pub(super) fn of(text: &str, keys: &[&str], element: Option<&str>) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for (at, key) in keys.iter().enumerate() {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == *key) else { break };
        found = Some(match value.get_ref() {
            DeValue::Table(_) => name.span(),
            DeValue::Array(all) => {
                all.iter().find(|one| is(one, element)).map_or(value.span(), Spanned::span)
            }
            _ => value.span(),
        });
        match value.get_ref() {
            DeValue::Table(inner) if at + 1 < keys.len() => table = inner,
            _ => break,
        }
    }
    found
}

/// Whether a key stands at the top of a file.
pub(super) fn says(text: &str, key: &str) -> bool {
    DeTable::parse(text)
        .is_ok_and(|document| document.get_ref().iter().any(|(name, _)| name.get_ref() == key))
}

fn is(value: &Spanned<DeValue<'_>>, wanted: Option<&str>) -> bool {
    wanted.is_some_and(|wanted| matches!(value.get_ref(), DeValue::String(text) if text == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_keys() {
        let text =
            "default = \"ask\"\n[workspace]\nroots = [\"/a\", \"b\"]\n[profile.x.limits]\nmemory = \"0\"\n";
        let shown = |keys: &[&str], element| of(text, keys, element).map(|span| &text[span]);
        assert_eq!(shown(&["default"], None), Some("\"ask\""));
        assert_eq!(shown(&["workspace", "roots"], Some("b")), Some("\"b\""));
        assert_eq!(shown(&["workspace", "roots"], Some("c")), Some("[\"/a\", \"b\"]"));
        assert_eq!(shown(&["workspace"], None), Some("workspace"));
        assert_eq!(shown(&["profile", "x", "limits", "memory"], None), Some("\"0\""));
        assert_eq!(shown(&["workspace", "later"], None), Some("workspace"));
        assert_eq!(shown(&["limits"], None), None);
        assert!(says(text, "default") && !says(text, "limits"));
    }
}
