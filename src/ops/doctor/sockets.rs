//! The daemon's sockets: whose they are, who may reach and replace them, and whether somebody is behind them.
//!
//! Who can replace a socket takes the commands of agents in the daemon's place, or answers for operators. No wait here is longer
//! than a moment: a daemon that hangs is a finding, and not a doctor that hangs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::{Check, Examined, PATIENCE};
use crate::client::{Client, ClientError, Connection};
use crate::supervisor::{Layout, Place, well_kept};

/// What says that systemd is to have sockets and daemon.
const WANTED: [&str; 2] = [
    "/etc/systemd/system/sockets.target.wants/execward-agent.socket",
    "/etc/systemd/system/multi-user.target.wants/execward.service",
];

const DIRECTORY: &str = "socket-directory";
const REPLACES: &str =
    "whoever can put a socket there is given agents' commands, and answers operators, in the daemon's place";

/// What one of the sockets is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Agents,
    Operators,
    Metrics,
}

impl For {
    fn name(self) -> &'static str {
        match self {
            Self::Agents => "agent-socket",
            Self::Operators => "operator-socket",
            Self::Metrics => "metrics-socket",
        }
    }

    /// What it means where too many may use it.
    fn loose(self) -> &'static str {
        match self {
            Self::Agents => "who may not have commands run is refused by the daemon alone",
            Self::Operators => "who may not answer for agents is refused by the daemon alone",
            Self::Metrics => "whoever may open it reads the metrics: nothing else is asked there",
        }
    }
}

pub(super) fn checks(examined: &Examined<'_>) -> Vec<Check> {
    let named = examined.sockets.as_deref();
    let layouts = Layout::standing(examined.local, named);
    let own = examined.local.principal.uid;
    let mut checks = Vec::new();
    for layout in &layouts {
        // systemd's are the system's; what is named is there, or the name is wrong.
        let wanted =
            named.is_some() || (layout.owner == 0 && WANTED.iter().any(|path| Path::new(path).exists()));
        checks.extend(look(layout, wanted && !examined.at_rest, own));
    }
    if checks.is_empty() {
        let places: Vec<String> =
            layouts.iter().map(|layout| layout.directory.display().to_string()).collect();
        checks.push(Check::ok(DIRECTORY, format!("no sockets in {}", places.join(", "))));
    }
    checks
}

/// Nothing where nothing is, and nothing has to be.
fn look(layout: &Layout, wanted: bool, own: u32) -> Vec<Check> {
    let shown = layout.directory.display();
    match fs::symlink_metadata(&layout.directory) {
        Err(error) if error.kind() == ErrorKind::NotFound && wanted => {
            return vec![Check::failure(
                DIRECTORY,
                format!("{shown} is not there"),
                "the daemon that should serve does not: agents have nowhere to ask",
                start(layout),
            )];
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            return vec![Check::warning(
                DIRECTORY,
                format!("{shown}: {error}"),
                "who may replace a socket in it is not known",
                format!("look at it as root: ls -ld {shown}"),
            )];
        }
        Ok(about) if !about.is_dir() => {
            return vec![Check::failure(
                DIRECTORY,
                format!("{shown} is no directory"),
                "no daemon takes it, and what is behind it is none of execward's",
                format!("find out who put it there, then: rm {shown}"),
            )];
        }
        Ok(about) if about.uid() != layout.owner => {
            return vec![Check::failure(
                DIRECTORY,
                format!("{shown} belongs to uid {}, not to {}", about.uid(), layout.owner),
                REPLACES,
                format!("find out who made it, remove it, then: {}", start(layout)),
            )];
        }
        Ok(_) => {}
    }
    if let Err(why) = well_kept(&layout.directory, layout.owner) {
        return vec![Check::failure(
            DIRECTORY,
            why,
            REPLACES,
            format!("chmod go-w {shown}, or what is named"),
        )];
    }
    let there = |place: &Place| fs::symlink_metadata(&place.path).is_ok();
    let (agent, operator) = (there(&layout.agent), there(&layout.operator));
    if !wanted && !agent && !operator && !there(&layout.metrics) {
        return vec![Check::ok(
            DIRECTORY,
            format!("{shown}, for its owner to change; no daemon serves there"),
        )];
    }
    let mut checks = vec![Check::ok(DIRECTORY, format!("{shown}, for its owner alone to change"))];
    for (place, what) in
        [(&layout.agent, For::Agents), (&layout.operator, For::Operators), (&layout.metrics, For::Metrics)]
    {
        checks.push(socket(layout, place, what, own));
    }
    checks
}

