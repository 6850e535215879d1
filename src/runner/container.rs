//! The ground of a runner that an engine has started in a container of its own: what the engine was to have made is looked
//! at from inside, before any command is there. What is missing is no sandbox.
//!
//! In there the runner makes no namespace and no mount. It is root with three capabilities, to become another user for
//! each command and to end what that user started; a fourth, with which it drops the rest for good, goes with them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid, getpid};

use super::cgroup::cpu_layer;
use super::evidence::Counters;
use super::failure::{Doing, Hint, Result};
use super::standing::PROXIED;
use crate::sys::{mount, process};
use crate::wire::runner::{Container, Failure, FileId, Layer, Network, SandboxSpec};

/// Where a bash may be in an image. Fixed places: a PATH that an agent can write must not choose the interpreter.
const BASH: [&str; 3] = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"];

/// Sockets by which an engine can be had, and with it the host.
const ENGINES: [&str; 6] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
];

/// CAP_KILL, CAP_SETGID, CAP_SETUID, and CAP_SETPCAP with which the rest is dropped for good, and itself: capabilities(7).
const KEPT: u64 = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;

/// What was found to stand.
pub(super) struct Found {
    pub(super) layers: Vec<Layer>,
    pub(super) workspace: OwnedFd,
    pub(super) bash: Option<&'static str>,
}

/// Looks. Nothing is changed.
pub(super) fn look(spec: &SandboxSpec, container: &Container) -> Result<Found> {
    let mut layers = Vec::new();
    let mut layer = |name: &str, detail: String| {
        layers.push(Layer { name: name.into(), enforced: true, detail });
    };
    let privileged = geteuid().is_root();
    if getpid().as_raw() != 1 {
        return Err(not_so("pid-namespace", "be process 1 of the container", "it has an init of its own"));
    }
    let status = fs::read_to_string("/proc/self/status")
        .doing("container", || "read /proc/self/status".into())
        .hint(|| "the engine must mount /proc in the container".into())?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    let permitted = u64::from_str_radix(field("CapPrm"), 16).unwrap_or(u64::MAX);
    let bounding = u64::from_str_radix(field("CapBnd"), 16).unwrap_or(u64::MAX);
    if (permitted | bounding) & !KEPT != 0 {
        let error = format!("it has {:x}, of which only {KEPT:x} was asked for", permitted | bounding);
        return Err(not_so("capabilities", "have few capabilities in the container", &error));
    }
    if field("NoNewPrivs") != "1" {
        return Err(not_so("no-new-privs", "have no_new_privs in the container", "it is not set"));
    }
    if field("Seccomp") != "2" {
        return Err(not_so("seccomp", "have a seccomp filter on the container", "there is none"));
    }
    let root = statvfs("/").doing("root", || "look at the container's root".into())?;
    if !root.flags().contains(FsFlags::ST_RDONLY) {
        return Err(not_so("root", "have a read-only root in the container", "it can be written"));
    }
    layer("container", "one for this session, compared with what was asked for".into());
    layer("pid-namespace", "one for the session: its commands see each other's names, and no others".into());
    layer("private-root", "the image's, read-only; nothing of the host but the workspace".into());
    layer("engine-seccomp", "execward's profile".into());
    layers.extend(limits(spec));
    for socket in ENGINES {
        if access(socket, AccessFlags::F_OK).is_ok() {
            return Err(not_so(
                "container",
                "keep engines out of the container",
                &format!("{socket} is in it"),
            ));
        }
    }
    layers.push(network(spec)?);
    for (path, id) in &container.mounts {
        same(path, *id, OFlag::empty())?;
    }
    let workspace = same(&spec.workspace.path, spec.workspace.id, OFlag::O_DIRECTORY)?;
    if !privileged && spec.identity.uid != geteuid().as_raw() {
        return Err(not_so(
            "ids",
            &format!("become uid {}", spec.identity.uid),
            "the runner is not root here",
        ));
    }
    Ok(Found { layers, workspace, bash: bash() })
}

/// The bash that there is.
pub(super) fn bash() -> Option<&'static str> {
    BASH.into_iter().find(|path| access(*path, AccessFlags::X_OK).is_ok())
}

/// The container's own groups: one on v2, one for each controller on v1.
const CGROUPS: [&str; 4] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu"];

/// Where it is read what the kernel refused to the container.
pub(super) fn counters() -> Counters {
    Counters::open(&CGROUPS.map(Into::into))
}

