//! Which request may come when.

use crate::wire::rpc::{AgentCall, Error, ExecId, OperatorCall, Request, Role, SessionId, State};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been said.
    Connected,
    /// `hello` was said and answered.
    Greeted,
    /// Nothing more is taken.
    Ended,
}

/// One row: a method, and what must be so when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// As JSON-RPC names it.
    pub method: &'static str,
    /// How far the connection must be.
    pub phase: Phase,
    /// What it is about, which must be there.
    pub about: About,
    /// The roles of which the peer must have one; where none is named, any that the socket is for will do.
    pub roles: &'static [Role],
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The server: nothing has to be there.
    Server,
    /// Any session that there is, whoever has it: an operator asks.
    AnySession,
    /// A session of the peer's own, where one is named; else the one that was opened here, where there is one.
    PerhapsSession,
    /// A session of the peer's own.
    Session,
    /// A new command of a session of the peer's own, or a known one again. Descriptors may come with it.
    NewCommand,
    /// A command of a session of the peer's own, in one of these states, of this kind.
    Command(&'static [State], Needs),
}

/// What a command must have been started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Anything.
    Nothing,
    /// Output that is kept in chunks for a reader.
    Chunks,
    /// Output that is collected for its result.
    Collected,
    /// Standard input by the protocol.
    Input,
    /// A terminal.
    Terminal,
}

/// The requests of one socket.
pub trait Calls: Sized {
    /// Its rows, in the order in which `hello` names the methods.
    const TABLE: &'static [Row];

    /// Reads what a request asks for.
    ///
    /// # Errors
    /// When its parameters do not fit.
    fn read(request: &Request) -> Result<Self, Error>;

    /// Its method.
    fn method(&self) -> &'static str;

    /// The session and the command that it names.
    fn names(&self) -> (Option<&SessionId>, Option<&ExecId>);

    /// How many descriptors it says come with it.
    fn descriptors(&self) -> usize;

    /// What must be so when it comes. Every request of the socket has its row.
    fn row(&self) -> Option<&'static Row> {
        row::<Self>(self.method())
    }
}

/// The row of a method.
pub(super) fn row<C: Calls>(method: &str) -> Option<&'static Row> {
    C::TABLE.iter().find(|row| row.method == method)
}

const fn first(method: &'static str) -> Row {
    Row { method, phase: Phase::Connected, about: About::Server, roles: &[] }
}

const fn then(method: &'static str, about: About) -> Row {
    Row { method, phase: Phase::Greeted, about, roles: &[] }
}

const fn by(roles: &'static [Role], method: &'static str, about: About) -> Row {
    Row { method, phase: Phase::Greeted, about, roles }
}

const ANY: &[State] = &[State::Waiting, State::Running, State::Ended];
const NOT_ENDED: &[State] = &[State::Waiting, State::Running];
const RUNNING: &[State] = &[State::Running];

