//! Reading the configuration, the policy and the jobs again, while everything goes on.
//!
//! All of it is read and looked at before any of it counts: one mistake, and everything stays as it was. Some sections are read at
//! the start alone; a reload says which of them are different now.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::config::Config;
use super::notify::People;
use super::{DaemonError, House, models};
use crate::http::Keys;
use crate::supervisor::policy_file;

/// What was read at the start, and what can be another one later.
#[derive(Debug)]
pub(super) struct Standing {
    /// The configuration as it was at the start.
    begun_with: Config,
    people: watch::Sender<Option<Arc<People>>>,
}

impl Standing {
    /// What a daemon begins with.
    ///
    /// # Errors
    /// When the webhook of `[notify]` has no key.
    pub(super) fn new(config: &Config, keys: &Keys) -> Result<Self, DaemonError> {
        Ok(Self { begun_with: config.clone(), people: watch::Sender::new(people(config, keys)?) })
    }

    /// Who is told that questions wait, now and later.
    pub(super) fn people(&self) -> watch::Receiver<Option<Arc<People>>> {
        self.people.subscribe()
    }

    /// Sections of which another one takes a restart.
    fn restart(&self, config: &Config) -> Vec<&'static str> {
        let old = &self.begun_with;
        [
            ("[principals]", old.principals != config.principals),
            ("[limits]", old.limits != config.limits),
            ("[daemon]", old.daemon != config.daemon),
            ("[audit]", old.audit != config.audit),
            ("[docker]", old.docker != config.docker),
            ("[launcher]", old.launcher != config.launcher),
            ("[jobs]", old.jobs != config.jobs),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

fn people(config: &Config, keys: &Keys) -> Result<Option<Arc<People>>, DaemonError> {
    let Some(notify) = &config.notify else { return Ok(None) };
    Ok(Some(Arc::new(People { key: notify.key(keys)?, notify: notify.clone() })))
}

impl House {
    /// Reads the policy again, the jobs, who assesses commands and who is told that questions wait. A mistake in any of them changes
    /// none. The sections of the configuration that are different now and take a restart.
    pub(super) fn reload(&self) -> Result<Vec<&'static str>, DaemonError> {
        let common = &self.common;
        let policy = policy_file::load(self.policy.as_deref(), &common.directories, self.own)?;
        let config = Config::load(self.config.as_deref(), &common.directories, self.own)?;
        let keys = Keys::read(&common.directories.keys(), self.own)?;
        let people = people(&config, &keys)?;
        let restart = self.standing.restart(&config);
        let chain = models::chain(config, keys, Arc::clone(&common.store))?;
        self.jobs.reload(self.own)?;
        *common.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(chain);
        *common.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        self.standing.people.send_if_modified(|standing| {
            let differs = match (&*standing, &people) {
                (Some(old), Some(new)) => !old.are(new),
                (None, None) => false,
                _ => true,
            };
            *standing = people;
            differs
        });
        if !restart.is_empty() {
            let sections = restart.join(", ");
            tracing::warn!(
                sections,
                "different in execward.toml, and read at the start alone: restart the daemon"
            );
        }
        Ok(restart)
    }
}
