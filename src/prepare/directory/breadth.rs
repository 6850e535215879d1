//! What is broader than a piece of work, and what never is one.

use std::path::{Path, PathBuf};

use super::{DirectoryError, WorkspaceRules};

/// These and everything below them belong to the system.
const SYSTEM: &[&str] = &[
    "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/boot", "/dev", "/proc", "/sys",
];

/// Below these a piece of work may stand; they themselves are shared by many.
const SHARED: &[&str] = &[
    "/home",
    "/tmp",
    "/var",
    "/var/tmp",
    "/var/lib",
    "/var/log",
    "/var/cache",
    "/var/spool",
    "/opt",
    "/srv",
    "/mnt",
    "/media",
    "/run",
    "/run/user",
    "/root",
    "/dev/shm",
    "/usr/src",
    "/usr/local/src",
];

/// Below these a piece of work may stand although they are below a system directory.
const EXCEPT: &[&str] = &["/dev/shm", "/usr/src", "/usr/local/src"];

/// Directories of a home that hold keys: never a workspace.
const KEYS: &[&str] =
    &[".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", ".local/share/keyrings"];

/// Directories of a home that hold the settings of everything.
const SETTINGS: &[&str] =
    &[".config", ".local", ".local/share", ".local/state", ".local/bin", ".cache", "bin"];

/// Directories whose files tools outside obey. Inside a workspace they are frozen; as the workspace itself they would
/// be writable as a whole.
const OBEYED: &[&str] =
    &[".claude", ".codex", ".cursor", ".execward", ".gemini", ".hermes", ".idea", ".vscode"];

/// What is obeyed in one of them. Other directories there may be work, such as worktrees.
const OBEYED_PARTS: &[&str] = &["agents", "commands", "hooks", "plugins", "rules", "skills"];

/// Homes of all users in the text of a passwd(5) file. Places that are no home (`/`, `/bin`, `/nonexistent`) are in it
/// too, and are as little a workspace.
pub(super) fn homes(passwd: &str) -> Vec<PathBuf> {
    let homes = passwd.lines().filter_map(|line| line.split(':').nth(5));
    homes.filter(|home| home.starts_with('/')).map(PathBuf::from).collect()
}

/// Checks a workspace without links.
pub(super) fn check(path: &Path, rules: WorkspaceRules<'_>, homes: &[PathBuf]) -> Result<(), DirectoryError> {
    let forbidden = |why| Err(DirectoryError::Forbidden { path: path.to_owned(), why });
    let state: Vec<PathBuf> = rules.state.iter().flat_map(|path| both(path)).collect();
    if state.iter().any(|state| path.starts_with(state)) {
        return forbidden("holds execward's own state");
    }
    let homes: Vec<PathBuf> = homes.iter().map(PathBuf::as_path).chain([rules.home]).flat_map(both).collect();
    if homes.iter().any(|home| KEYS.iter().any(|keys| path.starts_with(home.join(keys)))) {
        return forbidden("holds keys");
    }
    if rules.allow_broad {
        return Ok(());
    }
    let is = |list: &[&str]| list.iter().any(|entry| path == Path::new(entry));
    let below = |list: &[&str]| list.iter().any(|entry| path.starts_with(entry));
    let why = if path == Path::new("/") {
        "is the whole file system"
    } else if homes.iter().any(|home| home == path) {
        "is a home directory"
    } else if is(SHARED) || is_user_run(path) {
        "is shared by many programs"
    } else if below(SYSTEM) && !below(EXCEPT) {
        "is a system directory"
    } else if homes.iter().any(|home| home.starts_with(path)) {
        "holds a home directory"
    } else if state.iter().any(|state| state.starts_with(path)) {
        "holds execward's own state"
    } else if homes.iter().any(|home| SETTINGS.iter().any(|settings| path == home.join(settings))) {
        "holds the settings of a user"
    } else if path.iter().any(|name| name == ".git") {
        "is a git directory, whose hooks and settings git obeys"
    } else if is_obeyed(path) {
        "holds settings that an agent or an editor obeys"
    } else {
        return Ok(());
    };
    Err(DirectoryError::Broad { path: path.to_owned(), why })
}

/// Whether this is a directory of settings, or a part of one.
fn is_obeyed(path: &Path) -> bool {
    let names: Vec<_> = path.iter().filter_map(|name| name.to_str()).collect();
    let at = names.iter().position(|name| OBEYED.contains(name));
    at.is_some_and(|at| names.get(at + 1).is_none_or(|part| OBEYED_PARTS.contains(part)))
}

/// `/run/user/1000`.
fn is_user_run(path: &Path) -> bool {
    path.parent() == Some(Path::new("/run/user"))
}

/// A directory as it is named, and as it is.
fn both(path: &Path) -> impl Iterator<Item = PathBuf> {
    [Some(path.to_owned()), path.canonicalize().ok()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nu:x:1000:1000:,,,:/home/u:/bin/bash\n\
                          svc:x:99:99::/srv/svc:/bin/false\nodd:x:1:1\nbin:x:2:2:bin:/bin:/sbin/nologin\n";

    fn verdict(path: &str, allow_broad: bool) -> Result<(), String> {
        let state = [PathBuf::from("/home/u/.local/state/execward"), PathBuf::from("/srv/state/execward")];
        let rules = WorkspaceRules { home: Path::new("/data/me"), state: &state, allow_broad };
        check(Path::new(path), rules, &homes(PASSWD)).map_err(|error| error.to_string())
    }

    #[test]
    fn broad_places_need_the_flag() {
        for (path, why) in [
            ("/", "whole file system"),
            ("/home", "shared"),
            ("/home/u", "home"),
            ("/root", "home"),
            ("/data/me", "home"),
            ("/data", "holds a home"),
            ("/srv/svc", "home"),
            ("/tmp", "shared"),
            ("/var/tmp", "shared"),
            ("/usr", "system"),
            ("/usr/lib/python3", "system"),
            ("/etc", "system"),
            ("/etc/nginx", "system"),
            ("/dev", "system"),
            ("/proc/1", "system"),
            ("/run/user/1000", "shared"),
            ("/srv/state", "holds execward's own state"),
            ("/home/u/.config", "settings"),
            ("/opt", "shared"),
            ("/bin", "home"),
            ("/data/me/p/.git", "git obeys"),
            ("/data/me/p/.git/hooks", "git obeys"),
            ("/data/me/p/.claude", "obeys"),
            ("/home/u/.cursor/rules", "obeys"),
        ] {
            let error = verdict(path, false).unwrap_err();
            assert!(error.contains(why) && error.contains("--allow-broad-workspace"), "{path}: {error}");
            assert_eq!(verdict(path, true), Ok(()), "{path}");
        }
    }

    #[test]
    fn pieces_of_work_are_fine() {
        for path in [
            "/home/u/p",
            "/tmp/x",
            "/opt/app",
            "/var/www",
            "/srv/www",
            "/usr/src/linux",
            "/dev/shm/x",
            "/data/me/p",
            "/work",
            "/usrlocal",
            "/home/u/.config/nvim",
            "/home/u/.cursor/worktrees/p",
            "/data/me/p.git",
        ] {
            assert_eq!(verdict(path, false), Ok(()), "{path}");
        }
    }

    #[test]
    fn no_flag_opens_state_and_keys() {
        for path in [
            "/home/u/.local/state/execward",
            "/srv/state/execward/audit",
            "/home/u/.ssh",
            "/data/me/.gnupg/x",
        ] {
            assert!(verdict(path, true).unwrap_err().contains("never a workspace"), "{path}");
        }
    }
}
