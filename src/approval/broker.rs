//! Questions that wait for an operator: one queue, however many operators look at it, and one answer to each.
//!
//! A session has few places in it, and one that keeps asking waits longer before each question, so that it tires nobody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{broadcast, oneshot};

use super::{Answer, Situation};
use crate::redact::Redactor;
use crate::stage::{Agreed, Answered, DenialReason, Pending, Principal};
use crate::wire::rpc::{
    self, AnswerKind, ApprovalId, ExecId, RequestId, Separation, SessionId, Settled, Width,
};

/// Questions of one session that may wait: one that floods must not hide a bad question among a thousand.
const PER_SESSION: usize = 8;

/// Questions of everybody that may wait.
const IN_ALL: usize = 1024;

/// Questions that a session may put in [`LATELY`] without waiting.
const BURST: usize = 12;

/// See [`BURST`].
const LATELY: Duration = Duration::from_secs(60);

/// How much longer each question beyond the burst waits, and the longest wait.
const SLOWER: Duration = Duration::from_millis(500);
const SLOWEST: Duration = Duration::from_secs(10);

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
    paces: BTreeMap<SessionId, Pace>,
}

#[derive(Debug)]
struct Question {
    shown: Arc<rpc::Approval>,
    situation: Arc<Situation>,
    separation: Separation,
    answer: oneshot::Sender<Said>,
}

#[derive(Debug)]
enum Said {
    Yes(Agreed, Option<Answered>),
    No(Option<String>),
    Failed(String),
}

/// How many questions a session has put lately.
#[derive(Debug, Default)]
struct Pace {
    waiting: usize,
    lately: VecDeque<Instant>,
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
    /// Whether something separates its requester from those who are asked.
    pub separation: Separation,
    /// Masks what they are not to see of it.
    pub redactor: Redactor,
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
    pub async fn ask(
        &self,
        pending: &Pending,
        situation: Situation,
        about: About,
        timeout: Duration,
    ) -> Answer {
        let deadline = tokio::time::Instant::now() + timeout.min(LONGEST);
        let place = match self.place(&about.session) {
            Ok(place) => place,
            Err(why) => return Answer::No(DenialReason::Nobody(why.to_owned())),
        };
        // Not even a turn of the event loop where there is no need: who was told that a person is asked may go at once.
        if !place.delay.is_zero() {
            tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + place.delay)).await;
        }
        let (answer, said) = oneshot::channel();
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let question = match self.put(pending, situation, about, left, answer) {
            Ok(question) => question,
            Err(why) => return Answer::No(DenialReason::Nobody(why.to_owned())),
        };
        let said = tokio::time::timeout_at(deadline, said).await;
        drop(place);
        match said {
            Ok(Ok(Said::Yes(agreed, None))) => Answer::Yes(pending.grant(agreed)),
            Ok(Ok(Said::Yes(agreed, Some(answered)))) => Answer::Yes(pending.grant_on(agreed, answered)),
            Ok(Ok(Said::No(reason))) => Answer::No(DenialReason::Person(reason)),
            Ok(Ok(Said::Failed(error))) => Answer::No(DenialReason::Failed(error)),
            Ok(Err(_)) => Answer::No(DenialReason::Nobody("the answer was lost".to_owned())),
            Err(_) => {
                question.settle(Settled::Expired);
                Answer::No(DenialReason::NoAnswer(timeout))
            }
        }
    }

    /// A place for one more question of a session, and how long it waits before it is put.
    fn place(&self, session: &SessionId) -> Result<Place<'_>, &'static str> {
        let now = Instant::now();
        let mut queue = self.queue();
        queue.paces.retain(|_, pace| {
            pace.lately.retain(|at| now.duration_since(*at) < LATELY);
            pace.waiting > 0 || !pace.lately.is_empty()
        });
        let in_all: usize = queue.paces.values().map(|pace| pace.waiting).sum();
        let pace = queue.paces.entry(session.clone()).or_default();
        if pace.waiting >= PER_SESSION {
            return Err("too many questions of this session wait already");
        }
        if in_all >= IN_ALL {
            return Err("too many questions wait already");
        }
        pace.waiting += 1;
        pace.lately.push_back(now);
        let beyond = u32::try_from(pace.lately.len().saturating_sub(BURST)).unwrap_or(u32::MAX);
        Ok(Place {
            broker: self,
            session: session.clone(),
            delay: SLOWER.saturating_mul(beyond).min(SLOWEST),
        })
    }

    fn put(
        &self,
        pending: &Pending,
        situation: Situation,
        about: About,
        left: Duration,
        answer: oneshot::Sender<Said>,
    ) -> Result<Asked<'_>, &'static str> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| "no random numbers for the question's name")?;
        let request = pending.request();
        let request_id =
            RequestId::try_from(request.id.to_string()).map_err(|_| "the request has no proper name")?;
        let now = Timestamp::now();
        let mut answers = vec![AnswerKind::Once];
        if situation.bound(Width::Exact).is_some() {
            answers.push(AnswerKind::Session);
            answers.extend((about.separation == Separation::Uid).then_some(AnswerKind::Always));
        }
        answers.push(AnswerKind::Deny);
        let (command, findings) =
            super::shown::masked(&request.command, &pending.judgement().findings, &about.redactor);
        let mask = |text: String| about.redactor.masked(&text).map_or(text, |(masked, _)| masked);
        let shown = Arc::new(rpc::Approval {
            approval: ApprovalId::from_random(id),
            request_id,
            principal: principal(&request.principal),
            session: about.session,
            label: about.label.map(mask),
            id: about.id,
            display: command.display(),
            command,
            cwd: mask(request.facts.cwd.clone()),
            workspace: mask(about.workspace),
            findings,
            scripts: situation.scripts.clone(),
            // As seen by nobody in particular; each viewer gets its own.
            separation: Separation::None,
            asked: now.to_string(),
            expires: (now + left).to_string(),
            answers,
        });
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        let question = Question {
            shown: Arc::clone(&shown),
            situation: Arc::new(situation),
            separation: about.separation,
            answer,
        };
        queue.questions.insert(number, question);
        // Under the lock, so that a watcher sees events in their order. Nobody may be watching.
        let _ = self.events.send(Event::Pending(shown));
        Ok(Asked { broker: self, number })
    }

    /// What waits under this name, for a look at what an answer would mean.
    ///
    /// # Errors
    /// When there is nothing to answer any more.
    pub fn situation(&self, id: &ApprovalId) -> Result<Arc<Situation>, NotAnswered> {
        let queue = self.queue();
        let found = queue.questions.values().find(|question| question.shown.approval == *id);
        found.map(|question| Arc::clone(&question.situation)).ok_or(NotAnswered::Settled)
    }

    /// Takes a question, to answer it: nobody else can from now on. One that is taken and not answered is a no.
    ///
    /// # Errors
    /// When there is nothing to answer any more.
    pub fn take(&self, id: &ApprovalId) -> Result<Taken<'_>, NotAnswered> {
        let mut queue = self.queue();
        let number = queue.questions.iter().find(|(_, question)| question.shown.approval == *id);
        let number = number.map(|(number, _)| *number).ok_or(NotAnswered::Settled)?;
        let question = queue.questions.remove(&number).ok_or(NotAnswered::Settled)?;
        Ok(Taken { broker: self, question: Some(question) })
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

