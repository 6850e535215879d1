//! Which policy holds, layer by layer, and whether the files that it comes from can be believed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use sha2::{Digest as _, Sha256};

use super::state::{Directories, SYSTEM_CONFIG};
use crate::policy::{Included, Loader, Policy, PolicyError, Role};

/// Largest policy that is read.
const MAX_POLICY: u64 = 4 << 20;

/// Write permission for group and others.
const OTHERS_WRITE: u32 = 0o022;

/// The sticky bit: in such a directory nobody can replace another's file.
const STICKY: u32 = 0o1000;

/// The policy of a project, below its workspace.
const PROJECT_FILE: &str = ".execward/policy.toml";

/// Largest policy of a project: it is read for every run, and whoever works there may have written it.
const MAX_PROJECT: u64 = 256 << 10;

/// A policy with the place that it came from.
#[derive(Debug)]
pub enum Source {
    /// Compiled in.
    Builtin(&'static Policy),
    /// Read from files.
    File {
        /// What they say.
        policy: Box<Policy>,
        /// Their words, layer by layer.
        text: String,
    },
}

impl Source {
    /// The text that it was read from.
    pub fn text(&self) -> &str {
        match self {
            Self::Builtin(_) => Policy::builtin_text(),
            Self::File { text, .. } => text,
        }
    }

    /// This policy with a project's beneath it.
    ///
    /// # Errors
    /// When the project's policy has a mistake.
    pub fn with_project(&self, project: &Project, tried: Option<&Tried>) -> Result<Self, PolicyError> {
        let lower = self.project(project, &|digest| tried.is_some_and(|tried| tried.holds(digest)))?;
        if let Some(tried) = tried {
            tried.add(lower.digest());
        }
        Ok(self.joined(project, &lower))
    }

    /// The same for a project's policy whose examples held under an earlier version of this one. They are there for its
    /// author, and what an operator changes must not end what runs.
    ///
    /// # Errors
    /// When the project's policy names a profile that is there no longer.
    pub(super) fn with_project_again(&self, project: &Project) -> Result<Self, PolicyError> {
        Ok(self.joined(project, &self.project(project, &|_| true)?))
    }

    fn project(&self, project: &Project, known: &dyn Fn(&[u8; 32]) -> bool) -> Result<Policy, PolicyError> {
        let loader = Loader { examples_hold: Some(known), ..Loader::beneath(self, Role::Project) };
        loader.load(&project.text, PROJECT_FILE)
    }

    fn joined(&self, project: &Project, lower: &Policy) -> Self {
        let text =
            format!("{}\n# The policy of the project: {PROJECT_FILE}\n\n{}", self.text(), project.text);
        Self::File { policy: Box::new(self.over(lower)), text }
    }
}

impl std::ops::Deref for Source {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        match self {
            Self::Builtin(policy) => policy,
            Self::File { policy, .. } => policy,
        }
    }
}

/// The policy that a project has, as it stands in its workspace.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Project {
    text: String,
}

impl Project {
    /// Reads it beneath the workspace, by whoever calls: in a daemon that must be a thread with the requester's rights.
    /// No link is followed, so that no other file's text can come into a message. Where it is not, there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read: it might have forbidden what is asked.
    pub fn read(workspace: BorrowedFd<'_>) -> Result<Option<Self>, PolicyFileError> {
        let path = || PathBuf::from(PROJECT_FILE);
        let failed = |errno: Errno| PolicyFileError::Read { path: path(), error: errno.into() };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(
                ResolveFlag::RESOLVE_BENEATH
                    | ResolveFlag::RESOLVE_NO_SYMLINKS
                    | ResolveFlag::RESOLVE_NO_MAGICLINKS,
            );
        let file = match openat2(workspace, PROJECT_FILE, how) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let text = text_of(file, &path(), MAX_PROJECT, |_| Ok(()))?;
        Ok(Some(Self { text }))
    }
}

/// Why a policy file is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// It cannot be opened or read.
    #[error("policy {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Of the call.
        error: std::io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("policy {}: not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is past the limit.
    #[error("policy {}: larger than {most} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes.
        most: u64,
    },
    /// It is not text.
    #[error("policy {}: not UTF-8 at byte {at}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that is not.
        at: usize,
    },
    /// Somebody else could have written it.
    #[error("policy {}: {} may be changed by others (owner {owner}, mode {mode:03o})", path.display(), what.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// The file, or the directory in which it could be replaced.
        what: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// It has a mistake.
    #[error("{0}")]
    Mistake(#[from] PolicyError),
}

