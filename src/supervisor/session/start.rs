//! A command gets its name, and its life begins.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::exec::{Exec, Named};
use super::open::stopping;
use super::passed::Passed;
use super::{KEPT, Peer, Session};
use crate::stage::Digest;
use crate::wire::rpc::{self, Code, Error, StartExec, Started, State};

/// The reply to a start, which comes once.
pub(super) type Reply = oneshot::Sender<Result<State, Error>>;

impl Session {
    /// Names a command. What it answers is to be waited for, and comes when the command has been judged. A name that
    /// is known is not started again.
    pub(in crate::supervisor) fn start(
        self: &Arc<Self>,
        peer: &Peer,
        connection: u64,
        asked: StartExec,
        fds: Vec<OwnedFd>,
    ) -> Result<impl Future<Output = Result<Started, Error>> + use<>, Error> {
        self.touch();
        let (exec, reply) = match self.name(peer, connection, &asked, fds)? {
            Ok((exec, feed, passed)) => {
                let (reply, judged) = oneshot::channel();
                let (session, live, peer) = (Arc::clone(self), Arc::clone(&exec), peer.clone());
                self.tasks.spawn(feed);
                self.tasks.spawn(async move { session.live(&live, asked, passed, &peer, reply).await });
                (exec, Some(judged))
            }
            Err(known) => (known, None),
        };
        let session = self.id.clone();
        Ok(async move {
            let again = reply.is_none();
            let state = match reply {
                Some(judged) => judged.await.map_err(|_| {
                    Error::new(Code::Internal, "the command was given up before it was judged")
                })??,
                None => match exec.refused() {
                    Some(error) => return Err(error),
                    None => exec.state(),
                },
            };
            Ok(Started { session, id: exec.id.clone(), request_id: exec.request_id.clone(), state, again })
        })
    }

    /// Puts a command into the session, or finds the one that has its name.
    #[allow(clippy::type_complexity, reason = "a new one with its task, or a known one")]
    fn name(
        &self,
        peer: &Peer,
        connection: u64,
        asked: &StartExec,
        fds: Vec<OwnedFd>,
    ) -> Result<Result<(Arc<Exec>, impl Future<Output = ()> + use<>, Option<Passed>), Arc<Exec>>, Error> {
        let digest = serde_json::to_vec(&StartExec { session: None, ..asked.clone() });
        let digest = Digest::of(&digest.unwrap_or_default());
        let mut state = self.state();
        if let Some(known) = state.execs.get(&asked.id) {
            return if known.asked == digest {
                Ok(Err(Arc::clone(known)))
            } else {
                Err(Error::new(
                    Code::IdInUse,
                    "this id belongs to a command that was started with other parameters",
                )
                .hint("choose another id for another command"))
            };
        }
        let passed = Passed::take(asked, fds, (peer.uid, peer.gid), &self.account)?;
        if self.common.stopping.is_cancelled() {
            return Err(stopping());
        }
        if self.end.is_cancelled() {
            return Err(Error::unknown_session());
        }
        let running = state.execs.values().filter(|exec| exec.state() != State::Ended).count();
        if running >= self.common.accounts.quota().commands {
            return Err(Error::new(Code::Limit, "the session has as many commands under way as it may have")
                .hint("wait for one to end, or end one with exec/kill"));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::new(Code::Internal, format!("no random numbers: {error}")))?;
        self.evict(&mut state);
        state.started += 1;
        let (exec, feed) = Exec::new(
            asked,
            Named {
                request_id: rpc::RequestId::from_random(id),
                number: state.started,
                display: shortened(self.redactor.text(&asked.command.display()).0),
                bound_to: (!asked.background).then_some(connection),
                redact: [self.redactor.stream(), self.redactor.stream()],
                digest,
            },
            self.orders.clone(),
            Arc::clone(&self.account.share),
        );
        state.execs.insert(exec.id.clone(), Arc::clone(&exec));
        state.order.push(exec.id.clone());
        self.used.send_modify(|used| used.running += 1);
        Ok(Ok((exec, feed, passed)))
    }

    /// Lets go of what has ended, the oldest first, where there is too much of it.
    fn evict(&self, state: &mut super::Running) {
        let scarce = self.account.share.is_used_up();
        while state.order.len() >= KEPT || scarce {
            let ended =
                |id: &rpc::ExecId| state.execs.get(id).is_some_and(|exec| exec.state() == State::Ended);
            let Some(oldest) = state.order.iter().position(ended) else { return };
            let id = state.order.remove(oldest);
            if let Some(exec) = state.execs.remove(&id) {
                exec.forget();
            }
        }
    }

    /// A command's life.
    async fn live(
        self: Arc<Self>,
        exec: &Arc<Exec>,
        asked: StartExec,
        passed: Option<Passed>,
        peer: &Peer,
        reply: Reply,
    ) {
        let mut reply = Some(reply);
        let (report, refused) = self.run(exec, asked, passed, peer, &mut reply).await;
        exec.over(report, refused.clone());
        self.used.send_modify(|used| used.running = used.running.saturating_sub(1));
        if let Some(reply) = reply {
            // It was refused at once, and the error says so; or it is over before it could be said that it runs.
            let _ = reply.send(refused.map_or(Ok(State::Ended), Err));
        }
    }
}

/// A command for a list.
fn shortened(mut display: String) -> String {
    /// Bytes.
    const LONGEST: usize = 1024;
    if display.len() > LONGEST {
        let cut = (0..=LONGEST).rev().find(|&at| display.is_char_boundary(at)).unwrap_or(0);
        display.truncate(cut);
        display.push('\u{2026}');
    }
    display
}
