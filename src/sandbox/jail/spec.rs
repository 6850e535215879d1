//! From what was asked to what the runner is told: who the commands are, and what they see.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::{Asked, LaunchError};
use super::view;
use crate::sys::ids;
use crate::wire::runner::{Ground, Identity, Later, LaterAction, SandboxSpec, View, Workspace};

/// The name of a sandbox's user where the requester is root.
const NAME: &str = "agent";

/// The name of the machine inside.
const HOSTNAME: &str = "execward";

/// Works out the sandbox for a request.
pub fn spec(asked: &Asked<'_>) -> Result<SandboxSpec, LaunchError> {
    let data = view::shipped()?;
    // A home behind a symbolic link (/home -> /var/home) is shown where it really is.
    #[allow(clippy::disallowed_methods)]
    let home = fs::canonicalize(&asked.home).unwrap_or_else(|_| asked.home.clone());
    let in_home = |paths: Vec<PathBuf>| paths.into_iter().map(|path| home.join(path)).collect::<Vec<_>>();

    let mut visible = data.system.visible;
    let mut own = in_home(data.home.visible);
    let mut masked = data.system.masked;
    masked.extend(in_home(data.home.masked));
    masked.extend(in_home(data.home.stores));
    let mut below = data.workspace.masked;
    for path in asked.masked {
        match path.strip_prefix("~/") {
            Some(rest) => masked.push(home.join(rest)),
            None if path.starts_with('/') => masked.push(path.into()),
            None => below.push(path.into()),
        }
    }
    // Both as they are named and as they are: the workspace is shown where it is, and a link may stand in the name.
    #[allow(clippy::disallowed_methods)]
    let real = asked.own_state.iter().filter_map(|path| fs::canonicalize(path).ok());
    masked.extend(asked.own_state.iter().cloned().chain(real));
    // What lies inside the workspace as it is needs no second mount, and must not become read-only by one.
    let workspace = &asked.workspace.path;
    for paths in [&mut visible, &mut own] {
        paths.retain(|path| !path.starts_with(workspace) || workspace == Path::new("/"));
    }

    let (uid, gid) = asked.requester;
    let identity = if uid == 0 {
        // One supervisor may have many sandboxes.
        static SANDBOX: AtomicU32 = AtomicU32::new(0);
        let sandbox = SANDBOX.fetch_add(1, Ordering::Relaxed);
        let id = ids::of_sandbox(std::process::id().wrapping_add(sandbox));
        Identity { uid: id, gid: id, name: NAME.into(), home }
    } else {
        Identity { uid, gid, name: asked.user.into(), home }
    };
    let owner = (uid == 0).then_some(asked.workspace.owner);
    let frozen = match asked.later {
        LaterAction::Allow => Vec::new(),
        LaterAction::SetAside | LaterAction::Report => {
            [data.workspace.frozen, data.workspace.nested.clone()].concat()
        }
    };
    Ok(SandboxSpec {
        ground: Ground::Host,
        identity,
        workspace: Workspace {
            path: workspace.clone(),
            id: asked.workspace.id,
            writable: asked.writable,
            owner,
            masked: below,
            frozen,
            later: Later {
                action: asked.later,
                nested: data.workspace.nested,
                reported: data.workspace.reported,
                settings: data.workspace.settings,
            },
        },
        view: View { visible, own, owner: (uid == 0).then_some(asked.requester), masked, agent_socket: None },
        network: asked.network,
        limits: asked.limits.clone(),
        hostname: HOSTNAME.into(),
        minimum: asked.minimum,
        outlives_ms: 0,
    })
}
