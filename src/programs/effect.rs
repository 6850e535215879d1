//! The effects that programs have.

use std::sync::Arc;

use serde::Serialize;

use crate::shell::{Dialect, Value};

/// One thing that a command will do to the world, as far as it can be known before running.
///
/// Paths are as the program receives them: not yet made absolute. The gate resolves them against the directory of
/// the invocation and sorts them into path classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effect {
    /// Removes, empties, overwrites or moves away what is at a path.
    Delete {
        /// What is removed.
        path: Value,
        /// Whole trees.
        recursive: bool,
        /// How.
        how: Operation,
    },
    /// Creates a file or changes its content.
    Write {
        /// The file.
        path: Value,
        /// How.
        how: Operation,
    },
    /// Reads the content of a file or directory.
    Read {
        /// The file.
        path: Value,
    },
    /// Changes mode, owner, attributes, capabilities or times.
    Metadata {
        /// The file.
        path: Value,
        /// Whole trees.
        recursive: bool,
        /// Which attribute, and the new value where the words tell (`777`, `u+s`, `root:root`).
        attribute: Attribute,
        /// The new value as written.
        value: Value,
    },
    /// Starts another program: `sudo`, `env`, `xargs`, `find -exec`, ... The new argv is judged in its place.
    Exec {
        /// The program and its arguments. For `xargs`-like starters the operands that arrive by standard input are a
        /// trailing unknown.
        #[serde(serialize_with = "crate::shell::invocation::within")]
        argv: Arc<Vec<Value>>,
        /// The program that starts it.
        via: String,
        /// Where it runs.
        target: Target,
        /// Variables that the starter sets for it.
        assignments: Vec<(String, Value)>,
        /// The directory that the starter changes to (`env -C`, `git -C`, `make -C`).
        cwd: Option<Value>,
    },
    /// Text that an interpreter runs: `sh -c`, `python -c`, a pipe into a shell. Shell text is judged in its place.
    Script {
        /// Which language.
        language: Language,
        /// The text, as far as it is known.
        text: Value,
        /// Where it runs.
        target: Target,
        /// `$0`, `$1`, ... as the interpreter is given them.
        arguments: Vec<Value>,
    },
    /// Runs the file at this path as a program or script of its interpreter (`sh x`, `source x`, `python x.py`).
    RunFile {
        /// The file.
        path: Value,
        /// The interpreter, where one is named.
        language: Option<Language>,
    },
    /// Receives from the network.
    Fetch {
        /// URL, host or remote name.
        url: Value,
    },
    /// Sends to the network.
    Send {
        /// URL, host or remote name.
        url: Value,
        /// The file whose content is sent, where the words tell.
        path: Option<Value>,
    },
    /// Waits for connections, or makes a tunnel.
    Listen {
        /// As written.
        address: Value,
    },
    /// Signals processes. `-1` is every process that may be signalled.
    Kill {
        /// A pid, a name pattern, or `-1`.
        target: Value,
        /// The signal as written; empty for the default.
        signal: Value,
    },
    /// Turns the machine off, restarts it, or stops its init.
    Power,
    /// Asks for more rights than the caller has (`sudo`, `su`, `pkexec`, set-uid bits, capabilities).
    Privilege {
        /// What it gains.
        what: String,
    },
    /// Changes accounts, passwords or groups.
    Account {
        /// The account or group.
        name: Value,
    },
    /// Installs, removes or publishes packages.
    Package {
        /// `apt`, `npm`, ...
        manager: String,
        /// What it does to them.
        action: Operation,
        /// Packages as named.
        names: Vec<Value>,
    },
    /// Starts, stops or changes services, timers or scheduled jobs.
    Service {
        /// `start`, `stop`, `schedule`, ...
        action: String,
        /// The unit or table.
        name: Value,
    },
    /// Writes to a block device, its partition table or the file system on it.
    Device {
        /// The device.
        path: Value,
        /// How.
        how: Operation,
    },
    /// Mounts, unmounts or changes mounts, swap, namespaces or roots.
    Mount {
        /// The mount point or device.
        path: Value,
    },
    /// Changes kernel state: modules, sysctls, parameters, firewall, routes.
    Kernel {
        /// What is changed.
        what: String,
        /// Its operand.
        value: Value,
    },
    /// Loses or rewrites committed or uncommitted work in a repository.
    Repository {
        /// `reset --hard`, `push --force`, `branch -D`, ...
        action: String,
        /// The ref, path or remote.
        target: Value,
    },
    /// Drops or empties data in a database, queue, cache or index.
    Database {
        /// As written.
        statement: Value,
    },
    /// Destroys or changes resources that somebody else hosts: cloud, cluster, registry, forge, container engine.
    Remote {
        /// `terraform destroy`, `kubectl delete`, ...
        action: String,
        /// The resource as named.
        resource: Value,
        /// Whether it destroys rather than changes.
        destructive: bool,
    },
    /// Sets what later commands will run: an alias, a function, PATH, a pager or editor variable, a git setting.
    Persist {
        /// The variable, file or setting.
        what: String,
        /// Its value.
        value: Value,
    },
    /// Starts processes without end, or fills memory or a disk: a fork bomb in any language.
    Flood {
        /// How.
        what: String,
    },
    /// An unknown option of a known program behind which another command may hide.
    Unreadable {
        /// The program.
        program: String,
        /// The word that could not be read.
        word: Value,
    },
    /// A program that is not known, with what it was given.
    Opaque {
        /// Program and arguments.
        argv: Vec<Value>,
    },
}

/// How something is written or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Operation {
    /// Unlinks.
    Remove,
    /// Makes empty or shorter.
    Truncate,
    /// Replaces the content.
    Overwrite,
    /// Adds at the end.
    Append,
    /// Creates, or replaces.
    Create,
    /// Creates what is not there; what is there keeps its content.
    Make,
    /// Edits in place.
    Edit,
    /// Moves to another name.
    Move,
    /// Links to another file.
    Link,
    /// Makes a file system, partition table or volume.
    Format,
    /// Makes unreadable on purpose.
    Shred,
    /// Installs.
    Install,
    /// Uninstalls.
    Uninstall,
    /// Publishes to others.
    Publish,
}

/// What a metadata change changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attribute {
    /// Permission bits.
    Mode,
    /// Owner or group.
    Owner,
    /// ACLs, extended attributes, `chattr` flags, file capabilities.
    Extended,
    /// Times.
    Times,
}

/// Where a started program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// On this machine, as the same user.
    Here,
    /// On this machine, as another user (`sudo`, `su`, `runuser`): the user as written, root by default.
    User(String),
    /// On another machine (`ssh host`).
    Host(String),
    /// In a container, chroot or other root.
    Container(String),
}

/// The language of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Language {
    /// A shell whose dialect execward reads.
    Shell(Dialect),
    /// A shell that execward does not read (fish, csh, zsh where it differs, powershell).
    OtherShell,
    /// Python.
    Python,
    /// Perl.
    Perl,
    /// Ruby.
    Ruby,
    /// JavaScript: node, deno, bun.
    JavaScript,
    /// PHP.
    Php,
    /// Lua.
    Lua,
    /// awk and its relatives.
    Awk,
    /// sed.
    Sed,
    /// make.
    Make,
    /// Editors' command languages (vim, emacs, ed).
    Editor,
    /// SQL, with the client's shell escapes.
    Sql,
    /// Any other.
    Other,
}
