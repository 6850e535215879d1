//! The init of a command's pid namespace: makes the command's process, reaps, passes signals on, and proves that nothing
//! is left when the command has ended.
//!
//! An init serves one command at a time and stands between it and the next: it ends everything in its namespace, waits
//! until there is nothing, and only then says that the command has ended. So the same namespace serves the next command,
//! which finds in it nothing but numbers that were used; making one, with its /proc, costs as much as the command itself.
//! Between commands there is in it the process of the next one, confined and waiting.
//! Whatever goes otherwise than that (a limit, a cancelled command, a step that failed) is the end of the init, and with
//! it the kernel ends the namespace: pid_namespaces(7).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::apart;
use super::cgroup::Joins;
use super::tree;
use crate::sys::mount::{self, Attributes};
use crate::sys::process::{self, Side, Usage};
use crate::sys::spawn::{Confinement, Counts, Launch, Starter, Step, Words};
use crate::sys::{passing, socket};
use crate::wire::runner::Apart;

/// Most bytes of one packet between a runner and an init: below what a socket takes by default.
const PACKET: usize = 64 << 10;

/// What holds the processes of a command together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// A pid namespace that the init is process 1 of: the kernel ends everything in it with the init.
    Namespace,
    /// Nothing but descent: all orphans are the init's, and it ends before itself what is left ([`tree`]).
    Descent,
}

/// An init, as its runner has it.
#[derive(Debug)]
pub(super) struct Init {
    hold: Hold,
    pub(super) pid: Pid,
    /// Readable when it has ended, and all of its namespace with it.
    pub(super) pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    /// What its earlier commands used, which the kernel adds up.
    before: Usage,
}

/// A command as an init is given it: [`Launch`], of which nothing is given away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) words: &'a Words,
    pub(super) cwd_id: (u64, u64),
    pub(super) stdio: [BorrowedFd<'a>; 3],
    pub(super) gate: BorrowedFd<'a>,
    pub(super) extra: Option<BorrowedFd<'a>>,
    pub(super) cpu: (u64, u64),
    pub(super) terminal: bool,
    /// The init serves no other command after it.
    pub(super) last: bool,
}

/// What an init says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The command has not been executed, for this errno. Nothing runs.
    NotRun(Step, Errno),
    /// Its first process has ended with this wait status, and nothing is left of it.
    Ended(i32, Usage),
}

/// What an init is told, beside commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A signal to the command's process group.
    Signal(i32),
    /// A signal to every process of the command.
    SignalAll(i32),
    /// To end everything, and itself.
    End,
}

/// What goes through the control socket: a tag and numbers, and after [`START`] the words of a command.
type Packet = [u64; 10];
const PACKET_SIZE: usize = size_of::<Packet>();

/// Flags of [`START`].
const TERMINAL: u64 = 1;
const LAST: u64 = 2;

const START: u64 = 1;
const SIGNAL: u64 = 2;
const SIGNAL_ALL: u64 = 3;
const NOT_RUN: u64 = 4;
const ENDED: u64 = 5;
const END: u64 = 6;

fn to_bytes(packet: Packet) -> [u8; PACKET_SIZE] {
    let mut bytes = [0; PACKET_SIZE];
    for (to, word) in bytes.chunks_exact_mut(8).zip(packet) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8]) -> Option<Packet> {
    let mut packet: Packet = [0; 10];
    for (word, from) in packet.iter_mut().zip(bytes.get(..PACKET_SIZE)?.chunks_exact(8)) {
        *word = u64::from_ne_bytes(from.try_into().ok()?);
    }
    Some(packet)
}

impl Init {
    /// Makes one under the session's limits, in new pid and mount namespaces where those are its hold, with this instance of
    /// devpts in /dev/pts where there is one, and set apart from the session where that is asked. It gets ready by itself; what
    /// it could not do it says in place of its first command.
    ///
    /// # Errors
    /// Of socketpair(2) and clone(2).
    pub(super) fn make(
        hold: Hold,
        confinement: &Confinement,
        joins: &Joins,
        devpts: Option<&OwnedFd>,
        apart: &Apart,
    ) -> nix::Result<Self> {
        use nix::sched::CloneFlags;
        let (control, theirs) = socket::packet_pair()?;
        let mut namespaces = match hold {
            Hold::Namespace => CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS,
            Hold::Descent => CloneFlags::empty(),
        };
        namespaces.set(CloneFlags::CLONE_NEWNET, apart.offline);
        match process::clone(namespaces, joins.group.as_ref().map(AsFd::as_fd))? {
            Side::Child => process::exit_now(main(hold, &theirs, confinement, joins, devpts, apart)),
            Side::Parent { pid, pidfd } => Ok(Self { hold, pid, pidfd, control, before: Usage::default() }),
        }
    }

