//! Whom the daemon does not know, and how an operator lets them in and puts them out.

use serde_json::{Value, json};

use super::*;

/// The code in the refusal of a stranger, where there is one.
fn refused(daemon: &Daemon, uid: u32) -> Option<String> {
    let mut stranger = daemon.stranger(uid);
    let said = stranger.receive().expect("a reason");
    assert_eq!(said["error"]["code"], 1002, "{said}");
    let hint = said["error"]["data"]["hint"].as_str().unwrap().to_owned();
    hint.split("pair approve ").nth(1).and_then(|rest| rest.split(['`', ' ']).next()).map(str::to_owned)
}

#[test]
fn a_stranger_is_let_in_by_a_code_and_put_out_at_once() {
    as_root(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        let code_of_eve = refused(&daemon, EVE).expect("a code");
        assert_eq!(refused(&daemon, EVE), None, "no second one so soon");
        let mut operator = daemon.operator();
        let known = operator.call("principal/list", json!({})).unwrap();
        assert_eq!(known["pending"][0]["uid"], EVE);
        assert!(!known.to_string().contains(&code_of_eve));
        assert_eq!(code(operator.call("principal/pair", json!({"code": "AAAA-AAAA"}))), 1105);
        let paired = operator.call("principal/pair", json!({"code": code_of_eve.to_lowercase()})).unwrap();
        assert_eq!(paired["uid"], EVE);
        assert_eq!(code(operator.call("principal/pair", json!({ "code": code_of_eve }))), 1105, "once");
        daemon.crash();
        let mut eve = daemon.client(EVE);
        let session = eve.open(&daemon.workspace(EVE, "w"));
        eve.call(
            "exec/start",
            json!({"id": "s", "command": {"argv": ["sleep", "1000"]}, "background": true}),
        )
        .unwrap();
        let mut operator = daemon.operator();
        operator.call("principal/revoke", json!({ "uid": EVE })).unwrap();
        // The open connection ends, and so does what it started.
        while eve.receive().is_some() {}
        assert_eq!(operator.call("session/list", json!({})).unwrap()["sessions"], json!([]), "{session}");
        assert_eq!(code(operator.call("principal/revoke", json!({ "uid": EVE }))), 1105);
        assert_eq!(
            code(operator.call("principal/revoke", json!({ "uid": ANN }))),
            1105,
            "the configuration's"
        );
        refused(&daemon, EVE);
        let actions: Vec<Value> =
            daemon.records("authority").iter().map(|record| record["body"]["action"].clone()).collect();
        assert_eq!(actions, ["pairing-refused", "paired", "pairing-refused", "unpaired"]);
        daemon.verify_log();
    });
}

#[test]
fn roles_are_kept_apart() {
    as_root(|| {
        let config = format!("approvers = [{BEN}]\nadmins = [{CAY}]\nauditors = [{EVE}]\n");
        let Some(daemon) = Daemon::start(Setup { config: &config, ..Setup::default() }) else { return };
        // For the test's users; each connection is judged by who makes it all the same.
        fs::set_permissions(daemon.socket("operator"), Permissions::from_mode(0o666)).unwrap();
        let permitted = |uid: u32, method: &str, params: Value| {
            let mut client = Client::new(connect(&daemon.socket("operator"), uid).unwrap());
            let welcome = client.call("hello", json!({"protocol": 1})).unwrap();
            assert_eq!(welcome["role"], "operator");
            !matches!(client.call(method, params), Err(error) if error["code"] == 1002)
        };
        let none = "0".repeat(32);
        for (method, params, who) in [
            ("approval/answer", json!({"approval": none, "answer": "once"}), [true, false, false]),
            ("grant/revoke", json!({"grant": none}), [true, true, false]),
            ("session/kill", json!({"session": none}), [true, true, false]),
            ("session/mode", json!({"session": none, "mode": "off"}), [false, true, false]),
            ("principal/mode", json!({"uid": 4711, "mode": "manual"}), [false, true, false]),
            ("principal/pair", json!({"code": "AAAAAAAA"}), [false, true, false]),
            ("principal/revoke", json!({"uid": 4711}), [false, true, false]),
            ("policy/reload", json!({}), [false, true, false]),
            ("model/test", json!({"provider": "nobody"}), [false, true, false]),
            ("model/list", json!({}), [true, true, true]),
            ("job/list", json!({}), [true, true, true]),
            ("job/show", json!({"job": "nobody"}), [true, true, true]),
            ("job/run", json!({"job": "nobody"}), [false, true, false]),
            ("job/switch", json!({"job": "nobody", "on": true}), [false, true, false]),
            ("job/test", json!({"job": "nobody"}), [false, true, false]),
            ("job/letters", json!({"which": "dead"}), [true, true, true]),
            ("job/settle", json!({"delivery": "nobody"}), [true, true, false]),
            ("audit/tail", json!({}), [false, false, true]),
            ("approval/list", json!({}), [true, true, true]),
            ("session/list", json!({}), [true, true, true]),
        ] {
            for (uid, may) in [BEN, CAY, EVE].into_iter().zip(who) {
                assert_eq!(permitted(uid, method, params.clone()), may, "{method} by {uid}");
            }
            assert!(permitted(0, method, params), "{method} by root");
        }
    });
}
