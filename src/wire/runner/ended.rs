//! How a command ended: what its first process said, which limits it ran into, and what it left behind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Of the command.
    pub id: u64,
    /// What its first process said, or why it was ended.
    pub end: End,
    /// From exec to the end, in microseconds.
    pub wall_us: u64,
    /// User and system time of the whole tree, in microseconds.
    pub cpu_us: u64,
    /// Largest resident set of any of its processes, in KiB.
    pub max_rss_kib: u64,
    /// What was found in the workspace afterwards.
    #[serde(default, skip_serializing_if = "Aftermath::is_empty")]
    pub aftermath: Aftermath,
    /// The limits that it ran into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
    /// What its shell said of itself, where [`Spawn::persist`] asked for it. The command can have it say anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<ShellState>,
}

/// The state in which a shell ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellState {
    /// Its exported variables; `PWD` is its directory.
    pub env: BTreeMap<String, String>,
}

/// A limit that a command ran into, whatever became of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reached {
    /// Which.
    pub limit: LimitName,
    /// How that is known.
    pub evidence: String,
}

/// The name of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitName {
    /// Wall-clock time; the lifetime, for a command in the background.
    Time,
    /// Time without output.
    Idle,
    /// Processor time of one process.
    Cpu,
    /// Memory of all processes together.
    Memory,
    /// Processes and threads together.
    Processes,
    /// The largest file.
    FileSize,
    /// A private file system in memory.
    Tmpfs,
    /// The output that is kept.
    Output,
}

impl LimitName {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Idle => "time without output",
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::FileSize => "file size",
            Self::Tmpfs => "private file systems",
            Self::Output => "kept output",
        }
    }
}

/// What appeared or changed in the workspace that others would execute or obey later, outside any sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Aftermath {
    /// Each, in the order in which it was found; at most [`MAX_FOUND`].
    pub found: Vec<Found>,
    /// How many more there were. They were set aside as well.
    #[serde(default)]
    pub more: u64,
    /// Why not everything was looked at; absent where all was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
}

impl Aftermath {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.more == 0 && self.unseen.is_none()
    }
}

/// Most finds that one command's end reports by name.
pub const MAX_FOUND: usize = 64;

/// Something that would be executed or obeyed later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Where, relative to the workspace; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// What it is.
    pub kind: FoundKind,
    /// The setting, for one of a git configuration: `core.fsmonitor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// What became of it.
    pub fate: Fate,
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FoundKind {
    /// A program that git runs by itself: githooks(5).
    GitHook,
    /// A setting by which git runs a program, or works elsewhere: git-config(1).
    GitSetting,
    /// A `.git` file or `commondir` that leads out of the workspace.
    GitPointer,
    /// Settings of an agent, an editor or a shell.
    Settings,
    /// Instructions that agents or services follow.
    Instructions,
}

/// What became of a find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It has another name now, under which nothing obeys it. Renaming it back restores it.
    SetAside {
        /// Relative to the workspace.
        to: String,
    },
    /// It is where it was, as the policy says.
    Left,
    /// It is where it was, because it could not be set aside.
    Stays {
        /// Why.
        error: String,
    },
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// Exited by itself.
    Code {
        /// 0 to 255.
        code: u8,
    },
    /// Died of a signal that execward did not send.
    Signal {
        /// As in signal(7).
        signal: i32,
    },
    /// Ended by execward.
    Killed {
        /// Why.
        cause: Cause,
    },
    /// Could not be executed.
    NotExecuted {
        /// errno of the exec.
        errno: i32,
        /// What was tried.
        program: String,
    },
}

/// Why execward ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The wall-clock limit.
    Time,
    /// The limit on time without output.
    Idle,
    /// The requester asked, or went away.
    Cancelled,
    /// The supervisor went away.
    Orphaned,
}