    /// Whether it is there still.
    pub(super) fn is_alive(&self) -> bool {
        matches!(process::reap(self.pid), Ok(None))
    }

    /// Has it make a command's process.
    ///
    /// # Errors
    /// Where it has gone.
    pub(super) fn start(&self, order: Order<'_>) -> nix::Result<()> {
        let Order { words, cwd_id, stdio, gate, extra, cpu, terminal, last } = order;
        let flags = u64::from(terminal) * TERMINAL + u64::from(last) * LAST;
        let [programs, argv, env] = words.counts().map(|count| count as u64);
        let total = words.bytes().len() as u64;
        let header = to_bytes([START, total, programs, argv, env, cwd_id.0, cwd_id.1, flags, cpu.0, cpu.1]);
        let [stdin, stdout, stderr] = stdio;
        let (first, rest) = words.bytes().split_at(words.bytes().len().min(PACKET - PACKET_SIZE));
        let first = [header.as_slice(), first].concat();
        let fds: Vec<_> = [stdin, stdout, stderr, gate].into_iter().chain(extra).collect();
        passing::send(self.control.as_fd(), &first, &fds)?;
        for piece in rest.chunks(PACKET) {
            passing::send(self.control.as_fd(), piece, &[])?;
        }
        Ok(())
    }

    /// Tells it something. One that has gone does not mind.
    pub(super) fn tell(&self, told: Told) {
        let (tag, signal) = match told {
            Told::Signal(signal) => (SIGNAL, signal),
            Told::SignalAll(signal) => (SIGNAL_ALL, signal),
            Told::End => (END, 0),
        };
        let packet = to_bytes([tag, u64::from(signal.cast_unsigned()), 0, 0, 0, 0, 0, 0, 0, 0]);
        let _ = passing::send(self.control.as_fd(), &packet, &[]);
    }

    /// Receives what it says; `None` where it has gone.
    pub(super) fn listen(&mut self) -> Option<Said> {
        let mut bytes = [0; PACKET_SIZE];
        match nix::unistd::read(&self.control, &mut bytes) {
            Ok(PACKET_SIZE) => {}
            Err(Errno::EINTR) => return self.listen(),
            _ => return None,
        }
        let [tag, first, second, third, ..] = from_bytes(&bytes)?;
        let number = u32::try_from(first).ok()?;
        match tag {
            ENDED => {
                let usage = Usage { cpu_us: second, max_rss_kib: third };
                self.before.cpu_us += usage.cpu_us;
                self.before.max_rss_kib = self.before.max_rss_kib.max(usage.max_rss_kib);
                Some(Said::Ended(number.cast_signed(), usage))
            }
            NOT_RUN => {
                Some(Said::NotRun(Step::from_number(number)?, Errno::from_raw(i32::try_from(second).ok()?)))
            }
            _ => None,
        }
    }

    /// Ends it and everything that it holds.
    pub(super) fn destroy(&self) {
        match self.hold {
            Hold::Namespace => drop(process::signal(self.pidfd.as_fd(), Signal::SIGKILL)),
            Hold::Descent => self.tell(Told::End),
        }
    }

    /// Reaps it where it has ended. Says what its last command used (the largest resident set may be an earlier one's),
    /// and whether something of it may be left: it was killed, and held no namespace.
    pub(super) fn reap(&self) -> Option<(Usage, bool)> {
        let (_, status, usage) = process::reap(self.pid).ok()??;
        let left = self.hold == Hold::Descent && libc::WIFSIGNALED(status);
        Some((Usage { cpu_us: usage.cpu_us.saturating_sub(self.before.cpu_us), ..usage }, left))
    }
}

