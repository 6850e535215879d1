//! Starting a confined command: two processes that share the runner's memory until one of them has become the command.
//!
//! A fork copies page tables and then faults page after page, which costs more than all the layers of a jail together.
//! So the init of a command's namespace is cloned with `CLONE_VM`, on a stack of its own, and makes the command's
//! process as vfork(2) does. Neither may touch the C library, allocate, or panic: everything they need was put together
//! before, and they speak to the kernel only through [`raw::call`](super::raw). What they do is a list, in order.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::Result;
use nix::errno::Errno;
use nix::unistd::Pid;

use super::raw::call;

/// Room for each of the two processes. Their code is a handful of calls deep; a guard is not needed, since nothing in
/// it recurses or has large locals.
const STACK: usize = 64 << 10;

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
    /// Open `cgroup.procs` files of the session's groups.
    pub cgroups: Vec<OwnedFd>,
}

/// One command.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Descriptors 0, 1 and 2.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Where they are a terminal, the instance of devpts that it is in. Nobody but the command sees that instance.
    pub terminal: Option<BorrowedFd<'a>>,
    /// The init's end of a packet socket to the runner.
    pub control: BorrowedFd<'a>,
    /// Paths to try to execute, in order.
    pub programs: Vec<CString>,
    /// Argument vector.
    pub argv: Vec<CString>,
    /// Environment.
    pub env: Vec<CString>,
    /// Working directory.
    pub cwd: CString,
    /// Device and inode that it must have.
    pub cwd_id: (u64, u64),
}

/// A started init. Its memory is shared with it, and must stay until it has been reaped: keep this until then.
#[derive(Debug)]
pub struct Started {
    /// The init.
    pub pid: Pid,
    /// A descriptor for it.
    pub pidfd: OwnedFd,
    _memory: Box<Memory>,
}

/// What an init says to its runner, one packet each: a tag and two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The command has been executed.
    Started,
    /// It has not, for this errno; nothing runs.
    NotRun(Step, Errno),
    /// Its first process has ended, with this wait status.
    Ended(i32),
}

/// What a runner tells an init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A signal to the command's process group.
    Signal(i32),
    /// A signal to every process of the command.
    SignalAll(i32),
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
    /// Entering the working directory.
    Directory,
    /// The working directory is another one.
    Replaced,
    /// Landlock.
    Landlock,
    /// Seccomp.
    Seccomp,
    /// Executing the program.
    Execute,
}

const STEPS: [Step; 13] = [
    Step::Cgroup,
    Step::Proc,
    Step::Terminal,
    Step::Init,
    Step::Clone,
    Step::Streams,
    Step::Ids,
    Step::Capabilities,
    Step::Directory,
    Step::Replaced,
    Step::Landlock,
    Step::Seccomp,
    Step::Execute,
];

type Packet = [u32; 3];

impl Said {
    const STARTED: u32 = 1;
    const NOT_RUN: u32 = 2;
    const ENDED: u32 = 3;

    /// Receives one; `None` where the init has gone or a signal came in between.
    pub fn receive(control: BorrowedFd<'_>) -> Option<Self> {
        let mut bytes = [0; 12];
        match nix::unistd::read(control, &mut bytes) {
            Ok(12) => {}
            Err(Errno::EINTR) => return Self::receive(control),
            _ => return None,
        }
        let word = |at: usize| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 4]);
            u32::from_ne_bytes(bytes)
        };
        match word(0) {
            Self::STARTED => Some(Self::Started),
            Self::ENDED => Some(Self::Ended(word(4).cast_signed())),
            Self::NOT_RUN => {
                let step = STEPS.into_iter().find(|step| *step as u32 == word(4))?;
                Some(Self::NotRun(step, Errno::from_raw(word(8).cast_signed())))
            }
            _ => None,
        }
    }
}

impl Told {
    /// Sends it. An init that has gone does not mind.
    pub fn send(self, control: BorrowedFd<'_>) {
        let packet: Packet = match self {
            Self::Signal(signal) => [1, signal.cast_unsigned(), 0],
            Self::SignalAll(signal) => [2, signal.cast_unsigned(), 0],
        };
        let bytes: Vec<u8> = packet.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let _ = nix::unistd::write(control, &bytes);
    }
}

