//! The ordinary user that the tests make where they run as root, and take away again at the end.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::is_root;

/// Somebody who can ask for a run.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl Account {
    /// uid 0.
    pub fn root() -> Self {
        Self {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            home: lookup("root").map_or("/root".into(), |it| it.home),
        }
    }

    /// The ordinary user: made once for the whole test process. `None` where that cannot be done.
    pub fn user() -> Option<Self> {
        static USER: OnceLock<Option<Account>> = OnceLock::new();
        USER.get_or_init(|| if is_root() { make() } else { current() }).clone()
    }
}

/// Whoever runs the tests.
fn current() -> Option<Account> {
    // SAFETY: getuid cannot fail and touches no memory.
    let uid = unsafe { libc::getuid() };
    accounts().into_iter().find(|account| account.uid == uid)
}

/// Takes the first free of a few names: a lock keeps test processes that run at the same time apart.
fn make() -> Option<Account> {
    for number in 1..=8 {
        let name = format!("execward-t{number}");
        let lock = File::create(format!("/var/tmp/{name}.lock")).ok()?;
        if lock.try_lock().is_err() {
            continue;
        }
        // Held until the process ends.
        let _ = lock.into_raw_fd();
        if lookup(&name).is_none() {
            let made = Command::new("useradd")
                .args([
                    "--create-home",
                    "--shell",
                    "/bin/bash",
                    "--comment",
                    "made by the tests of execward",
                    &name,
                ])
                .stderr(Stdio::inherit())
                .status();
            if !made.is_ok_and(|status| status.success()) {
                super::skip("user", &format!("`useradd {name}` failed"));
                return None;
            }
        }
        remove_at_exit(&name);
        let account = lookup(&name)?;
        fs::set_permissions(&account.home, Permissions::from_mode(0o700)).ok()?;
        return Some(account);
    }
    super::skip("user", "eight test users are in use");
    None
}

fn lookup(name: &str) -> Option<Account> {
    accounts().into_iter().find(|account| account.name == name)
}

/// /etc/passwd, read directly: a static binary's getpwnam would load shared objects.
fn accounts() -> Vec<Account> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some(Account {
                name: (*fields.first()?).to_owned(),
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: Path::new(fields.get(5)?).to_owned(),
            })
        })
        .collect()
}

static TO_REMOVE: OnceLock<CString> = OnceLock::new();

/// The test runner ends by exit(3), which runs what atexit(3) was given.
fn remove_at_exit(name: &str) {
    extern "C" fn remove() {
        if let Some(name) = TO_REMOVE.get() {
            let name = name.to_string_lossy().into_owned();
            let _ = Command::new("userdel").args(["--remove", &name]).stderr(Stdio::null()).status();
            let _ = fs::remove_file(format!("/var/tmp/{name}.lock"));
        }
    }
    if TO_REMOVE.set(CString::new(name).expect("a user name holds no NUL")).is_ok() {
        // SAFETY: `remove` is a plain function that does not unwind over the boundary.
        unsafe { libc::atexit(remove) };
    }
}