impl PolicyFileError {
    fn writable(path: &Path, what: &Path, about: &Metadata) -> Self {
        let (owner, mode) = (about.uid(), about.mode() & 0o7777);
        Self::Writable { path: path.to_owned(), what: what.to_owned(), owner, mode }
    }

    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { error, .. } if error.kind() == ErrorKind::NotFound => {
                "without --policy, the built-in policy holds where there is no policy file".to_owned()
            }
            // what others may write is closed to them; what is another's must be taken over
            Self::Writable { what, mode, .. } => {
                let command = if mode & 0o022 == 0 { "chown root" } else { "chmod go-w" };
                format!(
                    "a policy belongs to root or to you, and nobody else writes to it: `{command} {}`",
                    what.display()
                )
            }
            _ => String::new(),
        }
    }
}

/// Finds and reads the policy: the system's, and beneath it the one that was named or else the user's own, which can only
/// tighten it. Where the system has none, theirs stands by itself; where there is none at all, the one compiled in holds.
/// A file that is there but cannot be used is an error, never a reason to go on without it.
///
/// # Errors
/// See [`PolicyFileError`].
pub fn load(named: Option<&Path>, directories: &Directories, uid: u32) -> Result<Source, PolicyFileError> {
    let in_place = |directory: &Path| {
        let path = directory.join("policy.toml");
        // Where there is none, the way to it need not be well kept.
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => read(&path, uid).map(|text| Some((path, text))),
        }
    };
    let system = in_place(Path::new(SYSTEM_CONFIG))?;
    let operator = match (named, directories.config.as_deref()) {
        (Some(path), _) => Some((path.to_owned(), read(path, uid)?)),
        (None, Some(directory)) => in_place(directory)?,
        (None, None) => None,
    };
    if system.is_none() && operator.is_none() {
        return Ok(Source::Builtin(Policy::builtin()));
    }
    layered(system, operator, uid, &Tried::of(directories, uid))
}

/// Reads one file as a policy that stands by itself, whatever else holds on this machine.
///
/// # Errors
/// See [`PolicyFileError`].
pub fn load_alone(path: &Path, uid: u32) -> Result<Source, PolicyFileError> {
    let text = read(path, uid)?;
    let policy = one(Loader::new(Role::Operator), path, &text, uid, None)?;
    Ok(Source::File { policy: Box::new(policy), text })
}

fn layered(
    system: Option<(PathBuf, String)>,
    operator: Option<(PathBuf, String)>,
    uid: u32,
    tried: &Tried,
) -> Result<Source, PolicyFileError> {
    let tried = Some(tried);
    match (system, operator) {
        (None, None) => Ok(Source::Builtin(Policy::builtin())),
        (Some((path, text)), None) => {
            let policy = Box::new(one(Loader::new(Role::System), &path, &text, uid, tried)?);
            Ok(Source::File { policy, text })
        }
        (None, Some((path, text))) => {
            let policy = Box::new(one(Loader::new(Role::Operator), &path, &text, uid, tried)?);
            Ok(Source::File { policy, text })
        }
        (Some((upper, upper_text)), Some((lower, lower_text))) => {
            let policy = one(Loader::new(Role::System), &upper, &upper_text, uid, tried)?;
            let beneath = one(Loader::beneath(&policy, Role::Operator), &lower, &lower_text, uid, tried)?;
            let text = format!("{upper_text}\n# Beneath it: {}\n\n{lower_text}", lower.display());
            Ok(Source::File { policy: Box::new(policy.over(&beneath)), text })
        }
    }
}

/// Reads a policy with what it includes: files that are named from where the including one lies, each as well kept as it.
fn one(
    loader: Loader<'_>,
    path: &Path,
    text: &str,
    uid: u32,
    tried: Option<&Tried>,
) -> Result<Policy, PolicyFileError> {
    let real = trusted(path, uid)?;
    let find = |asked: &str, by: &str| {
        let by = if by == path.display().to_string() { &real } else { Path::new(by) };
        let beside = by.parent().unwrap_or(Path::new("/")).join(asked);
        let name = trusted(&beside, uid).map_err(|error| error.to_string())?;
        let text = read(&name, uid).map_err(|error| error.to_string())?;
        let name = name.to_str().ok_or("its path is not UTF-8")?.to_owned();
        Ok(Included { name, text })
    };
    let known = |digest: &[u8; 32]| tried.is_some_and(|tried| tried.holds(digest));
    let loader = Loader { find: Some(&find), examples_hold: Some(&known), ..loader };
    let policy = loader.load(text, &path.display().to_string())?;
    if let Some(tried) = tried {
        tried.add(policy.digest());
    }
    Ok(policy)
}

