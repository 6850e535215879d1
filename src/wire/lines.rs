//! The framing of the agents' and operators' protocol: bytes in, lines of checked JSON out.
//!
//! A state machine that knows no socket, so that it can be fuzzed. What it gives out is one JSON value within the
//! bounds, in which no object has a key twice: two readers of it cannot see two requests. What it is handed may come in
//! pieces of any size; the work is linear in the bytes, whatever the pieces.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::rpc::{Code, Error};

/// Longest line, its end not counted, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Deepest nesting of objects and arrays: `{}` is 1 deep.
pub const MAX_DEPTH: usize = 32;

/// What is kept of the buffer's memory between lines, in bytes.
const KEPT: usize = 64 << 10;

/// Collects bytes and gives lines. Holds at most one line and what was pushed with it.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    /// Bytes of the line that is being collected, and what came after it.
    bytes: Vec<u8>,
    /// Where the next line starts in `bytes`.
    start: usize,
    /// How far `bytes` has no line end after `start`.
    scanned: usize,
    /// Where in the stream `bytes` starts.
    offset: u64,
    broken: bool,
}

/// One line: a JSON value within the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Without its end.
    pub bytes: &'a [u8],
    /// Where it starts in the stream. A descriptor that came with a byte from here on, and before [`Self::end`], came
    /// with this line.
    pub start: u64,
    /// Where the next one starts.
    pub end: u64,
}

/// A line that is refused. Unless it [is the last](Self::is_final), the stream can be read on after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Longer than the limit. Nothing more is read: its end is not awaited.
    #[error("the line is longer than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
    /// Nothing in it.
    #[error("the line is empty")]
    Empty,
    /// Not UTF-8.
    #[error("byte {at} of the line is not UTF-8")]
    NotUtf8 {
        /// The first such byte, from 0.
        at: usize,
    },
    /// A NUL byte.
    #[error("byte {at} of the line is NUL")]
    Nul {
        /// The first such byte, from 0.
        at: usize,
    },
    /// An object with the same key twice, however it is escaped.
    #[error("an object in the line has a key twice")]
    DuplicateKey,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("objects and arrays are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Not one JSON value.
    #[error("not JSON: {reason} at byte {column} of the line")]
    NotJson {
        /// In the words of the JSON reader, which quote nothing of the line.
        reason: String,
        /// From 1.
        column: usize,
    },
}

impl LineError {
    /// Whether nothing can be read after it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::TooLong { .. })
    }
}

impl From<LineError> for Error {
    fn from(error: LineError) -> Self {
        let hint = match error {
            LineError::TooLong { .. } => "send less at a time: exec/write takes standard input in pieces",
            LineError::DuplicateKey => "say each thing once",
            _ => "send one JSON object a line, in UTF-8",
        };
        Self::new(Code::Unreadable, error.to_string()).hint(hint)
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new(MAX_LINE)
    }
}

impl Lines {
    /// Reads lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new(), start: 0, scanned: 0, offset: 0, broken: false }
    }

    /// Adds bytes. To be followed by [`Self::next`] until that has nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.offset += self.start as u64;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(KEPT);
        }
        if !self.broken {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next line, where all of it has arrived.
    ///
    /// # Errors
    /// When the line is refused. One that is too long is refused as soon as that shows, and again on every later call.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        let unscanned = self.bytes.get(self.scanned..).unwrap_or_default();
        let end = unscanned.iter().position(|&byte| byte == b'\n').map(|at| self.scanned + at);
        let length = end.unwrap_or(self.bytes.len()) - self.start;
        if self.broken || length > self.limit {
            self.broken = true;
            self.bytes = Vec::new();
            (self.start, self.scanned) = (0, 0);
            return Err(LineError::TooLong { limit: self.limit });
        }
        let Some(end) = end else {
            self.scanned = self.bytes.len();
            return Ok(None);
        };
        let start = std::mem::replace(&mut self.start, end + 1);
        self.scanned = end + 1;
        let bytes = self.bytes.get(start..end).unwrap_or_default();
        check(bytes)?;
        Ok(Some(Line { bytes, start: self.offset + start as u64, end: self.offset + end as u64 + 1 }))
    }

    /// Bytes of the line that is being collected, once [`Self::next_line`] has nothing more.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether the stream has stopped in the middle of a line.
    pub fn is_mid_line(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// Where in the stream the next pushed byte will be.
    pub fn position(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Checks that a line is one JSON value within the bounds.
///
/// # Errors
/// When it is not.
pub fn check(line: &[u8]) -> Result<(), LineError> {
    let text = std::str::from_utf8(line).map_err(|error| LineError::NotUtf8 { at: error.valid_up_to() })?;
    if let Some(at) = line.iter().position(|&byte| byte == 0) {
        return Err(LineError::Nul { at });
    }
    if text.trim_ascii().is_empty() {
        return Err(LineError::Empty);
    }
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Value { depth: 0, fault: &fault }.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| {
        fault.take().unwrap_or_else(|| {
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
            LineError::NotJson { reason, column: error.column() }
        })
    })
}

/// Walks a value, keeping nothing but the keys of the objects it is in.
#[derive(Clone, Copy)]
struct Value<'a> {
    depth: usize,
    fault: &'a Cell<Option<LineError>>,
}

