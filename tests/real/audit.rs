//! Every decision leaves a record, and a record that was tampered with is found.

use std::fs;
use std::path::PathBuf;

use crate::support::{Ground, as_everyone, is_root, skip};

/// The log on this ground.
fn log(ground: &Ground) -> Option<PathBuf> {
    let state = if is_root() { ground.state() } else { ground.root().join("xdg/execward") };
    let found = fs::read_dir(state.join("audit")).ok()?.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        found.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
    found.sort();
    found.pop()
}

#[test]
fn runs_and_refusals_are_recorded_and_verify() {
    as_everyone(|ground| {
        ground.run(["echo", "first-canary"]).output().expect(0);
        ground.shell("rm -rf /srv/no-such-canary").output().expect(126);
        ground.execward(["audit", "verify"]).output().expect(0);
        let Some(log) = log(ground) else { return skip("audit", "the log is not where it is looked for") };
        let text = fs::read_to_string(log).expect("the log can be read");
        assert!(text.contains("first-canary") && text.contains("no-such-canary"), "{text}");
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    });
}

#[test]
fn a_changed_record_is_found() {
    as_everyone(|ground| {
        for word in ["one-canary", "two-canary", "three-canary"] {
            ground.run(["echo", word]).output().expect(0);
        }
        let Some(log) = log(ground) else { return skip("audit", "the log is not where it is looked for") };
        let text = fs::read_to_string(&log).expect("the log can be read");
        fs::write(&log, text.replace("two-canary", "two-cAnary")).expect("the log can be changed");
        let output = ground.execward(["audit", "verify"]).output();
        assert_ne!(output.code, Some(0), "a changed record was not found: {}", output.stdout());

        let mut lines: Vec<&str> = text.lines().collect();
        lines.remove(lines.len() / 2);
        fs::write(&log, lines.join("\n") + "\n").expect("the log can be changed");
        let output = ground.execward(["audit", "verify"]).output();
        assert_ne!(output.code, Some(0), "a removed record was not found: {}", output.stdout());
    });
}

#[test]
fn runs_at_the_same_time_keep_one_chain() {
    as_everyone(|ground| {
        let children: Vec<_> =
            (0..8).map(|number| ground.run(["echo", &number.to_string()]).spawn()).collect();
        for mut child in children {
            let status = crate::support::command::wait(&mut child, std::time::Duration::from_secs(60));
            assert!(status.expect("it ends").success());
        }
        ground.execward(["audit", "verify"]).output().expect(0);
    });
}
