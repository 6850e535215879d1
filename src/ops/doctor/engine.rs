//! The engine for containers: whether it is there for those who want it, who may use it, and whether it has their images.
//!
//! Nobody has to have one. Where neither configuration nor policy asks for it, an engine that is missing or silent is as good as any;
//! who may use one is looked at all the same, since that is root.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, Group, Uid, User, access};
use tokio::time::timeout;

use super::{Check, Examined, PATIENCE};
use crate::policy::{Backend, Policy};
use crate::sandbox::docker::{About, DockerError, Engine, Options, is_name};
use crate::supervisor::{Configured, load_policy, load_policy_alone, well_kept};

const NAME: &str = "engine";
const SOCKET: &str = "engine-socket";
const IMAGE: &str = "engine-image";

/// Where podman listens, which speaks the same protocol.
const PODMAN: &str = "/run/podman/podman.sock";

/// How long an engine may take for one answer: it is busier than a daemon of ours.
const ENGINE: Duration = PATIENCE;

/// An engine of this machine, and those who want it.
#[derive(Debug)]
struct Wanted {
    socket: PathBuf,
    /// In words; empty where nobody does.
    by: Vec<String>,
    /// Images, each with whoever wants it.
    images: Vec<(String, String)>,
}

pub(super) fn checks(examined: &Examined<'_>, configured: Option<&Configured>) -> Vec<Check> {
    let nothing = Configured::default();
    let configured = configured.unwrap_or(&nothing);
    let local = examined.local;
    let uid = local.principal.uid;
    let containers = local.directories.containers();
    let policy = match &examined.policy {
        Some(path) => load_policy_alone(path, uid),
        None => load_policy(None, &local.directories, uid),
    };
    // A policy that cannot be read is a failure of its own.
    let policy = policy.ok();
    let mut checks = Vec::new();
    for wanted in engines(configured, policy.as_deref(), &containers) {
        checks.extend(look(&wanted, &configured.agents, &local.principal.name, &containers));
    }
    let elsewhere: Vec<&str> = configured
        .engines
        .launchers
        .iter()
        .filter(|(_, socket, _)| socket.is_none())
        .map(|(name, ..)| name.as_str())
        .collect();
    if !elsewhere.is_empty() {
        checks.push(Check::ok(
            NAME,
            format!("of other machines, which are not asked: {}", elsewhere.join(", ")),
        ));
    }
    checks
}

/// This machine's engine first, then those that launchers name by a socket.
fn engines(configured: &Configured, policy: Option<&Policy>, containers: &Path) -> Vec<Wanted> {
    let socket = configured.engines.socket.clone().unwrap_or_else(|| Options::local(containers).socket);
    let mut own =
        Wanted { socket, by: configured.engines.wanted.iter().cloned().collect(), images: Vec::new() };
    if let Some(policy) = policy {
        if let Some(image) = &policy.choice.image {
            own.by.push(format!("the policy offers containers of {image}"));
            own.images.push((image.clone(), "[sandbox] of the policy".to_owned()));
        }
        if let Some(Backend::Docker(image)) = &policy.choice.backend {
            own.by.push("the policy's backend is docker".to_owned());
            own.images.push((image.clone(), "[sandbox] of the policy".to_owned()));
        }
        for profile in policy.profiles() {
            if let Backend::Docker(image) = &profile.backend {
                own.by.push(format!("the profile {} is of containers", profile.name));
                own.images.push((image.clone(), format!("the profile {}", profile.name)));
            }
        }
    }
    let mut all = vec![own];
    for (name, socket, image) in &configured.engines.launchers {
        let Some(socket) = socket else { continue };
        let by = format!("the launcher {name}");
        let place = match all.iter().position(|wanted| wanted.socket == *socket) {
            Some(place) => place,
            None => {
                all.push(Wanted { socket: socket.clone(), by: Vec::new(), images: Vec::new() });
                all.len() - 1
            }
        };
        if let Some(wanted) = all.get_mut(place) {
            wanted.images.push((image.clone(), by.clone()));
            wanted.by.push(by);
        }
    }
    for wanted in &mut all {
        wanted.images.sort();
        wanted.images.dedup_by(|next, before| next.0 == before.0);
    }
    all
}

fn look(wanted: &Wanted, agents: &[String], own: &str, containers: &Path) -> Vec<Check> {
    let shown = wanted.socket.display();
    let means = || format!("no container is made, and it is wanted: {}", wanted.by.join("; "));
    let Ok(about) = fs::metadata(&wanted.socket) else {
        if wanted.by.is_empty() {
            return vec![Check::ok(NAME, format!("none at {shown}, and nothing asks for one"))];
        }
        let mend = if Path::new(PODMAN).exists() {
            format!("systemctl start docker, or under [docker] of execward.toml: socket = \"{PODMAN}\"")
        } else {
            "systemctl start docker, or name its socket under [docker] of execward.toml".to_owned()
        };
        return vec![Check::failure(NAME, format!("none at {shown}"), means(), mend)];
    };
    if !about.file_type().is_socket() {
        let found = format!("{shown} is no socket");
        return vec![if wanted.by.is_empty() {
            Check::ok(NAME, format!("{found}, and nothing asks for one"))
        } else {
            Check::failure(NAME, found, means(), "name the engine's socket under [docker] of execward.toml")
        }];
    }
    let mut checks = vec![reach(&wanted.socket, &about, agents, own)];
    if access(&wanted.socket, AccessFlags::W_OK).is_err() {
        let found = format!("{shown} may not be used by uid {}", nix::unistd::geteuid());
        checks.push(if wanted.by.is_empty() {
            Check::ok(NAME, format!("{found}, and nothing asks for it"))
        } else {
            let mend =
                "have a daemon of root serve, which may use it, and not this user: whoever may is root";
            Check::failure(NAME, found, means(), mend)
        });
        return checks;
    }
    checks.extend(ask(wanted, containers));
    checks
}

