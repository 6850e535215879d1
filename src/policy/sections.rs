//! The sections of a policy that other modules carry out: environment, workspace, network, limits, approval.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::profile::Access;
use super::units::{ByteSize, Processors, duration};
use crate::scan::Severity;

/// Which variables reach a command.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct Environment {
    /// Names that pass beyond the built-in allowlist; a trailing `*` stands for any rest (`"LC_*"`). Naming a variable
    /// that looks like a credential, or one that injects code into programs, is how a policy says that it is meant.
    pub pass: Vec<String>,
}

/// Where commands may work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Workspace {
    /// Absolute directories below which a command may work. Left out, it may work in the directory in which it was asked
    /// for; an empty list permits none.
    pub roots: Option<Vec<String>>,
    /// What may be done with it.
    pub access: Option<Access>,
    /// What becomes of what others would execute later.
    pub later: Option<Later>,
}

/// What becomes of git hooks, executing git settings, and settings of agents, editors and shells that a command leaves
/// in its workspace. The strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Later {
    /// They are reported and set aside; what exists before is read-only.
    #[default]
    SetAside,
    /// They are reported; what exists before is read-only.
    Report,
    /// Nothing: commands may change them.
    Allow,
}

/// The `[scan]` section: what a scan of the files that agents read as instructions leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case", expecting = "a table")]
pub(super) struct ScanSection {
    /// What happens when a session is opened in whose workspace something is found.
    pub on_hit: Option<OnHit>,
    /// From which severity on.
    pub severity: Option<Severity>,
    /// SHA-256 of files that somebody has read and found in order, in hexadecimal, as `execward scan` prints it. In a lower
    /// layer, only what it lists of those that the layers above accept stays accepted.
    pub accept: Option<Vec<String>>,
}

/// What a scan of the files that agents read as instructions leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// What happens when a session is opened in whose workspace something is found.
    pub on_hit: OnHit,
    /// From which severity on.
    pub severity: Severity,
    /// Digests of files that are in order; `None` takes none away from those that a layer above accepts.
    pub accept: Option<Vec<String>>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { on_hit: OnHit::default(), severity: Severity::default(), accept: Some(Vec::new()) }
    }
}

impl Scan {
    /// What adds nothing to what another layer asks for.
    pub(super) fn everything() -> Self {
        Self { on_hit: OnHit::Flag, severity: Severity::High, accept: None }
    }

    /// Whether a file of this digest is in order, whatever was found in it.
    pub fn accepts(&self, sha256: &str) -> bool {
        self.accept.iter().flatten().any(|accepted| accepted == sha256)
    }

    /// The stricter of each.
    pub(super) fn meet(&self, lower: &Self) -> Self {
        let accept = match (&self.accept, &lower.accept) {
            (Some(upper), Some(lower)) => {
                Some(upper.iter().filter(|accepted| lower.contains(accepted)).cloned().collect())
            }
            (one, None) | (None, one) => one.clone(),
        };
        Self { on_hit: self.on_hit.max(lower.on_hit), severity: self.severity.min(lower.severity), accept }
    }
}

impl ScanSection {
    /// This in place of the other where it is given. The error is a sentence, and what is wrong.
    pub(super) fn over(&self, base: Scan) -> Result<Scan, (String, String)> {
        let digest = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if let Some(wrong) = self.accept.iter().flatten().find(|accepted| !digest(accepted)) {
            let message = format!("[scan]: `{wrong}` is not a SHA-256 in lower-case hexadecimal");
            return Err((message, wrong.clone()));
        }
        Ok(Scan {
            on_hit: self.on_hit.unwrap_or(base.on_hit),
            severity: self.severity.unwrap_or(base.severity),
            accept: self.accept.clone().or(base.accept),
        })
    }
}

/// What happens on a finding of the scan, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnHit {
    /// The first command of the session says what was found, and runs.
    Flag,
    /// A person is asked before the first command of the session.
    #[default]
    Ask,
    /// No command of the session runs.
    Deny,
}

