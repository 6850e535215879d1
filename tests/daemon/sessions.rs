//! Sessions and commands as one principal has them, and as another one does not.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[test]
fn commands_say_what_they_said_and_how_they_ended() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        let done = client.run("a", &["bash", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!(done["stdout"]["text"], "out\n");
        assert_eq!(done["stderr"]["text"], "err\n");
        assert_eq!((&done["report"]["outcome"], &done["report"]["code"]), (&json!("exited"), &json!(7)));
        let done = client.run("bytes", &["printf", r"a\377b\000"]);
        assert_eq!(done["stdout"]["base64"], "Yf9iAA==");
        let done = client.run("signal", &["bash", "-c", "kill -USR1 $$"]);
        assert_eq!((&done["report"]["outcome"], &done["report"]["signal"]), (&json!("signaled"), &json!(10)));
        let done = client.run("none", &["no-such-program"]);
        assert_eq!(done["report"]["outcome"], "not-found");
        assert_eq!(client.event("exec/closed", "a")["last_seq"], 0);
        // What one command leaves, the next one finds; and it belongs to whoever asked.
        client.run("write", &["bash", "-c", "echo kept > file; echo gone > /tmp/t"]);
        assert_eq!(client.run("read", &["cat", "file"])["stdout"]["text"], "kept\n");
        assert_eq!(fs::read_to_string(format!("{workspace}/file")).unwrap(), "kept\n");
    });
}

#[test]
fn the_same_start_twice_starts_once() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let session = client.open(&daemon.workspace(me(), "w"));
        let start = json!({"id": "a", "command": {"argv": ["bash", "-c", "echo x >> runs"]}});
        let first = client.call("exec/start", start.clone()).unwrap();
        let again = client.call("exec/start", start.clone()).unwrap();
        assert_eq!((&first["again"], &again["again"]), (&json!(false), &json!(true)));
        assert_eq!(first["request_id"], again["request_id"]);
        client.call("exec/wait", json!({"id": "a"})).unwrap();
        // Another connection, which names the session.
        let mut other = daemon.client(me());
        let mut named = start;
        named["session"] = json!(session);
        assert_eq!(other.call("exec/start", named).unwrap()["again"], true);
        let different = json!({"id": "a", "command": {"argv": ["true"]}});
        assert_eq!(code(client.call("exec/start", different)), 1200);
        assert_eq!(client.run("count", &["cat", "runs"])["stdout"]["text"], "x\n");
        // A refusal is the same refusal again, and one record.
        let refused = json!({"id": "r", "command": {"shell": "rm -rf /"}});
        let first = client.call("exec/start", refused.clone()).unwrap_err();
        assert_eq!(
            (&first["code"], &first["data"]["rule"]),
            (&json!(1300), &json!("hardline.delete-system"))
        );
        assert_eq!(client.call("exec/start", refused).unwrap_err(), first);
        let id = &first["data"]["request_id"];
        let records = daemon.records("decision");
        assert_eq!(records.iter().filter(|record| record["body"]["id"] == *id).count(), 1);
    });
}

#[test]
fn input_arrives_and_output_comes_in_numbered_pieces() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let start =
            json!({"id": "cat", "command": {"argv": ["cat"]}, "stdin": "pipe", "output": {"mode": "poll"}});
        // In one go: the name is known before the next request is read.
        let started = client.send("exec/start", &start);
        let one = client.send("exec/write", &json!({"id": "cat", "text": "one\n"}));
        let two = client.send("exec/write", &json!({"id": "cat", "base64": "/wD+", "end": true}));
        client.reply(started).unwrap();
        assert_eq!(client.reply(one).unwrap()["bytes"], 4);
        assert_eq!(client.reply(two).unwrap()["bytes"], 3);
        client.call("exec/wait", json!({"id": "cat"})).unwrap();
        let read = client.call("exec/read", json!({"id": "cat", "wait_ms": 1000})).unwrap();
        let chunks = read["chunks"].as_array().unwrap();
        assert_eq!(chunks[0]["seq"], 1);
        assert_eq!((&read["closed"], &read["exited"]), (&json!(true), &json!(true)));
        // Again, for one who lost the reply.
        assert_eq!(client.call("exec/read", json!({"id": "cat"})).unwrap()["chunks"], read["chunks"]);
        assert_eq!(code(client.call("exec/write", json!({"id": "cat", "text": "x"}))), 1202);
        client.run("quiet", &["true"]);
        assert_eq!(code(client.call("exec/read", json!({"id": "quiet"}))), 1204);
        assert_eq!(code(client.call("exec/write", json!({"id": "quiet", "text": "x"}))), 1202);
    });
}

