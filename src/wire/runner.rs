//! The protocol between a supervisor and a runner: frames over one byte stream, in every backend.
//!
//! A frame is `length: u32 little-endian` (of what follows), `kind: u8`, then the body: JSON for control frames,
//! `id: u64 little-endian` and raw bytes for data frames. Neither side trusts the other beyond this: lengths are
//! bounded, and a frame that cannot be read ends the connection.

mod ended;
mod far;
mod spawn;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ended::{
    Aftermath, Cause, End, Ended, Fate, Found, FoundKind, LimitName, MAX_FOUND, Reached, ShellState,
};
pub use far::{FAR_HOME, FAR_USER, Far, Greeted, Greeting, VERSION};
pub use spawn::{Apart, Held, Hidden, Private, SECRETS, SecretGiven, Spawn, Window};

/// The first argument by which the binary knows that it is to be a runner.
pub const ROLE: &str = "runner";

/// After [`ROLE`]: standard input and standard output are the stream.
pub const STDIO: &str = "stdio";

/// After [`ROLE`]: the socket whose path comes next is the stream.
pub const CONNECT: &str = "connect";

/// After [`ROLE`]: there is no stream; the process holds a user namespace for the ids of a mount.
pub const HOLD_IDS: &str = "hold-ids";

/// The form of all that passes between a supervisor and the runner that an earlier one has left: the frames, and what the earlier one
/// wrote down. Sessions go on from one to another build where it is the same, whatever their versions are. Raise it with every change
/// that the other side would not understand: a test has every frame as it is (`sessions.txt`), and fails where one changes.
pub const SESSIONS: u32 = 3;

/// Largest body of a frame, kind byte included.
pub const MAX_FRAME: usize = 8 << 20;

/// Most output bytes in one data frame.
pub const MAX_CHUNK: usize = 64 << 10;

/// Standard input that may be under way to a command before it has read any: the supervisor stops sending at this
/// many bytes until [`FromRunner::Credit`] arrives.
pub const STDIN_WINDOW: usize = 256 << 10;

/// Output of one stream of a command that a runner keeps until it hears that it is not needed any more: more than a supervisor
/// may have to see again, and what may be under way. The stream's pipe is left alone when there is so much.
pub const KEPT_OUTPUT: usize = 512 << 10;

/// Where a sandbox with a proxied network finds its proxy: TCP, on 127.0.0.1. Its network namespace is its own, so that the
/// port is free; nothing in it runs before the proxy listens.
pub const PROXY_PORT: u16 = 3128;

/// From the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRunner {
    /// Greets a runner that the supervisor has not started itself: before [`Self::Open`], once.
    Greet(Greeting),
    /// Makes the session's sandbox. The first frame, once. Where it is to outlive its supervisor, the socket travels with it
    /// (SCM_RIGHTS) at which the next supervisor will come.
    Open(Box<SandboxSpec>),
    /// Makes a command ready to be executed: everything but the execution, which [`Self::Run`] lets happen.
    Prepare(Box<Spawn>),
    /// Executes a command that was made ready. Its time runs from here.
    Run {
        /// Of the command.
        id: u64,
    },
    /// More standard input for a command.
    Stdin {
        /// Of the command.
        id: u64,
        /// At most the credit that is left.
        data: Vec<u8>,
    },
    /// Standard input has ended.
    StdinEnd {
        /// Of the command.
        id: u64,
    },
    /// Sends a signal to the command's process group.
    Signal {
        /// Of the command.
        id: u64,
        /// As in signal(7).
        signal: i32,
    },
    /// Leaves the command's output in its pipes, so that it waits, or reads it again. What is under way still comes.
    Hold {
        /// Of the command.
        id: u64,
        /// Whether it is to wait.
        held: bool,
    },
    /// Gives the command's terminal another size. Nothing where it has none.
    Resize {
        /// Of the command.
        id: u64,
        /// The size.
        window: Window,
    },
    /// Ends the command's whole tree at once; one that was only made ready is never executed.
    Kill {
        /// Of the command.
        id: u64,
        /// What the end will be put down to.
        cause: Cause,
    },
    /// Output up to here will not be asked for again. Only of a session that outlives its supervisor, as all that follows.
    Taken {
        /// Of the command.
        id: u64,
        /// Which stream.
        stream: Stream,
        /// Bytes from the beginning.
        upto: u64,
    },
    /// The end of a command has been taken note of: nothing of it need be kept.
    Forget {
        /// Of the command.
        id: u64,
    },
    /// A new supervisor wants a command's output from here on, and its end. Once for each that [`Ready::commands`] names.
    Resume {
        /// Of the command.
        id: u64,
        /// Bytes of [`Stream::Stdout`] and of [`Stream::Stderr`] from the beginning; not before what was taken.
        from: [u64; 2],
    },
    /// Ends the session: the end of the stream alone would have the runner wait for another supervisor.
    Close,
}

