//! The envelopes of JSON-RPC 2.0, read more strictly than it asks: no batches, no requests without an id.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error::{Code, Error};

/// The two characters that say which JSON-RPC this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Two;

impl Serialize for Two {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("2.0")
    }
}

impl<'de> Deserialize<'de> for Two {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Cow::<'de, str>::deserialize(deserializer)?.as_ref() {
            "2.0" => Ok(Self),
            other => Err(de::Error::invalid_value(de::Unexpected::Str(other), &"\"2.0\"")),
        }
    }
}

/// What a client calls its request; the reply has it again. An integer that every language keeps exactly, or a short text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// From 0 to 2^53 - 1.
    Number(u64),
    /// Up to [`Id::MAX`] bytes, without control characters.
    Text(String),
}

impl Id {
    /// Longest text, in bytes.
    pub const MAX: usize = 64;
    /// Largest number: what an IEEE double keeps exactly.
    pub const MAX_NUMBER: u64 = (1 << 53) - 1;
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Id;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "an integer from 0 to 2^53 - 1, or a text of 1 to 64 bytes without control characters",
                )
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Id, E> {
                if number > Id::MAX_NUMBER {
                    return Err(E::invalid_value(de::Unexpected::Unsigned(number), &self));
                }
                Ok(Id::Number(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                if text.is_empty() || text.len() > Id::MAX || text.chars().any(char::is_control) {
                    return Err(E::invalid_value(de::Unexpected::Other("this text"), &self));
                }
                Ok(Id::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Id {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "integer", "minimum": 0, "maximum": Self::MAX_NUMBER },
            { "type": "string", "minLength": 1, "maxLength": Self::MAX },
        ]})
    }
}

/// A request, whose parameters have not been looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    jsonrpc: Two,
    /// What the reply will be called.
    pub id: Id,
    /// What is asked.
    pub method: String,
    /// With what; `{}` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
}

impl Request {
    /// Makes a request.
    ///
    /// # Errors
    /// When the parameters cannot be JSON.
    pub fn new(id: Id, method: &str, params: &impl Serialize) -> Result<Self, serde_json::Error> {
        let params = Some(serde_json::value::to_raw_value(params)?);
        Ok(Self { jsonrpc: Two, id, method: method.to_owned(), params })
    }

    /// Reads one frame, as [`crate::wire::lines`] gives it. The error is ready to be sent, beside the id to send it
    /// to, where one could be read.
    ///
    /// # Errors
    /// When it is no request.
    pub fn read(frame: &[u8]) -> Result<Self, (Option<Id>, Error)> {
        serde_json::from_slice(frame).map_err(|error| {
            /// What can be saved of a request that is none.
            #[derive(Deserialize)]
            struct Named {
                id: Id,
            }
            let id = serde_json::from_slice::<Named>(frame).ok().map(|named| named.id);
            let hint =
                "one object a line: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{...}}";
            (id, Error::new(Code::NotARequest, plain(&error)).hint(hint))
        })
    }

    /// The parameters as the type that the method takes.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn parameters<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        let text = self.params.as_ref().map_or("{}", |params| params.get());
        serde_json::from_str(text).map_err(|error| {
            Error::new(Code::BadParameters, format!("the parameters of {}: {}", self.method, plain(&error)))
        })
    }
}

/// An error of the JSON reader without its position, which counts from the start of the parameters and misleads.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// The reply to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Answer", into = "Answer")]
pub struct Reply {
    /// Of the request; `None` where it could not be read.
    pub id: Option<Id>,
    /// What came of it.
    pub result: Result<Box<RawValue>, Error>,
}

/// A reply as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    jsonrpc: Two,
    id: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

impl From<Reply> for Answer {
    fn from(Reply { id, result }: Reply) -> Self {
        let (result, error) = match result {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Self { jsonrpc: Two, id, result, error }
    }
}

impl TryFrom<Answer> for Reply {
    type Error = &'static str;

    fn try_from(answer: Answer) -> Result<Self, Self::Error> {
        let result = match (answer.result, answer.error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            _ => return Err("a reply has either a result or an error"),
        };
        Ok(Self { id: answer.id, result })
    }
}

impl Reply {
    /// What came of a request, ready to be sent.
    pub fn new<T: Serialize>(id: Id, result: Result<T, Error>) -> Self {
        let result = result.and_then(|value| {
            serde_json::value::to_raw_value(&value)
                .map_err(|error| Error::new(Code::Internal, format!("the result cannot be written: {error}")))
        });
        Self { id: Some(id), result }
    }

    /// The reply to something that was no request.
    pub fn unreadable(id: Option<Id>, error: Error) -> Self {
        Self { id, result: Err(error) }
    }

    /// Appends the line, its end included.
    pub fn encode(self, out: &mut Vec<u8>) {
        encode(&self, out);
    }
}

/// A message to which there is no reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notification {
    jsonrpc: Two,
    /// What it is about.
    pub method: String,
    /// What it says.
    pub params: Box<RawValue>,
}

impl Notification {
    /// Makes a notification.
    ///
    /// # Errors
    /// When the parameters cannot be JSON.
    pub fn new(method: &str, params: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { jsonrpc: Two, method: method.to_owned(), params: serde_json::value::to_raw_value(params)? })
    }

    /// Appends the line, its end included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self, out);
    }
}

/// Appends a line. Our own types hold nothing that JSON cannot; should one ever, then nothing is appended.
pub(super) fn encode(message: &impl Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, message).is_ok() {
        out.push(b'\n');
    } else {
        out.truncate(start);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test that cannot go on says where")]
mod tests {
    use super::*;

    fn refused(line: &str) -> (Option<Id>, Code) {
        let (id, error) = Request::read(line.as_bytes()).expect_err(line);
        (id, error.code)
    }

    #[test]
    fn requests_are_read_strictly() {
        let request = Request::read(br#"{"jsonrpc":"2.0","id":7,"method":"hello"}"#).unwrap();
        assert_eq!((request.id, request.method.as_str()), (Id::Number(7), "hello"));
        let code = Code::NotARequest;
        assert_eq!(refused(r#"{"jsonrpc":"2.0","method":"hello"}"#), (None, code));
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":null,"method":"hello"}"#), (None, code));
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1.5,"method":"hello"}"#), (None, code));
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":-1,"method":"hello"}"#), (None, code));
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"hello"}"#), (None, code));
        assert_eq!(refused(r#"{"jsonrpc":"1.0","id":1,"method":"hello"}"#), (Some(Id::Number(1)), code));
        assert_eq!(
            refused(r#"{"jsonrpc":"2.0","id":1,"method":"hello","x":1}"#),
            (Some(Id::Number(1)), code)
        );
        assert_eq!(refused(r#"[{"jsonrpc":"2.0","id":1,"method":"hello"}]"#), (None, code));
        assert_eq!(refused("7"), (None, code));
    }

    #[test]
    fn a_reply_has_a_result_or_an_error() {
        let mut line = Vec::new();
        Reply::new(Id::Text("a".into()), Ok(serde_json::json!({"x": 1}))).encode(&mut line);
        assert_eq!(line, b"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{\"x\":1}}\n");
        let reply: Reply = serde_json::from_slice(&line).unwrap();
        assert_eq!(reply.result.unwrap().get(), r#"{"x":1}"#);
        for wrong in [
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"","data":{"kind":"","reason":""}}}"#,
        ] {
            assert!(serde_json::from_str::<Reply>(wrong).is_err(), "{wrong}");
        }
    }
}
