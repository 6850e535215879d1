//! Where a command starts, and with which variables.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::exec::Exec;
use super::look::look_as;
use super::open::unusable;
use super::shell::Shell;
use super::{Peer, Session};
use crate::prepare::environment::Environment;
use crate::prepare::{Directory, DirectoryError, Root, directory};
use crate::redact::Redactor;
use crate::supervisor::pipeline;
use crate::supervisor::policy_file::Source;
use crate::wire::rpc::{Code, Error, StartExec};
use crate::wire::runner::FileId;

/// The place and the environment of one command.
pub(super) struct Ground {
    pub(super) profile: crate::policy::Profile,
    pub(super) cwd: String,
    pub(super) cwd_id: FileId,
    /// Held until the command has been started.
    pub(super) _cwd: Option<Directory>,
    pub(super) environment: Environment,
    /// No variable in it is the requester's: neither asked for, nor exported by a command before.
    pub(super) plain: bool,
    pub(super) redactor: Redactor,
    /// What it masks beside what the policy says, by name.
    pub(super) secrets: Vec<(String, Vec<u8>)>,
}

/// A directory below the workspace of another machine, by its name: the runner there opens it, through no link.
///
/// # Errors
/// When the name leads out.
pub(super) fn elsewhere(cwd: &Path, roots: &[Root]) -> Result<Directory, DirectoryError> {
    let cwd = super::check::plain(cwd);
    let path = || cwd.clone();
    if cwd.to_str().is_none() {
        return Err(DirectoryError::NotText { path: path() });
    }
    let below = |root: &Root| cwd.starts_with(&root.directory().path);
    if cwd.components().any(|part| part == Component::ParentDir) || !roots.iter().any(below) {
        return Err(DirectoryError::Outside { path: path() });
    }
    Directory::elsewhere(path()).map_err(|errno| DirectoryError::Open { path: path(), errno })
}

impl Session {
    /// Where a command starts and with which variables.
    pub(super) async fn ground(
        &self,
        exec: &Exec,
        asked: &StartExec,
        peer: &Peer,
        policy: &Arc<Source>,
    ) -> Result<Ground, Error> {
        let StartExec { cwd, env, .. } = asked;
        let Shell { cwd: left, env: exported } = self.shell(asked);
        let profile = pipeline::standing(&self.profile, policy).map_err(unusable)?;
        let workspace = self.workspace[0].directory();
        if !self.spec.is_far() && workspace.is_removed() {
            // What is shown in its place is empty and takes nothing, and so it stays.
            self.end.cancel();
            return Err(Error::new(
                Code::Workspace,
                format!("the workspace {} was removed: its session is closed", self.workspace_path),
            )
            .hint("open another session"));
        }
        if cwd.is_none() && env.is_empty() && left.is_none() && exported.is_empty() {
            let Environment { vars, withheld, .. } = &self.environment;
            let redactor = self.masker.now();
            exec.redact_with(&redactor);
            return Ok(Ground {
                profile,
                cwd: self.workspace_path.clone(),
                cwd_id: workspace.id,
                _cwd: None,
                environment: Environment {
                    vars: vars.clone(),
                    withheld: withheld.clone(),
                    secrets: Vec::new(),
                },
                plain: true,
                redactor,
                secrets: Vec::new(),
            });
        }
        let hint = if cwd.is_none() && left.is_some() {
            "the session's shell was there: name another directory with `cwd`"
        } else {
            ""
        };
        let cwd = cwd.as_ref().map(|cwd| workspace.path.join(cwd.as_str())).or(left);
        let mut variables = exported;
        variables
            .extend(env.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned())));
        let named: Vec<String> = variables.keys().cloned().collect();
        let plain = named.is_empty();
        let variables: Vec<(OsString, OsString)> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (roots, local, spec) = (Arc::clone(&self.workspace), Arc::clone(&self.local), self.spec.clone());
        let within = profile.clone();
        let far = self.spec.is_far();
        let look = move || -> Result<(Option<Directory>, PathBuf, Environment), Error> {
            let open = |cwd: PathBuf| {
                if far { elsewhere(&cwd, roots.as_slice()) } else { directory::open(&cwd, roots.as_slice()) }
            };
            let cwd = cwd.map(open).transpose().map_err(|error| {
                Error::new(Code::Directory, format!("the working directory: {error}")).hint(hint)
            })?;
            let path = cwd.as_ref().map_or_else(|| roots[0].directory().path.clone(), |cwd| cwd.path.clone());
            let environment = pipeline::environment(&local, &within, &spec, &path, &variables, &named)
                .map_err(|error| Error::new(Code::Environment, error.to_string()))?;
            Ok((cwd, path, environment))
        };
        let (cwd, path, mut environment) = look_as((peer.uid, peer.gid), &self.account.lookups, look)
            .await
            .map_err(|error| Error::new(Code::Directory, format!("the working directory: {error}")))??;
        let secrets = std::mem::take(&mut environment.secrets);
        let known = secrets.iter().map(|it| (it.name().to_owned(), it.expose().to_vec())).collect();
        let redactor = self.masker.with(secrets);
        exec.redact_with(&redactor);
        Ok(Ground {
            profile,
            cwd: path.to_string_lossy().into_owned(),
            cwd_id: cwd.as_ref().map_or(workspace.id, |cwd| cwd.id),
            _cwd: cwd,
            environment,
            plain,
            redactor,
            secrets: known,
        })
    }
}
