//! The `launcher` backend: a command whose standard input and output reach a runner, on another machine as a rule.
//!
//! The command is the operator's, from the configuration. A request names a launcher and a workspace there, and no word of
//! the command line but the workspace is made of what it says; that one is of plain characters. What comes back is
//! believed as little as anything from a sandbox: what is not a greeting of this version within the time, in a frame within
//! the bounds, is an error that says what came instead.
//!
//! An engine elsewhere is a launcher, too: in place of a command it makes a container, whose standard streams reach the runner.
//!
//! The sandbox ends with the supervisor: the command's input ends, and with it the runner and all that it has started.

mod arrive;
mod error;
mod preset;
mod template;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::FarError;
pub use preset::{Preset, Told};
pub use template::Template;

pub(super) use arrive::{Complaints, find, launch};
pub(super) use preset::ssh_settings;

use super::{Asked, LaunchError, docker, jail};
use crate::wire::runner::{Container, FAR_HOME, FAR_USER, Far, FileId, Ground, Identity, SandboxSpec, View};

/// Longest path of a workspace that is made in a container: what an archive can name.
const LONGEST: usize = 90;

/// A launcher that is configured.
#[derive(Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Its name in the configuration.
    pub name: String,
    /// What reaches a runner.
    pub way: Way,
    /// Directories there below which workspaces lie; `{user}` in them is the requester's login name.
    pub workspaces: Vec<PathBuf>,
    /// Whether a workspace is made where it is missing.
    pub make: bool,
    /// The whole environment of the command.
    pub environment: Vec<(String, String)>,
    /// How long it may take until the sandbox stands.
    pub patience: Duration,
    /// How long it may say nothing afterwards.
    pub silence: Duration,
    /// A directory of this user's alone, for a copy of the binary.
    pub directory: PathBuf,
}

/// What reaches a runner.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// A command.
    Command(Template),
    /// An engine, which makes a container with one.
    Engine(Box<docker::Remote>),
}

impl Launcher {
    /// The workspace that is meant: a directory there, or below one, that the configuration names for this user.
    ///
    /// # Errors
    /// When it is none.
    pub fn workspace(&self, asked: &str, user: &str) -> Result<PathBuf, FarError> {
        let refuse = |why| FarError::Workspace { path: asked.to_owned(), launcher: self.name.clone(), why };
        if !is_plain(asked) {
            return Err(refuse(
                "is not an absolute path of letters, digits and `._+-` without `.` or `..` in it",
            ));
        }
        let path = PathBuf::from(asked);
        let Some(root) = self.root(&path, user) else {
            return Err(refuse("is not below a directory that the launcher has for you"));
        };
        if self.make && matches!(self.way, Way::Engine(_)) && (root == path || asked.len() > LONGEST) {
            return Err(refuse(
                "must be a directory below one that the launcher has for you, with a short name",
            ));
        }
        Ok(path)
    }

    /// The directory of the configuration in which a workspace is that this user may have.
    fn root(&self, path: &Path, user: &str) -> Option<PathBuf> {
        let roots = self.workspaces.iter().filter_map(|root| {
            let root = root.to_string_lossy();
            if !root.contains("{user}") {
                return Some(PathBuf::from(root.as_ref()));
            }
            // A name that is more than a name would lead elsewhere.
            let plain = is_plain(&format!("/{user}")) && !user.contains('/');
            plain.then(|| PathBuf::from(root.replace("{user}", user)))
        });
        roots.filter(|root| path.starts_with(root)).max_by_key(|root| root.as_os_str().len())
    }

    /// The sandbox that is asked for there. Who its commands are and which directory it is, is found there.
    ///
    /// # Errors
    /// As [`jail::spec`].
    pub fn spec(&self, asked: &Asked<'_>) -> Result<SandboxSpec, LaunchError> {
        let there = Asked {
            requester: (1, 1),
            user: FAR_USER,
            home: FAR_HOME.into(),
            own_state: Vec::new(),
            ..asked.clone()
        };
        let spec = jail::spec(&there)?;
        let root = self.root(&asked.workspace.path, asked.user).unwrap_or_default();
        let far = Far { launcher: self.name.clone(), make: self.make, root };
        let mut identity = Identity { home: FAR_HOME.into(), ..spec.identity };
        let ground = match &self.way {
            Way::Command(_) => Ground::Far(far),
            Way::Engine(remote) => {
                (identity.uid, identity.gid) = (remote.user(), remote.user());
                Ground::Container(Container { backend: "docker".into(), mounts: Vec::new(), far: Some(far) })
            }
        };
        let view = View { own: Vec::new(), owner: None, ..spec.view };
        let workspace =
            crate::wire::runner::Workspace { id: FileId { dev: 0, ino: 0 }, owner: None, ..spec.workspace };
        Ok(SandboxSpec { ground, identity, view, workspace, ..spec })
    }
}

/// Whether a path means the same to every program that reads it, whatever it takes for a separator.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte);
    let Some(rest) = path.strip_prefix('/') else { return false };
    path.len() < 1024
        && path.bytes().all(plain)
        && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Whether the directory below which workspaces lie can be one.
///
/// # Errors
/// What it lacks.
pub fn check_root(root: &str) -> Result<(), &'static str> {
    if is_plain(&root.replace("{user}", "user")) {
        Ok(())
    } else {
        Err("a directory for workspaces is an absolute path of plain characters, and not `/`")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sandbox) fn launcher(command: &[&str]) -> Launcher {
        let template = Template::new(command.iter().map(|word| (*word).to_owned()).collect(), None);
        Launcher {
            name: "there".into(),
            way: Way::Command(template.expect("a template")),
            workspaces: vec!["/srv/work".into(), "/home/{user}/work".into()],
            make: false,
            environment: Vec::new(),
            patience: Duration::from_secs(5),
            silence: Duration::from_secs(5),
            directory: "/nonexistent".into(),
        }
    }

    #[test]
    fn a_workspace_is_a_plain_path_below_what_the_user_has_there() {
        let launcher = launcher(&["true", "{remote}"]);
        for good in ["/srv/work", "/srv/work/a-b_c.d+e", "/home/ann/work/x"] {
            assert!(launcher.workspace(good, "ann").is_ok(), "{good}");
        }
        for bad in [
            "/srv/workshop",
            "/srv",
            "/",
            "",
            "srv/work/x",
            "/srv/work/../x",
            "/srv/work/./x",
            "/srv/work//x",
            "/home/ben/work",
            "/srv/work/a b",
            "/srv/work/$(id)",
            "/srv/work/a,b",
            "/srv/work/a:b",
            "/srv/work/'",
            "/srv/work/\n",
            "/srv/work/",
            "/srv/work/\u{e9}",
            "/srv/work/a;b",
            "/srv/work/{name}",
        ] {
            assert!(launcher.workspace(bad, "ann").is_err(), "{bad:?}");
        }
        for user in ["..", "a/b", "", "a b", "."] {
            assert!(launcher.workspace(&format!("/home/{user}/work"), user).is_err(), "{user:?}");
        }
    }
}
