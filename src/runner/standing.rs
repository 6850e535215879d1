//! A sandbox that stands: the ground made or looked at, everything put on that all commands of a session have in common, and the
//! receipt that says so.

use std::os::fd::OwnedFd;

use super::confine::{self, LANDLOCK_HINT};
use super::failure::{Doing, Hint, Result};
use super::init::Hold;
use super::later::Watch;
use super::outer::Inside;
use super::outlive::Rendezvous;
use super::{bare, container, root};
use crate::sys::spawn::Confinement;
use crate::sys::{net, process, socket};
use crate::wire::runner::{Ground, Layer, Network, PROXY_PORT, Ready, Receipt};

/// What the receipt says a sandbox elsewhere is made by.
const LAUNCHER: &str = "launcher";

/// What the receipt says of a proxied network.
pub(super) const PROXIED: &str = "nothing but loopback, and a proxy on it to the hosts that the policy lists";

/// A sandbox that stands, as its runner has it.
pub(super) struct Standing {
    pub(super) confinement: Confinement,
    pub(super) watch: Option<Watch>,
    pub(super) ready: Ready,
    /// Where the supervisor is to serve a proxy.
    pub(super) listener: Option<OwnedFd>,
    pub(super) hold: Hold,
}

/// Puts on what all commands of the session have in common, and says what stands.
pub(super) fn set_up(inside: &mut Inside<'_>) -> Result<Standing> {
    let spec = inside.spec;
    let abi = process::landlock_abi()
        .doing("landlock", || "ask for the landlock ABI".into())
        .hint(|| LANDLOCK_HINT.into())?;
    let backend = if inside.far.is_some() { LAUNCHER } else { "jail" };
    // Its programs are the place's own: the supervisor knows nothing of them.
    let bash = inside.far.and_then(|_| container::bash());
    let (mut layers, workspace, bash, hold, backend) = match &spec.ground {
        Ground::Host => {
            let (layers, workspace) = build(inside)?;
            (layers, workspace, bash, Hold::Namespace, backend.to_owned())
        }
        // A place elsewhere has been settled: it is one of the others.
        Ground::Bare | Ground::Far(_) => {
            let workspace = bare::hold(spec)?;
            (std::mem::take(&mut inside.layers), workspace, bash, Hold::Descent, backend.to_owned())
        }
        Ground::Container(made) => {
            let container::Found { layers: found, workspace, bash } = container::look(spec, made)?;
            let mut layers = std::mem::take(&mut inside.layers);
            layers.extend(found);
            (layers, workspace, bash, Hold::Descent, made.backend.clone())
        }
    };
    let listener = match spec.network {
        Network::None | Network::Host => None,
        Network::Proxy => {
            let made = net::listen_on_loopback(PROXY_PORT);
            Some(made.doing("network", || format!("listen on port {PROXY_PORT} of the loopback"))?)
        }
    };
    if let Some(Rendezvous { socket: named, .. }) = &inside.rendezvous {
        socket::hearken(named).doing("protocol", || "listen for another supervisor".into())?;
    }
    let confinement = confine::session(inside)?;
    let watch = Watch::new(spec, workspace);
    let mut layer = |name: &str, detail: String| {
        layers.push(Layer { name: name.into(), enforced: true, detail });
    };
    if let Some((uid, _)) = spec.workspace.owner {
        layer("id-map", format!("files of uid {uid} in the workspace are the command's own"));
    }
    match hold {
        Hold::Namespace => layer("proc", "of the command's own pid namespace, other processes hidden".into()),
        Hold::Descent => layer("tree", "each command's processes are ended with it, by descent".into()),
    }
    layer("descriptors", "0, 1 and 2 only".into());
    layer(
        "rlimits",
        format!("no core files, {} open files, {} processes", spec.limits.open_files, spec.limits.processes),
    );
    layer("ids", format!("uid {} gid {}", spec.identity.uid, spec.identity.gid));
    layer("capabilities", "none, and none can be gained".into());
    layer("no-new-privs", String::new());
    layer("landlock", format!("ABI {abi}"));
    layer("seccomp", "allowlist; foreign architectures and x32 closed".into());
    let later = watch.as_ref().map_or("not looked for", |_| "looked for after each command");
    layer("later", format!("what others would execute later in the workspace is {later}"));
    Ok(Standing {
        confinement,
        watch,
        ready: Ready {
            receipt: Receipt { backend, layers },
            bash: bash.map(str::to_owned),
            home: (inside.far.is_some() && spec.ground == Ground::Bare).then(|| spec.identity.home.clone()),
            commands: Vec::new(),
        },
        listener,
        hold,
    })
}

/// Makes the session's private root, in its new namespaces on a host.
pub(super) fn build(inside: &mut Inside<'_>) -> Result<(Vec<Layer>, OwnedFd)> {
    let spec = inside.spec;
    let mut layers = std::mem::take(&mut inside.layers);
    nix::unistd::sethostname(&spec.hostname).doing("namespaces", || "name the machine".into())?;
    let mut layer = |name: &str, enforced: bool, detail: String| {
        layers.push(Layer { name: name.into(), enforced, detail });
    };
    for name in ["mount", "pid", "ipc", "uts", "cgroup"] {
        layer(&format!("{name}-namespace"), true, String::new());
    }
    if spec.network != Network::Host {
        net::loopback_up().doing("network", || "bring up the loopback interface".into())?;
    }
    match spec.network {
        Network::None => layer("network-namespace", true, "nothing but loopback".into()),
        Network::Proxy => layer("network-namespace", true, PROXIED.into()),
        Network::Host => layer("network-namespace", false, "the policy gives the host's network".into()),
    }
    let root = root::enter(spec, &inside.idmaps)?;
    layers.push(root.layer);
    Ok((layers, root.workspace))
}