/// From the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRunner {
    /// Answers a greeting.
    Greeted(Greeted),
    /// There is nothing to say, and the runner is there: only after a greeting, which says how often.
    Alive,
    /// The sandbox stands. Where its network is [`Network::Proxy`], the socket on which the proxy listens travels with it
    /// (SCM_RIGHTS): made in the sandbox's network namespace, and left to the supervisor alone.
    Ready(Ready),
    /// A command is made ready whose loopback is its own: the socket on which its proxy listens travels with this
    /// (SCM_RIGHTS), and is left to the supervisor alone. The next supervisor does not get it.
    Proxied {
        /// Of the command.
        id: u64,
    },
    /// The sandbox, or a command, could not be made; nothing runs.
    Failed(Failure),
    /// Output.
    Output {
        /// Of the command.
        id: u64,
        /// Which stream.
        stream: Stream,
        /// At most [`MAX_CHUNK`] bytes.
        data: Vec<u8>,
    },
    /// The command has taken this many bytes of standard input (or will never take them).
    Credit {
        /// Of the command.
        id: u64,
        /// Bytes.
        bytes: usize,
    },
    /// The command has ended, nothing that it started is left, and all of its output has been sent.
    Exited(Ended),
}

/// A sandbox that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// What confines its commands.
    pub receipt: Receipt,
    /// Where its bash is, in a container; absent where there is none, and where the host's programs are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bash: Option<String>,
    /// Where the home of its commands is, where it is another one than was asked for; temporary files belong below it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// For a supervisor that comes later: the commands that there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Present>,
}

/// A command that a runner still knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// As it was prepared.
    pub id: u64,
    /// Whether it was let go; else it waits at its gate.
    pub ran: bool,
}

/// An output stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Something that could not be done, with what a person needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {error}")]
pub struct Failure {
    /// The command it is about; `None` when it is about the sandbox.
    pub id: Option<u64>,
    /// Which layer: `user-namespace`, `root`, `landlock`, ...
    pub layer: String,
    /// What was being done, with its object: `mount the workspace /home/u/p`.
    pub what: String,
    /// The system's words, or execward's.
    pub error: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// A session's sandbox, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    /// What the runner stands on.
    pub ground: Ground,
    /// Who the commands are inside.
    pub identity: Identity,
    /// The directory they work in, by its path and inode.
    pub workspace: Workspace,
    /// What else they see.
    pub view: View,
    /// What they reach.
    pub network: Network,
    /// What they may use up.
    pub limits: Limits,
    /// The name of the machine inside.
    pub hostname: String,
    /// The least isolation that the policy permits; below it nothing is built.
    pub minimum: Level,
    /// How long it outlives a supervisor that is gone without a word, in milliseconds; 0 is not at all.
    #[serde(default)]
    pub outlives_ms: u64,
}

impl SandboxSpec {
    /// Whether the sandbox is another machine's, where its runner alone can look at what is named.
    pub fn is_far(&self) -> bool {
        matches!(self.ground, Ground::Far(_) | Ground::Container(Container { far: Some(_), .. }))
    }

    /// Where its commands find room for temporary files.
    pub fn temporary(&self) -> PathBuf {
        match self.is_far() && self.identity.home != std::path::Path::new(FAR_HOME) {
            true => self.identity.home.join("tmp"),
            false => "/tmp".into(),
        }
    }
}

/// What a runner stands on when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// A host: it makes the session's namespaces and private root itself.
    Host,
    /// A host on which no namespace can be made, as a runner finds out: it holds with landlock and seccomp alone.
    #[serde(skip)]
    Bare,
    /// A container that was made for this session: it looks at what stands, and adds what each command needs.
    Container(Container),
    /// Another place, which it has to look at first: it makes there what can be made.
    Far(Far),
}

/// A container, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// `docker`; for the receipt.
    pub backend: String,
    /// What else is mounted below the workspace; another file there is refused.
    pub mounts: Vec<(PathBuf, FileId)>,
    /// Of an engine elsewhere, where its runner alone can look at the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub far: Option<Far>,
}

/// How much of the isolation stands, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// landlock and seccomp alone.
    LandlockSeccomp,
    /// Every layer.
    Full,
}

/// Who a command is inside its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id; never 0.
    pub uid: u32,
    /// Group id; never 0.
    pub gid: u32,
    /// Login name.
    pub name: String,
    /// Home directory: private, writable, and gone with the session.
    pub home: PathBuf,
}

