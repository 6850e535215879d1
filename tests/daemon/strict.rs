//! What is asked of sessions and commands at the edges: names, numbers, profiles, limits.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

#[test]
fn ids_are_random_and_no_two_are_alike() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        let mut ids = BTreeSet::new();
        for _ in 0..8 {
            let session = client.open(&workspace);
            for n in 0..8 {
                let start = json!({"session": session, "id": format!("c{n}"), "command": {"argv": ["rm", "-rf", "/"]}});
                let refused = client.call("exec/start", start).unwrap_err();
                assert!(ids.insert(refused["data"]["request_id"].as_str().unwrap().to_owned()));
            }
            client.call("session/close", json!({ "session": session })).unwrap();
            assert!(ids.insert(session));
        }
        assert!(
            ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        );
        // Every one of the 128 bits is now this and now that, and about as often: 72 ids leave each between 12 and 60.
        let numbers: Vec<u128> = ids.iter().map(|id| u128::from_str_radix(id, 16).unwrap()).collect();
        for bit in 0..128 {
            let set = numbers.iter().filter(|number| **number >> bit & 1 == 1).count();
            assert!((12..=60).contains(&set), "bit {bit} is set in {set} of {}", numbers.len());
        }
    });
}

#[test]
fn a_session_has_the_profile_and_the_limits_that_it_was_opened_with() {
    as_both(|| {
        let policy = "[profile.look]\nworkspace = \"read\"\n[profile.quick]\nlimits = { time = \"1s\" }\n\
                      [profile.more]\nlimits = { memory = \"64GiB\" }\n";
        let Some(daemon) = Daemon::start(Setup { policy, ..Setup::default() }) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        let open = |client: &mut Client, more: Value| {
            let mut params = json!({ "workspace": workspace });
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            client.call("session/open", params).map(|opened| opened["session"].as_str().unwrap().to_owned())
        };
        let run = |client: &mut Client, session: &str, id: &str, argv: &[&str]| {
            let start = json!({"session": session, "id": id, "command": {"argv": argv}});
            client.call("exec/start", start).unwrap();
            client.call("exec/wait", json!({"session": session, "id": id})).unwrap()
        };
        // A profile only takes away, and one that gives more is not for whoever asks.
        let look = open(&mut client, json!({"profile": "look"})).unwrap();
        assert_ne!(run(&mut client, &look, "w", &["touch", "x"])["report"]["code"], 0);
        assert!(!Path::new(&workspace).join("x").exists());
        let quick = open(&mut client, json!({"profile": "quick"})).unwrap();
        assert_eq!(run(&mut client, &quick, "s", &["sleep", "1000"])["report"]["outcome"], "timed-out");
        for name in ["more", "nobody", "", "a b"] {
            assert_eq!(code(open(&mut client, json!({ "profile": name }))), 1103, "{name:?}");
        }
        // Limits are the smaller of what is asked and what the policy gives.
        let few = open(&mut client, json!({"limits": {"processes": 20}})).unwrap();
        let forks = "for i in $(seq 40); do sleep 5 & done 2>/dev/null; jobs -p | wc -l";
        let many = run(&mut client, &few, "f", &["bash", "-c", forks]);
        let made = many["stdout"]["text"].as_str().unwrap().trim().parse().unwrap_or(0);
        assert!(made < 20, "{made} processes where 20 may be: {many}");
        assert_eq!(run(&mut client, &few, "g", &["echo", "x"])["stdout"]["text"], "x\n");
        let brief = open(&mut client, json!({"limits": {"lifetime_ms": 300}})).unwrap();
        until("its time is over", || {
            code_of(client.call("session/get", json!({"session": brief}))) == Some(1100)
        });
        for (limits, why) in [
            (json!({"memory": 0}), "too little"),
            (json!({"memory": -1}), "negative"),
            (json!({"memory": 1.5e9}), "no integer"),
            (json!({"memory": "1GiB"}), "no number"),
            (json!({"processes": 0}), "none"),
            (json!({"processes": u64::MAX}), "too many"),
            (json!({"lifetime_ms": 0}), "none"),
            (json!({"lifetime_ms": 604_800_001}), "more than a week"),
            (json!({"cpus": 1}), "unknown"),
        ] {
            assert_eq!(code(open(&mut client, json!({ "limits": limits }))), -32602, "{why}");
        }
        for more in
            [json!({"linger_ms": 86_400_001}), json!({"label": "a\nb"}), json!({"label": "x".repeat(1025)})]
        {
            assert_eq!(code(open(&mut client, more.clone())), -32602, "{more}");
        }
    });
}

/// The code of an error, where it is one.
fn code_of(result: Result<Value, Value>) -> Option<i64> {
    result.err().and_then(|error| error["code"].as_i64())
}

