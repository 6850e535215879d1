//! A command gets its name, and its life begins.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::exec::{Exec, Named, Place};
use super::open::stopping;
use super::passed::Passed;
use super::{KEPT, Peer, Session};
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
        asked: &StartExec,
        fds: Vec<OwnedFd>,
    ) -> Result<impl Future<Output = Result<Started, Error>> + use<>, Error> {
        let (exec, reply) = match self.name(peer, connection, asked, fds)? {
            Ok((exec, feed, passed)) => {
                let (reply, judged) = oneshot::channel();
                let (session, live, peer, asked) =
                    (Arc::clone(self), Arc::clone(&exec), peer.clone(), asked.clone());
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
        let digest = Exec::digest(asked);
        let mut commands = self.commands();
        if let Some(known) = commands.again(&asked.id, &digest)? {
            return Ok(Err(known));
        }
        let passed = Passed::take(asked, fds, (peer.uid, peer.gid), &self.account)?;
        if self.common.stopping.is_cancelled() {
            return Err(stopping());
        }
        if self.end.is_cancelled() {
            return Err(Error::unknown_session());
        }
        commands.room(self.common.accounts.quota().commands)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::new(Code::Internal, format!("no random numbers: {error}")))?;
        if self.account.share.is_used_up() {
            // Where its principal has no memory left, nothing of what has ended is kept.
            commands.evict(0).iter().for_each(|exec| exec.forget());
        }
        let redactor = self.masker.now();
        let (exec, feed) = Exec::new(
            asked,
            Named {
                request_id: rpc::RequestId::from_random(id),
                number: commands.next_number(),
                display: shortened(redactor.text(&asked.command.display()).0),
                started: jiff::Timestamp::now(),
                pid: peer.pid,
                bound_to: (!asked.background).then_some(connection),
                redact: [redactor.stream(), redactor.stream()],
                digest,
            },
            self.place(),
        );
        commands.insert(exec.id.clone(), Arc::clone(&exec));
        self.used.send_modify(|used| used.running += 1);
        Ok(Ok((exec, feed, passed)))
    }

    /// What its commands have of it.
    pub(super) fn place(&self) -> Place {
        Place {
            orders: self.orders.clone(),
            share: Arc::clone(&self.account.share),
            shelf: Arc::clone(&self.account.shelf),
            keepsake: self.keepsake.clone(),
        }
    }

    /// A command's life.
    pub(super) async fn live(
        self: Arc<Self>,
        exec: &Arc<Exec>,
        asked: StartExec,
        passed: Option<Passed>,
        peer: &Peer,
        reply: Reply,
    ) {
        let _underway = self.common.scribe.underway();
        let mut reply = Some(reply);
        let (report, refused) = self.run(exec, asked, passed, peer, &mut reply).await;
        self.over(exec, report, refused.clone());
        if let Some(reply) = reply {
            // It was refused at once, and the error says so; or it is over before it could be said that it runs.
            let _ = reply.send(refused.map_or(Ok(State::Ended), Err));
        }
        // After whoever waits has been told: what is kept of others that have ended is nobody's hurry.
        yield_now().await;
        let evicted = self.commands().evict(KEPT);
        evicted.iter().for_each(|exec| exec.forget());
    }
}

impl Session {
    /// A command is over, or never was.
    pub(super) fn over(&self, exec: &Arc<Exec>, report: rpc::Report, refused: Option<Error>) {
        exec.over(report, refused);
        if exec.is_noted() {
            let exec = Arc::clone(exec);
            self.common.scribe.then(move || exec.note_end());
        } else if exec.outlives() {
            exec.note_end();
        }
        self.used.send_modify(|used| used.running = used.running.saturating_sub(1));
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