/// Whether the container's memory has a limit, and its processors where they are to have one, as it is seen from inside.
fn limits(spec: &SandboxSpec) -> Vec<Layer> {
    let limits = &spec.limits;
    let mut layers = Vec::new();
    let name = "cgroup".to_owned();
    let read =
        |file: &str| CGROUPS.iter().find_map(|group| fs::read_to_string(format!("{group}/{file}")).ok());
    let found = read("memory.max").or_else(|| read("memory.limit_in_bytes"));
    let most = found.and_then(|text| text.trim().parse::<u64>().ok());
    if most.is_some_and(|most| most <= limits.memory) {
        let detail = format!("{} for all commands of the session together", limits.together());
        layers.push(Layer { name, enforced: true, detail });
    } else {
        layers.push(Layer { name, enforced: false, detail: UNSEEN.replace("{}", "memory") });
    }
    if let Some(quota) = limits.quota() {
        // `QUOTA PERIOD` on v2, of which the engine has chosen neither; `-1` on v1 and `max` on v2 are no limit.
        let found = read("cpu.max").or_else(|| read("cpu.cfs_quota_us"));
        let most =
            found.and_then(|text| text.split_whitespace().next().and_then(|most| most.parse::<u64>().ok()));
        let seen = most.is_some_and(|most| most <= quota);
        layers.push(cpu_layer(limits, (!seen).then(|| UNSEEN.replace("{}", "processors"))));
    }
    layers
}

const UNSEEN: &str = "the engine says that it limits {}, and nothing of it is seen in the container";

/// The only interface is loopback, where nothing else was asked for.
fn network(spec: &SandboxSpec) -> Result<Layer> {
    let name = "network-namespace".to_owned();
    if spec.network == Network::Host {
        return Ok(Layer { name, enforced: false, detail: "the policy gives a network".into() });
    }
    let devices =
        fs::read_to_string("/proc/self/net/dev").doing("network", || "list the interfaces".into())?;
    let interfaces = devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    // Tunnels that a kernel module puts into each namespace are down, and nobody in here can bring them up.
    let up = |name: &&str| {
        let flags = fs::read_to_string(format!("/sys/class/net/{name}/flags")).unwrap_or_default();
        u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 != 0)
    };
    let others: Vec<&str> = interfaces.filter(|name| *name != "lo").filter(up).collect();
    if others.is_empty() {
        let proxied = spec.network == Network::Proxy;
        let detail = if proxied { PROXIED } else { "nothing but loopback" };
        return Ok(Layer { name, enforced: true, detail: detail.into() });
    }
    Err(not_so("network", "have no network in the container", &format!("there is {}", others.join(", "))))
}

/// Opens what stands at `path`, through no link, and makes sure that it is what was mounted.
pub(super) fn same(path: &Path, id: FileId, flags: OFlag) -> Result<OwnedFd> {
    let what = || format!("find {} in the container", path.display());
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd = openat2(AT_FDCWD, path, how).doing("workspace", what)?;
    let (dev, ino) = mount::file_id(&fd).doing("workspace", what)?;
    if (FileId { dev, ino }) == id {
        return Ok(fd);
    }
    Err(Failure {
        hint: "it was replaced while the container was made, or the engine does not see execward's mounts: then both must run in \
               one mount namespace"
            .into(),
        ..not_so("workspace", &what(), "something else stands there than what was checked")
    })
}

/// A command that was approved with less than its session has needs namespaces of its own.
pub(super) fn cannot_set_apart() -> Failure {
    Failure {
        id: None,
        layer: "apart".into(),
        what: "set the command apart as it was approved".into(),
        error: "the session's commands share what is around them".into(),
        hint: "a command that is approved with less than its session has, or with its scripts held, runs in the jail: \
               open a session with the backend `jail`"
            .into(),
    }
}

fn not_so(layer: &str, what: &str, error: &str) -> Failure {
    Failure {
        id: None,
        layer: layer.into(),
        what: what.into(),
        error: error.into(),
        hint: "the engine did not make the container as it was asked to".into(),
    }
}

/// Keeps what a runner in a container needs, where it has it.
pub(super) fn keep_only_what_is_needed() -> Result<()> {
    let doing = || "drop the capabilities that a runner does not need".to_owned();
    if geteuid().is_root() {
        process::keep_capabilities_of_an_init().doing("capabilities", doing)
    } else {
        caps::clear(None, caps::CapSet::Permitted).doing("capabilities", doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_at_a_path_is_what_was_mounted_there() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        for name in ["one", "two"] {
            fs::create_dir(place.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("one", place.join("link")).unwrap();
        let (dev, ino) = mount::file_id(fs::File::open(place.join("one")).unwrap()).unwrap();
        let one = FileId { dev, ino };
        assert!(same(&place.join("one"), one, OFlag::O_DIRECTORY).is_ok());
        for other in ["two", "link", "missing"] {
            assert!(same(&place.join(other), one, OFlag::O_DIRECTORY).is_err(), "{other}");
        }
    }
}
