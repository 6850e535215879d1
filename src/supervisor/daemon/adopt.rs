//! Going on with what another daemon has left: sessions whose runners wait for one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::House;
use super::sockets::Sockets;
use crate::audit::LogError;
use crate::audit::read::Follow;
use crate::audit::record::{Authority, Outcome, Record as Audit, Requester};
use crate::redact::Redactor;
use crate::stage::{Principal, RequestId};
use crate::supervisor::session::{
    Diaries, Keepsake, Lost, Open, Peer, Record, Recorded, Session, close_runner, sweep_outputs,
};
use crate::wire::rpc::{self, Scope, SessionId};

/// Below the directory of the sockets.
const DIRECTORY: &str = "sessions";

/// Where the sessions of a daemon with these sockets leave what the next one is to find.
pub(super) fn directory(sockets: &Sockets) -> Option<PathBuf> {
    let address = sockets.operator.local_addr().ok()?;
    Some(address.as_pathname().and_then(Path::parent)?.join(DIRECTORY))
}

/// Goes on with all that can be gone on with, before anybody is served. The others are ended, and what ran in them is recorded
/// as lost. Grants for sessions that are no more are taken back. All at once, and none takes longer than a look and an answer
/// may: whoever has a workspace that does not answer keeps nobody waiting for long.
pub(super) async fn adopt(house: &Arc<House>) {
    let all = house.common.keepsakes.as_deref().map(Keepsake::all).unwrap_or_default();
    let recorded = Arc::new(recorded(house).await);
    let mut going = JoinSet::new();
    for (id, keepsake) in all {
        going.spawn(take(Arc::clone(house), id, Arc::new(keepsake), Arc::clone(&recorded)));
    }
    let (mut adopted, mut known, mut requests) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for Taken { session, decisions, going_on } in going.join_all().await {
        adopted.extend(session);
        known.extend(decisions);
        requests.extend(going_on);
    }
    if let Some(recorded) = Arc::into_inner(recorded) {
        // Where nothing else is known of one, this is its end: none is without.
        // What is judged again, as it was let go and never ran, has its end then.
        let lost = recorded
            .open
            .into_iter()
            .filter(|(decision, open)| !known.contains(decision) && !requests.contains(open.id.as_str()));
        for (decision, open) in lost {
            tracing::warn!(decision, request = open.id.as_str(), "how a command ended is not known");
            open.record(&house.common, decision);
        }
    }
    let left = adopted.iter().map(|session| session.as_str().to_owned()).collect();
    sweep_outputs(&house.common.directories.state, &left);
    house.common.grants.revoke_all("the end of the session", |grant| {
        grant.scope == Scope::Session
            && !grant.session.as_ref().is_some_and(|session| adopted.contains(session))
    });
}

/// What became of a session that was left.
#[derive(Default)]
struct Taken {
    /// Its name, where it goes on.
    session: Option<SessionId>,
    /// The decisions of its commands, which are dealt with.
    decisions: Vec<u64>,
    /// The requests of those that it goes on with, or judges again.
    going_on: Vec<String>,
}

/// Goes on with one, or ends it.
async fn take(house: Arc<House>, id: SessionId, keepsake: Arc<Keepsake>, recorded: Arc<Recorded>) -> Taken {
    let record = match keepsake.read() {
        Ok(record) => record,
        Err(error) if keepsake.is_begun() => {
            // Something is wrong with it, or another execward wrote it. Its runner ends by itself.
            match keepsake.set_aside() {
                Ok(kept) => {
                    tracing::error!(session = %id, %error, kept = %kept.display(), "a session that was left does not read");
                }
                Err(aside) => {
                    tracing::error!(session = %id, %error, %aside, "a session that was left does not read");
                }
            }
            return Taken::default();
        }
        Err(error) => {
            // Nobody was told that there is one.
            tracing::debug!(session = %id, %error, "a session that was left had not begun");
            keepsake.remove();
            return Taken::default();
        }
    };
    let diaries = Diaries::read(&keepsake).await;
    let lost = Lost::of(&diaries);
    match go_on(&house, &id, &keepsake, &record, &recorded, diaries).await {
        Ok(session) => {
            let running = session.listed().running;
            tracing::info!(session = %id, running, "gone on with");
            let about = serde_json::json!({ "running": running });
            note(&house, &id, &record, "session-adopted", about).await;
            Taken { session: Some(id), decisions: lost.decisions(), going_on: lost.into_requests() }
        }
        Err(why) => {
            tracing::warn!(session = %id, why, running = lost.count(), "a session that was left is over");
            close_runner(&house.common, &keepsake, &record).await;
            lost.record(&house.common, (&id, &record), &recorded, &why);
            let about = serde_json::json!({ "running": lost.count(), "why": why });
            note(&house, &id, &record, "session-lost", about).await;
            keepsake.remove();
            Taken { decisions: lost.decisions(), ..Taken::default() }
        }
    }
}

