//! Names: what the server makes is random, what a client chooses is short and plain.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A name that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadId {
    /// Of the server's names.
    #[error("not 32 hexadecimal digits in lower case")]
    NotHex,
    /// Of the client's names.
    #[error("not 1 to 64 letters, digits and . _ : -, starting with a letter or digit")]
    NotPlain,
}

/// Makes a type of name: 128 random bits as 32 lower-case hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Names something by random bytes, which the pure layer cannot make itself.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(format!("{:032x}", u128::from_be_bytes(bytes)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    Ok(Self(text))
                } else {
                    Err(BadId::NotHex)
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
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
                json_schema!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
            }
        }
    };
}

random_id! {
    /// A session: useless to any principal but its own.
    SessionId
}

random_id! {
    /// One request that reached the gate, as the audit log names it.
    RequestId
}

random_id! {
    /// A question to a person.
    ApprovalId
}

random_id! {
    /// A standing grant.
    GrantId
}

/// A command within its session, as the client that starts it names it: the same name again is the same command, so
/// that a start may be repeated after a lost connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecId(String);

impl ExecId {
    /// Longest name, in bytes.
    pub const MAX: usize = 64;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ExecId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= Self::MAX && text.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err(BadId::NotPlain)
        }
    }
}

impl From<ExecId> for String {
    fn from(id: ExecId) -> Self {
        id.0
    }
}

impl std::fmt::Display for ExecId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for ExecId {
    fn schema_name() -> Cow<'static, str> {
        "ExecId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        let id = SessionId::from_random([0xab; 16]);
        assert_eq!(id.as_str(), "ab".repeat(16));
        assert_eq!(SessionId::try_from(id.to_string()), Ok(id));
        for wrong in ["", "0", &"AB".repeat(16), &"ab".repeat(17), &"g0".repeat(16)] {
            assert!(SessionId::try_from((*wrong).to_owned()).is_err(), "{wrong}");
        }
        for wrong in ["", "-a", ".", "a b", "a/b", "\u{e9}", "a\n", &"a".repeat(65)] {
            assert!(ExecId::try_from((*wrong).to_owned()).is_err(), "{wrong}");
        }
        for right in ["1", "a", "call_01:x.2-b", &"a".repeat(64)] {
            assert!(ExecId::try_from((*right).to_owned()).is_ok(), "{right}");
        }
    }
}
