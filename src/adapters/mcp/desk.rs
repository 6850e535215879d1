//! The daemon's side of the tools: which session, which connection, how far each command was read.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::tools::{
    Approval, Check, Checked, Going, Kill, Killed, List, Listed, Open, Opened, Read, Run, Text, Write,
    Written,
};
use crate::client::{Client, ClientError, variables};
use crate::gate::{Command, Finding};
use crate::wire::rpc::{
    self, Bounded, Code, Done, ExecId, OfExec, OfSession, OpenSession, Outcome, Output, PathText, ReadExec,
    SessionId, SignalExec, Socket, StartExec, Stdin, Stream, WaitExec, Words, WriteExec,
};
use crate::wire::runner::Network;

/// How long a call waits where nothing is said, and at most.
const WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How often a call that waits looks whether it was cancelled.
const SLICE: Duration = Duration::from_millis(500);

/// Bytes of one stream in one result: what a model can take in. The end says more than the beginning.
const HEAD: usize = 16 << 10;
const TAIL: usize = 24 << 10;

/// Most commands that are remembered. The oldest that has ended is forgotten first.
const MOST: usize = 256;

/// How the server was started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The daemon's socket, where it is named.
    pub socket: Option<PathBuf>,
    /// The workspace of the server's own session.
    pub workspace: PathBuf,
    /// Its profile.
    pub profile: Option<String>,
    /// What it reaches.
    pub network: Option<Network>,
}

/// What belongs to one call: its end, and whom to tell how it goes.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) cancelled: CancellationToken,
    pub(super) said: UnboundedSender<String>,
}

/// Why a tool did not do it.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
}

impl Failure {
    fn new(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into(), reason: String::new(), findings: Vec::new() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(error.to_string(), error.hint());
        match error {
            ClientError::Refused(error) => {
                let data = error.data;
                Self { reason: data.reason, findings: data.findings, ..failure }
            }
            _ => failure,
        }
    }
}

/// The state of the server.
#[derive(Debug)]
pub(super) struct Desk {
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The server's own session, once a tool needed one.
    own: Option<SessionId>,
    /// The connections that opened sessions: a session ends a while after the last connection that used it.
    keepers: Vec<Client>,
    commands: VecDeque<Arc<Started>>,
    started: u64,
}

/// A command that `run` started.
#[derive(Debug)]
struct Started {
    id: ExecId,
    session: SessionId,
    request_id: String,
    reader: Mutex<Reader>,
}

/// How far a command was read, by the connection that started it.
#[derive(Debug)]
struct Reader {
    /// Gone once the command has ended.
    client: Option<Client>,
    after_seq: u64,
}

impl Desk {
    pub(super) fn new(options: Options) -> Self {
        Self { options, state: Mutex::default() }
    }

    pub(super) fn run(&self, call: &Call, asked: Run) -> Result<Going, Failure> {
        let command = command(asked.command, asked.argv)?;
        let wait = wait(asked.wait_seconds)?;
        let timeout_ms =
            asked.timeout_seconds.map(|seconds| seconds_of(seconds).map(milliseconds)).transpose()?;
        let mut start = StartExec {
            session: None,
            id: self.next_id()?,
            command,
            cwd: asked.cwd.map(path).transpose()?,
            env: variables(&[]).map_err(|error| Failure::new(error, ""))?,
            timeout_ms: timeout_ms.map(Bounded::clamped),
            background: false,
            persist: asked.persist,
            pty: None,
            stdin: if asked.stdin { Stdin::Pipe } else { Stdin::None },
            output: Output::Poll,
            fds: Vec::new(),
        };
        let mut client = self.connect()?;
        let named = asked.session.map(session).transpose()?;
        let own = named.is_none();
        let session = match named {
            Some(session) => session,
            None => self.own_session()?,
        };
        start.session = Some(session);
        let started = match client.call(&start) {
            // It lived no longer than the daemon, or was ended by an operator: the next one is as good.
            Err(ClientError::Refused(error)) if own && error.code == Code::UnknownSession => {
                self.state().own = None;
                start.session = Some(self.own_session()?);
                client.call(&start)?
            }
            started => started?,
        };
        let command = Arc::new(Started {
            id: started.id,
            session: started.session,
            request_id: started.request_id.to_string(),
            reader: Mutex::new(Reader { client: Some(client), after_seq: 0 }),
        });
        self.remember(Arc::clone(&command));
        // Whoever waits for a person would wait too long for most clients.
        let wait = if started.state == rpc::State::Waiting { Duration::ZERO } else { wait };
        let going = command.read(call, wait)?;
        if call.cancelled.is_cancelled() && going.state != rpc::State::Ended {
            self.end(&command)?;
        }
        Ok(going)
    }

