//! Where execward keeps what it must not lose, and where it finds what an operator wrote.

use std::path::{Path, PathBuf};

use super::passwd::User;

/// execward's own directories for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// State: the audit log lives below it. 0700.
    pub state: PathBuf,
    /// The user's own configuration; `None` for root, whose configuration is the system's.
    pub config: Option<PathBuf>,
}

/// The system's configuration.
pub(super) const SYSTEM_CONFIG: &str = "/etc/execward";

/// Of a supervisor that root runs: gone with the machine, as containers that run are.
const SYSTEM_CONTAINERS: &str = "/run/execward/docker";

/// State of a supervisor that root runs.
const SYSTEM_STATE: &str = "/var/lib/execward";

/// No place for the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("uid {uid} has no home in /etc/passwd to keep the audit log in")]
pub struct NoHome {
    /// The user.
    pub uid: u32,
}

impl Directories {
    /// Finds them. Root's are fixed: a privileged supervisor takes nothing from its environment. For other users the
    /// XDG variables count where they are absolute (`variable` looks one up), and the home is the one of
    /// `/etc/passwd`, whatever `$HOME` says: a command line that sets HOME for the command must not move the log.
    ///
    /// # Errors
    /// When neither a home nor a variable gives a place.
    pub fn find(
        uid: u32,
        user: Option<&User>,
        variable: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, NoHome> {
        if uid == 0 {
            return Ok(Self { state: SYSTEM_STATE.into(), config: None });
        }
        let place = |name: &str, below_home: &str| {
            variable(name)
                .filter(|path| path.is_absolute())
                .or_else(|| user.map(|user| Path::new(&user.home).join(below_home)))
                .map(|directory| directory.join("execward"))
        };
        let state = place("XDG_STATE_HOME", ".local/state").ok_or(NoHome { uid })?;
        Ok(Self { state, config: place("XDG_CONFIG_HOME", ".config") })
    }

    /// The directory of the audit log.
    pub fn audit(&self) -> PathBuf {
        self.state.join("audit")
    }

    /// The file of keys: in the state, which no sandbox and no workspace shows.
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys.toml")
    }

    /// The file of secrets, beside it.
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets.toml")
    }

    /// Where containers have what is theirs on the host. Short of permissions of others, and made where it is missing.
    pub fn containers(&self) -> PathBuf {
        if nix::unistd::geteuid().is_root() { SYSTEM_CONTAINERS.into() } else { self.state.join("docker") }
    }

    /// Everything that no command may have as its workspace.
    pub fn own(&self) -> Vec<PathBuf> {
        [Some(&self.state), self.config.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .chain([SYSTEM_CONFIG.into(), SYSTEM_STATE.into(), "/run/execward".into()])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User { name: "ann".into(), uid: 1000, gid: 1000, home: "/home/ann".into() }
    }

    #[test]
    fn root_takes_nothing_from_its_environment() {
        let found = Directories::find(0, None, |_| Some("/tmp/evil".into())).expect("root has a place");
        assert_eq!(found.audit(), Path::new("/var/lib/execward/audit"));
        assert_eq!(found.config, None);
    }

    #[test]
    fn a_user_has_the_xdg_places() {
        let found = Directories::find(1000, Some(&ann()), |_| None).expect("ann has a home");
        assert_eq!(found.state, Path::new("/home/ann/.local/state/execward"));
        assert_eq!(found.config.as_deref(), Some(Path::new("/home/ann/.config/execward")));
        let set = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("/s"));
        assert_eq!(Directories::find(1000, Some(&ann()), set).expect("set").state, Path::new("/s/execward"));
        let relative = |_: &str| Some(PathBuf::from("s"));
        let found = Directories::find(1000, Some(&ann()), relative).expect("ann has a home");
        assert_eq!(found.state, Path::new("/home/ann/.local/state/execward"));
    }

    #[test]
    fn without_a_home_there_is_no_place() {
        assert_eq!(Directories::find(4242, None, |_| None), Err(NoHome { uid: 4242 }));
    }
}