/// Longest time that a question waits; a clock cannot count every duration.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A question that somebody answers.
#[derive(Debug)]
pub struct Taken<'a> {
    broker: &'a Broker,
    question: Option<Question>,
}

impl Taken<'_> {
    /// As it was shown.
    pub fn shown(&self) -> Option<&rpc::Approval> {
        self.question.as_ref().map(|question| &*question.shown)
    }

    /// What a standing grant would be held against.
    pub fn situation(&self) -> Option<Arc<Situation>> {
        self.question.as_ref().map(|question| Arc::clone(&question.situation))
    }

    /// Whether something separates its requester from those who are asked.
    pub fn separation(&self) -> Separation {
        self.question.as_ref().map_or(Separation::None, |question| question.separation)
    }

    /// Whether the requester waits still.
    pub fn is_wanted(&self) -> bool {
        self.question.as_ref().is_some_and(|question| !question.answer.is_closed())
    }

    /// Yes, perhaps on other terms.
    ///
    /// # Errors
    /// When the requester has gone in this moment.
    pub fn yes(
        self,
        kind: AnswerKind,
        agreed: Agreed,
        on: Option<Answered>,
        by: &Principal,
    ) -> Result<(), NotAnswered> {
        self.say(Said::Yes(agreed, on), Settled::Answered { answer: kind, by: principal(by) })
    }

    /// No, with words for the requester.
    ///
    /// # Errors
    /// When the requester has gone in this moment.
    pub fn no(self, reason: Option<String>, by: &Principal) -> Result<(), NotAnswered> {
        self.say(Said::No(reason), Settled::Answered { answer: AnswerKind::Deny, by: principal(by) })
    }

    /// The answer could not be kept, so that it does not count.
    pub fn fail(self, error: String) {
        let _ = self.say(Said::Failed(error), Settled::Withdrawn);
    }

    fn say(mut self, said: Said, settled: Settled) -> Result<(), NotAnswered> {
        let Question { shown, answer, .. } = self.question.take().ok_or(NotAnswered::Settled)?;
        let told = answer.send(said).map_err(|_| NotAnswered::Settled);
        let settled = if told.is_ok() { settled } else { Settled::Withdrawn };
        let _ = self.broker.events.send(Event::Settled(shown.approval.clone(), settled));
        told
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(question) = self.question.take() {
            let event = Event::Settled(question.shown.approval.clone(), Settled::Withdrawn);
            let _ = self.broker.events.send(event);
        }
    }
}

/// A place in the queue.
struct Place<'a> {
    broker: &'a Broker,
    session: SessionId,
    delay: Duration,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(pace) = self.broker.queue().paces.get_mut(&self.session) {
            pace.waiting = pace.waiting.saturating_sub(1);
        }
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
