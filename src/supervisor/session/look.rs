//! Looking at files as the requester would, for a daemon that may look at everything.
//!
//! A daemon that runs as root and opens what an agent names is its deputy, and a confused one: it would find, and mount
//! into a sandbox, what the agent itself cannot reach. So every path that a requester names is opened by a thread that
//! has the requester's user and group for files and no other groups (commands have no other groups either). The thread
//! is made for the purpose and ends afterwards: one that hangs, in a file system that its own user answers for, harms
//! nobody but that user, who may have a few of them at a time.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::sync::{Semaphore, oneshot};

use crate::sys::process;

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unseen {
    /// The threads of this requester are all busy.
    #[error("too many looks at files of this user are under way")]
    Busy,
    /// A file system does not answer.
    #[error("the file system did not answer in time")]
    Late,
    /// No thread, or not one of that user.
    #[error("cannot look at files as uid {uid}: {error}")]
    Failed {
        /// The user.
        uid: u32,
        /// The system's words.
        error: std::io::Error,
    },
}

/// Runs `look` as this user and group.
pub(super) async fn look_as<T: Send + 'static>(
    (uid, gid): (u32, u32),
    lookups: &Arc<Semaphore>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unseen> {
    look_within(PATIENCE, (uid, gid), lookups, look).await
}

async fn look_within<T: Send + 'static>(
    patience: Duration,
    (uid, gid): (u32, u32),
    lookups: &Arc<Semaphore>,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unseen> {
    let turn = tokio::time::timeout(patience, Arc::clone(lookups).acquire_owned());
    let turn = turn.await.ok().and_then(Result::ok).ok_or(Unseen::Busy)?;
    let (tell, seen) = oneshot::channel();
    std::thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || {
            let other = geteuid().is_root() && uid != 0;
            let became = if other { process::reach_files_as(uid, gid) } else { Ok(()) };
            // Whoever asked may have given up.
            let _ = tell.send(became.map(|()| look()));
            drop(turn);
        })
        .map_err(|error| Unseen::Failed { uid, error })?;
    match tokio::time::timeout(patience, seen).await {
        Ok(Ok(Ok(seen))) => Ok(seen),
        Ok(Ok(Err(errno))) => Err(Unseen::Failed { uid, error: errno.into() }),
        Ok(Err(_)) => Err(Unseen::Failed { uid, error: std::io::Error::other("the look panicked") }),
        Err(_) => Err(Unseen::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookups() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    #[tokio::test]
    async fn what_the_user_cannot_reach_is_not_seen() {
        if !geteuid().is_root() {
            return;
        }
        let private = tempfile::tempdir().expect("a directory");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(private.path(), mode).expect("it is ours");
        let file = private.path().join("file");
        std::fs::write(&file, "x").expect("written");
        let look = move || std::fs::metadata(&file).map(drop).map_err(|error| error.kind());
        let as_root = look_as((0, 0), &lookups(), look.clone()).await.expect("a look");
        assert_eq!(as_root, Ok(()));
        let as_other = look_as((65_534, 65_534), &lookups(), look.clone()).await.expect("a look");
        assert_eq!(as_other, Err(std::io::ErrorKind::PermissionDenied));
        // The thread is gone; nobody else has become that user.
        assert_eq!(look(), Ok(()));
    }

    #[tokio::test]
    async fn one_that_hangs_is_given_up_and_keeps_its_place() {
        let lookups = lookups();
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let soon = Duration::from_millis(50);
        let late = look_within(soon, (0, 0), &lookups, move || hang.recv()).await;
        assert!(matches!(late, Err(Unseen::Late)), "{late:?}");
        let busy = look_within(soon, (0, 0), &lookups, || ()).await;
        assert!(matches!(busy, Err(Unseen::Busy)), "{busy:?}");
        drop(release);
    }
}
