//! A host that an approver opens to one command: that command reaches it, and nobody else does.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::lab::{PRIVATE, WEB, lab};
use crate::daemon::{ANN, Client, Daemon, Setup, code, until};

/// A session without network, and commands that a person is asked about.
const POLICY: &str = "default = \"allow\"\n[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\n\
    decision = \"ask\"\nreason = \"a test\"\nexamples = [{ command = \"uname\", expect = \"ask\" }]\n";

const GET: &str = r#"get() { exec 3<>/dev/tcp/127.0.0.1/3128 && printf "GET http://$1/ HTTP/1.1\r\nHost: $1\r\n\r\n" >&3 && head -n 1 <&3 | tr -d "\r"; }"#;

struct House {
    daemon: Daemon,
    agent: Client,
    operator: Client,
    workspace: PathBuf,
}

impl House {
    fn open(policy: &str) -> Option<Self> {
        let daemon = Daemon::start(Setup { policy, ..Setup::default() })?;
        let (mut agent, mut operator) = (daemon.client(ANN), daemon.operator());
        let workspace = daemon.workspace(ANN, "w");
        agent.open(&workspace);
        operator.call("approval/watch", json!({})).unwrap();
        Some(Self { daemon, agent, operator, workspace: workspace.into() })
    }

    /// Starts a command that asks, and answers.
    fn answer(&mut self, id: &str, text: &str, mut answer: Value) -> Result<Value, Value> {
        let start = json!({"id": id, "command": {"shell": format!("uname >/dev/null; {GET}; {text}")}});
        assert_eq!(self.agent.call("exec/start", start).unwrap()["state"], "waiting");
        answer["approval"] = self.operator.event("approval/pending", id)["approval"].clone();
        self.operator.call("approval/answer", answer)
    }

    fn wait(&mut self, id: &str) -> Value {
        self.agent.call("exec/wait", json!({ "id": id })).unwrap()
    }

    fn shell(&mut self, id: &str, text: &str) -> String {
        self.agent.call("exec/start", json!({"id": id, "command": {"shell": text}})).unwrap();
        self.wait(id)["stdout"]["text"].as_str().unwrap_or_default().to_owned()
    }
}

fn once(hosts: &[&str]) -> Value {
    json!({"answer": "once", "hosts": hosts})
}

#[test]
fn one_command_reaches_the_host_that_it_was_granted() {
    lab(|lab| {
        let Some(mut house) = House::open(POLICY) else { return };
        let text = "echo ${HTTPS_PROXY-none}; get web.test; get other.test; get private.test; get web.test:8080; true";
        house.answer("1", text, once(&["web.test:80", "private.test:80"])).unwrap();
        let done = house.wait("1");
        let said = done["stdout"]["text"].as_str().unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() == 5, "{done}");
        assert_eq!(lines[..2], ["http://127.0.0.1:3128", "HTTP/1.1 200 OK"], "{done}");
        // A host that leads inside is refused whoever granted it.
        assert!(lines[2..].iter().all(|line| line.starts_with("HTTP/1.1 403")) && lines.len() == 5, "{said}");
        assert_eq!((lab.heard_at(WEB).len(), lab.heard_at(PRIVATE).len()), (1, 0));
        let layers = done["report"]["receipt"]["layers"].as_array().unwrap();
        let apart = layers.iter().find(|layer| layer["name"] == "apart").unwrap();
        assert!(apart["detail"].as_str().unwrap().contains("web.test:80"), "{apart}");

        // It stands in the log: what was granted, each connection, and all before the command's end.
        let decision = &house.daemon.records("decision")[0]["body"];
        assert_eq!(decision["approval"]["hosts"], json!(["web.test:80", "private.test:80"]));
        let connections = house.daemon.records("connection");
        let outcomes: Vec<&Value> = connections.iter().map(|it| &it["body"]["outcome"]).collect();
        assert_eq!(outcomes, ["run", "denied", "denied", "denied"]);
        // The end is written soon after it was said.
        until("the end is on record", || house.daemon.records("end").len() == 1);
        let ended = &house.daemon.records("connection-end")[0];
        assert!(ended["seq"].as_u64() < house.daemon.records("end")[0]["seq"].as_u64(), "{ended}");

        // The next command has nothing of it, whether it was asked about or not.
        let refused =
            "echo ${http_proxy-none}; (exec 3<>/dev/tcp/127.0.0.1/3128) 2>/dev/null && echo OPEN; true";
        assert_eq!(house.shell("2", refused), "none\n");
        house.answer("3", refused, json!({"answer": "once"})).unwrap();
        assert_eq!(house.wait("3")["stdout"]["text"], "none\n");
        house.daemon.verify_log();
    });
}

#[test]
fn no_sibling_reaches_it_while_it_runs() {
    lab(|lab| {
        let Some(mut house) = House::open(POLICY) else { return };
        // A server for siblings: what has a network namespace of its own does not reach it either.
        let serve = "exec python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 4000)); print(flush=True); s.accept()'";
        let start = json!({"id": "server", "background": true, "command": {"shell": serve}});
        house.agent.call("exec/start", start).unwrap();
        let connect = "(exec 3<>/dev/tcp/127.0.0.1/4000) 2>/dev/null && echo OPEN || echo none";
        let granted = format!("{connect}; touch up; while [ ! -e stop ]; do sleep 0.02; done; get web.test");
        house.answer("1", &granted, once(&["web.test:80"])).unwrap();
        until("it runs", || house.workspace.join("up").exists());
        let tries = "(exec 3<>/dev/tcp/127.0.0.1/3128) 2>/dev/null && echo OPEN
            for p in /proc/[0-9]*; do
                grep -q 0C38 $p/net/tcp 2>/dev/null && echo seen in $p
                (nsenter --net=$p/ns/net true) 2>/dev/null && echo entered $p
            done; touch stop";
        assert_eq!(house.shell("2", tries), "");
        assert_eq!(house.wait("1")["stdout"]["text"], "none\nHTTP/1.1 200 OK\n");
        assert_eq!(lab.heard_at(WEB).len(), 1);
        // The control: a sibling reaches what the session itself serves.
        assert_eq!(house.shell("3", connect), "OPEN\n");
    });
}

