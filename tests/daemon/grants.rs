//! Answers that stand, modes, and agents that want more than they were given.

use std::fs;

use serde_json::{Value, json};

use super::people::{agent, ask};
use super::*;

const POLICY: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.touch\"\nprogram = \"touch\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"touch a/b\", expect = \"ask\" }, { command = \"ls\", expect = \"allow\" }]\n\
    [[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\nreason = \"a test\"\n\
    examples = [{ command = \"uname -a\", expect = \"ask\" }]\n\
    [[rule]]\nid = \"deny.who\"\nprogram = \"who\"\ndecision = \"deny\"\nreason = \"a test\"\n\
    examples = [{ command = \"who\", expect = \"deny\" }]\n";

fn daemon() -> Option<Daemon> {
    Daemon::start(Setup { policy: POLICY, ..Setup::default() })
}

fn start(client: &mut Client, id: &str, text: &str) -> Value {
    client.call("exec/start", json!({"id": id, "command": {"shell": text}})).unwrap()
}

/// Starts a command that asks, and answers; the reply to the answer.
fn answered(
    client: &mut Client,
    operator: &mut Client,
    id: &str,
    text: &str,
    mut answer: Value,
) -> Result<Value, Value> {
    assert_eq!(start(client, id, text)["state"], "waiting", "{text}");
    let question = operator.event("approval/pending", id);
    answer["approval"] = question["approval"].clone();
    operator.call("approval/answer", answer)
}

fn preview(operator: &mut Client, question: &Value, answer: &str, width: &str) -> Value {
    let look = json!({"approval": question["approval"], "answer": answer, "width": width});
    operator.call("approval/preview", look).unwrap()
}

fn watching(daemon: &Daemon) -> Client {
    let mut operator = daemon.operator();
    operator.call("approval/watch", json!({})).unwrap();
    operator
}

#[test]
fn a_session_grant_covers_its_like_in_its_session_and_nothing_else() {
    as_both(|| {
        let Some(daemon) = daemon() else { return };
        let mut client = daemon.client(agent());
        let workspace = daemon.workspace(agent(), "w");
        fs::create_dir(Path::new(&workspace).join("d")).unwrap();
        if crate::support::is_root() {
            chown(Path::new(&workspace).join("d"), Some(agent()), Some(agent())).unwrap();
        }
        let session = client.open(&workspace);
        let mut operator = watching(&daemon);
        assert_eq!(start(&mut client, "1", "touch d/1")["state"], "waiting");
        let question = operator.event("approval/pending", "1");
        let seen = preview(&mut operator, &question, "session", "paths");
        assert_eq!(seen["bound"]["shape"], json!({"words": [{"word": "touch"}, "paths"]}));
        assert_eq!(seen["excluded"][0], "every flag");
        let answer = json!({"approval": question["approval"], "answer": "session", "width": "paths"});
        assert_eq!(code(operator.call("approval/answer", answer.clone())), -32602, "not seen");
        let mut answer = answer;
        answer["seen"] = seen["seen"].clone();
        operator.call("approval/answer", answer).unwrap();
        let ended = client.exited("1");
        assert_eq!((&ended["code"], &ended["agreed"]["by"]), (&json!(0), &json!("standing")), "{ended}");
        // Its like run without a person; what is not like it asks.
        assert_eq!(start(&mut client, "2", "touch d/2 d/3")["state"], "running");
        assert_eq!(client.exited("2")["agreed"]["by"], "standing");
        for (id, text) in
            [("3", "touch -a d/1"), ("4", "touch ../x"), ("5", "touch d/1; uname"), ("6", "touch d/1 > d/2")]
        {
            assert_eq!(start(&mut client, id, text)["state"], "waiting", "{text}");
            client.call("exec/kill", json!({ "id": id })).unwrap();
        }
        let with = json!({"id": "7", "command": {"shell": "touch d/1"}, "env": {"LANG": "C"}});
        assert_eq!(
            client.call("exec/start", with).unwrap()["state"],
            "waiting",
            "with a variable of its own"
        );
        client.call("exec/kill", json!({"id": "7"})).unwrap();
        // Another session of the same agent, in the same workspace.
        let mut other = daemon.client(agent());
        other.open(&workspace);
        assert_eq!(start(&mut other, "8", "touch d/4")["state"], "waiting");
        other.call("exec/kill", json!({"id": "8"})).unwrap();
        // Taken back, it counts no more, at once.
        let grants = operator.call("grant/list", json!({})).unwrap();
        assert_eq!(grants["grants"][0]["session"], session);
        assert_eq!(grants["grants"][0]["uses"], 1);
        let grant = grants["grants"][0]["grant"].clone();
        operator.call("grant/revoke", json!({ "grant": grant })).unwrap();
        assert_eq!(start(&mut client, "9", "touch d/9")["state"], "waiting");
        client.call("exec/kill", json!({"id": "9"})).unwrap();
        assert_eq!(code(operator.call("grant/revoke", json!({ "grant": grant }))), 1104);
        let actions: Vec<Value> =
            daemon.records("authority").iter().map(|record| record["body"]["action"].clone()).collect();
        assert_eq!(actions, ["grant-given", "grant-revoked"]);
        let used = daemon
            .records("decision")
            .into_iter()
            .find(|record| record["body"]["approval"]["how"] == "grant");
        assert_eq!(used.expect("it is recorded")["body"]["approval"]["grant"], grant);
        daemon.verify_log();
    });
}

