//! What commands shall not have, taken away once for the session where every process inherits the loss, and put
//! together for [`crate::sys::spawn`] where each command must lose it by itself.

use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::failure::{Doing, Hint, Result};
use super::outer::Inside;
use super::{bare, container, seccomp};
use crate::sys::process;
use crate::sys::spawn::Confinement;
use crate::wire::runner::{AGENT_SOCKET, Ground, Network, SandboxSpec};

/// The newest landlock ABI whose rights are asked for. What an older kernel lacks is left out, and the receipt says
/// which ABI holds.
const LANDLOCK: ABI = ABI::V9;

/// Takes from the runner itself what no command may have either, and prepares the rest. Runs once the root stands.
pub(super) fn session(inside: &mut Inside<'_>) -> Result<Confinement> {
    let spec = inside.spec;
    // While the runner may still look into every directory.
    let ruleset = ruleset(spec)?;
    limit(spec)?;
    // An ordinary user that has made no namespace has none, and may drop none.
    if inside.privileged || spec.ground != Ground::Bare {
        drop_capabilities_for_good()?;
    }
    nix::sys::prctl::set_no_new_privs().doing("no-new-privs", || "set no_new_privs".into())?;
    match spec.ground {
        Ground::Host => keep_only_what_a_runner_needs()?,
        Ground::Bare | Ground::Container(_) | Ground::Far(_) => container::keep_only_what_is_needed()?,
    }
    let (uid, gid) = (spec.identity.uid, spec.identity.gid);
    if uid == 0 || gid == 0 {
        return Err(Errno::EINVAL).doing("ids", || "run commands as uid or gid 0".into());
    }
    let filter = match (&spec.ground, spec.network) {
        (Ground::Bare, Network::Host) => seccomp::ONLINE,
        (Ground::Bare, _) => seccomp::OFFLINE,
        _ => seccomp::FILTER,
    };
    Ok(Confinement { ids: (uid, gid), drop_groups: inside.privileged, ruleset, filter })
}

pub(super) fn limit(spec: &SandboxSpec) -> Result<()> {
    let set = |resource: Resource, value: u64| {
        let (_, hard) = getrlimit(resource).unwrap_or((value, value));
        // Only root may raise a hard limit; a lower one that already holds is as good.
        let value = value.min(hard);
        setrlimit(resource, value, value).doing("rlimits", || format!("set {resource:?} to {value}"))
    };
    // Not 0: that stops core files only, not cores piped to a program of the host (core(5), `|` in core_pattern), which
    // would run as root on what a command made. The kernel takes 1 for a helper of its own that crashed, and writes none.
    set(Resource::RLIMIT_CORE, 1)?;
    // A host may allow its users more of these; a command needs none.
    set(Resource::RLIMIT_RTPRIO, 0)?;
    set(Resource::RLIMIT_NICE, 0)?;
    set(Resource::RLIMIT_NOFILE, spec.limits.open_files)?;
    // Of all processes of a user, where there is no namespace of users: those that it has do not count.
    let others = if spec.ground == Ground::Bare { bare::tasks_of(spec.identity.uid) } else { 0 };
    set(Resource::RLIMIT_NPROC, spec.limits.processes.saturating_add(others))?;
    if let Some(size) = spec.limits.file_size {
        set(Resource::RLIMIT_FSIZE, size)?;
    }
    Ok(())
}

/// Empties the bounding and ambient sets and locks the secure bits: nothing that is executed can gain a capability.
pub(super) fn drop_capabilities_for_good() -> Result<()> {
    let what = || "drop the capability bounding set".to_owned();
    // By number until the kernel knows no more: one that this build has no name for must go as well.
    for capability in 0..64 {
        match Errno::result(process::drop_from_bounding_set(capability)) {
            Err(Errno::EINVAL) => break,
            other => other.map(drop).doing("capabilities", what)?,
        }
    }
    caps::clear(None, CapSet::Ambient).doing("capabilities", || "drop ambient capabilities".into())?;
    process::lock_secure_bits().doing("capabilities", || "lock the secure bits".into())
}

/// A runner makes namespaces and mounts for commands, gives them their ids, and ends them.
fn keep_only_what_a_runner_needs() -> Result<()> {
    let doing = || "drop the capabilities that a runner does not need".to_owned();
    let keep = CapsHashSet::from([
        Capability::CAP_SYS_ADMIN,
        Capability::CAP_SETUID,
        Capability::CAP_SETGID,
        Capability::CAP_KILL,
    ]);
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).doing("capabilities", doing)?;
    caps::set(None, CapSet::Effective, &keep).doing("capabilities", doing)?;
    // Raised for a moment: the first to look at the workspace as commands do ([`super::later`]), the other to bring up the loopback
    // of one command ([`super::namespaces::with_own_network`]).
    let mut permitted = keep;
    permitted.extend([Capability::CAP_DAC_OVERRIDE, Capability::CAP_NET_ADMIN]);
    caps::set(None, CapSet::Permitted, &permitted).doing("capabilities", doing)
}

/// Landlock over the mount view: what is read-only there is read-only here too, so that each holds alone. Nothing below
/// /proc can be written.
pub(super) fn ruleset(spec: &SandboxSpec) -> Result<std::os::fd::OwnedFd> {
    let doing = || "restrict the file system with landlock".to_owned();
    let all = AccessFs::from_all(LANDLOCK);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let bare = spec.ground == Ground::Bare;
    let shown = if bare { bare::shown(spec) } else { Vec::new() };
    let mut rules: Vec<(&Path, BitFlags<AccessFs>)> = if bare {
        shown.iter().map(|(path, access)| (path.as_path(), *access & AccessFs::from_all(LANDLOCK))).collect()
    } else {
        vec![
            (Path::new("/"), AccessFs::from_read(LANDLOCK)),
            (Path::new("/dev"), devices),
            (Path::new("/dev/shm"), all),
            (Path::new("/run"), all),
            (Path::new("/tmp"), all),
            (Path::new("/var/tmp"), all),
        ]
    };
    rules.push((&spec.identity.home, all));
    if spec.workspace.writable {
        rules.push((&spec.workspace.path, all));
    }
    if spec.view.agent_socket.is_some() {
        rules.push((
            Path::new(AGENT_SOCKET),
            AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ResolveUnix,
        ));
    }
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .doing("landlock", doing)?
        .scope(Scope::from_all(LANDLOCK))
        .doing("landlock", doing)?;
    if bare && spec.network == Network::None {
        ruleset = ruleset.handle_access(AccessNet::from_all(LANDLOCK)).doing("landlock", doing)?;
    }
    let mut ruleset = ruleset.create().doing("landlock", doing)?;
    for (path, access) in rules {
        let fd = PathFd::new(path).doing("landlock", || format!("open {}", path.display()))?;
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access)).doing("landlock", doing)?;
    }
    Option::from(ruleset).ok_or(Errno::ENOSYS).doing("landlock", doing).hint(|| LANDLOCK_HINT.into())
}

/// What to do where there is no landlock.
pub(super) const LANDLOCK_HINT: &str = "execward does not run commands without landlock: use Linux 5.13 or later \
    with landlock among the security modules (`lsm=` on the kernel command line, /sys/kernel/security/lsm)";
