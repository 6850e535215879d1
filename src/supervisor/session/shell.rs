//! What a session keeps from one shell command to the next: the directory and the exported variables.
//!
//! A shell says both at its end, and may say anything. They are taken as data: the directory is opened like one that the client
//! names, and variables go through the filter like those that the client sends, every time. What they are is part of what the
//! next command is judged by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::ground::elsewhere;
use super::look::look_as;
use super::{Peer, Session};
use crate::prepare::directory;
use crate::wire::rpc::StartExec;
use crate::wire::runner::ShellState;

/// The state of a session's shell. Nothing in it before a command has left something.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Shell {
    /// Where it is; the workspace where it says nothing.
    pub(super) cwd: Option<PathBuf>,
    /// All that it exports.
    pub(super) env: BTreeMap<String, String>,
}

/// Said where a shell was silent.
const SILENT: &str = "the shell did not say its directory and variables (it was ended, executed something in its place, has a \
    trap for EXIT, or exports too much): the session keeps those from before";

impl Session {
    /// Where a command begins that goes on where the last one ended.
    pub(super) fn shell(&self, asked: &StartExec) -> Shell {
        if asked.persist { self.kept().clone() } else { Shell::default() }
    }

    /// Where a shell command that goes on starts.
    pub(super) fn kept_cwd(&self) -> String {
        self.kept().cwd.as_ref().map_or_else(|| self.workspace_path.clone(), |cwd| cwd.display().to_string())
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Shell> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a shell has said; what a person should know of it.
    pub(super) async fn keep(&self, peer: &Peer, said: Option<ShellState>) -> Option<String> {
        let Some(ShellState { mut env }) = said else { return Some(SILENT.to_owned()) };
        let cwd = env.remove("PWD").map(PathBuf::from);
        let roots = Arc::clone(&self.workspace);
        let far = self.spec.is_far();
        let look = move || match cwd {
            Some(cwd) if far => elsewhere(&cwd, roots.as_slice()).map(|directory| directory.path),
            Some(cwd) => directory::open(&cwd, roots.as_slice()).map(|directory| directory.path),
            None => Ok(roots[0].directory().path.clone()),
        };
        let looked = look_as((peer.uid, peer.gid), &self.account.lookups, look).await;
        let looked = looked.map_err(|error| error.to_string());
        let looked = looked.and_then(|looked| looked.map_err(|error| error.to_string()));
        let mut shell = self.kept();
        shell.env = env;
        let left = looked.map(|cwd| shell.cwd = Some(cwd));
        if let Some(keepsake) = &self.keepsake {
            keepsake.keep_shell(&shell);
        }
        match left {
            Ok(()) => None,
            Err(error) => {
                let stays = shell.cwd.as_ref().map(|cwd| cwd.display().to_string());
                let stays = stays.unwrap_or_else(|| self.workspace_path.clone());
                Some(format!("the shell's directory is not kept, the next one starts in {stays}: {error}"))
            }
        }
    }
}
