//! Whoever runs execward, as the kernel and `/etc/passwd` say, and what this machine offers them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgid, getuid};

use super::passwd::{User, Users};
use super::pipeline::BACKEND;
use super::state::{Directories, NoHome};
use crate::shell::Dialect;
use crate::stage::Principal;

/// Where a bash is looked for. Fixed places: a PATH that an agent can write must not choose the interpreter.
const BASH: [&str; 4] =
    ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/run/current-system/sw/bin/bash"];

/// The shell that every system has. Where there is no bash, it is a dash or an ash.
const SH: &str = "/bin/sh";

/// A home for ids without one: nothing is there but the private one of the sandbox.
const NO_HOME: &str = "/home/user";

/// The user of an embedded supervisor.
#[derive(Debug, Clone)]
pub struct Local {
    /// Who asks, and who answers: one uid.
    pub principal: Principal,
    /// Home directory, absolute.
    pub home: PathBuf,
    /// Everybody's.
    pub users: Users,
    /// execward's places.
    pub directories: Directories,
    /// The shell for shell text.
    pub interpreter: &'static str,
    /// What that shell reads.
    pub dialect: Dialect,
    /// What commands run in, as people and the gate are told.
    pub backend: Cow<'static, str>,
}

/// Why execward cannot serve this user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// It would act with rights that its user does not have.
    #[error("execward is installed set-uid or set-gid, and must not be")]
    SetId,
    /// The users cannot be read.
    #[error("/etc/passwd: {0}")]
    Users(std::io::Error),
    /// Nowhere to keep the log.
    #[error(transparent)]
    NoHome(#[from] NoHome),
}

impl LocalError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::SetId => "take the bits away: `chmod ug-s` on the binary",
            Self::Users(_) => "",
            Self::NoHome(_) => "name a directory with --state DIR, or set XDG_STATE_HOME",
        }
    }
}

impl Local {
    /// Looks. `state` is a directory that was named on the command line.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub fn look(state: Option<PathBuf>) -> Result<Self, LocalError> {
        let (uid, gid) = (getuid(), getgid());
        if uid != geteuid() || gid != getegid() {
            return Err(LocalError::SetId);
        }
        let (uid, gid) = (uid.as_raw(), gid.as_raw());
        let users = Users::read().map_err(LocalError::Users)?;
        let user = users.by_uid(uid).cloned();
        let directories = match state {
            Some(state) => Directories {
                state: std::path::absolute(&state).unwrap_or(state),
                config: Directories::find(uid, user.as_ref(), variable).ok().and_then(|found| found.config),
            },
            None => Directories::find(uid, user.as_ref(), variable)?,
        };
        let (interpreter, dialect) = interpreter(|path| path.exists());
        let User { name, home, .. } = user.unwrap_or_else(|| nameless(uid, gid));
        Ok(Self {
            principal: Principal { uid, gid, name },
            home: home.into(),
            users,
            directories,
            interpreter,
            dialect,
            backend: BACKEND.into(),
        })
    }
}

impl Local {
    /// Somebody else, for a supervisor that serves many: what `/etc/passwd` says of the user, and the supervisor's own
    /// places.
    ///
    /// # Errors
    /// When the users cannot be read.
    pub(super) fn peer(uid: u32, gid: u32, directories: Directories) -> Result<Self, LocalError> {
        let users = Users::read().map_err(LocalError::Users)?;
        let (interpreter, dialect) = interpreter(|path| path.exists());
        let User { name, home, .. } = users.by_uid(uid).cloned().unwrap_or_else(|| nameless(uid, gid));
        Ok(Self {
            principal: Principal { uid, gid, name },
            home: home.into(),
            users,
            directories,
            interpreter,
            dialect,
            backend: BACKEND.into(),
        })
    }
}

impl Local {
    /// The same user in a sandbox with programs of its own, which has its bash there, or has none.
    #[must_use]
    pub(super) fn inside(mut self, backend: Cow<'static, str>, bash: Option<&str>) -> Self {
        self.backend = backend;
        (self.interpreter, self.dialect) = interpreter(|path| Some(path) == bash.map(Path::new));
        self
    }
}

fn nameless(uid: u32, gid: u32) -> User {
    User { name: uid.to_string(), uid, gid, home: NO_HOME.to_owned() }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

fn interpreter(exists: impl Fn(&Path) -> bool) -> (&'static str, Dialect) {
    BASH.into_iter()
        .find(|path| exists(Path::new(path)))
        .map_or((SH, Dialect::Posix), |path| (path, Dialect::Bash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_for_bash_where_there_is_one() {
        assert_eq!(interpreter(|path| path.starts_with("/usr/bin")), ("/usr/bin/bash", Dialect::Bash));
        assert_eq!(interpreter(|_| false), ("/bin/sh", Dialect::Posix));
    }

    #[test]
    fn a_named_state_directory_is_made_absolute() {
        let local = Local::look(Some("state".into())).expect("this user can be served");
        assert!(local.directories.state.is_absolute());
        assert!(local.directories.audit().ends_with("state/audit"));
    }
}
