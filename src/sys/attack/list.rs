//! The promises of the sandbox: one row each, the same for every backend.
//!
//! Ids are stable: documents and commit messages name them. Letters: F files, X processes, S system calls,
//! N namespaces and kernel knobs, W network, K kernel families, I between processes, R lifetime, T terminal.

use super::Layer;

/// A promise and how it is tested.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Stable name.
    pub id: &'static str,
    /// What is attempted.
    pub name: &'static str,
    /// What must come of it inside.
    pub expect: Expect,
    /// How it is shown that the attempt can succeed at all.
    pub control: Control,
    /// The layers of which each stops it by itself, so that it succeeds with all of them missing and not before. None where it
    /// takes rights of the host that no throw-away world has.
    pub stopped_by: &'static [Layer],
}

/// What must come of an attempt inside the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It fails in the way that is promised.
    Held,
    /// It succeeds, and nothing of it is seen outside: the canary says so.
    Contained,
    /// It succeeds: a program that needs this must go on working.
    Works,
}

/// The positive control: the same attempt without the sandbox, on things made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Succeeds bare, as the requester or else as root.
    Bare,
    /// Succeeds bare on some kernels only; why it may not.
    MayLack(&'static str),
}

use Control::{Bare, MayLack};
use Expect::{Contained, Held, Works};
use Layer::{
    Capabilities, CgroupNamespace, Descriptors, Frozen, Ids, IpcNamespace, Landlock, Masks, NetworkNamespace,
    NoNewPrivs, PidNamespace, PrivateRoot, Rlimits, Seccomp, Streams, Terminal, UtsNamespace,
};

const fn probe(
    id: &'static str,
    name: &'static str,
    expect: Expect,
    control: Control,
    stopped_by: &'static [Layer],
) -> Probe {
    Probe { id, name, expect, control, stopped_by }
}