#[test]
fn much_input_takes_its_time_and_none_is_lost() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let argv = ["bash", "-c", "sleep 0.3; sha256sum; sleep 0.1"];
        client.call("exec/start", json!({"id": "sum", "command": {"argv": argv}, "stdin": "pipe"})).unwrap();
        let mut hash = <sha2::Sha256 as sha2::Digest>::new();
        for n in 0..40 {
            let text = format!("{n:>60000}");
            sha2::Digest::update(&mut hash, &text);
            let written =
                client.call("exec/write", json!({"id": "sum", "text": text, "end": n == 39})).unwrap();
            assert_eq!(written["bytes"], 60000);
        }
        let done = client.call("exec/wait", json!({"id": "sum"})).unwrap();
        let hex: String = sha2::Digest::finalize(hash).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(done["stdout"]["text"], format!("{hex}  -\n"));
    });
}

#[test]
fn a_connection_that_breaks_loses_nothing_of_what_goes_on() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let session = client.open(&daemon.workspace(me(), "w"));
        let count = "for i in $(seq 1 3000); do echo line $i; done; sleep 0.2; echo end";
        let start = json!({"id": "bg", "command": {"argv": ["bash", "-c", count]}, "background": true,
        "output": {"mode": "stream"}});
        client.call("exec/start", start).unwrap();
        let first = client.event("exec/output", "bg");
        let mut text = first["text"].as_str().unwrap().to_owned();
        let mut seq = first["seq"].as_u64().unwrap();
        let foreground = json!({"id": "fg", "command": {"argv": ["sleep", "1000"]}});
        client.call("exec/start", foreground).unwrap();
        drop(client);
        let mut client = daemon.client(me());
        let foreground = client.call("exec/wait", json!({"session": session, "id": "fg"})).unwrap();
        assert_eq!(foreground["report"]["outcome"], "cancelled", "it went with its connection");
        loop {
            let read = json!({"session": session, "id": "bg", "after_seq": seq, "wait_ms": 5000});
            let read = client.call("exec/read", read).unwrap();
            for chunk in read["chunks"].as_array().unwrap() {
                assert_eq!(chunk["seq"], seq + 1);
                seq += 1;
                text.push_str(chunk["text"].as_str().unwrap());
            }
            if read["closed"] == true {
                break;
            }
        }
        let expected: String =
            (1..=3000).map(|n| format!("line {n}\n")).chain(["end\n".to_owned()]).collect();
        assert!(text == expected, "{} bytes of {}", text.len(), expected.len());
    });
}

#[test]
fn signals_and_ends_reach_the_whole_tree() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let trap = "trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
        let start =
            json!({"id": "t", "command": {"argv": ["bash", "-c", trap]}, "output": {"mode": "stream"}});
        client.call("exec/start", start).unwrap();
        client.event("exec/output", "t");
        client.call("exec/signal", json!({"id": "t", "signal": "USR1"})).unwrap();
        assert_eq!(client.exited("t")["code"], 3);
        let stubborn = "trap '' TERM INT HUP; setsid bash -c 'trap \"\" TERM; sleep 1000' & sleep 1000";
        client.call("exec/start", json!({"id": "k", "command": {"argv": ["bash", "-c", stubborn]}})).unwrap();
        client.call("exec/kill", json!({"id": "k"})).unwrap();
        assert_eq!(client.exited("k")["outcome"], "cancelled");
        assert_eq!(code(client.call("exec/signal", json!({"id": "k", "signal": "TERM"}))), 1201);
        let limited = json!({"id": "l", "command": {"argv": ["sleep", "1000"]}, "timeout_ms": 100});
        client.call("exec/start", limited).unwrap();
        assert_eq!(client.exited("l")["outcome"], "timed-out");
        // One that fills its pipe while nobody reads ends all the same.
        let flood =
            json!({"id": "f", "command": {"argv": ["yes"]}, "output": {"mode": "poll"}, "timeout_ms": 300});
        client.call("exec/start", flood).unwrap();
        assert_eq!(client.call("exec/wait", json!({"id": "f"})).unwrap()["report"]["outcome"], "timed-out");
    });
}

#[test]
fn another_ones_session_is_no_session() {
    as_root(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut ann = daemon.client(ANN);
        let session = ann.open(&daemon.workspace(ANN, "w"));
        let start = json!({"id": "x", "command": {"argv": ["sleep", "1000"]}, "stdin": "pipe"});
        ann.call("exec/start", start).unwrap();
        let mut ben = daemon.client(BEN);
        let asks: Vec<(&str, Value)> = vec![
            ("session/get", json!({})),
            ("session/close", json!({})),
            ("exec/start", json!({"id": "y", "command": {"argv": ["true"]}})),
            ("exec/read", json!({"id": "x"})),
            ("exec/write", json!({"id": "x", "text": "x"})),
            ("exec/signal", json!({"id": "x", "signal": "KILL"})),
            ("exec/resize", json!({"id": "x", "rows": 1, "cols": 1})),
            ("exec/wait", json!({"id": "x", "wait_ms": 0})),
            ("exec/kill", json!({"id": "x"})),
            ("exec/list", json!({})),
            ("gate/check", json!({"command": {"argv": ["true"]}})),
        ];
        for (method, params) in asks {
            let with = |name: &str| {
                let mut params = params.clone();
                params["session"] = json!(name);
                params
            };
            let real = ben.call(method, with(&session)).expect_err(method);
            let invented = ben.call(method, with(&"0".repeat(32))).expect_err(method);
            assert_eq!(real["code"], 1100, "{method}: {real}");
            assert_eq!(real, invented, "{method} tells them apart");
        }
        assert_eq!(ben.call("session/list", json!({})).unwrap()["sessions"], json!([]));
        let listed = daemon.operator().call("session/list", json!({})).unwrap();
        assert_eq!(listed["sessions"][0]["principal"]["uid"], ANN);
        assert_eq!(ann.call("exec/wait", json!({"id": "x", "wait_ms": 0})).unwrap()["state"], "running");
    });
}

