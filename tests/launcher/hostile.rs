//! What a launcher reaches may be anything.

use std::time::{Duration, Instant};

use super::*;
use crate::daemon::{as_both, until};

/// A launcher that runs this text in place of a place elsewhere.
fn reaches(there: &There, text: &str, lines: &str) -> Option<Daemon> {
    there.program("far", &format!("#!/bin/sh\n{text}\n"));
    there.daemon(&format!("command = [\"far\", \"{{remote}}\"]\n{lines}"))
}

/// A frame of a runner.
fn frame(json: &str) -> String {
    let bytes = u32::try_from(json.len() + 1).unwrap().to_le_bytes();
    let escaped: String = bytes.iter().chain(&[0]).map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{escaped}'; printf '%s' '{json}'")
}

#[test]
fn what_is_no_runner_is_an_error_that_says_what_came() {
    as_both(|| {
        let version = env!("CARGO_PKG_VERSION");
        let greeted =
            |version: &str| frame(&format!("{{\"Greeted\":{{\"version\":\"{version}\",\"host\":\"h\"}}}}"));
        let have = "read -r go; echo execward have; head -c 5 > /dev/null;";
        for (text, expected) in [
            ("echo Permission denied >&2; exit 255".to_owned(), "Permission denied"),
            ("exit 0".to_owned(), "ended before"),
            ("echo Welcome to Example; sleep 60".to_owned(), "Welcome to Example"),
            ("printf '\\033]0;owned\\007\\n'; sleep 60".to_owned(), "no runner"),
            ("head -c 100000000 /dev/zero; sleep 60".to_owned(), "no runner"),
            ("yes; sleep 60".to_owned(), "no runner"),
            ("read -r go; echo 'execward fail no disk'; sleep 60".to_owned(), "no disk"),
            ("read -r go; echo execward have; exec yes".to_owned(), "no runner"),
            ("read -r go; echo execward have; echo more; sleep 60".to_owned(), "no runner"),
            (format!("{have} {}; sleep 60", greeted("0.0.1")), "0.0.1"),
            (format!("{have} {}; sleep 60", frame("{\"Alive\":1}")), "no runner"),
            (format!("{have} printf '\\377\\377\\377\\377'; sleep 60"), "no runner"),
            (format!("{have} {}; exit 3", greeted(version)), "ended"),
            (
                format!("{have} {}; sleep 1; {}; sleep 60", greeted(version), frame("{\"Exited\":{}}")),
                "runner ended",
            ),
        ] {
            let there = There::new();
            let Some(daemon) = reaches(&there, &text, "patience = \"20s\"") else { return };
            let (code, message) = refused(try_open(&mut client(&daemon), "there", &there.work()));
            assert!(code == 1500 && message.contains(expected), "{text}: {message}");
            assert!(message.len() < 2000 && !message.contains('\u{1b}'), "{message:?}");
            let bin = there.path("bin").to_str().unwrap().to_owned();
            until("nothing of it is left", || processes(&bin).is_empty());
        }
    });
}

#[test]
fn what_never_answers_is_given_up_in_time() {
    as_both(|| {
        let version = env!("CARGO_PKG_VERSION");
        let greeted = frame(&format!("{{\"Greeted\":{{\"version\":\"{version}\",\"host\":\"h\"}}}}"));
        for text in [
            "exec sleep 600".to_owned(),
            "read -r go; echo execward have; exec sleep 600".to_owned(),
            // Never takes what is sent.
            "read -r go; echo execward need; exec sleep 600".to_owned(),
            format!("read -r go; echo execward have; head -c 5 >/dev/null; {greeted}; exec sleep 600"),
        ] {
            let there = There::new();
            let Some(daemon) = reaches(&there, &text, "patience = \"1s\"") else { return };
            let begun = Instant::now();
            let (code, message) = refused(try_open(&mut client(&daemon), "there", &there.work()));
            assert!(code == 1500 && message.contains("within 1 s"), "{text}: {message}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{text}");
        }
    });
}

#[test]
fn one_that_dies_or_falls_silent_in_mid_command_ends_the_command_and_the_session_alone() {
    as_both(|| {
        for (signal, expected) in [(libc::SIGKILL, "gone"), (libc::SIGSTOP, "nothing has come")] {
            let there = There::new();
            let Some(daemon) = there.daemon("silence = \"2s\"") else { return };
            let (mut agent, mut other) = (client(&daemon), client(&daemon));
            open(&mut agent, &there.work());
            other.open(&daemon.workspace(me(), "here"));
            agent
                .call("exec/start", json!({"id": "a", "command": {"shell": "echo begun; sleep 600"}}))
                .unwrap();
            // Longer than silence: a command that says nothing is no silence of its runner.
            std::thread::sleep(Duration::from_secs(3));
            assert_eq!(out(&shell(&mut agent, "b", "echo there")), "there");
            let name = there.path("home/.cache/execward").to_str().unwrap().to_owned();
            for pid in processes(&name) {
                // SAFETY: plain numbers; they are processes of this test.
                #[allow(unsafe_code)]
                unsafe {
                    libc::kill(pid, signal);
                }
            }
            let report = agent.exited("a");
            assert!(report.to_string().contains(expected), "{report}");
            assert!(agent.call("exec/start", json!({"id": "c", "command": {"argv": ["true"]}})).is_err());
            assert_eq!(other.run("d", &["true"])["report"]["code"], 0);
            for pid in processes(&name) {
                // SAFETY: as above.
                #[allow(unsafe_code)]
                unsafe {
                    libc::kill(pid, libc::SIGKILL);
                }
            }
        }
    });
}

#[test]
fn a_runner_that_lies_and_floods_takes_no_memory_and_no_other_session() {
    as_both(|| {
        let version = env!("CARGO_PKG_VERSION");
        let greeted = frame(&format!("{{\"Greeted\":{{\"version\":\"{version}\",\"host\":\"h\"}}}}"));
        let ready = frame("{\"Ready\":{\"receipt\":{\"backend\":\"launcher\",\"layers\":[]}}}");
        let credit = frame("{\"Credit\":{\"id\":1,\"bytes\":18446744073709551615}}");
        let flood = format!("for i in 1 2 3 4 5 6; do {credit}; {}; done", frame("\"Alive\""));
        let endless = "while :; do head -c 8000000 /dev/zero; done";
        let text = format!(
            "read -r go; echo execward have; head -c 5 >/dev/null; {greeted}; sleep 0.2; {ready}; sleep 0.5; {flood}; sleep 0.2; {endless}"
        );
        let there = There::new();
        let Some(daemon) = reaches(&there, &text, "") else { return };
        let (mut agent, mut other) = (client(&daemon), client(&daemon));
        other.open(&daemon.workspace(me(), "here"));
        let before = daemon.private_kib();
        open(&mut agent, &there.work());
        let started =
            agent.call("exec/start", json!({"id": "a", "command": {"argv": ["cat"]}, "stdin": true}));
        let waited = agent.call("exec/wait", json!({"id": "a"}));
        assert!(started.is_err() || waited.is_ok_and(|done| done["report"]["code"] != 0));
        assert_eq!(other.run("d", &["true"])["report"]["code"], 0);
        assert!(daemon.private_kib() < before + 64 * 1024, "{} from {before}", daemon.private_kib());
    });
}
