//! Questions that wait for an operator: one queue, however many operators look at it, and one answer to each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, oneshot};

use super::Answer;
use crate::stage::{DenialReason, Pending, Principal};
use crate::wire::rpc::{self, AnswerKind, ApprovalId, ExecId, RequestId, Separation, SessionId, Settled};

/// Questions of one session that may wait: one that floods must not hide a bad question among a thousand.
const PER_SESSION: usize = 8;

/// Questions of everybody that may wait.
const IN_ALL: usize = 1024;

/// Events that a watcher may be behind before it is told everything anew.
const BEHIND: usize = 256;

/// The queue. Clones share it.
#[derive(Debug, Clone)]
pub struct Broker {
    waiting: Arc<Mutex<Queue>>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    questions: BTreeMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    shown: Arc<rpc::Approval>,
    answer: oneshot::Sender<Said>,
}

#[derive(Debug)]
enum Said {
    Yes(Principal),
    No(Option<String>),
}

/// What happened to the queue.
#[derive(Debug, Clone)]
pub enum Event {
    /// One more waits.
    Pending(Arc<rpc::Approval>),
    /// One waits no longer.
    Settled(ApprovalId, Settled),
}

/// Where a question comes from, besides what its request says.
#[derive(Debug, Clone)]
pub struct About {
    /// Its session.
    pub session: SessionId,
    /// What the session is for, in the requester's words.
    pub label: Option<String>,
    /// The command, as the requester calls it.
    pub id: ExecId,
    /// The directory that it may change.
    pub workspace: String,
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    /// It was answered before, withdrawn, or has run out, or there never was one.
    #[error("there is no such question, or it has been settled")]
    Settled,
}

impl Default for Broker {
    fn default() -> Self {
        Self { waiting: Arc::default(), events: broadcast::channel(BEHIND).0 }
    }
}

impl Broker {
    /// Asks, and waits for an answer until `timeout` has passed. No answer is a no. When this future is dropped, the
    /// question is withdrawn.
    pub async fn ask(&self, pending: &Pending, about: About, timeout: Duration) -> Answer {
        let (answer, said) = oneshot::channel();
        let question = match self.put(pending, about, timeout, answer) {
            Ok(question) => question,
            Err(why) => return Answer::No(DenialReason::Nobody(why.to_owned())),
        };
        let said = tokio::time::timeout(timeout, said).await;
        match said {
            Ok(Ok(Said::Yes(approver))) => Answer::Yes(pending.grant_once(approver)),
            Ok(Ok(Said::No(reason))) => Answer::No(DenialReason::Person(reason)),
            Ok(Err(_)) => Answer::No(DenialReason::Nobody("the queue of questions is gone".to_owned())),
            Err(_) => {
                question.settle(Settled::Expired);
                Answer::No(DenialReason::NoAnswer(timeout))
            }
        }
    }

    fn put(
        &self,
        pending: &Pending,
        about: About,
        timeout: Duration,
        answer: oneshot::Sender<Said>,
    ) -> Result<Asked<'_>, &'static str> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| "no random numbers for the question's name")?;
        let request = pending.request();
        let request_id =
            RequestId::try_from(request.id.to_string()).map_err(|_| "the request has no proper name")?;
        let now = Timestamp::now();
        let shown = Arc::new(rpc::Approval {
            approval: ApprovalId::from_random(id),
            request_id,
            principal: principal(&request.principal),
            session: about.session,
            label: about.label,
            id: about.id,
            command: request.command.clone(),
            display: request.command.display(),
            cwd: request.facts.cwd.clone(),
            workspace: about.workspace,
            findings: pending.judgement().findings.clone(),
            // As seen by nobody in particular; each viewer gets its own.
            separation: Separation::None,
            asked: now.to_string(),
            expires: (now + timeout.min(Duration::from_secs(365 * 24 * 3600))).to_string(),
            answers: vec![AnswerKind::Once, AnswerKind::Deny],
        });
        let mut queue = self.queue();
        let same = queue.questions.values().filter(|other| other.shown.session == shown.session);
        if same.count() >= PER_SESSION {
            return Err("too many questions of this session wait already");
        }
        if queue.questions.len() >= IN_ALL {
            return Err("too many questions wait already");
        }
        let number = queue.next;
        queue.next += 1;
        queue.questions.insert(number, Question { shown: Arc::clone(&shown), answer });
        // Under the lock, so that a watcher sees events in their order. Nobody may be watching.
        let _ = self.events.send(Event::Pending(shown));
        Ok(Asked { broker: self, number })
    }

    /// Answers a question, once.
    ///
    /// # Errors
    /// When there is nothing to answer any more.
    pub fn answer(
        &self,
        id: &ApprovalId,
        kind: AnswerKind,
        reason: Option<String>,
        by: &Principal,
    ) -> Result<(), NotAnswered> {
        let mut queue = self.queue();
        let number = queue.questions.iter().find(|(_, question)| question.shown.approval == *id);
        let number = number.map(|(number, _)| *number).ok_or(NotAnswered::Settled)?;
        let question = queue.questions.remove(&number).ok_or(NotAnswered::Settled)?;
        let said = match kind {
            AnswerKind::Once => Said::Yes(by.clone()),
            _ => Said::No(reason),
        };
        // An error means that the asker has gone in this moment.
        question.answer.send(said).map_err(|_| NotAnswered::Settled)?;
        let settled = Settled::Answered { answer: kind, by: principal(by) };
        let _ = self.events.send(Event::Settled(id.clone(), settled));
        Ok(())
    }

    /// Those that wait, oldest first, and what happens from then on.
    pub fn watch(&self) -> (Vec<Arc<rpc::Approval>>, broadcast::Receiver<Event>) {
        let queue = self.queue();
        (
            queue.questions.values().map(|question| Arc::clone(&question.shown)).collect(),
            self.events.subscribe(),
        )
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that was put; withdrawn when dropped unanswered.
struct Asked<'a> {
    broker: &'a Broker,
    number: u64,
}

impl Asked<'_> {
    fn settle(&self, settled: Settled) {
        let mut queue = self.broker.queue();
        if let Some(question) = queue.questions.remove(&self.number) {
            let _ = self.broker.events.send(Event::Settled(question.shown.approval.clone(), settled));
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.settle(Settled::Withdrawn);
    }
}

fn principal(principal: &Principal) -> rpc::Principal {
    rpc::Principal { uid: principal.uid, gid: principal.gid, name: principal.name.clone() }
}
