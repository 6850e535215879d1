//! An operator's answer: kept before it counts, and counted once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::House;
use crate::approval::{self, GrantError, Situation};
use crate::audit::chain::Line;
use crate::audit::read::Follow;
use crate::audit::record::{Authority, Record};
use crate::audit::{LogError, query};
use crate::gate::{Command, Facts};
use crate::policy::{Allowlist, Destination};
use crate::redact::Rules;
use crate::stage::{Agreed, Answered, Digest, Narrower, Principal};
use crate::state::AnswerRow;
use crate::supervisor::session::Peer;
use crate::wire::rpc::{
    AnswerApproval, AnswerKind, Bound, Code, Done, Error, GrantId, Past, Preview, PreviewApproval, Scope,
    Separation, Width,
};

/// How long a grant stands where nobody says otherwise.
const SESSION: Duration = Duration::from_secs(8 * 3600);
const ALWAYS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Records of the past that are looked through, as far as the newest file's last megabytes hold them.
const LOOKED_AT: usize = 20_000;

/// Past commands that are shown.
const SHOWN: usize = 20;

/// What a standing answer would stand for.
struct Plan {
    scope: Scope,
    situation: Arc<Situation>,
    bound: Bound,
    seen: String,
}

impl Plan {
    fn new(situation: Arc<Situation>, scope: Scope, width: Width) -> Result<Self, Error> {
        let bound = situation.bound(width).ok_or_else(|| {
            let why = match (situation.plain, width) {
                (false, _) => "a command with variables of its own gets no standing grant",
                (true, Width::Paths) => "the command has no paths that could be others",
                (true, Width::Exact) => "no rule asked that a grant could be bound to",
            };
            Error::new(Code::BadParameters, why).hint("answer `once`, or with width `exact`")
        })?;
        let seen = serde_json::to_vec(&(scope, &bound)).unwrap_or_default();
        Ok(Self { scope, situation, seen: Digest::of(&seen).to_hex(), bound })
    }

    fn expires(&self) -> Duration {
        match self.scope {
            Scope::Session => SESSION,
            Scope::Always => ALWAYS,
        }
    }
}

fn scope(answer: AnswerKind) -> Option<Scope> {
    match answer {
        AnswerKind::Session => Some(Scope::Session),
        AnswerKind::Always => Some(Scope::Always),
        AnswerKind::Once | AnswerKind::Deny => None,
    }
}

fn settled(error: approval::NotAnswered) -> Error {
    Error::new(Code::Settled, error.to_string())
}

pub(super) fn unknown_grant() -> Error {
    Error::new(Code::UnknownGrant, "there is no such grant, or it is over")
        .hint("grant/list says which there are")
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, error.to_string())
}

impl House {
    /// Records a change of who may do what; it is on disk when this returns.
    pub(super) async fn record(&self, by: &Peer, action: &str, subject: Value) -> Result<(), Error> {
        let authority = Authority { action: action.to_owned(), by_uid: by.uid, by: by.name.clone(), subject };
        let redactor = self.common.vault.redactor(&Rules::builtin(), Vec::new());
        let record = Record::authority(&authority, &redactor);
        self.common.scribe.note(record).await.map_err(|error| Error::new(Code::Record, error.to_string()))
    }
}

/// Does what waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| failed("this could not be done"))
}

/// What a standing answer would stand for, and what it would have let run.
pub(super) async fn preview(house: Arc<House>, asked: PreviewApproval) -> Result<Preview, Error> {
    let scope = scope(asked.answer)
        .ok_or_else(|| Error::new(Code::BadParameters, "only `session` and `always` stand for anything"))?;
    let situation = house.common.broker.situation(&asked.approval).map_err(settled)?;
    let plan = Plan::new(situation, scope, asked.width)?;
    let directory = house.common.directories.audit();
    let (bound, uid) = (plan.bound.clone(), plan.situation.uid);
    let (mut past, looked_at) = blocking(move || past(&directory, &bound, uid))
        .await?
        .map_err(|error| Error::new(Code::Record, error.to_string()))?;
    let past_in_all = past.len() as u64;
    past.truncate(SHOWN);
    Ok(Preview {
        excluded: approval::excluded(&plan.bound.shape),
        expires_ms: u64::try_from(plan.expires().as_millis()).unwrap_or(u64::MAX),
        bound: plan.bound,
        past,
        past_in_all,
        looked_at,
        seen: plan.seen,
    })
}

