//! What `execward.toml` says, for those who look at an installation without serving it.

use std::path::{Path, PathBuf};

use super::config::{Config, ConfigError};
use super::jobs::{self, JobsError};
use super::principals::{AGENTS, Who, find_group, members_of};
use crate::supervisor::local::Local;

/// A configuration that can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Login names of those who may have commands run, as far as /etc/passwd and /etc/group tell.
    pub agents: Vec<String>,
    /// Users and groups that are named and that nobody has: they give nobody anything.
    pub unknown: Vec<String>,
    /// Which engines for containers it speaks of.
    pub engines: Engines,
}

/// Engines for containers, as a configuration names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engines {
    /// What `[docker]` says that somebody wants, in words; `None` where it is silent.
    pub wanted: Option<String>,
    /// The socket of this machine's engine, where it is not the usual one.
    pub socket: Option<PathBuf>,
    /// Those of launchers: the launcher's name, the engine's socket where it is one of this machine, and the image.
    pub launchers: Vec<(String, Option<PathBuf>, String)>,
}

/// Reads the jobs that a daemon with this configuration has; their names.
///
/// # Errors
/// When one of them cannot be read, or believed, or has a mistake.
pub fn jobs_found(named: Option<&Path>, local: &Local) -> Result<Vec<String>, JobsError> {
    let own = local.principal.uid;
    let found = jobs::load(&jobs::directory(named, &local.directories, own), own)?;
    Ok(found.into_iter().map(|owned| owned.job.name).collect())
}

/// Reads the configuration that is named, else the standing one.
///
/// # Errors
/// When it cannot be read, or believed, or has a mistake.
pub fn configured(named: Option<&Path>, local: &Local) -> Result<Configured, ConfigError> {
    let own = local.principal.uid;
    let config = Config::load(named, &local.directories, own)?;
    let mut configured = Configured::default();
    let standing = || {
        let group = (own == 0).then(|| Who::Group(AGENTS.to_owned()));
        std::iter::once(Who::Uid(own)).chain(group.filter(|_| find_group(AGENTS).is_some())).collect()
    };
    let agents: Vec<Who> = config.principals.agents.clone().unwrap_or_else(standing);
    for who in &agents {
        match who {
            Who::Uid(uid) => configured.agents.extend(local.users.by_uid(*uid).map(|user| user.name.clone())),
            Who::User(name) => configured.agents.push(name.clone()),
            Who::Group(name) => configured.agents.extend(members_of(name)),
        }
    }
    configured.agents.sort();
    configured.agents.dedup();
    let all = &config.principals;
    let roles = [&all.agents, &all.operators, &all.approvers, &all.admins, &all.auditors];
    for who in roles.into_iter().flatten().flatten() {
        match who {
            Who::User(name) if local.users.by_name(name).is_none() => configured.unknown.push(name.clone()),
            Who::Group(name) if find_group(name).is_none() => configured.unknown.push(format!("@{name}")),
            _ => {}
        }
    }
    configured.engines = Engines {
        wanted: match (&config.docker.socket, config.docker.pool) {
            (Some(_), _) => Some("[docker] names its socket".to_owned()),
            (None, 0) => None,
            (None, _) => Some("[docker] has containers made ahead".to_owned()),
        },
        launchers: config.launcher.iter().filter_map(|(name, section)| section.engine(name)).collect(),
        socket: config.docker.socket,
    };
    Ok(configured)
}