/// Reads a policy's text from a file that only root and `uid` can have written.
///
/// # Errors
/// See [`PolicyFileError`].
pub(super) fn read(path: &Path, uid: u32) -> Result<String, PolicyFileError> {
    let real = trusted(path, uid)?;
    // Neither a pipe nor a device may keep the supervisor waiting.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(&real)
        .map_err(|error| PolicyFileError::Read { path: path.to_owned(), error })?;
    text_of(file, path, MAX_POLICY, |about| believed(path, &real, about, uid))
}

/// The real path of a file or a directory in which only root and `uid` can put or replace anything.
///
/// # Errors
/// See [`PolicyFileError`].
pub(super) fn kept(path: &Path, uid: u32) -> Result<PathBuf, PolicyFileError> {
    let real = trusted(path, uid)?;
    let about = real.metadata().map_err(|error| PolicyFileError::Read { path: path.to_owned(), error })?;
    // A sticky one is open to everybody all the same.
    believed(path, &real, &about, uid)?;
    Ok(real)
}

/// The real path of any file that only root and `uid` can have written or replaced.
///
/// # Errors
/// Who else can.
pub fn well_kept(path: &Path, uid: u32) -> Result<PathBuf, String> {
    kept(path, uid).map_err(|error| match error {
        PolicyFileError::Writable { what, owner, mode, .. } => {
            format!("{} may be changed by others (owner {owner}, mode {mode:03o})", what.display())
        }
        PolicyFileError::Read { path, error } => format!("{}: {error}", path.display()),
        other => other.to_string(),
    })
}

/// The text of a regular file that passes the check.
fn text_of(
    file: File,
    path: &Path,
    most: u64,
    check: impl FnOnce(&Metadata) -> Result<(), PolicyFileError>,
) -> Result<String, PolicyFileError> {
    let failed = |error| PolicyFileError::Read { path: path.to_owned(), error };
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(PolicyFileError::NotAFile { path: path.to_owned() });
    }
    check(&about)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(PolicyFileError::TooLarge { path: path.to_owned(), most });
    }
    String::from_utf8(bytes).map_err(|error| PolicyFileError::NotText {
        path: path.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// Where a path leads, each link on the way followed by hand: a directory that others may write to, or a link of theirs,
/// could be made to lead elsewhere. In a sticky directory nobody can replace another's file.
fn trusted(path: &Path, uid: u32) -> Result<PathBuf, PolicyFileError> {
    /// As the kernel: path_resolution(7).
    const MOST_LINKS: u32 = 40;
    let failed = |error| PolicyFileError::Read { path: path.to_owned(), error };
    let absolute = std::path::absolute(path).map_err(failed)?;
    let mut rest: VecDeque<OsString> =
        absolute.components().map(|part| part.as_os_str().to_owned()).collect();
    let (mut real, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            real.pop();
        }
        if part == ".." || part == "." {
            continue;
        }
        let next = real.join(&part);
        let about = next.symlink_metadata().map_err(failed)?;
        if about.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(failed(Errno::ELOOP.into()));
            }
            owned(path, &next, &about, uid)?;
            let target = next.read_link().map_err(failed)?;
            for part in target.components().rev() {
                rest.push_front(part.as_os_str().to_owned());
            }
            continue;
        }
        if about.is_dir() && about.mode() & STICKY != 0 {
            owned(path, &next, &about, uid)?;
        } else if about.is_dir() {
            believed(path, &next, &about, uid)?;
        }
        real = next;
    }
    Ok(real)
}

fn owned(path: &Path, what: &Path, about: &Metadata, uid: u32) -> Result<(), PolicyFileError> {
    if about.uid() == 0 || about.uid() == uid {
        return Ok(());
    }
    Err(PolicyFileError::writable(path, what, about))
}

fn believed(path: &Path, what: &Path, about: &Metadata, uid: u32) -> Result<(), PolicyFileError> {
    owned(path, what, about, uid)?;
    if about.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(PolicyFileError::writable(path, what, about))
}

