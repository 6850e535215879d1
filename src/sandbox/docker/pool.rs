//! Containers that wait: made ahead for a sandbox that was asked for before, each used by one session and by no other.
//!
//! What a container is mounted with is fixed when it is made, so one that waits is for one workspace, and for the very sandbox
//! that was asked for: image by digest, limits, network, what is hidden and frozen. Before it is taken it is looked at again,
//! from the engine's side and in the workspace: a file that is to be hidden and was not there when it was made would show.
//! Its runner waits for the frame that opens a session, and has looked at nothing: what it takes note of then is of that
//! moment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sha2::{Digest as _, Sha256};

use super::launch::{self, Running};
use super::{Engine, Made};
use crate::prepare::Directory;
use crate::wire::runner::{Identity, SandboxSpec};

/// Made again in place of one that was taken no sooner than this: whoever has just opened a session is to run commands.
const REST: Duration = Duration::from_millis(300);

/// One that waits.
#[derive(Debug)]
pub(super) struct Idle {
    /// The image's digest, and the sandbox as it was asked for.
    key: Key,
    stream: std::os::unix::net::UnixStream,
    running: Running,
    /// As it was made: with the user that it was made for, and what its runner is to find.
    spec: SandboxSpec,
    since: Instant,
}

/// What one must have been made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    image: String,
    spec: SandboxSpec,
}

impl Key {
    /// For this sandbox in an image with this digest.
    pub(super) fn new(image: &str, spec: &SandboxSpec) -> Self {
        let mut spec = spec.clone();
        if spec.workspace.owner.is_some() {
            // Chosen for each sandbox of root's, and nobody's name.
            spec.identity = Identity { uid: 0, gid: 0, ..spec.identity };
        }
        Self { image: image.to_owned(), spec }
    }

    /// For whoever looks at containers: two with the same are for the same sandbox.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new_with_prefix(&self.image);
        hash.update(serde_json::to_vec(&self.spec).unwrap_or_default());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A container with a runner, as it is handed on.
pub(super) type Launched = (std::os::unix::net::UnixStream, Running, SandboxSpec);

/// Those that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    idle: Vec<Idle>,
    /// Being made.
    making: Vec<Key>,
    /// No more are kept.
    closed: bool,
}

impl Pool {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out one for this sandbox.
    fn pick(&self, key: &Key) -> Option<Idle> {
        let mut state = self.state();
        let at = state.idle.iter().position(|idle| idle.key == *key)?;
        Some(state.idle.remove(at))
    }

    /// Takes out those that have waited too long, and all of them at the end.
    fn stale(&self, age: Duration) -> Vec<Idle> {
        let mut state = self.state();
        let (old, young) = state.idle.drain(..).partition(|idle| idle.since.elapsed() >= age);
        state.idle = young;
        old
    }

    /// Takes out all of them, and takes in no more.
    pub(super) fn close(&self) -> Vec<Idle> {
        let mut state = self.state();
        state.closed = true;
        std::mem::take(&mut state.idle)
    }
}

/// Takes one that waits, if it is still what it was made to be.
pub(super) async fn take(docker: &Docker, of: &Engine, key: &Key, workspace: &Directory) -> Option<Launched> {
    let idle = of.pool().pick(key)?;
    match fit(docker, &idle, workspace).await {
        Ok(()) => {
            let Idle { stream, running, spec, .. } = idle;
            Some((stream, running, spec))
        }
        Err(why) => {
            tracing::debug!(why, "a container that waited is not used");
            None
        }
    }
}

async fn fit(docker: &Docker, idle: &Idle, workspace: &Directory) -> Result<(), &'static str> {
    let fd = std::os::fd::AsFd::as_fd(&idle.stream);
    // Nothing is said before a session is opened: whatever is there to be read is the end.
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) {
        Ok(0) => {}
        _ => return Err("its runner has gone"),
    }
    if !idle.running.holds(&idle.spec, workspace) {
        return Err("what is hidden or frozen in the workspace is different now");
    }
    idle.running.look(docker).await.map(drop)
}

/// Makes one for the next session with this sandbox, where there is room for it.
pub(super) async fn refill(docker: Docker, of: Engine, spec: SandboxSpec, made: Made, workspace: Directory) {
    let (most, age) = (of.options().pool, of.options().pool_idle);
    if most == 0 {
        return;
    }
    tokio::time::sleep(REST).await;
    let Ok(image) = super::images::inspect(&docker, &of, &made.image).await else { return };
    let key = Key::new(image.id.as_deref().unwrap_or_default(), &spec);
    let mut over = of.pool().stale(age);
    {
        let mut state = of.pool().state();
        let there = state.idle.iter().map(|idle| &idle.key).chain(&state.making).any(|other| *other == key);
        if there || state.closed || state.making.len() >= most {
            return;
        }
        state.making.push(key.clone());
        while state.idle.len() + state.making.len() > most && !state.idle.is_empty() {
            over.push(state.idle.remove(0));
        }
    }
    discard(over).await;
    let container = launch::make(&docker, &of, spec, &image, &workspace).await;
    let mut left = None;
    {
        let mut state = of.pool().state();
        state.making.retain(|other| *other != key);
        match container {
            Ok((stream, running, spec)) => {
                let idle = Idle { key, stream, running, spec, since: Instant::now() };
                if state.closed {
                    left = Some(idle);
                } else {
                    state.idle.push(idle);
                }
            }
            Err(error) => tracing::debug!(%error, "no container waits for the next session"),
        }
    }
    discard(left).await;
    // One that nobody has taken in time goes, whether or not another is made.
    tokio::time::sleep(age).await;
    discard(of.pool().stale(age)).await;
}

/// Removes containers. Their end is asked of the engine's own thread, which must not wait for itself.
async fn discard(idle: impl IntoIterator<Item = Idle>) {
    for idle in idle {
        let _ = tokio::task::spawn_blocking(move || drop(idle)).await;
    }
}
