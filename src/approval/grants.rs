//! Standing grants: what they are bound to, and whether one covers a command that asks.
//!
//! All of them are in memory, where a command that asks is held against them, and in the state store, where they outlive the
//! supervisor. Giving one is on disk before it counts; taking one back counts before it is on disk.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::shape;
use crate::gate::{Command, Decision, Facts};
use crate::policy::Policy;
use crate::stage::{Agreed, Digest, Pending, Principal};
use crate::state::{GrantRow, StateError, Store};
use crate::wire::rpc::{self, Bound, BoundRule, GrantId, Scope, Script, SessionId, Shape, Width};

/// A command that asks, as far as standing grants are concerned.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Whose it is.
    pub uid: u32,
    /// Its session.
    pub session: SessionId,
    /// What is to run.
    pub command: Command,
    /// What the gate was told.
    pub facts: Facts,
    /// Inode of the workspace.
    pub inode: u64,
    /// SHA-256 of the profile that confines it, in hexadecimal.
    pub profile: String,
    /// The rules that ask.
    pub rules: Vec<BoundRule>,
    /// The script files that it names.
    pub scripts: Vec<Script>,
    /// Nothing of its environment was asked for by the requester, who could otherwise give a command that was approved
    /// another meaning by a variable.
    pub plain: bool,
}

impl Situation {
    /// The situation of a pending command.
    pub fn of(
        pending: &Pending,
        policy: &Policy,
        session: &SessionId,
        scripts: Vec<Script>,
        plain: bool,
    ) -> Self {
        let request = pending.request();
        let asking = pending.judgement().findings.iter().filter(|found| found.decision == Decision::Ask);
        let rules: BTreeSet<BoundRule> = asking
            .map(|found| BoundRule {
                id: found.rule.clone(),
                digest: Digest::from(policy.rule_digest(&found.rule)).to_hex(),
            })
            .collect();
        let profile = serde_json::to_vec(&request.terms.profile).unwrap_or_default();
        Self {
            uid: request.principal.uid,
            session: session.clone(),
            command: request.command.clone(),
            facts: request.facts.clone(),
            inode: request.place.workspace.ino,
            profile: Digest::of(&profile).to_hex(),
            rules: rules.into_iter().collect(),
            scripts,
            plain,
        }
    }

    /// What a grant of this width would be bound to; `None` where the command has no such shape, or asks for variables.
    pub fn bound(&self, width: Width) -> Option<Bound> {
        if !self.plain || self.rules.is_empty() {
            return None;
        }
        Some(Bound {
            shape: shape::shape(&self.command, &self.facts, width)?,
            cwd: self.facts.cwd.clone(),
            workspace: self.workspace(),
            inode: self.inode,
            backend: self.facts.backend.clone(),
            profile: self.profile.clone(),
            rules: self.rules.clone(),
            scripts: self.scripts.clone(),
        })
    }

    fn workspace(&self) -> String {
        self.facts.workspaces.first().cloned().unwrap_or_default()
    }

    /// Whether everything that a grant is bound to is so here.
    pub fn is_within(&self, bound: &Bound) -> bool {
        self.plain
            && !self.rules.is_empty()
            && self.rules.iter().all(|rule| bound.rules.contains(rule))
            && bound.cwd == self.facts.cwd
            && bound.workspace == self.workspace()
            && bound.inode == self.inode
            && bound.backend == self.facts.backend
            && bound.profile == self.profile
            && self.scripts.iter().all(|script| bound.scripts.contains(script))
            && shape::fits(&bound.shape, &self.command, &self.facts)
    }
}

/// Whether a command of the past would have been covered, as far as the record tells: what it was bound to that the record
/// does not have (the profile, the inode, a rule's text) is taken to have been the same.
pub fn would_have_covered(bound: &Bound, command: &Command, facts: &Facts, asked: &[&str]) -> bool {
    let rules: BTreeSet<&str> = bound.rules.iter().map(|rule| rule.id.as_str()).collect();
    bound.cwd == facts.cwd
        && facts.workspaces.first() == Some(&bound.workspace)
        && bound.backend == facts.backend
        && asked.iter().all(|rule| rules.contains(rule))
        && shape::fits(&bound.shape, command, facts)
}

/// A standing grant.
#[derive(Debug, Clone)]
struct Standing {
    row: GrantRow,
    bound: Bound,
}

impl Standing {
    fn is_over(&self, now: i64) -> bool {
        self.row.revoked.is_some() || self.row.expires <= now
    }

    fn scope(&self) -> Scope {
        if self.row.session.is_some() { Scope::Session } else { Scope::Always }
    }
}

/// All standing grants. Clones share them.
#[derive(Debug, Clone)]
pub struct Grants {
    store: Arc<Store>,
    standing: Arc<RwLock<Vec<Standing>>>,
}

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// It is not on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such grant.
    #[error("there is no such grant, or it is over")]
    Unknown,
    /// It was taken back, and may be there again after a restart.
    #[error(
        "the grant does not count any more, but that could not be kept: {0}; it may be back after a restart"
    )]
    Unkept(StateError),
}