#[test]
fn a_lasting_grant_is_bound_and_outlives_a_crash_and_one_taken_back_does_not() {
    as_root(|| {
        let Some(mut daemon) = daemon() else { return };
        let workspace = daemon.workspace(ANN, "w");
        let mut client = daemon.client(ANN);
        client.open(&workspace);
        let mut operator = watching(&daemon);
        // The past is shown before it is given.
        answered(&mut client, &mut operator, "0", "touch x", json!({"answer": "once"})).unwrap();
        client.exited("0");
        assert_eq!(start(&mut client, "1", "touch x")["state"], "waiting");
        let question = operator.event("approval/pending", "1");
        assert!(question["answers"].as_array().unwrap().contains(&json!("always")), "{question}");
        let seen = preview(&mut operator, &question, "always", "exact");
        assert_eq!((&seen["past"][0]["command"], &seen["past_in_all"]), (&json!("touch x"), &json!(1)));
        let mut answer = json!({"approval": question["approval"], "answer": "always"});
        assert_eq!(code(operator.call("approval/answer", answer.clone())), -32602);
        answer["seen"] = seen["seen"].clone();
        operator.call("approval/answer", answer).unwrap();
        assert_eq!(client.exited("1")["code"], 0);
        daemon.crash();
        let mut client = daemon.client(ANN);
        client.open(&workspace);
        assert_eq!(start(&mut client, "2", "touch x")["state"], "running");
        assert_eq!(client.exited("2")["agreed"]["scope"], "always");
        // Another user in a workspace of its own, and the same path with another directory in it.
        let mut ben = daemon.client(BEN);
        ben.open(&daemon.workspace(BEN, "w"));
        assert_eq!(start(&mut ben, "3", "touch x")["state"], "waiting");
        fs::rename(&workspace, format!("{workspace}-old")).unwrap();
        daemon.workspace(ANN, "w");
        let mut swapped = daemon.client(ANN);
        swapped.open(&workspace);
        assert_eq!(start(&mut swapped, "4", "touch x")["state"], "waiting");
        fs::remove_dir(&workspace).unwrap();
        fs::rename(format!("{workspace}-old"), &workspace).unwrap();
        // The rule is edited: what it asked for is not what it asks for now.
        let policy = daemon.path().join("policy.toml");
        let edited = POLICY.replacen("reason = \"a test\"", "reason = \"another reason\"", 1);
        fs::write(&policy, &edited).unwrap();
        let mut operator = watching(&daemon);
        operator.call("policy/reload", json!({})).unwrap();
        assert_eq!(start(&mut client, "5", "touch x")["state"], "waiting");
        // Another rule is edited: this one stands.
        fs::write(&policy, POLICY.replace("program = \"who\"", "program = [\"who\", \"w\"]")).unwrap();
        operator.call("policy/reload", json!({})).unwrap();
        assert_eq!(start(&mut client, "6", "touch x")["state"], "running");
        let grants = operator.call("grant/list", json!({})).unwrap();
        operator.call("grant/revoke", json!({"grant": grants["grants"][0]["grant"]})).unwrap();
        daemon.crash();
        let mut client = daemon.client(ANN);
        client.open(&workspace);
        assert_eq!(start(&mut client, "7", "touch x")["state"], "waiting");
        daemon.verify_log();
    });
}

