//! What the command's process does between its making and its execution: raw system calls, in order. What comes after
//! [`confine`] are calls that every command may make.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use super::super::raw::call;
use super::{EXTRA, Memory, Step, Task};

type Failed = (Step, u32);

/// A system call that yields a value, or its errno.
///
/// # Safety
///
/// As the call requires.
unsafe fn checked(number: libc::c_long, arguments: [usize; 5]) -> Result<usize, u32> {
    // SAFETY: the caller vouches for it.
    let result = unsafe { call(number, arguments) };
    if result < 0 { Err(u32::try_from(-result).unwrap_or(0)) } else { Ok(result.cast_unsigned()) }
}

fn number(fd: RawFd) -> usize {
    // A negative descriptor becomes one that no table has.
    fd as isize as usize
}

/// The command's process: takes away from itself, in order, all that no command shall have, waits until it is told
/// which one it is, waits until it may go on, and executes it. All signals are blocked until then.
pub(super) extern "C" fn become_command(memory: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `Starter::start` passed a `Memory` that outlives this process, and changes nothing in it meanwhile.
    let memory = unsafe { &*memory.cast::<Memory>() };
    // SAFETY: this process is about to execute a program.
    let ready =
        unsafe { confine(memory).and_then(|()| receive(memory)).and_then(|task| wait().map(|()| task)) };
    let (step, errno) = match ready {
        Ok(task) => {
            // SAFETY: as above.
            (Step::Execute, unsafe { execute(task) })
        }
        Err(failed) => failed,
    };
    let [failed_step, failed_errno] = &memory.failed;
    failed_errno.store(errno, Ordering::Release);
    failed_step.store(step as u32, Ordering::Release);
    127
}

/// Where the door is, and after it the gate; closed by exec.
const DOOR: usize = 3;
const GATE: usize = 3;

/// Puts on every layer.
///
/// # Safety
///
/// Only in a process that is about to execute a program.
unsafe fn confine(memory: &Memory) -> Result<(), Failed> {
    let failed = |step: Step| move |errno: u32| (step, errno);
    let (uid, gid) = (memory.ids.0 as usize, memory.ids.1 as usize);
    // SAFETY: numbers, descriptors of ours, and pointers to data that outlives each call.
    unsafe {
        checked(libc::SYS_setsid, [0; 5]).map_err(failed(Step::Streams))?;
        let ids = failed(Step::Ids);
        if memory.drop_groups {
            checked(libc::SYS_setgroups, [0; 5]).map_err(ids)?;
        }
        checked(libc::SYS_setresgid, [gid, gid, gid, 0, 0]).map_err(ids)?;
        checked(libc::SYS_setresuid, [uid, uid, uid, 0, 0]).map_err(ids)?;
        drop_capabilities().map_err(failed(Step::Capabilities))?;
        restrict(memory.ruleset).map_err(failed(Step::Landlock))?;
        // Everything but the streams, which are replaced, and the door: the init's descriptors among it.
        keep_at(number(memory.door), DOOR).map_err(failed(Step::Streams))?;
        filter(&memory.filter).map_err(failed(Step::Seccomp))?;
    }
    Ok(())
}

/// Moves a descriptor to a place behind the streams, closed by exec, and closes everything after it.
///
/// # Safety
///
/// As [`confine`].
unsafe fn keep_at(fd: usize, place: usize) -> Result<(), u32> {
    let close_on_exec = libc::O_CLOEXEC.unsigned_abs() as usize;
    // SAFETY: numbers only.
    unsafe {
        if fd != place {
            checked(libc::SYS_dup3, [fd, place, close_on_exec, 0, 0])?;
        }
        checked(libc::SYS_close_range, [place + 1, u32::MAX as usize, 0, 0, 0])?;
    }
    Ok(())
}

