//! What the integration tests share: who runs, where, and how a run of execward is compared with a bare one.
//!
//! Every test stands on a [`Ground`]: a directory of its own with a workspace, things outside it that must stay
//! untouched, and a private state directory. As root the tests run twice, as root and as a user made for them.
#![allow(unsafe_code, reason = "the child changes its mounts, descriptors and ids between fork and exec")]

pub mod account;
pub mod command;
pub mod ground;
pub mod model;
pub mod person;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock};

pub use command::{Command, Output};
pub use ground::Ground;

/// Who asks for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leg {
    /// uid 0.
    Root,
    /// An ordinary user: one made for the tests where they run as root, else whoever runs them.
    User,
}

/// What root adds: everything else is also tested without.
pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Runs `test` on a ground of its own as root and as an ordinary user, as far as the jail stands for them.
pub fn as_everyone(test: impl Fn(&Ground)) {
    for leg in [Leg::Root, Leg::User] {
        as_leg(leg, &test);
    }
}

/// Runs `test` as one of them.
pub fn as_leg(leg: Leg, test: impl Fn(&Ground)) {
    if leg == Leg::Root && !is_root() {
        skip("root", "the tests do not run as root");
        return;
    }
    let Some(ground) = Ground::new(leg) else { return };
    if let Err(why) = jail(&ground) {
        skip("jail", &format!("{leg:?}: {why}"));
        return;
    }
    eprintln!("-- as {leg:?} in {}", ground.root().display());
    test(&ground);
}

/// Whether a jail can be made for this requester; asked once each.
fn jail(ground: &Ground) -> Result<(), String> {
    static KNOWN: OnceLock<Mutex<BTreeMap<Leg, Result<(), String>>>> = OnceLock::new();
    let mut known =
        KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    known
        .entry(ground.leg())
        .or_insert_with(|| {
            // On another ground: the test's own has nothing on it yet.
            let Some(ground) = Ground::new(ground.leg()) else { return Err("no ground for it".to_owned()) };
            let output = ground.run(["true"]).output();
            match output.code {
                Some(0) => Ok(()),
                _ => Err(format!("`execward run -- true` ended with {:?}: {}", output.code, output.stderr())),
            }
        })
        .clone()
}

/// Says that something was not tested and why; a failure where `EXECWARD_TEST_REQUIRE` names `what`.
///
/// Written past the capture of the test runner: a skip is always seen.
pub fn skip(what: &str, why: &str) {
    let required = std::env::var("EXECWARD_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == what),
        "{what} is required here, and missing: {why}"
    );
    let thread = std::thread::current();
    let line = format!("SKIP {} ({what}): {why}\n", thread.name().unwrap_or("?"));
    std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
}

/// Whether a program is found in PATH; a skip is said where it is not.
pub fn tool(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').any(|directory| std::path::Path::new(directory).join(name).is_file());
    if !found {
        skip(name, "not installed; `./test --install` installs it");
    }
    found
}
