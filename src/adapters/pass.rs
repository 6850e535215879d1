//! Passes: a command that a hook has seen, kept until the client runs it, once.
//!
//! A pass allows nothing. It names the exact bytes of a command, so that what the client is told to run has no room for
//! anything else, and what runs is what was seen: it is judged when it runs. It lies in a file of the user, where no sandbox
//! reaches; whoever can write there as that user could ask for any command as well.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::gate::Command;

/// How long one is good for: a client may ask its user first.
const LIFETIME: Duration = Duration::from_secs(600);

/// Most that are kept; more are only there where a client asks and never runs anything.
const MOST: usize = 256;

/// Largest file of a pass.
const LARGEST: u64 = 4 << 20;

/// A command to run once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// The command.
    pub command: Command,
    /// Where it starts.
    pub cwd: PathBuf,
    /// The directory that it may change.
    pub workspace: PathBuf,
}

/// Why there is no pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The name is none.
    #[error("`{0}` is not a pass")]
    Name(String),
    /// It was used, or was never made, or is too old.
    #[error("the pass {0} is not there: it was used, or is older than ten minutes")]
    Gone(String),
    /// The directory cannot be used.
    #[error("{}: {error}", path.display())]
    System {
        /// What was being used.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// Somebody else's file, or not of the right form.
    #[error("{}: not a pass of this user", .0.display())]
    Strange(PathBuf),
    /// Too many are waiting.
    #[error("{MOST} passes wait to be used")]
    Many,
}

/// The passes below a state directory.
#[derive(Debug, Clone)]
pub struct Passes {
    directory: PathBuf,
    uid: u32,
}

impl Passes {
    /// Those of this user.
    pub fn below(state: &Path, uid: u32) -> Self {
        Self { directory: state.join("passes"), uid }
    }

    /// Keeps one, and names it.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn make(&self, pass: &Pass) -> Result<String, PassError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|error| self.system(&self.directory, error))?;
        if self.sweep()? >= MOST {
            return Err(PassError::Many);
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| self.system(&self.directory, std::io::Error::other(error.to_string())))?;
        let name = format!("{:032x}", u128::from_be_bytes(random));
        let path = self.directory.join(&name);
        let text = serde_json::to_vec(pass).map_err(|error| self.system(&path, error.into()))?;
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&text));
        written.map_err(|error| self.system(&path, error))?;
        Ok(name)
    }

    /// Takes one. Of two that try, one gets it.
    ///
    /// # Errors
    /// When it is not there, too old, or not what [`Self::make`] left.
    pub fn take(&self, name: &str) -> Result<Pass, PassError> {
        if name.len() != 32 || !name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(PassError::Name(name.chars().take(64).collect()));
        }
        let path = self.directory.join(name);
        // Renaming is what only one of them can do.
        let taken = self.directory.join(format!("{name}.{}", std::process::id()));
        match fs::rename(&path, &taken) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(PassError::Gone(name.to_owned()));
            }
            Err(error) => return Err(self.system(&path, error)),
        }
        let read = self.read(&taken);
        let removed = fs::remove_file(&taken);
        let text = read?;
        removed.map_err(|error| self.system(&taken, error))?;
        let Some(text) = text else { return Err(PassError::Gone(name.to_owned())) };
        serde_json::from_slice(&text).map_err(|_| PassError::Strange(path))
    }

    /// The text of a file of this user; `None` where it is too old.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, PassError> {
        let failed = |error| self.system(path, error);
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || about.uid() != self.uid || about.mode() & 0o077 != 0 {
            return Err(PassError::Strange(path.to_owned()));
        }
        if is_old(&about) {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).map_err(failed)?;
        Ok(Some(text))
    }

    /// Removes what nobody will use any more; how many are left.
    fn sweep(&self) -> Result<usize, PassError> {
        let entries = fs::read_dir(&self.directory).map_err(|error| self.system(&self.directory, error))?;
        let mut left = 0;
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(about) if is_old(&about) => drop(fs::remove_file(entry.path())),
                Ok(_) => left += 1,
                Err(_) => {}
            }
        }
        Ok(left)
    }

    #[expect(clippy::unused_self, reason = "reads as what it is about")]
    fn system(&self, path: &Path, error: std::io::Error) -> PassError {
        PassError::System { path: path.to_owned(), error }
    }
}

/// Whether it is past its time. A clock that went backwards makes it old, too.
fn is_old(about: &fs::Metadata) -> bool {
    let age = about.modified().ok().and_then(|made| SystemTime::now().duration_since(made).ok());
    age.is_none_or(|age| age > LIFETIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass() -> Pass {
        Pass { command: Command::Shell("make test".into()), cwd: "/w/sub".into(), workspace: "/w".into() }
    }

    #[test]
    fn a_pass_is_good_once() {
        let directory = tempfile::tempdir().unwrap();
        let passes = Passes::below(directory.path(), nix::unistd::getuid().as_raw());
        let name = passes.make(&pass()).unwrap();
        assert_eq!(passes.take(&name).unwrap(), pass());
        assert!(matches!(passes.take(&name), Err(PassError::Gone(_))));
        assert_eq!(fs::read_dir(directory.path().join("passes")).unwrap().count(), 0);
        for wrong in ["", "../state.db", &"A".repeat(32), &"a".repeat(31)] {
            assert!(matches!(passes.take(wrong), Err(PassError::Name(_))), "{wrong}");
        }
    }

    #[test]
    fn of_many_that_try_one_gets_it() {
        let directory = tempfile::tempdir().unwrap();
        let passes = Passes::below(directory.path(), nix::unistd::getuid().as_raw());
        let name = passes.make(&pass()).unwrap();
        let taken = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| passes.take(&name).is_ok())).collect();
            tries
                .into_iter()
                .filter(|_| true)
                .map(|thread| thread.join().unwrap())
                .filter(|taken| *taken)
                .count()
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn what_is_old_or_not_ones_own_is_no_pass() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let passes = Passes::below(directory.path(), nix::unistd::getuid().as_raw());
        let path = |name: &str| directory.path().join("passes").join(name);
        let old = passes.make(&pass()).unwrap();
        let long_ago = SystemTime::now() - LIFETIME - Duration::from_secs(1);
        File::options().write(true).open(path(&old)).unwrap().set_modified(long_ago).unwrap();
        assert!(matches!(passes.take(&old), Err(PassError::Gone(_))));
        let open = passes.make(&pass()).unwrap();
        fs::set_permissions(path(&open), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(passes.take(&open), Err(PassError::Strange(_))));
        let link = "a".repeat(32);
        std::os::unix::fs::symlink("/etc/passwd", path(&link)).unwrap();
        assert!(passes.take(&link).is_err());
        let other = Passes::below(directory.path(), nix::unistd::getuid().as_raw() + 1);
        let name = passes.make(&pass()).unwrap();
        assert!(matches!(other.take(&name), Err(PassError::Strange(_))));
        for _ in 0..MOST {
            let _ = passes.make(&pass());
        }
        assert!(matches!(passes.make(&pass()), Err(PassError::Many)));
    }
}