    pub(super) fn read(&self, call: &Call, asked: Read) -> Result<Going, Failure> {
        self.find(&asked.id)?.read(call, wait(asked.wait_seconds)?)
    }

    pub(super) fn write(&self, asked: Write) -> Result<Written, Failure> {
        let command = self.find(&asked.id)?;
        let write = WriteExec {
            session: Some(command.session.clone()),
            id: command.id.clone(),
            text: Some(asked.text),
            base64: None,
            end: asked.end,
        };
        let written = self.connect()?.call(&write)?;
        Ok(Written { bytes: written.bytes })
    }

    pub(super) fn list(&self, asked: List) -> Result<Listed, Failure> {
        let session = match asked.session {
            Some(named) => session(named)?,
            // Where nothing was run there is nothing to list, and no session to open for it.
            None => match self.state().own.clone() {
                Some(own) => own,
                None => return Ok(Listed { commands: Vec::new() }),
            },
        };
        let listed: rpc::Execs = self.connect()?.ask("exec/list", &OfSession { session: Some(session) })?;
        Ok(Listed { commands: listed.execs })
    }

    pub(super) fn kill(&self, asked: Kill) -> Result<Killed, Failure> {
        let command = self.find(&asked.id)?;
        match asked.signal {
            None => self.end(&command)?,
            Some(signal) => {
                let (session, id) = (Some(command.session.clone()), command.id.clone());
                self.connect()?.call(&SignalExec { session, id, signal }).map(|Done {}| ())?;
            }
        }
        Ok(Killed { id: asked.id })
    }

    pub(super) fn check(&self, asked: Check) -> Result<Checked, Failure> {
        let command = command(asked.command, asked.argv)?;
        let session = match asked.session {
            Some(named) => session(named)?,
            None => self.own_session()?,
        };
        let cwd = asked.cwd.map(path).transpose()?;
        let env = variables(&[]).map_err(|error| Failure::new(error, ""))?;
        let checked = self.connect()?.call(&rpc::Check { command, session: Some(session), cwd, env })?;
        Ok(Checked { decision: checked.decision, findings: checked.findings })
    }

    pub(super) fn open(&self, asked: Open) -> Result<Opened, Failure> {
        let opened = self.open_in(asked.workspace, asked.profile)?;
        let place = |suspect: rpc::Suspect| {
            let rpc::Suspect { path, finding, .. } = suspect;
            format!("{path}:{}:{} {}", finding.line, finding.column, finding.reason)
        };
        Ok(Opened {
            session: opened.session.to_string(),
            workspace: opened.workspace,
            scanned: opened.scanned.into_iter().map(place).collect(),
        })
    }

    /// The session that commands run in unless another one is named.
    fn own_session(&self) -> Result<SessionId, Failure> {
        if let Some(own) = self.state().own.clone() {
            return Ok(own);
        }
        let workspace = self.options.workspace.to_str().ok_or_else(|| {
            Failure::new("the server's directory is not UTF-8", "start it with --workspace elsewhere")
        })?;
        let opened = self.open_in(workspace.to_owned(), self.options.profile.clone())?;
        // Two calls may have opened one each: the first stays, the other ends with the server.
        Ok(self.state().own.get_or_insert(opened.session).clone())
    }

