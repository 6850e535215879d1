//! Path classes: what a place is to the machine and to a person.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use serde::{Deserialize, Serialize};

/// What a path is. A path may be several things: `~/.ssh/id_rsa` is in a home and in a credential store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum PathClass {
    /// Below a workspace root, the root included.
    Workspace,
    /// A workspace root itself, or a directory above it.
    WorkspaceRoot,
    /// What a build, a test or an editor makes again: `target`, `node_modules`, `*.o`, `__pycache__`.
    Build,
    /// A repository's own data (`.git`).
    Repository,
    /// Below `/tmp`, `/var/tmp` or `/dev/shm`.
    Temp,
    /// The user's home, and what is below it.
    Home,
    /// Another user's home, and what is below it.
    OtherHome,
    /// `/` itself.
    Root,
    /// The system's own directories and what is below them.
    System,
    /// Removable and network file systems: `/mnt`, `/media`.
    Mounted,
    /// A block device, or a name that stands for one.
    Device,
    /// Devices that take and give bytes and keep none: `/dev/null`, a terminal, a descriptor.
    Stream,
    /// Keys, tokens, passwords, sockets that give them or root.
    Credential,
    /// What configures an agent or an editor, and so what it runs later.
    AgentConfig,
    /// What a shell, a login, a scheduler or a repository runs later.
    Startup,
    /// execward's own state, configuration and sockets.
    Execward,
    /// Kernel knobs below `/proc` and `/sys`.
    Kernel,
    /// The empty string: an operand that expanded to nothing.
    Empty,
    /// Not known before running.
    Unknown,
    /// Anything else.
    Elsewhere,
}

impl PathClass {
    /// Every class, for messages and for reading names.
    pub const ALL: [Self; 20] = [
        Self::Workspace,
        Self::WorkspaceRoot,
        Self::Build,
        Self::Repository,
        Self::Temp,
        Self::Home,
        Self::OtherHome,
        Self::Root,
        Self::System,
        Self::Mounted,
        Self::Device,
        Self::Stream,
        Self::Credential,
        Self::AgentConfig,
        Self::Startup,
        Self::Execward,
        Self::Kernel,
        Self::Empty,
        Self::Unknown,
        Self::Elsewhere,
    ];

    /// The name in policies and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::WorkspaceRoot => "workspace-root",
            Self::Build => "build",
            Self::Repository => "repository",
            Self::Temp => "temp",
            Self::Home => "home",
            Self::OtherHome => "other-home",
            Self::Root => "root",
            Self::System => "system",
            Self::Mounted => "mounted",
            Self::Device => "device",
            Self::Stream => "stream",
            Self::Credential => "credential",
            Self::AgentConfig => "agent-config",
            Self::Startup => "startup",
            Self::Execward => "execward",
            Self::Kernel => "kernel",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
            Self::Elsewhere => "elsewhere",
        }
    }

    /// The class of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for PathClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClassSet(u32);

impl ClassSet {
    /// No class.
    pub const NONE: Self = Self(0);

    /// The set of these classes.
    pub fn of(classes: &[PathClass]) -> Self {
        let mut set = Self::NONE;
        for class in classes {
            set.insert(*class);
        }
        set
    }

    /// Adds a class.
    pub fn insert(&mut self, class: PathClass) {
        self.0 |= 1 << class as u32;
    }

    /// Whether the class is in the set.
    pub const fn has(self, class: PathClass) -> bool {
        self.0 & (1 << class as u32) != 0
    }

    /// Whether any class is in both.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set without these classes.
    pub fn without(self, classes: &[PathClass]) -> Self {
        Self(self.0 & !Self::of(classes).0)
    }

    /// The set without the classes of another.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no class is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The classes.
    pub fn iter(self) -> impl Iterator<Item = PathClass> {
        PathClass::ALL.into_iter().filter(move |class| self.has(*class))
    }
}

impl BitOr for ClassSet {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ClassSet {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