/// Who may use it: that is root, unless the engine is an ordinary user's.
fn reach(socket: &Path, about: &fs::Metadata, agents: &[String], own: &str) -> Check {
    let shown = socket.display();
    let means =
        "whoever may use the engine may do all that its user may on this machine, and execward is not asked";
    let mode = about.mode();
    if mode & 0o002 != 0 {
        return Check::failure(
            SOCKET,
            format!("{shown} may be used by everybody (mode {:03o})", mode & 0o777),
            means,
            format!("chmod o-w {shown}"),
        );
    }
    let owner = about.uid();
    if let Err(why) = well_kept(socket.parent().unwrap_or(Path::new("/")), owner) {
        return Check::failure(
            SOCKET,
            why,
            "whoever can put a socket there is the engine that execward believes",
            "chmod go-w what is named",
        );
    }
    let user = User::from_uid(Uid::from_raw(owner)).ok().flatten().map(|user| user.name);
    let group = Group::from_gid(about.gid().into()).ok().flatten().filter(|_| mode & 0o020 != 0);
    let mut found: Vec<&String> = agents
        .iter()
        .filter(|agent| {
            // Root needs no engine to be root, and who runs execward is no other than who has the engine.
            (owner != 0 && *agent != own && Some(*agent) == user.as_ref())
                || group.as_ref().is_some_and(|group| group.mem.contains(agent))
        })
        .collect();
    found.dedup();
    let group = group.map_or_else(|| "nobody else".to_owned(), |group| format!("group {}", group.name));
    if found.is_empty() {
        return Check::ok(SOCKET, format!("{shown}, for uid {owner} and {group}"));
    }
    let names: Vec<&str> = found.into_iter().map(String::as_str).collect();
    Check::warning(
        SOCKET,
        format!("{shown} may be used by agents: {}", names.join(", ")),
        means,
        "gpasswd -d AGENT GROUP, or run agents as a user of their own",
    )
}

/// Asks the engine itself: how it is, and for the images.
fn ask(wanted: &Wanted, containers: &Path) -> Vec<Check> {
    let shown = wanted.socket.display();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return Vec::new();
    };
    let engine = Engine::new(Options { socket: wanted.socket.clone(), ..Options::local(containers) });
    // A time is one of the loop's that is there when it begins.
    let asked = runtime.block_on(async { timeout(ENGINE, engine.about()).await });
    let late = || (format!("{shown} does not answer in time"), "systemctl restart docker".to_owned());
    let about = match asked.map_or_else(|_| Err(late()), |said| said.map_err(|e| (e.to_string(), e.hint()))) {
        Ok(about) => about,
        Err((found, _)) if wanted.by.is_empty() => {
            return vec![Check::ok(NAME, format!("{found}; nothing asks for it"))];
        }
        Err((found, mend)) => {
            let means = format!("no container is made, and it is wanted: {}", wanted.by.join("; "));
            return vec![Check::failure(NAME, found, means, mend)];
        }
    };
    let mut checks = vec![how(&about, &wanted.socket)];
    for (image, by) in &wanted.images {
        let asked = if is_name(image) {
            runtime.block_on(async { timeout(ENGINE, engine.image(image)).await })
        } else {
            Ok(Err(DockerError::BadImage(image.clone())))
        };
        let (found, mend) =
            match asked.map_or_else(|_| Err(late()), |s| s.map_err(|e| (e.to_string(), e.hint()))) {
                Ok(is) => {
                    checks.push(Check::ok(IMAGE, format!("{image}, {}", is.id)));
                    continue;
                }
                Err(error) => error,
            };
        checks.push(Check::failure(IMAGE, found, format!("{by} wants it: its commands do not run"), mend));
    }
    checks
}

fn how(about: &About, socket: &Path) -> Check {
    let root = match (about.rootless, about.remapped) {
        (true, _) => "rootless",
        (false, true) => "root of a container is another user here (userns-remap)",
        (false, false) => "root of a container is root here until execward has made it another user",
    };
    let found = format!("version {} (API {}) at {}: {root}", about.version, about.api, socket.display());
    if about.unlimited.is_empty() {
        return Check::ok(NAME, found);
    }
    Check::warning(
        NAME,
        format!("{found}; it cannot limit {}", about.unlimited.join(", ")),
        "limits on the whole of a container are not enforced; each process has its own",
        "give the engine these cgroup controllers (for a rootless one, systemd: Delegate=yes)",
    )
}
