//! Starting a confined command: a process that shares its starter's memory until it has become the command.
//!
//! A fork copies page tables and then faults page after page, which costs more than all the layers of a jail together.
//! So the command's process is cloned with `CLONE_VM`, on a stack of its own. It may not touch the C library, allocate,
//! or panic: everything that it needs was put together before, and it speaks to the kernel only through
//! [`raw::call`](super::raw). What it does is a list, in order ([`become_command`]).
//!
//! It is made before there is a command: it takes from itself what no command of the session may have, every layer, and
//! waits at a door. What is the command's own (its streams, its directory) comes through the door; and the last thing
//! before the execution is to wait at a gate, which opens when the decision has been recorded.
//!
//! The starter is the init of the command's pid namespace, a process of its own with nothing else in its memory: a kernel
//! that is out of memory ends whatever shares memory with the process that it picks.

mod confine;
pub mod step;

use std::cell::UnsafeCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::ptr::null;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::Result;
use nix::errno::Errno;
use nix::unistd::Pid;

use self::confine::become_command;
use super::{passing, socket};

/// Room for the command's process until it has executed. Its code is a handful of calls deep; a guard is not needed,
/// since nothing in it recurses or has large locals.
const STACK: usize = 64 << 10;

/// The number of a command's descriptor beside its streams, where it has one: of one digit, which is as far as POSIX lets a shell
/// name them, and not one that scripts are fond of.
pub const EXTRA: RawFd = 7;

/// What is the same for every command of a session.
#[derive(Debug)]
pub struct Confinement {
    /// User and group id of commands.
    pub ids: (u32, u32),
    /// Whether supplementary groups can be dropped: not in a user namespace without setgroups(2).
    pub drop_groups: bool,
    /// A landlock ruleset.
    pub ruleset: OwnedFd,
    /// A seccomp program.
    pub filter: &'static [seccompiler::sock_filter],
}

/// One command.
#[derive(Debug)]
pub struct Launch {
    /// Descriptors 0, 1 and 2 of the command.
    pub stdio: [OwnedFd; 3],
    /// Whether they are a terminal, which becomes the command's own.
    pub terminal: bool,
    /// A byte from here lets the command be executed; the end of the stream ends it unexecuted.
    pub gate: OwnedFd,
    /// What the command has as [`EXTRA`], where it has one more.
    pub extra: Option<OwnedFd>,
    /// Processor time of one process in seconds, and how much more there is before SIGKILL; 0 is no limit.
    pub cpu: (u64, u64),
    /// Everything that is text.
    pub words: Words,
    /// Device and inode that the working directory must have.
    pub cwd_id: (u64, u64),
}

/// The texts of a command: NUL-terminated, one after the other, as they travel to an init and as exec takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    bytes: Vec<u8>,
    counts: Counts,
}

/// How many of the words are paths to try to execute, in order; arguments; variables. The working directory comes first
/// and is not counted.
pub type Counts = [usize; 3];

