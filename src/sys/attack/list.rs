//! The promises of the sandbox: one row each, the same for every backend.
//!
//! Ids are stable: documents and commit messages name them. Letters: F files, X processes, S system calls,
//! N namespaces and kernel knobs, W network, K kernel families, I between processes, R lifetime, T terminal.

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
}

impl Probe {
    /// The layer that an answer comes from, as far as an answer can say it.
    pub fn stopped_by(&self, answer: &str) -> &'static str {
        let letter = self.id.chars().next().unwrap_or('?');
        let says = |parts: &[&str]| parts.iter().any(|part| answer.contains(part));
        if says(&["os error 38", "SIGSYS"]) {
            return "seccomp";
        }
        match letter {
            'F' | 'I' if says(&["os error 2)", "os error 20)", "empty", "none of them"]) => "mount view",
            'F' if says(&["os error 30"]) => "read-only mounts",
            'F' if says(&["0, 1 and 2 only"]) => "descriptors",
            'F' if says(&["os error 13", "os error 18", "os error 16"]) => "landlock or mounts",
            'F' => "seccomp",
            'X' if says(&["os error 3)", "os error 2)", "processes"]) => "pid namespace",
            'X' => "ids and landlock scopes",
            'W' if says(&[
                "os error 101",
                "os error 111",
                "os error 113",
                "port of the host",
                "loopback",
                "other sockets",
            ]) =>
            {
                "network namespace"
            }
            'W' if says(&["os error 2)"]) => "mount view",
            'I' => "ipc namespace",
            'T' => "session and terminals",
            'N' if says(&["capability"]) => "capabilities",
            'N' if says(&["os error 2)", "os error 30", "os error 13"]) => "mount view",
            _ => "seccomp",
        }
    }
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

const fn probe(id: &'static str, name: &'static str, expect: Expect, control: Control) -> Probe {
    Probe { id, name, expect, control }
}