#[test]
fn where_nothing_separates_them_nothing_lasts() {
    as_both(|| {
        let Some(daemon) = daemon() else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let mut operator = watching(&daemon);
        assert_eq!(start(&mut client, "1", "touch x")["state"], "waiting");
        let question = operator.event("approval/pending", "1");
        assert_eq!(question["answers"], json!(["once", "session", "deny"]));
        assert_eq!(question["separation"], "none");
        let seen = preview(&mut operator, &question, "always", "exact")["seen"].clone();
        let answer = json!({"approval": question["approval"], "answer": "always", "seen": seen});
        assert_eq!(code(operator.call("approval/answer", answer)), 1002);
        // The question waits still.
        operator
            .call("approval/answer", json!({"approval": question["approval"], "answer": "session"}))
            .unwrap();
        assert_eq!(client.exited("1")["separation"], "none");
    });
}

#[test]
fn modes_are_the_operators_and_lift_no_denial() {
    as_both(|| {
        let Some(daemon) = daemon() else { return };
        let mut client = daemon.client(agent());
        let session = client.open(&daemon.workspace(agent(), "w"));
        let mut operator = watching(&daemon);
        for method in ["session/mode", "principal/mode", "grant/list", "principal/pair", "approval/answer"] {
            assert_eq!(code(client.call(method, json!({}))), -32601, "{method}");
        }
        assert_eq!(
            code(operator.call("session/mode", json!({"session": session, "mode": "yolo"}))),
            -32602,
            "no end"
        );
        operator
            .call("session/mode", json!({"session": session, "mode": "yolo", "for_ms": 600_000}))
            .unwrap();
        assert_eq!(start(&mut client, "1", "touch x")["state"], "running");
        assert_eq!(client.exited("1")["agreed"]["mode"], "yolo");
        for text in ["who", "rm -rf /"] {
            let refused = client
                .call("exec/start", json!({"id": format!("r{}", text.len()), "command": {"shell": text}}));
            assert_eq!(code(refused), 1300, "{text}");
        }
        operator.call("session/mode", json!({"session": session, "mode": "yolo", "for_ms": 1000})).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(start(&mut client, "2", "touch x")["state"], "waiting", "it has ended");
        client.call("exec/kill", json!({"id": "2"})).unwrap();
        operator.call("principal/mode", json!({"uid": agent(), "mode": "off"})).unwrap();
        operator.call("session/mode", json!({ "session": session })).unwrap();
        assert_eq!(start(&mut client, "4", "touch x")["state"], "running");
        assert_eq!(client.exited("4")["agreed"]["mode"], "off");
        // Smart without an assessor asks a person.
        operator.call("principal/mode", json!({"uid": agent(), "mode": "smart"})).unwrap();
        assert_eq!(start(&mut client, "5", "touch x")["state"], "waiting");
        client.call("exec/kill", json!({"id": "5"})).unwrap();
        let ways: Vec<Value> =
            daemon.records("decision").iter().map(|it| it["body"]["approval"]["how"].clone()).collect();
        assert!(ways.contains(&json!("yolo")) && ways.contains(&json!("off")), "{ways:?}");
        daemon.verify_log();
    });
}

#[test]
fn a_yes_may_be_shorter_than_what_was_asked_for() {
    as_both(|| {
        let Some(daemon) = daemon() else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let mut operator = watching(&daemon);
        let narrow = json!({"answer": "once", "narrower": {"timeout_ms": 300}});
        answered(&mut client, &mut operator, "1", "uname; sleep 100", narrow).unwrap();
        assert_eq!(client.exited("1")["outcome"], "timed-out");
    });
}