/// How it is started.
fn start(layout: &Layout) -> String {
    if layout.owner == 0 {
        "systemctl start execward-agent.socket execward-operator.socket execward.service".to_owned()
    } else {
        "execward serve".to_owned()
    }
}

fn again(layout: &Layout) -> &'static str {
    if layout.owner == 0 {
        "systemctl restart execward.service"
    } else {
        "end the daemon, then: execward serve"
    }
}

fn socket(layout: &Layout, place: &Place, what: For, own: u32) -> Check {
    let shown = place.path.display();
    let about = match fs::symlink_metadata(&place.path) {
        Ok(about) => about,
        // The others are there: somebody removed this one, or it could not be made.
        Err(error) if what == For::Metrics => {
            return Check::warning(
                what.name(),
                format!("{shown}: {error}"),
                "no metrics are served; the daemon's log says why",
                again(layout),
            );
        }
        Err(error) => {
            return Check::failure(
                what.name(),
                format!("{shown}: {error}"),
                "nobody can connect there",
                if what == For::Agents || layout.owner != 0 {
                    start(layout)
                } else {
                    again(layout).to_owned()
                },
            );
        }
    };
    if !about.file_type().is_socket() {
        return Check::failure(
            what.name(),
            format!("{shown} is no socket"),
            "nobody can connect there, and no daemon replaces what it has not made",
            format!("find out who put it there, then: rm {shown}; {}", again(layout)),
        );
    }
    if about.uid() != layout.owner {
        return Check::failure(
            what.name(),
            format!("{shown} belongs to uid {}, not to {}", about.uid(), layout.owner),
            "somebody else than the daemon listens there, or may change who connects",
            format!("rm {shown}; {}", again(layout)),
        );
    }
    let (mode, group) = (about.mode() & 0o777, place.group.unwrap_or(about.gid()));
    // Executing a socket means nothing; the group's bits are also what an access list gives at most (acl(5)).
    let more = mode & 0o666 & !place.mode;
    if more != 0 || (mode & 0o060 != 0 && place.mode & 0o006 == 0 && about.gid() != group) {
        let group = place.group.map(|group| format!("chgrp {group} {shown}; ")).unwrap_or_default();
        return Check::failure(
            what.name(),
            format!("{shown} may be opened by more than it is for (mode {mode:03o}, group {})", about.gid()),
            what.loose(),
            format!("{group}chmod {:o} {shown}", place.mode),
        );
    }
    behind(layout, place, what, own)
}

