//! Policies that cannot be used.

use std::fs;

use super::{TRACE, nothing_ran};
use crate::support::{Command, Ground, Leg, as_everyone, as_leg};

fn with_policy(ground: &Ground, path: &str) -> Command {
    let mut command = ground.execward(["run", "--policy", path, "--"]);
    command.args(TRACE);
    command
}

#[test]
fn a_policy_that_is_missing() {
    as_everyone(|ground| {
        let output = with_policy(ground, "/no/such/policy.toml").output().expect(125);
        nothing_ran(ground, output).complains(&["/no/such/policy.toml"]);
    });
}

#[test]
fn a_policy_that_cannot_be_read() {
    as_leg(Leg::User, |ground| {
        let path = ground.put(&ground.root().join("closed.toml"), b"", 0o000);
        let output = with_policy(ground, &path.display().to_string()).output().expect(125);
        nothing_ran(ground, output).complains(&["closed.toml", "ermission denied"]);
    });
    as_everyone(|ground| {
        let path = ground.outside().display().to_string();
        let output = with_policy(ground, &path).output().expect(125);
        nothing_ran(ground, output).complains(&["outside"]);
    });
}

#[test]
fn a_policy_with_a_mistake_shows_the_line() {
    as_everyone(|ground| {
        let mistakes: [(&str, &str); 4] = [
            ("[[rule]]\nid = \"x\"\ndecison = \"ask\"\n", "decison"),
            ("[[rule]]\nid = \"x\"\ndecision = \"perhaps\"\n", "perhaps"),
            ("[[rule]\nid = 1\n", "[[rule]"),
            ("unknown_key = 1\n", "unknown_key"),
        ];
        for (text, shown) in mistakes {
            let path = ground.put(&ground.root().join("mistake.toml"), text.as_bytes(), 0o644);
            let output = with_policy(ground, &path.display().to_string()).output().expect(125);
            let output = nothing_ran(ground, output).complains(&["mistake.toml", shown, "^"]);
            let lines = output.stderr();
            assert!(
                lines.contains(":1")
                    || lines.contains(":3")
                    || lines.contains(" 1 |")
                    || lines.contains(" 3 |"),
                "{lines}"
            );
            fs::remove_file(path).expect("it was written");
        }
    });
}

#[test]
fn a_policy_whose_own_example_fails_is_not_used() {
    as_everyone(|ground| {
        let text = "[[rule]]\nid = \"no-touch\"\nprogram = \"touch\"\ndecision = \"ask\"\nreason = \"an example\"\nexamples = [\n  \
                    { command = \"touch x\", expect = \"allow\" },\n]\n";
        let path = ground.put(&ground.root().join("wrong.toml"), text.as_bytes(), 0o644);
        let output = with_policy(ground, &path.display().to_string()).output().expect(125);
        nothing_ran(ground, output).complains(&["wrong.toml"]);
    });
}

#[test]
fn a_policy_that_others_can_write_is_said_or_refused() {
    as_leg(Leg::Root, |ground| {
        let path = ground.put(&ground.root().join("open.toml"), b"", 0o666);
        let output = with_policy(ground, &path.display().to_string()).output().expect(125);
        nothing_ran(ground, output).complains(&["open.toml"]);
    });
}
