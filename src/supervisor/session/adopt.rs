//! A session that another supervisor has left, and that is gone on with.
//!
//! What it was opened with is worked out again, by the policy and the configuration that stand now: where that comes to another
//! sandbox than the one that stands, the session is over. Its runner says which commands it has, and each is taken up where its
//! diary ends. What was never let go has not run: it is judged again, and a person asked again. Nothing is started twice: a
//! command that was let go is never prepared again, whatever became of it, and one whose diary is not as it was written is not gone
//! on with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::gate::Decision;
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
    /// Goes on with one, of whose commands this is on record.
    ///
    /// # Errors
    /// Why that cannot be. Its runner, where there is one, still waits.
    pub(in crate::supervisor) async fn adopt(
        common: &Arc<Common>,
        peer: &Peer,
        id: SessionId,
        keepsake: &Arc<Keepsake>,
        record: &Record,
        recorded: &Recorded,
        diaries: Diaries,
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
        let masker = Arc::new(Masker::new(Arc::clone(&common.vault), policy.redaction()));
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
        session.take_up(peer, &present, recorded, diaries);
        Ok(session)
    }

    /// Takes up its commands.
    fn take_up(
        self: &Arc<Self>,
        peer: &Peer,
        present: &[Present],
        recorded: &Recorded,
        Diaries(found): Diaries,
    ) {
        let Some(keepsake) = self.keepsake.clone() else { return };
        self.kept().clone_from(&keepsake.shell());
        let mut present: HashMap<u64, bool> = present.iter().map(|it| (it.id, it.ran)).collect();
        let last = found.iter().map(|it| it.number).chain(present.keys().copied()).max();
        self.commands().go_on_after(last.unwrap_or(0));
        for found in found {
            let (number, asked, damage) = (found.number, found.asked.clone(), found.damage);
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
                    let lost = match (present.remove(&number), damage) {
                        (there, Some(what)) => {
                            if there.is_some() {
                                self.end_unheard(number);
                            }
                            Some(what)
                        }
                        (Some(true), None) if !going.given => {
                            self.routes.add(&exec);
                            self.orders.send(ToRunner::Resume { id: number, from });
                            None
                        }
                        (Some(ran), None) => {
                            // Which values its output must not show is not written down: nobody is told of it any more.
                            self.end_unheard(number);
                            Some(if ran { HAD_SECRETS } else { NEVER_RAN })
                        }
                        (None, None) => Some(NOT_KNOWN),
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
                        recorded: recorded.ended.contains(&decision),
                    };
                    self.tasks.spawn(Arc::clone(self).stay(exec, due, lost, peer));
                }
                // What its diary does not say any more: it may have run.
                Left::Waiting
                    if damage.is_some()
                        || present.get(&number) == Some(&true)
                        || recorded.requests.contains(asked.request_id.as_str()) =>
                {
                    if present.remove(&number).is_some() {
                        self.end_unheard(number);
                    }
                    self.commands().insert(exec.id.clone(), Arc::clone(&exec));
                    self.used.send_modify(|used| used.running += 1);
                    self.tasks.spawn(feed);
                    let why = damage.unwrap_or(diary::LACKS).to_owned();
                    let request = asked.request_id.as_str();
                    let open = recorded.open.iter().find(|(_, open)| open.id.as_str() == request);
                    if let Some((decision, _)) = open {
                        let journal = self.journal(&peer, &exec.request_id);
                        if let Err(error) = journal.ended(*decision, Err(why.clone()), None, 0, &redactor) {
                            tracing::error!(%error, decision, "that a command was lost is not recorded");
                        }
                    }
                    exec.end(Err(why.clone()));
                    self.over(&exec, unknown(&asked.request_id, self.separation, why), None);
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

/// What is said of a command of which no more is known than that it may have run.
fn unknown(request_id: &rpc::RequestId, separation: rpc::Separation, error: String) -> rpc::Report {
    let hint = "look at what it was to do, and start it anew where that is not done".to_owned();
    let outcome = rpc::Outcome::Failed { error, hint };
    rpc::Report::bare(outcome, request_id.clone(), Decision::Deny, separation)
}

/// What the diaries of a session say. It is read once: what is damaged is kept and reported by that.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Diaries(Vec<Found>);

impl Diaries {
    pub(in crate::supervisor) async fn read(keepsake: &Arc<Keepsake>) -> Self {
        let keepsake = Arc::clone(keepsake);
        Self(tokio::task::spawn_blocking(move || found(&keepsake)).await.unwrap_or_default())
    }
}

/// The commands that have diaries, in their order. One of which nothing reads is of a command that was told nobody.
fn found(keepsake: &Keepsake) -> Vec<Found> {
    let mut all = Vec::new();
    for (number, path) in keepsake.diaries() {
        let diary::Read { entries, size, damage } = match diary::read(&path) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a diary cannot be read");
                continue;
            }
        };
        if let Some(what) = damage {
            let kept = diary::set_aside(&path);
            tracing::error!(what, kept = %kept.display(), "the diary of a command is damaged: it is not gone on with");
        }
        let is_broken = path.extension().is_some_and(|of| of == diary::BROKEN);
        let damage = damage.map(|_| diary::DAMAGED).or(is_broken.then_some(diary::LACKS));
        match entries.first() {
            Some(Entry::Asked(asked)) => {
                let asked = asked.clone();
                // One that is over is over, whatever else is wrong.
                let is_over = matches!(entries.last(), Some(Entry::Ended { .. }));
                all.push(Found { number, path, asked, entries, size, damage: damage.filter(|_| !is_over) });
            }
            _ => diary::remove(&path),
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

/// What the log says of commands that another supervisor has left.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Recorded {
    /// The decisions of those whose ends are recorded.
    pub(in crate::supervisor) ended: BTreeSet<u64>,
    /// Their requests.
    pub(in crate::supervisor) requests: BTreeSet<String>,
    /// Those whose ends are not, by their decisions: of sessions alone.
    pub(in crate::supervisor) open: BTreeMap<u64, Open>,
}

/// A command that was let go, and whose end is not on record.
#[derive(Debug)]
pub(in crate::supervisor) struct Open {
    pub(in crate::supervisor) id: RequestId,
    pub(in crate::supervisor) principal: Principal,
    pub(in crate::supervisor) pid: i32,
    pub(in crate::supervisor) session: SessionId,
}

impl Open {
    /// Records that how it ended is not known.
    pub(in crate::supervisor) fn record(self, common: &Common, decision: u64) {
        let redactor = common.vault.redactor(&common.policy().redaction(), Vec::new());
        let journal = Journal::new(common.scribe.clone(), self.id, self.principal, self.pid, "operator");
        let why = "execward ended while it ran, and nothing of it was left".to_owned();
        if let Err(error) = journal.in_session(&self.session).ended(decision, Err(why), None, 0, &redactor) {
            tracing::error!(%error, decision, "that a command was lost is not recorded");
        }
    }
}

/// Commands that ran in a session.
#[derive(Debug)]
pub(in crate::supervisor) struct Lost {
    /// Each with its request, and the number of the record that let it go.
    commands: Vec<(rpc::RequestId, i32, u64)>,
    /// The requests of all that is written down of, let go or not.
    requests: Vec<String>,
}

impl Lost {
    /// Finds them.
    pub(in crate::supervisor) fn of(Diaries(all): &Diaries) -> Self {
        let requests = all.iter().map(|found| found.asked.request_id.as_str().to_owned()).collect();
        let commands = all.iter().filter_map(|found| {
            let ended = found.entries.iter().any(|entry| matches!(entry, Entry::Ended { .. }));
            let going = found.entries.iter().find_map(|entry| match entry {
                Entry::Going(going) => Some(going.decision),
                _ => None,
            });
            going
                .filter(|_| !ended)
                .map(|decision| (found.asked.request_id.clone(), found.asked.pid, decision))
        });
        Self { commands: commands.collect(), requests }
    }

    /// Their decisions.
    pub(in crate::supervisor) fn decisions(&self) -> Vec<u64> {
        self.commands.iter().map(|(.., decision)| *decision).collect()
    }

    /// The requests that whoever goes on with the session deals with.
    pub(in crate::supervisor) fn into_requests(self) -> Vec<String> {
        self.requests
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
        recorded: &Recorded,
        why: &str,
    ) {
        let redactor = common.vault.redactor(&common.policy().redaction(), Vec::new());
        for (request, pid, decision) in
            self.commands.iter().filter(|(.., decision)| !recorded.ended.contains(decision))
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