/// What is on record of commands that another daemon let go. What it did last is at the end of the log, which is looked at.
async fn recorded(house: &House) -> Recorded {
    /// Records; more than there may be commands at a time.
    const LAST: usize = 20_000;
    let log = house.common.directories.audit();
    let read = tokio::task::spawn_blocking(move || Follow::after_last(&log, LAST)).await;
    let lines = match read {
        Ok(Ok((lines, _))) => lines,
        Ok(Err(LogError::Io { errno: Errno::ENOENT, .. })) => Vec::new(),
        Ok(Err(error)) => {
            tracing::error!(%error, "the end of the log cannot be read: how a command ended may be recorded twice");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let mut recorded = Recorded::default();
    for line in &lines {
        // What is no such record is verified by others.
        match serde_json::from_slice(line) {
            Ok(Line::End { body }) => {
                recorded.open.remove(&body.decision);
                recorded.ended.insert(body.decision);
                recorded.requests.insert(body.id);
            }
            Ok(Line::Decision { seq, body }) => {
                if let Some(open) = body.open() {
                    recorded.open.insert(seq, open);
                }
            }
            Ok(Line::Other) | Err(_) => {}
        }
    }
    recorded
}

/// A record, as far as it says what was let go and what has ended.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    Decision {
        seq: u64,
        body: LetGo,
    },
    End {
        body: Over,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Over {
    id: String,
    decision: u64,
}

#[derive(Deserialize)]
struct LetGo {
    id: rpc::RequestId,
    outcome: Outcome,
    requester: Requester,
    #[serde(default)]
    session: Option<SessionId>,
}

impl LetGo {
    /// A command of a session: what runs without a daemon has others that record its end.
    fn open(self) -> Option<Open> {
        let Requester { uid, gid, pid, principal } = self.requester;
        let session = self.session.filter(|_| self.outcome == Outcome::Run)?;
        let principal = Principal { uid, gid, name: principal.unwrap_or_default() };
        Some(Open { id: RequestId::from_wire(&self.id), principal, pid, session })
    }
}

async fn go_on(
    house: &Arc<House>,
    id: &SessionId,
    keepsake: &Arc<Keepsake>,
    record: &Record,
    recorded: &Recorded,
    diaries: Diaries,
) -> Result<Arc<Session>, String> {
    let peer = Peer {
        uid: record.uid,
        gid: record.gid,
        // Who opened it is gone as far as can be known.
        pid: 0,
        // What it may have was seen when it was opened.
        root: Peer::own_root(),
        name: record.name.clone(),
        account: house.common.accounts.of(record.uid),
        separation: record.separation,
        roles: Vec::new(),
        admitted: house.admitted(record.uid),
    };
    let session =
        Session::adopt(&house.common, &peer, id.clone(), keepsake, record, recorded, diaries).await?;
    house.keep(&session);
    Ok(session)
}

/// Records what became of a session.
async fn note(house: &Arc<House>, id: &SessionId, record: &Record, action: &str, about: serde_json::Value) {
    let authority = Authority {
        action: action.to_owned(),
        by_uid: house.own,
        by: "execward".to_owned(),
        subject: serde_json::json!({ "session": id.as_str(), "uid": record.uid, "about": about }),
    };
    let redactor = Redactor::new(&house.common.policy().redaction(), Vec::new());
    if let Err(error) = house.common.scribe.note(Audit::authority(&authority, &redactor)).await {
        tracing::error!(%error, session = %id, "what became of a session is not recorded");
    }
}
