//! `execward session` and `execward exec`: what a daemon has, in plain lines.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::arguments::Words as CommandWords;
use super::exit::Exit;
use super::remote::Remote;
use super::screen::{Screen, print, shown};
use crate::client::{Client, ClientError};
use crate::wire::rpc::{
    Bounded, Data, Done, ExecId, Execs, KillSession, Mode, Nothing, OfExec, OfSession, OpenSession, Output,
    PathText, ReadExec, Session as SessionInfo, SessionId, Sessions, SetPrincipalMode, SetSessionMode,
    Socket, StartExec, State, Stdin, Stream, WaitExec, Words,
};

/// Where a daemon listens, and how to print.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The daemon's socket; without it the system's, then your own
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Sessions of a daemon.
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// Open a session, and print its id
    Open {
        #[command(flatten)]
        at: At,
        /// The directory that its commands may change [default: the current directory]
        workspace: Option<PathBuf>,
        /// What its sandbox is made by; what the policy says where it is left out
        #[arg(long, value_name = "WHAT")]
        backend: Option<super::arguments::BackendName>,
        /// The image of its container, one that the policy permits
        #[arg(long, value_name = "NAME")]
        image: Option<String>,
        /// The launcher that reaches its place, one that the policy permits; the workspace is a directory there
        #[arg(long, value_name = "NAME", conflicts_with_all = ["backend", "image"])]
        launcher: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
        /// How long it is kept while nobody uses it, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        linger: u64,
    },
    /// List your sessions; everybody's on the operators' socket
    List {
        #[command(flatten)]
        at: At,
        /// Ask on the operators' socket
        #[arg(long)]
        all: bool,
    },
    /// End a session of yours, and its commands
    Close {
        #[command(flatten)]
        at: At,
        /// Its id
        session: String,
    },
    /// End anybody's session, as an operator
    Kill {
        #[command(flatten)]
        at: At,
        /// Its id
        session: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say how the asks of a session, or of a user, are answered, as an administrator
    ///
    /// Modes: manual (by a person), smart (by a model where it holds the risk to be low, else by a person; see
    /// `execward fallback`), off (with yes), yolo (with yes, in one session, for a time). What the policy denies stays denied in each.
    Mode {
        #[command(flatten)]
        at: At,
        /// The session
        #[arg(required_unless_present = "uid", conflicts_with = "uid")]
        session: Option<String>,
        /// A user in place of a session: its sessions that have no mode of their own
        #[arg(long)]
        uid: Option<u32>,
        /// The mode; for a session, without it, the one of its user
        #[arg(long, value_name = "MODE", value_parser = mode, required_unless_present = "session")]
        mode: Option<Mode>,
        /// For how long (10m, 1h); needed for yolo
        #[arg(long = "for", value_name = "TIME", value_parser = crate::policy::parse_duration, conflicts_with = "uid")]
        lasts: Option<std::time::Duration>,
    },
}

/// Commands of a session.
#[derive(Debug, Subcommand)]
pub(super) enum Exec {
    /// Start a command in the background of a session
    Start {
        #[command(flatten)]
        of: Of,
        #[command(flatten)]
        words: CommandWords,
    },
    /// Run a command in a session, with your stdio, and wait for its end
    Run {
        #[command(flatten)]
        of: Of,
        /// Give the command a terminal of its own, behind yours
        #[arg(short = 't', long, conflicts_with = "json")]
        tty: bool,
        /// Start where the last such command of the session ended, with what it exported, and leave both to the next
        ///
        /// For shell text (-c). Both pass the same filter as what is sent, and are part of what is judged.
        #[arg(long)]
        persist: bool,
        #[command(flatten)]
        words: CommandWords,
    },
    /// Print what a command has written, and go on until it ends
    Read {
        #[command(flatten)]
        of: Of,
    },
    /// End a command, and everything that it started
    Kill {
        #[command(flatten)]
        of: Of,
    },
    /// Wait for the end of a command, and print its report
    Wait {
        #[command(flatten)]
        of: Of,
    },
    /// List the commands of a session
    List {
        #[command(flatten)]
        at: At,
        /// The session
        #[arg(long, value_name = "ID")]
        session: String,
    },
}

/// Which command.
#[derive(Debug, Args)]
pub(super) struct Of {
    #[command(flatten)]
    at: At,
    /// The session
    #[arg(long, value_name = "ID")]
    session: String,
    /// What the command is called
    id: String,
}

