//! The layers of the jail, as rows of [`super::LIST`] name what stops an attempt.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A layer that a control can do without, by itself.
///
/// Not among them, since nothing stands without them: the user namespace, in which an ordinary user makes all others (root's
/// sessions have none), and the mount namespace, which holds the private root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The view: a root with nothing of the host but what it needs, read-only, and places of its own to write to.
    PrivateRoot,
    /// Credential files of the workspace show as empty.
    Masks,
    /// What is executed later outside cannot be changed in the workspace.
    Frozen,
    /// Processes of its own, and a /proc that shows no others.
    PidNamespace,
    /// Interfaces, ports and abstract sockets of its own.
    NetworkNamespace,
    /// System V and POSIX objects of its own.
    IpcNamespace,
    /// A name of the machine of its own.
    UtsNamespace,
    /// Control groups of the host without their paths.
    CgroupNamespace,
    /// Nothing that is open outside is inherited.
    Descriptors,
    /// Standard streams are execward's, not the requester's files.
    Streams,
    /// A session (setsid(2)) without the requester's terminal.
    Terminal,
    /// setrlimit(2).
    Rlimits,
    /// Not root, and no way to become it.
    Ids,
    /// No capability in any set, for good.
    Capabilities,
    /// Nothing that is executed has more rights than its caller.
    NoNewPrivs,
    /// The view once more, and scopes of signals and sockets.
    Landlock,
    /// System calls by an allowlist.
    Seccomp,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::PrivateRoot,
        Self::Masks,
        Self::Frozen,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::Descriptors,
        Self::Streams,
        Self::Terminal,
        Self::Rlimits,
        Self::Ids,
        Self::Capabilities,
        Self::NoNewPrivs,
        Self::Landlock,
        Self::Seccomp,
    ];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateRoot => "private-root",
            Self::Masks => "masks",
            Self::Frozen => "frozen",
            Self::PidNamespace => "pid-namespace",
            Self::NetworkNamespace => "network-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::CgroupNamespace => "cgroup-namespace",
            Self::Descriptors => "descriptors",
            Self::Streams => "streams",
            Self::Terminal => "terminal",
            Self::Rlimits => "rlimits",
            Self::Ids => "ids",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no-new-privs",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        })
    }
}
