//! Going on with what another daemon has left: sessions whose runners wait for one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::House;
use super::sockets::Sockets;
use crate::audit::read::Follow;
use crate::audit::record::{Authority, Record as Audit};
use crate::redact::Redactor;
use crate::supervisor::session::{Keepsake, Lost, Peer, Record, Session, close_runner};
use crate::wire::rpc::{Scope, SessionId};

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
    let ended = Arc::new(if all.is_empty() { BTreeSet::new() } else { recorded(house).await });
    let mut going = JoinSet::new();
    for (id, keepsake) in all {
        going.spawn(take(Arc::clone(house), id, Arc::new(keepsake), Arc::clone(&ended)));
    }
    let adopted: Vec<SessionId> = going.join_all().await.into_iter().flatten().collect();
    house.common.grants.revoke_all("the end of the session", |grant| {
        grant.scope == Scope::Session
            && !grant.session.as_ref().is_some_and(|session| adopted.contains(session))
    });
}

/// Goes on with one, or ends it. Its name, where it goes on.
async fn take(
    house: Arc<House>,
    id: SessionId,
    keepsake: Arc<Keepsake>,
    ended: Arc<BTreeSet<u64>>,
) -> Option<SessionId> {
    let record = match keepsake.read() {
        Ok(record) => record,
        Err(error) => {
            // Nobody was told that there is one; or another execward wrote it, and its runner ends by itself.
            tracing::warn!(session = %id, %error, "a session that was left does not read");
            keepsake.remove();
            return None;
        }
    };
    match go_on(&house, &id, &keepsake, &record, &ended).await {
        Ok(session) => {
            let running = session.listed().running;
            tracing::info!(session = %id, running, "gone on with");
            let about = serde_json::json!({ "running": running });
            note(&house, &id, &record, "session-adopted", about).await;
            Some(id)
        }
        Err(why) => {
            let lost = Lost::of(&keepsake);
            tracing::warn!(session = %id, why, running = lost.count(), "a session that was left is over");
            close_runner(&house.common, &keepsake, &record).await;
            lost.record(&house.common, (&id, &record), &ended, &why);
            let about = serde_json::json!({ "running": lost.count(), "why": why });
            note(&house, &id, &record, "session-lost", about).await;
            keepsake.remove();
            None
        }
    }
}

/// The decisions of commands whose ends are recorded. A daemon that died after it had recorded one, and before it said so to
/// anybody, did that last: the end of the log is looked at.
async fn recorded(house: &House) -> BTreeSet<u64> {
    /// Records; more than there may be commands at a time.
    const LAST: usize = 20_000;
    let log = house.common.directories.audit();
    let read = tokio::task::spawn_blocking(move || Follow::after_last(&log, LAST)).await;
    let lines = match read {
        Ok(Ok((lines, _))) => lines,
        Ok(Err(error)) => {
            tracing::error!(%error, "the end of the log cannot be read: how a command ended may be recorded twice");
            return BTreeSet::new();
        }
        Err(_) => return BTreeSet::new(),
    };
    let decision = |line: Vec<u8>| {
        let line: serde_json::Value = serde_json::from_slice(&line).ok()?;
        (line["kind"] == "end").then(|| line["body"]["decision"].as_u64())?
    };
    lines.into_iter().filter_map(decision).collect()
}

async fn go_on(
    house: &Arc<House>,
    id: &SessionId,
    keepsake: &Arc<Keepsake>,
    record: &Record,
    ended: &BTreeSet<u64>,
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
    let session = Session::adopt(&house.common, &peer, id.clone(), keepsake, record, ended).await?;
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
    let redactor = Redactor::new(&house.common.policy().redaction, Vec::new());
    if let Err(error) = house.common.scribe.note(Audit::authority(&authority, &redactor)).await {
        tracing::error!(%error, session = %id, "what became of a session is not recorded");
    }
}
