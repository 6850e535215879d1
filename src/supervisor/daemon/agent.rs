//! What agents ask.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::connection::{Connection, Serve};
use crate::supervisor::session::{self, Exec, Session};
use crate::wire::dialog::{Found, Session as _};
use crate::wire::rpc::{self, AgentCall, Code, Done, Error, Event, Id, OpenSession, Role, StartExec};

/// The agents' socket.
#[derive(Debug)]
pub(super) struct Agent;

impl Serve for Agent {
    const ROLE: Role = Role::Agent;

    type Call = AgentCall;

    async fn serve(connection: &Arc<Connection>, id: Id, call: AgentCall, fds: Vec<OwnedFd>) {
        match connection.look_up(&call) {
            Ok(found) => answer(connection, id, call, found, fds).await,
            Err(error) => connection.reply::<Done>(id, Err(error)).await,
        }
    }
}

/// What is asked in a row about one command happens in that row: its name is known, and its input queued, before the
/// next request is read.
async fn answer(
    connection: &Arc<Connection>,
    id: Id,
    call: AgentCall,
    found: Found<Arc<Session>, Arc<Exec>>,
    fds: Vec<OwnedFd>,
) {
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
        AgentCall::SessionClose(_) => {
            let closed = async move {
                let session = found.session()?;
                this.house.close(&session).await;
                Ok(Done {})
            };
            connection.answer(id, closed).await;
        }
        AgentCall::SessionList(_) => {
            let own = connection.house.sessions().of(connection.peer.uid);
            let sessions = own.iter().map(|session| session.listed()).collect();
            connection.reply(id, Ok(rpc::Sessions { sessions })).await;
        }
        AgentCall::SessionGet(_) => {
            connection.reply(id, found.session().map(|session| session.listed())).await;
        }
        AgentCall::ExecStart(asked) => match found.session() {
            Ok(session) => connection.start(id, &session, asked, fds).await,
            Err(error) => connection.reply::<Done>(id, Err(error)).await,
        },
        AgentCall::ExecRead(asked) => {
            let read = async move {
                let exec = found.command()?;
                read(&exec, &asked).await
            };
            connection.answer(id, read).await;
        }
        AgentCall::ExecRange(asked) => {
            let read = async move { found.command()?.range(&asked).await };
            connection.answer(id, read).await;
        }
        AgentCall::ExecWrite(asked) => {
            let written = found.command().and_then(|exec| {
                let bytes =
                    asked.bytes().map_err(|error| Error::new(Code::BadParameters, error.to_string()))?;
                exec.feed(bytes, asked.end)
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
            let exec = found.command();
            if let Ok(exec) = &exec {
                exec.signal(asked.signal.number()).await;
            }
            connection.reply(id, exec.map(|_| Done {})).await;
        }
        AgentCall::ExecResize(rpc::ResizeExec { rows, cols, .. }) => {
            let exec = found.command();
            if let Ok(exec) = &exec {
                exec.resize(rpc::Size { rows, cols }).await;
            }
            connection.reply(id, exec.map(|_| Done {})).await;
        }
        AgentCall::ExecWait(asked) => {
            let waited = async move {
                let exec = found.command()?;
                // Not to have ended by then is no error.
                let _ = tokio::time::timeout(asked.wait_ms.millis(), exec.report()).await;
                Ok(exec.waited())
            };
            connection.answer(id, waited).await;
        }
        AgentCall::ExecKill(_) => {
            let exec = found.command();
            if let Ok(exec) = &exec {
                exec.kill.cancel();
            }
            connection.reply(id, exec.map(|_| Done {})).await;
        }
        AgentCall::ExecList(_) => {
            let execs = found.session().map(|session| rpc::Execs {
                execs: session.execs().iter().map(|exec| exec.listed()).collect(),
            });
            connection.reply(id, execs).await;
        }
        AgentCall::ScanPath(asked) => {
            let scanned = async move {
                let path = match (found, Path::new(asked.path.as_str())) {
                    (Found::Session(session), path) => Path::new(&session.workspace_path).join(path),
                    (_, path) if path.is_absolute() => path.to_owned(),
                    _ => return Err(Error::new(Code::UnknownSession, "a relative path needs a session")),
                };
                session::scan_path(&this.house.common, &this.peer, path).await
            };
            connection.answer(id, scanned).await;
        }
        AgentCall::GateCheck(asked) => {
            let checked = match found {
                Found::Session(session) => session.check(&asked),
                _ => session::check(&connection.house.common, &connection.peer, &asked),
            };
            connection.reply(id, checked).await;
        }
    }
}

/// Output of a command, waited for where there is none yet.
async fn read(exec: &Exec, asked: &rpc::ReadExec) -> Result<rpc::Read, Error> {
    let read = exec.read(asked.after_seq, asked.max_bytes.size());
    Ok(match tokio::time::timeout(asked.wait_ms.millis(), read).await {
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
}

impl Connection {
    async fn open(self: &Arc<Self>, asked: OpenSession) -> Result<rpc::SessionOpened, Error> {
        let opening = {
            let (house, peer) = (Arc::clone(&self.house), self.peer.clone());
            // Not given up half-way when the peer goes: what was made must be known to be ended.
            tokio::spawn(async move {
                let session = Session::open(&house.common, &peer, asked, true).await?;
                // Used before it is kept: one that does not linger would be gone at once.
                let joined = session.join();
                house.keep(&session);
                if peer.admitted.is_cancelled() {
                    // Put out meanwhile: whoever ended its sessions did not see this one.
                    house.close(&session).await;
                    return Err(Error::new(Code::NotPermitted, "this user may not connect any more"));
                }
                Ok::<_, Error>(joined)
            })
        };
        let joined =
            opening.await.map_err(|_| Error::new(Code::Internal, "the session could not be opened"))??;
        let opened = joined.opened();
        let mut used = self.used();
        // A connection that opens and closes for ever keeps nothing of what is over.
        used.opened.retain(|session| !session.is_over());
        used.joined.retain(|session| !session.is_over());
        used.opened.push(Arc::clone(&joined));
        used.joined.push(joined);
        Ok(opened)
    }

    /// What a request is about. The connection uses the session from now on.
    fn look_up(&self, call: &AgentCall) -> Result<Found<Arc<Session>, Arc<Exec>>, Error> {
        let opened = self.used().opened.clone();
        let by_name = |id: &rpc::SessionId| self.house.sessions().by_name(id);
        let found = Found::look_up(call, self.peer.uid, by_name, &opened)?;
        if let Found::Session(session) | Found::Command(session, _) = &found {
            session.touch();
            let mut used = self.used();
            if !used.joined.iter().any(|other| Arc::ptr_eq(other, session)) {
                used.joined.push(session.join());
            }
        }
        Ok(found)
    }

    /// Starts a command; its output and its end come to this connection.
    async fn start(self: &Arc<Self>, id: Id, session: &Arc<Session>, asked: StartExec, fds: Vec<OwnedFd>) {
        let stream = asked.output == rpc::Output::Stream;
        let started = session
            .start(&self.peer, self.number, &asked, fds)
            .and_then(|started| Ok((session.command(&asked.id).ok_or_else(Error::unknown_exec)?, started)));
        let (connection, session) = (Arc::clone(self), Arc::clone(session));
        let (exec, started) = match started {
            Ok(started) => started,
            Err(error) => {
                let recorded = async move {
                    Err::<Done, _>(session.unjudged(&connection.peer, None, &asked, error).await)
                };
                return self.answer(id, recorded).await;
            }
        };
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
