//! Processes: clone(2), exec, capabilities' bounding set, limits and process attributes that nix lacks.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::Result;
use nix::errno::Errno;
use nix::unistd::Pid;

/// Which side of [`clone`] this is.
#[derive(Debug)]
pub enum Side {
    /// The caller: the child's pid and a descriptor that refers to it and to nothing else, whatever pids are reused.
    Parent {
        /// In the caller's pid namespace.
        pid: Pid,
        /// pidfd_open(2).
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Makes a child with a copy of this process's memory, in new namespaces of the kinds given: clone(2) with
/// `CLONE_PIDFD`. Where a control group of v2 is given the child is in it from the start: clone3(2), `CLONE_INTO_CGROUP`.
/// Only where this process has one thread (EBUSY otherwise): the child would have a copy of every lock that another thread
/// holds, and nobody to release it. Needs /proc.
pub fn clone(namespaces: nix::sched::CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
    /// libc's is an int, which it does not fit.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    if std::fs::read_dir("/proc/self/task").map_err(|_| Errno::ENOSYS)?.count() != 1 {
        return Err(Errno::EBUSY);
    }
    let mut pidfd: libc::c_int = -1;
    let pid = match cgroup {
        // Where clone3 is forbidden, as in some containers, this need not be.
        None => {
            let flags = libc::c_long::from(namespaces.bits() | libc::CLONE_PIDFD | libc::SIGCHLD);
            // SAFETY: no CLONE_VM, so the child has its own copy of the stack (a null stack is then allowed), and no
            // other thread's state is in it. The third argument is where the kernel puts the pidfd.
            unsafe {
                libc::syscall(
                    libc::SYS_clone,
                    flags,
                    std::ptr::null::<u8>(),
                    &raw mut pidfd,
                    std::ptr::null::<u8>(),
                    std::ptr::null::<u8>(),
                )
            }
        }
        Some(cgroup) => {
            // SAFETY: clone_args is plain data for which all zeroes are a value.
            let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
            let flags = u64::from((namespaces.bits() | libc::CLONE_PIDFD).cast_unsigned());
            arguments.flags = flags | CLONE_INTO_CGROUP;
            arguments.pidfd = (&raw mut pidfd).addr() as u64;
            arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
            arguments.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
            // SAFETY: as above; the arguments outlive the call.
            unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) }
        }
    };
    match Errno::result(pid)? {
        0 => Ok(Side::Child),
        pid => {
            let pid = Pid::from_raw(libc::pid_t::try_from(pid).map_err(|_| Errno::EINVAL)?);
            // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor here that nothing else owns.
            Ok(Side::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
        }
    }
}

/// Sends a signal by number to a process, or to many as kill(2) says.
pub fn kill(target: libc::pid_t, signal: libc::c_int) -> Result<()> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::kill(target, signal) }).map(drop)
}

/// Closes every descriptor from 3 on but these: close_range(2).
pub fn close_all_but<const N: usize>(mut keep: [std::os::fd::RawFd; N]) -> Result<()> {
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.map(|fd| u32::try_from(fd).unwrap_or(0)) {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX)
}

/// Of a runner's capabilities the ones that an init needs: to make a command's process another user's, and to end it.
/// capset(2).
pub fn keep_capabilities_of_an_init() -> Result<()> {
    const KEEP: u32 = 1 << 5 | 1 << 6 | 1 << 7; // CAP_KILL, CAP_SETGID, CAP_SETUID
    /// Header, then effective, permitted and inheritable; low words, then high words.
    #[repr(C)]
    struct Capabilities {
        version: u32,
        pid: i32,
        sets: [u32; 6],
    }
    let keep = Capabilities { version: 0x2008_0522, pid: 0, sets: [KEEP, KEEP, 0, 0, 0, 0] };
    // SAFETY: both parts are inside `keep`, which outlives the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const keep, keep.sets.as_ptr()) }).map(drop)
}

/// Sends a signal to the process that the descriptor refers to: pidfd_send_signal(2).
pub fn signal(pidfd: BorrowedFd<'_>, signal: nix::sys::signal::Signal) -> Result<()> {
    // SAFETY: the siginfo may be null; flags are 0.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as libc::c_int,
            std::ptr::null::<u8>(),
            0,
        )
    })
    .map(drop)
}

/// The same, by the signal's number.
pub fn signal_number(pidfd: &OwnedFd, signal: libc::c_int) -> Result<()> {
    // SAFETY: the siginfo may be null; flags are 0.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    })
    .map(drop)
}

/// A descriptor that refers to this process, and to no other that may get its pid: pidfd_open(2).
pub fn open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = std::os::fd::RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a child used: wait4(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time with that of all children waited for, in microseconds.
    pub cpu_us: u64,
    /// Largest resident set among them, in KiB.
    pub max_rss_kib: u64,
}