impl Calls for AgentCall {
    const TABLE: &'static [Row] = &[
        first("hello"),
        then("session/open", About::Server),
        then("session/close", About::Session),
        then("session/list", About::Server),
        then("session/get", About::Session),
        then("exec/start", About::NewCommand),
        then("exec/read", About::Command(ANY, Needs::Chunks)),
        then("exec/range", About::Command(ANY, Needs::Collected)),
        then("exec/write", About::Command(NOT_ENDED, Needs::Input)),
        then("exec/signal", About::Command(RUNNING, Needs::Nothing)),
        then("exec/resize", About::Command(RUNNING, Needs::Terminal)),
        then("exec/wait", About::Command(ANY, Needs::Nothing)),
        then("exec/kill", About::Command(ANY, Needs::Nothing)),
        then("exec/list", About::Session),
        then("gate/check", About::PerhapsSession),
        then("scan/path", About::PerhapsSession),
    ];

    fn read(request: &Request) -> Result<Self, Error> {
        Self::read(request)
    }

    fn method(&self) -> &'static str {
        self.method()
    }

    fn names(&self) -> (Option<&SessionId>, Option<&ExecId>) {
        match self {
            Self::Hello(_) | Self::SessionOpen(_) | Self::SessionList(_) => (None, None),
            Self::SessionClose(of) | Self::SessionGet(of) | Self::ExecList(of) => (of.session.as_ref(), None),
            Self::ExecStart(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecRead(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecRange(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecWrite(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecSignal(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecResize(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecWait(asked) => (asked.session.as_ref(), Some(&asked.id)),
            Self::ExecKill(of) => (of.session.as_ref(), Some(&of.id)),
            Self::GateCheck(asked) => (asked.session.as_ref(), None),
            Self::ScanPath(asked) => (asked.session.as_ref(), None),
        }
    }

    fn descriptors(&self) -> usize {
        match self {
            Self::ExecStart(asked) => asked.fds.len(),
            _ => 0,
        }
    }
}

const APPROVER: &[Role] = &[Role::Approver];
const ADMIN: &[Role] = &[Role::Admin];
const APPROVER_OR_ADMIN: &[Role] = &[Role::Approver, Role::Admin];
const APPROVER_OR_AUDITOR: &[Role] = &[Role::Approver, Role::Auditor];
const AUDITOR: &[Role] = &[Role::Auditor];

impl Calls for OperatorCall {
    const TABLE: &'static [Row] = &[
        first("hello"),
        then("approval/list", About::Server),
        then("approval/watch", About::Server),
        by(APPROVER, "approval/preview", About::Server),
        by(APPROVER, "approval/answer", About::Server),
        then("grant/list", About::Server),
        then("grant/show", About::Server),
        by(APPROVER_OR_ADMIN, "grant/revoke", About::Server),
        then("principal/list", About::Server),
        by(ADMIN, "principal/pair", About::Server),
        by(ADMIN, "principal/revoke", About::Server),
        by(ADMIN, "principal/mode", About::Server),
        then("session/list", About::Server),
        by(ADMIN, "session/mode", About::AnySession),
        by(APPROVER_OR_ADMIN, "session/kill", About::AnySession),
        by(APPROVER_OR_AUDITOR, "exec/list", About::AnySession),
        then("model/list", About::Server),
        by(ADMIN, "model/test", About::Server),
        by(ADMIN, "policy/reload", About::Server),
        then("policy/show", About::Server),
        then("job/list", About::Server),
        then("job/show", About::Server),
        then("job/history", About::Server),
        by(ADMIN, "job/run", About::Server),
        by(ADMIN, "job/switch", About::Server),
        by(ADMIN, "job/test", About::Server),
        then("job/letters", About::Server),
        by(APPROVER_OR_ADMIN, "job/settle", About::Server),
        by(AUDITOR, "audit/tail", About::Server),
        then("status/show", About::Server),
        by(AUDITOR, "event/watch", About::Server),
    ];

    fn read(request: &Request) -> Result<Self, Error> {
        Self::read(request)
    }

    fn method(&self) -> &'static str {
        self.method()
    }

    fn names(&self) -> (Option<&SessionId>, Option<&ExecId>) {
        match self {
            Self::SessionMode(asked) => (Some(&asked.session), None),
            Self::SessionKill(asked) => (Some(&asked.session), None),
            Self::ExecList(asked) => (asked.session.as_ref(), None),
            _ => (None, None),
        }
    }

    fn descriptors(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The rows as `docs/protocol.md` has them.
    fn document<C: Calls>(socket: &str) -> String {
        let mut text = String::new();
        for row in C::TABLE {
            let connection = match row.phase {
                Phase::Connected => "first",
                Phase::Greeted | Phase::Ended => "after `hello`",
            };
            let states = |states: &[State]| match states {
                ANY => "in any state",
                NOT_ENDED => "`waiting` or `running`",
                _ => "`running`",
            };
            let about = match row.about {
                About::Server => "nothing".to_owned(),
                About::AnySession => "a session, whoever has it".to_owned(),
                About::PerhapsSession => "a session of one's own, if one is named".to_owned(),
                About::Session => "a session of one's own".to_owned(),
                About::NewCommand => "a session of one's own, in a daemon that is not stopping".to_owned(),
                About::Command(which, needs) => {
                    let needs = match needs {
                        Needs::Nothing => "",
                        Needs::Chunks => ", whose output is streamed or polled",
                        Needs::Collected => ", whose output is collected",
                        Needs::Input => ", with `\"stdin\":\"pipe\"`",
                        Needs::Terminal => ", with a `pty`",
                    };
                    format!("a command {}{needs}", states(which))
                }
            };
            let roles: Vec<&str> = row.roles.iter().map(|role| role.name()).collect();
            let roles = if roles.is_empty() { "any".to_owned() } else { roles.join(" or ") };
            let _ = writeln!(text, "| {socket} | `{}` | {connection} | {about} | {roles} |", row.method);
        }
        text
    }

    #[test]
    fn every_method_has_one_row_and_the_document_has_it_too() {
        let methods = |table: &[Row]| table.iter().map(|row| row.method).collect::<Vec<_>>();
        assert_eq!(methods(AgentCall::TABLE), AgentCall::METHODS);
        assert_eq!(methods(OperatorCall::TABLE), OperatorCall::METHODS);
        let table = document::<AgentCall>("agent") + &document::<OperatorCall>("operator");
        let text = include_str!("../../../docs/protocol.md");
        assert!(text.contains(&table), "docs/protocol.md lacks\n{table}");
    }

    #[test]
    fn hello_is_first_and_nothing_else_is() {
        for row in AgentCall::TABLE.iter().chain(OperatorCall::TABLE) {
            assert_eq!(row.phase == Phase::Connected, row.method == "hello", "{row:?}");
        }
    }
}