/// Waits at the door for a command, and takes its streams and its directory.
///
/// # Safety
///
/// As [`confine`].
unsafe fn receive(memory: &Memory) -> Result<&Task, Failed> {
    let streams = |errno: u32| (Step::Streams, errno);
    // SAFETY: descriptors that were received, and pointers to data that outlives each call. The task was written before
    // they were sent.
    unsafe {
        let [stdin, stdout, stderr, gate, extra] = descriptors().map_err(streams)?;
        for (target, fd) in [stdin, stdout, stderr].into_iter().enumerate() {
            checked(libc::SYS_dup3, [number(fd), target, 0, 0, 0]).map_err(streams)?;
        }
        let close_on_exec = libc::O_CLOEXEC.unsigned_abs() as usize;
        checked(libc::SYS_dup3, [number(gate), GATE, close_on_exec, 0, 0]).map_err(streams)?;
        let task = (*memory.task.get()).as_ref().ok_or((Step::Streams, libc::ENODATA.unsigned_abs()))?;
        let others = if task.extra {
            // The lowest numbers were free: none of those that were received is this one but one that has been copied.
            checked(libc::SYS_dup3, [number(extra), number(EXTRA), 0, 0, 0]).map_err(streams)?;
            checked(libc::SYS_close_range, [GATE + 1, number(EXTRA) - 1, 0, 0, 0]).map_err(streams)?;
            number(EXTRA)
        } else {
            GATE
        };
        checked(libc::SYS_close_range, [others + 1, u32::MAX as usize, 0, 0, 0]).map_err(streams)?;
        if task.terminal {
            // The leader of a new session has none yet: nobody else's is taken away.
            let request = usize::try_from(libc::TIOCSCTTY).unwrap_or(0);
            checked(libc::SYS_ioctl, [0, request, 0, 0, 0]).map_err(|errno| (Step::Terminal, errno))?;
        }
        limit(task.cpu).map_err(|errno| (Step::Limits, errno))?;
        enter_directory(task)?;
        Ok(task)
    }
}

/// Limits the processor time of this process and of each that it starts: setrlimit(2). What holds already is not raised.
///
/// # Safety
///
/// As [`confine`].
unsafe fn limit((seconds, grace): (u64, u64)) -> Result<(), u32> {
    if seconds == 0 {
        return Ok(());
    }
    let cpu = libc::RLIMIT_CPU as usize;
    let mut held = [u64::MAX; 2];
    // SAFETY: a soft and a hard limit of 64 bits each, which outlive the calls.
    unsafe {
        checked(libc::SYS_prlimit64, [0, cpu, 0, held.as_mut_ptr().addr(), 0])?;
        let [_, hard] = held;
        let limits = [seconds.min(hard), seconds.saturating_add(grace).min(hard)];
        checked(libc::SYS_prlimit64, [0, cpu, limits.as_ptr().addr(), 0, 0]).map(drop)
    }
}

/// The descriptors of a command, from the door.
///
/// # Safety
///
/// As [`confine`].
unsafe fn descriptors() -> Result<[RawFd; 5], u32> {
    /// A `struct cmsghdr` with five descriptors.
    #[repr(C)]
    struct Control {
        length: usize,
        level: libc::c_int,
        kind: libc::c_int,
        fds: [RawFd; 5],
        _end: [RawFd; 1],
    }
    let mut control = Control { length: 0, level: 0, kind: 0, fds: [-1; 5], _end: [-1] };
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: a msghdr is plain data for which all zeroes are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_CMSG_CLOEXEC.cast_unsigned() as usize;
    // SAFETY: the message and what it points to outlive the call, and their lengths are theirs.
    let read = unsafe { checked(libc::SYS_recvmsg, [DOOR, (&raw mut message).addr(), flags, 0, 0])? };
    // The kernel counts the header and the descriptors, without what aligns the next header: CMSG_LEN of cmsg(3).
    let whole = control.length == size_of::<Control>() - size_of::<RawFd>()
        && (control.level, control.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    // The end of the stream: there is no init any more.
    if read != 1 || !whole {
        return Err(libc::ECANCELED.unsigned_abs());
    }
    Ok(control.fds)
}

/// Waits at the gate, with every layer on. Nothing but a byte from the runner opens it.
///
/// # Safety
///
/// As [`confine`].
unsafe fn wait() -> Result<(), Failed> {
    let mut byte = 0_u8;
    let none: u64 = 0;
    // SAFETY: a read of one byte, and pointers to data that outlives each call.
    unsafe {
        match checked(libc::SYS_read, [GATE, (&raw mut byte).addr(), 1, 0, 0]) {
            Ok(1) => {}
            Ok(_) => return Err((Step::Gate, libc::ECANCELED.unsigned_abs())),
            Err(errno) => return Err((Step::Gate, errno)),
        }
        // A program expects to be started with no signal blocked.
        checked(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, (&raw const none).addr(), 0, 8, 0])
            .map_err(|errno| (Step::Streams, errno))?;
    }
    Ok(())
}

