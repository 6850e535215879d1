//! What agents ask.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::connection::{Connection, Serve};
use crate::supervisor::session::{self, Exec, Session};
use crate::wire::rpc::{
    self, AgentCall, Code, Done, Error, Event, ExecId, Id, OpenSession, Request, Role, SessionId, StartExec,
};

/// The agents' socket.
#[derive(Debug)]
pub(super) struct Agent;

impl Serve for Agent {
    const ROLE: Role = Role::Agent;
    const METHODS: &'static [&'static str] = AgentCall::METHODS;

    async fn serve(connection: &Arc<Connection>, request: Request, fds: Vec<OwnedFd>) {
        let call = AgentCall::read(&request);
        let id = request.id;
        match call {
            Ok(AgentCall::ExecStart(asked)) => connection.start(id, asked, fds).await,
            Ok(call) => {
                connection.refuse_descriptors(fds);
                answer(connection, id, call).await;
            }
            Err(error) => connection.reply::<Done>(id, Err(error)).await,
        }
    }
}

/// What is asked in a row about one command happens in that row: its name is known, and its input queued, before the
/// next request is read.
async fn answer(connection: &Arc<Connection>, id: Id, call: AgentCall) {
    let this = Arc::clone(connection);
    match call {
        AgentCall::Hello(_) => {
            connection.reply::<Done>(id, Err(Error::new(Code::Hello, "hello was said before"))).await;
        }
        // In its turn: the requests behind it may leave out which session they mean.
        AgentCall::SessionOpen(asked) => {
            let opened = this.open(asked).await;
            connection.reply(id, opened).await;
        }
        AgentCall::SessionClose(of) => {
            let closed = async move {
                let session = this.session(of.session.as_ref())?;
                this.house.close(&session).await;
                Ok(Done {})
            };
            connection.answer(id, closed).await;
        }
        AgentCall::SessionList(_) => {
            let uid = connection.peer.uid;
            let sessions = connection.house.sessions();
            let own = sessions.iter().filter(|session| session.principal().uid == uid);
            let sessions = own.map(|session| session.listed()).collect();
            connection.reply(id, Ok(rpc::Sessions { sessions })).await;
        }
        AgentCall::SessionGet(of) => {
            let session = connection.session(of.session.as_ref());
            connection.reply(id, session.map(|session| session.listed())).await;
        }
        AgentCall::ExecStart(asked) => connection.start(id, asked, Vec::new()).await,
        AgentCall::ExecRead(asked) => {
            let read = async move {
                let exec = this.exec(asked.session.as_ref(), &asked.id)?;
                let wait = asked.wait_ms.millis();
                let read = exec.read(asked.after_seq, asked.max_bytes.size());
                Ok(match tokio::time::timeout(wait, read).await {
                    Ok(output) => {
                        let output = output?;
                        rpc::Read {
                            last_seq: output.chunks.last().map_or(asked.after_seq, |chunk| chunk.seq),
                            chunks: output.chunks,
                            exited: output.exited,
                            closed: output.closed,
                        }
                    }
                    Err(_) => rpc::Read {
                        chunks: Vec::new(),
                        last_seq: asked.after_seq,
                        exited: exec.state() == rpc::State::Ended,
                        closed: false,
                    },
                })
            };
            connection.answer(id, read).await;
        }
        AgentCall::ExecWrite(asked) => {
            let written = connection.exec(asked.session.as_ref(), &asked.id).and_then(|exec| {
                let bytes =
                    asked.bytes().map_err(|error| Error::new(Code::BadParameters, error.to_string()))?;
                exec.write(bytes, asked.end)
            });
            match written {
                Ok(taken) => {
                    let written = async move {
                        let bytes = taken.await.map_err(|_| {
                            Error::new(Code::StdinClosed, "the command ended before it took this")
                        })?;
                        Ok(rpc::Written { bytes })
                    };
                    connection.answer(id, written).await;
                }
                Err(error) => connection.reply::<Done>(id, Err(error)).await,
            }
        }
        AgentCall::ExecSignal(asked) => {
            let signalled = match connection.exec(asked.session.as_ref(), &asked.id) {
                Ok(exec) => exec.signal(asked.signal.number()).await,
                Err(error) => Err(error),
            };
            connection.reply(id, signalled.map(|()| Done {})).await;
        }
        AgentCall::ExecResize(asked) => {
            let rpc::ResizeExec { session, id: exec, rows, cols } = asked;
            let resized = match connection.exec(session.as_ref(), &exec) {
                Ok(exec) => exec.resize(rpc::Size { rows, cols }).await,
                Err(error) => Err(error),
            };
            connection.reply(id, resized.map(|()| Done {})).await;
        }
        AgentCall::ExecWait(asked) => {
            let waited = async move {
                let exec = this.exec(asked.session.as_ref(), &asked.id)?;
                // Not to have ended by then is no error.
                let _ = tokio::time::timeout(asked.wait_ms.millis(), exec.report()).await;
                Ok(exec.waited())
            };
            connection.answer(id, waited).await;
        }
        AgentCall::ExecKill(of) => {
            let killed = connection.exec(of.session.as_ref(), &of.id).map(|exec| {
                exec.kill.cancel();
                Done {}
            });
            connection.reply(id, killed).await;
        }
        AgentCall::ExecList(of) => {
            let execs = connection.session(of.session.as_ref()).map(|session| rpc::Execs {
                execs: session.execs().iter().map(|exec| exec.listed()).collect(),
            });
            connection.reply(id, execs).await;
        }
        AgentCall::GateCheck(asked) => {
            let session = match &asked.session {
                Some(_) => connection.session(asked.session.as_ref()).map(Some),
                None => Ok(connection.session(None).ok()),
            };
            let checked = session.and_then(|session| match session {
                Some(session) => session.check(&asked),
                None => session::check(&connection.house.common, &connection.peer, &asked),
            });
            connection.reply(id, checked).await;
        }
    }
}

