//! The operators' socket, method by method, and who may not use it.

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\nreason = \"says what machine this is\"\n\
    examples = [{ command = \"uname -a\", expect = \"ask\" }, { command = \"ls\", expect = \"allow\" }]\n";

/// Every method of the operators' socket but hello, with parameters that fit.
fn methods() -> Vec<(&'static str, Value)> {
    let nobody = "0".repeat(32);
    vec![
        ("approval/list", json!({})),
        ("approval/watch", json!({})),
        ("approval/preview", json!({"approval": nobody, "answer": "session"})),
        ("approval/answer", json!({"approval": nobody, "answer": "once"})),
        ("grant/list", json!({})),
        ("grant/show", json!({ "grant": nobody })),
        ("grant/revoke", json!({ "grant": nobody })),
        ("principal/list", json!({})),
        ("principal/pair", json!({"code": "AAAAAAAA"})),
        ("principal/revoke", json!({"uid": 4711})),
        ("principal/mode", json!({"uid": 4711, "mode": "manual"})),
        ("session/list", json!({})),
        ("session/mode", json!({"session": nobody, "mode": "manual"})),
        ("session/kill", json!({ "session": nobody })),
        ("exec/list", json!({ "session": nobody })),
        ("model/list", json!({})),
        ("model/test", json!({"provider": "nobody"})),
        ("policy/reload", json!({})),
        ("policy/show", json!({})),
        ("job/list", json!({})),
        ("job/show", json!({"job": "nobody"})),
        ("job/history", json!({})),
        ("job/run", json!({"job": "nobody"})),
        ("job/switch", json!({"job": "nobody", "on": true})),
        ("job/test", json!({"job": "nobody"})),
        ("job/letters", json!({"which": "dead"})),
        ("job/settle", json!({"delivery": "nobody"})),
        ("audit/tail", json!({})),
        ("status/show", json!({})),
        ("event/watch", json!({})),
    ]
}

#[test]
fn an_agent_has_none_of_the_operators_methods_and_an_operator_none_of_an_agents() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let (mut agent, mut operator) = (daemon.client(me()), daemon.operator());
        let names = |client: &mut Client, socket: &str| -> Vec<String> {
            let mut fresh = Client::new(connect(&daemon.socket(socket), me()).unwrap());
            let welcome = fresh.call("hello", json!({"protocol": 1})).unwrap();
            assert_eq!(code(client.call("hello", json!({"protocol": 1}))), 1000);
            serde_json::from_value(welcome["methods"].clone()).unwrap()
        };
        let (agents, operators) = (names(&mut agent, "agent"), names(&mut operator, "operator"));
        let listed: Vec<&str> = methods().iter().map(|(method, _)| *method).collect();
        assert_eq!(operators[1..], listed, "a method without a test");
        // Both have these two, each of what is theirs.
        let both = ["session/list", "exec/list"];
        for (method, params) in methods().into_iter().filter(|(method, _)| !both.contains(method)) {
            assert_eq!(code(agent.call(method, params)), -32601, "{method}");
        }
        for method in agents.iter().filter(|method| !operators.contains(method)) {
            assert_eq!(code(operator.call(method, json!({}))), -32601, "{method}");
        }
        // What a method does not have is refused, and what it must have.
        for (method, mut params) in methods() {
            params["x"] = json!(1);
            assert_eq!(code(operator.call(method, params)), -32602, "{method}");
        }
        for (method, params) in [
            ("approval/answer", json!({})),
            ("approval/answer", json!({"approval": "0".repeat(32), "answer": "perhaps"})),
            ("approval/answer", json!({"approval": "1", "answer": "once"})),
            ("session/kill", json!({})),
            ("session/kill", json!({"session": "../x"})),
            ("session/kill", json!({"session": "0".repeat(32), "reason": "a\nb"})),
            ("audit/tail", json!({"lines": 1001})),
            ("audit/tail", json!({"lines": -1})),
            ("audit/tail", json!({"lines": u64::MAX})),
            ("audit/tail", json!({"follow": 1})),
        ] {
            assert_eq!(code(operator.call(method, params.clone())), -32602, "{method} {params}");
        }
        assert_eq!(
            code(operator.call("approval/answer", json!({"approval": "0".repeat(32), "answer": "once"}))),
            1206
        );
        assert_eq!(code(operator.call("session/kill", json!({"session": "0".repeat(32)}))), 1100);
    });
}

