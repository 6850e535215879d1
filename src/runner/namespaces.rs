//! Namespaces of a session: which are made, with which ids, and what to say where the host forbids them.

use std::fs;
use std::os::fd::OwnedFd;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Pid, getegid, geteuid};

use super::failure::{Doing, Hint, Result};
use crate::sys::process::{self, Side};
use crate::sys::{ids, net};
use crate::wire::runner::{Failure, Identity, Network, PROXY_PORT};

/// Makes a user namespace in which this process keeps its own ids and may mount. For everyone but root.
pub(super) fn enter_user_namespace(identity: &Identity) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if (identity.uid, identity.gid) != (uid.as_raw(), gid.as_raw()) {
        return Err(Failure {
            id: None,
            layer: "user-namespace".into(),
            what: format!("become uid {} in the sandbox", identity.uid),
            error: format!("a runner without root keeps its own uid {uid}"),
            hint: String::new(),
        });
    }
    user_namespace_as((identity.uid, identity.gid))
}

/// Makes a user namespace in which this process has these ids and nobody has others, and in which it may mount.
pub(super) fn user_namespace_as(inside: (u32, u32)) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .doing("user-namespace", || "make a user namespace".into())
        .hint(why_no_user_namespace)?;
    // The files of a process that is not dumpable belong to root: proc(5).
    let _ = nix::sys::prctl::set_dumpable(true);
    // setgroups(2) must be given up before an unprivileged gid map may be written: user_namespaces(7), CVE-2014-8989.
    write_map("/proc/self/setgroups", "deny").hint(why_no_user_namespace)?;
    write_map("/proc/self/uid_map", &format!("{} {uid} 1", inside.0)).hint(why_no_user_namespace)?;
    write_map("/proc/self/gid_map", &format!("{} {gid} 1", inside.1)).hint(why_no_user_namespace)?;
    let _ = nix::sys::prctl::set_dumpable(false);
    // AppArmor on Ubuntu lets the namespace be made and then takes its capabilities away. Try one.
    unshare(CloneFlags::CLONE_NEWUTS)
        .doing("user-namespace", || "use a capability inside the user namespace".into())
        .hint(why_no_user_namespace)
}

/// The namespaces that a session gets besides the user namespace.
pub(super) fn of_session(network: Network) -> CloneFlags {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    match network {
        Network::None | Network::Proxy => all | CloneFlags::CLONE_NEWNET,
        Network::Host => all,
    }
}

/// Has `make` make a process in a network namespace of its own, and comes back. In it there is a loopback, and nothing but the
/// socket on which a proxy can be served.
pub(super) fn with_own_network<T>(make: impl FnOnce() -> nix::Result<T>) -> nix::Result<(T, OwnedFd)> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let back = open("/proc/self/ns/net", flags, nix::sys::stat::Mode::empty())?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    // Where it cannot be raised, the call that needs it fails.
    let _ = caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN);
    let up = net::loopback_up();
    let dropped = caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN);
    let listener = up.and_then(|()| {
        let listener = net::listen_on_loopback(PROXY_PORT);
        listener.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    });
    let made = listener.and_then(|listener| Ok((make()?, listener)));
    if setns(back, CloneFlags::CLONE_NEWNET).is_err() || dropped.is_err() {
        // Every later command of the session would be in that namespace, or its runner keep what it must not have.
        process::exit_now(1);
    }
    made
}

/// A user namespace that shows files of `owner` as files of `identity` and all others as they are, for an idmapped
/// mount (mount_setattr(2)), with the process that was its first and is to be waited for. Only root can make one.
pub(super) fn for_owner(owner: (u32, u32), identity: &Identity) -> Result<(OwnedFd, Pid)> {
    let doing = || format!("make a user namespace that maps uid {} to {}", owner.0, identity.uid);
    let (keep, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("id-map", doing)?;
    let side = process::clone(CloneFlags::CLONE_NEWUSER, None).doing("id-map", doing)?;
    match side {
        Side::Child => {
            // Holds the namespace until the parent has opened it and closes its end.
            drop(held);
            let _ = nix::unistd::read(&keep, &mut [0]);
            process::exit_now(0);
        }
        Side::Parent { pid, .. } => {
            let mapped = write_map(&format!("/proc/{pid}/uid_map"), &ids::map(owner.0, identity.uid))
                .and_then(|()| write_map(&format!("/proc/{pid}/gid_map"), &ids::map(owner.1, identity.gid)))
                .and_then(|()| crate::sys::mount::user_namespace(pid).doing("id-map", doing));
            // It ends by itself now. Nobody waits for that before there is time.
            drop(held);
            mapped.map(|namespace| (namespace, pid))
        }
    }
}

fn write_map(path: &str, content: &str) -> Result<()> {
    fs::write(path, content).doing("user-namespace", || format!("write {path}"))
}

/// The role of a process that makes a user namespace, says so by one byte, and holds it until its input ends: for a
/// supervisor, which has threads and can make none. Whoever started it gives it its map.
pub(super) fn hold_ids() -> i32 {
    if unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        return 1;
    }
    // The files of a process that is not dumpable belong to root of the initial namespace: proc(5).
    let _ = nix::unistd::write(std::io::stdout(), &[1]);
    let _ = nix::unistd::read(std::io::stdin(), &mut [0]);
    0
}

/// Says why namespaces cannot be made although the user namespace stands, or there is root.
pub(super) fn why_no_namespaces(root: bool) -> String {
    if !root {
        return why_no_user_namespace();
    }
    "root has no CAP_SYS_ADMIN here, as in a container: start the container with --cap-add SYS_ADMIN and a seccomp \
     profile that allows clone, unshare and mount, or run execward on the host, or as an ordinary user where user \
     namespaces are allowed"
        .into()
}

/// Says which of the host's switches forbids user namespaces, and what to do.
fn why_no_user_namespace() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let status = read("/proc/self/status");
    let filtered = status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return "AppArmor restricts unprivileged user namespaces here \
                (kernel.apparmor_restrict_unprivileged_userns = 1): install the AppArmor profile that comes with execward \
                (packaging/apparmor/execward), or run `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root, or run \
                execward as root"
            .into();
    }
    if read("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        return "unprivileged user namespaces are off here: run \
                `sysctl kernel.unprivileged_userns_clone=1` as root, or run execward as root"
            .into();
    }
    if read("/proc/sys/user/max_user_namespaces") == "0" {
        return "no user namespace may be made here (user.max_user_namespaces = 0): raise it with \
                `sysctl user.max_user_namespaces=15000` as root, or run execward as root"
            .into();
    }
    if filtered {
        return "a seccomp filter is on this process: execward runs inside a container or another sandbox that \
                forbids user namespaces; run it outside, or allow clone and unshare with CLONE_NEWUSER in that \
                sandbox's profile"
            .into();
    }
    "this host does not let an ordinary user make user namespaces, or this is a chroot, in which nobody may: see \
     user_namespaces(7), or run execward as root and outside"
        .into()
}
