//! `execward doctor`: what it finds, and that it finds what is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{Ground, as_everyone};

/// Each check with its health, and the code.
fn examine(ground: &Ground, more: &[&str]) -> (BTreeMap<String, (String, String)>, i32) {
    let state = ground.state().display().to_string();
    let mut doctor = ground.execward(["doctor", "--json", "--state", &state]);
    doctor.args(more);
    let output = doctor.output();
    let text = output.stdout();
    let checks = text.lines().map(|line| {
        let check: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let bad = text("health") != "ok";
        assert_eq!(bad, !text("means").is_empty(), "what is wrong is explained, and nothing else: {line}");
        (text("name"), (text("health"), text("found")))
    });
    (checks.collect(), output.code.unwrap_or(-1))
}

#[test]
fn a_fresh_machine_is_examined_and_a_command_runs() {
    as_everyone(|ground| {
        let (checks, code) = examine(ground, &[]);
        for name in [
            "kernel",
            "landlock",
            "seccomp",
            "clock",
            "configuration",
            "keys",
            "secrets",
            "policy",
            "audit-log",
            "state",
            "disk",
        ] {
            assert_eq!(checks.get(name).map(|check| check.0.as_str()), Some("ok"), "{name}: {checks:?}");
        }
        let (health, found) = &checks["jail"];
        assert!(health == "ok" && found.contains("seccomp"), "{found}");
        assert!([0, 3].contains(&code), "{code}: {checks:?}");
    });
}

#[test]
fn files_that_others_reach_are_found_and_mended() {
    as_everyone(|ground| {
        ground.run(["true"]).output().expect(0);
        let log = ground.state().join("audit/audit.jsonl");
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(ground.state(), fs::Permissions::from_mode(0o755)).unwrap();
        let (checks, code) = examine(ground, &[]);
        assert_eq!((checks["state"].0.as_str(), code), ("failure", 1), "{checks:?}");
        assert!(checks["state"].1.starts_with("2 of"), "{checks:?}");
        let (checks, _) = examine(ground, &["--fix"]);
        assert_eq!(checks["state"].0, "ok", "{checks:?}");
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::metadata(ground.state()).unwrap().permissions().mode() & 0o777, 0o700);
    });
}

#[test]
fn a_log_that_was_changed_is_a_failure() {
    as_everyone(|ground| {
        ground.run(["true"]).output().expect(0);
        let log = ground.state().join("audit/audit.jsonl");
        let text = fs::read_to_string(&log).unwrap();
        fs::write(&log, text.replacen("true", "bash", 1)).unwrap();
        let (checks, code) = examine(ground, &[]);
        assert_eq!((checks["audit-log"].0.as_str(), code), ("failure", 1), "{checks:?}");
    });
}

#[test]
fn mistakes_in_the_configuration_and_the_policy_are_failures() {
    as_everyone(|ground| {
        let put = |name: &str, text: &str| {
            ground.put(&ground.root().join(name), text.as_bytes(), 0o644).display().to_string()
        };
        let config = put("execward.toml", "[limits]\nsesions = 3\n");
        let (checks, code) = examine(ground, &["--config", &config]);
        let (health, found) = &checks["configuration"];
        assert_eq!((health.as_str(), code), ("failure", 1));
        assert!(found.contains("sesions"), "{found}");
        let unknown = put("names.toml", "[principals]\nagents = [\"nobody-is-called-so\"]\n");
        let (checks, code) = examine(ground, &["--config", &unknown]);
        assert_eq!((checks["configuration"].0.as_str(), code), ("warning", 3), "{checks:?}");
        let policy = put("policy.toml", "[[rule]]\nid = 3\n");
        let (checks, code) = examine(ground, &["--policy", &policy]);
        assert_eq!((checks["policy"].0.as_str(), code), ("failure", 1), "{checks:?}");
    });
}

#[test]
fn keys_that_others_may_read_are_a_failure_and_none_is_quoted() {
    as_everyone(|ground| {
        ground.run(["true"]).output().expect(0);
        let keys = ground.state().join("keys.toml");
        let put = |text: &str, mode: u32| ground.put(&keys, text.as_bytes(), mode);
        put("[models]\na = [\"sk-not-for-others\"]\n", 0o600);
        let (checks, _) = examine(ground, &[]);
        assert_eq!(checks["keys"].0, "ok", "{checks:?}");
        put("[models]\na = [\"sk-not-for-others\"]\n", 0o640);
        let (checks, code) = examine(ground, &[]);
        assert_eq!((checks["keys"].0.as_str(), code), ("failure", 1), "{checks:?}");
        put("[models]\na = \"sk-not-for-others\n", 0o600);
        let (checks, _) = examine(ground, &[]);
        let (health, found) = &checks["keys"];
        assert!(health == "failure" && !found.contains("sk-not"), "{found}");
    });
}