/// Everything that the two processes read and write. Nothing in it moves while they live.
struct Memory {
    init_stack: Vec<u8>,
    command_stack: Vec<u8>,
    stdio: [RawFd; 3],
    terminal: Option<RawFd>,
    control: RawFd,
    cgroups: Vec<RawFd>,
    ids: (u32, u32),
    drop_groups: bool,
    ruleset: RawFd,
    filter: libc::sock_fprog,
    cwd: CString,
    cwd_id: (u64, u64),
    _strings: [Vec<CString>; 3],
    programs: Vec<*const libc::c_char>,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    /// Where the command's process failed, said to its init: a step and an errno.
    failed: [AtomicU32; 2],
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// Starts a command in new pid and mount namespaces. The caller's root must be the session's, with `/proc` and
/// `/dev/null` in it; the caller must have CAP_SYS_ADMIN.
pub fn start(confinement: &Confinement, launch: Launch<'_>) -> Result<Started> {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
    };
    let filter = libc::sock_fprog {
        len: u16::try_from(confinement.filter.len()).map_err(|_| Errno::E2BIG)?,
        filter: confinement.filter.as_ptr().cast_mut().cast(),
    };
    let memory = Box::new(Memory {
        init_stack: vec![0; STACK],
        command_stack: vec![0; STACK],
        stdio: launch.stdio.map(|fd| fd.as_raw_fd()),
        terminal: launch.terminal.map(|fd| fd.as_raw_fd()),
        control: launch.control.as_raw_fd(),
        cgroups: confinement.cgroups.iter().map(AsRawFd::as_raw_fd).collect(),
        ids: confinement.ids,
        drop_groups: confinement.drop_groups,
        ruleset: confinement.ruleset.as_raw_fd(),
        filter,
        cwd: launch.cwd,
        cwd_id: launch.cwd_id,
        programs: pointers(&launch.programs),
        argv: pointers(&launch.argv),
        env: pointers(&launch.env),
        _strings: [launch.programs, launch.argv, launch.env],
        failed: [AtomicU32::new(0), AtomicU32::new(0)],
    });
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_PIDFD | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::SIGCHLD;
    // SAFETY: `init` runs on a stack of its own inside `memory`, which the caller keeps until the process has been
    // reaped, and touches nothing else of ours. The pidfd is stored before clone returns here.
    let pid = unsafe {
        libc::clone(
            init,
            top_of(&memory.init_stack),
            flags,
            (&raw const *memory).cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let pid = Pid::from_raw(Errno::result(pid)?);
    // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor here that nothing else owns.
    Ok(Started { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) }, _memory: memory })
}

fn top_of(stack: &[u8]) -> *mut libc::c_void {
    let top = stack.as_ptr_range().end;
    // Both conventions want 16 bytes of alignment.
    top.wrapping_sub(top.addr() % 16).cast_mut().cast()
}

/// A system call that yields a value, or its errno.
///
/// # Safety
///
/// As the call requires.
unsafe fn checked(number: libc::c_long, arguments: [usize; 5]) -> std::result::Result<usize, u32> {
    // SAFETY: the caller vouches for it.
    let result = unsafe { call(number, arguments) };
    if result < 0 { Err(u32::try_from(-result).unwrap_or(0)) } else { Ok(result.cast_unsigned()) }
}

fn number(fd: RawFd) -> usize {
    // A negative descriptor becomes one that no table has.
    fd as isize as usize
}

/// PID 1 of the command's namespace. Its parent is the runner, with which it shares memory.
extern "C" fn init(memory: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passed a `Memory` that outlives this process, and changes nothing in it meanwhile.
    let memory = unsafe { &*memory.cast::<Memory>() };
    let (control, packet) = match live(memory) {
        Ok(status) => (CONTROL, [Said::ENDED, status, 0]),
        Err((step, errno)) => (memory.control, [Said::NOT_RUN, step as u32, errno]),
    };
    say(control, packet);
    // The kernel ends whatever is left in the namespace: pid_namespaces(7).
    0
}

/// Where an init has its end of the control socket, and where its signal descriptor, once the command runs.
const CONTROL: RawFd = 0;
const CHILDREN: RawFd = 1;

fn say(control: RawFd, packet: Packet) {
    // SAFETY: write(2) reads the packet, which outlives the call.
    unsafe {
        call(libc::SYS_write, [number(control), packet.as_ptr().addr(), size_of::<Packet>(), 0, 0]);
    }
}

type Failed = (Step, u32);

