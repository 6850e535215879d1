//! What a request is about, looked up in one place: that it is there, the peer's own, and in a state for the request.

use super::table::{About, Calls, Needs};
use crate::wire::rpc::{self, Code, Error, ExecId, Fd, SessionId, StartExec, State};

/// A session, as far as requests are about it.
pub trait Session: Clone {
    /// Its commands.
    type Command: Command;

    /// The user id of its principal.
    fn owner(&self) -> u32;

    /// Whether it has ended, so that nobody may have it any more.
    fn is_over(&self) -> bool;

    /// Its command of this name.
    fn command(&self, id: &ExecId) -> Option<Self::Command>;
}

/// A command, as far as requests are about it.
pub trait Command {
    /// What decides about requests now.
    fn facts(&self) -> Facts;
}

/// What decides which requests a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How far it has come.
    pub state: State,
    /// Where its standard input comes from.
    pub input: Input,
    /// Where its output goes.
    pub output: Output,
    /// Whether it has a terminal.
    pub terminal: bool,
}

/// Where standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// There is none.
    None,
    /// `exec/write`.
    Protocol,
    /// A descriptor of the client's.
    Descriptor,
}

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To readers, in chunks.
    Chunks,
    /// Into the result.
    Result,
    /// All of it to descriptors of the client's.
    Descriptors,
}

impl Facts {
    /// Of a command that nothing has been decided about.
    pub fn of(asked: &StartExec) -> Self {
        let passed = |fd| asked.fds.contains(&fd);
        let terminal = asked.pty.is_some();
        Self {
            state: State::Waiting,
            input: match asked.stdin {
                _ if passed(Fd::Stdin) => Input::Descriptor,
                rpc::Stdin::Pipe => Input::Protocol,
                rpc::Stdin::None => Input::None,
            },
            output: match asked.output {
                _ if passed(Fd::Stdout) && (passed(Fd::Stderr) || terminal) => Output::Descriptors,
                rpc::Output::Stream | rpc::Output::Poll => Output::Chunks,
                rpc::Output::Collect { .. } => Output::Result,
            },
            terminal,
        }
    }

    /// Whether a command may be asked something that is for these states and for this kind.
    ///
    /// # Errors
    /// When it may not: first by what it will never be, then by what it is not now.
    pub fn permit(&self, states: &[State], needs: Needs) -> Result<(), Error> {
        match needs {
            Needs::Nothing => {}
            Needs::Chunks => self.readable()?,
            Needs::Collected => self.collected()?,
            Needs::Input => self.writable()?,
            Needs::Terminal if self.terminal => {}
            Needs::Terminal => {
                return Err(
                    Error::new(Code::NoTerminal, "the command has no terminal").hint("start it with `pty`")
                );
            }
        }
        if states.contains(&self.state) {
            return Ok(());
        }
        Err(match needs {
            Needs::Input => {
                Error::new(Code::StdinClosed, "the command has ended, and its standard input with it")
            }
            _ => Error::new(Code::NotRunning, "the command does not run"),
        })
    }

    fn readable(&self) -> Result<(), Error> {
        let (why, hint) = match self.output {
            Output::Chunks => return Ok(()),
            Output::Descriptors => {
                ("the output of this command goes to descriptors", "leave `fds` out to read it here")
            }
            Output::Result => (
                "the output of this command is collected for its result",
                "start it with output {\"mode\":\"stream\"} or {\"mode\":\"poll\"} to read it",
            ),
        };
        Err(Error::new(Code::NotReadable, why).hint(hint))
    }

    fn collected(&self) -> Result<(), Error> {
        let (why, hint) = match self.output {
            Output::Result => return Ok(()),
            Output::Descriptors => {
                ("the output of this command goes to descriptors", "leave `fds` out to have it collected")
            }
            Output::Chunks => {
                ("the output of this command is kept in numbered chunks", "read it with exec/read")
            }
        };
        Err(Error::new(Code::NotReadable, why).hint(hint))
    }

    fn writable(&self) -> Result<(), Error> {
        let (why, hint) = match self.input {
            Input::Protocol => return Ok(()),
            Input::Descriptor => ("the command's standard input comes from a descriptor", ""),
            Input::None => {
                ("the command has no standard input from here", "start it with \"stdin\":\"pipe\"")
            }
        };
        Err(Error::new(Code::StdinClosed, why).hint(hint))
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<S, C> {
    /// The server.
    Server,
    /// A session.
    Session(S),
    /// A command.
    Command(S, C),
}

impl<S: Session> Found<S, S::Command> {
    /// Looks up what a request of `peer` is about. `by_name` finds a session, whoever has it; `opened` are those that
    /// this connection has opened.
    ///
    /// # Errors
    /// When it is not there, not the peer's, or not in a state for the request. A session that is somebody else's and
    /// one that never was give the same error.
    pub fn look_up<C: Calls>(
        call: &C,
        peer: u32,
        by_name: impl Fn(&SessionId) -> Option<S>,
        opened: &[S],
    ) -> Result<Self, Error> {
        let (session, id) = call.names();
        let named = |own: bool| {
            let session = session.and_then(&by_name).filter(|session| !session.is_over());
            session.filter(|session| !own || session.owner() == peer).ok_or_else(Error::unknown_session)
        };
        let meant = || if session.is_some() { named(true) } else { the_one(opened) };
        // A request without a row is one that nobody may make.
        let row =
            call.row().ok_or_else(|| Error::new(Code::UnknownMethod, "this socket has no such method"))?;
        Ok(match row.about {
            About::Server => Self::Server,
            About::AnySession => Self::Session(named(false)?),
            About::PerhapsSession if session.is_none() => the_one(opened).map_or(Self::Server, Self::Session),
            About::PerhapsSession | About::Session | About::NewCommand => Self::Session(meant()?),
            About::Command(states, needs) => {
                let session = meant()?;
                let command = id.and_then(|id| session.command(id)).ok_or_else(Error::unknown_exec)?;
                command.facts().permit(states, needs)?;
                Self::Command(session, command)
            }
        })
    }

    /// The session that it is about.
    ///
    /// # Errors
    /// When it is about none.
    pub fn session(self) -> Result<S, Error> {
        match self {
            Self::Session(session) | Self::Command(session, _) => Ok(session),
            Self::Server => Err(Error::unknown_session()),
        }
    }

    /// The command that it is about.
    ///
    /// # Errors
    /// When it is about none.
    pub fn command(self) -> Result<S::Command, Error> {
        match self {
            Self::Command(_, command) => Ok(command),
            _ => Err(Error::unknown_exec()),
        }
    }
}

/// The session that is meant where none is named: the one that this connection has opened and that has not ended.
fn the_one<S: Session>(opened: &[S]) -> Result<S, Error> {
    let mut lasting = opened.iter().filter(|session| !session.is_over());
    match (lasting.next(), lasting.next()) {
        (Some(session), None) => Ok(session.clone()),
        (None, _) => Err(Error::new(Code::UnknownSession, "this connection has opened no session")
            .hint("open one with session/open, or name one")),
        (Some(_), Some(_)) => {
            Err(Error::new(Code::UnknownSession, "this connection has opened more than one session")
                .hint("say which one with `session`"))
        }
    }
}