#[test]
fn who_is_no_operator_gets_nothing_from_their_socket() {
    as_root(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let mut ann = daemon.client(ANN);
        ann.open(&daemon.workspace(ANN, "w"));
        let asked = ann.call("exec/start", json!({"id": "q", "command": {"argv": ["uname"]}})).unwrap();
        assert_eq!(asked["state"], "waiting");
        // The mode of the socket keeps agents out; where that is lost, who they are does.
        assert!(connect(&daemon.socket("operator"), ANN).is_err());
        fs::set_permissions(daemon.socket("operator"), PermissionsExt::from_mode(0o666)).unwrap();
        let question =
            daemon.operator().call("approval/list", json!({})).unwrap()["approvals"][0]["approval"].take();
        for uid in [ANN, EVE] {
            for (method, mut params) in methods() {
                if method == "approval/answer" {
                    params["approval"] = question.clone();
                }
                let mut peer = Client::new(connect(&daemon.socket("operator"), uid).unwrap());
                let hello = peer.line("hello", &json!({"protocol": 1}));
                let line = peer.line(method, &params);
                // It may be gone before all of it is written.
                let _ = peer.stream.write_all(format!("{hello}{line}").as_bytes());
                let said = peer.receive().expect("a reason");
                assert_eq!(
                    (&said["id"], &said["error"]["code"]),
                    (&Value::Null, &json!(1002)),
                    "{method}: {said}"
                );
                assert!(peer.receive().is_none(), "{method}");
            }
        }
        let waiting = ann.call("exec/wait", json!({"id": "q", "wait_ms": 0})).unwrap();
        assert_eq!(waiting["state"], "waiting", "nobody has answered");
    });
}

#[test]
fn questions_are_listed_watched_and_answered() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let (mut operator, mut watcher) = (daemon.operator(), daemon.operator());
        assert_eq!(watcher.call("approval/watch", json!({})).unwrap()["approvals"], json!([]));
        let mut client = daemon.client(me());
        let open = json!({"workspace": daemon.workspace(me(), "w"), "label": "\u{202e}gpj.exe"});
        let session = client.call("session/open", open).unwrap()["session"].clone();
        client.call("exec/start", json!({"id": "q", "command": {"argv": ["uname", "-r"]}})).unwrap();
        let pending = watcher.event("approval/pending", "q");
        let listed = operator.call("approval/list", json!({})).unwrap()["approvals"][0].clone();
        assert_eq!(pending, listed);
        assert_eq!((&listed["session"], &listed["label"]), (&session, &json!("\u{202e}gpj.exe")));
        assert_eq!(listed["command"], json!({"argv": ["uname", "-r"]}));
        // A watcher that comes later hears of what waits already.
        let mut late = daemon.operator();
        assert_eq!(late.call("approval/watch", json!({})).unwrap()["approvals"][0], listed);
        let answer = json!({"approval": listed["approval"], "answer": "once", "reason": "fine"});
        operator.call("approval/answer", answer.clone()).unwrap();
        assert_eq!(code(operator.call("approval/answer", answer)), 1206);
        for watcher in [&mut watcher, &mut late] {
            let settled = watcher.event("approval/settled", "");
            assert_eq!((&settled["approval"], &settled["by"]["uid"]), (&listed["approval"], &json!(me())));
        }
        assert_eq!(client.exited("q")["outcome"], "exited");
        assert_eq!(operator.call("approval/list", json!({})).unwrap()["approvals"], json!([]));
    });
}