fn live(memory: &Memory) -> std::result::Result<u32, Failed> {
    let signals: u64 = 1 << (libc::SIGCHLD - 1);
    // SAFETY: each call is given constants, descriptors of ours, or pointers to data that outlives it.
    unsafe {
        let init = |errno| (Step::Init, errno);
        checked(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0])
            .map_err(init)?;
        mount_proc().map_err(|errno| (Step::Proc, errno))?;
        if let Some(devpts) = memory.terminal {
            attach(number(devpts), c"/dev/pts".as_ptr().addr()).map_err(|errno| (Step::Terminal, errno))?;
        }
        checked(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, (&raw const signals).addr(), 0, 8, 0])
            .map_err(init)?;
        let children =
            checked(libc::SYS_signalfd4, [usize::MAX, (&raw const signals).addr(), 8, 0, 0]).map_err(init)?;

        // As vfork(2): this process stands still until the other has executed its program or is gone.
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let argument = (&raw const *memory).cast_mut().cast();
        let command = libc::clone(become_command, top_of(&memory.command_stack), flags, argument);
        if command < 0 {
            return Err((Step::Clone, libc::EAGAIN.unsigned_abs()));
        }
        let [step, errno] = &memory.failed;
        let step = step.load(Ordering::Acquire);
        if let Some(step) = STEPS.iter().find(|known| **known as u32 == step) {
            return Err((*step, errno.load(Ordering::Acquire)));
        }
        // The runner's ends of the command's pipes among them: a command waits for the end of its input.
        close_all_but(number(memory.control), children).map_err(init)?;
        keep_only_kill().map_err(init)?;
        // The command's streams must have no other holder: its input would not end, nor its output.
        checked(libc::SYS_dup3, [number(memory.control), number(CONTROL), 0, 0, 0]).map_err(init)?;
        checked(libc::SYS_dup3, [children, number(CHILDREN), 0, 0, 0]).map_err(init)?;
        checked(libc::SYS_close_range, [2, u32::MAX as usize, 0, 0, 0]).map_err(init)?;
        say(CONTROL, [Said::STARTED, 0, 0]);
        supervise(command)
    }
}

/// Closes every descriptor of this process but two.
///
/// # Safety
///
/// Nothing may use what is closed.
unsafe fn close_all_but(one: usize, other: usize) -> std::result::Result<(), u32> {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    for (first, last) in
        [(0, low.wrapping_sub(1)), (low + 1, high.wrapping_sub(1)), (high + 1, u32::MAX as usize)]
    {
        if first <= last && last != usize::MAX {
            // SAFETY: close_range takes numbers.
            unsafe { checked(libc::SYS_close_range, [first, last, 0, 0, 0])? };
        }
    }
    Ok(())
}

/// Reaps and passes signals on until the command's first process has ended.
fn supervise(command: libc::pid_t) -> std::result::Result<u32, Failed> {
    let gone = (Step::Init, libc::EPIPE.unsigned_abs());
    loop {
        let mut fds = [
            libc::pollfd { fd: CHILDREN, events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: CONTROL, events: libc::POLLIN, revents: 0 },
        ];
        // SAFETY: ppoll reads and writes the array; no timeout and no mask are null.
        unsafe { call(libc::SYS_ppoll, [(&raw mut fds).addr(), 2, 0, 0, 0]) };
        let [reap, heard] = fds.map(|fd| fd.revents != 0);
        if reap {
            let mut read = [0_u8; 128];
            // SAFETY: a read of one signalfd_siginfo, which has 128 bytes.
            unsafe { call(libc::SYS_read, [number(CHILDREN), read.as_mut_ptr().addr(), read.len(), 0, 0]) };
            loop {
                let mut status = 0_u32;
                let any = usize::MAX;
                // SAFETY: wait4 writes the status; usage is null.
                let pid = unsafe {
                    call(libc::SYS_wait4, [any, (&raw mut status).addr(), libc::WNOHANG as usize, 0, 0])
                };
                if pid == command as isize {
                    return Ok(status);
                }
                if pid <= 0 {
                    break;
                }
            }
        }
        if heard {
            let mut packet: Packet = [0; 3];
            let length = size_of::<Packet>();
            // SAFETY: a read into a packet.
            let got =
                unsafe { call(libc::SYS_read, [number(CONTROL), packet.as_mut_ptr().addr(), length, 0, 0]) };
            if got == 0 {
                return Err(gone);
            }
            let [tag, signal, _] = packet;
            let target: isize = if tag == 1 { -(command as isize) } else { -1 };
            // SAFETY: kill(2) takes numbers.
            unsafe { call(libc::SYS_kill, [target.cast_unsigned(), signal as usize, 0, 0, 0]) };
        }
    }
}

