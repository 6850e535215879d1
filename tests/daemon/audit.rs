//! One record for each start that a principal made, whatever became of it, and none for what was no start.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\nreason = \"says what machine this is\"\n\
    examples = [{ command = \"uname -a\", expect = \"ask\" }, { command = \"ls\", expect = \"allow\" }]\n";

fn start(id: &str, argv: &[&str]) -> Value {
    json!({"id": id, "command": {"argv": argv}})
}

fn with(mut start: Value, more: Value) -> Value {
    start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    start
}

#[test]
fn every_start_has_one_record_that_says_what_became_of_it() {
    as_both(|| {
        let setup = Setup { policy: POLICY, config: "[limits]\ncommands = 2\n" };
        let Some(daemon) = Daemon::start(setup) else { return };
        let mut client = daemon.client(me());
        let session = client.open(&daemon.workspace(me(), "w"));
        // Reached the gate, each in its way. What is expected of each record: its outcome.
        let mut expected = BTreeMap::<String, &str>::new();
        let mut note = |answer: &Value, outcome| {
            let id = answer["request_id"].as_str().or(answer["data"]["request_id"].as_str());
            let before = expected.insert(id.expect("it is named").to_owned(), outcome);
            assert_eq!(before, None, "a name for two");
        };
        for (id, argv) in [("ran", &["true"][..]), ("failed", &["false"]), ("none", &["no-such-program"])] {
            note(&client.call("exec/start", start(id, argv)).unwrap(), "run");
            client.call("exec/wait", json!({ "id": id })).unwrap();
        }
        note(&client.call("exec/start", start("denied", &["rm", "-rf", "/"])).unwrap_err(), "denied");
        let waiting = client.call("exec/start", start("asked", &["uname"])).unwrap();
        note(&waiting, "refused");
        let mut operator = daemon.operator();
        let question = operator.call("approval/list", json!({})).unwrap()["approvals"][0]["approval"].take();
        let no = json!({"approval": question, "answer": "deny"});
        operator.call("approval/answer", no).unwrap();
        client.exited("asked");
        note(&client.call("exec/start", start("withdrawn", &["uname"])).unwrap(), "unanswered");
        client.call("exec/kill", json!({"id": "withdrawn"})).unwrap();
        client.exited("withdrawn");
        // Never reached it, and is accounted for all the same.
        let outside = with(start("outside", &["true"]), json!({"cwd": ".."}));
        note(&client.call("exec/start", outside).unwrap_err(), "failed");
        let gone = with(start("gone", &["true"]), json!({"cwd": "not-there"}));
        note(&client.call("exec/start", gone).unwrap_err(), "failed");
        note(&client.call("exec/start", start("ran", &["other"])).unwrap_err(), "failed");
        let named = with(start("named", &["true"]), json!({"fds": ["stdout"]}));
        note(&client.call("exec/start", named).unwrap_err(), "failed");
        for id in ["long1", "long2"] {
            note(&client.call("exec/start", start(id, &["sleep", "1000"])).unwrap(), "run");
        }
        note(&client.call("exec/start", start("third", &["true"])).unwrap_err(), "failed");
        // No start, no record: repeated, unreadable, of no session, only checked.
        client.call("exec/start", start("ran", &["true"])).unwrap();
        client.call("exec/start", start("denied", &["rm", "-rf", "/"])).unwrap_err();
        client.call("exec/start", with(start("x", &["true"]), json!({"x": 1}))).unwrap_err();
        let foreign = with(start("x", &["true"]), json!({"session": "0".repeat(32)}));
        client.call("exec/start", foreign).unwrap_err();
        client.call("gate/check", json!({"command": {"argv": ["rm", "-rf", "/"]}})).unwrap();
        client.call("session/close", json!({})).unwrap();
        let records = daemon.records("decision");
        let found: BTreeMap<String, &str> = records
            .iter()
            .map(|record| {
                let body = &record["body"];
                assert_eq!(body["session"], session, "{body}");
                assert_eq!(body["requester"]["uid"], me(), "{body}");
                (body["id"].as_str().unwrap().to_owned(), body["outcome"].as_str().unwrap())
            })
            .collect();
        assert_eq!(records.len(), found.len(), "a request has one record");
        assert_eq!(found, expected);
        for record in records.iter().filter(|record| record["body"]["outcome"] == "failed") {
            let body = &record["body"];
            assert!(body["verdict"] == "deny" && !body["error"].as_str().unwrap().is_empty(), "{body}");
        }
        // What ran has an end, and nothing else has.
        let mut ran: Vec<&String> =
            expected.iter().filter(|(_, how)| **how == "run").map(|(id, _)| id).collect();
        until("their ends are on disk", || daemon.records("end").len() == ran.len());
        let ends = daemon.records("end");
        let mut ended: Vec<&str> = ends.iter().map(|record| record["body"]["id"].as_str().unwrap()).collect();
        ran.sort();
        ended.sort_unstable();
        assert_eq!(ran, ended);
        daemon.verify_log();
    });
}

#[test]
fn a_flood_of_refused_starts_is_counted_and_does_not_fill_the_log() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let mut named = Vec::new();
        // As many at a time as may wait for their reply.
        for _ in 0..10 {
            let sent: Vec<u64> = (0..50)
                .map(|_| client.send("exec/start", &with(start("x", &["true"]), json!({"fds": ["stdout"]}))))
                .collect();
            for id in sent {
                let error = client.reply(id).unwrap_err();
                assert_eq!(error["code"], 1003, "{error}");
                named.push(error["data"]["request_id"].as_str().unwrap().to_owned());
            }
        }
        let (full, counted) = (daemon.records("decision"), daemon.records("repeated"));
        assert!(full.len() <= 20 && !counted.is_empty(), "{} and {}", full.len(), counted.len());
        let text = fs::read_to_string(daemon.path().join("state/audit/audit.jsonl")).unwrap();
        for id in named {
            assert_eq!(text.matches(&id).count(), 1, "{id} stands in the log once");
        }
        daemon.verify_log();
    });
}
