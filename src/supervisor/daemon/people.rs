//! What an administrator does about people: lets them in, puts them out, and says how their asks are answered.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::House;
use super::answers::blocking;
use super::pairing::NotPaired;
use crate::approval::Set;
use crate::stage::Principal;
use crate::supervisor::session::{Peer, Session};
use crate::wire::rpc::{
    Code, Done, Error, Known, KnownPrincipal, Mode, PairPrincipal, Paired, PendingPairing, RevokePrincipal,
    SetPrincipalMode, SetSessionMode, Words,
};

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, error.to_string())
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

/// Who may connect, and who waits.
pub(super) async fn list(house: Arc<House>) -> Result<Known, Error> {
    blocking(move || {
        let mut principals = house.principals.listed();
        for row in house.common.store.principals().map_err(failed)? {
            principals.push(KnownPrincipal {
                uid: Some(row.uid),
                gid: None,
                name: row.name,
                roles: vec!["agent".to_owned()],
                by: format!("{} at {}", row.approver.1, time(row.at)),
                mode: Mode::Manual,
            });
        }
        for principal in &mut principals {
            principal.mode = principal.uid.map_or(Mode::Manual, |uid| house.common.modes.of_principal(uid));
        }
        let pending = house.pairing.pending().map_err(failed)?.into_iter().map(|row| PendingPairing {
            uid: row.uid,
            name: house.principals.name(row.uid),
            asked: time(row.created),
            expires: time(row.expires),
        });
        Ok(Known { principals, pending: pending.collect() })
    })
    .await?
}

/// Confirms a code.
pub(super) async fn pair(house: Arc<House>, peer: Peer, asked: PairPrincipal) -> Result<Paired, Error> {
    let wait = house.pairing.begin(peer.uid).map_err(not_paired)?;
    // Not given up half-way when the operator hangs up: a try that was begun counts.
    let trying = tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        let paired = confirm(&house, &peer, asked).await;
        house.pairing.tried(peer.uid, paired.is_ok());
        paired
    });
    trying.await.map_err(failed)?
}

async fn confirm(house: &Arc<House>, peer: &Peer, asked: PairPrincipal) -> Result<Paired, Error> {
    let finding = Arc::clone(house);
    let found = blocking(move || finding.pairing.find(asked.code.as_str())).await?;
    let row = match found {
        Ok(row) => row,
        Err(error) => {
            house.record(peer, "pairing-refused", json!({ "why": error.to_string() })).await?;
            return Err(not_paired(error));
        }
    };
    let (uid, name) = (row.uid, house.principals.name(row.uid));
    house.record(peer, "paired", json!({ "uid": uid, "name": name, "roles": ["agent"] })).await?;
    let (keeping, own, by) = (Arc::clone(house), name.clone(), (peer.uid, peer.name.clone()));
    blocking(move || keeping.pairing.pair(&row, own, by)).await?.map_err(not_paired)?;
    house.principals.let_in(uid);
    Ok(Paired { uid, name })
}

fn not_paired(error: NotPaired) -> Error {
    match error {
        NotPaired::Wrong => Error::new(Code::UnknownPrincipal, error.to_string())
            .hint("the agent gets a code when it connects; `execward pair list` shows who has one"),
        NotPaired::Busy => Error::new(Code::Busy, error.to_string()),
        NotPaired::State(error) => failed(error),
    }
}

/// Puts somebody out. It counts at once: its connections and its sessions end, and its grants with them.
pub(super) async fn revoke(house: Arc<House>, peer: Peer, asked: RevokePrincipal) -> Result<Done, Error> {
    let RevokePrincipal { uid } = asked;
    let was_in = house.principals.put_out(uid);
    if was_in {
        house.turn_out(uid);
    }
    let store = Arc::clone(&house.common.store);
    let known = blocking(move || store.unpair(uid)).await?.map_err(failed)?;
    let sessions = if was_in { house.sessions().of(uid) } else { Vec::new() };
    for session in &sessions {
        house.close(session).await;
    }
    if !known && !was_in {
        return Err(Error::new(Code::UnknownPrincipal, format!("uid {uid} was not let in by a code"))
            .hint("whom execward.toml names is put out there; then restart the daemon"));
    }
    let (grants, by) = (house.common.grants.clone(), peer.name.clone());
    let revoked = blocking(move || grants.revoke_all(&by, |grant| grant.uid == uid)).await?;
    let revoked: Vec<_> = revoked.into_iter().map(|grant| grant.grant).collect();
    house.record(&peer, "unpaired", json!({ "uid": uid, "grants": revoked })).await?;
    Ok(Done {})
}

/// Says how a session's asks are answered. What asks a person counts at once, what does not once it is recorded.
pub(super) async fn session_mode(
    house: Arc<House>,
    peer: Peer,
    session: Arc<Session>,
    asked: SetSessionMode,
) -> Result<Done, Error> {
    let now = Timestamp::now();
    let until = asked.for_ms.map(|lasts| now + lasts.millis());
    if asked.mode == Some(Mode::Yolo) && until.is_none() {
        return Err(Error::new(Code::BadParameters, "`yolo` needs an end").hint("give it with `for_ms`"));
    }
    let by = Principal { uid: peer.uid, gid: peer.gid, name: peer.name.clone() };
    let set = asked.mode.map(|mode| Set { mode, by, until });
    let subject = json!({
        "session": session.id, "uid": session.principal().uid, "mode": asked.mode,
        "until": until.map(|until| until.to_string()),
    });
    let strict = asked.mode == Some(Mode::Manual);
    if strict {
        house.common.modes.set_session(&session.id, set.clone());
    }
    house.record(&peer, "mode-set", subject).await?;
    // A session that has ended meanwhile leaves nothing behind.
    if !strict && !session.end.is_cancelled() {
        house.common.modes.set_session(&session.id, set);
    }
    Ok(Done {})
}

/// Ends a session, whosever it is. Nothing waits for the record of it.
pub(super) async fn session_kill(
    house: Arc<House>,
    peer: Peer,
    session: Arc<Session>,
    reason: Option<Words>,
) -> Result<Done, Error> {
    let reason = reason.as_ref().map(Words::as_str);
    tracing::info!(session = %session.id, operator = peer.name, reason, "session killed");
    session.killed(&peer.name, reason);
    house.close(&session).await;
    let subject = json!({
        "session": session.id, "uid": session.principal().uid, "reason": reason,
    });
    house.record(&peer, "session-killed", subject).await?;
    Ok(Done {})
}

/// Says how a principal's asks are answered.
pub(super) async fn principal_mode(
    house: Arc<House>,
    peer: Peer,
    asked: SetPrincipalMode,
) -> Result<Done, Error> {
    let SetPrincipalMode { uid, mode } = asked;
    if mode == Mode::Yolo {
        return Err(Error::new(Code::BadParameters, "`yolo` is for a session, and for a time")
            .hint("session/mode sets it"));
    }
    let by = Principal { uid: peer.uid, gid: peer.gid, name: peer.name.clone() };
    let set = |house: &Arc<House>| {
        let (modes, by) = (house.common.modes.clone(), by.clone());
        blocking(move || modes.set_principal(uid, mode, by, Timestamp::now()))
    };
    if mode == Mode::Manual {
        set(&house).await?.map_err(failed)?;
    }
    house.record(&peer, "mode-set", json!({ "uid": uid, "mode": mode })).await?;
    if mode != Mode::Manual {
        set(&house).await?.map_err(failed)?;
    }
    Ok(Done {})
}
