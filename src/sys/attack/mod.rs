//! Tries one escape from inside a sandbox and says what came of it: a role of the one binary, by which the tests and
//! `execward doctor --attack` try the same list ([`LIST`]).
//!
//! `execward-probe ID key=value...` (or `execward attack-probe ID ...`) prints one line: `OPEN what`, `HELD why` or
//! `INCONCLUSIVE why`. The keys name things that whoever attacks made outside: see [`World`]. Nothing here does harm where it
//! succeeds: calls that would change the host are made with arguments that the kernel refuses only after it has agreed to the
//! call as such.
#![allow(
    clippy::print_stdout,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "each block makes the one system call that is attempted, with values of its own; what it says is its output"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "system calls take what they take"
)]

mod files;
mod kernel;
mod layer;
mod lifetime;
mod list;
mod network;
mod objects;
mod processes;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

pub use layer::Layer;
pub use list::{Control, Expect, LIST, Probe};
pub use objects::{Shared, Terminal, has_attribute};

/// The name under which a copy of the binary is a probe.
pub const NAME: &str = "execward-probe";

/// The first argument by which the binary is one.
pub const ROLE: &str = "attack-probe";

/// Whether this process was started as a probe; the arguments of the probe then.
pub fn role(mut arguments: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let program = arguments.next()?;
    let named = Path::new(&program).file_name() == Some(OsStr::new(NAME));
    let mut rest: Vec<String> = arguments.collect();
    if named {
        return Some(rest);
    }
    (rest.first().is_some_and(|first| first == ROLE)).then(|| {
        rest.remove(0);
        rest
    })
}

/// What came of an attempt.
#[derive(Debug)]
enum Outcome {
    /// It succeeded.
    Open(String),
    /// It was refused as promised.
    Held(String),
    /// It failed for another reason: nothing is shown.
    Inconclusive(String),
}

use Outcome::{Held, Inconclusive, Open};

/// What stands outside, as the test says.
#[derive(Debug)]
struct World(BTreeMap<String, String>);

impl World {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("the probe needs {key}=..."))
    }

    fn number<N: std::str::FromStr>(&self, key: &str) -> N {
        self.text(key).parse().unwrap_or_else(|_| panic!("{key} is a number"))
    }

    /// A path below the directory outside.
    fn outside(&self, name: &str) -> PathBuf {
        PathBuf::from(self.text("outside")).join(name)
    }
}

/// The result of a system call: `OPEN` when it succeeded, `HELD` on one of `refusals`.
fn attempt(what: &str, result: i64, refusals: &[i32]) -> Outcome {
    if result >= 0 {
        return Open(format!("{what} succeeded"));
    }
    refused(what, &io::Error::last_os_error(), refusals)
}

/// An error of an attempt, held against the errors that the sandbox promises.
fn refused(what: &str, error: &io::Error, refusals: &[i32]) -> Outcome {
    match error.raw_os_error() {
        Some(errno) if refusals.contains(&errno) => Held(format!("{what}: {error}")),
        _ => Inconclusive(format!("{what}: {error}")),
    }
}

/// A call that the kernel reaches in vain: any error but a refusal shows that the call as such is open.
fn reach(what: &str, result: i64) -> Outcome {
    let error = io::Error::last_os_error();
    if result < 0 && matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) {
        return Held(format!("{what}: {error}"));
    }
    Open(if result < 0 { format!("{what} is reached: {error}") } else { format!("{what} succeeded") })
}

/// The result of something that a library did.
fn tried<T>(what: &str, result: io::Result<T>, refusals: &[i32]) -> Outcome {
    match result {
        Ok(_) => Open(format!("{what} succeeded")),
        Err(error) => refused(what, &error, refusals),
    }
}

/// The first that is open; else the first that shows nothing; else held.
fn all(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    let (mut held, mut inconclusive) = (Vec::new(), None);
    for outcome in outcomes {
        match outcome {
            Open(what) => return Open(what),
            Inconclusive(why) => inconclusive = inconclusive.or(Some(why)),
            Held(why) => held.push(why),
        }
    }
    match inconclusive {
        Some(why) => Inconclusive(why),
        None if held.is_empty() => Inconclusive("nothing to try".to_owned()),
        None => Held(held.join("; ")),
    }
}

/// A named attempt.
type Attempt = (&'static str, fn(&World) -> Outcome);

fn attempts() -> impl Iterator<Item = &'static Attempt> {
    files::ATTEMPTS.iter().chain(processes::ATTEMPTS).chain(kernel::ATTEMPTS).chain(network::ATTEMPTS)
}

/// Runs the role.
pub fn main(arguments: Vec<String>) {
    let mut args = arguments.into_iter();
    let id = args.next().unwrap_or_else(|| "--list".to_owned());
    let pair = |arg: String| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let world = World(args.filter_map(pair).collect());
    if id == "--list" {
        for (id, _) in attempts() {
            println!("{id}");
        }
        return;
    }
    if let Some(act) = lifetime::act(&id) {
        return act(&world);
    }
    let Some((_, attempt)) = attempts().find(|(name, _)| *name == id) else {
        println!("INCONCLUSIVE no probe {id}");
        return;
    };
    match attempt(&world) {
        Open(what) => println!("OPEN {what}"),
        Held(why) => println!("HELD {why}"),
        Inconclusive(why) => println!("INCONCLUSIVE {why}"),
    }
}
