//! Checkpoints: a signed statement that the chain had this hash at this record. Pure.
//!
//! Whoever can write the log can also read the key that signs, so a checkpoint inside the log proves little against its
//! owner; one that is kept elsewhere proves that what the log said up to there is what it says now. A checkpoint is one
//! line of JSON. What is signed (Ed25519, RFC 8032) is the text of [`Checkpoint::signed_text`], so that an auditor can
//! check it with `openssl pkeyutl -verify -rawin` and needs no execward.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::chain::{Hash, from_hex, to_hex};

/// Longest checkpoint that is read, in bytes.
const MAX_CHECKPOINT: usize = 4096;

/// The log's signing key.
pub struct Signer(SigningKey);

/// The key that a log's checkpoints can be checked with: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A signed statement about the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Of which log: the first 16 bytes of the SHA-256 of its public key, in hex.
    pub log: String,
    /// Number of the last record that it vouches for.
    pub seq: u64,
    /// That record's hash, in hex.
    pub hash: String,
    /// When it was made: RFC 3339, UTC.
    pub time: String,
    /// The public key, in hex.
    pub public_key: String,
    /// The signature, in hex.
    pub signature: String,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is not a checkpoint.
    #[error("is no checkpoint: it must be the one line that `execward audit checkpoint` printed")]
    Malformed,
    /// The signature does not fit.
    #[error("has a signature that does not fit: it was changed")]
    Signature,
    /// It fits, but another key made it.
    #[error("was signed with another key than this log's")]
    OtherKey,
}

impl Signer {
    /// From the 32 bytes of a private key.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The key to check with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Vouches for the chain up to this record.
    pub fn checkpoint(&self, seq: u64, hash: Hash, time: &str) -> Checkpoint {
        let key = self.public_key();
        let mut checkpoint = Checkpoint {
            log: key.log(),
            seq,
            hash: hash.to_string(),
            time: time.to_owned(),
            public_key: key.to_string(),
            signature: String::new(),
        };
        checkpoint.signature = to_hex(&self.0.sign(checkpoint.signed_text().as_bytes()).to_bytes());
        checkpoint
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public_key())
    }
}

impl PublicKey {
    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }

    /// The name of the log whose key it is.
    pub fn log(self) -> String {
        Hash::of(&self.0).to_string().chars().take(32).collect()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Checkpoint {
    /// Reads one line of JSON.
    ///
    /// # Errors
    /// When it is not a checkpoint; whether it can be believed is for [`Self::check`] to say.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > MAX_CHECKPOINT {
            return Err(CheckpointError::Malformed);
        }
        serde_json::from_str(text).map_err(|_| CheckpointError::Malformed)
    }

    /// What is signed.
    pub fn signed_text(&self) -> String {
        let Self { log, seq, hash, time, .. } = self;
        format!("execward-checkpoint-v1\n{log}\n{seq}\n{hash}\n{time}\n")
    }

    /// Checks the signature, and that `key` made it where one is known. Returns the hash that it vouches for.
    ///
    /// # Errors
    /// When it cannot be believed.
    pub fn check(&self, key: Option<PublicKey>) -> Result<Hash, CheckpointError> {
        let hash = Hash::from_hex(&self.hash).ok_or(CheckpointError::Malformed)?;
        let own = PublicKey::from_hex(&self.public_key).ok_or(CheckpointError::Malformed)?;
        let signature = from_hex::<64>(&self.signature).ok_or(CheckpointError::Malformed)?;
        // A line break in a field could move text from one field to the next under the same signature.
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain(&self.time) || self.log != own.log() {
            return Err(CheckpointError::Malformed);
        }
        // Strict: keys of small order and malleable signatures are refused (RFC 8032, section 8.4).
        VerifyingKey::from_bytes(&own.0)
            .and_then(|key| {
                key.verify_strict(self.signed_text().as_bytes(), &Signature::from_bytes(&signature))
            })
            .map_err(|_| CheckpointError::Signature)?;
        if key.is_some_and(|key| key != own) {
            return Err(CheckpointError::OtherKey);
        }
        Ok(hash)
    }
}

impl fmt::Display for Checkpoint {
    /// One line of JSON, without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(&[7; 32])
    }

    fn checkpoint() -> Checkpoint {
        signer().checkpoint(42, Hash::of(b"x"), "2026-11-23T12:00:00Z")
    }

    #[test]
    fn a_checkpoint_reads_back_and_is_believed() {
        let back = Checkpoint::parse(&checkpoint().to_string()).unwrap();
        assert_eq!(back.check(None), Ok(Hash::of(b"x")));
        assert_eq!(back.check(Some(signer().public_key())), Ok(Hash::of(b"x")));
        let other = Signer::new(&[8; 32]).public_key();
        assert_eq!(back.check(Some(other)), Err(CheckpointError::OtherKey));
    }

    #[test]
    fn no_field_can_be_changed() {
        let changes: [fn(&mut Checkpoint); 6] = [
            |it| it.seq += 1,
            |it| it.hash = Hash::of(b"y").to_string(),
            |it| it.time = "2026-11-23T12:00:01Z".into(),
            |it| it.log = "0".repeat(32),
            |it| it.public_key = Signer::new(&[8; 32]).public_key().to_string(),
            |it| it.signature = to_hex(&[0; 64]),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut changed = checkpoint();
            change(&mut changed);
            assert!(changed.check(None).is_err(), "{index}");
        }
        let mut resigned = checkpoint();
        resigned.public_key = Signer::new(&[8; 32]).public_key().to_string();
        resigned.log = Signer::new(&[8; 32]).public_key().log();
        assert_eq!(resigned.check(None), Err(CheckpointError::Signature));
    }

    #[test]
    fn a_key_is_never_printed() {
        let text = format!("{:?}", signer());
        assert!(text.contains(&signer().public_key().to_string()) && !text.contains("0707"), "{text}");
    }

    #[test]
    fn what_is_no_checkpoint_is_said_to_be_none() {
        for text in ["", "{}", "[]", "x", &"x".repeat(MAX_CHECKPOINT + 1)] {
            assert_eq!(Checkpoint::parse(text), Err(CheckpointError::Malformed));
        }
    }
}
