//! Commands in a session.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Bounded, Chunk, Collected, Data, ExecId, NotData, PathText, Report, RequestId, SessionId, Stream,
    VarName, VarValue,
};
use crate::gate::Command;
use crate::wire::runner::Window;

/// How long a reply may be waited for, in milliseconds; at most ten minutes, then ask again.
pub type Wait = Bounded<0, 600_000>;

/// `exec/start`: has a command judged, and run where it is cleared. The reply comes when it has been judged; a command
/// that a person must agree to is `waiting`, and its end tells what became of it.
///
/// The same id with the same parameters is the same command: nothing is started a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// What the command will be called, unique in its session.
    pub id: ExecId,
    /// What is to run: `{"argv": [...]}` or `{"shell": "..."}`.
    pub command: Command,
    /// Where it starts, in the workspace: absolute, or relative to the workspace; the workspace where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathText>,
    /// Variables to add, as far as the policy lets them pass.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<VarName, VarValue>,
    /// Wall-clock limit in milliseconds; the policy's where it is left out, and never longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Bounded<1, { 7 * 24 * 3600 * 1000 }>>,
    /// Goes on between other commands, up to the policy's lifetime for such commands. A foreground command ends with
    /// the connection that started it.
    #[serde(default)]
    pub background: bool,
    /// Starts where the session's last such shell command ended, with the variables that it exported, and, being a shell command in
    /// the foreground itself, leaves both to the next one. `cwd` and `env` say otherwise for this command. What is passed on is
    /// filtered like `env`; a directory outside the workspace is not kept. Functions, aliases and options of a shell are not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub persist: bool,
    /// Gives it a terminal of this size; then stdout and stderr are one stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<Size>,
    /// What it reads.
    #[serde(default)]
    pub stdin: Stdin,
    /// What becomes of its output.
    #[serde(default)]
    pub output: Output,
    /// Which of its descriptors come with this line (SCM_RIGHTS), in this order. execward stands between: it reads and
    /// writes them itself, and masks what looks like a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub fds: Vec<Fd>,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Lines.
    pub rows: Bounded<1, 4096>,
    /// Columns.
    pub cols: Bounded<1, 4096>,
}

impl Size {
    /// As the runner takes it.
    pub fn window(self) -> Window {
        let short = |size: u64| u16::try_from(size).unwrap_or(u16::MAX);
        Window::clamped(short(self.rows.get()), short(self.cols.get()))
    }
}

/// What a command reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// Nothing: the end of the file at once.
    #[default]
    None,
    /// What `exec/write` sends.
    Pipe,
}

/// What becomes of a command's output. What a descriptor of `fds` takes is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum Output {
    /// Pushed as `exec/output` to the connection that started it; whoever connects again goes on with `exec/read`.
    Stream,
    /// Kept until it is read with `exec/read`. A command whose output nobody reads stops at a bound.
    Poll,
    /// Kept until the end: the beginning and the end of each stream, and how much is missing between.
    Collect {
        /// Bytes kept of the beginning.
        #[serde(default = "head")]
        head: Bounded<0, 1_048_576>,
        /// Bytes kept of the end.
        #[serde(default = "tail")]
        tail: Bounded<0, 1_048_576>,
    },
}

fn head() -> Bounded<0, 1_048_576> {
    Bounded::clamped(100 * 1024)
}

fn tail() -> Bounded<0, 1_048_576> {
    Bounded::clamped(150 * 1024)
}

impl Default for Output {
    fn default() -> Self {
        Self::Collect { head: head(), tail: tail() }
    }
}

/// A descriptor of a command that a client passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fd {
    /// 0.
    Stdin,
    /// 1.
    Stdout,
    /// 2.
    Stderr,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A person is being asked.
    Waiting,
    /// It runs.
    Running,
    /// It has ended, or will never run.
    Ended,
}

/// The reply to `exec/start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// Its session.
    pub session: SessionId,
    /// As the client called it.
    pub id: ExecId,
    /// As the audit log calls it.
    pub request_id: RequestId,
    /// How far it has come.
    pub state: State,
    /// Whether this id had been started before, so that this request started nothing.
    pub again: bool,
}

/// The command that a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
}

/// `exec/read`: output after a number. What was read may be read again while it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
    /// The last chunk that the client has; 0 is from the beginning. What is before it need not be kept any more.
    #[serde(default)]
    pub after_seq: u64,
    /// Most bytes of output in the reply.
    #[serde(default = "read_size")]
    pub max_bytes: Bounded<1, 524_288>,
    /// How long to wait where there is nothing yet.
    #[serde(default)]
    pub wait_ms: Wait,
}

fn read_size() -> Bounded<1, 524_288> {
    Bounded::clamped(65_536)
}

impl Default for Wait {
    fn default() -> Self {
        Self::MIN
    }
}