/// A /proc of this pid namespace, over the session's, with what tells of keys hidden.
///
/// # Safety
///
/// Only in a process that may mount.
unsafe fn mount_proc() -> std::result::Result<(), u32> {
    const CREATE: usize = 6; // FSCONFIG_CMD_CREATE
    const SET_STRING: usize = 1; // FSCONFIG_SET_STRING
    const ATTRIBUTES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let at_cwd = libc::AT_FDCWD as isize as usize;
    let attributes = usize::try_from(ATTRIBUTES).unwrap_or(0);
    // SAFETY: NUL-terminated constants and descriptors that these calls gave.
    unsafe {
        let context = checked(libc::SYS_fsopen, [c"proc".as_ptr().addr(), 1, 0, 0, 0])?;
        let (key, value) = (c"hidepid".as_ptr().addr(), c"invisible".as_ptr().addr());
        checked(libc::SYS_fsconfig, [context, SET_STRING, key, value, 0])?;
        checked(libc::SYS_fsconfig, [context, CREATE, 0, 0, 0])?;
        let proc = checked(libc::SYS_fsmount, [context, 1, attributes, 0, 0])?;
        attach(proc, c"/proc".as_ptr().addr())?;
        for hidden in [c"/proc/keys", c"/proc/key-users"] {
            let flags = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize;
            let null = checked(libc::SYS_open_tree, [at_cwd, c"/dev/null".as_ptr().addr(), flags, 0, 0])?;
            match attach(null, hidden.as_ptr().addr()) {
                // A kernel without keys has no such file.
                Ok(()) | Err(2) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// # Safety
///
/// `path` must be a NUL-terminated string.
unsafe fn attach(mount: usize, path: usize) -> std::result::Result<(), u32> {
    let at_cwd = libc::AT_FDCWD as isize as usize;
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH as usize;
    // SAFETY: the caller vouches for the path; the source path is empty.
    unsafe { checked(libc::SYS_move_mount, [mount, c"".as_ptr().addr(), at_cwd, path, flags]).map(drop) }
}

/// The header and data of capset(2), version 3.
#[repr(C)]
struct Capabilities {
    version: u32,
    pid: i32,
    /// Effective, permitted, inheritable; low words, then high words.
    sets: [u32; 6],
}

/// # Safety
///
/// None beyond losing the capabilities.
unsafe fn set_capabilities(low: u32) -> std::result::Result<(), u32> {
    let data = Capabilities { version: 0x2008_0522, pid: 0, sets: [low, low, 0, 0, 0, 0] };
    let (header, sets) = ((&raw const data).addr(), data.sets.as_ptr().addr());
    // SAFETY: both parts are inside `data`.
    unsafe { checked(libc::SYS_capset, [header, sets, 0, 0, 0]).map(drop) }
}

/// An init reaps and signals; of the runner's capabilities it keeps the one for signals to another user's processes.
///
/// # Safety
///
/// None beyond losing the capabilities.
unsafe fn keep_only_kill() -> std::result::Result<(), u32> {
    const KILL: u32 = 1 << 5; // CAP_KILL
    // SAFETY: as this function.
    unsafe { set_capabilities(KILL) }
}

/// The command's process: takes away from itself, in order, all that the command shall not have, and executes it.
extern "C" fn become_command(memory: *mut libc::c_void) -> libc::c_int {
    // SAFETY: as `init`.
    let memory = unsafe { &*memory.cast::<Memory>() };
    // SAFETY: as `init`.
    let (step, errno) = match unsafe { confine(memory) } {
        Ok(()) => {
            // SAFETY: as `init`.
            (Step::Execute, unsafe { execute(memory) })
        }
        Err(failed) => failed,
    };
    let [failed_step, failed_errno] = &memory.failed;
    failed_errno.store(errno, Ordering::Release);
    failed_step.store(step as u32, Ordering::Release);
    127
}

/// # Safety
///
/// Only in a process that is about to execute a program.
unsafe fn confine(memory: &Memory) -> std::result::Result<(), Failed> {
    let failed = |step: Step| move |errno: u32| (step, errno);
    let (uid, gid) = (memory.ids.0 as usize, memory.ids.1 as usize);
    let none: u64 = 0;
    // SAFETY: numbers, descriptors of ours, and pointers to data that outlives each call.
    unsafe {
        // Here and not in the init: when a group runs out of memory the kernel ends whatever shares memory with the one
        // that it picks, and that would be the runner with all of the session's commands.
        for &cgroup in &memory.cgroups {
            // 0 is the writer itself: cgroups(7).
            checked(libc::SYS_write, [number(cgroup), c"0".as_ptr().addr(), 1, 0, 0])
                .map_err(failed(Step::Cgroup))?;
        }
        let streams = failed(Step::Streams);
        checked(libc::SYS_setsid, [0; 5]).map_err(streams)?;
        for (target, &fd) in memory.stdio.iter().enumerate() {
            checked(libc::SYS_dup3, [number(fd), target, 0, 0, 0]).map_err(streams)?;
        }
        if memory.terminal.is_some() {
            // The leader of a new session has none yet: nobody else's is taken away.
            let request = usize::try_from(libc::TIOCSCTTY).unwrap_or(0);
            checked(libc::SYS_ioctl, [0, request, 0, 0, 0]).map_err(failed(Step::Terminal))?;
        }
        checked(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, (&raw const none).addr(), 0, 8, 0])
            .map_err(streams)?;

        let ids = failed(Step::Ids);
        if memory.drop_groups {
            checked(libc::SYS_setgroups, [0; 5]).map_err(ids)?;
        }
        checked(libc::SYS_setresgid, [gid, gid, gid, 0, 0]).map_err(ids)?;
        checked(libc::SYS_setresuid, [uid, uid, uid, 0, 0]).map_err(ids)?;
        set_capabilities(0).map_err(failed(Step::Capabilities))?;

        // As the command's own user: what that user may not enter is not entered for it.
        enter_directory(memory)?;
        checked(libc::SYS_landlock_restrict_self, [number(memory.ruleset), 0, 0, 0, 0])
            .map_err(failed(Step::Landlock))?;
        // Everything but the three streams, the init's descriptors among them.
        checked(libc::SYS_close_range, [3, u32::MAX as usize, 0, 0, 0]).map_err(streams)?;
        const SET_MODE_FILTER: usize = 1;
        checked(libc::SYS_seccomp, [SET_MODE_FILTER, 0, (&raw const memory.filter).addr(), 0, 0])
            .map_err(failed(Step::Seccomp))?;
    }
    Ok(())
}

/// # Safety
///
/// As [`confine`].
unsafe fn enter_directory(memory: &Memory) -> std::result::Result<(), Failed> {
    /// `struct open_how` of openat2(2).
    #[repr(C)]
    struct How {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let how = How {
        flags: (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC).unsigned_abs().into(),
        mode: 0,
        resolve: libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS,
    };
    let failed = |errno| (Step::Directory, errno);
    // SAFETY: the path is NUL-terminated and `how` has the size given; statx is plain data for which zeroes are a value.
    unsafe {
        let at_cwd = libc::AT_FDCWD as isize as usize;
        let path = memory.cwd.as_ptr().addr();
        let fd = checked(libc::SYS_openat2, [at_cwd, path, (&raw const how).addr(), size_of::<How>(), 0])
            .map_err(failed)?;
        let mut stat: libc::stat = std::mem::zeroed();
        checked(libc::SYS_fstat, [fd, (&raw mut stat).addr(), 0, 0, 0]).map_err(failed)?;
        if (stat.st_dev, stat.st_ino) != memory.cwd_id {
            return Err((Step::Replaced, libc::ESTALE.unsigned_abs()));
        }
        checked(libc::SYS_fchdir, [fd, 0, 0, 0, 0]).map(drop).map_err(failed)
    }
}

/// Tries each path, as execvp(3): the errno of one that exists is worth more than that of one that does not.
///
/// # Safety
///
/// As [`confine`].
unsafe fn execute(memory: &Memory) -> u32 {
    const MISSING: [i32; 2] = [libc::ENOENT, libc::ENOTDIR];
    let mut worst = libc::ENOENT.unsigned_abs();
    for program in memory.programs.iter().take_while(|program| !program.is_null()) {
        let (argv, env) = (memory.argv.as_ptr().addr(), memory.env.as_ptr().addr());
        // SAFETY: NUL-terminated strings in null-terminated arrays that outlive the call.
        let errno = unsafe { checked(libc::SYS_execve, [program.addr(), argv, env, 0, 0]) };
        match errno {
            Ok(_) => {}
            Err(errno) if MISSING.contains(&errno.cast_signed()) => {}
            Err(errno) if errno.cast_signed() == libc::EACCES => worst = errno,
            Err(errno) => return errno,
        }
    }
    worst
}