#[test]
fn a_yes_may_open_a_host_to_one_command() {
    as_both(|| {
        let Some(daemon) = daemon() else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let mut operator = watching(&daemon);
        // Whatever can be reached from here, the proxy is there, and lists what was granted.
        let asks = "exec 3<>/dev/tcp/127.0.0.1/3128 && printf 'GET http://other.test/ HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n' >&3 \
            && read -r version code rest <&3 && exit $((code == 403 ? 43 : 1))";
        let granted = json!({"answer": "once", "hosts": ["granted.test:80"]});
        answered(&mut client, &mut operator, "1", &format!("uname; {asks}"), granted).unwrap();
        let ended = client.exited("1");
        assert_eq!(ended["code"], 43, "{ended}");
        // The control: what was not granted one has none.
        answered(&mut client, &mut operator, "2", &format!("uname; {asks}"), json!({"answer": "once"}))
            .unwrap();
        let ended = client.exited("2");
        assert_ne!(ended["code"], 43, "{ended}");
        daemon.verify_log();
    });
}

/// Writes into the workspace, and connects to a listener of the session's own network: 10 is what could not be written, 1 what
/// could not be reached.
const TRIES: &str = "touch made; a=$?; (exec 3<>/dev/tcp/127.0.0.1/$(cat port)) 2>/dev/null; b=$?; \
    exit $(( (a != 0) * 10 + (b != 0) ))";

#[test]
fn a_yes_may_be_narrower_than_what_was_asked_for() {
    as_both(|| {
        let policy = format!("[network]\nmode = \"host\"\n{POLICY}");
        let Some(daemon) = Daemon::start(Setup { policy: &policy, ..Setup::default() }) else { return };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let workspace = daemon.workspace(agent(), "w");
        fs::write(Path::new(&workspace).join("port"), listener.local_addr().unwrap().port().to_string())
            .unwrap();
        let mut client = daemon.client(agent());
        client.open(&workspace);
        let mut operator = watching(&daemon);
        let mut tried = |id: &str, narrower: Value| {
            let answer = json!({"answer": "once", "narrower": narrower});
            answered(&mut client, &mut operator, id, TRIES, answer).unwrap();
            client.exited(id)
        };
        // Without anything taken away it does both.
        assert_eq!(tried("1", json!({}))["code"], 0);
        fs::remove_file(Path::new(&workspace).join("made")).unwrap();
        let ended = tried("2", json!({"offline": true}));
        assert_eq!(ended["code"], 1, "{ended}");
        fs::remove_file(Path::new(&workspace).join("made")).unwrap();
        let ended = tried("3", json!({"read_only": true}));
        assert_eq!(ended["code"], 10, "{ended}");
        let ended = tried("4", json!({"offline": true, "read_only": true}));
        assert_eq!(ended["code"], 11, "{ended}");
        assert!(!Path::new(&workspace).join("made").exists());
        let layers = ended["receipt"]["layers"].as_array().unwrap();
        assert!(layers.iter().any(|layer| layer["name"] == "apart" && layer["enforced"] == true), "{ended}");
        // What serves one that was set apart serves no other.
        assert_eq!(tried("5", json!({}))["code"], 0);
        let narrower: Vec<Value> = daemon
            .records("decision")
            .iter()
            .map(|record| record["body"]["approval"]["narrower"].clone())
            .collect();
        assert_eq!(narrower[3], json!({"offline": true, "read_only": true}));
        daemon.verify_log();
    });
}

#[test]
fn the_state_is_out_of_an_agents_reach_and_a_damaged_one_is_said() {
    as_both(|| {
        let Some(mut daemon) = daemon() else { return };
        let state = daemon.path().join("state/state.db");
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let path = state.to_str().unwrap();
        let seen = client.run("1", &["stat", path]);
        assert_ne!(seen["report"]["code"], 0, "{seen}");
        daemon.signal(libc::SIGKILL);
        daemon.ended();
        for of in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{path}{of}"));
        }
        fs::write(&state, "no database at all, and long enough to be taken for one").unwrap();
        daemon.crash();
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        assert!(daemon.log().contains("put aside"), "{}", daemon.log());
        let record = daemon.records("authority").pop().expect("it is recorded");
        assert_eq!(record["body"]["action"], "state-set-aside");
        assert!(Path::new(record["body"]["subject"]["to"].as_str().unwrap()).exists());
        ask(&mut client, "2");
        daemon.verify_log();
    });
}