/// What a command may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// Wall-clock time of a command; its tree is ended then (exit code 124).
    pub time: Duration,
    /// Time between the polite signal and SIGKILL.
    pub grace: Duration,
    /// Processor time of any one process, in whole seconds; SIGXCPU then, and SIGKILL after the grace. [`Duration::MAX`] is no limit.
    pub cpu: Duration,
    /// Time without any output of a command in the foreground. [`Duration::MAX`] is no limit.
    pub idle: Duration,
    /// Memory of a command's whole tree.
    pub memory: ByteSize,
    /// Swap that it may use beyond that.
    pub swap: ByteSize,
    /// Processors that it may keep busy at a time.
    pub cpus: Processors,
    /// Processes and threads of a command's whole tree.
    pub processes: u32,
    /// Open descriptors of one process.
    pub open_files: u32,
    /// Largest file that a process may write.
    pub file_size: ByteSize,
}

/// The `[limits]` section: what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case", expecting = "a table")]
pub struct LimitsSection {
    /// Wall-clock time of a command (`"10m"`).
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub time: Option<Duration>,
    /// Time between the polite signal and SIGKILL (`"2s"`).
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub grace: Option<Duration>,
    /// Processor time of any one process (`"1m"`), in whole seconds.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub cpu: Option<Duration>,
    /// Time without any output of a command in the foreground (`"2m"`).
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub idle: Option<Duration>,
    /// Memory of a command's whole tree (`"4GiB"`).
    #[schemars(with = "Option<String>")]
    pub memory: Option<ByteSize>,
    /// Swap that it may use beyond that (`"1GiB"`); none where it is left out.
    #[schemars(with = "Option<String>")]
    pub swap: Option<ByteSize>,
    /// Processors that a command's whole tree may keep busy at a time (`1.5`); all where it is left out.
    #[schemars(with = "Option<f64>")]
    pub cpus: Option<Processors>,
    /// Processes and threads of a command's whole tree.
    pub processes: Option<u32>,
    /// Open descriptors of one process.
    pub open_files: Option<u32>,
    /// Largest file that a process may write (`"16GiB"`).
    #[schemars(with = "Option<String>")]
    pub file_size: Option<ByteSize>,
}

impl LimitsSection {
    /// These limits in place of the others where they are given.
    pub(super) fn over(&self, base: &Limits) -> Limits {
        Limits {
            time: self.time.unwrap_or(base.time),
            grace: self.grace.unwrap_or(base.grace),
            cpu: self.cpu.unwrap_or(base.cpu),
            idle: self.idle.unwrap_or(base.idle),
            memory: self.memory.unwrap_or(base.memory),
            swap: self.swap.unwrap_or(base.swap),
            cpus: self.cpus.unwrap_or(base.cpus),
            processes: self.processes.unwrap_or(base.processes),
            open_files: self.open_files.unwrap_or(base.open_files),
            file_size: self.file_size.unwrap_or(base.file_size),
        }
    }
}

impl Limits {
    /// The smaller of each.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        Self {
            time: self.time.min(other.time),
            grace: self.grace.min(other.grace),
            cpu: self.cpu.min(other.cpu),
            idle: self.idle.min(other.idle),
            memory: self.memory.min(other.memory),
            swap: self.swap.min(other.swap),
            cpus: self.cpus.min(other.cpus),
            processes: self.processes.min(other.processes),
            open_files: self.open_files.min(other.open_files),
            file_size: self.file_size.min(other.file_size),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(600),
            grace: Duration::from_secs(2),
            cpu: Duration::MAX,
            idle: Duration::MAX,
            memory: ByteSize(4 << 30),
            swap: ByteSize(0),
            cpus: Processors::ALL,
            processes: 1024,
            open_files: 4096,
            file_size: ByteSize(16 << 30),
        }
    }
}

/// How a person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// How long an answer is waited for. No answer in time is a deny.
    pub timeout: Duration,
}

impl Default for Approval {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60) }
    }
}

/// The `[approval]` section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct ApprovalSection {
    /// How long an answer is waited for (`"60s"`).
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
}