#[test]
fn numbers_at_their_edges_are_taken_and_beyond_them_refused() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let start =
            json!({"id": "c", "command": {"argv": ["cat"]}, "stdin": "pipe", "output": {"mode": "poll"}});
        client.call("exec/start", start).unwrap();
        let two53 = (1_u64 << 53) - 1;
        for (method, params, fits) in [
            ("exec/read", json!({"id": "c", "after_seq": 0, "max_bytes": 1}), true),
            ("exec/read", json!({"id": "c", "after_seq": 0, "max_bytes": 524_288}), true),
            ("exec/read", json!({"id": "c", "max_bytes": 0}), false),
            ("exec/read", json!({"id": "c", "max_bytes": 524_289}), false),
            ("exec/read", json!({"id": "c", "after_seq": -1}), false),
            ("exec/read", json!({"id": "c", "after_seq": 1e3}), false),
            ("exec/wait", json!({"id": "c", "wait_ms": 0}), true),
            ("exec/wait", json!({"id": "c", "wait_ms": 600_001}), false),
            ("exec/wait", json!({"id": "c", "wait_ms": true}), false),
            ("exec/wait", json!({"id": "c", "wait_ms": null}), false),
            ("exec/wait", json!({"id": "c", "wait_ms": [1]}), false),
            ("exec/wait", json!({"id": ""}), false),
            ("exec/wait", json!({"id": 7}), false),
            ("exec/wait", json!({"id": "x".repeat(65)}), false),
            ("exec/signal", json!({"id": "c", "signal": "CONT"}), true),
            ("exec/signal", json!({"id": "c", "signal": "SEGV"}), false),
            ("exec/signal", json!({"id": "c", "signal": 9}), false),
            ("exec/write", json!({"id": "c", "text": "a", "base64": "YQ=="}), false),
            ("exec/write", json!({"id": "c", "base64": "YQ"}), false),
            ("exec/write", json!({"id": "c", "base64": "====" }), false),
            ("exec/write", json!({"id": "c", "text": ""}), true),
            ("session/get", json!({"session": "F".repeat(32)}), false),
            ("session/get", json!({"session": "f".repeat(33)}), false),
            ("gate/check", json!({"command": {"argv": ["a"], "shell": "b"}}), false),
            ("gate/check", json!({"command": {}}), false),
            ("gate/check", json!({"command": "ls"}), false),
            ("gate/check", json!({"command": {"argv": ["ls"]}}), true),
        ] {
            let result = client.call(method, params.clone());
            match result {
                Ok(_) => assert!(fits, "{method} {params}"),
                Err(error) => assert!(!fits && error["code"] == -32602, "{method} {params}: {error}"),
            }
        }
        // After the largest number there is no output, and no overflow.
        let far = json!({"id": "c", "after_seq": u64::MAX, "wait_ms": 0});
        let read = client.call("exec/read", far).unwrap();
        assert_eq!((&read["chunks"], &read["last_seq"]), (&json!([]), &json!(u64::MAX)));
        // Ids of requests: what every language keeps exactly comes back exactly.
        for (id, fits) in [
            (json!(0), true),
            (json!(two53), true),
            (json!(two53 + 1), false),
            (json!(-1), false),
            (json!(0.5), false),
            (json!(""), false),
            (json!("x".repeat(64)), true),
            (json!("x".repeat(65)), false),
            (json!("a\nb"), false),
            (json!(null), false),
            (json!([1]), false),
        ] {
            let line = json!({"jsonrpc": "2.0", "id": id, "method": "exec/list", "params": {}});
            writeln!(client.stream, "{line}").unwrap();
            let said = client.receive().expect("a reply");
            if fits {
                assert_eq!(said["id"], id, "{said}");
                assert!(said["result"]["execs"].is_array(), "{said}");
            } else {
                assert_eq!(
                    (&said["id"], &said["error"]["code"]),
                    (&Value::Null, &json!(-32600)),
                    "{id}: {said}"
                );
            }
        }
    });
}

#[test]
fn what_is_left_of_a_session_is_no_use() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let session = client.open(&daemon.workspace(me(), "w"));
        client.run("a", &["true"]);
        client.call("session/close", json!({})).unwrap();
        let asks = [
            ("session/get", json!({})),
            ("session/close", json!({})),
            ("exec/start", json!({"id": "a", "command": {"argv": ["true"]}})),
            ("exec/read", json!({"id": "a"})),
            ("exec/write", json!({"id": "a", "text": "x"})),
            ("exec/signal", json!({"id": "a", "signal": "TERM"})),
            ("exec/resize", json!({"id": "a", "rows": 1, "cols": 1})),
            ("exec/wait", json!({"id": "a"})),
            ("exec/kill", json!({"id": "a"})),
            ("exec/list", json!({})),
        ];
        for (method, params) in asks {
            assert_eq!(
                code(client.call(method, params.clone())),
                1100,
                "{method} of the one that was opened here"
            );
            let mut named = params;
            named["session"] = json!(session);
            assert_eq!(code(client.call(method, named)), 1100, "{method} by its name");
        }
        // Two of them: which one is meant must be said.
        let sessions = [0, 1].map(|n| client.open(&daemon.workspace(me(), &format!("v{n}"))));
        assert_eq!(code(client.call("session/get", json!({}))), 1100);
        client.call("session/close", json!({"session": sessions[0]})).unwrap();
        assert_eq!(client.call("session/get", json!({})).unwrap()["session"], sessions[1]);
    });
}
