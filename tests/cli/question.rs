//! What the policy asks about goes to the person at the terminal, and nowhere else.

use std::fs::File;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use nix::pty::openpty;

use crate::support::{Ground, as_everyone, command};

const POLICY: &str = "[approval]\ntimeout = \"2s\"\n\n[[rule]]\nid = \"ask.touch\"\nprogram = \"touch\"\n\
                      decision = \"ask\"\nreason = \"a test\"\nexamples = [\n  \
                      { argv = [\"touch\", \"x\"], expect = \"ask\" },\n]\n";

/// Runs `touch ran` under a policy that asks, with a person who types once the question stands. Returns what the person
/// saw, and the exit code.
fn asked(ground: &Ground, early: &[u8], typed: &'static [u8]) -> (String, Option<i32>) {
    let policy = ground.put(&ground.root().join("ask.toml"), POLICY.as_bytes(), 0o644).display().to_string();
    let pty = openpty(None, None).expect("a pty");
    let mut person = File::from(pty.master);
    person.write_all(early).expect("it can be typed");
    let mut run = ground.execward(["run", "--policy", &policy, "--"]);
    run.args(["touch", "ran"]);
    let mut child = run.stdin(*b"y\n").terminal(pty.slave).spawn();
    let reader = thread::spawn(move || {
        let (mut seen, mut bytes, mut answered) = (Vec::new(), [0; 1024], false);
        // EIO: the last one to hold the terminal has gone.
        while let Ok(length @ 1..) = person.read(&mut bytes) {
            seen.extend_from_slice(&bytes[..length]);
            if !answered && seen.ends_with(b"is a no) ") {
                person.write_all(typed).expect("it can be typed");
                answered = true;
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    let status = command::wait(&mut child, Duration::from_secs(20)).expect("it ends");
    drop(child);
    (reader.join().expect("the person does not panic"), status.code())
}

fn ran(ground: &Ground) -> bool {
    let path = ground.workspace().join("ran");
    let ran = path.exists();
    let _ = std::fs::remove_file(path);
    ran
}

#[test]
fn a_yes_runs_it_once() {
    as_everyone(|ground| {
        let (seen, code) = asked(ground, b"", b"y\n");
        assert_eq!(code, Some(0), "{seen}");
        assert!(seen.contains("  | touch ran\r\n    ^^^^^^^^^ 1") && seen.contains("ask.touch"), "{seen}");
        assert!(ran(ground));
    });
}

#[test]
fn anything_else_is_a_no() {
    as_everyone(|ground| {
        for typed in [&b"n\n"[..], b"\n", b"yep\n", b"\x04", b"\x03"] {
            let (seen, code) = asked(ground, b"", typed);
            assert_eq!(code, Some(126), "{typed:?}: {seen}");
            assert!(!ran(ground), "{typed:?}");
        }
    });
}

/// Neither silence, nor what was typed before the question, nor a `y` on standard input is an answer.
#[test]
fn no_answer_is_a_no() {
    as_everyone(|ground| {
        let (seen, code) = asked(ground, b"y\n", b"");
        assert_eq!(code, Some(126), "{seen}");
        assert!(seen.contains("no answer: refused"), "{seen}");
        assert!(!ran(ground));
    });
}