/// Past commands of a user that a grant would have covered, newest first, and how many decisions were looked at.
fn past(directory: &std::path::Path, bound: &Bound, uid: u32) -> Result<(Vec<Past>, u64), LogError> {
    let (lines, _) = Follow::after_last(directory, LOOKED_AT)?;
    let mut looked_at = 0;
    let mut past = Vec::new();
    for line in lines.iter().rev() {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
        if line.kind != "decision" || line.body["requester"]["uid"] != uid {
            continue;
        }
        looked_at += 1;
        let read = |name: &str| line.body.get(name).cloned().unwrap_or_default();
        let (Ok(command), Ok(facts)) = (
            serde_json::from_value::<Command>(read("command")),
            serde_json::from_value::<Facts>(read("facts")),
        ) else {
            continue;
        };
        let findings = line.body["findings"].as_array().cloned().unwrap_or_default();
        let asked: Vec<&str> = findings
            .iter()
            .filter(|finding| finding["decision"] == "ask")
            .filter_map(|finding| finding["rule"].as_str())
            .collect();
        if line.body["verdict"] == "ask" && approval::would_have_covered(bound, &command, &facts, &asked) {
            past.push(Past {
                seq: line.seq,
                command: query::command(&line.body).unwrap_or_default(),
                outcome: line.body["outcome"].as_str().unwrap_or_default().to_owned(),
                time: line.time,
            });
        }
    }
    Ok((past, looked_at))
}

/// Answers a question. Whatever fails on the way is a no.
pub(super) async fn answer(house: Arc<House>, peer: Peer, asked: AnswerApproval) -> Result<Done, Error> {
    let common = &house.common;
    let by = Principal { uid: peer.uid, gid: peer.gid, name: peer.name.clone() };
    let wrong = |why: &str| Error::new(Code::BadParameters, why);
    let standing = scope(asked.answer);
    if asked.narrower.is_some() && asked.answer != AnswerKind::Once {
        return Err(wrong("`narrower` goes with `once`"));
    }
    let hosts = hosts(&asked).map_err(|why| wrong(&why))?;
    if standing.is_none() && (asked.width != Width::Exact || asked.expires_ms.is_some()) {
        return Err(wrong("`width` and `expires_ms` go with `session` and `always`"));
    }
    // What a standing answer needs is looked at while the question still waits: a mistake costs nobody the answer.
    let plan = match standing {
        None => None,
        Some(scope) => {
            let situation = common.broker.situation(&asked.approval).map_err(settled)?;
            let plan = Plan::new(situation, scope, asked.width)?;
            let must_be_seen = scope == Scope::Always || asked.width != Width::Exact;
            if must_be_seen && asked.seen.as_ref().map(|seen| seen.as_str()) != Some(plan.seen.as_str()) {
                return Err(wrong("what this grant would stand for was not seen")
                    .hint("show the result of approval/preview, and send its `seen` with the answer"));
            }
            if scope == Scope::Always && (plan.situation.uid == peer.uid || plan.situation.uid == 0) {
                return Err(unseparated());
            }
            Some(plan)
        }
    };
    let taken = common.broker.take(&asked.approval).map_err(settled)?;
    if standing == Some(Scope::Always) && taken.separation() == Separation::None {
        taken.fail("the answer was one that is not open".to_owned());
        return Err(unseparated());
    }
    let request = taken.shown().map(|shown| shown.request_id.to_string()).unwrap_or_default();
    let kept = {
        let (store, approval, kind) = (Arc::clone(&common.store), asked.approval.to_string(), asked.answer);
        blocking(move || {
            let (at, answer) = (Timestamp::now().as_millisecond(), format!("{kind:?}").to_lowercase());
            let (request, answer) = (request.as_str(), answer.as_str());
            store.answer_once(&AnswerRow { approval: &approval, request, answer, approver: by.uid, at })
        })
    };
    match kept.await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Err(settled(approval::NotAnswered::Settled)),
        Ok(Err(error)) => {
            taken.fail(format!("the answer could not be kept: {error}"));
            return Err(failed(error));
        }
        Err(error) => return Err(error),
    }
    let by = Principal { uid: peer.uid, gid: peer.gid, name: peer.name.clone() };
    let reason = asked.reason.map(Into::into);
    let answered = match (asked.answer, plan) {
        (AnswerKind::Deny, _) => taken.no(reason, &by),
        (_, None) => {
            let narrower = asked.narrower.unwrap_or_default();
            let narrower = Narrower {
                timeout: narrower.timeout_ms.map(|ms| ms.millis()),
                offline: narrower.offline,
                read_only: narrower.read_only,
            };
            let on = Some(Answered { narrower, hosts });
            taken.yes(asked.answer, Agreed::Once { approver: by.clone() }, on, &by)
        }
        (kind, Some(plan)) => {
            if !taken.is_wanted() {
                return Err(settled(approval::NotAnswered::Settled));
            }
            let scope = plan.scope;
            let lasts = asked.expires_ms.map_or(plan.expires(), |ms| ms.millis());
            match give(&house, &peer, &by, plan, lasts).await {
                Ok(grant) => {
                    let grant = grant.to_string();
                    taken.yes(kind, Agreed::Standing { grant, scope, approver: by.clone() }, None, &by)
                }
                Err(error) => {
                    taken.fail(format!("the grant could not be given: {error}"));
                    return Err(error);
                }
            }
        }
    };
    answered.map(|()| Done {}).map_err(settled)
}