impl Grants {
    /// Reads those that the store has. One that cannot be read covers nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(store: Arc<Store>) -> Result<Self, StateError> {
        let standing = store.grants()?.into_iter().filter_map(|row| {
            let bound = serde_json::from_str(&row.bound)
                .inspect_err(|error| tracing::error!(grant = row.id, %error, "a grant cannot be read, and covers nothing"))
                .ok()?;
            Some(Standing { row, bound })
        });
        let standing = Arc::new(RwLock::new(standing.collect()));
        Ok(Self { store, standing })
    }

    /// Gives a grant. Waits for the disk.
    ///
    /// # Errors
    /// When it is not on disk: then there is none.
    pub fn give(
        &self,
        id: &GrantId,
        situation: &Situation,
        scope: Scope,
        bound: &Bound,
        approver: &Principal,
        (now, expires): (Timestamp, Timestamp),
    ) -> Result<rpc::Grant, GrantError> {
        let row = GrantRow {
            id: id.to_string(),
            session: (scope == Scope::Session).then(|| situation.session.to_string()),
            uid: situation.uid,
            bound: serde_json::to_string(bound).unwrap_or_default(),
            approver: (approver.uid, approver.name.clone()),
            created: now.as_millisecond(),
            expires: expires.as_millisecond(),
            revoked: None,
            uses: 0,
            last_used: None,
        };
        self.store.add_grant(&row)?;
        let standing = Standing { row, bound: bound.clone() };
        let shown = shown(&standing);
        self.write(|all| all.push(standing));
        shown.ok_or(GrantError::Unknown)
    }

    /// The agreement of a grant that covers this, if one does.
    pub fn cover(&self, situation: &Situation) -> Option<Agreed> {
        let now = Timestamp::now().as_millisecond();
        self.write(|all| {
            let session = situation.session.as_str();
            let found = all.iter_mut().find(|standing| {
                let row = &standing.row;
                !standing.is_over(now)
                    && row.uid == situation.uid
                    && row.session.as_deref().is_none_or(|own| own == session)
                    && situation.is_within(&standing.bound)
            })?;
            found.row.uses += 1;
            found.row.last_used = Some(now);
            let (uid, name) = found.row.approver.clone();
            Some(Agreed::Standing {
                grant: found.row.id.clone(),
                scope: found.scope(),
                approver: Principal { uid, gid: uid, name },
            })
        })
    }

    /// Keeps the count of uses. Waits for the disk.
    ///
    /// # Errors
    /// When it is not on disk: the use counts in memory.
    pub fn count(&self, grant: &str) -> Result<(), StateError> {
        self.store.use_grant(grant, Timestamp::now().as_millisecond())
    }

    /// Takes a grant back: from now on it covers nothing. Waits for the disk.
    ///
    /// # Errors
    /// When there is none, or when that is not on disk.
    pub fn revoke(&self, id: &str, by: &str) -> Result<(), GrantError> {
        let now = Timestamp::now().as_millisecond();
        let found = self.write(|all| {
            let standing = all.iter_mut().find(|standing| standing.row.id == id && !standing.is_over(now))?;
            standing.row.revoked = Some((now, by.to_owned()));
            Some(())
        });
        found.ok_or(GrantError::Unknown)?;
        self.store.revoke_grant(id, now, by).map(drop).map_err(GrantError::Unkept)
    }

    /// Takes back what was given for a session, or for a user. Waits for the disk; what cannot be kept is said aloud.
    pub fn revoke_all(&self, by: &str, of: impl Fn(&rpc::Grant) -> bool) -> Vec<rpc::Grant> {
        let taken: Vec<rpc::Grant> = self.list(false).into_iter().filter(of).collect();
        for grant in &taken {
            if let Err(error) = self.revoke(grant.grant.as_str(), by) {
                tracing::error!(grant = %grant.grant, %error, "a grant was not taken back for good");
            }
        }
        taken
    }

    /// All grants, oldest first; those that are over where `all` says so.
    pub fn list(&self, all: bool) -> Vec<rpc::Grant> {
        let now = Timestamp::now().as_millisecond();
        let standing = self.standing.read().unwrap_or_else(PoisonError::into_inner);
        standing.iter().filter(|standing| all || !standing.is_over(now)).filter_map(shown).collect()
    }

    /// One grant.
    pub fn show(&self, id: &GrantId) -> Option<rpc::Grant> {
        self.list(true).into_iter().find(|grant| grant.grant == *id)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Vec<Standing>) -> T) -> T {
        change(&mut self.standing.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn shown(standing: &Standing) -> Option<rpc::Grant> {
    let row = &standing.row;
    Some(rpc::Grant {
        grant: GrantId::try_from(row.id.clone()).ok()?,
        scope: standing.scope(),
        session: row.session.clone().and_then(|session| SessionId::try_from(session).ok()),
        uid: row.uid,
        bound: standing.bound.clone(),
        approver: row.approver.1.clone(),
        approver_uid: row.approver.0,
        created: time(row.created),
        expires: time(row.expires),
        revoked: row.revoked.clone().map(|(at, by)| rpc::Revoked { at: time(at), by }),
        uses: row.uses,
        last_used: row.last_used.map(time),
    })
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

/// The shape of a bound, for people.
pub fn described(bound: &Bound) -> String {
    let Bound { shape, .. } = bound;
    let shape: &Shape = shape;
    shape::describe(shape)
}

#[cfg(test)]
mod tests;
