//! The sockets: whose they are, who may reach them, and that no other daemon has them.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, chown, geteuid};

use super::observe;
use super::principals::{OPERATORS, find_group};
use crate::supervisor::local::Local;

/// The name of the agents' socket.
const AGENT: &str = "agent.sock";

/// The name of the operators' socket.
const OPERATOR: &str = "operator.sock";

/// Held by the daemon that serves a directory.
const LOCK: &str = "execward.lock";

/// Where a daemon of root has its sockets.
const SYSTEM_RUN: &str = "/run/execward";

/// How a directory of sockets should be: the daemon makes it so, and the doctor holds against it what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The directory.
    pub directory: PathBuf,
    /// Whose it and all in it is.
    pub owner: u32,
    /// Its mode.
    pub mode: u32,
    /// Where agents connect.
    pub agent: Place,
    /// Where operators do.
    pub operator: Place,
    /// Where the metrics are.
    pub metrics: Place,
}

/// How one of the sockets should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub path: PathBuf,
    /// Its group; the owner's own where it is none.
    pub group: Option<u32>,
    /// Its mode.
    pub mode: u32,
}

impl Layout {
    /// Of a daemon of `owner`: for everybody where that is root, since each connection is judged by who makes it; for nobody
    /// else where it is a user.
    pub(super) fn of(directory: &Path, owner: u32) -> Self {
        let group = find_group(OPERATORS).filter(|_| owner == 0);
        let place = |name: &str, mode, group| Place { path: directory.join(name), group, mode };
        let operators = |name| place(name, if group.is_some() { 0o660 } else { 0o600 }, group);
        Self {
            owner,
            mode: if owner == 0 { 0o755 } else { 0o700 },
            agent: place(AGENT, if owner == 0 { 0o666 } else { 0o600 }, None),
            operator: operators(OPERATOR),
            metrics: operators(observe::SOCKET),
            directory: directory.to_owned(),
        }
    }

    /// Those that a user has to do with: the one that is named, or the system's and the user's own.
    pub fn standing(local: &Local, named: Option<&Path>) -> Vec<Self> {
        let own = local.principal.uid;
        if let Some(named) = named {
            // Root's is root's, whoever looks at it.
            let owner = fs::symlink_metadata(named).map_or(own, |about| about.uid());
            return vec![Self::of(named, if owner == 0 { 0 } else { own })];
        }
        let mut all = vec![Self::of(Path::new(SYSTEM_RUN), 0)];
        if own != 0 {
            all.push(Self::of(&directory(own, run_time(), &local.directories.state), own));
        }
        all
    }
}

impl Place {
    /// Gives what was made there its group and its mode, in this order: it is open to nobody in between.
    pub(super) fn open(&self) -> Result<(), SocketError> {
        if let Some(group) = self.group {
            chown(&self.path, None, Some(Gid::from_raw(group))).map_err(io("give away", &self.path))?;
        }
        fs::set_permissions(&self.path, Permissions::from_mode(self.mode)).map_err(io("open", &self.path))
    }
}

/// Both sockets, listening.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) agent: UnixListener,
    pub(super) operator: UnixListener,
    /// What is to be removed at the end; nothing where systemd made the sockets.
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    agent: PathBuf,
    operator: PathBuf,
    _lock: File,
}

/// Why the sockets cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A call failed.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Another daemon serves this directory.
    #[error("another daemon serves {}", .0.display())]
    Taken(PathBuf),
    /// Something is there that this daemon did not leave.
    #[error("{} {what}", path.display())]
    Squatted {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// systemd passed something else than the two sockets.
    #[error("socket activation: {0}")]
    Passed(String),
}

impl SocketError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Taken(_) => "stop it first, or give this one a directory of its own with --socket-dir",
            Self::Squatted { .. } => {
                "somebody else put it there: find out who, and remove it, or use another --socket-dir"
            }
            Self::Passed(_) => "pass two sockets: `ListenStream=` of agent.sock and of operator.sock",
            Self::Io { .. } => "",
        }
    }
}

/// Where the sockets are when nobody says otherwise. A user's are below the run-time directory of the login, else beside
/// the state.
pub(super) fn directory(uid: u32, run_time: Option<PathBuf>, state: &Path) -> PathBuf {
    if uid == 0 {
        return SYSTEM_RUN.into();
    }
    run_time.filter(|path| path.is_absolute()).map_or_else(|| state.join("run"), |path| path.join("execward"))
}

/// The run-time directory of the login, as it says itself.
pub(super) fn run_time() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
}

impl Sockets {
    /// Takes them from systemd, where it passed any.
    pub(super) fn passed() -> Result<Option<Self>, SocketError> {
        let mut passed = listenfd::ListenFd::from_env();
        if passed.len() == 0 {
            return Ok(None);
        }
        let wrong = |what: &str| SocketError::Passed(what.to_owned());
        let (mut agent, mut operator) = (None, None);
        for index in 0..passed.len() {
            let socket =
                passed.take_unix_listener(index).map_err(|error| SocketError::Passed(error.to_string()))?;
            let socket = socket.ok_or_else(|| wrong("a descriptor came twice"))?;
            let address = socket.local_addr().map_err(|error| SocketError::Passed(error.to_string()))?;
            let name = address.as_pathname().and_then(Path::file_name).unwrap_or_default();
            let place = match name.to_str() {
                Some(AGENT) => &mut agent,
                Some(OPERATOR) => &mut operator,
                _ => return Err(wrong("a socket is called neither agent.sock nor operator.sock")),
            };
            if place.replace(socket).is_some() {
                return Err(wrong("a socket came twice"));
            }
        }
        match (agent, operator) {
            (Some(agent), Some(operator)) => Ok(Some(Self { agent, operator, made: None })),
            _ => Err(wrong("one of the two sockets is missing")),
        }
    }