/// The hosts that an answer opens to one command.
fn hosts(asked: &AnswerApproval) -> Result<Allowlist, String> {
    if asked.hosts.is_empty() {
        return Ok(Allowlist::default());
    }
    if asked.answer != AnswerKind::Once {
        return Err(
            "`hosts` goes with `once`: what a standing answer lets run has the network of its session"
                .to_owned(),
        );
    }
    if asked.narrower.as_ref().is_some_and(|narrower| narrower.offline) {
        return Err(
            "a command without any network reaches no host: leave out `offline` or `hosts`".to_owned()
        );
    }
    if asked.hosts.len() > AnswerApproval::HOSTS {
        return Err(format!("at most {} hosts for one command", AnswerApproval::HOSTS));
    }
    let hosts: Result<Vec<Destination>, String> =
        asked.hosts.iter().map(|host| host.as_str().parse()).collect();
    hosts.map(Allowlist::new)
}

fn unseparated() -> Error {
    Error::new(Code::NotPermitted, "nothing separates this requester from its operator: `always` is not open")
        .hint("answer `once` or `session`; `execward wrap -- AGENT...` separates them")
}

/// Gives a standing grant: recorded, then kept, then it counts.
async fn give(
    house: &Arc<House>,
    peer: &Peer,
    by: &Principal,
    plan: Plan,
    lasts: Duration,
) -> Result<GrantId, Error> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(failed)?;
    let id = GrantId::from_random(id);
    let now = Timestamp::now();
    let expires = now + lasts;
    let subject = json!({
        "grant": id, "scope": plan.scope, "session": plan.situation.session, "uid": plan.situation.uid,
        "bound": plan.bound, "expires": expires.to_string(),
    });
    house.record(peer, "grant-given", subject).await?;
    let (grants, by, given) = (house.common.grants.clone(), by.clone(), id.clone());
    blocking(move || grants.give(&given, &plan.situation, plan.scope, &plan.bound, &by, (now, expires)))
        .await?
        .map_err(failed)?;
    Ok(id)
}

/// Takes a grant back. It counts at once, whether or not it can be recorded.
pub(super) async fn revoke(house: Arc<House>, peer: Peer, grant: GrantId) -> Result<Done, Error> {
    let (grants, id, by) = (house.common.grants.clone(), grant.to_string(), peer.name.clone());
    match blocking(move || grants.revoke(&id, &by)).await? {
        Ok(()) => {}
        Err(GrantError::Unknown) => return Err(unknown_grant()),
        Err(error) => return Err(failed(error)),
    }
    house.record(&peer, "grant-revoked", json!({ "grant": grant })).await?;
    Ok(Done {})
}
