//! A system that does not play along.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use super::{TRACE, nothing_ran};
use crate::support::{Leg, as_everyone, as_leg, ground, is_root, skip, tool};

#[test]
fn a_full_disk_for_the_audit_log() {
    as_everyone(|ground| {
        if !is_root() {
            return skip("root", "only root can mount a full disk");
        }
        let state = match ground.account().uid {
            0 => "/var/lib/execward".into(),
            _ => ground.account().home.join(".local/state/execward"),
        };
        let output = ground.run(TRACE).full(&state).output().expect(125);
        let output = nothing_ran(ground, output).complains(&["audit"]);
        assert!(output.stderr().contains("o space left"), "{}", output.stderr());
    });
}

#[test]
fn an_audit_log_that_cannot_be_written() {
    as_everyone(|ground| {
        if !is_root() {
            return skip("root", "only root can put a file in the place of the state");
        }
        // A file where the directory should be.
        ground.put(&ground.state().join("audit"), b"in the way", 0o600);
        let output = ground.run(TRACE).output().expect(125);
        nothing_ran(ground, output).complains(&["audit"]);
    });
}

/// The writing end of a pipe that nobody reads.
fn broken_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_closed_standard_output() {
    as_everyone(|ground| {
        let output = ground
            .shell("yes | head -c 20000000")
            .stdout_to(broken_pipe())
            .patience(Duration::from_secs(60))
            .output();
        assert_ne!(output.code, Some(0), "a lost output is no success");
        assert!(!output.stderr().contains("panicked"), "{}", output.stderr());

        let execward = ground::execward().display();
        let output = ground.bare_shell(&format!("exec {execward} run -- echo hello >&-")).output();
        assert!(!output.stderr().contains("panicked"), "{}", output.stderr());
        assert_eq!(output.stdout(), "");
    });
}

#[test]
fn a_full_disk_for_standard_output() {
    as_everyone(|ground| {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = ground.shell("seq 100000").stdout_to(full).output();
        assert_ne!(output.code, Some(0), "a lost output is no success");
        output.complains(&[]);
    });
}

#[test]
fn user_namespaces_that_are_forbidden() {
    as_leg(Leg::User, |ground| {
        if !tool("unshare") || !tool("setpriv") {
            return;
        }
        // The limit belongs to the user namespace: this sets it in one of our own, never for the host.
        let execward = ground::execward().display();
        let text = format!(
            "unshare --user --map-current-user --keep-caps sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && \
             exec setpriv --ambient-caps=-all --inh-caps=-all {execward} run -- touch ran'"
        );
        let output = ground.bare_shell(&text).output().expect(125);
        let output = nothing_ran(ground, output).complains(&["user namespace"]);
        assert!(
            output.stderr().contains("hint:") && output.stderr().contains("max_user_namespaces"),
            "{}",
            output.stderr()
        );
    });
}

#[test]
fn control_groups_that_cannot_be_written() {
    as_leg(Leg::Root, |ground| {
        if !tool("unshare") {
            return;
        }
        let execward = ground::execward().display();
        let text = format!(
            "unshare --mount sh -c 'for m in $(awk \"\\$3 ~ /^cgroup/ {{ print \\$2 }}\" /proc/mounts); do \
             mount -o remount,bind,ro $m || exit 9; done; exec {execward} run --json -- echo ran'"
        );
        let result = ground.bare_shell(&text).output().expect(0).json();
        let layers = result["receipt"]["layers"].as_array().cloned().unwrap_or_default();
        let cgroup = layers.iter().find(|layer| layer["name"] == "cgroup").expect("the receipt speaks of it");
        assert_eq!(cgroup["enforced"], false, "{cgroup}");
        assert!(
            cgroup["detail"].as_str().is_some_and(|why| why.contains("ead-only file system")),
            "{cgroup}"
        );
    });
}

/// As on a kernel that was built without it, or started without it.
#[test]
#[allow(
    unsafe_code,
    clippy::cast_possible_truncation,
    reason = "a filter for the child, of numbers that fit"
)]
fn a_kernel_without_landlock() {
    use std::os::unix::process::CommandExt as _;
    as_everyone(|ground| {
        let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let filter = [
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            statement(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                libc::SYS_landlock_create_ruleset as u32,
            ),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let account = ground.account().clone();
        let mut command = std::process::Command::new(ground::execward());
        command.args(["run", "--state"]).arg(ground.state()).args(["--", "touch", "ran"]);
        command.current_dir(ground.workspace()).env("HOME", &account.home).stdin(Stdio::null());
        if is_root() {
            command.uid(account.uid).gid(account.gid);
        }
        // SAFETY: two system calls on memory that outlives them.
        unsafe {
            command.pre_exec(move || {
                let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
                let set = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0;
                if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains("error:") && said.contains("landlock") && said.contains("hint:"), "{said}");
        assert!(!ground.workspace().join("ran").exists());
    });
}

/// As useradd does with the files of /etc, which are hidden too.
#[test]
fn a_hidden_file_that_is_replaced_without_a_pause() {
    as_everyone(|ground| {
        let secret = ground.write(".env", "SECRET=1\n");
        let frozen = ground.write(".git/hooks/pre-commit", "#!/bin/sh\n");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    for file in [&secret, &frozen] {
                        let new = file.with_extension("new");
                        std::fs::copy(file, &new).expect("a copy");
                        ground.give(&new);
                        std::fs::rename(new, file).expect("a rename");
                    }
                }
            });
            for _ in 0..20 {
                // Which of the files it was when it was hidden cannot be said: one that takes its place later shows. But a
                // sandbox is made, each time, or the reason is not this one.
                let output = ground.run(["true"]).output();
                assert_eq!(output.code, Some(0), "{}", output.stderr());
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        ground.write("show.sh", "cat .env; cat show.sh | wc -l\n");
        assert_eq!(ground.run(["sh", "show.sh"]).output().expect(0).stdout(), "1\n");
    });
}

#[test]
fn a_hostile_environment_of_the_requester() {
    as_everyone(|ground| {
        let output = ground
            .run(["echo", "fine"])
            .env("PATH", "")
            .env("HOME", "relative/../home")
            .env("TMPDIR", "/no/such")
            .env("LC_ALL", "xx_XX")
            .env("RUST_BACKTRACE", "full")
            .env("XDG_RUNTIME_DIR", "\u{202e}")
            .output();
        // Runs with defaults of its own or says what is wrong; never a panic.
        match output.code {
            Some(0) => assert_eq!(output.stdout(), "fine\n"),
            _ => drop(output.complains(&[])),
        }
    });
}