/// Runs the role in a process of its own; the result is its exit code.
fn main(
    hold: Hold,
    control: &OwnedFd,
    confinement: &Confinement,
    joins: &Joins,
    devpts: Option<&OwnedFd>,
    apart: &Apart,
) -> i32 {
    let _ = process::die_with_parent();
    let _ = nix::sys::prctl::set_dumpable(false);
    let children = match set_up(hold, control, confinement, joins, devpts, apart) {
        Ok(children) => children,
        Err((step, errno)) => {
            not_run(control, step, errno);
            return 1;
        }
    };
    Life {
        hold,
        control,
        confinement,
        children,
        starter: Starter::default(),
        command: None,
        ahead: true,
        last: false,
        usage: Usage::default(),
    }
    .live()
}

type Failed = (Step, Errno);

fn set_up(
    hold: Hold,
    control: &OwnedFd,
    confinement: &Confinement,
    joins: &Joins,
    devpts: Option<&OwnedFd>,
    apart: &Apart,
) -> Result<SignalFd, Failed> {
    let init = |errno| (Step::Init, errno);
    // The command's process inherits it, and opens it again at the last moment.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(init)?;
    for tasks in &joins.tasks {
        // 0 is the writer itself: cgroups(7).
        nix::unistd::write(tasks, b"0").map_err(|errno| (Step::Cgroup, errno))?;
    }
    match hold {
        Hold::Namespace => mount_proc().map_err(|errno| (Step::Proc, errno))?,
        Hold::Descent => nix::sys::prctl::set_child_subreaper(true).map_err(init)?,
    }
    if let Some(devpts) = devpts {
        place("/dev/pts")
            .and_then(|pts| mount::attach(devpts.as_fd(), pts.as_fd()))
            .map_err(|errno| (Step::Terminal, errno))?;
    }
    apart::enter(apart, confinement.ids).map_err(|errno| (Step::Apart, errno))?;
    // Descriptors 0, 1 and 2 stay taken, so that no other gets such a number. Everything of other commands goes.
    let children =
        SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(init)?;
    let keep = [control.as_raw_fd(), confinement.ruleset.as_raw_fd(), children.as_fd().as_raw_fd()];
    process::close_all_but(keep).map_err(init)?;
    // An ordinary user that holds by descent has none to keep.
    if hold == Hold::Namespace || nix::unistd::geteuid().is_root() {
        process::keep_capabilities_of_an_init().map_err(init)?;
    }
    Ok(children)
}

