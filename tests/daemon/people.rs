//! Questions that go to operators, and what becomes of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[approval]\ntimeout = \"TIME\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
    reason = \"says what machine this is\"\nexamples = [{ command = \"uname -a\", expect = \"ask\" }, { command = \"ls\", expect = \"allow\" }]\n";

fn daemon(timeout: &str) -> Option<Daemon> {
    Daemon::start(Setup { policy: &POLICY.replace("TIME", timeout), ..Setup::default() })
}

pub fn agent() -> u32 {
    if is_root() { ANN } else { me() }
}

pub fn ask(client: &mut Client, id: &str) -> Value {
    client.call("exec/start", json!({"id": id, "command": {"argv": ["uname", "-s"]}})).unwrap()
}

#[test]
fn an_operator_says_yes_once_or_no_and_why() {
    as_both(|| {
        let Some(daemon) = daemon("1m") else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let mut operators = [daemon.operator(), daemon.operator()];
        for operator in &mut operators {
            assert_eq!(operator.call("approval/watch", json!({})).unwrap()["approvals"], json!([]));
        }
        assert_eq!(ask(&mut client, "yes")["state"], "waiting");
        let question = operators[0].event("approval/pending", "yes");
        assert_eq!(operators[1].event("approval/pending", "yes"), question);
        assert_eq!(question["principal"]["uid"], agent());
        assert_eq!(question["command"], json!({"argv": ["uname", "-s"]}));
        assert_eq!(question["findings"][0]["rule"], "ask.uname");
        assert_eq!(question["separation"], if is_root() { "uid" } else { "none" });
        let answer = json!({"approval": question["approval"], "answer": "once"});
        operators[0].call("approval/answer", answer.clone()).unwrap();
        // An answer counts exactly once.
        assert_eq!(code(operators[1].call("approval/answer", answer)), 1206);
        assert_eq!(operators[1].event("approval/settled", "")["answer"], "once");
        let ended = client.exited("yes");
        assert_eq!((&ended["outcome"], &ended["agreed"]["by"]), (&json!("exited"), &json!("once")));
        assert_eq!(client.call("exec/wait", json!({"id": "yes"})).unwrap()["stdout"]["text"], "Linux\n");
        // Once is once.
        assert_eq!(ask(&mut client, "no")["state"], "waiting");
        let question = operators[0].event("approval/pending", "no");
        let answer = json!({"approval": question["approval"], "answer": "deny", "reason": "ask me tomorrow"});
        operators[1].call("approval/answer", answer).unwrap();
        let ended = client.exited("no");
        assert_eq!(ended["outcome"], "refused");
        assert!(ended["reason"].as_str().unwrap().contains("ask me tomorrow"), "{ended}");
        let records = daemon.records("decision");
        let outcomes: Vec<&Value> = records.iter().map(|record| &record["body"]["outcome"]).collect();
        assert_eq!(outcomes, [&json!("run"), &json!("refused")]);
        assert_eq!(records[0]["body"]["approval"]["how"], "operator");
        assert_eq!(records[0]["body"]["approval"]["separation"], is_root());
        daemon.verify_log();
    });
}

#[test]
fn silence_is_a_no_and_so_is_going_away() {
    as_both(|| {
        let Some(daemon) = daemon("1s") else { return };
        let mut client = daemon.client(agent());
        let session = client.open(&daemon.workspace(agent(), "w"));
        let before = Instant::now();
        assert_eq!(ask(&mut client, "silence")["state"], "waiting");
        let ended = client.exited("silence");
        assert_eq!(ended["outcome"], "refused");
        assert!((Duration::from_millis(900)..Duration::from_secs(20)).contains(&before.elapsed()));
        let mut operator = daemon.operator();
        operator.call("approval/watch", json!({})).unwrap();
        let mut other = daemon.client(agent());
        let gone = json!({"session": session, "id": "gone", "command": {"argv": ["uname"]}});
        other.call("exec/start", gone).unwrap();
        drop(other);
        assert_eq!(operator.event("approval/settled", "")["settled"], "withdrawn");
        ask(&mut client, "killed");
        client.call("exec/kill", json!({"id": "killed"})).unwrap();
        assert_eq!(client.exited("killed")["outcome"], "refused");
        assert_eq!(operator.call("approval/list", json!({})).unwrap()["approvals"], json!([]));
        let outcomes: Vec<Value> =
            daemon.records("decision").iter().map(|record| record["body"]["outcome"].clone()).collect();
        assert_eq!(outcomes, vec![json!("unanswered"); 3]);
    });
}