impl Connection {
    async fn open(self: &Arc<Self>, asked: OpenSession) -> Result<rpc::SessionOpened, Error> {
        let opening = {
            let (house, peer) = (Arc::clone(&self.house), self.peer.clone());
            // Not given up half-way when the peer goes: what was made must be known to be ended.
            tokio::spawn(async move {
                let session = Session::open(&house.common, &peer, asked).await?;
                // Used before it is kept: one that does not linger would be gone at once.
                let joined = session.join();
                house.keep(&session);
                Ok::<_, Error>(joined)
            })
        };
        let joined =
            opening.await.map_err(|_| Error::new(Code::Internal, "the session could not be opened"))??;
        let opened = joined.opened();
        let mut used = self.used();
        used.opened.push(Arc::clone(&joined));
        used.joined.push(joined);
        Ok(opened)
    }

    /// The session that a request is about: by its name, if it is the peer's own; else the one that was opened here.
    fn session(&self, id: Option<&SessionId>) -> Result<Arc<Session>, Error> {
        let Some(id) = id else {
            let used = self.used();
            return match used.opened.iter().filter(|session| !session.end.is_cancelled()).collect::<Vec<_>>()
                [..]
            {
                [session] => Ok(Arc::clone(session)),
                [] => Err(Error::new(Code::UnknownSession, "this connection has opened no session")
                    .hint("open one with session/open, or name one")),
                _ => {
                    Err(Error::new(Code::UnknownSession, "this connection has opened more than one session")
                        .hint("say which one with `session`"))
                }
            };
        };
        let session = self
            .house
            .session(id)
            .filter(|session| session.principal().uid == self.peer.uid)
            .ok_or_else(Error::unknown_session)?;
        let mut used = self.used();
        if !used.joined.iter().any(|other| Arc::ptr_eq(other, &session)) {
            used.joined.push(session.join());
        }
        Ok(session)
    }

    fn exec(&self, session: Option<&SessionId>, id: &ExecId) -> Result<Arc<Exec>, Error> {
        self.session(session)?.exec(id)
    }

    /// Starts a command; its output and its end come to this connection.
    async fn start(self: &Arc<Self>, id: Id, asked: StartExec, mut fds: Vec<OwnedFd>) {
        if fds.len() > asked.fds.len() {
            self.refuse_descriptors(std::mem::take(&mut fds));
        }
        let stream = asked.output == rpc::Output::Stream;
        let exec_id = asked.id.clone();
        let started = self.session(asked.session.as_ref()).and_then(|session| {
            let started = session.start(&self.peer, self.number, asked, fds)?;
            Ok((session.exec(&exec_id)?, session, started))
        });
        let (exec, session, started) = match started {
            Ok(started) => started,
            Err(error) => return self.reply::<Done>(id, Err(error)).await,
        };
        let connection = Arc::clone(self);
        // The reply first, then what follows from it.
        let reply = async move {
            let started = started.await;
            let follow = started.as_ref().is_ok_and(|started| !started.again);
            connection.reply(id, started).await;
            if follow {
                connection.follow(&session, &exec, stream).await;
            }
        };
        self.spawn(reply);
    }

    /// Sends what a command writes, and how it ends.
    async fn follow(&self, session: &Session, exec: &Exec, stream: bool) {
        if stream {
            self.pump(session, exec).await;
        }
        let report = rpc::Report::clone(&*exec.report().await);
        let exited = rpc::ExitedEvent { session: session.id.clone(), id: exec.id.clone(), report };
        self.notify(&Event::Exited(exited)).await;
        let last_seq = exec.listed().last_seq;
        let closed = rpc::ClosedEvent { session: session.id.clone(), id: exec.id.clone(), last_seq };
        self.notify(&Event::Closed(closed)).await;
    }

    /// Sends what a command writes until there is no more of it.
    async fn pump(&self, session: &Session, exec: &Exec) {
        let mut after = 0;
        // An error: another connection has read on, and let go of what this one has not had.
        while let Ok(output) = exec.read(after, 64 << 10).await {
            for chunk in output.chunks {
                after = chunk.seq;
                let event = rpc::OutputEvent { session: session.id.clone(), id: exec.id.clone(), chunk };
                self.notify(&Event::Output(event)).await;
            }
            if output.closed {
                return;
            }
        }
    }
}
