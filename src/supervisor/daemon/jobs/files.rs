//! The files that jobs are written in: found, believed, read.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::jobs::{self, Job, JobError};
use crate::supervisor::passwd::Users;
use crate::supervisor::policy_file::{self, PolicyFileError};

/// Most jobs.
const MOST: usize = 1000;

/// Why jobs are not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobsError {
    /// The directory cannot be read.
    #[error("jobs: cannot read {}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// A file cannot be read or believed.
    #[error("jobs: {0}")]
    File(PolicyFileError),
    /// A file has a mistake.
    #[error("{0}")]
    Mistake(JobError),
    /// A job cannot be.
    #[error("jobs: {}: {what}", path.display())]
    Unfit {
        /// Its file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
}

impl JobsError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            _ => String::new(),
        }
    }
}

/// A job with the user that it is of.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Owned {
    pub(in crate::supervisor) job: Job,
    pub(in crate::supervisor) uid: u32,
    pub(in crate::supervisor) gid: u32,
    pub(in crate::supervisor) user: String,
}

/// Reads all jobs of a directory, sorted by name; where there is no directory there are none. One with a mistake spoils all.
///
/// # Errors
/// See [`JobsError`].
pub(in crate::supervisor) fn load(directory: &Path, own: u32) -> Result<Vec<Owned>, JobsError> {
    let failed = |error| JobsError::Directory { path: directory.to_owned(), error };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let paths: BTreeSet<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    let users = Users::read().map_err(failed)?;
    let mut all = Vec::new();
    for path in paths {
        let unfit = |what: String| JobsError::Unfit { path: path.clone(), what };
        let Some(name) = jobs::name(&path).map_err(unfit)? else { continue };
        let text = policy_file::read(&path, own).map_err(JobsError::File)?;
        let job = Job::read(&name, &path.display().to_string(), &text).map_err(JobsError::Mistake)?;
        let user = match &job.work.user {
            None => users.by_uid(own).cloned(),
            Some(name) => {
                let user = users.by_name(name).cloned();
                Some(user.ok_or_else(|| unfit(format!("there is no user `{name}` in /etc/passwd")))?)
            }
        };
        let (uid, gid, user) = user.map_or_else(
            || (own, nix::unistd::getgid().as_raw(), own.to_string()),
            |user| (user.uid, user.gid, user.name),
        );
        if own != 0 && uid != own {
            return Err(unfit("only a daemon of root runs jobs of other users".to_owned()));
        }
        all.push(Owned { job, uid, gid, user });
        if all.len() > MOST {
            return Err(JobsError::Unfit {
                path: directory.to_owned(),
                what: format!("more than {MOST} jobs"),
            });
        }
    }
    Ok(all)
}

/// A key or a URL from a file that nobody else may write, without the end of its line.
pub(in crate::supervisor) fn secret(path: &Path, own: u32) -> Result<String, String> {
    let text = policy_file::read(path, own).map_err(|error| error.to_string())?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const JOB: &str =
        "command = [\"true\"]\nworkspace = \"/srv\"\n[schedule]\nevery = \"1h\"\n[[deliver]]\nqueue = true\n";

    fn own() -> u32 {
        nix::unistd::getuid().as_raw()
    }

    #[test]
    fn a_file_that_others_may_write_spoils_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str, mode: u32| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        put("b.toml", JOB, 0o600);
        put("a.toml", JOB, 0o644);
        put("a.toml~", "nonsense", 0o666);
        let names = |all: Vec<Owned>| all.into_iter().map(|owned| owned.job.name).collect::<Vec<_>>();
        assert_eq!(names(load(directory.path(), own()).expect("they read")), ["a", "b"]);
        put("c.toml", JOB, 0o666);
        assert!(matches!(
            load(directory.path(), own()),
            Err(JobsError::File(PolicyFileError::Writable { .. }))
        ));
        put("c.toml", &JOB.replace("every", "evry"), 0o600);
        let shown = load(directory.path(), own()).expect_err("it is wrong").to_string();
        assert!(shown.contains("did you mean `every`?") && shown.contains("c.toml:4"), "{shown}");
        put("c.toml", &format!("user = \"nobody-has-this-name\"\n{JOB}"), 0o600);
        assert!(matches!(load(directory.path(), own()), Err(JobsError::Unfit { .. })));
    }

    #[test]
    fn without_a_directory_there_are_no_jobs() {
        assert!(load(Path::new("/nonexistent/jobs"), own()).expect("none").is_empty());
    }
}