impl Words {
    /// Puts them together.
    ///
    /// # Errors
    /// `EINVAL` where one has a NUL in it.
    pub fn new<'a, T>(
        cwd: &'a [u8],
        programs: &[Vec<u8>],
        argv: &[T],
        env: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self>
    where
        T: AsRef<[u8]>,
    {
        let counts = [programs.len(), argv.len(), env.len()];
        let mut bytes = Vec::with_capacity(4096);
        let mut put = |pieces: &[&[u8]]| {
            for piece in pieces {
                if piece.contains(&0) {
                    return Err(Errno::EINVAL);
                }
                bytes.extend_from_slice(piece);
            }
            bytes.push(0);
            Ok(())
        };
        put(&[cwd])?;
        programs.iter().try_for_each(|program| put(&[program]))?;
        argv.iter().try_for_each(|word| put(&[word.as_ref()]))?;
        for (name, value) in env {
            put(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        Ok(Self { bytes, counts })
    }

    /// Takes what [`Self::bytes`] and [`Self::counts`] gave.
    ///
    /// # Errors
    /// `EINVAL` where there are not as many.
    pub fn from_parts(bytes: Vec<u8>, counts: Counts) -> Result<Self> {
        let whole = counts.iter().try_fold(1_usize, |sum, count| sum.checked_add(*count));
        let words = bytes.iter().filter(|byte| **byte == 0).count();
        if whole == Some(words) && bytes.last() == Some(&0) {
            Ok(Self { bytes, counts })
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many of each.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Where each begins: the directory, and three arrays as exec takes them.
    fn pointers(&self) -> (*const libc::c_char, [Vec<*const libc::c_char>; 3]) {
        let mut words = self.bytes.split_inclusive(|byte| *byte == 0).map(|word| word.as_ptr().cast());
        let cwd = words.next().unwrap_or(c"".as_ptr());
        let arrays = self.counts.map(|count| words.by_ref().take(count).chain([null()]).collect());
        (cwd, arrays)
    }
}

/// What a process was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// Joining the session's control group.
    Cgroup = 1,
    /// Mounting /proc.
    Proc,
    /// Mounting the terminal's /dev/pts, and making the terminal the command's own.
    Terminal,
    /// Setting the command apart from its session.
    Apart,
    /// Preparing to reap.
    Init,
    /// Making the command's process.
    Clone,
    /// Putting the streams in place, starting a session.
    Streams,
    /// Becoming the user.
    Ids,
    /// Dropping capabilities.
    Capabilities,
    /// Limiting processor time.
    Limits,
    /// Entering the working directory.
    Directory,
    /// The working directory is another one.
    Replaced,
    /// Landlock.
    Landlock,
    /// Seccomp.
    Seccomp,
    /// Waiting at the gate, which was never opened.
    Gate,
    /// Executing the program.
    Execute,
}

impl Step {
    /// The step of this number.
    pub fn from_number(number: u32) -> Option<Self> {
        const STEPS: [Step; 16] = [
            Step::Cgroup,
            Step::Proc,
            Step::Terminal,
            Step::Apart,
            Step::Init,
            Step::Clone,
            Step::Streams,
            Step::Ids,
            Step::Capabilities,
            Step::Limits,
            Step::Directory,
            Step::Replaced,
            Step::Landlock,
            Step::Seccomp,
            Step::Gate,
            Step::Execute,
        ];
        STEPS.into_iter().find(|step| *step as u32 == number)
    }
}

/// Everything that the command's process reads and writes. Nothing in it moves while that lives.
struct Memory {
    door: RawFd,
    ids: (u32, u32),
    drop_groups: bool,
    ruleset: RawFd,
    filter: libc::sock_fprog,
    /// Written before the descriptors are sent through the door, read after they were received.
    task: UnsafeCell<Option<Task>>,
    /// Where it failed, said to its init: a step and an errno.
    failed: [AtomicU32; 2],
}

/// What is one command's own, beside its descriptors.
struct Task {
    terminal: bool,
    extra: bool,
    cpu: (u64, u64),
    cwd: *const libc::c_char,
    cwd_id: (u64, u64),
    _words: Words,
    programs: Vec<*const libc::c_char>,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
}

/// Starts commands, one after the other.
pub struct Starter {
    stack: Vec<u8>,
    process: Option<Process>,
}

/// A process that is a command's, or will be.
struct Process {
    pid: Pid,
    memory: Box<Memory>,
    door: OwnedFd,
    /// Whether it has been given a command.
    busy: bool,
}

impl std::fmt::Debug for Starter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Starter")
            .field("pid", &self.process.as_ref().map(|it| it.pid))
            .finish_non_exhaustive()
    }
}

impl Default for Starter {
    fn default() -> Self {
        Self { stack: vec![0; STACK], process: None }
    }
}

impl Starter {
    /// Makes the process of a command to come, where there is none: it confines itself and waits. The caller has one
    /// thread and all signals blocked.
    ///
    /// # Errors
    /// Of socketpair(2) and clone(2).
    pub fn prepare(&mut self, confinement: &Confinement) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let filter = program(confinement.filter)?;
        let (door, theirs) = socket::packet_pair()?;
        let memory = Box::new(Memory {
            door: theirs.as_raw_fd(),
            ids: confinement.ids,
            drop_groups: confinement.drop_groups,
            ruleset: confinement.ruleset.as_raw_fd(),
            filter,
            task: UnsafeCell::new(None),
            failed: [AtomicU32::new(0), AtomicU32::new(0)],
        });
        let argument = (&raw const *memory).cast_mut().cast();
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY: `become_command` runs on the stack of this starter and reads this memory; both stay until the process
        // has been reaped, since only `ended` and no drop gives them up.
        let pid = unsafe { libc::clone(become_command, top_of(&self.stack), flags, argument) };
        let pid = Pid::from_raw(Errno::result(pid)?);
        self.process = Some(Process { pid, memory, door, busy: false });
        Ok(())
    }