#[test]
fn an_agent_reaches_through_the_daemon_what_it_reaches_itself() {
    as_root(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let secret = daemon.path().join("secret");
        fs::create_dir_all(secret.join("inner")).unwrap();
        fs::set_permissions(secret.join("inner"), Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o700)).unwrap();
        let mut ann = daemon.client(ANN);
        for path in [secret.clone(), secret.join("inner"), "/root".into(), daemon.workspace(BEN, "w").into()]
        {
            if path.ends_with("w-61002") {
                fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            }
            let refused = ann.try_open(path.to_str().unwrap()).expect_err("it is not hers");
            assert_eq!(refused["code"], 1302, "{refused}");
        }
        // A link in her own place leads no further than she does.
        let own = daemon.workspace(ANN, "w");
        std::os::unix::fs::symlink(secret.join("inner"), format!("{own}/link")).unwrap();
        assert_eq!(code(ann.try_open(&format!("{own}/link"))), 1302);
        ann.open(&own);
        let who = ann.run("id", &["id", "-u"]);
        assert_eq!(who["stdout"]["text"], format!("{ANN}\n"));
        assert_eq!(ann.run("touch", &["touch", "hers"])["report"]["code"], 0);
        let about = fs::metadata(format!("{own}/hers")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&about), ANN);
        let elsewhere = json!({"id": "cwd", "command": {"argv": ["true"]}, "cwd": "link"});
        assert_eq!(code(ann.call("exec/start", elsewhere)), 1303);
        fs::create_dir(format!("{own}/sub")).unwrap();
        let below =
            json!({"id": "sub", "command": {"argv": ["pwd"]}, "cwd": "sub", "env": {"ANNS_OWN": "1"}});
        ann.call("exec/start", below).unwrap();
        let done = ann.call("exec/wait", json!({"id": "sub"})).unwrap();
        assert_eq!(done["stdout"]["text"], format!("{own}/sub\n"));
        // Read-only to her is read-only in there.
        let shared = daemon.workspace(0, "shared");
        let mut other = daemon.client(ANN);
        other.open(&shared);
        assert_ne!(other.run("w", &["touch", "x"])["report"]["code"], 0);
    });
}

#[test]
fn a_session_lasts_as_long_as_somebody_wants_it() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let open = json!({"workspace": daemon.workspace(me(), "w"), "linger_ms": 300});
        let session = client.call("session/open", open).unwrap()["session"].clone();
        let lasting = client.open(&daemon.workspace(me(), "w"));
        let start = json!({"session": session, "id": "b", "command": {"argv": ["sleep", "1000"]}, "background": true});
        client.call("exec/start", start).unwrap();
        drop(client);
        let mut client = daemon.client(me());
        let get = json!({ "session": session });
        until("the session goes with its last connection", || {
            let gone = client.call("session/list", json!({})).unwrap();
            !gone["sessions"].as_array().unwrap().iter().any(|other| other["session"] == session)
        });
        assert_eq!(code(client.call("session/get", get)), 1100);
        client.call("session/get", json!({ "session": lasting })).unwrap();
        client.call("session/close", json!({ "session": lasting })).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        until("nothing is left", || daemon.descendants().is_empty());
    });
}

#[test]
fn one_that_asks_no_more_still_gets_its_answers() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let session = client.open(&daemon.workspace(me(), "w"));
        let mut beside = daemon.client(me());
        let start = json!({"session": session, "id": "a", "command": {"argv": ["bash", "-c", "sleep 0.3; echo late"]}});
        client.call("exec/start", start).unwrap();
        let wait = client.send("exec/wait", &json!({"id": "a"}));
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.reply(wait).unwrap()["stdout"]["text"], "late\n");
        // One that is gone altogether takes its commands with it, whatever it did before.
        let mut client = daemon.client(me());
        let start = json!({"session": session, "id": "b", "command": {"argv": ["sleep", "1000"]}});
        client.call("exec/start", start).unwrap();
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let state = |beside: &mut Client| {
            let list = beside.call("exec/list", json!({ "session": session })).unwrap();
            list["execs"].as_array().unwrap().iter().find(|exec| exec["id"] == "b").unwrap()["state"].clone()
        };
        assert_eq!(state(&mut beside), "running");
        drop(client);
        until("it ends", || state(&mut beside) == "ended");
    });
}
