//! What operators ask about jobs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bounded, Words};
use crate::gate::{Command, Decision, Finding};

/// `job/list`: all jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Jobs {
    /// By name.
    pub jobs: Vec<Job>,
    /// Deliveries that were given up and that nobody has read.
    pub dead_letters: u64,
    /// Messages to the operators' own list that nobody has read.
    pub unread: u64,
    /// When the clock was last looked at: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<String>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whose commands run.
    pub user: String,
    /// When, as it is written.
    pub schedule: String,
    /// Whether it runs when it is due.
    pub enabled: bool,
    /// Who has switched it off, where an operator has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_by: Option<String>,
    /// When it is due next: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// It is due, and nothing happens.
    pub overdue: bool,
    /// The last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<JobRun>,
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRun {
    /// Its number.
    pub run: i64,
    /// Its job.
    pub job: String,
    /// When it was due; the first, where it stands for several: RFC 3339, UTC, as all times here.
    pub due: String,
    /// When the last of those was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// For how many it stands.
    pub count: u64,
    /// Which try it is.
    pub attempt: u32,
    /// `scheduled`, `running`, `ok`, `failed`, `timed-out`, `refused`, `missed` or `unknown`.
    pub state: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How it came out.
    pub reason: String,
    /// As the audit log names its command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Who had it run, where that was not its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
}

/// `job/show`, `job/run` and `job/test`: one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfJob {
    /// Its name.
    pub job: Words,
}

/// The reply to `job/show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownJob {
    /// The job.
    pub job: Job,
    /// What runs.
    pub command: Command,
    /// The directory that it may change.
    pub workspace: String,
    /// Rules that ask, to which its file says yes.
    pub grant: Vec<String>,
    /// Who is told, without secrets.
    pub targets: Vec<String>,
    /// What became of the last run's deliveries.
    pub letters: Vec<Letter>,
}

/// The reply to `job/run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedRun {
    /// Its number.
    pub run: i64,
}

/// The reply to `job/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestedJob {
    /// What the policy says of the command.
    pub decision: Decision,
    /// Whether it would run: nothing denies it, and its grant has every rule that asks.
    pub runs: bool,
    /// Why.
    pub findings: Vec<Finding>,
    /// Each target, told that this is a test.
    pub targets: Vec<TestedTarget>,
}

/// A target that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestedTarget {
    /// Which, without secrets.
    pub target: String,
    /// Why it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `job/history`: the last runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobHistory {
    /// Of one job; of all where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Words>,
    /// How many.
    #[serde(default = "twenty")]
    pub most: Bounded<1, 1000>,
}

fn twenty() -> Bounded<1, 1000> {
    Bounded::clamped(20)
}

/// The reply to `job/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRuns {
    /// Newest first.
    pub runs: Vec<JobRun>,
}

/// `job/switch`: has a job run when it is due, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchJob {
    /// Its name.
    pub job: Words,
    /// Whether it is to run.
    pub on: bool,
}

/// `job/letters`: what nobody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListLetters {
    /// Which.
    pub which: WhichLetters,
}

/// Which letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhichLetters {
    /// Those that could not be delivered.
    Dead,
    /// Those to the operators' own list.
    Queue,
}

/// The reply to `job/letters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobLetters {
    /// Oldest first.
    pub letters: Vec<Letter>,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Letter {
    /// Its name.
    pub delivery: String,
    /// The job.
    pub job: String,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// `result`, `alarm` or `heartbeat`.
    pub kind: String,
    /// Where to, without secrets.
    pub target: String,
    /// `pending`, `sent`, `failed` or `dead-letter`.
    pub state: String,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    pub error: String,
    /// When it came to be.
    pub created: String,
    /// What it says, in a sentence.
    pub headline: String,
    /// The end of what the command wrote.
    pub output: String,
}

/// `job/settle`: a letter was read, or is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleLetter {
    /// Which.
    pub delivery: Words,
    /// Whether a dead letter is tried again, from the beginning; else it was read.
    #[serde(default)]
    pub again: bool,
}
