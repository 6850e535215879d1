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