impl Value<'_> {
    fn refuse<E: de::Error>(self, fault: LineError) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }

    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(LineError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut keys: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = map.next_key_seed(Key)? {
            if !keys.insert(key) {
                return Err(self.refuse(LineError::DuplicateKey));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// A key as it reads once its escapes are resolved; borrowed from the line where it has none.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test that cannot go on says where")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line, where it starts and where the next one does; or why it is refused.
    type Came = Result<(Vec<u8>, u64, u64), LineError>;

    /// What comes of a stream that arrives in pieces of `size`.
    fn read(stream: &[u8], size: usize, limit: usize) -> Vec<Came> {
        let mut lines = Lines::new(limit);
        let mut read = Vec::new();
        for piece in stream.chunks(size) {
            lines.push(piece);
            loop {
                match lines.next_line() {
                    Ok(None) => break,
                    Ok(Some(line)) => read.push(Ok((line.bytes.to_vec(), line.start, line.end))),
                    Err(error) => {
                        let last = error.is_final();
                        read.push(Err(error));
                        if last {
                            return read;
                        }
                    }
                }
            }
        }
        read
    }

    #[test]
    fn lines_survive_any_chunking() {
        let stream = b"{\"a\":1}\n\n [] \r\n{\"a\":{\"a\":[1,2.5,\"x\",null,true]}}\nnonsense\n{\"half\":";
        let whole = read(stream, stream.len(), 100);
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[0], Ok((b"{\"a\":1}".to_vec(), 0, 8)));
        assert_eq!(whole[1], Err(LineError::Empty));
        assert_eq!(whole[2], Ok((b" [] \r".to_vec(), 9, 15)));
        assert!(matches!(whole[4], Err(LineError::NotJson { column: 2, .. })), "{:?}", whole[4]);
        for size in 1..stream.len() {
            assert_eq!(read(stream, size, 100), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn a_long_line_is_refused_before_its_end_and_for_good() {
        let mut lines = Lines::new(10);
        lines.push(b"{\"a\":12345");
        assert_eq!(lines.next_line(), Ok(None));
        assert!(lines.is_mid_line());
        lines.push(b"6");
        let long = Err(LineError::TooLong { limit: 10 });
        assert_eq!(lines.next_line(), long);
        lines.push(b"\n{}\n");
        assert_eq!(lines.next_line(), long);
        assert!(lines.bytes.is_empty());
        assert_eq!(read(b"[1,2,3,45]\n", 3, 10).len(), 1);
        assert_eq!(read(b"[1,2,3,45]\n", 3, 10)[0].as_ref().map(|line| line.2), Ok(11));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let refused = |line: &[u8]| check(line).expect_err(&String::from_utf8_lossy(line));
        assert_eq!(refused(br#"{"cmd":1,"cmd":2}"#), LineError::DuplicateKey);
        assert_eq!(refused(br#"{"cmd":1,"c\u006dd":2}"#), LineError::DuplicateKey);
        assert_eq!(refused(br#"[{"a":{"x":[{"k":1,"l":2,"k":1}]}}]"#), LineError::DuplicateKey);
        assert_eq!(refused(b"{\"a\":\"\xff\"}"), LineError::NotUtf8 { at: 6 });
        assert_eq!(refused(b"{\"a\":\"\xc0\x80\"}"), LineError::NotUtf8 { at: 6 });
        assert_eq!(refused(b"{\"a\":\"\xed\xa0\x80\"}"), LineError::NotUtf8 { at: 6 });
        assert_eq!(refused(b"{\"a\":\"x\0y\"}"), LineError::Nul { at: 7 });
        for garbage in [
            &b"{} {}"[..],
            b"{}x",
            b"{\"a\":1,}",
            b"{'a':1}",
            b"{\"a\":NaN}",
            b"{\"a\":Infinity}",
            b"{\"a\":1e999}",
            b"{\"a\":01}",
            b"{\"a\":+1}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"\\ud800\":1}",
            b"{\"a\":\"\x01\"}",
            b"\xef\xbb\xbf{}",
            b"// {}",
            b"{\"a\"}",
            b"\"unfinished",
        ] {
            let error = refused(garbage);
            assert!(matches!(error, LineError::NotJson { .. }), "{error:?}");
        }
        for fine in
            [&br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#[..], b" {\"\\u0061\":\"\\u0000\"}\r", b"7", b"null"]
        {
            assert_eq!(check(fine), Ok(()), "{}", String::from_utf8_lossy(fine));
        }
    }

    #[test]
    fn depth_has_its_limit_to_the_level() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(check(nested(MAX_DEPTH + 1).as_bytes()), Err(LineError::TooDeep));
        assert_eq!(check("[".repeat(100_000).as_bytes()), Err(LineError::TooDeep));
        assert_eq!(check(r#"{"a":"#.repeat(100_000).as_bytes()), Err(LineError::TooDeep));
    }

    #[test]
    fn an_error_quotes_nothing_of_the_line() {
        for line in
            [r#"{"password-hunter2":1,"password-hunter2":2}"#, r#"{"a":hunter2}"#, r#"{"a":"hunter2}"#]
        {
            let error: Error = check(line.as_bytes()).expect_err(line).into();
            assert!(!serde_json::to_string(&error).unwrap().contains("hunter2"), "{error:?}");
        }
    }

    proptest! {
        /// Bytes of any kind, in pieces of any size: the same lines, each once, and each what stood in the stream.
        #[test]
        fn chunking_never_matters(stream in "[{}\\[\\]\",:a1\\\\ \n]{0,200}", size in 1usize..50) {
            let whole = read(stream.as_bytes(), stream.len().max(1), 64);
            prop_assert_eq!(&read(stream.as_bytes(), size, 64), &whole);
            for line in whole.into_iter().flatten() {
                let (start, end) = (usize::try_from(line.1).unwrap(), usize::try_from(line.2).unwrap());
                prop_assert_eq!(&stream.as_bytes()[start..end - 1], &line.0[..]);
                let value: Result<serde_json::Value, _> = serde_json::from_slice(&line.0);
                prop_assert!(value.is_ok());
            }
        }
    }
}
