//! Attempts on processes outside, and on what a process carries.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::Outcome::{Held, Inconclusive, Open};
use super::{Attempt, Outcome, World, all, attempt, refused, tried};

/// How a process that is not there, or not ours, answers.
const STRANGER: &[i32] = &[libc::ESRCH, libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EINVAL, libc::ENOENT];

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("X1", |world| {
        attempt("PTRACE_SEIZE", unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid(world), 0, 0) }, STRANGER)
    }),
    ("X2", |world| {
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: world.number::<usize>("address") as *mut _, iov_len: 1 };
        let read =
            unsafe { libc::process_vm_readv(pid(world), &raw const local, 1, &raw const remote, 1, 0) };
        attempt("process_vm_readv", read as i64, STRANGER)
    }),
    ("X3", |world| expose(world, "environ", "CANARY")),
    ("X3b", |world| tried("open mem", File::open(proc(world, "mem")), STRANGER)),
    ("X5", |world| expose(world, "cmdline", "sleep")),
    ("X6", |world| tried("list descriptors", fs::read_dir(proc(world, "fd")), STRANGER)),
    ("X7", |world| unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, pid(world), 0);
        if process < 0 {
            return refused("pidfd_open", &io::Error::last_os_error(), STRANGER);
        }
        attempt("pidfd_getfd", libc::syscall(libc::SYS_pidfd_getfd, process, 0, 0), STRANGER)
    }),
    ("X9", |world| attempt("kill", unsafe { libc::kill(pid(world), 0) }.into(), STRANGER)),
    ("X9b", |world| {
        let victim = pid(world);
        let mut info = [0u8; 128];
        // si_code SI_QUEUE
        info[8..12].copy_from_slice(&(-1i32).to_ne_bytes());
        all([
            attempt("tgkill", unsafe { libc::syscall(libc::SYS_tgkill, victim, victim, 0) }, STRANGER),
            attempt("tkill", unsafe { libc::syscall(libc::SYS_tkill, victim, 0) }, STRANGER),
            attempt(
                "rt_sigqueueinfo",
                unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, victim, 0, info.as_ptr()) },
                STRANGER,
            ),
        ])
    }),
    ("X9c", |_| {
        let found = (1..65536).filter(|pid| unsafe { libc::kill(*pid, 0) } == 0).count();
        // Itself, the first process of its sandbox and its tree's own starter.
        if found <= 3 { Held(format!("{found} processes")) } else { Open(format!("{found} processes")) }
    }),
    ("X10", |world| {
        let null = File::open("/dev/null").unwrap();
        attempt(
            "F_SETOWN",
            unsafe { libc::fcntl(null.as_raw_fd(), libc::F_SETOWN, pid(world)) }.into(),
            STRANGER,
        )
    }),
    ("X11", |world| {
        let result = unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, pid(world), 19) };
        attempt("setpriority", result, STRANGER)
    }),
    ("X11b", |world| {
        let mut limit = unsafe { std::mem::zeroed::<libc::rlimit64>() };
        let (victim, kind) = (pid(world), libc::RLIMIT_NOFILE);
        let result = unsafe {
            libc::syscall(libc::SYS_prlimit64, victim, kind, std::ptr::null::<u8>(), &raw mut limit)
        };
        attempt("prlimit", result, STRANGER)
    }),
    ("X11c", |world| {
        let all = [0xffu8; 128];
        let result =
            unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid(world), all.len(), all.as_ptr()) };
        attempt("sched_setaffinity", result, STRANGER)
    }),
    ("X13", |_| {
        let mut limit = unsafe { std::mem::zeroed::<libc::rlimit>() };
        unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
        match limit.rlim_max {
            // Too small for a core file; 1 also stops cores that are piped to a program of the host.
            max @ (0 | 1) => Held(format!("the limit of core dumps is {max}")),
            max => Open(format!("core dumps of {max} bytes")),
        }
    }),
    ("X14", |_| for_writing("/proc/sys/kernel/core_pattern")),
    ("X26", |_| {
        let stdin = fs::metadata("/proc/self/fd/0");
        match stdin {
            Ok(it) if it.is_file() => Open(format!("standard input is the file with inode {}", it.ino())),
            Ok(it)
                if it.file_type().is_fifo()
                    || it.file_type().is_char_device()
                    || it.file_type().is_socket() =>
            {
                Held("standard input is a pipe".to_owned())
            }
            Ok(it) => Inconclusive(format!("standard input is {:?}", it.file_type())),
            Err(error) => Inconclusive(error.to_string()),
        }
    }),
    ("X27", |_| {
        let score = fs::write("/proc/self/oom_score_adj", "-900");
        tried("lower oom_score_adj", score, &[libc::EACCES, libc::EPERM, libc::EROFS, libc::ENOENT])
    }),
    // With it a command takes back that it goes first where memory is short.
    ("X28", |_| for_writing("/proc/self/oom_score_adj")),
    ("F23", |_| match unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } {
        1 => Held("no_new_privs is set".to_owned()),
        other => Open(format!("no_new_privs is {other}")),
    }),
    ("S15", |_| match status("Seccomp").as_deref() {
        Some("2") => Held("a filter is on".to_owned()),
        other => Open(format!("Seccomp is {other:?}")),
    }),
    ("N18", |_| {
        let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        let held: Vec<String> = sets
            .into_iter()
            .filter_map(|set| Some((set, status(set)?)))
            .filter(|(_, value)| value.bytes().any(|digit| digit != b'0'))
            .map(|(set, value)| format!("{set} {value}"))
            .collect();
        if held.is_empty() { Held("no capability in any set".to_owned()) } else { Open(held.join(", ")) }
    }),
];

fn pid(world: &World) -> i32 {
    world.number("victim")
}

fn proc(world: &World, name: &str) -> String {
    format!("/proc/{}/{name}", pid(world))
}

/// Whether a file of the victim's shows `canary`.
fn expose(world: &World, name: &str, canary: &str) -> Outcome {
    match fs::read(proc(world, name)) {
        Ok(bytes) if String::from_utf8_lossy(&bytes).contains(canary) => {
            Open(format!("read {name} of the victim"))
        }
        Ok(_) => Held(format!("{name} is another process's")),
        Err(error) => refused(name, &error, STRANGER),
    }
}

/// Opens for writing and writes nothing.
pub(super) fn for_writing(path: &str) -> Outcome {
    tried(path, OpenOptions::new().write(true).open(path), super::files::HIDDEN)
}

/// A line of /proc/self/status.
fn status(name: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}