#[test]
fn a_flood_of_questions_hides_nothing() {
    as_both(|| {
        let Some(daemon) = daemon("1m") else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let replies: Vec<u64> = (0..40)
            .map(|n| {
                client.send("exec/start", &json!({"id": format!("q{n}"), "command": {"argv": ["uname"]}}))
            })
            .collect();
        for reply in replies {
            client.reply(reply).unwrap();
        }
        let mut operator = daemon.operator();
        until("all but a few are refused", || {
            let list = client.call("exec/list", json!({})).unwrap();
            list["execs"].as_array().unwrap().iter().filter(|exec| exec["state"] == "waiting").count() == 8
        });
        let waiting = operator.call("approval/list", json!({})).unwrap();
        assert_eq!(waiting["approvals"].as_array().unwrap().len(), 8);
        // Another session has its own place in the queue.
        let mut other = daemon.client(agent());
        other.open(&daemon.workspace(agent(), "v"));
        ask(&mut other, "other");
        let waiting = operator.call("approval/list", json!({})).unwrap();
        assert_eq!(waiting["approvals"].as_array().unwrap().len(), 9);
    });
}

#[test]
fn an_operator_ends_a_session_and_reads_the_log() {
    as_both(|| {
        let Some(daemon) = daemon("1m") else { return };
        let mut client = daemon.client(agent());
        let session = client.open(&daemon.workspace(agent(), "w"));
        client.call("exec/start", json!({"id": "s", "command": {"argv": ["sleep", "1000"]}})).unwrap();
        let mut operator = daemon.operator();
        let tail = operator.call("audit/tail", json!({"lines": 1, "follow": true})).unwrap();
        assert_eq!(tail["records"][0]["kind"], "decision");
        operator.call("session/kill", json!({ "session": session })).unwrap();
        let ended = client.exited("s");
        assert!(["cancelled", "failed"].contains(&ended["outcome"].as_str().unwrap()), "{ended}");
        assert_eq!(operator.event("audit/record", "")["record"]["kind"], "end");
        assert_eq!(code(client.call("session/get", json!({ "session": session }))), 1100);
        assert_eq!(code(operator.call("session/kill", json!({ "session": session }))), 1100);
        assert_eq!(code(operator.call("exec/wait", json!({"id": "s"}))), -32601);
    });
}

#[test]
fn the_policy_of_a_project_holds_for_its_sessions_and_only_tightens() {
    let upper =
        "[[rule]]\nid = \"no-uname\"\nprogram = \"uname\"\ndecision = \"deny\"\nreason = \"a test\"\n";
    let Some(daemon) = Daemon::start(Setup { policy: upper, ..Setup::default() }) else { return };
    let workspace = daemon.workspace(agent(), "w");
    let own = Path::new(&workspace).join(".execward");
    fs::create_dir(&own).unwrap();
    let file = own.join("policy.toml");
    let rule = |id: &str, program: &str, decision: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nprogram = \"{program}\"\ndecision = \"{decision}\"\nreason = \"a test\"\n"
        )
    };
    fs::write(&file, rule("no-ls", "ls", "deny") + &rule("uname", "uname", "allow")).unwrap();
    let mut client = daemon.client(agent());
    client.open(&workspace);
    let refused = |client: &mut Client, id: &str, program: &str| {
        let error = client.call("exec/start", json!({"id": id, "command": {"argv": [program]}})).unwrap_err();
        error["data"]["findings"][0]["rule"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(refused(&mut client, "1", "ls"), "no-ls");
    assert_eq!(refused(&mut client, "2", "uname"), "no-uname");
    assert_eq!(client.run("3", &["echo", "x"])["stdout"]["text"], "x\n");
    // What is written later holds for later sessions; one with a mistake stops them, and says why.
    fs::write(&file, "decison = 1\n").unwrap();
    assert_eq!(refused(&mut client, "4", "ls"), "no-ls");
    let error = daemon.client(agent()).try_open(&workspace).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains(".execward/policy.toml:1:1"), "{error}");
}