#[test]
fn sessions_are_seen_and_ended_whosever_they_are() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let users = if is_root() { vec![ANN, BEN] } else { vec![me(), me()] };
        let mut clients: Vec<(Client, String)> = users
            .iter()
            .enumerate()
            .map(|(n, &uid)| {
                let mut client = daemon.client(uid);
                let session = client.open(&daemon.workspace(uid, &format!("w{n}")));
                client
                    .call("exec/start", json!({"id": "s", "command": {"argv": ["sleep", "1000"]}}))
                    .unwrap();
                (client, session)
            })
            .collect();
        let mut operator = daemon.operator();
        let listed = operator.call("session/list", json!({})).unwrap()["sessions"].clone();
        let mut owners: Vec<(String, u64)> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|session| {
                assert_eq!(session["running"], 1, "{session}");
                let uid = session["principal"]["uid"].as_u64().unwrap();
                (session["session"].as_str().unwrap().to_owned(), uid)
            })
            .collect();
        let mut expected: Vec<(String, u64)> = clients
            .iter()
            .zip(&users)
            .map(|((_, session), uid)| (session.clone(), u64::from(*uid)))
            .collect();
        owners.sort();
        expected.sort();
        assert_eq!(owners, expected);
        let (mut first, killed) = clients.remove(0);
        operator.call("session/kill", json!({"session": killed, "reason": "enough"})).unwrap();
        let ended = first.exited("s");
        assert!(["cancelled", "failed"].contains(&ended["outcome"].as_str().unwrap()), "{ended}");
        assert_eq!(code(first.call("session/get", json!({ "session": killed }))), 1100);
        assert_eq!(code(operator.call("session/kill", json!({ "session": killed }))), 1100);
        // The other one has not noticed.
        let (mut other, _) = clients.remove(0);
        assert_eq!(other.call("exec/wait", json!({"id": "s", "wait_ms": 0})).unwrap()["state"], "running");
        assert_eq!(other.run("x", &["echo", "x"])["stdout"]["text"], "x\n");
    });
}

#[test]
fn the_policy_is_shown_as_it_is_in_force() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let mut operator = daemon.operator();
        let shown = operator.call("policy/show", json!({})).unwrap();
        assert_eq!((&shown["text"], &shown["rules"]), (&json!(POLICY), &json!(1)));
        assert!(shown["source"].as_str().unwrap().ends_with("policy.toml"), "{shown}");
        // What is in the file is not in force before it is read.
        put(&daemon.path().join("policy.toml"), "");
        assert_eq!(operator.call("policy/show", json!({})).unwrap(), shown);
        let reloaded = operator.call("policy/reload", json!({})).unwrap();
        assert_eq!((&reloaded["rules"], &reloaded["text"]), (&json!(0), &Value::Null));
        assert_ne!(reloaded["digest"], shown["digest"]);
        assert_eq!(operator.call("policy/show", json!({})).unwrap()["digest"], reloaded["digest"]);
        // One with a mistake, and one that others may have written, change nothing.
        put(&daemon.path().join("policy.toml"), "[[rule]]\n");
        assert_eq!(code(operator.call("policy/reload", json!({}))), 1502);
        put(&daemon.path().join("policy.toml"), POLICY);
        fs::set_permissions(daemon.path().join("policy.toml"), Permissions::from_mode(0o666)).unwrap();
        assert_eq!(code(operator.call("policy/reload", json!({}))), 1502);
        assert_eq!(operator.call("policy/show", json!({})).unwrap()["digest"], reloaded["digest"]);
    });
}

#[test]
fn the_log_is_read_from_its_end_and_followed() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        for n in 0..3 {
            client.run(&format!("c{n}"), &["true"]);
        }
        until("all of it is recorded", || daemon.records("end").len() == 3);
        let mut operator = daemon.operator();
        let tail = |operator: &mut Client, lines: u64| {
            let tail = operator.call("audit/tail", json!({ "lines": lines })).unwrap();
            tail["records"].as_array().unwrap().clone()
        };
        assert_eq!(tail(&mut operator, 0).len(), 0);
        let all = tail(&mut operator, 1000);
        assert_eq!(tail(&mut operator, 2), all[all.len() - 2..]);
        let numbers: Vec<u64> = all.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
        assert_eq!(
            operator.call("audit/tail", json!({"lines": 0, "follow": true})).unwrap()["records"],
            json!([])
        );
        let id = client.call("exec/start", json!({"id": "new", "command": {"argv": ["true"]}})).unwrap()["request_id"].clone();
        let kinds: Vec<Value> =
            std::iter::repeat_with(|| operator.event("audit/record", "")["record"].take())
                .filter(|record| record["body"]["id"] == id)
                .map(|record| record["kind"].clone())
                .take(2)
                .collect();
        assert_eq!(kinds, [json!("decision"), json!("end")]);
    });
}