/// All of them.
#[rustfmt::skip]
pub const LIST: &[Probe] = &[
    probe("F1",  "read a file outside", Held, Bare),
    probe("F1b", "append to a file outside", Held, Bare),
    probe("F1c", "create a file outside", Held, Bare),
    probe("F2",  "reach outside by ..", Held, Bare),
    probe("F3",  "read through a symbolic link that points outside", Held, Bare),
    probe("F3b", "write through a symbolic link that points outside", Held, Bare),
    probe("F5",  "reach outside by the magic links of /proc", Held, Bare),
    probe("F6",  "reach outside by other spellings of a path", Held, Bare),
    probe("F7",  "hard-link a file outside into the workspace", Held, Bare),
    probe("F8",  "rename a file of the workspace to outside", Held, Bare),
    probe("F9",  "truncate a file outside by its path", Held, Bare),
    probe("F9b", "open a file outside with O_TRUNC", Held, Bare),
    probe("F10", "change mode, times, owner and attributes outside", Held, Bare),
    probe("F11", "read metadata outside", Held, Bare),
    probe("F12", "watch a directory outside", Held, Bare),
    probe("F13", "open a file by handle", Held, Bare),
    probe("F14", "find a descriptor that execward inherited", Held, Bare),
    probe("F15", "reopen an inherited descriptor with more rights", Held, Bare),
    probe("F17", "change into a directory outside", Held, Bare),
    probe("F18", "chroot", Held, Bare),
    probe("F18b", "pivot_root", Held, Bare),
    probe("F19", "fsopen", Held, Bare),
    probe("F19b", "open_tree with a clone", Held, Bare),
    probe("F19c", "move_mount", Held, Bare),
    probe("F19d", "mount_setattr", Held, Bare),
    probe("F19e", "fspick", Held, Bare),
    probe("F21", "make a character device", Held, Bare),
    probe("F21b", "make a block device", Held, Bare),
    probe("F21c", "find a device node of the host", Held, Bare),
    probe("F23", "run without no_new_privs", Held, Bare),
    probe("F24", "chmod with the set-uid bit", Held, Bare),
    probe("F24b", "fchmodat2 with the set-uid bit", Held, Bare),
    probe("F24c", "open with the set-uid bit in the mode", Held, Bare),
    probe("F24d", "mkdir, then the set-gid bit", Held, Bare),
    probe("F24e", "mknod of a file with the set-uid bit", Held, Bare),
    probe("F24f", "fchmod with a mode that hides its bit above 32 bits", Held, Bare),
    probe("F30", "change a git hook of the workspace", Held, Bare),
    probe("F31", "rename the directory that holds the hooks", Held, Bare),
    probe("F36", "read a credential file in the workspace", Held, Bare),
    probe("F37", "see the state of execward", Held, Bare),
    probe("F41", "list the directory beside the workspace", Held, Bare),
    probe("F41b", "see credential stores in homes", Held, Bare),
    probe("F42", "bind-mount", Held, Bare),
    probe("F45", "FITRIM", Held, Bare),
    probe("F45b", "make a file immutable", Held, Bare),
    probe("F46", "find the system writable", Held, Bare),
    probe("F47", "remove a file outside", Held, Bare),

    probe("X1",  "trace a process outside", Held, Bare),
    probe("X2",  "read the memory of a process outside", Held, Bare),
    probe("X3",  "read the environment of a process outside", Held, Bare),
    probe("X3b", "open the memory of a process outside", Held, Bare),
    probe("X5",  "read the arguments of a process outside", Held, Bare),
    probe("X6",  "list the descriptors of a process outside", Held, Bare),
    probe("X7",  "take a descriptor of a process outside", Held, Bare),
    probe("X9",  "signal a process outside", Held, Bare),
    probe("X9b", "signal by thread and by queue", Held, Bare),
    probe("X9c", "find a process that is not of this sandbox", Held, Bare),
    probe("X10", "have signals sent to a process outside", Held, Bare),
    probe("X11", "change the priority of a process outside", Held, Bare),
    probe("X11b", "change the limits of a process outside", Held, Bare),
    probe("X11c", "change the processors of a process outside", Held, Bare),
    probe("X13", "dump core", Held, Bare),
    probe("X14", "change where cores go", Held, Bare),
    probe("X26", "hold the requester's own file as standard input", Held, Bare),
    probe("X27", "lower the out-of-memory score", Held, MayLack("needs CAP_SYS_RESOURCE, which root lacks in a container")),

    probe("S1",  "32-bit system calls by int 0x80", Held, MayLack("the kernel may have no 32-bit emulation")),
    probe("S3",  "x32 system calls", Held, MayLack("most kernels have no x32")),
    probe("S5",  "io_uring", Held, Bare),
    probe("S6",  "clone3", Held, Bare),
    probe("S6b", "openat2", Held, Bare),
    probe("S6c", "statmount and listmount", Held, MayLack("Linux 6.8")),
    probe("S6d", "quotactl_fd", Held, Bare),
    probe("S6e", "process_mrelease and process_madvise", Held, Bare),
    probe("S6f", "lsm_set_self_attr", Held, MayLack("Linux 6.8")),
    probe("S7",  "modify_ldt", Held, MayLack("not on every kernel")),
    probe("S7b", "iopl", Held, MayLack("not on every kernel")),
    probe("S7c", "ustat and sysfs", Held, Bare),
    probe("S9",  "personality", Held, Bare),
    probe("S11", "userfaultfd", Held, Bare),
    probe("S13", "bpf", Held, Bare),
    probe("S13b", "perf_event_open", Held, Bare),
    probe("S15", "run without a seccomp filter", Held, Bare),
    probe("S17", "read the kernel log", Held, Bare),
    probe("S17b", "read addresses of the kernel", Held, MayLack("hidden by kernel.kptr_restrict")),
    probe("S18", "set the clock", Held, Bare),
    probe("S18b", "adjust the clock", Held, Bare),
    probe("S18c", "set the host name", Held, Bare),
    probe("S18d", "swap on", Held, Bare),
    probe("S18e", "reboot", Held, Bare),
    probe("S18f", "kexec", Held, MayLack("not on every kernel")),
    probe("S18g", "process accounting", Held, MayLack("not on every kernel")),
    probe("S18h", "quotas", Held, MayLack("not on every kernel")),
    probe("S18i", "load a kernel module", Held, MayLack("not on every kernel")),
    probe("S18j", "real-time scheduling", Held, Bare),
    probe("S19", "an ioctl whose number hides above 32 bits", Held, Bare),

    probe("N1",  "a user namespace by unshare", Held, Bare),
    probe("N1b", "mount, pid and net namespaces by unshare", Held, Bare),
    probe("N3",  "a user namespace by clone", Held, Bare),
    probe("N3b", "setns", Held, Bare),
    probe("N5",  "remount the root read-write", Held, Bare),
    probe("N5b", "unmount", Held, Bare),
    probe("N9",  "open cgroup files for writing", Held, MayLack("cgroups may not be mounted")),
    probe("N13", "register a binary format", Held, MayLack("binfmt_misc may not be mounted")),
    probe("N14", "open kernel settings for writing", Held, Bare),
    probe("N14b", "open devices of /sys for writing", Held, Bare),
    probe("N17", "set groups", Held, Bare),
    probe("N18", "hold any capability", Held, Bare),
    probe("N19", "change secure bits", Held, Bare),
    probe("N20", "become root", Held, Bare),
    probe("N25", "reach the session keyring", Held, Bare),
    probe("N25b", "add a key", Held, Bare),

    probe("W1",  "connect to a port of the host", Held, Bare),
    probe("W5",  "connect by fast open", Held, MayLack("net.ipv4.tcp_fastopen may be off")),
    probe("W6",  "connect by multipath TCP", Held, MayLack("net.mptcp.enabled may be off")),
    probe("W7",  "SCTP, DCCP and UDP-Lite", Held, Bare),
    probe("W8",  "send a datagram to the host", Held, Bare),
    probe("W9",  "share the ports of the host", Held, Bare),
    probe("W11", "connect to a socket file outside", Held, Bare),
    probe("W12", "connect to an abstract socket of the host", Held, Bare),
    probe("W13", "send a datagram to a socket file outside", Held, Bare),
    probe("W14", "a socket pair", Works, Bare),
    probe("W14b", "TCP over its own loopback", Works, Bare),
    probe("W15", "find sockets of daemons", Held, MayLack("no such daemon may run")),
    probe("W21", "netlink beyond routing", Held, Bare),
    probe("W22", "packet sockets", Held, Bare),
    probe("W22b", "raw sockets", Held, Bare),
    probe("W34", "connect by IPv6", Held, MayLack("the host may have no IPv6")),
    probe("W37", "see the sockets of the host", Held, Bare),
    probe("W38", "see the interfaces of the host", Held, Bare),

    probe("K1",  "AF_ALG", Held, MayLack("not on every kernel")),
    probe("K2",  "AF_RXRPC", Held, MayLack("not on every kernel")),
    probe("K3",  "NETLINK_XFRM", Held, MayLack("not on every kernel")),
    probe("K4",  "AF_VSOCK", Held, MayLack("not on every kernel")),
    probe("K5",  "request_key", Held, Bare),
    probe("K6",  "any other family of sockets", Held, Bare),

    probe("I1",  "attach shared memory of the host", Held, Bare),
    probe("I1b", "see message queues and semaphores of the host", Held, Bare),
    probe("I2",  "read /dev/shm of the host", Held, Bare),
    probe("I2b", "write to /dev/shm", Contained, Bare),
    probe("I3",  "read /tmp of the host", Held, Bare),
    probe("I3b", "write to /tmp", Contained, Bare),
    probe("I6",  "write to the home", Contained, Bare),

    probe("T1",  "push input to a terminal", Held, Bare),
    probe("T2",  "paste on a console", Held, Bare),
    probe("T2b", "redirect the console", Held, Bare),
    probe("T3",  "open the controlling terminal", Held, Bare),
    probe("T5",  "open another terminal", Held, Bare),
];