/// All of them.
#[rustfmt::skip]
pub const LIST: &[Probe] = &[
    probe("F1",  "read a file outside", Held, Bare, &[PrivateRoot]),
    probe("F1b", "append to a file outside", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F1c", "create a file outside", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F2",  "reach outside by ..", Held, Bare, &[PrivateRoot]),
    probe("F3",  "read through a symbolic link that points outside", Held, Bare, &[PrivateRoot]),
    probe("F3b", "write through a symbolic link that points outside", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F5",  "reach outside by the magic links of /proc", Held, Bare, &[PrivateRoot]),
    probe("F6",  "reach outside by other spellings of a path", Held, Bare, &[PrivateRoot]),
    probe("F7",  "hard-link a file outside into the workspace", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F8",  "rename a file of the workspace to outside", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F9",  "truncate a file outside by its path", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F9b", "open a file outside with O_TRUNC", Held, Bare, &[PrivateRoot, Landlock]),
    probe("F10", "change mode, times, owner and attributes outside", Held, Bare, &[PrivateRoot]),
    probe("F11", "read metadata outside", Held, Bare, &[PrivateRoot]),
    probe("F12", "watch a directory outside", Held, Bare, &[PrivateRoot]),
    probe("F13", "open a file by handle", Held, Bare, &[]),
    probe("F14", "find a descriptor that execward inherited", Held, Bare, &[Descriptors]),
    probe("F15", "reopen an inherited descriptor with more rights", Held, Bare, &[Descriptors, Landlock]),
    probe("F17", "change into a directory outside", Held, Bare, &[PrivateRoot]),
    probe("F18", "chroot", Held, Bare, &[Capabilities, Seccomp]),
    probe("F18b", "pivot_root", Held, Bare, &[Capabilities, Seccomp]),
    probe("F19", "fsopen", Held, Bare, &[Capabilities, Seccomp]),
    probe("F19b", "open_tree with a clone", Held, Bare, &[Capabilities, Seccomp]),
    probe("F19c", "move_mount", Held, Bare, &[Capabilities, Seccomp]),
    probe("F19d", "mount_setattr", Held, Bare, &[Capabilities, Seccomp]),
    probe("F19e", "fspick", Held, Bare, &[Capabilities, Seccomp]),
    probe("F21", "make a character device", Held, Bare, &[]),
    probe("F21b", "make a block device", Held, Bare, &[]),
    probe("F21c", "find a device node of the host", Held, Bare, &[PrivateRoot]),
    probe("F23", "run without no_new_privs", Held, Bare, &[NoNewPrivs]),
    probe("F24", "chmod with the set-uid bit", Held, Bare, &[Seccomp]),
    probe("F24b", "fchmodat2 with the set-uid bit", Held, Bare, &[Seccomp]),
    probe("F24c", "open with the set-uid bit in the mode", Held, Bare, &[Seccomp]),
    probe("F24d", "mkdir, then the set-gid bit", Held, Bare, &[Seccomp]),
    probe("F24e", "mknod of a file with the set-uid bit", Held, Bare, &[Seccomp]),
    probe("F24f", "fchmod with a mode that hides its bit above 32 bits", Held, Bare, &[Seccomp]),
    probe("F30", "change a git hook of the workspace", Held, Bare, &[Frozen]),
    probe("F31", "rename the directory that holds the hooks", Held, Bare, &[Frozen]),
    probe("F36", "read a credential file in the workspace", Held, Bare, &[Masks]),
    probe("F37", "see the state of execward", Held, Bare, &[PrivateRoot]),
    probe("F41", "list the directory beside the workspace", Held, Bare, &[PrivateRoot]),
    probe("F41b", "see credential stores in homes", Held, Bare, &[PrivateRoot]),
    probe("F42", "bind-mount", Held, Bare, &[Capabilities, Landlock, Seccomp]),
    probe("F45", "FITRIM", Held, Bare, &[]),
    probe("F45b", "make a file immutable", Held, Bare, &[]),
    probe("F46", "find the system writable", Held, Bare, &[PrivateRoot]),
    probe("F47", "remove a file outside", Held, Bare, &[PrivateRoot, Landlock]),

    probe("X1",  "trace a process outside", Held, Bare, &[PidNamespace, Landlock, Seccomp]),
    probe("X2",  "read the memory of a process outside", Held, Bare, &[PidNamespace, Landlock, Seccomp]),
    probe("X3",  "read the environment of a process outside", Held, Bare, &[PidNamespace, Landlock]),
    probe("X3b", "open the memory of a process outside", Held, Bare, &[PidNamespace, Landlock]),
    probe("X5",  "read the arguments of a process outside", Held, Bare, &[PidNamespace, Landlock]),
    probe("X6",  "list the descriptors of a process outside", Held, Bare, &[PidNamespace, Landlock]),
    probe("X7",  "take a descriptor of a process outside", Held, Bare, &[PidNamespace, Landlock, Seccomp]),
    probe("X9",  "signal a process outside", Held, Bare, &[PidNamespace, Landlock]),
    probe("X9b", "signal by thread and by queue", Held, Bare, &[PidNamespace, Landlock]),
    probe("X9c", "find a process that is not of this sandbox", Held, Bare, &[PidNamespace, Landlock]),
    probe("X10", "have signals sent to a process outside", Held, Bare, &[PidNamespace]),
    probe("X11", "change the priority of a process outside", Held, Bare, &[PidNamespace]),
    probe("X11b", "change the limits of a process outside", Held, Bare, &[PidNamespace]),
    probe("X11c", "change the processors of a process outside", Held, Bare, &[PidNamespace]),
    probe("X13", "dump core", Held, Bare, &[Rlimits]),
    probe("X14", "change where cores go", Held, Bare, &[Landlock]),
    probe("X26", "hold the requester's own file as standard input", Held, Bare, &[Streams]),
    probe("X27", "lower the out-of-memory score", Held, MayLack("needs CAP_SYS_RESOURCE, which root lacks in a container"), &[]),
    probe("X28", "open a setting of its own in /proc for writing", Held, Bare, &[Landlock]),

    probe("S1",  "32-bit system calls by int 0x80", Held, MayLack("the kernel may have no 32-bit emulation"), &[Seccomp]),
    probe("S3",  "x32 system calls", Held, MayLack("most kernels have no x32"), &[Seccomp]),
    probe("S5",  "io_uring", Held, Bare, &[Seccomp]),
    probe("S6",  "clone3", Held, Bare, &[Seccomp]),
    probe("S6b", "openat2", Held, Bare, &[Seccomp]),
    probe("S6c", "statmount and listmount", Held, MayLack("Linux 6.8"), &[Seccomp]),
    probe("S6d", "quotactl_fd", Held, Bare, &[Seccomp]),
    probe("S6e", "process_mrelease and process_madvise", Held, Bare, &[Seccomp]),
    probe("S6f", "lsm_set_self_attr", Held, MayLack("Linux 6.8"), &[Seccomp]),
    probe("S7",  "modify_ldt", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("S7b", "iopl", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("S7c", "ustat and sysfs", Held, Bare, &[Seccomp]),
    probe("S9",  "personality", Held, Bare, &[Seccomp]),
    probe("S11", "userfaultfd", Held, Bare, &[Seccomp]),
    probe("S13", "bpf", Held, Bare, &[Seccomp]),
    probe("S13b", "perf_event_open", Held, Bare, &[Seccomp]),
    probe("S15", "run without a seccomp filter", Held, Bare, &[Seccomp]),
    probe("S17", "read the kernel log", Held, Bare, &[Seccomp]),
    probe("S17b", "read addresses of the kernel", Held, MayLack("hidden by kernel.kptr_restrict"), &[]),
    probe("S18", "set the clock", Held, Bare, &[Seccomp]),
    probe("S18b", "adjust the clock", Held, Bare, &[]),
    probe("S18c", "set the host name", Held, Bare, &[Capabilities, Seccomp]),
    probe("S18d", "swap on", Held, Bare, &[]),
    probe("S18e", "reboot", Held, Bare, &[Capabilities, Seccomp]),
    probe("S18f", "kexec", Held, MayLack("not on every kernel"), &[]),
    probe("S18g", "process accounting", Held, MayLack("not on every kernel"), &[]),
    probe("S18h", "quotas", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("S18i", "load a kernel module", Held, MayLack("not on every kernel"), &[]),
    probe("S18j", "real-time scheduling", Held, Bare, &[]),
    probe("S19", "an ioctl whose number hides above 32 bits", Held, Bare, &[Seccomp]),

    probe("N1",  "a user namespace by unshare", Held, Bare, &[Seccomp]),
    probe("N1b", "mount, pid and net namespaces by unshare", Held, Bare, &[Capabilities, Seccomp]),
    probe("N3",  "a user namespace by clone", Held, Bare, &[Seccomp]),
    probe("N3b", "setns", Held, Bare, &[Seccomp]),
    probe("N5",  "remount the root read-write", Held, Bare, &[Capabilities, Landlock, Seccomp]),
    probe("N5b", "unmount", Held, Bare, &[Seccomp]),
    probe("N9",  "open cgroup files for writing", Held, MayLack("cgroups may not be mounted"), &[]),
    probe("N13", "register a binary format", Held, MayLack("binfmt_misc may not be mounted"), &[]),
    probe("N14", "open kernel settings for writing", Held, Bare, &[Landlock]),
    probe("N14b", "open devices of /sys for writing", Held, Bare, &[]),
    probe("N17", "set groups", Held, Bare, &[]),
    probe("N18", "hold any capability", Held, Bare, &[Capabilities]),
    probe("N19", "change secure bits", Held, Bare, &[Capabilities]),
    probe("N20", "become root", Held, Bare, &[Ids]),
    probe("N28", "see the name of the host", Held, Bare, &[UtsNamespace]),
    probe("N29", "see the control group of the host", Held, MayLack("the host's own may be the root"), &[CgroupNamespace]),
    probe("N25", "reach the session keyring", Held, Bare, &[Seccomp]),
    probe("N25b", "add a key", Held, Bare, &[Seccomp]),

    probe("W1",  "connect to a port of the host", Held, Bare, &[NetworkNamespace]),
    probe("W5",  "connect by fast open", Held, MayLack("net.ipv4.tcp_fastopen may be off"), &[NetworkNamespace, Seccomp]),
    probe("W6",  "connect by multipath TCP", Held, MayLack("net.mptcp.enabled may be off"), &[NetworkNamespace, Seccomp]),
    probe("W7",  "SCTP, DCCP and UDP-Lite", Held, Bare, &[Seccomp]),
    probe("W8",  "send a datagram to the host", Held, Bare, &[NetworkNamespace]),
    probe("W9",  "share the ports of the host", Held, Bare, &[NetworkNamespace]),
    probe("W11", "connect to a socket file outside", Held, Bare, &[PrivateRoot, Landlock]),
    probe("W12", "connect to an abstract socket of the host", Held, Bare, &[NetworkNamespace, Landlock]),
    probe("W13", "send a datagram to a socket file outside", Held, Bare, &[PrivateRoot, Landlock]),
    probe("W14", "a socket pair", Works, Bare, &[]),
    probe("W14b", "TCP over its own loopback", Works, Bare, &[]),
    probe("W15", "find sockets of daemons", Held, MayLack("no such daemon may run"), &[PrivateRoot]),
    probe("W21", "netlink beyond routing", Held, Bare, &[Seccomp]),
    probe("W22", "packet sockets", Held, Bare, &[Capabilities, Seccomp]),
    probe("W22b", "raw sockets", Held, Bare, &[Capabilities]),
    probe("W34", "connect by IPv6", Held, MayLack("the host may have no IPv6"), &[NetworkNamespace]),
    probe("W37", "see the sockets of the host", Held, Bare, &[NetworkNamespace]),
    probe("W38", "see the interfaces of the host", Held, Bare, &[PrivateRoot]),

    probe("K1",  "AF_ALG", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("K2",  "AF_RXRPC", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("K3",  "NETLINK_XFRM", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("K4",  "AF_VSOCK", Held, MayLack("not on every kernel"), &[Seccomp]),
    probe("K5",  "request_key", Held, Bare, &[Seccomp]),
    probe("K6",  "any other family of sockets", Held, Bare, &[Seccomp]),

    probe("I1",  "attach shared memory of the host", Held, Bare, &[IpcNamespace]),
    probe("I1b", "see message queues and semaphores of the host", Held, Bare, &[IpcNamespace]),
    probe("I2",  "read /dev/shm of the host", Held, Bare, &[PrivateRoot]),
    probe("I2b", "write to /dev/shm", Contained, Bare, &[PrivateRoot]),
    probe("I3",  "read /tmp of the host", Held, Bare, &[PrivateRoot]),
    probe("I3b", "write to /tmp", Contained, Bare, &[PrivateRoot]),
    probe("I6",  "write to the home", Contained, Bare, &[PrivateRoot]),

    probe("T1",  "push input to a terminal", Held, Bare, &[Seccomp]),
    probe("T2",  "paste on a console", Held, Bare, &[Seccomp]),
    probe("T2b", "redirect the console", Held, Bare, &[Seccomp]),
    probe("T3",  "open the controlling terminal", Held, Bare, &[Terminal]),
    probe("T5",  "open another terminal", Held, Bare, &[PrivateRoot]),
];