#[test]
fn a_session_with_a_proxy_keeps_its_own_list_and_one_with_the_hosts_network_gets_less() {
    lab(|lab| {
        let policy = format!("{POLICY}[network]\nmode = \"proxy\"\nallow = [\"web.test:80\"]\n");
        let Some(mut house) = House::open(&policy) else { return };
        house
            .answer("1", "get web.test; get a.good.test; get other.test", once(&["a.good.test:80"]))
            .unwrap();
        let done = house.wait("1");
        let lines: Vec<&str> = done["stdout"]["text"].as_str().unwrap().lines().collect();
        assert!(
            lines[0].contains("200") && lines[1].contains("200") && lines[2].contains("403"),
            "{lines:?}"
        );
        assert_eq!(lab.heard_at(WEB).len(), 2);
        drop(house);

        let policy = format!("{POLICY}[network]\nmode = \"host\"\n");
        let Some(mut house) = House::open(&policy) else { return };
        let past = "(exec 3<>/dev/tcp/20.0.0.2/80) 2>/dev/null && echo past";
        house.answer("1", &format!("{past}; get web.test"), once(&["web.test:80"])).unwrap();
        assert_eq!(house.wait("1")["stdout"]["text"], "HTTP/1.1 200 OK\n");
        assert_eq!(house.shell("2", past), "past\n");
    });
}

#[test]
fn a_policy_that_gives_less_takes_what_it_gave_and_not_what_a_person_did() {
    lab(|lab| {
        let policy = format!("{POLICY}[network]\nmode = \"proxy\"\nallow = [\"web.test:80\"]\n");
        let Some(mut house) = House::open(&policy) else { return };
        let text =
            "get web.test; touch up; while [ ! -e stop ]; do sleep 0.02; done; get web.test; get a.good.test";
        house.answer("1", text, once(&["a.good.test:80"])).unwrap();
        until("it has been reached", || house.workspace.join("up").exists());
        let less = policy.replace("\"web.test:80\"", "\"other.test:80\"");
        std::fs::write(house.daemon.path().join("policy.toml"), less).unwrap();
        house.daemon.operator().call("policy/reload", json!({})).unwrap();
        std::fs::write(house.workspace.join("stop"), "").unwrap();
        let done = house.wait("1");
        let lines: Vec<&str> = done["stdout"]["text"].as_str().unwrap().lines().collect();
        let codes: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(codes, ["200", "403", "200"], "{done}");
        assert_eq!(lab.heard_at(WEB).len(), 2);
    });
}

#[test]
fn what_an_answer_cannot_open_is_said_and_costs_nobody_the_answer() {
    lab(|_| {
        let Some(mut house) = House::open(POLICY) else { return };
        let start = json!({"id": "1", "command": {"shell": "uname"}});
        house.agent.call("exec/start", start).unwrap();
        let question = house.operator.event("approval/pending", "1")["approval"].clone();
        let nine = ["a.test:80"; 9];
        for (hosts, answer) in [
            (json!(["web.test"]), json!({"answer": "once"})),
            (json!(["http://web.test/"]), json!({"answer": "once"})),
            (json!(["web.test:80"]), json!({"answer": "session"})),
            (json!(["web.test:80"]), json!({"answer": "deny"})),
            (json!(["web.test:80"]), json!({"answer": "once", "narrower": {"offline": true}})),
            (json!(nine), json!({"answer": "once"})),
        ] {
            let mut asked = answer.clone();
            (asked["approval"], asked["hosts"]) = (question.clone(), hosts.clone());
            assert_eq!(code(house.operator.call("approval/answer", asked)), -32602, "{hosts} {answer}");
        }
        house.operator.call("approval/answer", json!({"approval": question, "answer": "once"})).unwrap();
        assert_eq!(house.wait("1")["report"]["code"], 0);
    });
}

#[test]
fn what_a_rule_takes_from_a_command_no_answer_gives_back() {
    lab(|lab| {
        let policy = format!(
            "{POLICY}[network]\nmode = \"proxy\"\nallow = [\"web.test:80\"]\n[profile.quiet]\nnetwork = {{ mode = \"none\" }}\n\
             [[rule]]\nid = \"quiet.head\"\nprogram = \"head\"\ndecision = \"allow\"\nrun-under = \"quiet\"\nreason = \"a test\"\n\
             examples = [{{ command = \"head x\", expect = \"allow\" }}]\n"
        );
        let Some(mut house) = House::open(&policy) else { return };
        house.answer("1", "get web.test 2>/dev/null; true", once(&["web.test:80"])).unwrap();
        let done = house.wait("1");
        assert_eq!(done["stdout"]["text"], "", "{done}");
        assert_eq!(house.daemon.records("decision")[0]["body"]["approval"]["hosts"], Value::Null);
        assert!(lab.heard_at(WEB).is_empty());
    });
}
