//! The proxies of a daemon's sessions: one for each, and out of reach for the others.

use serde_json::json;

use super::POLICY;
use super::lab::{PRIVATE, WEB, lab};
use crate::daemon::{ANN, BEN, Client, Daemon, Setup, code, until};

fn open(client: &mut Client, workspace: &str, profile: Option<&str>) -> String {
    let mut params = json!({ "workspace": workspace });
    if let Some(profile) = profile {
        params["profile"] = profile.into();
    }
    let opened = client.call("session/open", params).unwrap_or_else(|error| panic!("no session: {error}"));
    opened["session"].as_str().unwrap().to_owned()
}

/// Runs shell text in a session; its standard output.
fn shell(client: &mut Client, session: &str, id: &str, text: &str) -> String {
    client.call("exec/start", json!({"session": session, "id": id, "command": {"shell": text}})).unwrap();
    let done = client.call("exec/wait", json!({"session": session, "id": id})).unwrap();
    done["stdout"]["text"].as_str().unwrap_or_else(|| panic!("no text: {done}")).to_owned()
}

const GET: &str = r#"exec 3<>/dev/tcp/127.0.0.1/3128 && printf 'GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n' >&3 && head -n 1 <&3"#;

#[test]
fn each_session_has_a_proxy_of_its_own() {
    lab(|lab| {
        let policy = format!("{POLICY}\n[profile.alone]\nnetwork = {{ mode = \"none\" }}\n");
        let Some(daemon) = Daemon::start(Setup { policy: &policy, ..Setup::default() }) else { return };
        let (mut ann, mut ben) = (daemon.client(ANN), daemon.client(BEN));
        let with = open(&mut ann, &daemon.workspace(ANN, "with"), None);
        let without = open(&mut ann, &daemon.workspace(ANN, "without"), Some("alone"));
        let others = open(&mut ben, &daemon.workspace(BEN, "alone"), Some("alone"));
        assert!(shell(&mut ann, &with, "a", GET).starts_with("HTTP/1.1 200"));
        assert_eq!(lab.heard_at(WEB).len(), 1);
        let refused = "(exec 3<>/dev/tcp/127.0.0.1/3128) 2>/dev/null && echo OPEN; ls -l /proc/self/fd | grep -c socket";
        assert_eq!(shell(&mut ann, &without, "b", refused), "0\n");
        assert_eq!(shell(&mut ben, &others, "b", refused), "0\n");
        // Nothing of the listener is left in the sandbox that it was made in.
        assert_eq!(shell(&mut ann, &with, "c", "ls -l /proc/self/fd | grep -c socket"), "0\n");
        let records = daemon.records("connection");
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(
            (&records[0]["body"]["session"], &records[0]["body"]["requester"]["uid"]),
            (&with.clone().into(), &ANN.into())
        );
        ann.call("session/close", json!({ "session": with })).unwrap();
        assert_eq!(daemon.records("connection-end").len(), 1);
        daemon.verify_log();
    });
}

#[test]
fn a_policy_that_gives_less_closes_the_proxy_to_what_runs() {
    lab(|lab| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let mut ann = daemon.client(ANN);
        let session = open(&mut ann, &daemon.workspace(ANN, "w"), None);
        let text = format!("({GET}); read -r line; ({GET})");
        let start = json!({"session": session, "id": "a", "command": {"shell": text}, "stdin": "pipe"});
        ann.call("exec/start", start).unwrap();
        until("the first request is heard", || lab.heard_at(WEB).len() == 1);
        let less = POLICY.replace("\"web.test:80\", ", "");
        std::fs::write(daemon.path().join("policy.toml"), less).unwrap();
        daemon.operator().call("policy/reload", json!({})).unwrap();
        ann.call("exec/write", json!({"session": session, "id": "a", "text": "go\n"})).unwrap();
        ann.call("exec/wait", json!({"session": session, "id": "a"})).unwrap();
        let refused =
            daemon.records("connection").iter().filter(|it| it["body"]["outcome"] == "denied").count();
        assert_eq!(refused, 1, "{:?}", daemon.records("connection"));
        assert_eq!(lab.heard_at(WEB).len(), 1);
    });
}

#[test]
fn a_thousand_connections_harm_nobody_else() {
    lab(|lab| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let (mut ann, mut ben) = (daemon.client(ANN), daemon.client(BEN));
        let flood = open(&mut ann, &daemon.workspace(ANN, "w"), None);
        let calm = open(&mut ben, &daemon.workspace(BEN, "w"), None);
        let before = daemon.descriptors();
        // Idle ones, from many processes, which hold them for as long as they live.
        let text = "for p in 1 2 3 4 5 6 7 8 9 10; do
             (for c in {1..100}; do exec {fd}<>/dev/tcp/127.0.0.1/3128 || exit 1; done; echo full; sleep 600) & done; wait";
        ann.call("exec/start", json!({"session": flood, "id": "a", "command": {"shell": text}})).unwrap();
        until("many connections are there", || daemon.descriptors() >= before + 60);
        assert!(shell(&mut ben, &calm, "b", GET).starts_with("HTTP/1.1 200"));
        assert!(daemon.descriptors() < before + 300, "{} from {before}", daemon.descriptors());
        ann.call("exec/kill", json!({"session": flood, "id": "a"})).unwrap();
        ann.call("exec/wait", json!({"session": flood, "id": "a"})).unwrap();
        // And afterwards its own session has a proxy still.
        until("the session's own proxy serves again", || {
            static TURN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let turn = TURN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            shell(&mut ann, &flood, &format!("again{turn}"), GET).starts_with("HTTP/1.1 200")
        });
        assert_eq!(lab.heard_at(PRIVATE), Vec::<String>::new());
        ann.call("session/close", json!({ "session": flood })).unwrap();
        until("its descriptors are gone", || daemon.descriptors() <= before);
    });
}

#[test]
fn a_session_asks_for_no_more_than_its_profile_gives() {
    let policy = "default = \"allow\"\n";
    let Some(daemon) = Daemon::start(Setup { policy, ..Setup::default() }) else { return };
    let mut ann = daemon.client(if crate::support::is_root() { ANN } else { crate::daemon::me() });
    let workspace = daemon.workspace(if crate::support::is_root() { ANN } else { crate::daemon::me() }, "w");
    for network in ["proxy", "host"] {
        assert_ne!(code(ann.call("session/open", json!({"workspace": workspace, "network": network}))), 0);
    }
}
