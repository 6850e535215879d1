//! The policy of a session: the daemon's, with the one beneath it that the project had when the session was opened.

use std::sync::{Arc, Mutex, PoisonError};

use super::Session;
use crate::supervisor::policy_file::{Project, Source};
use crate::wire::rpc::{Code, Error};

/// The project's policy, joined to the daemon's as often as that is read again.
#[derive(Debug)]
pub(super) struct Layer {
    project: Option<Project>,
    joined: Mutex<Option<Joined>>,
}

#[derive(Debug)]
struct Joined {
    upper: [u8; 32],
    policy: Arc<Source>,
}

impl Layer {
    pub(super) fn new(project: Option<Project>) -> Self {
        Self { project, joined: Mutex::new(None) }
    }

    /// The project's policy joined to this one.
    ///
    /// # Errors
    /// When it cannot be joined to it.
    pub(super) fn beneath(&self, upper: Arc<Source>) -> Result<Arc<Source>, Error> {
        let Some(project) = &self.project else { return Ok(upper) };
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Joined { policy, .. }) = joined.as_ref().filter(|joined| joined.upper == upper.digest()) {
            return Ok(Arc::clone(policy));
        }
        let policy = Arc::new(upper.with_project_again(project).map_err(unusable)?);
        *joined = Some(Joined { upper: upper.digest(), policy: Arc::clone(&policy) });
        Ok(policy)
    }
}

impl Session {
    /// What judges the commands of this session.
    ///
    /// # Errors
    /// When the daemon's policy was changed so that the project's cannot be joined to it any more.
    pub(super) fn policy(&self) -> Result<Arc<Source>, Error> {
        self.layer.beneath(self.common.policy())
    }
}

/// A project's policy that cannot be used.
pub(super) fn unusable(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Terms, format!("the policy of the project: {error}")).hint(
        "nothing runs under a policy with a mistake: mend .execward/policy.toml, and open another session",
    )
}
