//! What a command is judged by and runs under, worked out from what was asked and what the policy gives.

use std::path::{Path, PathBuf};

use super::{Agent, Asked, EmbeddedError, Role};
use crate::gate::Facts;
use crate::policy::{Access, Profile};
use crate::prepare::Directory;
use crate::prepare::environment::Environment;
use crate::sandbox::{self, Backend};
use crate::supervisor::local::Local;
use crate::supervisor::pipeline;
use crate::supervisor::policy_file::Source;
use crate::wire::runner::{AGENT_SOCKET, SandboxSpec};

/// Where and how a command was asked for.
pub(super) struct At<'a> {
    pub(super) asked: &'a Asked,
    pub(super) policy: &'a Source,
    pub(super) workspace: &'a Directory,
    pub(super) cwd: &'a Directory,
    /// The profile that was selected.
    pub(super) name: &'a str,
}

/// What a command is judged by and runs under.
pub(super) struct Settled {
    pub(super) spec: SandboxSpec,
    pub(super) backend: Backend,
    pub(super) environment: Environment,
    pub(super) facts: Facts,
    pub(super) profile: Profile,
}

impl At<'_> {
    /// What confines a command can be decided by what it is. Less of an environment can make it another command, so that it
    /// is looked at until nothing more is taken away.
    /// # Errors
    /// Where no sandbox or no environment can be worked out, or a path is not text.
    pub(super) fn settle(&self, local: &Local, selected: &Profile) -> Result<Settled, EmbeddedError> {
        let &Self { asked, policy, workspace, cwd, name } = self;
        let mut profile = selected.clone();
        loop {
            let backend = pipeline::made_by(&profile, policy);
            let mut spec = backend.spec(&sandbox::Asked {
                requester: (local.principal.uid, local.principal.gid),
                user: &local.principal.name,
                home: local.home.clone(),
                workspace,
                writable: profile.workspace == Access::Write,
                later: pipeline::later(policy),
                network: pipeline::network(&profile),
                limits: pipeline::limits(&profile),
                minimum: pipeline::minimum(&profile),
                masked: &profile.masked,
                own_state: local.directories.own(),
            })?;
            // A command must not change what the next one is judged by.
            spec.workspace.frozen.extend(asked.policy.iter().flat_map(|policy| named_and_real(policy)));
            asked.role.enter(&mut spec)?;
            let mut environment =
                pipeline::environment(local, &profile, &spec, &cwd.path, &asked.variables, &asked.env)?;
            if let Role::Agent(_) = asked.role {
                environment.vars.insert(Agent::SOCKET.to_owned(), AGENT_SOCKET.to_owned());
            }
            let mut facts = local.facts(&cwd.path);
            facts.home = text(&spec.identity.home)?;
            facts.user = spec.identity.name.clone();
            facts.cwd = text(&cwd.path)?;
            facts.workspaces = vec![text(&workspace.path)?];
            facts.environment = environment.vars.clone();
            facts.profile = name.to_owned();
            let confined = pipeline::confined(policy, &asked.command, &facts, &profile);
            if confined == profile {
                return Ok(Settled { spec, backend, environment, facts, profile });
            }
            profile = confined;
        }
    }
}

/// A file as it is named, absolute, and as it is.
fn named_and_real(path: &Path) -> impl Iterator<Item = PathBuf> {
    [std::path::absolute(path).ok(), path.canonicalize().ok()].into_iter().flatten()
}

fn text(path: &Path) -> Result<String, EmbeddedError> {
    path.to_str().map(str::to_owned).ok_or_else(|| EmbeddedError::NotText(path.to_owned()))
}