/// Why something was not done: a daemon's answer, or an argument that is none.
pub(super) enum Trouble {
    Client(ClientError),
    Argument(String),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<String> for Trouble {
    fn from(error: String) -> Self {
        Self::Argument(error)
    }
}

pub(super) fn done(result: Result<Exit, Trouble>, screen: Screen) -> Exit {
    let error = match result {
        Ok(exit) => return exit,
        Err(Trouble::Client(error)) => error,
        Err(Trouble::Argument(error)) => {
            screen.error(shown(&error));
            return Exit::USAGE;
        }
    };
    screen.error(shown(&error.to_string()));
    screen.hint(shown(&error.hint()));
    if matches!(error, ClientError::Refused(_)) { Exit::NO } else { Exit::USAGE }
}

impl At {
    pub(super) fn connect(&self, socket: Socket) -> Result<Client, ClientError> {
        match &self.socket {
            Some(path) => Client::connect(path, false),
            None => Client::find(socket),
        }
    }

    /// Prints a reply, as JSON or as lines.
    pub(super) fn say<T: Serialize>(
        &self,
        reply: &T,
        text: impl FnOnce(&T) -> String,
        screen: Screen,
    ) -> Exit {
        let text =
            if self.json { serde_json::to_string(reply).unwrap_or_default() + "\n" } else { text(reply) };
        print(screen, &text, Exit::SUCCESS)
    }
}

pub(super) fn session(arguments: Session, screen: Screen) -> Exit {
    done(do_session(arguments, screen), screen)
}

fn do_session(arguments: Session, screen: Screen) -> Result<Exit, Trouble> {
    match arguments {
        Session::Open { at, workspace, backend, image, launcher, label, linger } => {
            let open = OpenSession {
                workspace: absolute(workspace.as_deref())?,
                profile: None,
                backend: backend.map(Into::into),
                image: image.map(words).transpose()?,
                launcher: launcher.map(words).transpose()?,
                network: None,
                limits: None,
                label: label.map(words).transpose()?,
                linger_ms: Bounded::clamped(linger.saturating_mul(1000)),
            };
            let opened = at.connect(Socket::Agent)?.call(&open)?;
            Ok(at.say(&opened, |opened| format!("{}\n", opened.session), screen))
        }
        Session::List { at, all } => {
            let socket = if all { Socket::Operator } else { Socket::Agent };
            let sessions: Sessions = at.connect(socket)?.ask("session/list", &Nothing {})?;
            Ok(at.say(&sessions, |sessions| sessions.sessions.iter().map(session_line).collect(), screen))
        }
        Session::Close { at, session } => {
            let session = Some(session_id(session)?);
            let closed: Done = at.connect(Socket::Agent)?.ask("session/close", &OfSession { session })?;
            Ok(at.say(&closed, |_| String::new(), screen))
        }
        Session::Kill { at, session, reason } => {
            let kill = KillSession { session: session_id(session)?, reason: reason.map(words).transpose()? };
            let killed = at.connect(Socket::Operator)?.call(&kill)?;
            Ok(at.say(&killed, |_| String::new(), screen))
        }
        Session::Mode { at, session: Some(session), mode, lasts, .. } => {
            let for_ms = lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
            let for_ms =
                for_ms.map(Bounded::new).transpose().map_err(|error| format!("--for: {error} ms"))?;
            let set = SetSessionMode { session: session_id(session)?, mode, for_ms };
            let set = at.connect(Socket::Operator)?.call(&set)?;
            Ok(at.say(&set, |_| String::new(), screen))
        }
        Session::Mode { at, uid, mode, .. } => {
            let (uid, mode) = (uid.unwrap_or_default(), mode.unwrap_or_default());
            let set = at.connect(Socket::Operator)?.call(&SetPrincipalMode { uid, mode })?;
            Ok(at.say(&set, |_| String::new(), screen))
        }
    }
}

fn mode(name: &str) -> Result<Mode, String> {
    Mode::named(name).ok_or_else(|| "the modes are manual, smart, off and yolo".to_owned())
}

fn session_line(session: &SessionInfo) -> String {
    let SessionInfo { session: id, principal, workspace, label, opened, running, started, .. } = session;
    let label = label.as_ref().map(|label| format!("  \"{}\"", shown(label))).unwrap_or_default();
    let (name, workspace) = (shown(&principal.name), shown(workspace));
    format!("{id}  {name}({})  {opened}  {running} running of {started}  {workspace}{label}\n", principal.uid)
}

pub(super) fn exec(arguments: Exec, screen: Screen) -> Exit {
    done(do_exec(arguments, screen), screen)
}

fn do_exec(arguments: Exec, screen: Screen) -> Result<Exit, Trouble> {
    match arguments {
        Exec::Start { of, words } => {
            let (session, id) = of.ids()?;
            let start = StartExec {
                session: Some(session),
                id,
                command: words.command()?,
                cwd: None,
                env: std::collections::BTreeMap::new(),
                timeout_ms: None,
                background: true,
                persist: false,
                pty: None,
                stdin: Stdin::None,
                output: Output::Poll,
                fds: Vec::new(),
            };
            let started = of.at.connect(Socket::Agent)?.call(&start)?;
            let text = |state| match state {
                State::Waiting => "waiting for an operator\n".to_owned(),
                State::Running => "running\n".to_owned(),
                State::Ended => "ended\n".to_owned(),
            };
            Ok(of.at.say(&started, |started| text(started.state), screen))
        }
        Exec::Run { of, tty, persist, words } => {
            if tty && !std::io::stdin().is_terminal() {
                return Err("-t needs a terminal on standard input".to_owned().into());
            }
            let remote = Remote {
                profile: None,
                command: words.command()?,
                within: Some(of.ids()?),
                workspace: None,
                cwd: None,
                timeout: None,
                backend: None,
                image: None,
                launcher: None,
                network: None,
                env: Vec::new(),
                persist,
                terminal: tty,
                json: of.at.json,
                verbose: false,
            };
            Ok(remote.run(of.at.connect(Socket::Agent)?, screen))
        }
        Exec::Read { of } => read(&of, screen),
        Exec::Kill { of } => {
            let (session, id) = of.ids()?;
            let killed: Done = of.at.connect(Socket::Agent)?.call(&OfExec { session: Some(session), id })?;
            Ok(of.at.say(&killed, |_| String::new(), screen))
        }
        Exec::Wait { of } => {
            let (session, id) = of.ids()?;
            let mut client = of.at.connect(Socket::Agent)?;
            loop {
                let wait = WaitExec {
                    session: Some(session.clone()),
                    id: id.clone(),
                    wait_ms: Bounded::clamped(30_000),
                };
                let waited = client.call(&wait)?;
                let Some(report) = &waited.report else { continue };
                let exit = Exit::of_run(&report.outcome.clone().into());
                // Whatever it was: the report is the point, and for a person the exit code says it.
                let text = serde_json::to_string(&waited).unwrap_or_default() + "\n";
                return Ok(if of.at.json { print(screen, &text, exit) } else { exit });
            }
        }
        Exec::List { at, session } => {
            let of = OfSession { session: Some(session_id(session)?) };
            let execs: Execs = at.connect(Socket::Agent)?.ask("exec/list", &of)?;
            let line = |exec: &crate::wire::rpc::Exec| {
                let state = match exec.state {
                    State::Waiting => "waiting",
                    State::Running => "running",
                    State::Ended => "ended",
                };
                format!("{}  {state:7}  {}  {}\n", exec.id, exec.started, shown(&exec.command))
            };
            Ok(at.say(&execs, |execs| execs.execs.iter().map(line).collect(), screen))
        }
    }
}

/// Copies a command's output to where it belongs, until it ends.
fn read(of: &Of, screen: Screen) -> Result<Exit, Trouble> {
    use std::io::Write as _;
    let (session, id) = of.ids()?;
    let mut client = of.at.connect(Socket::Agent)?;
    let mut after_seq = 0;
    loop {
        let read = client.call(&ReadExec {
            session: Some(session.clone()),
            id: id.clone(),
            after_seq,
            max_bytes: Bounded::MAX,
            wait_ms: Bounded::clamped(30_000),
        })?;
        after_seq = read.last_seq;
        for chunk in read.chunks {
            if of.at.json {
                let line = serde_json::to_string(&chunk).unwrap_or_default() + "\n";
                let printed = print(screen, &line, Exit::SUCCESS);
                if printed != Exit::SUCCESS {
                    return Ok(printed);
                }
                continue;
            }
            let bytes = Data::into_bytes(chunk.data).map_err(|error| error.to_string())?;
            let written = match chunk.stream {
                Stream::Stderr => std::io::stderr().write_all(&bytes),
                Stream::Stdout | Stream::Pty => {
                    let mut stdout = std::io::stdout().lock();
                    stdout.write_all(&bytes).and_then(|()| stdout.flush())
                }
            };
            if let Err(error) = written {
                return Ok(super::screen::unwritten(screen, &error));
            }
        }
        if read.closed {
            return Ok(Exit::SUCCESS);
        }
    }
}

impl Of {
    fn ids(&self) -> Result<(SessionId, ExecId), String> {
        let id = ExecId::try_from(self.id.clone()).map_err(|error| format!("{:?}: {error}", self.id))?;
        Ok((session_id(self.session.clone())?, id))
    }
}

pub(super) fn session_id(text: String) -> Result<SessionId, String> {
    SessionId::try_from(text).map_err(|error| format!("the session's id: {error}"))
}

pub(super) fn words(text: String) -> Result<Words, String> {
    Words::try_from(text).map_err(|error| format!("the text: {error}"))
}

fn absolute(path: Option<&Path>) -> Result<PathText, String> {
    let here = std::env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
    let path = path.map_or_else(|| here.clone(), |path| here.join(path));
    let text =
        path.into_os_string().into_string().map_err(|_| "the workspace's path is not UTF-8".to_owned())?;
    PathText::try_from(text).map_err(|error| format!("the workspace: {error}"))
}