impl Usage {
    /// Counts what another process used.
    pub fn add(&mut self, other: Self) {
        self.cpu_us += other.cpu_us;
        self.max_rss_kib = self.max_rss_kib.max(other.max_rss_kib);
    }
}

/// Reaps a child if it has ended: wait4(2) with `WNOHANG`. The status is as waitpid(2) gives it.
pub fn reap(pid: Pid) -> Result<Option<(Pid, i32, Usage)>> {
    let (pid, status, usage) = wait(pid, libc::WNOHANG)?;
    Ok((pid.as_raw() != 0).then_some((pid, status, usage)))
}

/// Waits for the end of any child, and says what it used. ECHILD where there is none.
pub fn wait_for_any() -> Result<Usage> {
    loop {
        match wait(Pid::from_raw(-1), 0) {
            Err(Errno::EINTR) => {}
            other => return other.map(|(.., usage)| usage),
        }
    }
}

fn wait(pid: Pid, options: libc::c_int) -> Result<(Pid, i32, Usage)> {
    let mut status = 0;
    // SAFETY: rusage is plain data for which all zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that outlive the call.
    let pid = unsafe { libc::wait4(pid.as_raw(), &raw mut status, options, &raw mut usage) };
    let pid = Pid::from_raw(Errno::result(pid)?);
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    let usage = Usage {
        cpu_us: micros(usage.ru_utime) + micros(usage.ru_stime),
        max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    };
    Ok((pid, status, usage))
}

/// Ends this process at once, running nothing on the way: `_exit(2)`.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Gives memory that is free back to the system, where the C library keeps it: malloc_trim(3).
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes the calling *thread* reach files as this user and group and with no other groups: setgroups(2), setfsgid(2),
/// setfsuid(2). The C library would set the groups of the whole process, so the call goes to the kernel. With the user
/// id the kernel takes away the capabilities that go past permissions (capabilities(7)). There is no way back that is
/// worth taking: let the thread end.
pub fn reach_files_as(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: an empty list may be null.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) })?;
    // Both say who it was before, not whether it worked.
    // SAFETY: plain numbers.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    if files_are_reached_as(uid, gid) { Ok(()) } else { Err(Errno::EPERM) }
}

/// Whether the calling thread reaches files as this user and group.
fn files_are_reached_as(uid: u32, gid: u32) -> bool {
    // Asked with an impossible id they change nothing, and say who it is.
    // SAFETY: plain numbers.
    let (now_gid, now_uid) = unsafe { (libc::setfsgid(u32::MAX), libc::setfsuid(u32::MAX)) };
    (now_uid.cast_unsigned(), now_gid.cast_unsigned()) == (uid, gid)
}

/// While it lives, the calling process reaches files as another user, whatever their modes: setfsuid(2), setfsgid(2) and
/// CAP_DAC_OVERRIDE, where it is permitted. For a process of one thread.
///
/// The kernel forgets with the change what it shall send when the parent dies (prctl(2)); that is asked for again in the end.
#[derive(Debug)]
#[must_use]
pub struct FilesAs {
    before: (u32, u32),
    dies_with_parent: Option<nix::sys::signal::Signal>,
}

impl FilesAs {
    /// Becomes `uid` and `gid` for files.
    ///
    /// # Errors
    /// `EPERM` where the kernel does not do it: nothing has changed then.
    pub fn enter(uid: u32, gid: u32) -> Result<Self> {
        let dies_with_parent = nix::sys::prctl::get_pdeathsig()?;
        // SAFETY: plain numbers. Both say who it was before, not whether it worked.
        let before = unsafe { (libc::setfsuid(uid).cast_unsigned(), libc::setfsgid(gid).cast_unsigned()) };
        let entered = Self { before, dies_with_parent };
        if files_are_reached_as(uid, gid) {
            // After the change of user, which takes it away.
            let _ = caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_DAC_OVERRIDE);
            Ok(entered)
        } else {
            Err(Errno::EPERM)
        }
    }
}

impl Drop for FilesAs {
    fn drop(&mut self) {
        let (uid, gid) = self.before;
        // SAFETY: plain numbers.
        unsafe {
            libc::setfsgid(gid);
            libc::setfsuid(uid);
        }
        // The change back to root gives it back, as capabilities(7) says.
        let dropped = caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_DAC_OVERRIDE);
        let armed = nix::sys::prctl::set_pdeathsig(self.dies_with_parent);
        if dropped.is_err() || armed.is_err() || !files_are_reached_as(uid, gid) {
            // Nothing may go on with more rights, or as somebody else, than it believes to have.
            exit_now(1);
        }
    }
}

