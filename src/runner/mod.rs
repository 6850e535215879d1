//! The runner: the one thing that starts commands, in every backend.
//!
//! One process with one thread that reads spawn requests from a byte stream, starts each command confined, relays its
//! standard streams, reaps it, ends its whole tree, and reports how it ended. It decides nothing: what it is asked to
//! start was cleared, approved and recorded before. What differs between backends is how a runner is launched.
//!
//! In the jail three of our processes stand between the supervisor and a command:
//!
//! ```text
//! supervisor
//!   runner (outer)   enters the session's user namespace, owns its cgroup, waits
//!     runner         PID 1 of the session's namespaces, in the session's private root; speaks the protocol
//!       init         PID 1 of one command's own pid and mount namespaces; reaps, passes signals on
//!         command    confined: ids, capabilities, no_new_privs, landlock, seccomp
//! ```
//!
//! In a container the first two are one process, PID 1 of the container, and an init is a subreaper ([`tree`]). Otherwise
//! each dies with its parent (`PR_SET_PDEATHSIG`), but for the outer one of a session that outlives its supervisor
//! ([`outlive`]), and the end of an `init` is the end of everything that its command ever started: the kernel kills the
//! namespace (pid_namespaces(7)).

mod apart;
mod bare;
mod cgroup;
mod command;
mod confine;
mod container;
#[cfg(target_arch = "x86_64")]
pub mod control;
mod evidence;
mod failure;
mod far;
mod init;
mod later;
mod namespaces;
mod outer;
mod outlive;
mod private;
mod root;
mod seccomp;
mod serve;
mod shell;
mod standing;
mod streams;
mod tree;

pub use outer::main;

use crate::wire::runner::ROLE;

/// Whether this process was started as a runner.
pub fn is_role<A: AsRef<std::ffi::OsStr>>(mut arguments: impl Iterator<Item = A>) -> bool {
    let program = arguments.next();
    let named = program.is_some_and(|name| {
        std::path::Path::new(name.as_ref()).file_name() == Some("execward-runner".as_ref())
    });
    named || arguments.next().is_some_and(|first| first.as_ref() == ROLE)
}
