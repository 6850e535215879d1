//! A session that another supervisor has left, and that is gone on with.
//!
//! What it was opened with is worked out again, by the policy and the configuration that stand now: where that comes to another
//! sandbox than the one that stands, the session is over. Its runner says which commands it has, and each is taken up where its
//! diary ends. What was never let go has not run: it is judged again, and a person asked again. Nothing is started twice: a
//! command that was let go is never prepared again, whatever became of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::conclude::Due;
use super::diary::{self, Asked, Entry, Going};
use super::exec::{Exec, Found, Left, Named};
use super::open::{Looked, Made, look};
use super::outlive::Outlived;
use super::passed::Passing;
use super::policy::Layer;
use super::{Common, Keepsake, Peer, Record, Session};
use crate::redact::Secret;
use crate::sandbox::{Backend, Link};
use crate::stage::{Principal, RequestId};
use crate::supervisor::context::Context;
use crate::supervisor::journal::Journal;
use crate::supervisor::vault::Masker;
use crate::wire::rpc::{self, SessionId};
use crate::wire::runner::{Cause, Present, ToRunner};

/// Said of a command that was let go, and of which its runner knows nothing, or that it waits.
const NEVER_RAN: &str = "execward was restarted before it ran";
const HAD_SECRETS: &str = "execward was restarted while it held a secret that it was given: it was ended";
const NOT_KNOWN: &str = "execward was restarted, and its runner does not know it any more";

impl Session {
    /// Goes on with one. `ended` are the decisions of commands whose ends are recorded.
    ///
    /// # Errors
    /// Why that cannot be. Its runner, where there is one, still waits.
    pub(in crate::supervisor) async fn adopt(
        common: &Arc<Common>,
        peer: &Peer,
        id: SessionId,
        keepsake: &Arc<Keepsake>,
        record: &Record,
        ended: &BTreeSet<u64>,
    ) -> Result<Arc<Self>, String> {
        let said = |error: rpc::Error| error.message;
        let places = common.accounts.admit_session(&peer.account);
        let places = places.ok_or("there are as many sessions as there may be")?;
        let mut looked =
            look(common, peer, record.asked.clone(), Some(record.project.clone())).await.map_err(said)?;
        same(&looked, record)?;
        looked.spec = record.spec.clone();
        let layer = Layer::new(looked.project.clone());
        let policy = layer.beneath(common.policy()).map_err(said)?;
        let masker = Arc::new(Masker::new(Arc::clone(&common.vault), policy.redaction.clone()));
        let context = if keepsake.is_settled() {
            Context::default()
        } else {
            Context::new(&policy.scan, &record.suspects, false)
        };
        let container = match (&looked.backend, &record.container) {
            (Backend::Docker(made), Some(kept)) if kept.is_permitted(made) => Some((&common.engine, kept)),
            (Backend::Docker(_), _) => return Err("the policy does not permit its image any more".to_owned()),
            _ => None,
        };
        let link = Link::adopt(&keepsake.socket(), &record.spec, container).await;
        let link = link.map_err(|error| format!("its runner cannot be reached: {error}"))?;
        let present = link.commands().to_vec();
        let linger = record.asked.linger_ms.millis().max(common.lifetime.alone);
        let suspects = record.suspects.clone();
        let opened = Timestamp::from_millisecond(record.opened).unwrap_or_default();
        let keepsake = Some(Arc::clone(keepsake));
        let made = Made { id, opened, link, layer, suspects, context, masker, places, keepsake, linger };
        let session = Self::put_together(common, peer, &record.asked, looked, made).map_err(said)?;
        session.take_up(peer, &present, ended).await;
        Ok(session)
    }

