//! Bytes in JSON: text where they are UTF-8, base64 of exactly these bytes where they are not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes as JSON carries them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// They are UTF-8, and this is they.
    Text(String),
    /// They are not; standard base64 with padding (RFC 4648, section 4).
    Base64(String),
}

/// Bytes that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotData {
    /// Not base64.
    #[error("not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Both forms at once.
    #[error("give `text` or `base64`, not both")]
    Both,
}

impl Data {
    /// Puts bytes into JSON.
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// When base64 is not base64.
    pub fn into_bytes(self) -> Result<Vec<u8>, NotData> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => Ok(STANDARD.decode(text)?),
        }
    }
}

/// Which stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
    /// A terminal, which is both.
    Pty,
}

impl From<crate::wire::runner::Stream> for Stream {
    fn from(stream: crate::wire::runner::Stream) -> Self {
        match stream {
            crate::wire::runner::Stream::Stdout => Self::Stdout,
            crate::wire::runner::Stream::Stderr => Self::Stderr,
        }
    }
}

/// A piece of output, numbered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chunk {
    /// From 1, without gaps, over all streams of the command.
    pub seq: u64,
    /// Where it came from.
    pub stream: Stream,
    /// `text` or `base64`.
    #[serde(flatten)]
    pub data: Data,
}

/// What a command wrote to one stream: all of it, or its beginning and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// `text` or `base64`: all of it, or its beginning.
    #[serde(flatten)]
    pub data: Data,
    /// How many bytes after that were left out; 0 where this is all.
    #[serde(default)]
    pub left_out: u64,
    /// What came after them; there when something was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Data>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_exactly() {
        for bytes in [&b""[..], b"plain", "h\u{e9}\0\u{1f600}".as_bytes(), b"a\xff\xfe", b"\xe2\x82"] {
            let chunk = Chunk { seq: 1, stream: Stream::Stdout, data: Data::of(bytes) };
            let json = serde_json::to_string(&chunk).unwrap();
            let back: Chunk = serde_json::from_str(&json).unwrap();
            assert_eq!(back, chunk);
            assert_eq!(back.data.into_bytes().unwrap(), bytes);
        }
        let text = Chunk { seq: 7, stream: Stream::Stderr, data: Data::of(b"hi") };
        assert_eq!(serde_json::to_string(&text).unwrap(), r#"{"seq":7,"stream":"stderr","text":"hi"}"#);
    }
}
