//! Signals mean what they mean to an ordinary command.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Ground, as_everyone, command};

/// Starts a command that touches `started` once it runs.
fn started(ground: &Ground, script: &str) -> Child {
    let child = ground.shell(script).stdin_from(Stdio::null()).spawn();
    let end = Instant::now() + Duration::from_secs(20);
    while !ground.workspace().join("started").exists() {
        assert!(Instant::now() < end, "it did not start");
        sleep(Duration::from_millis(10));
    }
    child
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it runs");
}

fn code(child: &mut Child) -> Option<i32> {
    command::wait(child, Duration::from_secs(20)).expect("it ends").code()
}

#[test]
fn a_signal_reaches_the_command_and_its_end_is_told() {
    as_everyone(|ground| {
        for (signal, expected) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
            let mut child = started(ground, "echo > started; exec sleep 60");
            send(&child, signal);
            assert_eq!(code(&mut child), Some(expected));
            std::fs::remove_file(ground.workspace().join("started")).expect("it was made");
        }
    });
}

#[test]
fn a_command_may_answer_a_signal() {
    as_everyone(|ground| {
        let mut child = started(ground, "trap 'exit 7' TERM\ntouch started\nwhile :; do sleep 0.05; done");
        send(&child, Signal::SIGTERM);
        assert_eq!(code(&mut child), Some(7));
    });
}

#[test]
fn a_second_interrupt_ends_what_ignores_the_first() {
    as_everyone(|ground| {
        let mut child = started(ground, "trap '' INT\ntouch started\nwhile :; do sleep 0.05; done");
        send(&child, Signal::SIGINT);
        sleep(Duration::from_millis(300));
        assert!(child.try_wait().expect("it can be asked").is_none(), "the first one ended it");
        send(&child, Signal::SIGINT);
        assert_eq!(code(&mut child), Some(130));
    });
}