/// The policies whose examples were tried by this build of execward and hold. It lies with the audit log, where no command
/// can write: one that could would have a policy loaded that says something else than its author thinks.
#[derive(Debug)]
pub struct Tried {
    path: PathBuf,
    uid: u32,
    build: Vec<u8>,
    known: Vec<String>,
}

impl Tried {
    /// Most policies that are remembered; the oldest is forgotten.
    const MOST: usize = 64;

    /// Reads the list. One that cannot be read, or believed, is empty: examples are tried again.
    pub fn of(directories: &Directories, uid: u32) -> Self {
        let path = directories.state.join("examples");
        let text = read(&path, uid).unwrap_or_default();
        let proper = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let known = text.lines().filter(proper).take(Self::MOST).map(str::to_owned).collect();
        // What a policy means changes with the tables that are compiled in, and the version does not for every build.
        let build = std::fs::metadata("/proc/self/exe").map_or_else(
            |_| Vec::new(),
            |about| format!("{} {} {}", about.len(), about.mtime(), about.mtime_nsec()).into_bytes(),
        );
        Self { path, uid, build, known }
    }

    fn key(&self, digest: &[u8; 32]) -> Option<String> {
        (!self.build.is_empty()).then(|| {
            let mut hasher = Sha256::new();
            hasher.update(b"execward examples\0");
            hasher.update(digest);
            hasher.update(&self.build);
            crate::stage::Digest::from(<[u8; 32]>::from(hasher.finalize())).to_hex()
        })
    }

    fn holds(&self, digest: &[u8; 32]) -> bool {
        self.key(digest).is_some_and(|key| self.known.contains(&key))
    }

    /// Remembers one. Where that cannot be done, its examples are tried again the next time.
    fn add(&self, digest: [u8; 32]) {
        let Some(key) = self.key(&digest).filter(|key| !self.known.contains(key)) else { return };
        // Read again: another process may have added to it.
        let before = read(&self.path, self.uid).unwrap_or_default();
        let others = before.lines().filter(|line| *line != key).take(Self::MOST - 1);
        let text: String =
            std::iter::once(key.as_str()).chain(others).flat_map(|line| [line, "\n"]).collect();
        let new = self.path.with_extension(format!("{}", std::process::id()));
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::debug!(%error, "it is not remembered that the policy's examples hold");
            let _ = std::fs::remove_file(&new);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    }

    fn me() -> u32 {
        nix::unistd::getuid().as_raw()
    }

    #[test]
    fn only_what_nobody_else_can_write_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("p.toml");
        std::fs::write(&path, "text").expect("written");
        for (bits, fine) in [(0o644, true), (0o400, true), (0o664, false), (0o646, false)] {
            mode(&path, bits);
            assert_eq!(read(&path, me()).is_ok(), fine, "{bits:o}");
        }
        mode(&path, 0o644);
        mode(directory.path(), 0o777);
        assert!(matches!(read(&path, me()), Err(PolicyFileError::Writable { .. })));
        mode(directory.path(), 0o1777);
        assert!(read(&path, me()).is_ok());
        let link = directory.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(read(&link, me()).is_ok());
        mode(&path, 0o666);
        assert!(matches!(read(&link, me()), Err(PolicyFileError::Writable { .. })));
    }

    #[test]
    fn what_is_no_file_does_not_keep_anybody_waiting() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        assert!(matches!(read(&fifo, me()), Err(PolicyFileError::NotAFile { .. })));
        assert!(matches!(read(directory.path(), me()), Err(PolicyFileError::NotAFile { .. })));
        let missing = read(&directory.path().join("none"), me()).expect_err("it is not there");
        assert!(missing.to_string().ends_with("No such file or directory (os error 2)"), "{missing}");
        std::fs::write(directory.path().join("bytes"), b"ab\xff").expect("written");
        let not_text = read(&directory.path().join("bytes"), me());
        assert!(matches!(not_text, Err(PolicyFileError::NotText { at: 2, .. })));
    }

    #[test]
    fn the_builtin_policy_holds_where_there_is_no_file() {
        if Path::new(SYSTEM_CONFIG).join("policy.toml").exists() {
            return;
        }
        let directories = Directories { state: "/nonexistent".into(), config: Some("/nonexistent".into()) };
        assert!(matches!(load(None, &directories, me()), Ok(Source::Builtin(_))));
        let named = load(Some(Path::new("/nonexistent/p.toml")), &directories, me());
        assert!(matches!(named, Err(PolicyFileError::Read { .. })));
    }
}
