//! The chain: how a record becomes a line, and how each line binds the one before. Pure.
//!
//! A line is compact JSON: `seq`, `time`, `prev`, `kind`, `body`, in this order. `prev` is the SHA-256 of the line
//! before without its newline, as `sha256sum` says it, so that an auditor needs no execward to follow the chain. What
//! the chain cannot show is a removed tail: keep a hash of the head elsewhere.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::gate::Command;

use super::record::{Digest, Record};

/// SHA-256 of one line without its newline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// Proof that the record with this number and hash is on disk. Nothing outside of the audit log can make one.
///
/// ```compile_fail
/// let forged = execward::audit::Durable::new(1, execward::audit::Hash::START);
/// ```
///
/// ```compile_fail
/// fn twice(durable: execward::audit::Durable) -> (execward::audit::Durable, execward::audit::Durable) {
///     (durable.clone(), durable)
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a command may only run with the proof that its decision is recorded"]
pub struct Durable {
    seq: u64,
    hash: Hash,
    clears: Option<String>,
}

/// The log's own key: digests of what was asked for are keyed, since a plain digest of a short secret can be guessed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// What every line has, read back.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// From 1, without a gap.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub time: String,
    /// Hash of the line before; 64 zeros in the first.
    pub prev: String,
    /// `decision`, `end`, `repeated`, `checkpoint`, `rotated`, `repaired`, ...
    pub kind: String,
    /// The record.
    pub body: serde_json::Value,
}

impl Hash {
    /// What the first line names as the one before it.
    pub const START: Self = Self([0; 32]);

    /// Of a line without its newline.
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Durable {
    /// Only the log, after fdatasync. `clears` is the request that the record says may run, if it says so.
    pub(in crate::audit) fn new(seq: u64, hash: Hash, clears: Option<String>) -> Self {
        Self { seq, hash, clears }
    }

    /// A witness without a log.
    #[cfg(test)]
    pub(crate) fn for_tests(clears: &str) -> Self {
        Self::new(1, Hash([0; 32]), Some(clears.to_owned()))
    }

    /// The request that may run by this record; `None` for the record of a refusal or of an end.
    pub fn clears(&self) -> Option<&str> {
        self.clears.as_deref()
    }

    /// The record's number.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The record's hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

impl Key {
    /// Takes key bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Keyed digest (HMAC-SHA256) of bytes.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        let mut text = String::from("hmac-sha256:");
        // HMAC takes keys of every length; without one nothing could be digested, and the text says so.
        match Hmac::<Sha256>::new_from_slice(self.0.as_slice()) {
            Ok(mut mac) => {
                mac.update(bytes);
                let tag: [u8; 32] = mac.finalize().into_bytes().into();
                text.push_str(&Hash(tag).to_string());
            }
            Err(_) => text.push_str("none"),
        }
        Digest(text)
    }

    /// Keyed digest of exactly this command: two commands have one digest only when they are the same.
    pub fn command(&self, command: &Command) -> Digest {
        let mut bytes = Zeroizing::new(Vec::new());
        match command {
            Command::Shell(text) => {
                bytes.push(b's');
                bytes.extend(text.as_bytes());
            }
            Command::Argv(argv) => {
                bytes.push(b'a');
                for argument in argv {
                    bytes.extend((argument.len() as u64).to_le_bytes());
                    bytes.extend(argument.as_bytes());
                }
            }
        }
        self.digest(&bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// The line of a record, without its newline.
pub(in crate::audit) fn line(record: &Record, seq: u64, time: &str, prev: Hash) -> Vec<u8> {
    // Field by field: a map would sort them, and `body` belongs last.
    let mut line =
        format!(r#"{{"seq":{seq},"time":"{time}","prev":"{prev}","kind":"{}","body":"#, record.kind);
    push_plain(&mut line, &record.body.to_string());
    line.push('}');
    line.into_bytes()
}

/// Appends JSON in such a way that whatever prints the line cannot be deceived by it. JSON itself escapes the controls
/// of ASCII; those of Unicode (C1, line separators, directions, what has no width) it lets through, and here they are
/// escaped, too. Outside of strings JSON has none of them.
fn push_plain(line: &mut String, json: &str) {
    if json.is_ascii() && !json.contains('\u{7f}') {
        return line.push_str(json);
    }
    for c in json.chars() {
        if c.is_ascii_graphic() || c == ' ' || !steers(c) {
            line.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// Whether a character moves the cursor, ends a line, turns the direction of writing, or cannot be seen.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Reads pairs of lower-case hex digits, as many as fill `N` bytes and no more.
pub(in crate::audit) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Lower-case hex digits.
pub(in crate::audit) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(Zeroizing::new([7; 32]))
    }

    #[test]
    fn a_line_reads_back_and_hashes_as_sha256sum_says() {
        let record = Record {
            kind: "decision",
            body: serde_json::json!({"b": "x\ny", "a": 1}),
            clears: None,
            same: None,
        };
        let text = line(&record, 3, "2026-11-23T12:00:00Z", Hash::START);
        assert!(!text.contains(&b'\n'));
        let back: Line = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            (back.seq, back.kind.as_str(), back.prev.as_str()),
            (3, "decision", "0".repeat(64).as_str())
        );
        // printf abc | sha256sum
        assert_eq!(
            Hash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn text_in_a_record_is_one_line_and_steers_no_terminal() {
        let hostile = "a\n{\"seq\":9,\"kind\":\"decision\"}\u{1b}[2J\u{9b}1A\u{7f}\u{2028}\u{202e}\u{200b}\u{e0041}\u{fe0f} \u{e9}\u{4e2d}\u{1f980}";
        let record = Record {
            kind: "decision",
            body: serde_json::json!({ "text": hostile }),
            clears: None,
            same: None,
        };
        let line = line(&record, 1, "2026-11-23T12:00:00Z", Hash::START);
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(!text.chars().any(|c| c.is_control() || steers(c)), "{text:?}");
        assert!(text.contains('\u{4e2d}') && text.contains('\u{1f980}'), "{text}");
        let back: Line = serde_json::from_slice(&line).unwrap();
        assert_eq!((back.kind.as_str(), &back.body["text"]), ("decision", &hostile.into()));
    }

    #[test]
    fn hex_reads_back_and_nothing_else_does() {
        let hash = Hash::of(b"abc");
        assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
        for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"G".repeat(64), &"A".repeat(64)] {
            assert_eq!(Hash::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_witness_names_the_request_that_it_clears() {
        assert_eq!(Durable::for_tests("r1").clears(), Some("r1"));
        assert_eq!(Durable::new(2, Hash::START, None).clears(), None);
    }

    #[test]
    fn a_digest_is_hmac_sha256() {
        // RFC 4231, test case 1, with its 20-byte key padded with zeros as HMAC pads it.
        let mut bytes = [0; 32];
        bytes[..20].fill(0x0b);
        assert_eq!(
            Key::new(Zeroizing::new(bytes)).digest(b"Hi There").0,
            "hmac-sha256:b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn different_commands_never_share_a_digest() {
        let argv = |argv: &[&str]| Command::Argv(argv.iter().map(ToString::to_string).collect());
        let digests: Vec<_> = [
            argv(&["ab", "c"]),
            argv(&["a", "bc"]),
            argv(&["abc"]),
            argv(&["abc", ""]),
            argv(&[]),
            Command::Shell("abc".into()),
            Command::Shell(String::new()),
        ]
        .iter()
        .map(|command| key().command(command))
        .collect();
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "{index}");
        }
        assert_eq!(key().command(&argv(&["ab", "c"])), digests[0]);
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key()), "Key(***)");
    }
}