/// Closes every descriptor from `first` on: close_range(2), Linux 5.9.
pub fn close_from(first: u32) -> Result<()> {
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the callers are about to exec or never use these descriptors again; none of our types holds one of them
    // across this call in the places that use it.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Gives every signal its default action and unblocks all, whatever a parent may have ignored; only SIGPIPE gets a
/// handler that does nothing, so that this process sees EPIPE. A handler is gone after exec, where "ignore" would stay.
pub fn own_signals() -> Result<()> {
    /// `struct sigaction` as the kernel has it, without the restorer that only some architectures have last.
    #[repr(C)]
    struct Action {
        handler: usize,
        flags: libc::c_ulong,
        rest: [u64; 2],
    }
    extern "C" fn nothing(_: libc::c_int) {}
    let nothing: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: `nothing` may run at any time.
    unsafe { libc::signal(libc::SIGPIPE, nothing as libc::sighandler_t) };
    for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
        let action = Action { handler: libc::SIG_DFL, flags: 0, rest: [0; 2] };
        // SAFETY: the default action is valid for every signal. By the bare call, since the C library keeps 32 and 33
        // to itself; those that cannot be changed (9 and 19) fail, which is as it should be.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, std::ptr::null::<u8>(), 8);
        }
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// Has the kernel kill this process when its parent's thread ends: `PR_SET_PDEATHSIG`.
pub fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
}

/// Has the kernel give the process `bytes` of heap at once, and malloc(3) use them for everything up to that size: for a
/// process that will need them soon. Page after page, the first touch of them costs several times more (`MADV_POPULATE_WRITE`,
/// Linux 5.14; without it nothing is lost).
#[cfg(target_env = "gnu")]
pub fn fill_heap(bytes: usize) {
    let size = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: mallopt(3) takes integers; sbrk(0) moves nothing; malloc(3) and free(3) are paired; MADV_POPULATE_WRITE leaves the
    // content of pages as it is, and fails where there is no such memory.
    unsafe {
        for option in [libc::M_MMAP_THRESHOLD, libc::M_TOP_PAD, libc::M_TRIM_THRESHOLD] {
            libc::mallopt(option, size);
        }
        // More than what is left of the heap: it grows, by this and `M_TOP_PAD`.
        libc::free(libc::malloc(bytes / 2));
        let end = libc::sbrk(0).addr();
        let start = end.saturating_sub(bytes) & !0xfff;
        libc::madvise(std::ptr::without_provenance_mut(start), end - start, libc::MADV_POPULATE_WRITE);
    }
}

/// Locks the process out of ever regaining capabilities by user id 0: `PR_SET_SECUREBITS` with `NOROOT`,
/// `NO_SETUID_FIXUP`, `KEEP_CAPS` off and `NO_CAP_AMBIENT_RAISE`, each locked (capabilities(7)).
pub fn lock_secure_bits() -> Result<()> {
    const NOROOT: libc::c_ulong = 1 | 2;
    const NO_SETUID_FIXUP_LOCKED: libc::c_ulong = 8;
    const KEEP_CAPS_LOCKED: libc::c_ulong = 1 << 5;
    const NO_CAP_AMBIENT_RAISE: libc::c_ulong = 1 << 6 | 1 << 7;
    let bits = NOROOT | NO_SETUID_FIXUP_LOCKED | KEEP_CAPS_LOCKED | NO_CAP_AMBIENT_RAISE;
    // SAFETY: PR_SET_SECUREBITS takes an integer.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits, 0, 0, 0) }).map(drop)
}

/// Takes one capability out of the bounding set: prctl(2), `PR_CAPBSET_DROP`. The result is the call's own; EINVAL
/// (-1) is a capability that the kernel does not know.
pub fn drop_from_bounding_set(capability: libc::c_ulong) -> libc::c_int {
    // SAFETY: PR_CAPBSET_DROP takes an integer.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }
}

/// Starts a new session keyring with nothing in it, so that no key of the parent can be reached: keyctl(2).
/// A kernel without keys is fine.
pub fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name makes an anonymous session keyring.
    match Errno::result(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>())
    }) {
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The landlock ABI of the running kernel: landlock_create_ruleset(2) with `LANDLOCK_CREATE_RULESET_VERSION`. An error
/// is a kernel without landlock (ENOSYS) or with landlock switched off at boot (EOPNOTSUPP).
pub fn landlock_abi() -> Result<u32> {
    const VERSION: u32 = 1;
    // SAFETY: with this flag the attributes must be null and their size 0.
    let abi = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION)
    })?;
    u32::try_from(abi).map_err(|_| Errno::EINVAL)
}
