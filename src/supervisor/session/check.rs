//! What would be decided about a command, with nothing run and nothing recorded.

use std::path::{Path, PathBuf};

use super::{Common, Peer, Session};
use crate::gate::{Command, Facts};
use crate::stage::{Digest, Malformed};
use crate::supervisor::local::Local;
use crate::supervisor::policy_file::Source;
use crate::wire::rpc::{self, Code, Error};

impl Session {
    /// What would be decided about a command here, with nothing run and nothing recorded.
    ///
    /// # Errors
    /// When it cannot be a command.
    pub(in crate::supervisor) fn check(&self, asked: &rpc::Check) -> Result<rpc::Checked, Error> {
        self.touch();
        let cwd = asked.cwd.as_ref().map_or(".", rpc::PathText::as_str);
        let mut facts = self.facts(&plain(&Path::new(&self.workspace_path).join(cwd)));
        facts.environment.clone_from(&self.environment.vars);
        facts.environment.insert("PWD".to_owned(), facts.cwd.clone());
        judge(&*self.policy()?, &asked.command, &facts)
    }

    /// What the gate is told of a command here, but for its environment.
    pub(super) fn facts(&self, cwd: &Path) -> Facts {
        let mut facts = self.local.facts(cwd);
        facts.home = self.spec.identity.home.to_string_lossy().into_owned();
        facts.user.clone_from(&self.spec.identity.name);
        facts.profile.clone_from(&self.profile.name);
        facts.workspaces = vec![self.workspace_path.clone()];
        facts
    }
}

/// The same for a peer without a session: the directory is taken for the workspace, and nothing is opened.
pub(in crate::supervisor) fn check(
    common: &Common,
    peer: &Peer,
    asked: &rpc::Check,
) -> Result<rpc::Checked, Error> {
    let local = Local::peer(peer.uid, peer.gid, common.directories.clone())
        .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let policy = common.policy();
    let cwd = asked.cwd.as_ref().map_or_else(|| local.home.clone(), |cwd| plain(Path::new(cwd.as_str())));
    if !cwd.is_absolute() {
        return Err(Error::new(Code::Directory, "without a session, the directory of a check is absolute")
            .hint("give an absolute `cwd`, or open a session"));
    }
    let facts = local
        .facts_of(&cwd, &cwd, policy.base(), std::iter::empty())
        .map_err(|error| Error::new(Code::Environment, error.to_string()))?;
    judge(&policy, &asked.command, &facts)
}

fn judge(policy: &Source, command: &Command, facts: &Facts) -> Result<rpc::Checked, Error> {
    Malformed::check(command)
        .map_err(|error| Error::new(Code::BadParameters, error.to_string()).rule(error.rule()))?;
    let judgement = policy.judge(command, facts);
    Ok(rpc::Checked {
        decision: judgement.decision,
        findings: judgement.findings,
        policy: Digest::from(policy.digest()).to_hex(),
    })
}

/// A path without `.`; nothing else about it is known without a look.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
