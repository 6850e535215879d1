//! What an archive says that it has.

use serde::{Deserialize, Serialize};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The first member of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of the archive.
    pub format: u32,
    /// The execward that made it.
    pub execward: String,
    /// When: RFC 3339, UTC.
    pub created: String,
    /// On which machine.
    pub host: String,
    /// Of whom.
    pub uid: u32,
    /// The version of the database.
    pub schema: usize,
    /// The key that signs the checkpoints of its log, where it has signed any: the public half, in hexadecimal.
    pub log_key: Option<String>,
    /// Every other member.
    pub entries: Vec<Entry>,
    /// The member with the secrets, where they are in it.
    pub secrets: Option<Entry>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `config/...` or `state/...`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Of its content, in hexadecimal.
    pub sha256: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub uid: u32,
    /// As it says.
    pub gid: u32,
}
