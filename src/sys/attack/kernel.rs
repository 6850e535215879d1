//! Attempts on the kernel's own surface: system calls, namespaces, settings, terminals.

use std::arch::asm;
use std::fs;
use std::path::Path;

use super::Outcome::{Held, Inconclusive, Open};
use super::files::HIDDEN;
use super::processes::for_writing;
use super::{Attempt, Outcome, all, attempt, reach, tried};

/// A system call with up to six arguments.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => { unsafe { libc::syscall($number $(, $argument)*) } };
}

const NONE: usize = 0;
const BAD: i32 = -1;

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("F18", |_| {
        attempt("chroot", unsafe { libc::chroot(c".".as_ptr()) }.into(), &[libc::EPERM, libc::ENOSYS])
    }),
    ("F18b", |_| {
        reach("pivot_root", call!(libc::SYS_pivot_root, c"/no/such".as_ptr(), c"/no/such".as_ptr()))
    }),
    ("F19", |_| reach("fsopen", call!(430, c"tmpfs".as_ptr(), 1))),
    ("F19b", |_| reach("open_tree", call!(428, libc::AT_FDCWD, c"/".as_ptr(), 1))),
    ("F19c", |_| reach("move_mount", call!(429, BAD, c"".as_ptr(), BAD, c"".as_ptr(), 0))),
    ("F19d", |_| reach("mount_setattr", call!(442, BAD, c"".as_ptr(), 0, NONE, 32))),
    ("F19e", |_| reach("fspick", call!(433, libc::AT_FDCWD, c"/no/such".as_ptr(), 0))),
    ("F42", |_| {
        fs::create_dir_all("mount-point").unwrap();
        let (from, to) = (c"/usr".as_ptr(), c"mount-point".as_ptr());
        attempt(
            "mount",
            call!(libc::SYS_mount, from, to, NONE, libc::MS_BIND, NONE),
            &[libc::EPERM, libc::ENOSYS],
        )
    }),
    ("S1", |_| int_80()),
    ("S3", |_| {
        // getpid with the bit of the x32 table.
        attempt("x32 getpid", call!(0x4000_0000 + libc::SYS_getpid), &[libc::ENOSYS, libc::EPERM])
    }),
    ("S5", |_| reach("io_uring_setup", call!(libc::SYS_io_uring_setup, 1, NONE))),
    ("S6", |_| reach("clone3", call!(libc::SYS_clone3, NONE, 0))),
    ("S6b", |_| reach("openat2", call!(libc::SYS_openat2, libc::AT_FDCWD, c".".as_ptr(), NONE, 0))),
    ("S6c", |_| {
        all([
            reach("statmount", call!(457, NONE, NONE, 0, 0)),
            reach("listmount", call!(458, NONE, NONE, 0, 0)),
        ])
    }),
    ("S6d", |_| reach("quotactl_fd", call!(443, BAD, 0, 0, NONE))),
    ("S6e", |_| {
        all([
            reach("process_mrelease", call!(448, BAD, 0)),
            reach("process_madvise", call!(libc::SYS_process_madvise, BAD, NONE, 0, 0, 0)),
        ])
    }),
    ("S6f", |_| reach("lsm_set_self_attr", call!(460, 0, NONE, 0, 0))),
    ("S7", |_| reach("modify_ldt", call!(libc::SYS_modify_ldt, 0, NONE, 0))),
    ("S7b", |_| reach("iopl", call!(libc::SYS_iopl, 9))),
    ("S7c", |_| {
        all([reach("ustat", call!(libc::SYS_ustat, 0, NONE)), reach("sysfs", call!(libc::SYS_sysfs, 3))])
    }),
    ("S9", |_| {
        // ADDR_NO_RANDOMIZE, then READ_IMPLIES_EXEC
        all([0x004_0000, 0x040_0000]
            .map(|persona| reach("personality", call!(libc::SYS_personality, persona))))
    }),
    ("S11", |_| reach("userfaultfd", call!(libc::SYS_userfaultfd, 1))),
    ("S13", |_| reach("bpf", call!(libc::SYS_bpf, 0, NONE, 0))),
    ("S13b", |_| reach("perf_event_open", call!(libc::SYS_perf_event_open, NONE, 0, -1, -1, 0))),
    ("S17", |_| reach("syslog", call!(libc::SYS_syslog, 10, NONE, 0))),
    ("S17b", |_| match fs::read_to_string("/proc/kallsyms") {
        Ok(text) if text.lines().next().is_some_and(|line| !line.starts_with("0000000000000000")) => {
            Open("addresses are shown".to_owned())
        }
        Ok(_) => Held("addresses are hidden".to_owned()),
        Err(error) => super::refused("kallsyms", &error, HIDDEN),
    }),
    ("S18", |_| {
        all([
            reach("settimeofday", call!(libc::SYS_settimeofday, NONE, NONE)),
            reach("clock_settime", call!(libc::SYS_clock_settime, 0, NONE)),
        ])
    }),
    ("S18b", |_| {
        // The kernel checks the right to adjust before it looks at a value that is out of range.
        let mut timex = unsafe { std::mem::zeroed::<libc::timex>() };
        timex.modes = 0x4000;
        timex.tick = 1;
        reach("adjtimex", call!(libc::SYS_adjtimex, &raw mut timex))
    }),
    ("S18c", |_| reach("sethostname", call!(libc::SYS_sethostname, NONE, -1))),
    ("S18d", |_| reach("swapon", call!(libc::SYS_swapon, c"/no/such".as_ptr(), 0))),
    ("S18e", |_| reach("reboot", call!(libc::SYS_reboot, 0, 0, 0, NONE))),
    ("S18f", |_| reach("kexec_load", call!(libc::SYS_kexec_load, 0, 99, NONE, 0xffff_u64))),
    ("S18g", |_| reach("acct", call!(libc::SYS_acct, c"/no/such".as_ptr()))),
    ("S18h", |_| reach("quotactl", call!(libc::SYS_quotactl, 0x80_0007_u64, c"/no/such".as_ptr(), 0, NONE))),
    ("S18i", |_| {
        all([
            reach("init_module", call!(libc::SYS_init_module, NONE, 0, c"".as_ptr())),
            reach("finit_module", call!(libc::SYS_finit_module, BAD, c"".as_ptr(), 0)),
            reach(
                "delete_module",
                call!(libc::SYS_delete_module, c"no-such-module".as_ptr(), libc::O_NONBLOCK),
            ),
        ])
    }),
    ("S18j", |_| {
        let priority = 1i32;
        let fifo = call!(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const priority);
        attempt("SCHED_FIFO", fifo, &[libc::EPERM, libc::ENOSYS])
    }),
    // A filter that compares 64 bits misses it; the kernel takes 32.
    ("S19", |_| {
        reach("TIOCSTI with a high bit", call!(libc::SYS_ioctl, 0, 0x1_0000_5412_u64, c"x".as_ptr()))
    }),
    ("N1", |_| unshare(libc::CLONE_NEWUSER)),
    ("N1b", |_| {
        let kinds = [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUTS,
        ];
        all(kinds.map(unshare))
    }),
    ("N3", |_| {
        let child = call!(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, NONE, NONE, NONE, NONE);
        if child == 0 {
            unsafe { libc::_exit(0) };
        }
        attempt("clone", child, &[libc::EPERM, libc::ENOSYS, libc::ENOSPC])
    }),
    ("N3b", |_| reach("setns", call!(libc::SYS_setns, BAD, 0))),
    ("N5", |_| {
        let flags = libc::MS_REMOUNT | libc::MS_BIND;
        attempt(
            "remount",
            call!(libc::SYS_mount, c"none".as_ptr(), c"/".as_ptr(), NONE, flags, NONE),
            &[libc::EPERM, libc::ENOSYS, libc::EACCES],
        )
    }),
    ("N5b", |_| reach("umount", call!(libc::SYS_umount2, c"/no/such".as_ptr(), 0))),
    ("N9", |_| {
        let names = [
            "/sys/fs/cgroup/cgroup.procs",
            "/sys/fs/cgroup/unified/cgroup.procs",
            "/sys/fs/cgroup/memory/cgroup.procs",
            "/sys/fs/cgroup/memory/release_agent",
            "/sys/fs/cgroup/pids/cgroup.procs",
            "/sys/fs/cgroup/devices/devices.allow",
        ];
        all(names.map(for_writing))
    }),
    ("N13", |_| for_writing("/proc/sys/fs/binfmt_misc/register")),
    ("N14", |_| {
        all([
            "/proc/sys/kernel/hostname",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sysrq-trigger",
            "/proc/sys/kernel/modprobe",
        ]
        .map(for_writing))
    }),
    ("N14b", |_| {
        all([
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/power/state",
            "/sys/kernel/profiling",
            "/sys/kernel/uevent_helper",
        ]
        .map(for_writing))
    }),
    ("N17", |_| attempt("setgroups", call!(libc::SYS_setgroups, 0, NONE), &[libc::EPERM, libc::ENOSYS])),
    ("N19", |_| {
        // SECBIT_NOROOT
        attempt(
            "PR_SET_SECUREBITS",
            call!(libc::SYS_prctl, libc::PR_SET_SECUREBITS, 1, 0, 0, 0),
            &[libc::EPERM, libc::ENOSYS],
        )
    }),
    ("N20", |_| {
        attempt("setresuid", call!(libc::SYS_setresuid, 0, 0, 0), &[libc::EPERM, libc::EINVAL, libc::ENOSYS])
    }),
    ("N28", |world| match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) if name.trim() == world.text("host") => Open(format!("the host is {}", name.trim())),
        Ok(name) => Held(format!("the machine is {}", name.trim())),
        Err(error) => super::refused("read the name", &error, HIDDEN),
    }),
    ("N29", |world| match (fs::read_to_string("/proc/self/cgroup"), world.text("group")) {
        (Ok(_), "/") => Held("the host is in no group".to_owned()),
        (Ok(text), group) if text.contains(group) => Open(format!("the host is in {group}")),
        (Ok(_), _) => Held("a path of its own".to_owned()),
        (Err(error), _) => super::refused("read the groups", &error, HIDDEN),
    }),
    ("N25", |_| reach("keyctl", call!(libc::SYS_keyctl, 0, -3, 0, 0, 0))),
    ("N25b", |_| reach("add_key", call!(libc::SYS_add_key, NONE, NONE, NONE, 0, -3))),
    ("K5", |_| reach("request_key", call!(libc::SYS_request_key, NONE, NONE, NONE, 0))),
    ("T1", |_| reach("TIOCSTI", call!(libc::SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr()))),
    ("T2", |_| reach("TIOCLINUX", call!(libc::SYS_ioctl, 0, 0x541c, c"\x03".as_ptr()))),
    ("T2b", |_| {
        // On a descriptor that is no terminal: reached is all that is asked.
        reach("TIOCCONS", call!(libc::SYS_ioctl, BAD, 0x541d, 0))
    }),
    ("T3", |_| {
        tried("/dev/tty", fs::File::open("/dev/tty"), &[libc::ENXIO, libc::ENOENT, libc::EACCES, libc::EPERM])
    }),
    ("T5", |world| {
        let path = Path::new(world.text("terminal"));
        tried("open a terminal", fs::OpenOptions::new().write(true).open(path), with_io())
    }),
];

fn with_io() -> &'static [i32] {
    &[libc::ENOENT, libc::EACCES, libc::EPERM, libc::EIO, libc::ENXIO]
}

fn unshare(flag: i32) -> Outcome {
    attempt("unshare", unsafe { libc::unshare(flag) }.into(), &[libc::EPERM, libc::ENOSYS, libc::ENOSPC])
}

/// getpid of the 32-bit table. A filter that knows only the 64-bit table sees number 20, writev.
fn int_80() -> Outcome {
    let result: i64;
    unsafe {
        asm!("int 0x80", inlateout("rax") 20i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    match result {
        1.. => Open(format!("getpid answers {result}")),
        _ if [libc::ENOSYS, libc::EPERM].contains(&i32::try_from(-result).unwrap_or(0)) => {
            Held(format!("refused with errno {}", -result))
        }
        _ => Inconclusive(format!("int 0x80 answers {result}")),
    }
}