    /// Takes up its commands.
    async fn take_up(self: &Arc<Self>, peer: &Peer, present: &[Present], ended: &BTreeSet<u64>) {
        let Some(keepsake) = self.keepsake.clone() else { return };
        self.kept().clone_from(&keepsake.shell());
        let read = tokio::task::spawn_blocking(move || found(&keepsake)).await;
        let found = read.unwrap_or_default();
        let mut present: HashMap<u64, bool> = present.iter().map(|it| (it.id, it.ran)).collect();
        let last = found.iter().map(|it| it.number).chain(present.keys().copied()).max();
        self.commands().go_on_after(last.unwrap_or(0));
        for found in found {
            let (number, asked) = (found.number, found.asked.clone());
            let peer = Peer { pid: asked.pid, ..peer.clone() };
            let passed = !asked.asked.fds.is_empty();
            let secrets = found.secrets().iter().map(|(name, value)| Secret::new(name, value.as_slice()));
            let redactor = self.masker.with(secrets.collect());
            let (exec, feed, left) = Exec::again(found, self.place(), &redactor);
            match left {
                Left::Ended => {
                    self.commands().insert(exec.id.clone(), Arc::clone(&exec));
                }
                Left::Going(going, from) => {
                    self.commands().insert(exec.id.clone(), Arc::clone(&exec));
                    self.used.send_modify(|used| used.running += 1);
                    self.tasks.spawn(feed);
                    let lost = match present.remove(&number) {
                        Some(true) if !going.given => {
                            self.routes.add(&exec);
                            self.orders.send(ToRunner::Resume { id: number, from });
                            None
                        }
                        Some(ran) => {
                            // Which values its output must not show is not written down: nobody is told of it any more.
                            self.end_unheard(number);
                            Some(if ran { HAD_SECRETS } else { NEVER_RAN })
                        }
                        None => Some(NOT_KNOWN),
                    };
                    if passed {
                        // Whoever was to have what it writes is gone.
                        exec.cancel.cancel();
                    }
                    let Going { decision, report, timeout_ms, grace_ms, keeps, given, .. } = *going;
                    let due = Due {
                        report,
                        decision,
                        timeout: Duration::from_millis(timeout_ms),
                        grace: Duration::from_millis(grace_ms),
                        keeps,
                        given,
                        redactor,
                        recorded: ended.contains(&decision),
                    };
                    self.tasks.spawn(Arc::clone(self).stay(exec, due, lost, peer));
                }
                Left::Waiting => {
                    exec.forget();
                    if passed {
                        continue;
                    }
                    let Asked { asked, request_id, display, pid, started } = *asked;
                    let named = Named {
                        request_id,
                        number: self.commands().next_number(),
                        digest: Exec::digest(&asked),
                        display,
                        started: Timestamp::from_millisecond(started).unwrap_or_default(),
                        pid,
                        bound_to: None,
                        redact: [redactor.stream(), redactor.stream()],
                    };
                    let (exec, feed) = Exec::new(&asked, named, self.place());
                    self.commands().insert(exec.id.clone(), Arc::clone(&exec));
                    self.used.send_modify(|used| used.running += 1);
                    exec.noted();
                    self.tasks.spawn(feed);
                    // Whoever waited for the reply is gone.
                    let (reply, _) = oneshot::channel();
                    let session = Arc::clone(self);
                    self.tasks.spawn(async move { session.live(&exec, asked, None, &peer, reply).await });
                }
            }
        }
        // What no diary knows was never let go, or is over for everybody: it is ended, and forgotten when that is said.
        present.into_keys().for_each(|id| self.end_unheard(id));
    }

    /// Has the runner end a command of which nobody is told anything any more, and forget it when it says so.
    fn end_unheard(&self, id: u64) {
        self.orders.send(ToRunner::Kill { id, cause: Cause::Cancelled });
        self.orders.send(ToRunner::Resume { id, from: [0; 2] });
    }

    /// Stays with a command until its end.
    async fn stay(self: Arc<Self>, exec: Arc<Exec>, due: Due, lost: Option<&'static str>, peer: Peer) {
        let _underway = self.common.scribe.underway();
        let outlived = match lost {
            Some(why) => {
                exec.end(Err(why.to_owned()));
                Outlived::lost(why.to_owned())
            }
            None => self.outlive(&exec, due.timeout, due.grace, Passing::none()).await,
        };
        let journal = self.journal(&peer, &exec.request_id);
        let report = self.conclude(&exec, due, outlived, &journal, &peer).await;
        self.over(&exec, report, None);
    }
}

