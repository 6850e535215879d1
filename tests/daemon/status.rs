//! How a daemon is, what happens in it, and its metrics: for those who watch, and for nobody else.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"uname -a\", expect = \"ask\" }]\n";

/// What the metrics' socket answers.
fn get(daemon: &Daemon, request: &str) -> String {
    let mut stream = connect(&daemon.socket("metrics"), me()).unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: execward\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of one line of the metrics.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

#[test]
fn what_happens_is_told_counted_and_shown() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        // What the start of a test has done is not counted here.
        let before = get(&daemon, "GET /metrics");
        let mut watcher = daemon.operator();
        assert_eq!(watcher.call("event/watch", json!({})).unwrap(), json!({}));
        // Nobody reads while all of this happens, and nothing waits for it.
        let mut client = daemon.client(people::agent());
        let session = client.open(&daemon.workspace(people::agent(), "w"));
        let secret = format!("ghp_{}", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56");
        for n in 0..20 {
            client.run(&format!("c{n}"), &["echo", &secret]);
        }
        client.call("exec/start", json!({"id": "q", "command": {"argv": ["uname", "-s"]}})).unwrap();
        let mut operator = daemon.operator();
        let status = operator.call("status/show", json!({})).unwrap();
        assert_eq!((&status["sessions"], &status["running"]), (&json!(1), &json!(1)), "{status}");
        assert_eq!((&status["pending"], &status["version"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
        assert_eq!(status["separation"], if is_root() && daemon_is_roots(&daemon) { "uid" } else { "none" });
        let waiting = operator.call("approval/list", json!({})).unwrap()["approvals"][0].clone();
        operator.call("approval/answer", json!({"approval": waiting["approval"], "answer": "once"})).unwrap();
        client.exited("q");
        client.call("session/close", json!({"session": session})).unwrap();
        let mut told: Vec<Value> = Vec::new();
        while told.last().is_none_or(|what| what["kind"] != "session-closed") {
            told.push(watcher.event("event/happened", "")["what"].take());
        }
        let kinds = |kind: &str| told.iter().filter(|what| what["kind"] == kind).count();
        assert_eq!(
            (kinds("session-opened"), kinds("decision"), kinds("command-ended")),
            (1, 21, 21),
            "{told:?}"
        );
        assert_eq!(
            (kinds("approval-pending"), kinds("approval-settled"), kinds("missed")),
            (1, 1, 0),
            "{told:?}"
        );
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains(&secret) && text.contains("ask.uname"), "{text}");
        let metrics = get(&daemon, "GET /metrics");
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("openmetrics-text"), "{metrics}");
        for (name, value) in [
            ("execward_decisions_total{verdict=\"allow\",outcome=\"run\"}", 20.0),
            ("execward_decisions_total{verdict=\"ask\",outcome=\"run\"}", 1.0),
            ("execward_commands_ended_total{how=\"exited\"}", 21.0),
            ("execward_approvals_total{how=\"answered\"}", 1.0),
            ("execward_approval_wait_seconds_count", 1.0),
            ("execward_sandbox_starts_total{backend=\"jail\",result=\"built\"}", 1.0),
            ("execward_stage_seconds_count{stage=\"judge\"}", 21.0),
            ("execward_stage_seconds_count{stage=\"record\"}", 21.0),
        ] {
            let counted = metric(&metrics, name) - metric(&before, name);
            assert!((counted - value).abs() < 0.5, "{name}: {counted}\n{metrics}");
        }
        assert!(metric(&metrics, "execward_redactions_total") >= 20.0, "{metrics}");
        assert!(!metrics.contains(&secret) && !metrics.contains(&session), "{metrics}");
        assert!(get(&daemon, "GET /").starts_with("HTTP/1.1 404"));
        assert!(get(&daemon, "POST /metrics").starts_with("HTTP/1.1 405"));
        daemon.verify_log();
    });
}

/// Whether the daemon is root's: then a user id stands between agents and operators.
fn daemon_is_roots(daemon: &Daemon) -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(daemon.socket("agent")).unwrap()) == 0
}

#[test]
fn a_reader_of_metrics_that_does_nothing_keeps_nobody_out_and_agents_get_none() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        let path = daemon.socket("metrics");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o117, 0, "{mode:o}");
        // Fewer than there are places.
        let idle: Vec<_> = (0..7).map(|_| connect(&path, me()).unwrap()).collect();
        assert!(get(&daemon, "GET /metrics").ends_with("# EOF\n"));
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        client.run("c", &["true"]);
        drop(idle);
        if is_root() && daemon_is_roots(&daemon) {
            assert!(connect(&path, people::agent()).is_err(), "an agent reads the metrics");
        }
        daemon.signal(libc::SIGTERM);
        daemon.ended();
        assert!(!path.exists());
    });
}

#[test]
fn the_doctor_sees_sockets_that_others_may_open_or_replace_or_that_nobody_serves() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        let directory = daemon.path().join("run");
        // The metrics come once all else is served.
        until("the metrics' socket", || daemon.socket("metrics").exists());
        let examine = |daemon: &Daemon| {
            let mut doctor = owners(ground::execward());
            doctor.args(["doctor", "--json", "--socket-dir"]).arg(&directory);
            doctor.arg("--state").arg(daemon.path().join("state"));
            doctor.arg("--config").arg(daemon.path().join("execward.toml"));
            let output = doctor.current_dir("/").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let checks = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
            checks
                .filter(|check| {
                    text(check, "name").contains("socket") && text(check, "name") != "engine-socket"
                })
                .map(|check| (text(&check, "name"), (text(&check, "health"), text(&check, "found"))))
                .collect::<BTreeMap<_, _>>()
        };
        let all = ["agent-socket", "metrics-socket", "operator-socket", "socket-directory"];
        let checks = examine(&daemon);
        assert_eq!(checks.keys().map(String::as_str).collect::<Vec<_>>(), all);
        assert!(checks.values().all(|(health, _)| health == "ok"), "{checks:?}");
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let before = fs::metadata(daemon.socket("operator")).unwrap().permissions().mode() & 0o777;
        mode(&daemon.socket("operator"), 0o666);
        let checks = examine(&daemon);
        assert_eq!(checks["operator-socket"].0, "failure", "{checks:?}");
        mode(&daemon.socket("operator"), before);
        mode(&directory, 0o777);
        let checks = examine(&daemon);
        assert_eq!(checks["socket-directory"].0, "failure", "{checks:?}");
        mode(&directory, if is_root() { 0o755 } else { 0o700 });
        // One that is stopped takes connections still, and answers none.
        daemon.signal(libc::SIGSTOP);
        let checks = examine(&daemon);
        daemon.signal(libc::SIGCONT);
        assert!(checks["agent-socket"].1.contains("did not answer"), "{checks:?}");
        daemon.kill();
        let checks = examine(&daemon);
        assert!(checks["agent-socket"].0 == "failure", "{checks:?}");
        assert!(checks["agent-socket"].1.contains("nobody listens"), "{checks:?}");
        daemon.start_again();
    });
}
