//! A command as a runner is told to start it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{FileId, Layer};

/// A command to start in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spawn {
    /// Chosen by the supervisor, unique in the session.
    pub id: u64,
    /// The program (looked up in PATH of `env` when it has no slash) and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Absolute, below the workspace.
    pub cwd: PathBuf,
    /// Of the directory that was checked; another one at the same path is refused.
    pub cwd_id: FileId,
    /// Wall-clock limit in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Between SIGTERM and SIGKILL when a limit ends it, in milliseconds.
    pub grace_ms: u64,
    /// Processor time of any one of its processes in seconds, not 0 (RLIMIT_CPU).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<u64>,
    /// Time without any output in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// What it gets less of than its session.
    #[serde(default, skip_serializing_if = "Apart::is_empty")]
    pub apart: Apart,
    /// Gives it a terminal of its own, of this size, in place of three pipes. All that it writes is then
    /// [`Stream::Stdout`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Window>,
    /// Gives it one more descriptor, to which its shell says at the end what its environment is.
    #[serde(default)]
    pub persist: bool,
    /// No other command follows it in this session: nothing is made ready for one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

/// How a command is set apart from its session: it has namespaces of its own, which serve no other command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apart {
    /// It reaches nothing: neither the session's network nor its loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// It has a loopback of its own, with a proxy that leads to these hosts: for the receipt, the supervisor serves it. Not
    /// where it is offline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// This directory, and what is mounted below it, cannot be changed by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<PathBuf>,
    /// Files that show this content to it, whatever becomes of what they cover.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// Secrets that it alone is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGiven>,
    /// The places that it finds empty, in place of those that the commands of the session share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<Private>,
}

impl Apart {
    /// Most bytes of content of all files that are held for one command: they travel in one frame, in base64.
    pub const MOST: usize = 4 << 20;

    /// Whether it has a network namespace of its own in which a proxy is to be served.
    pub fn is_proxied(&self) -> bool {
        !self.offline && !self.hosts.is_empty()
    }

    /// Whether nothing sets it apart.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What it is in a receipt; `None` where nothing sets the command apart.
    pub fn layer(&self) -> Option<Layer> {
        let name = "apart".to_owned();
        (!self.is_empty()).then(|| Layer { name, enforced: true, detail: self.detail() })
    }

    /// In one sentence, for the receipt.
    fn detail(&self) -> String {
        let mut parts = Vec::new();
        if self.offline {
            parts.push("no network, not even loopback".to_owned());
        } else if !self.hosts.is_empty() {
            parts
                .push(format!("a loopback of its own, with a proxy that leads to {}", self.hosts.join(", ")));
        }
        if self.read_only.is_some() {
            parts.push("the workspace read-only".to_owned());
        }
        if !self.held.is_empty() {
            parts.push(format!("{} script files as they were approved", self.held.len()));
        }
        if !self.secrets.is_empty() {
            let names: Vec<&str> = self.secrets.iter().map(|secret| secret.name.as_str()).collect();
            parts.push(format!("given the secrets {}", names.join(", ")));
        }
        if self.private.is_some() {
            parts.push("a home, /tmp and /run of its own, empty".to_owned());
        }
        parts.join("; ")
    }
}

/// A file that shows this content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Absolute, as the command sees it. There must be a file.
    pub path: PathBuf,
    /// What it shows.
    #[serde(with = "in_base64")]
    pub content: Vec<u8>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// Where files of secrets are shown.
pub const SECRETS: &str = "/run/secrets";

/// A secret for one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretGiven {
    /// Its name.
    pub name: String,
    /// The variable that holds it, or the path of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The name of its file below [`SECRETS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The secret.
    pub value: Hidden,
}

impl SecretGiven {
    /// The variable that it sets.
    pub fn variable(&self) -> Option<(&str, Zeroizing<String>)> {
        let value = match &self.file {
            Some(file) => Zeroizing::new(format!("{SECRETS}/{file}")),
            None => self.value.0.clone(),
        };
        Some((self.env.as_deref()?, value))
    }
}

/// A text that is erased when dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Zeroizing<String>);

impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Hidden {
    /// The text itself, for the one place that it belongs into.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<Zeroizing<String>> for Hidden {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Places of a command's own, in place of the session's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Private {
    /// The home.
    pub home: PathBuf,
    /// Bytes that each of them holds.
    pub room: u64,
    /// The workspace, and what else of the session's root lies in such a place: it stays.
    pub keep: Vec<PathBuf>,
}

/// Bytes in a text.
mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// The size of a terminal in characters. Programs allocate by it and divide by it, so that no other is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    rows: u16,
    cols: u16,
}

impl Window {
    /// Most lines, and most columns.
    pub const MOST: u16 = 4096;

    /// The size nearest to this one that is passed on.
    pub fn clamped(rows: u16, cols: u16) -> Self {
        Self { rows: rows.clamp(1, Self::MOST), cols: cols.clamp(1, Self::MOST) }
    }

    /// Lines, and columns.
    pub fn size(self) -> (u16, u16) {
        (self.rows, self.cols)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Any {
            rows: u16,
            cols: u16,
        }
        Any::deserialize(deserializer).map(|Any { rows, cols }| Self::clamped(rows, cols))
    }
}