/// That the sandbox that stands is the one that would be made now.
fn same(looked: &Looked, record: &Record) -> Result<(), String> {
    if looked.workspace.id != record.spec.workspace.id {
        return Err("another directory is at the place of its workspace".to_owned());
    }
    if serde_json::to_value(&looked.profile).unwrap_or_default() != record.profile {
        return Err("the policy gives it another sandbox now".to_owned());
    }
    // Who the commands are inside is made up for root, and otherwise follows from who opened it.
    let (new, old) = (&looked.spec, &record.spec);
    let same = new.ground == old.ground
        && new.network == old.network
        && new.limits == old.limits
        && new.minimum == old.minimum
        && new.workspace.writable == old.workspace.writable
        && new.workspace.later.action == old.workspace.later.action;
    if same { Ok(()) } else { Err("its sandbox would be made otherwise now".to_owned()) }
}

/// The commands that have diaries, in their order. One that does not read is of a command that was told nobody.
fn found(keepsake: &Keepsake) -> Vec<Found> {
    let mut all = Vec::new();
    for (number, path) in keepsake.diaries() {
        match diary::read(&path) {
            Ok((entries, size)) if matches!(entries.first(), Some(Entry::Asked(_))) => {
                let asked = entries.iter().find_map(|entry| match entry {
                    Entry::Asked(asked) => Some(asked.clone()),
                    _ => None,
                });
                all.extend(asked.map(|asked| Found { number, path, asked, entries, size }));
            }
            Ok(_) => diary::remove(&path),
            Err(error) => tracing::warn!(%error, path = %path.display(), "a diary cannot be read"),
        }
    }
    all
}

/// Has the runner of a session end that is not gone on with, and everything in it.
pub(in crate::supervisor) async fn close_runner(common: &Common, keepsake: &Keepsake, record: &Record) {
    if let Some(kept) = &record.container {
        return common.engine.discard(kept).await;
    }
    // Where nobody is there, there is nothing to end.
    if let Ok(link) = Link::adopt(&keepsake.socket(), &record.spec, None).await {
        let _ = tokio::task::spawn_blocking(move || link.close()).await;
    }
}

/// Commands that ran in a session that is not gone on with.
#[derive(Debug)]
pub(in crate::supervisor) struct Lost {
    /// Each with its request, and the number of the record that let it go.
    commands: Vec<(rpc::RequestId, i32, u64)>,
}

impl Lost {
    /// Finds them.
    pub(in crate::supervisor) fn of(keepsake: &Keepsake) -> Self {
        let commands = found(keepsake).into_iter().filter_map(|found| {
            let ended = found.entries.iter().any(|entry| matches!(entry, Entry::Ended { .. }));
            let going = found.entries.iter().find_map(|entry| match entry {
                Entry::Going(going) => Some(going.decision),
                _ => None,
            });
            going
                .filter(|_| !ended)
                .map(|decision| (found.asked.request_id.clone(), found.asked.pid, decision))
        });
        Self { commands: commands.collect() }
    }

    /// How many there are.
    pub(in crate::supervisor) fn count(&self) -> usize {
        self.commands.len()
    }

    /// Records that how they ended is not known.
    pub(in crate::supervisor) fn record(
        &self,
        common: &Common,
        (session, record): (&SessionId, &Record),
        ended: &BTreeSet<u64>,
        why: &str,
    ) {
        let redactor = common.vault.redactor(&common.policy().redaction, Vec::new());
        for (request, pid, decision) in
            self.commands.iter().filter(|(.., decision)| !ended.contains(decision))
        {
            let principal = Principal { uid: record.uid, gid: record.gid, name: record.name.clone() };
            let id = RequestId::from_wire(request);
            let journal =
                Journal::new(common.scribe.clone(), id, principal, *pid, "operator").in_session(session);
            if let Err(error) = journal.ended(*decision, Err(why.to_owned()), None, 0, &redactor) {
                tracing::error!(%error, %request, "that a command was lost is not recorded");
            }
        }
    }
}
