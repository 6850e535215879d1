//! Which policy holds, and whether the file that it comes from can be believed.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::state::{Directories, SYSTEM_CONFIG};
use crate::policy::{Policy, PolicyError};

/// Largest policy that is read.
const MAX_POLICY: u64 = 4 << 20;

/// Write permission for group and others.
const OTHERS_WRITE: u32 = 0o022;

/// The sticky bit: in such a directory nobody can replace another's file.
const STICKY: u32 = 0o1000;

/// A policy with the place that it came from.
#[derive(Debug)]
pub enum Source {
    /// Compiled in.
    Builtin(&'static Policy),
    /// Read from a file.
    File {
        /// What it says.
        policy: Box<Policy>,
        /// Its words.
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

    fn file(path: &Path, text: String) -> Result<Self, PolicyError> {
        Ok(Self::File { policy: Box::new(Policy::parse(&text, &path.display().to_string())?), text })
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
    #[error("policy {}: larger than {MAX_POLICY} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
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
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                "without --policy, the built-in policy holds where there is no policy file".to_owned()
            }
            Self::Writable { what, .. } => {
                format!("a policy belongs to root or to you: `chmod go-w {}`", what.display())
            }
            _ => String::new(),
        }
    }
}

/// Finds and reads the policy: the file that was named; else the system's, since an operator's word stands over a
/// user's own; else the user's; else the one compiled in. A file that is there but cannot be used is an error, never a
/// reason to take the next one.
///
/// # Errors
/// See [`PolicyFileError`].
pub fn load(named: Option<&Path>, directories: &Directories, uid: u32) -> Result<Source, PolicyFileError> {
    if let Some(path) = named {
        return Ok(Source::file(path, read(path, uid)?)?);
    }
    let standing = [Some(Path::new(SYSTEM_CONFIG)), directories.config.as_deref()];
    for path in standing.into_iter().flatten().map(|directory| directory.join("policy.toml")) {
        match read(&path, uid) {
            Ok(text) => return Ok(Source::file(&path, text)?),
            Err(PolicyFileError::Read { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Source::Builtin(Policy::builtin()))
}

/// Reads a policy's text from a file that only root and `uid` can have written.
///
/// # Errors
/// See [`PolicyFileError`].
pub(super) fn read(path: &Path, uid: u32) -> Result<String, PolicyFileError> {
    let failed = |error| PolicyFileError::Read { path: path.to_owned(), error };
    // What the name leads to, so that the directory that is checked is the one that holds the file.
    let real = path.canonicalize().map_err(failed)?;
    if let Some(directory) = real.parent() {
        let about = directory.metadata().map_err(failed)?;
        if about.mode() & STICKY == 0 {
            believed(path, directory, &about, uid)?;
        }
    }
    // Neither a pipe nor a device may keep the supervisor waiting.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let file = std::fs::File::options().read(true).custom_flags(flags).open(&real).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(PolicyFileError::NotAFile { path: path.to_owned() });
    }
    believed(path, &real, &about, uid)?;
    let mut bytes = Vec::new();
    file.take(MAX_POLICY + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_POLICY {
        return Err(PolicyFileError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| PolicyFileError::NotText {
        path: path.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}

fn believed(path: &Path, what: &Path, about: &std::fs::Metadata, uid: u32) -> Result<(), PolicyFileError> {
    if (about.uid() == 0 || about.uid() == uid) && about.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(PolicyFileError::Writable {
        path: path.to_owned(),
        what: what.to_owned(),
        owner: about.uid(),
        mode: about.mode() & 0o7777,
    })
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