    fn open_in(&self, workspace: String, profile: Option<String>) -> Result<rpc::SessionOpened, Failure> {
        let words = |text: String| {
            Words::try_from(text).map_err(|error| Failure::new(format!("the profile: {error}"), ""))
        };
        let open = OpenSession {
            workspace: path(workspace)?,
            profile: profile.map(words).transpose()?,
            backend: None,
            image: None,
            launcher: None,
            network: self.options.network,
            limits: None,
            label: words("execward mcp".to_owned()).ok(),
            linger_ms: Bounded::clamped(60_000),
        };
        let mut client = self.connect()?;
        let opened = client.call(&open)?;
        self.state().keepers.push(client);
        Ok(opened)
    }

    fn end(&self, command: &Started) -> Result<(), Failure> {
        let of = OfExec { session: Some(command.session.clone()), id: command.id.clone() };
        Ok(self.connect()?.call(&of).map(|Done {}| ())?)
    }

    fn connect(&self) -> Result<Client, Failure> {
        let client = match &self.options.socket {
            Some(path) => Client::connect(path, false),
            None => Client::find(Socket::Agent),
        };
        Ok(client?)
    }

    fn next_id(&self) -> Result<ExecId, Failure> {
        let mut state = self.state();
        state.started += 1;
        // Of this server alone: two of them may use one session.
        let name = format!("mcp-{}-{}", std::process::id(), state.started);
        ExecId::try_from(name).map_err(|error| Failure::new(error.to_string(), ""))
    }

    fn remember(&self, command: Arc<Started>) {
        let mut state = self.state();
        state.commands.push_back(command);
        while state.commands.len() > MOST {
            // What still runs is never forgotten: with its connection it would end.
            let ended = state
                .commands
                .iter()
                .position(|command| command.reader.try_lock().is_ok_and(|reader| reader.client.is_none()));
            let Some(ended) = ended else { break };
            state.commands.remove(ended);
        }
    }

