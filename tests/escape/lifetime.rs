//! When a command ends, is ended or is abandoned, nothing that it started is left, whatever it did.
#![allow(unsafe_code, reason = "signals to processes of the test")]

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Command, Ground, as_everyone, command};

/// The probe in the workspace, and a file that it keeps writing to while it lives.
fn prepare(ground: &Ground) -> PathBuf {
    ground.bring_probe();
    let beat = ground.workspace().join("beat");
    let _ = fs::remove_file(&beat);
    beat
}

/// Fails when `beat` still changes.
#[track_caller]
fn assert_silent(beat: &PathBuf) {
    let before = fs::read_to_string(beat).expect("it lived once: it wrote");
    sleep(Duration::from_millis(600));
    let after = fs::read_to_string(beat).expect("it wrote");
    assert_eq!(before, after, "something goes on after the end");
}

/// Fails when a process whose arguments name the ground is left.
#[track_caller]
fn assert_gone(ground: &Ground) {
    let marker = ground.workspace().join("beat").display().to_string();
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let left: Vec<String> = fs::read_dir("/proc")
            .expect("processes")
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
            .filter(|line| line.contains(&marker))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left: {left:#?}");
        sleep(Duration::from_millis(20));
    }
}

fn acting(ground: &Ground, options: &[&str], id: &str, beat: &std::path::Path) -> Command {
    let mut command = ground.execward(["run"]);
    command.args(options);
    command.args(["--", "./execward-probe", id, &format!("beat={}", beat.display())]);
    command
}

#[test]
fn the_control_outlives_its_command_without_a_sandbox() {
    as_everyone(|ground| {
        let beat = prepare(ground);
        ground.bare(["./execward-probe", "R17", &format!("beat={}", beat.display())]).output().expect(0);
        let before = fs::read_to_string(&beat).expect("it wrote");
        sleep(Duration::from_millis(400));
        assert_ne!(before, fs::read_to_string(&beat).expect("it wrote"), "the daemon of the control is gone");
        for entry in fs::read_dir("/proc").expect("processes").flatten() {
            let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
            if String::from_utf8_lossy(&line).contains(&beat.display().to_string()) {
                let pid = entry.file_name().to_string_lossy().parse().expect("a pid");
                // SAFETY: ends the daemon that this test started, found by the path of this test's own file.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    });
}

#[test]
fn a_daemon_is_gone_when_its_command_ends() {
    as_everyone(|ground| {
        let beat = prepare(ground);
        let output = acting(ground, &[], "R17", &beat).output().expect(0);
        assert!(output.took < Duration::from_secs(20), "execward waited for the daemon: {:?}", output.took);
        assert_silent(&beat);
        assert_gone(ground);
    });
}

#[test]
fn background_jobs_of_a_shell_are_gone_when_it_ends() {
    as_everyone(|ground| {
        let beat = prepare(ground);
        let text = format!("./execward-probe R18 beat={} & sleep 0.4; echo done", beat.display());
        let output = ground.shell(&text).output().expect(0);
        assert_eq!(output.stdout().trim(), "done");
        assert_silent(&beat);
        assert_gone(ground);
    });
}

#[test]
fn ignoring_signals_does_not_outlast_the_time_limit() {
    as_everyone(|ground| ended_at_the_limit(ground, "R18"));
}

#[test]
fn stopping_itself_does_not_outlast_the_time_limit() {
    as_everyone(|ground| ended_at_the_limit(ground, "R19"));
}

#[test]
fn forking_faster_than_a_loop_kills_does_not_outlast_the_time_limit() {
    as_everyone(|ground| {
        let beat = prepare(ground);
        let text = format!("./execward-probe R22 beat={}; sleep 60", beat.display());
        let output = ground.execward(["run", "--timeout", "2s", "-c", &text]).output().expect(124);
        assert!(output.took < Duration::from_secs(30), "{:?}", output.took);
        assert_silent(&beat);
        assert_gone(ground);
    });
}

fn ended_at_the_limit(ground: &Ground, id: &str) {
    let beat = prepare(ground);
    let output = acting(ground, &["--timeout", "1s"], id, &beat).output().expect(124);
    assert!(
        output.took >= Duration::from_secs(1) && output.took < Duration::from_secs(30),
        "{:?}",
        output.took
    );
    assert_silent(&beat);
    assert_gone(ground);
}

#[test]
fn a_time_limit_is_said_in_the_result() {
    as_everyone(|ground| {
        let output = ground
            .execward(["run", "--json", "--timeout", "300ms", "--", "sleep", "60"])
            .output()
            .expect(124);
        assert_eq!(output.json()["outcome"], "timed-out");
    });
}

#[test]
fn a_command_that_exits_with_124_is_told_from_a_time_limit() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "--json", "-c", "exit 124"]).output().expect(124);
        assert_eq!(output.json()["outcome"], "exited");
    });
}

#[test]
fn a_killed_requester_takes_its_command_along() {
    as_everyone(|ground| {
        let beat = prepare(ground);
        let mut child = acting(ground, &[], "R18", &beat).spawn();
        let end = Instant::now() + Duration::from_secs(20);
        while !beat.exists() && Instant::now() < end {
            sleep(Duration::from_millis(20));
        }
        child.kill().expect("it can be killed");
        command::wait(&mut child, Duration::from_secs(10)).expect("it ends");
        // It notices that its supervisor is gone and ends within its grace.
        sleep(Duration::from_secs(2));
        assert_silent(&beat);
        assert_gone(ground);
    });
}

#[test]
fn ctrl_c_ends_the_command_and_says_so() {
    as_everyone(|ground| {
        let beat = prepare(ground);
        let mut child = acting(ground, &["--json"], "beat", &beat).spawn();
        let end = Instant::now() + Duration::from_secs(20);
        while !beat.exists() && Instant::now() < end {
            sleep(Duration::from_millis(20));
        }
        // SAFETY: signals the child that this test started and has not yet waited for.
        unsafe { libc::kill(i32::try_from(child.id()).expect("a pid"), libc::SIGINT) };
        let status = command::wait(&mut child, Duration::from_secs(30)).expect("it ends");
        assert!(matches!(status.code(), Some(130) | None), "{status:?}");
        assert_silent(&beat);
        assert_gone(ground);
    });
}

#[test]
fn orphans_are_reaped() {
    as_everyone(|ground| {
        prepare(ground);
        let output = ground.run(["./execward-probe", "R21"]).output().expect(0);
        assert_eq!(output.stdout().trim(), "zombies 0");
    });
}

#[test]
fn signals_are_told_from_exit_codes() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "--json", "-c", "kill -9 $$"]).output();
        // The gate may take the unknown target of a signal for a question.
        if output.code == Some(126) {
            ground.write("die.sh", "kill -9 $$\n");
            let output = ground.execward(["run", "--json", "--", "sh", "die.sh"]).output().expect(137);
            assert_eq!(output.json()["outcome"], "signaled");
            return;
        }
        assert_eq!(output.expect(137).json()["outcome"], "signaled");
    });
}