/// Whether somebody answers, and who.
fn behind(layout: &Layout, place: &Place, what: For, own: u32) -> Check {
    let (name, shown) = (what.name(), place.path.display());
    let listens = Connection::open(&place.path, PATIENCE).and_then(|connection| connection.peer_uid());
    let answers = listens.and_then(|uid| {
        if uid != layout.owner {
            return Err(ClientError::Stranger { path: place.path.clone(), uid });
        }
        // The kernel takes connections for whoever listens, also where that is stopped: only an answer says that it is not.
        if what == For::Metrics {
            Ok(())
        } else {
            Client::connect_within(&place.path, false, PATIENCE).map(drop)
        }
    });
    match answers {
        Ok(()) => Check::ok(name, format!("{shown}, answered by uid {}", layout.owner)),
        Err(ClientError::Refused(_)) => Check::ok(
            name,
            format!("{shown}, answered by uid {}, which does not serve uid {own}", layout.owner),
        ),
        Err(ClientError::Connect { error, .. }) if error.kind() == ErrorKind::PermissionDenied => {
            Check::ok(name, format!("{shown}, not for uid {own}"))
        }
        Err(ClientError::NoDaemon(_)) => Check::failure(
            name,
            format!("{shown} is there, and nobody listens"),
            "a daemon that died has left it: agents and operators are not served",
            start(layout),
        ),
        Err(error @ ClientError::Stranger { .. }) => Check::failure(
            name,
            error.to_string(),
            "somebody else than the daemon is given what is sent there",
            format!("find out who listens (ss -xlp), end it, then: {}", again(layout)),
        ),
        Err(error) => Check::failure(
            name,
            format!("{shown}: {error}"),
            "somebody listens and does not answer: agents and operators wait",
            again(layout),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};

    use super::super::Health;
    use super::*;
    use crate::supervisor::Local;

    /// A directory as a daemon of this user makes it, with a listener behind each of the names.
    fn laid_out(names: &[&str]) -> (tempfile::TempDir, Layout, Vec<UnixListener>) {
        let parent = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let path = parent.path().join("run");
        fs::create_dir(&path).expect("made");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("ours");
        let listeners = names.iter().map(|name| {
            let path = path.join(name);
            let listener = UnixListener::bind(&path).expect("bound");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
            listener
        });
        let listeners = listeners.collect();
        let local = Local::look(Some("/nonexistent".into())).expect("this user can be served");
        let layout = Layout::standing(&local, Some(&path)).remove(0);
        (parent, layout, listeners)
    }

    fn health(layout: &Layout, name: &str) -> (Health, String) {
        let own = nix::unistd::geteuid().as_raw();
        let checks = look(layout, true, own);
        let check = checks.into_iter().find(|check| check.name == name).expect(name);
        (check.health, check.found)
    }

    #[test]
    fn a_directory_that_others_change_is_a_failure() {
        let (_parent, layout, _) = laid_out(&[]);
        assert_eq!(health(&layout, DIRECTORY).0, Health::Ok);
        for mode in [0o777, 0o720, 0o1777] {
            fs::set_permissions(&layout.directory, Permissions::from_mode(mode)).expect("ours");
            assert_eq!(health(&layout, DIRECTORY).0, Health::Failure, "{mode:o}");
        }
        fs::remove_dir(&layout.directory).expect("ours");
        assert_eq!(health(&layout, DIRECTORY).0, Health::Failure, "it should be there");
        assert!(look(&layout, false, 0).is_empty(), "it need not be there");
        std::os::unix::fs::symlink("/var/tmp", &layout.directory).expect("a link");
        assert_eq!(health(&layout, DIRECTORY).0, Health::Failure);
    }

    #[test]
    fn what_is_no_socket_or_nobodys_or_everybodys_is_a_failure() {
        let (_parent, layout, listeners) = laid_out(&["agent.sock", "metrics.sock"]);
        assert_eq!(health(&layout, "metrics-socket").0, Health::Ok);
        assert_eq!(health(&layout, "operator-socket").0, Health::Failure, "it is missing");
        fs::set_permissions(&layout.metrics.path, Permissions::from_mode(0o666)).expect("ours");
        assert_eq!(health(&layout, "metrics-socket").0, Health::Failure, "everybody reads it");
        drop(listeners);
        let (health_of_it, found) = health(&layout, "agent-socket");
        assert!(health_of_it == Health::Failure && found.contains("nobody listens"), "{found}");
        fs::remove_file(&layout.metrics.path).expect("ours");
        assert_eq!(health(&layout, "metrics-socket").0, Health::Warning, "the daemon goes without");
        fs::write(&layout.operator.path, "").expect("ours");
        let (health_of_it, found) = health(&layout, "operator-socket");
        assert!(health_of_it == Health::Failure && found.contains("no socket"), "{found}");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&layout.agent.path, Some(4711), None).expect("root may");
            assert!(health(&layout, "agent-socket").1.contains("uid 4711"));
        }
    }

    #[test]
    fn whoever_listens_and_is_silent_costs_a_moment() {
        let (_parent, layout, _listeners) = laid_out(&["agent.sock", "operator.sock", "metrics.sock"]);
        let begun = Instant::now();
        let (health_of_it, found) = health(&layout, "agent-socket");
        assert!(health_of_it == Health::Failure && found.contains("did not answer"), "{found}");
        assert!(begun.elapsed() < PATIENCE * 4 + Duration::from_secs(5), "{:?}", begun.elapsed());
        // One whose queue is full takes not even a connection.
        fs::remove_file(&layout.metrics.path).expect("ours");
        let full =
            socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("one");
        socket::bind(full.as_raw_fd(), &UnixAddr::new(&layout.metrics.path).expect("short")).expect("bound");
        socket::listen(&full, Backlog::new(0).expect("a number")).expect("it listens");
        fs::set_permissions(&layout.metrics.path, Permissions::from_mode(0o600)).expect("ours");
        let _first = Connection::open(&layout.metrics.path, Duration::ZERO).expect("there is room for one");
        let (health_of_it, found) = health(&layout, "metrics-socket");
        assert!(health_of_it == Health::Failure && found.contains("did not answer"), "{found}");
    }
}