    /// Gives a command to the process that waits for one, or to a new one. It gets ready and waits at its gate. What is in
    /// the launch is closed here. Reap the process, then call [`Self::ended`]: until then there can be no other.
    ///
    /// # Errors
    /// `EBUSY` where there is one, or as [`Self::prepare`].
    pub fn start(&mut self, confinement: &Confinement, launch: Launch) -> Result<Pid> {
        self.prepare(confinement)?;
        let process = self.process.as_mut().filter(|process| !process.busy).ok_or(Errno::EBUSY)?;
        let Launch { stdio, terminal, gate, extra, cpu, words, cwd_id } = launch;
        let (cwd, [programs, argv, env]) = words.pointers();
        // Its bytes are on the heap and stay where they are.
        let task =
            Task { terminal, extra: extra.is_some(), cpu, cwd, cwd_id, _words: words, programs, argv, env };
        // SAFETY: the process reads it only after it has received the descriptors, which are sent below.
        unsafe { *process.memory.task.get() = Some(task) };
        process.busy = true;
        let [stdin, stdout, stderr] = &stdio;
        // Always as many: the process has room for exactly these.
        let last = extra.as_ref().unwrap_or(&gate);
        let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), gate.as_fd(), last.as_fd()];
        if let Err(errno) = passing::send(process.door.as_fd(), &[0], &fds) {
            // It has died, and is reaped like any other: having said why, or killed.
            let [failed_step, failed_errno] = &process.memory.failed;
            if failed_step.load(Ordering::Acquire) == 0 {
                failed_errno.store((errno as i32).cast_unsigned(), Ordering::Release);
                failed_step.store(Step::Clone as u32, Ordering::Release);
            }
        }
        // The command's streams must have no other holder: its input would not end, nor its output.
        drop((stdio, gate, extra));
        Ok(process.pid)
    }

    /// Says where the process, which has been reaped, failed, if it did not execute.
    pub fn ended(&mut self) -> Option<(Step, Errno)> {
        let process = self.process.take()?;
        let [step, errno] = &process.memory.failed;
        let step = Step::from_number(step.load(Ordering::Acquire))?;
        Some((step, Errno::from_raw(errno.load(Ordering::Acquire).cast_signed())))
    }

    /// Takes note that a process has been reaped. Whether it was one that waited for a command, and is no loss.
    pub fn was_waiting(&mut self, pid: Pid) -> bool {
        self.process.take_if(|process| process.pid == pid && !process.busy).is_some()
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // Somebody may still be on it.
        if let Some(process) = self.process.take() {
            std::mem::forget(process.memory);
            std::mem::forget(std::mem::take(&mut self.stack));
        }
    }
}

/// A filter as the kernel takes it, for as long as its instructions live.
fn program(filter: &[seccompiler::sock_filter]) -> Result<libc::sock_fprog> {
    let len = u16::try_from(filter.len()).map_err(|_| Errno::E2BIG)?;
    Ok(libc::sock_fprog { len, filter: filter.as_ptr().cast_mut().cast() })
}

fn top_of(stack: &[u8]) -> *mut libc::c_void {
    let top = stack.as_ptr_range().end;
    // Both conventions want 16 bytes of alignment.
    top.wrapping_sub(top.addr() % 16).cast_mut().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_travel_and_arrive() {
        let env = [("A", "1"), ("B", "")];
        let words = Words::new(b"/w", &[b"/bin/x".to_vec()], &["x", ""], env.into_iter()).unwrap();
        assert_eq!(words.bytes(), b"/w\0/bin/x\0x\0\0A=1\0B=\0");
        assert_eq!(words.counts(), [1, 2, 2]);
        let again = Words::from_parts(words.bytes().to_vec(), words.counts()).unwrap();
        assert_eq!(again, words);
        let (_, [programs, argv, env]) = again.pointers();
        assert_eq!([programs.len(), argv.len(), env.len()], [2, 3, 3]);
        assert!([programs, argv, env].iter().all(|array| array.last() == Some(&null())));
    }

    #[test]
    fn words_that_do_not_fit_their_counts_are_refused() {
        for (bytes, counts) in [
            (&b"/w\0"[..], [1, 0, 0]),
            (b"/w\0a\0", [0, 0, 0]),
            (b"/w\0a", [1, 0, 0]),
            (b"", [0, 0, 0]),
            (b"/w\0", [usize::MAX, 1, 0]),
        ] {
            assert_eq!(Words::from_parts(bytes.to_vec(), counts), Err(Errno::EINVAL), "{bytes:?}");
        }
        assert_eq!(Words::new(b"/w", &[], &["a\0b"], std::iter::empty()), Err(Errno::EINVAL));
    }
}
