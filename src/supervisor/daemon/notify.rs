//! Telling people elsewhere that questions wait.
//!
//! The configuration names a command, which gets a notification as JSON on its standard input, or a webhook, to which the same is
//! posted and signed, or both. The command runs in a session of whoever runs the daemon, through the same pipeline as any command:
//! judged, recorded, confined. What is told leaves the machine, so that it is redacted and escaped; and nothing can be answered with
//! it: that is for the operators' socket.
//!
//! What comes together is told together, and no more often than the configuration says, so that a flood of questions is one
//! notification with a number in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::House;
use super::config::Notify;
use super::tell::Teller;
use crate::audit::record::{self, Record};
use crate::gate;
use crate::http::{self, Client, Key, Post, Url};
use crate::redact::{Redactor, Rules};
use crate::wire::rpc::Approval;

/// How long is waited for what comes together.
const TOGETHER: Duration = Duration::from_millis(500);

/// Questions that a notification names; the others are a number.
const NAMED: usize = 10;

/// How long one attempt to post a notification may take, and how long is waited before each.
const POST: Duration = Duration::from_secs(10);
const ATTEMPTS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];

/// Largest answer to a notification that is read, in bytes: only its status counts.
const MAX_ANSWER: usize = 64 << 10;

/// Who is told, and with which signature.
#[derive(Debug)]
pub(super) struct People {
    pub(super) notify: Notify,
    pub(super) key: Option<Key>,
}

impl People {
    /// Whether the same are told in the same way.
    pub(super) fn are(&self, others: &Self) -> bool {
        let name = |people: &Self| people.key.as_ref().map(Key::name);
        self.notify == others.notify && name(self) == name(others)
    }
}

/// What they are told.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Notification {
    /// How many questions wait.
    waiting: usize,
    /// Those that ask something of their own, oldest first.
    questions: Vec<Question>,
    /// How many of those are not named.
    more: usize,
}

/// A question, or several that ask the same.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Question {
    /// The oldest of them.
    approval: String,
    /// How many of them there are.
    alike: usize,
    /// Who asks.
    uid: u32,
    user: String,
    session: String,
    /// On one line, escaped, with secrets masked.
    command: String,
    cwd: String,
    /// The rules that ask.
    rules: Vec<String>,
    /// When the oldest of them becomes a no.
    expires: String,
}

impl Notification {
    fn of(waiting: &[Arc<Approval>], redactor: &Redactor) -> Self {
        let shown = |text: &str| gate::render(&redactor.text(text).0);
        let mut groups: Vec<(&Approval, usize)> = Vec::new();
        for approval in waiting {
            match groups.iter_mut().find(|(first, _)| first.asks_the_same(approval)) {
                Some((_, alike)) => *alike += 1,
                None => groups.push((approval, 1)),
            }
        }
        let questions = groups.iter().take(NAMED).map(|(approval, alike)| Question {
            approval: approval.approval.to_string(),
            alike: *alike,
            uid: approval.principal.uid,
            user: shown(&approval.principal.name),
            session: approval.session.to_string(),
            command: shown(&approval.display),
            cwd: shown(&approval.cwd),
            rules: approval.findings.iter().map(|finding| shown(&finding.rule)).collect(),
            expires: approval.expires.clone(),
        });
        Self {
            waiting: waiting.len(),
            questions: questions.collect(),
            more: groups.len().saturating_sub(NAMED),
        }
    }
}

/// Tells of what waits, until the daemon ends.
pub(super) async fn watch(house: Arc<House>, mut people: watch::Receiver<Option<Arc<People>>>) {
    let client = Client::default();
    let told = async {
        let (waiting, mut events) = house.common.broker.watch();
        let mut news = !waiting.is_empty();
        loop {
            while !news {
                let event = tokio::select! {
                    event = events.recv() => event,
                    // Others are to be told, of what waits already too.
                    Ok(()) = people.changed() => { news = true; continue; }
                };
                news = match event {
                    Ok(event) => matches!(event, crate::approval::Event::Pending(_)),
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => return,
                };
            }
            tokio::time::sleep(TOGETHER).await;
            news = false;
            let (waiting, anew) = house.common.broker.watch();
            events = anew;
            let told = people.borrow_and_update().clone();
            let Some(told) = told.filter(|_| !waiting.is_empty()) else { continue };
            let People { notify, key } = &*told;
            let redactor = house.common.vault.redactor(&Rules::builtin(), Vec::new());
            let notification = Notification::of(&waiting, &redactor);
            let by_command = async {
                if !notify.command.is_empty() {
                    tell(&house, notify, &notification).await?;
                }
                Ok(())
            };
            let by_webhook = async {
                if let (Some(url), Some(key)) = (&notify.webhook, key) {
                    post(&house, &client, url, notify.ca.as_deref(), key, &notification).await?;
                }
                Ok::<_, String>(())
            };
            let (by_command, by_webhook) = tokio::join!(by_command, by_webhook);
            for error in [by_command, by_webhook].into_iter().filter_map(Result::err) {
                tracing::error!(%error, "nobody could be told that questions wait");
            }
            tokio::time::sleep(notify.every).await;
        }
    };
    tokio::select! {
        () = told => {}
        () = house.closing.cancelled() => {}
    }
}

/// Posts it, again where that fails, and records what came of it.
async fn post(
    house: &House,
    client: &Client,
    url: &Url,
    ca: Option<&Path>,
    key: &Key,
    notification: &Notification,
) -> Result<(), String> {
    let body = serde_json::to_vec(notification).map_err(|error| error.to_string())?;
    let mut delivery = [0; 16];
    getrandom::fill(&mut delivery).map_err(|error| error.to_string())?;
    let mut result = Ok(());
    for wait in ATTEMPTS {
        tokio::time::sleep(wait).await;
        let fields = http::signed(key, &body, delivery, Timestamp::now());
        let post = Post { url, ca, fields, body: body.clone(), time: POST, largest: MAX_ANSWER };
        result = match client.post(post).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("HTTP {}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        if result.is_ok() {
            break;
        }
    }
    let record = record::Notification {
        to: url.to_string(),
        waiting: notification.waiting,
        error: result.clone().err(),
    };
    let redactor = house.common.vault.redactor(&Rules::builtin(), Vec::new());
    let noted = house.common.scribe.note(Record::notification(&record, &redactor)).await;
    noted.map_err(|error| error.to_string())?;
    result.map_err(|error| format!("the webhook {url}: {error}"))
}

/// Runs the command.
async fn tell(house: &Arc<House>, notify: &Notify, notification: &Notification) -> Result<(), String> {
    let mut text = serde_json::to_vec(notification).map_err(|error| error.to_string())?;
    text.push(b'\n');
    let teller = Teller {
        argv: &notify.command,
        directory: &notify.directory,
        profile: notify.profile.as_deref(),
        label: "notification",
        // A question about a notification would be one more to notify of.
        why: "nobody is asked about a notification; the policy must allow its command",
    };
    teller.tell(house, text).await.map_err(|error| format!("the notification command: {error}"))
}