#[test]
fn what_was_approved_is_what_runs() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: SCRIPT, ..Setup::default() }) else { return };
        let workspace = daemon.workspace(agent(), "w");
        let script = Path::new(&workspace).join("run.sh");
        let put = |text: &str| {
            fs::write(&script, text).unwrap();
            fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        };
        put("#!/bin/sh\necho first\n");
        let mut client = daemon.client(agent());
        client.open(&workspace);
        let mut operator = watching(&daemon);
        let asked = |client: &mut Client, operator: &mut Client, id: &str| {
            assert_eq!(start(client, id, "sh run.sh")["state"], "waiting");
            operator.event("approval/pending", id)
        };
        let question = asked(&mut client, &mut operator, "1");
        assert_eq!(question["scripts"][0]["path"], script.to_str().unwrap());
        operator
            .call("approval/answer", json!({"approval": question["approval"], "answer": "session"}))
            .unwrap();
        assert_eq!(client.exited("1")["code"], 0);
        // Unchanged it runs again by the grant; changed it asks.
        assert_eq!(start(&mut client, "2", "sh run.sh")["state"], "running");
        put("#!/bin/sh\necho second\n");
        let question = asked(&mut client, &mut operator, "3");
        put("#!/bin/sh\necho third\n");
        operator
            .call("approval/answer", json!({"approval": question["approval"], "answer": "once"}))
            .unwrap();
        let ended = client.exited("3");
        assert_eq!(
            (&ended["outcome"], &ended["refused_by"]),
            (&json!("refused"), &json!("pipeline")),
            "{ended}"
        );
        assert!(ended["reason"].as_str().unwrap().contains("script"), "{ended}");
        // While it runs it shows what was approved, whatever is written into the file outside.
        put("#!/bin/sh\nuntil test -e go; do sleep 0.05; done\nexec cat run.sh\n");
        let question = asked(&mut client, &mut operator, "5");
        operator
            .call("approval/answer", json!({"approval": question["approval"], "answer": "once"}))
            .unwrap();
        until("it runs", || {
            let list = client.call("exec/list", json!({})).unwrap();
            list["execs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|exec| exec["id"] == "5" && exec["state"] == "running")
        });
        put("#!/bin/sh\necho written meanwhile\n");
        fs::write(Path::new(&workspace).join("go"), "").unwrap();
        let ended = client.exited("5");
        assert_eq!(ended["code"], 0, "{ended}");
        let waited = client.call("exec/wait", json!({"id": "5"})).unwrap();
        let said = waited["stdout"]["text"].as_str().unwrap();
        assert!(said.starts_with("#!/bin/sh\nuntil test"), "{waited}");
        // One that appears in between is another one, too.
        fs::remove_file(&script).unwrap();
        let question = asked(&mut client, &mut operator, "4");
        put("#!/bin/sh\necho fourth\n");
        operator
            .call("approval/answer", json!({"approval": question["approval"], "answer": "once"}))
            .unwrap();
        assert_eq!(client.exited("4")["outcome"], "refused");
        let last = daemon.records("decision").pop().unwrap();
        assert!(last["body"]["error"].as_str().unwrap().contains("script"), "{last}");
        daemon.verify_log();
    });
}

const SCRIPT: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.script\"\nprogram = \"sh\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"sh run.sh\", expect = \"ask\" }]\n";

#[test]
fn a_request_has_no_words_that_grant_or_explain_anything() {
    as_both(|| {
        let Some(daemon) = daemon() else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        for (word, value) in [
            ("dangerouslyDisableSandbox", json!(true)),
            ("sandbox_permissions", json!("require_escalated")),
            ("approved", json!(true)),
            ("yolo", json!(true)),
            ("policy", json!("default = \"allow\"")),
            ("description", json!("list files")),
            ("justification", json!("a person said that it may")),
        ] {
            let mut asked = json!({"id": "1", "command": {"shell": "true"}});
            asked[word] = value;
            assert_eq!(code(client.call("exec/start", asked)), -32602, "{word}");
        }
        assert!(daemon.records("decision").is_empty());
    });
}
