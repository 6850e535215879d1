//! Texts that go to the kernel: paths, words and variables, with the bounds that it or we set.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A text that cannot be what it is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadText {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// Too much.
    #[error("it is {size} bytes long; the limit is {limit}")]
    TooLong {
        /// Bytes.
        size: usize,
        /// Most bytes.
        limit: usize,
    },
    /// A character that would end it early, split it, or hide in it.
    #[error("it has the character U+{:04X} in it", u32::from(*.0))]
    Character(char),
}

/// Makes a type of text: how long, and which characters are not in it.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $min:literal ..= $max:literal, $refused:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Most bytes.
            pub const MAX: usize = $max;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadText;

            fn try_from(text: String) -> Result<Self, BadText> {
                let refused: fn(char) -> bool = $refused;
                match text.len() {
                    0 if $min > 0 => Err(BadText::Empty),
                    size if size > $max => Err(BadText::TooLong { size, limit: $max }),
                    _ => match text.chars().find(|&c| refused(c)) {
                        Some(c) => Err(BadText::Character(c)),
                        None => Ok(Self(text)),
                    },
                }
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": $min, "maxLength": $max })
            }
        }
    };
}

text! {
    /// A path: no NUL, and no longer than the kernel takes (PATH_MAX, path_resolution(7)).
    PathText, 1..=4095, |c| c == '\0'
}

text! {
    /// The name of a variable: no `=`, no control character.
    VarName, 1..=256, |c| c == '=' || c.is_control()
}

text! {
    /// The value of a variable: no NUL.
    VarValue, 0..=131_072, |c| c == '\0'
}

text! {
    /// A few words for a person, in one line.
    Words, 0..=1024, char::is_control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_on_its_way_is_refused() {
        for wrong in ["", "A=B", "A\0", "A\n", "A\u{7f}"] {
            assert!(VarName::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        assert_eq!(VarValue::try_from("a\0".to_owned()), Err(BadText::Character('\0')));
        assert!(VarValue::try_from("two\nlines".to_owned()).is_ok());
        assert!(PathText::try_from("/a\0b".to_owned()).is_err());
        assert!(PathText::try_from("a".repeat(4096)).is_err());
    }
}
