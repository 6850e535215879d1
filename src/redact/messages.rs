//! What a server of JSON-RPC writes (<https://www.jsonrpc.org/specification>), one message on a line, as the stdio transport of
//! the Model Context Protocol has it.
//!
//! A message is a protocol's and passes byte for byte, but for the texts that tell of errors: `error` of a response, and a
//! `result` with `isError`. What is no message is a text like any other. So is a line that is longer than [`LONGEST`]: memory
//! is bounded, whatever a server writes.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Redactor, Stream};

/// Bytes of a line that are kept until its end has come. Beyond that it is a text.
const LONGEST: usize = 32 << 20;

/// Bytes of the buffer of lines that are kept between them.
const KEPT: usize = 1 << 20;

/// Members of one object that are looked at, and messages of one batch. Where there are more it is a text.
const MOST: usize = 4096;

/// One output of such a server.
#[derive(Debug)]
pub struct Messages {
    redactor: Redactor,
    /// Takes what is no message.
    text: Stream,
    /// A line whose end has not come.
    line: Vec<u8>,
    /// The line has been too long, and is a text to its end.
    long: bool,
    masked: u64,
}

impl Messages {
    /// An output that masks by `redactor`.
    pub fn new(redactor: &Redactor) -> Self {
        Self { text: redactor.stream(), redactor: redactor.clone(), line: Vec::new(), long: false, masked: 0 }
    }

    /// Takes bytes and appends to `out` what can leave: whole lines.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for piece in input.split_inclusive(|&byte| byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            if self.long {
                self.text.push(piece, out);
                self.long = !ends;
                continue;
            }
            self.line.extend_from_slice(piece);
            if ends {
                self.take_line(out);
            } else if self.line.len() > LONGEST {
                self.long = true;
                self.text.push(&std::mem::take(&mut self.line), out);
            }
        }
    }

    /// Nothing came for a while: lets out what of a text is held back but need not be. A line waits for its end.
    pub fn flush_partial(&mut self, out: &mut Vec<u8>) {
        self.text.flush_partial(out);
    }

    /// The output has ended: appends everything that is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.take_line(out);
        self.text.finish(out);
    }

    /// How many places were masked so far.
    pub fn masked(&self) -> u64 {
        self.masked + self.text.masked()
    }

    fn take_line(&mut self, out: &mut Vec<u8>) {
        let mut line = std::mem::take(&mut self.line);
        match errors(&line) {
            Some(errors) => {
                // A text before it has ended, and a secret in it, too.
                self.text.finish(out);
                let mut sent = 0;
                for error in errors {
                    out.extend_from_slice(line.get(sent..error.start).unwrap_or_default());
                    let text = line.get(error.clone()).and_then(|text| std::str::from_utf8(text).ok());
                    out.extend_from_slice(self.mask(text.unwrap_or_default()).as_bytes());
                    sent = error.end;
                }
                out.extend_from_slice(line.get(sent..).unwrap_or_default());
            }
            None => self.text.push(&line, out),
        }
        line.clear();
        if line.capacity() <= KEPT {
            self.line = line;
        }
    }

    /// The same JSON with what is secret in its texts masked: what each of them says, and what names and values say together
    /// (`"password": "..."`).
    fn mask(&mut self, json: &str) -> String {
        let (mut told, mut sent) = (String::new(), 0);
        for literal in literals(json) {
            let Some(raw) = json.get(literal.clone()) else { continue };
            let (masked, places) = match serde_json::from_str::<String>(raw) {
                Ok(text) => {
                    let (text, places) = self.redactor.text(&text);
                    (serde_json::to_string(&text).unwrap_or_else(|_| HIDDEN.to_owned()), places)
                }
                // JSON permits halves of characters, which are no text.
                Err(_) => {
                    let (text, places) = self.redactor.text(raw);
                    (if is_json(&text) { text } else { HIDDEN.to_owned() }, places)
                }
            };
            if places > 0 {
                told.push_str(json.get(sent..literal.start).unwrap_or_default());
                told.push_str(&masked);
                sent = literal.end;
                self.masked += places;
            }
        }
        told.push_str(json.get(sent..).unwrap_or_default());
        let (whole, places) = self.redactor.text(&told);
        if places > 0 && is_json(&whole) {
            self.masked += places;
            return whole;
        }
        told
    }
}

/// Stands for a text that cannot be told without what is secret in it.
const HIDDEN: &str = "\"[redacted]\"";

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Where the texts of valid JSON stand, with their quotes.
fn literals(json: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = json.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + memchr::memchr(b'"', bytes.get(at..)?)?;
        let mut next = start + 1;
        loop {
            next += memchr::memchr2(b'"', b'\\', bytes.get(next..)?)?;
            if bytes.get(next) == Some(&b'"') {
                at = next + 1;
                return Some(start..at);
            }
            next += 2;
        }
    })
}