#[test]
fn a_command_that_a_rule_confines_does_not_run_in_a_wider_sandbox() {
    let policy = "[network]\nmode = \"host\"\n[profile.alone]\nmasked = [\"/opt\"]\n\
                  [[rule]]\nid = \"alone\"\nprogram = \"ls\"\ndecision = \"allow\"\nrun-under = \"alone\"\nreason = \"a test\"\n";
    let Some(daemon) = Daemon::start(Setup { policy, ..Setup::default() }) else { return };
    let workspace = daemon.workspace(agent(), "w");
    let mut client = daemon.client(agent());
    client.open(&workspace);
    let start = json!({"id": "1", "command": {"argv": ["ls"]}});
    let error = client.call("exec/start", start).unwrap_err();
    assert_eq!(error["data"]["findings"][0]["rule"], "policy.run-under", "{error}");
    assert_eq!(client.run("2", &["echo", "x"])["stdout"]["text"], "x\n");
    // In a session that has no more than the profile gives, it runs.
    let mut alone = daemon.client(agent());
    alone.call("session/open", json!({"workspace": workspace, "profile": "alone"})).unwrap();
    assert_eq!(alone.run("1", &["ls", "-d", "."])["stdout"]["text"], ".\n");
}

#[test]
fn a_command_that_a_rule_confines_is_set_apart_in_its_session() {
    let policy = "[network]\nmode = \"host\"\n[profile.alone]\nnetwork = { mode = \"none\" }\n\
                  [profile.looking]\nworkspace = \"read\"\n\
                  [[rule]]\nid = \"alone\"\nprogram = \"readlink\"\ndecision = \"allow\"\nrun-under = \"alone\"\nreason = \"a test\"\n\
                  [[rule]]\nid = \"looking\"\nprogram = \"touch\"\ndecision = \"allow\"\nrun-under = \"looking\"\nreason = \"a test\"\n";
    let Some(daemon) = Daemon::start(Setup { policy, ..Setup::default() }) else { return };
    let workspace = daemon.workspace(agent(), "w");
    let mut client = daemon.client(agent());
    client.open(&workspace);
    let namespace = |ended: &Value| {
        let text = ended["stdout"]["text"].as_str().unwrap();
        let start = text.find("net:[").unwrap_or_else(|| panic!("{ended}"));
        text[start..].split_inclusive(']').next().unwrap().to_owned()
    };
    // The session's own network is the host's, and only the confined command has another.
    let own = client.run("1", &["stat", "-c", "%N", "/proc/self/ns/net"]);
    let confined = client.run("2", &["readlink", "/proc/self/ns/net"]);
    assert_ne!(namespace(&own), namespace(&confined));
    assert_eq!(namespace(&own), namespace(&client.run("3", &["stat", "-c", "%N", "/proc/self/ns/net"])));
    // What it starts is confined with it; what stands beside it in one text, too.
    let beside = client.run("4", &["sh", "-c", "readlink /proc/self/ns/net; stat -c %N /proc/self/ns/net"]);
    let shown: Vec<&str> = beside["stdout"]["text"].as_str().unwrap().lines().collect();
    assert!(!shown.concat().contains(&namespace(&own)), "{beside}");
    let touched = client.run("5", &["touch", "made"]);
    assert_eq!(touched["report"]["code"], 1, "{touched}");
    let made = Path::new(&workspace).join("made");
    assert!(!made.exists());
    assert_eq!(client.run("6", &["mkdir", "made"])["report"]["code"], 0);
    assert!(made.exists());
}