    fn find(&self, id: &str) -> Result<Arc<Started>, Failure> {
        let state = self.state();
        let found = state.commands.iter().find(|command| command.id.as_str() == id);
        found.cloned().ok_or_else(|| {
            Failure::new(format!("there is no command `{id}`"), "`run` names each command; `list` shows them")
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Started {
    /// What came since it was last read, for at most this long.
    fn read(&self, call: &Call, wait: Duration) -> Result<Going, Failure> {
        let deadline = Instant::now() + wait;
        let mut reader = self.reader.try_lock().map_err(|_| {
            Failure::new("another call reads this command", "wait for that one, or cancel it")
        })?;
        let Reader { client, after_seq } = &mut *reader;
        let Some(connection) = client else {
            return Err(Failure::new(
                format!("`{}` has ended, and all of it was read", self.id.as_str()),
                "what it wrote was in an earlier result",
            ));
        };
        let (mut stdout, mut stderr) = (Window::default(), Window::default());
        let mut bytes = 0_u64;
        let mut told = Instant::now();
        let report = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let read = connection.call(&ReadExec {
                session: Some(self.session.clone()),
                id: self.id.clone(),
                after_seq: *after_seq,
                max_bytes: Bounded::clamped(256 << 10),
                wait_ms: Bounded::clamped(milliseconds(left.min(SLICE))),
            })?;
            *after_seq = read.last_seq;
            let nothing = read.chunks.is_empty();
            for chunk in read.chunks {
                let data = chunk.data.into_bytes().map_err(|error| Failure::new(error.to_string(), ""))?;
                bytes += data.len() as u64;
                if chunk.stream == Stream::Stderr { stderr.push(&data) } else { stdout.push(&data) }
            }
            if read.closed {
                let waited = self.wait(connection)?;
                if waited.state == rpc::State::Ended {
                    break waited.report;
                }
            }
            if call.cancelled.is_cancelled() || (nothing && left.is_zero()) {
                break None;
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                let _ = call.said.send(format!("{bytes} bytes of output so far"));
            }
        };
        let state = match report {
            Some(_) => rpc::State::Ended,
            None => self.wait(connection)?.state,
        };
        if report.is_some() {
            *client = None;
        }
        let how = || Approval {
            request_id: self.request_id.clone(),
            how: format!(
                "a person must agree: `execward approvals list` shows the request {}, `execward approvals approve` or \
                 `deny` answers it. Then `read` says what became of it.",
                self.request_id
            ),
        };
        Ok(Going {
            id: self.id.as_str().to_owned(),
            state,
            exit_code: report.as_ref().and_then(|report| match report.outcome {
                Outcome::Exited { code } => Some(code),
                _ => None,
            }),
            stdout: stdout.finish(),
            stderr: stderr.finish(),
            approval: (state == rpc::State::Waiting).then(how),
            report: report.map(Box::new),
        })
    }

    fn wait(&self, client: &mut Client) -> Result<rpc::Waited, Failure> {
        let (session, id) = (Some(self.session.clone()), self.id.clone());
        Ok(client.call(&WaitExec { session, id, wait_ms: Bounded::MIN })?)
    }
}

/// The beginning and the end of what a command wrote.
#[derive(Debug, Default)]
struct Window {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Window {
    fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    fn finish(mut self) -> Text {
        let text = if self.left_out == 0 {
            self.head.extend(self.tail);
            String::from_utf8_lossy(&self.head).into_owned()
        } else {
            let tail: Vec<u8> = self.tail.into();
            let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
            format!("{head}\n[{} bytes left out]\n{tail}", self.left_out)
        };
        Text { text, left_out: self.left_out }
    }
}

fn command(text: Option<String>, argv: Option<Vec<String>>) -> Result<Command, Failure> {
    match (text, argv) {
        (Some(text), None) => Ok(Command::Shell(text)),
        (None, Some(argv)) => Ok(Command::Argv(argv)),
        _ => Err(Failure::new("give `command` or `argv`, and not both", "")),
    }
}

fn session(name: String) -> Result<SessionId, Failure> {
    SessionId::try_from(name)
        .map_err(|error| Failure::new(format!("the session: {error}"), "`open_session` names one"))
}

fn path(text: String) -> Result<PathText, Failure> {
    PathText::try_from(text).map_err(|error| Failure::new(format!("the directory: {error}"), ""))
}

fn wait(seconds: Option<f64>) -> Result<Duration, Failure> {
    seconds.map_or(Ok(WAIT), seconds_of).map(|wait| wait.min(LONGEST_WAIT))
}

fn seconds_of(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::new(format!("{seconds} is not a time in seconds"), ""))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_shows_its_beginning_and_its_end() {
        let mut window = Window::default();
        for number in 0..20_000 {
            window.push(format!("{number}\n").as_bytes());
        }
        let Text { text, left_out } = window.finish();
        assert!(text.starts_with("0\n1\n") && text.ends_with("\n19999\n"));
        assert_eq!(left_out, 108_890 - (HEAD + TAIL) as u64);
        assert!(text.contains(&format!("[{left_out} bytes left out]")));
        let mut short = Window::default();
        short.push("h\u{e9}".as_bytes());
        short.push(b"\xff");
        assert_eq!(short.finish().text, "h\u{e9}\u{fffd}");
    }

    #[test]
    fn a_command_is_one_of_two_things() {
        assert!(command(None, None).is_err());
        assert!(command(Some("x".into()), Some(vec!["x".into()])).is_err());
        assert_eq!(command(Some("x".into()), None).unwrap(), Command::Shell("x".into()));
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(wait(Some(wrong)).is_err());
        }
        assert_eq!(wait(Some(1e9)).unwrap(), LONGEST_WAIT);
    }
}
