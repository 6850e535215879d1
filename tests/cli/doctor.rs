//! `execward doctor`: what it finds, and that it finds what is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// Answers as an engine does that has one image.
fn engine(ground: &Ground, name: &str, api: &'static str) -> PathBuf {
    let path = ground.root().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    ground.give(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, api));
        }
    });
    path
}

fn answer(mut stream: UnixStream, api: &str) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let path = request.split(' ').nth(1)?;
        let (status, body) = if path.ends_with("/version") {
            (200, format!(r#"{{"Version":"28.2.2","ApiVersion":"{api}"}}"#))
        } else if path.ends_with("/info") {
            let info = r#"{"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"],"MemoryLimit":true,"PidsLimit":false}"#;
            (200, info.to_owned())
        } else if path.ends_with("/images/debian:12/json") {
            (200, r#"{"Id":"sha256:aa","RepoTags":["debian:12"]}"#.to_owned())
        } else {
            (404, r#"{"message":"No such image"}"#.to_owned())
        };
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
    }
}

fn config(ground: &Ground, engine: &Path) -> String {
    let text = format!("[docker]\nsocket = \"{}\"\n", engine.display());
    ground.put(&ground.root().join("docker.toml"), text.as_bytes(), 0o644).display().to_string()
}

#[test]
fn an_engine_that_is_wanted_is_asked_how_it_is_and_for_the_images() {
    as_everyone(|ground| {
        let path = engine(ground, "engine.sock", "1.50");
        let config = config(ground, &path);
        let policy = |image: &str| {
            let text = format!("[profile.box]\nbackend = \"docker\"\nimage = \"{image}\"\n");
            ground.put(&ground.root().join("box.toml"), text.as_bytes(), 0o644).display().to_string()
        };
        let (checks, _) = examine(ground, &["--config", &config, "--policy", &policy("debian:12")]);
        let (health, found) = &checks["engine"];
        assert_eq!(health, "warning", "it cannot limit processes: {found}");
        assert!(found.contains("28.2.2") && found.contains("rootless") && found.contains("pids"), "{found}");
        assert_eq!(checks["engine-image"].0, "ok", "{checks:?}");
        assert_eq!(checks["engine-socket"].0, "ok", "{checks:?}");
        let (checks, code) = examine(ground, &["--config", &config, "--policy", &policy("debian:13")]);
        assert_eq!((checks["engine-image"].0.as_str(), code), ("failure", 1), "{checks:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let (checks, code) = examine(ground, &["--config", &config]);
        assert_eq!((checks["engine-socket"].0.as_str(), code), ("failure", 1), "{checks:?}");
    });
}

#[test]
fn an_engine_that_is_missing_or_old_or_silent_is_a_failure_for_those_who_want_it() {
    as_everyone(|ground| {
        let engine_of = |path: &Path| {
            let (checks, code) = examine(ground, &["--config", &config(ground, path)]);
            assert_eq!((checks["engine"].0.as_str(), code), ("failure", 1), "{checks:?}");
            checks["engine"].1.clone()
        };
        assert!(engine_of(&ground.root().join("nothing.sock")).contains("none at"));
        assert!(engine_of(&engine(ground, "old.sock", "1.24")).contains("1.24"));
        let silent = ground.root().join("silent.sock");
        let _listener = UnixListener::bind(&silent).unwrap();
        ground.give(&silent);
        let begun = Instant::now();
        assert!(engine_of(&silent).contains("in time"));
        assert!(begun.elapsed() < Duration::from_secs(30), "it waits for ever: {:?}", begun.elapsed());
        // Nobody has to have one.
        let empty = ground.put(&ground.root().join("empty.toml"), b"", 0o644).display().to_string();
        let (checks, _) = examine(ground, &["--config", &empty]);
        assert_eq!(checks["engine"].0, "ok", "{checks:?}");
    });
}