/// The session's workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Absolute; the same outside and inside.
    pub path: PathBuf,
    /// Of the directory that was checked; another one at the same path is refused.
    pub id: FileId,
    /// Whether commands may change it.
    pub writable: bool,
    /// Owner on the host (uid, gid) whose files belong to [`Identity`] inside, by an idmapped mount. `None` where the
    /// ids are the same.
    pub owner: Option<(u32, u32)>,
    /// Files and directories below it, relative, that show as empty: credential files.
    pub masked: Vec<PathBuf>,
    /// Files and directories below it, relative, that cannot be changed: what is executed later outside.
    pub frozen: Vec<PathBuf>,
    /// What is looked for after each command.
    pub later: Later,
}

/// What of a workspace is executed or obeyed later, outside any sandbox. Looked for after each command, beside
/// [`Workspace::frozen`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    /// What to do with it.
    pub action: LaterAction,
    /// Names that are obeyed in any directory, of one part or more: `.vscode`, `.github/copilot-instructions.md`.
    pub nested: Vec<PathBuf>,
    /// The same of what is never set aside: instructions that agents are often asked to write.
    pub reported: Vec<PathBuf>,
    /// Settings of git that execute something or lead elsewhere, in lower case; `*` stands for any subsection or name.
    pub settings: Vec<String>,
}

/// What is done with what is executed later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaterAction {
    /// It is reported and set aside.
    #[default]
    SetAside,
    /// It is reported.
    Report,
    /// It is not looked for, and nothing is frozen.
    Allow,
}

/// The identity of a file, whatever its name: stat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

/// What a sandbox shows of the host, all of it read-only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Absolute directories and files to show where they exist (`/usr`, `/etc`, `~/.rustup`). A symbolic link is
    /// shown as that link.
    pub visible: Vec<PathBuf>,
    /// The same, of the requester's own: toolchains in a home.
    pub own: Vec<PathBuf>,
    /// Owner on the host (uid, gid) of what is the requester's own and belongs to [`Identity`] inside, by an idmapped
    /// mount where the file system can. `None` where the ids are the same.
    pub owner: Option<(u32, u32)>,
    /// Absolute paths below those that show as empty.
    pub masked: Vec<PathBuf>,
    /// The socket on which a daemon serves agents, for a sandbox in which an agent is: it shows at [`AGENT_SOCKET`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_socket: Option<PathBuf>,
}

/// Where an agent in a sandbox finds the daemon.
pub const AGENT_SOCKET: &str = "/run/execward/agent.sock";

/// What a sandbox reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network namespace of its own with nothing in it but loopback.
    None,
    /// The same, with a proxy at [`PROXY_PORT`] of its loopback that leads where the policy says.
    Proxy,
    /// The host's network.
    Host,
}

/// What the commands of a sandbox may use up. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes together (cgroup).
    pub memory: u64,
    /// Swap that they may use beyond that (cgroup).
    #[serde(default)]
    pub swap: u64,
    /// Processors that they may keep busy at a time, in thousandths of one (cgroup); `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Processes and threads together (cgroup).
    pub processes: u64,
    /// Largest file that may be written (RLIMIT_FSIZE); `None` is no limit.
    pub file_size: Option<u64>,
    /// Descriptors of one process (RLIMIT_NOFILE).
    pub open_files: u64,
    /// Each private tmpfs (`/tmp`, HOME, `/dev/shm`).
    pub tmpfs: u64,
}

impl Limits {
    /// The time over which the kernel holds them to their processors, in microseconds.
    pub const PERIOD: u64 = 100_000;

    /// The processor time that they may have in each [`Self::PERIOD`], where it is limited; the kernel takes no less than 1 ms.
    pub fn quota(&self) -> Option<u64> {
        self.cpus.map(|cpus| (u64::from(cpus) * Self::PERIOD / 1000).max(1000))
    }

    /// What is limited for all processes together, as the receipt says it.
    pub fn together(&self) -> String {
        let mut text = format!("{} MiB of memory and {} processes", self.memory >> 20, self.processes);
        if self.swap > 0 {
            text.push_str(&format!(", {} MiB of swap", self.swap >> 20));
        }
        text
    }
}

/// What really confines the commands of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// `jail`, `docker`, ...
    pub backend: String,
    /// Each layer, in the order in which it was put on.
    pub layers: Vec<Layer>,
}

/// One layer of isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Layer {
    /// `user-namespace`, `pid-namespace`, `landlock`, ...
    pub name: String,
    /// Whether it is in force.
    pub enforced: bool,
    /// What it holds (`ABI 7`, `memory 4 GiB by cgroup v2`), or why it is missing.
    pub detail: String,
}

#[cfg(test)]
mod tests;