/// # Safety
///
/// None beyond losing the capabilities.
pub(super) unsafe fn drop_capabilities() -> Result<(), u32> {
    /// The header and data of capset(2), version 3.
    #[repr(C)]
    struct Capabilities {
        version: u32,
        pid: i32,
        /// Effective, permitted, inheritable; low words, then high words.
        sets: [u32; 6],
    }
    let none = Capabilities { version: 0x2008_0522, pid: 0, sets: [0; 6] };
    let (header, sets) = ((&raw const none).addr(), none.sets.as_ptr().addr());
    // SAFETY: both parts are inside `none`.
    unsafe { checked(libc::SYS_capset, [header, sets, 0, 0, 0]).map(drop) }
}

/// Enters a landlock domain.
///
/// # Safety
///
/// None beyond losing what the ruleset does not grant.
pub(super) unsafe fn restrict(ruleset: RawFd) -> Result<(), u32> {
    // SAFETY: numbers only.
    unsafe { checked(libc::SYS_landlock_restrict_self, [number(ruleset), 0, 0, 0, 0]).map(drop) }
}

/// Puts on a seccomp filter.
///
/// # Safety
///
/// The program is one; beyond that none but losing the calls that it refuses.
pub(super) unsafe fn filter(program: &libc::sock_fprog) -> Result<(), u32> {
    const SET_MODE_FILTER: usize = 1;
    let program = std::ptr::from_ref(program).addr();
    // SAFETY: the program outlives the call, which copies it.
    unsafe { checked(libc::SYS_seccomp, [SET_MODE_FILTER, 0, program, 0, 0]).map(drop) }
}

/// As the command's own user: what that user may not enter is not entered for it. Whatever links are on the way, what is
/// entered is the directory that was checked.
///
/// # Safety
///
/// As [`confine`].
unsafe fn enter_directory(task: &Task) -> Result<(), Failed> {
    let failed = |errno| (Step::Directory, errno);
    let flags =
        (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC).unsigned_abs() as usize;
    // SAFETY: the path is NUL-terminated; stat is plain data for which zeroes are a value.
    unsafe {
        let at_cwd = libc::AT_FDCWD as isize as usize;
        let fd = checked(libc::SYS_openat, [at_cwd, task.cwd.addr(), flags, 0, 0]).map_err(failed)?;
        let mut stat: libc::stat = std::mem::zeroed();
        checked(libc::SYS_fstat, [fd, (&raw mut stat).addr(), 0, 0, 0]).map_err(failed)?;
        if (stat.st_dev, stat.st_ino) != task.cwd_id {
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
unsafe fn execute(task: &Task) -> u32 {
    const MISSING: [i32; 2] = [libc::ENOENT, libc::ENOTDIR];
    let mut worst = libc::ENOENT.unsigned_abs();
    for program in task.programs.iter().take_while(|program| !program.is_null()) {
        let (argv, env) = (task.argv.as_ptr().addr(), task.env.as_ptr().addr());
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
