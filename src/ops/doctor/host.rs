//! The machine: its kernel, its clock, and who of its users could go around execward.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Check;
use crate::sys::process;

/// 2026-01-01: no clock that is right shows an earlier time to this program.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// The landlock ABI from which on signals and abstract sockets are held back too (Linux 6.12).
const SCOPED: u32 = 6;

pub(super) fn checks() -> Vec<Check> {
    vec![kernel(), landlock(), seccomp(), namespaces(), cgroups(), clock(), interpreters()]
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Check {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // pidfds, openat2, clone3 and landlock
    if version < (5, 13) {
        return Check::failure(
            "kernel",
            format!("Linux {release}"),
            "the jail needs calls that this kernel lacks",
            "run Linux 5.13 or later",
        );
    }
    Check::ok("kernel", format!("Linux {release}"))
}

fn landlock() -> Check {
    match process::landlock_abi() {
        Ok(abi) if abi >= SCOPED => Check::ok("landlock", format!("ABI {abi}")),
        Ok(abi) => Check::warning(
            "landlock",
            format!("ABI {abi}"),
            "files are held, and what later kernels add (signals and abstract sockets from ABI 6 on) is left to the namespaces",
            "Linux 6.12 or later has it",
        ),
        Err(error) => Check::failure(
            "landlock",
            format!("not there: {error}"),
            "one of two layers that hold files is missing",
            "boot with `lsm=landlock,...` (see /sys/kernel/security/lsm), on a kernel with CONFIG_SECURITY_LANDLOCK",
        ),
    }
}

fn seccomp() -> Check {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.contains("errno") => Check::ok("seccomp", "filters"),
        _ => Check::failure(
            "seccomp",
            "the kernel has no seccomp filters",
            "commands are refused: system calls could not be held back",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// Root makes namespaces by itself; others need user namespaces.
fn namespaces() -> Check {
    const NAME: &str = "user-namespaces";
    if nix::unistd::geteuid().is_root() {
        return Check::ok(NAME, "not needed: root makes its namespaces itself");
    }
    let zero = |path: &str| read(path).as_deref() == Some("0");
    let refused = "commands of ordinary users are refused: the jail cannot be made";
    if zero("/proc/sys/user/max_user_namespaces") {
        return Check::failure(
            NAME,
            "user.max_user_namespaces is 0",
            refused,
            "sudo sysctl -w user.max_user_namespaces=15000",
        );
    }
    if zero("/proc/sys/kernel/unprivileged_userns_clone") {
        return Check::failure(
            NAME,
            "kernel.unprivileged_userns_clone is 0",
            refused,
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return Check::warning(
            NAME,
            "AppArmor restricts them",
            "without a profile of its own, execward may be refused them; the check `jail` below has tried",
            "install an AppArmor profile for execward that allows `userns`",
        );
    }
    Check::ok(NAME, "allowed")
}

fn cgroups() -> Check {
    const NAME: &str = "cgroups";
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let has = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    let controllers = read("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    match (has("cgroup2"), has("cgroup")) {
        (true, _) if controllers.contains("memory") && controllers.contains("pids") => Check::ok(NAME, "v2"),
        (_, true) => Check::ok(NAME, "v1"),
        (true, false) => Check::warning(
            NAME,
            format!("v2, with the controllers `{controllers}`"),
            "limits on the memory and the processes of a whole session are not enforced; each process has its own limits",
            "delegate the controllers memory and pids (systemd: Delegate=yes)",
        ),
        (false, false) => Check::warning(
            NAME,
            "not mounted",
            "limits on a whole session are not enforced; each process has its own limits",
            "mount -t cgroup2 none /sys/fs/cgroup",
        ),
    }
}

fn clock() -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now < EARLIEST {
        return Check::failure(
            "clock",
            format!("{} seconds since 1970", now.as_secs()),
            "grants and jobs go by the clock, and so do the times in the audit log",
            "set the clock (timedatectl set-ntp true)",
        );
    }
    Check::ok("clock", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn interpreters() -> Check {
    let there: Vec<&str> =
        ["/bin/bash", "/bin/sh"].into_iter().filter(|path| fs::exists(path).unwrap_or(false)).collect();
    match there.as_slice() {
        [] => Check::failure(
            "shell",
            "neither /bin/bash nor /bin/sh",
            "shell text cannot be run; programs by their words can",
            "install bash",
        ),
        ["/bin/sh"] => Check::warning(
            "shell",
            "/bin/sh alone",
            "text is read as a POSIX shell reads it: what agents write for bash is refused",
            "install bash",
        ),
        _ => Check::ok("shell", there.join(", ")),
    }
}