fn place(path: &str) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// A /proc of this pid namespace, over the session's, with what tells of keys hidden.
pub(super) fn mount_proc() -> nix::Result<()> {
    let attributes = Attributes { no_suid: true, no_dev: true, no_exec: true, ..Attributes::default() };
    let proc = mount::new_filesystem(c"proc", &[(c"hidepid", c"invisible")], attributes)?;
    mount::attach(proc.as_fd(), place("/proc")?.as_fd())?;
    for hidden in ["/proc/keys", "/proc/key-users"] {
        match place(hidden) {
            Ok(hidden) => {
                let null = mount::clone_tree(place("/dev/null")?.as_fd(), false)?;
                mount::attach(null.as_fd(), hidden.as_fd())?;
            }
            // A kernel without keys has no such file.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn not_run(control: &OwnedFd, step: Step, errno: Errno) {
    say(
        control,
        [NOT_RUN, u64::from(step as u32), u64::from((errno as i32).cast_unsigned()), 0, 0, 0, 0, 0, 0, 0],
    );
}

fn say(control: &OwnedFd, packet: Packet) {
    let _ = passing::send(control.as_fd(), &to_bytes(packet), &[]);
}

struct Life<'a> {
    hold: Hold,
    control: &'a OwnedFd,
    confinement: &'a Confinement,
    children: SignalFd,
    starter: Starter,
    command: Option<Pid>,
    /// Whether a process is made before there is a command for it.
    ahead: bool,
    /// Whether the command is the last one.
    last: bool,
    usage: Usage,
}

impl Life<'_> {
    fn live(&mut self) -> i32 {
        loop {
            if self.command.is_none() && self.ahead {
                // Before there is a command nobody waits for this. Where it fails, the next command will say why.
                self.ahead = self.starter.prepare(self.confinement).is_ok();
            }
            let mut fds = [
                PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            ];
            let _ = poll(&mut fds, PollTimeout::NONE);
            let [heard, died] = fds.map(|fd| fd.any().unwrap_or(true));
            if died {
                let _ = self.children.read_signal();
                self.reap();
            }
            if heard && !self.obey() {
                if self.hold == Hold::Descent {
                    tree::end(&[]);
                }
                return 1;
            }
        }
    }

    /// Does what the runner says; `false` where it has gone, or cannot be understood.
    fn obey(&mut self) -> bool {
        let mut packet = vec![0; PACKET];
        let received = match passing::receive(self.control.as_fd(), &mut packet) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR) => return true,
            Err(_) => return false,
        };
        packet.truncate(received.bytes);
        let Some([tag, first, programs, argv, env, dev, ino, flags, cpu, more]) = from_bytes(&packet) else {
            return false;
        };
        match tag {
            START => {
                packet.drain(..PACKET_SIZE);
                let mut fds = received.fds;
                let extra = if fds.len() > 4 { fds.pop() } else { None };
                let Ok([stdin, stdout, stderr, gate]) = <[OwnedFd; 4]>::try_from(fds) else {
                    return false;
                };
                let counts = [programs, argv, env].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
                let Some(words) = self.words(packet, first, counts) else { return false };
                let launch = Launch {
                    stdio: [stdin, stdout, stderr],
                    gate,
                    extra,
                    cpu: (cpu, more),
                    words,
                    cwd_id: (dev, ino),
                    terminal: flags & TERMINAL != 0,
                };
                self.last = flags & LAST != 0;
                self.usage = Usage::default();
                match self.starter.start(self.confinement, launch) {
                    Ok(pid) => self.command = Some(pid),
                    Err(errno) => not_run(self.control, Step::Clone, errno),
                }
            }
            SIGNAL | SIGNAL_ALL => {
                let Some(command) = self.command else { return true };
                let signal = i32::try_from(first).unwrap_or(0);
                match (tag, self.hold) {
                    (SIGNAL, _) => drop(process::kill(-command.as_raw(), signal)),
                    (_, Hold::Namespace) => drop(process::kill(-1, signal)),
                    (_, Hold::Descent) => tree::signal(signal),
                }
            }
            _ => return false,
        }
        true
    }

    /// The words of a command, of which the first packet brought some.
    fn words(&self, mut bytes: Vec<u8>, total: u64, counts: Counts) -> Option<Words> {
        let total = usize::try_from(total).ok()?;
        let mut packet = Vec::new();
        while bytes.len() < total {
            packet.resize(PACKET, 0);
            let mut fds = [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            match passing::receive(self.control.as_fd(), &mut packet) {
                Ok(received) if received.bytes > 0 => bytes.extend_from_slice(packet.get(..received.bytes)?),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                _ => return None,
            }
        }
        Words::from_parts(bytes, counts).ok()
    }

    /// Reaps whatever has died. With the command's first process everything else in the namespace ends.
    fn reap(&mut self) {
        while let Ok(Some((pid, status, usage))) = process::reap(Pid::from_raw(-1)) {
            self.usage.add(usage);
            if self.starter.was_waiting(pid) {
                // Made again at once, it would die again.
                self.ahead = false;
            }
            if Some(pid) != self.command {
                continue;
            }
            self.command = None;
            self.ahead = !self.last;
            match self.hold {
                Hold::Namespace => self.end_namespace(),
                Hold::Descent => self.usage.add(tree::end(&[])),
            }
            match self.starter.ended() {
                Some((step, errno)) => not_run(self.control, step, errno),
                None => {
                    let Usage { cpu_us, max_rss_kib } = self.usage;
                    say(
                        self.control,
                        [ENDED, u64::from(status.cast_unsigned()), cpu_us, max_rss_kib, 0, 0, 0, 0, 0, 0],
                    );
                }
            }
        }
    }

    /// Ends everything else in this namespace.
    fn end_namespace(&mut self) {
        // A process that is being forked meanwhile gets the signal as well, or is not
        // made: fork(2) gives way to a signal that ends its caller.
        let _ = process::kill(-1, libc::SIGKILL);
        // All orphans are this process's children. Until none is left nothing has ended.
        while let Ok(usage) = process::wait_for_any() {
            self.usage.add(usage);
            let _ = process::kill(-1, libc::SIGKILL);
        }
    }
}
