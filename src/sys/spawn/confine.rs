//! What the command's process does between its making and its execution: raw system calls, in order.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use super::super::raw::call;
use super::{Memory, Step};

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

/// The command's process: takes away from itself, in order, all that the command shall not have, waits until it may go
/// on, and executes it. All signals are blocked until then.
pub(super) extern "C" fn become_command(memory: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `Starter::start` passed a `Memory` that outlives this process, and changes nothing in it meanwhile.
    let memory = unsafe { &*memory.cast::<Memory>() };
    // SAFETY: this process is about to execute a program.
    let (step, errno) = match unsafe { confine(memory).and_then(|()| wait()) } {
        Ok(()) => {
            // SAFETY: as above.
            (Step::Execute, unsafe { execute(memory) })
        }
        Err(failed) => failed,
    };
    let [failed_step, failed_errno] = &memory.failed;
    failed_errno.store(errno, Ordering::Release);
    failed_step.store(step as u32, Ordering::Release);
    127
}

/// Where the gate is, closed by exec.
const GATE: usize = 3;

/// # Safety
///
/// Only in a process that is about to execute a program.
unsafe fn confine(memory: &Memory) -> Result<(), Failed> {
    let failed = |step: Step| move |errno: u32| (step, errno);
    let (uid, gid) = (memory.ids.0 as usize, memory.ids.1 as usize);
    // SAFETY: numbers, descriptors of ours, and pointers to data that outlives each call.
    unsafe {
        let streams = failed(Step::Streams);
        checked(libc::SYS_setsid, [0; 5]).map_err(streams)?;
        for (target, &fd) in memory.stdio.iter().enumerate() {
            checked(libc::SYS_dup3, [number(fd), target, 0, 0, 0]).map_err(streams)?;
        }
        if memory.terminal {
            // The leader of a new session has none yet: nobody else's is taken away.
            let request = usize::try_from(libc::TIOCSCTTY).unwrap_or(0);
            checked(libc::SYS_ioctl, [0, request, 0, 0, 0]).map_err(failed(Step::Terminal))?;
        }

        let ids = failed(Step::Ids);
        if memory.drop_groups {
            checked(libc::SYS_setgroups, [0; 5]).map_err(ids)?;
        }
        checked(libc::SYS_setresgid, [gid, gid, gid, 0, 0]).map_err(ids)?;
        checked(libc::SYS_setresuid, [uid, uid, uid, 0, 0]).map_err(ids)?;
        drop_capabilities().map_err(failed(Step::Capabilities))?;

        // As the command's own user: what that user may not enter is not entered for it.
        enter_directory(memory)?;
        checked(libc::SYS_landlock_restrict_self, [number(memory.ruleset), 0, 0, 0, 0])
            .map_err(failed(Step::Landlock))?;
        // Everything but the three streams and the gate, the init's descriptors among them.
        let close_on_exec = libc::O_CLOEXEC.unsigned_abs() as usize;
        checked(libc::SYS_dup3, [number(memory.gate), GATE, close_on_exec, 0, 0]).map_err(streams)?;
        checked(libc::SYS_close_range, [GATE + 1, u32::MAX as usize, 0, 0, 0]).map_err(streams)?;
        const SET_MODE_FILTER: usize = 1;
        checked(libc::SYS_seccomp, [SET_MODE_FILTER, 0, (&raw const memory.filter).addr(), 0, 0])
            .map_err(failed(Step::Seccomp))?;
    }
    Ok(())
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
unsafe fn drop_capabilities() -> Result<(), u32> {
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

/// # Safety
///
/// As [`confine`].
unsafe fn enter_directory(memory: &Memory) -> Result<(), Failed> {
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
    // SAFETY: the path is NUL-terminated and `how` has the size given; stat is plain data for which zeroes are a value.
    unsafe {
        let at_cwd = libc::AT_FDCWD as isize as usize;
        let path = memory.cwd.addr();
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