/// The reply to `exec/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Read {
    /// In order, without gaps.
    pub chunks: Vec<Chunk>,
    /// The number of the last one, to go on after; the one that was asked for where there are none.
    pub last_seq: u64,
    /// Whether the command has ended.
    pub exited: bool,
    /// Whether its output has ended and `last_seq` is the last there is.
    pub closed: bool,
}

/// `exec/range`: a part of the collected output of a command, wherever it lies: what its result leaves out is on disk for as
/// long as the command is known, up to a bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
    /// Which of its streams; what a terminal showed is its standard output.
    pub stream: Stream,
    /// Where to begin, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Most bytes of output in the reply.
    #[serde(default = "read_size")]
    pub max_bytes: Bounded<1, 524_288>,
}

/// The reply to `exec/range`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// `text` or `base64`; empty where nothing is kept there. A character is not cut where it can be helped.
    #[serde(flatten)]
    pub data: Data,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Bytes that the command has written to the stream so far, as they were shown: masked.
    pub written: u64,
    /// Bytes from the beginning that are kept, and can be had.
    pub kept: u64,
    /// Why not all of it is; absent where all is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// `exec/write`: standard input. The reply comes when the command has room for more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
    /// The bytes, where they are text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Whether this is the end of it.
    #[serde(default)]
    pub end: bool,
}

impl WriteExec {
    /// The bytes; none is fine.
    ///
    /// # Errors
    /// When both forms are there, or base64 is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>, NotData> {
        match (&self.text, &self.base64) {
            (Some(_), Some(_)) => Err(NotData::Both),
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => Data::Base64(text.clone()).into_bytes(),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// The reply to `exec/write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Bytes taken: all, or fewer where the command closed its input first.
    pub bytes: u64,
}

/// `exec/signal`: a signal for the command's process group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
    /// Which.
    pub signal: Signal,
}

/// A signal that a client may send. `exec/kill` ends a command for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// 1.
    Hup,
    /// 2: Ctrl-C.
    Int,
    /// 3: Ctrl-\.
    Quit,
    /// 9.
    Kill,
    /// 10.
    Usr1,
    /// 12.
    Usr2,
    /// 15.
    Term,
    /// 18.
    Cont,
    /// 19.
    Stop,
    /// 20: Ctrl-Z.
    Tstp,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Hup,
        Self::Int,
        Self::Quit,
        Self::Kill,
        Self::Usr1,
        Self::Usr2,
        Self::Term,
        Self::Cont,
        Self::Stop,
        Self::Tstp,
    ];

    /// The signal of a number, where a client may send it.
    pub fn of(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.number() == number)
    }

    /// Its number on Linux; the same on every architecture that execward runs on.
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Term => 15,
            Self::Cont => 18,
            Self::Stop => 19,
            Self::Tstp => 20,
        }
    }
}

/// `exec/resize`: a new size of the command's terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResizeExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
    /// Lines.
    pub rows: Bounded<1, 4096>,
    /// Columns.
    pub cols: Bounded<1, 4096>,
}

/// `exec/wait`: the end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitExec {
    /// The session; where it is left out, the one session that this connection has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The command.
    pub id: ExecId,
    /// How long to wait; a command that has not ended by then is no error.
    #[serde(default = "wait")]
    pub wait_ms: Wait,
}

fn wait() -> Wait {
    Wait::MAX
}

/// The reply to `exec/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waited {
    /// The command.
    pub id: ExecId,
    /// How far it has come.
    pub state: State,
    /// How it came out; there once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Its standard output, where that was collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Collected>,
    /// Its standard error, where that was collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Collected>,
}

/// A command, as its principal sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exec {
    /// The command.
    pub id: ExecId,
    /// As the audit log calls it.
    pub request_id: RequestId,
    /// On one line, with secrets masked.
    pub command: String,
    /// How far it has come.
    pub state: State,
    /// Whether it goes on between other commands.
    pub background: bool,
    /// When it was asked for: RFC 3339, UTC.
    pub started: String,
    /// The last chunk of its output so far; 0 where there is none, or where it is not kept in chunks.
    pub last_seq: u64,
}

/// `exec/list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Execs {
    /// Oldest first; those that ended are kept for a while.
    pub execs: Vec<Exec>,
}

/// `exec/output`: a chunk, for the connection that started the command with `stream`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputEvent {
    /// Its session.
    pub session: SessionId,
    /// The command.
    pub id: ExecId,
    /// The bytes.
    #[serde(flatten)]
    pub chunk: Chunk,
}

/// `exec/exited`: the command has ended, and nothing that it started is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitedEvent {
    /// Its session.
    pub session: SessionId,
    /// The command.
    pub id: ExecId,
    /// How it came out.
    pub report: Report,
}

/// `exec/closed`: there is no more output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClosedEvent {
    /// Its session.
    pub session: SessionId,
    /// The command.
    pub id: ExecId,
    /// The last chunk.
    pub last_seq: u64,
}

impl From<Stream> for Fd {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout | Stream::Pty => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}