    /// Makes them in `directory`, as [`Layout`] says.
    pub(super) fn make(directory: &Path) -> Result<Self, SocketError> {
        let layout = Layout::of(directory, geteuid().as_raw());
        make_directory(directory, layout.mode)?;
        let lock = lock(directory)?;
        let agent = listen(&layout.agent.path)?;
        let operator = listen(&layout.operator.path)?;
        layout.operator.open()?;
        layout.agent.open()?;
        let made = Made { agent: layout.agent.path, operator: layout.operator.path, _lock: lock };
        Ok(Self { agent, operator, made: Some(made) })
    }

    /// Whether nobody passed them, so that whoever comes next can make them again.
    pub(super) fn are_own(&self) -> bool {
        self.made.is_some()
    }

    /// Where they are, for the log.
    pub(super) fn place(&self) -> String {
        match &self.made {
            Some(made) => made.agent.parent().unwrap_or(Path::new("/")).display().to_string(),
            None => "sockets passed by systemd".to_owned(),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The lock is still held: these are ours.
        for path in [&self.agent, &self.operator] {
            let _ = fs::remove_file(path);
        }
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), SocketError> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(io("make", parent))?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io("open", path))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io("make", path)(error)),
    }
    let about = fs::symlink_metadata(path).map_err(io("look at", path))?;
    let squatted = |what| Err(SocketError::Squatted { path: path.to_owned(), what });
    if !about.is_dir() {
        return squatted("is not a directory");
    }
    if about.uid() != geteuid().as_raw() {
        return squatted("belongs to another user");
    }
    if about.mode() & 0o022 != 0 {
        return squatted("can be changed by other users");
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, SocketError> {
    let path = directory.join(LOCK);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SocketError::Taken(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// Listens at a path where nothing is, or a socket of ours that nobody listens on any more.
fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let squatted = |what| Err(SocketError::Squatted { path: path.to_owned(), what });
    match fs::symlink_metadata(path) {
        Ok(about) if !about.file_type().is_socket() => return squatted("is there and is no socket"),
        Ok(about) if about.uid() != geteuid().as_raw() => return squatted("is a socket of another user"),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return squatted("is a socket that somebody listens on"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(io("remove", path))?;
            }
            Err(error) => return Err(io("try", path)(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("look at", path)(error)),
    }
    // Nobody else may reach it before it has its owner and mode.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    listener.map_err(io("listen at", path))
}

fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> SocketError {
    let path = path.to_owned();
    move |error| SocketError::Io { action, path, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("run");
        (parent, path)
    }

    #[test]
    fn two_daemons_cannot_have_one_directory() {
        let (_parent, path) = directory();
        let first = Sockets::make(&path).expect("nobody is there");
        assert!(matches!(Sockets::make(&path), Err(SocketError::Taken(_))));
        assert!(UnixStream::connect(path.join(AGENT)).is_ok());
        drop(first);
        assert!(!path.join(AGENT).exists());
        assert!(Sockets::make(&path).is_ok());
    }

    #[test]
    fn what_a_dead_daemon_left_is_replaced() {
        let (_parent, path) = directory();
        drop(Sockets::make(&path).expect("nobody is there"));
        // A listener that is dropped leaves its path, as a process that is killed does.
        drop(UnixListener::bind(path.join(AGENT)).expect("bound"));
        let sockets = Sockets::make(&path).expect("it is stale");
        assert!(UnixStream::connect(path.join(AGENT)).is_ok());
        drop(sockets);
    }

    #[test]
    fn what_others_put_there_is_left_alone() {
        let (_parent, path) = directory();
        drop(Sockets::make(&path).expect("nobody is there"));
        let squatter = UnixListener::bind(path.join(AGENT)).expect("bound");
        let refused = Sockets::make(&path).expect_err("somebody listens");
        assert!(refused.to_string().ends_with("is a socket that somebody listens on"), "{refused}");
        drop(squatter);
        fs::remove_file(path.join(AGENT)).expect("it is there");
        fs::write(path.join(AGENT), "precious").expect("written");
        let refused = Sockets::make(&path).expect_err("it is a file");
        assert!(refused.to_string().ends_with("is no socket"), "{refused}");
        assert_eq!(fs::read(path.join(AGENT)).expect("it is there still"), b"precious");
        fs::remove_file(path.join(AGENT)).expect("it is there");
        std::os::unix::fs::symlink("/nonexistent", path.join(AGENT)).expect("a link");
        assert!(Sockets::make(&path).is_err());
    }

    #[test]
    fn a_directory_that_others_can_write_is_no_place_for_sockets() {
        let (_parent, path) = directory();
        fs::create_dir(&path).expect("made");
        fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("ours");
        assert!(matches!(Sockets::make(&path), Err(SocketError::Squatted { .. })));
    }

    #[test]
    fn modes_say_who_may_connect() {
        let (_parent, path) = directory();
        let _sockets = Sockets::make(&path).expect("nobody is there");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        if geteuid().is_root() {
            assert_eq!((mode(&path), mode(&path.join(AGENT))), (0o755, 0o666));
        } else {
            assert_eq!((mode(&path), mode(&path.join(AGENT))), (0o700, 0o600));
        }
        assert_eq!(mode(&path.join(OPERATOR)) & 0o117, 0);
    }

    #[test]
    fn the_run_time_directory_must_be_absolute() {
        let state = Path::new("/s");
        assert_eq!(super::directory(0, Some("/evil".into()), state), Path::new("/run/execward"));
        assert_eq!(super::directory(7, Some("/run/user/7".into()), state), Path::new("/run/user/7/execward"));
        assert_eq!(super::directory(7, Some("here".into()), state), Path::new("/s/run"));
    }
}