/// Where a line tells of errors; `None` where it is no message.
fn errors(line: &[u8]) -> Option<Vec<Range<usize>>> {
    let message = serde_json::from_slice::<&RawValue>(line).ok()?;
    let batch = match message.get().as_bytes().first()? {
        b'{' => vec![message],
        b'[' => serde_json::from_str::<Batch<'_>>(message.get()).ok()?.0,
        _ => return None,
    };
    let mut errors = Vec::new();
    for message in batch {
        let members = serde_json::from_str::<Members<'_>>(message.get()).ok()?.0;
        if !members.iter().any(|(name, _)| *name == Name::JsonRpc) {
            return None;
        }
        // A name that stands twice counts each time: which of them a client takes is its own business.
        for (name, value) in members {
            let tells = match name {
                Name::Error => true,
                Name::Result => failed(value)?,
                Name::JsonRpc | Name::IsError | Name::Other => false,
            };
            if tells {
                let start = (value.get().as_ptr().addr()).checked_sub(line.as_ptr().addr())?;
                errors.push(start..start + value.get().len());
            }
        }
    }
    Some(errors)
}

/// Whether a result says that it is an error's: whatever it says but `false`.
fn failed(result: &RawValue) -> Option<bool> {
    if !result.get().starts_with('{') {
        return Some(false);
    }
    let members = serde_json::from_str::<Members<'_>>(result.get()).ok()?.0;
    Some(members.iter().any(|(name, value)| *name == Name::IsError && value.get() != "false"))
}

/// A name in a message, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    JsonRpc,
    Error,
    Result,
    IsError,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl Visitor<'_> for Names {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "jsonrpc" => Name::JsonRpc,
                    "error" => Name::Error,
                    "result" => Name::Result,
                    "isError" => Name::IsError,
                    _ => Name::Other,
                })
            }
        }
        deserializer.deserialize_str(Names)
    }
}

/// The members of an object that matter, as they stand, twice where they stand twice.
struct Members<'a>(Vec<(Name, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key()? {
                    if name == Name::Other {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if members.len() == MOST {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The messages of a batch.
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Batch<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Batch<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = seq.next_element()? {
                    if messages.len() == MOST {
                        return Err(serde::de::Error::custom("too many messages"));
                    }
                    messages.push(message);
                }
                Ok(Batch(messages))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::redact::{Rules, Secret};

    /// A token of a known shape that nobody was ever given.
    fn token() -> String {
        format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU")
    }

    fn redactor() -> Redactor {
        Redactor::new(&Rules::builtin(), vec![Secret::new("KEY", "correct horse \"battery\" staple")])
    }

    fn told(input: &[u8]) -> (String, u64) {
        let mut messages = Messages::new(&redactor());
        let mut out = Vec::new();
        messages.push(input, &mut out);
        messages.finish(&mut out);
        (String::from_utf8(out).unwrap(), messages.masked())
    }

    #[test]
    fn a_message_passes_byte_for_byte() {
        let token = token();
        for line in [
            format!(
                "{{\"jsonrpc\":\"2.0\" , \"id\":1.0e400,\"result\":{{\"isError\": false,\"a\":\"{token}\"}}}}\r\n"
            ),
            format!("  {{\"jsonrpc\":\"2.0\",\"method\":\"\\u0061\",\"params\":[\"{token}\"]}} \n"),
            format!("[{{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":\"{token}\"}}]\n"),
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32601 ,\"message\":\"no \\u0073uch\"}}\n"
                .to_owned(),
        ] {
            assert_eq!(told(line.as_bytes()), (line, 0));
        }
    }

    #[test]
    fn texts_of_errors_are_masked_and_the_message_stays_one() {
        let token = token();
        let escaped = token.replace('g', "\\u0067");
        let key = "correct horse \\\"battery\\\" staple";
        for (error, places) in [
            (
                format!(
                    "\"error\":{{\"code\":-1,\"message\":\"a {token}, {token}\",\"data\":[\"b {token}\"]}}"
                ),
                3,
            ),
            (format!("\"error\":{{\"code\":-1,\"message\":\"{escaped} \\ud800\"}}"), 0),
            (format!("\"error\":{{\"code\":-1,\"message\":\"{escaped}\"}}"), 1),
            (format!("\"error\":\"{key}\""), 1),
            (
                format!(
                    "\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{token}\"}}],\"isError\":true}}"
                ),
                1,
            ),
            (format!("\"result\":{{\"isError\":false,\"text\":\"{token}\",\"isError\":1}}"), 1),
            (format!("\"result\":0,\"result\":{{\"isError\":true,\"text\":\"{token}\"}}"), 1),
            (format!("\"\\u0065rror\":\"{token}\""), 1),
            ("\"error\":{\"data\":{\"password\":\"aV3ry-l0ng-phrase-7\"}}".to_owned(), 1),
        ] {
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":9,{error}}}\n");
            let (out, masked) = told(line.as_bytes());
            assert_eq!(masked, places, "{line}{out}");
            assert!(out.starts_with("{\"jsonrpc\":\"2.0\",\"id\":9,") && out.ends_with("}\n"), "{out}");
            assert!(is_json(&out), "{out}");
            for secret in [&token, "aV3ry-l0ng-phrase-7", key] {
                assert!(!out.contains(secret), "{out}");
            }
        }
    }

    #[test]
    fn what_is_no_message_is_text() {
        let token = token();
        for line in [
            format!("starting with {token}\n"),
            format!("{{\"level\":\"info\",\"says\":\"{token}\"}}\n"),
            format!("{{\"jsonrpc\":\"2.0\",\"result\":\"{token}\"\n"),
            format!("[{{\"jsonrpc\":\"2.0\"}},{{\"says\":\"{token}\"}}]\n"),
            format!("\"{token}\"\n"),
            token.clone(),
        ] {
            let (out, masked) = told(line.as_bytes());
            assert!(masked == 1 && !out.contains(&token), "{out}");
        }
        let bytes = [b"{\"jsonrpc\":\"\xff ", token.as_bytes(), b"\"}"].concat();
        let mut messages = Messages::new(&redactor());
        let mut out = Vec::new();
        messages.push(&bytes, &mut out);
        messages.finish(&mut out);
        assert_eq!(messages.masked(), 1);
    }

    #[test]
    fn a_secret_of_many_lines_is_one_in_a_text() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(4);
        let text = format!(
            "x\n-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n{{\"jsonrpc\":\"2.0\"}}\n"
        );
        let (out, masked) = told(text.as_bytes());
        assert_eq!(masked, 1, "{out}");
        assert!(!out.contains("MIIEvQ") && out.ends_with("\n{\"jsonrpc\":\"2.0\"}\n"), "{out}");
    }

    #[test]
    fn a_line_without_an_end_is_let_out_as_a_text() {
        let mut messages = Messages::new(&redactor());
        let (mut out, piece) = (Vec::new(), vec![b'a'; 1 << 20]);
        for _ in 0..40 {
            messages.push(&piece, &mut out);
            assert!(messages.line.len() <= LONGEST + piece.len());
        }
        assert!(out.len() > LONGEST);
        messages.push(format!(" {}\n{{\"jsonrpc\":\"2.0\"}}\n", token()).as_bytes(), &mut out);
        assert!(out.ends_with(b"\n{\"jsonrpc\":\"2.0\"}\n") && messages.masked() == 1);
        assert!(messages.line.capacity() <= KEPT);
    }

    #[test]
    fn what_is_nested_or_repeated_without_end_costs_no_stack_and_little_memory() {
        let deep =
            format!("{{\"jsonrpc\":\"2.0\",\"error\":{}{}}}\n", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(told(deep.as_bytes()).0.len(), deep.len());
        let many = format!("{{\"jsonrpc\":\"2.0\"{}}}\n", ",\"error\":0".repeat(MOST));
        assert!(errors(many.as_bytes()).is_none());
        assert!(errors(format!("[{}0]", "0,".repeat(MOST)).as_bytes()).is_none());
    }

    proptest! {
        /// A client gets the same messages, whatever the chunks; an error that holds no secret stays as it is.
        #[test]
        fn chunks_make_no_difference(
            text in "[a-z \"\\\\\u{e9}]{0,40}",
            sizes in prop::collection::vec(1_usize..50, 1..20),
        ) {
            let plain = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": text}});
            let leaky = json!({"jsonrpc": "2.0", "id": 2, "error": {"message": format!("{text} {}", token())}});
            let input = format!("{plain}\nnoise {text}\n{leaky}\n");
            let whole = told(input.as_bytes());
            let lines: Vec<&str> = whole.0.split('\n').collect();
            prop_assert_eq!(serde_json::from_str::<Value>(lines[0]).unwrap(), plain);
            prop_assert!(serde_json::from_str::<Value>(lines[2]).is_ok());
            prop_assert!(!whole.0.contains(&token()));
            let mut messages = Messages::new(&redactor());
            let (mut out, mut rest) = (Vec::new(), input.as_bytes());
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at(*size.min(&rest.len()));
                messages.push(piece, &mut out);
                messages.flush_partial(&mut out);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            messages.finish(&mut out);
            prop_assert_eq!((String::from_utf8(out).unwrap(), messages.masked()), whole);
        }
    }
}
