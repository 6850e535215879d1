//! `execward mcp` as clients meet it: by transcript, and by the official Python client.

mod wrap;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Daemon, Setup, me, until};
use crate::support::ground::execward;
use crate::support::skip;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(90);

struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Server {
    fn start(daemon: &Daemon) -> Self {
        let mut child = Command::new(execward())
            .args(["mcp", "--socket"])
            .arg(daemon.socket("agent"))
            .current_dir(daemon.workspace(me(), "mcp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { stdin: child.stdin.take(), child, lines }
    }

    fn greeted(daemon: &Daemon) -> Self {
        let mut server = Self::start(daemon);
        server.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}));
        server.receive();
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn call(&mut self, id: u64, tool: &str, arguments: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": {"progressToken": id}}}));
    }

    fn receive(&mut self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    /// The answer to a call; notifications before it are passed over.
    fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether everything that is expected is there. More may be: a golden file of what matters survives what does not.
fn covers(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            expected.iter().all(|(name, value)| actual.get(name).is_some_and(|actual| covers(value, actual)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() <= actual.len() && expected.iter().zip(actual).all(|(a, b)| covers(a, b))
        }
        _ => expected == actual,
    }
}

#[test]
fn a_session_goes_as_the_transcript_says() {
    let Some(daemon) = Daemon::start(Setup::default()) else { return };
    let mut server = Server::start(&daemon);
    let pid = server.child.id().to_string();
    let transcript = include_str!("session.jsonl").replace("mcp-PID", &format!("mcp-{pid}"));
    for line in transcript.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        if let Some(message) = step.get("send") {
            server.send(message);
            continue;
        }
        let actual = server.answer(step["expect"]["id"].as_u64().unwrap());
        let said = actual.to_string();
        assert!(covers(&step["expect"], &actual), "expected {}\ngot {said}", step["expect"]);
        for part in step["text"].as_array().into_iter().flatten() {
            assert!(said.contains(part.as_str().unwrap()), "no {part} in {said}");
        }
        for part in step["absent"].as_array().into_iter().flatten() {
            assert!(!said.contains(part.as_str().unwrap()), "{part} in {said}");
        }
    }
    // Standard input ends: so does the server, and what it started with it.
    drop(server.stdin.take());
    until("the server ends", || server.child.try_wait().unwrap().is_some());
}

#[test]
fn what_a_shell_leaves_is_there_for_the_next_that_asks_for_it() {
    let Some(daemon) = Daemon::start(Setup::default()) else { return };
    let mut server = Server::greeted(&daemon);
    let mut said = |id: u64, arguments: Value| {
        server.call(id, "run", &arguments);
        server.answer(id)["result"]["structuredContent"].take().to_string()
    };
    said(1, json!({"command": "mkdir -p sub && cd sub && export COLOUR=green", "persist": true}));
    let after = said(2, json!({"command": "pwd; echo \"[$COLOUR]\"", "persist": true}));
    assert!(after.contains("/sub\\n[green]"), "{after}");
    let without = said(3, json!({"command": "pwd; echo \"[$COLOUR]\""}));
    assert!(without.contains("[]") && !without.contains("/sub"), "{without}");
}

#[test]
fn a_question_for_a_person_comes_back_as_one_and_never_as_a_yes() {
    let policy = "[approval]\ntimeout = \"60s\"\n[[rule]]\nid = \"t\"\nprogram = \"touch\"\ndecision = \"ask\"\nreason = \"r\"\n";
    let Some(daemon) = Daemon::start(Setup { policy, ..Setup::default() }) else { return };
    let workspace = PathBuf::from(daemon.workspace(me(), "mcp"));
    let mut operator = daemon.operator();
    operator.call("approval/watch", json!({})).unwrap();
    let mut server = Server::greeted(&daemon);
    for (id, answer, outcome) in [(1, "deny", "refused"), (2, "once", "exited")] {
        server.call(id, "run", &json!({"argv": ["touch", "made"]}));
        let asked = server.answer(id)["result"]["structuredContent"].take();
        assert_eq!((&asked["state"], asked.get("exit_code")), (&json!("waiting"), None), "{asked}");
        let request = asked["approval"]["request_id"].as_str().unwrap();
        assert!(asked["approval"]["how"].as_str().unwrap().contains(request));
        assert!(!workspace.join("made").exists());
        let command = asked["id"].as_str().unwrap();
        let question = operator.event("approval/pending", command);
        assert!(question.to_string().contains(request), "{question}");
        operator
            .call("approval/answer", json!({"approval": question["approval"], "answer": answer}))
            .unwrap();
        server.call(id + 10, "read", &json!({"id": command, "wait_seconds": 60}));
        let ended = server.answer(id + 10)["result"]["structuredContent"].take();
        assert_eq!(
            (&ended["state"], &ended["report"]["outcome"]),
            (&json!("ended"), &json!(outcome)),
            "{ended}"
        );
        assert_eq!(workspace.join("made").exists(), answer == "once");
    }
}

#[test]
fn a_call_tells_how_it_goes_and_ends_when_it_is_cancelled() {
    let Some(daemon) = Daemon::start(Setup::default()) else { return };
    let mut server = Server::greeted(&daemon);
    server.call(1, "run", &json!({"command": "while :; do echo tick; sleep 0.1; done", "wait_seconds": 200}));
    let progress = loop {
        let message = server.receive();
        if message["method"] == "notifications/progress" {
            break message;
        }
        assert_ne!(message["id"], 1, "{message}");
    };
    assert_eq!(progress["params"]["progressToken"], 1);
    // Another call is served meanwhile.
    server.call(2, "check", &json!({"command": "ls"}));
    assert_eq!(server.answer(2)["result"]["structuredContent"]["decision"], "allow");
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    let mut number = 3;
    until("the command has ended", || {
        number += 1;
        server.call(number, "list", &json!({}));
        let listed = server.answer(number);
        listed["result"]["structuredContent"]["commands"][0]["state"] == "ended"
    });
}

#[test]
fn a_message_that_is_too_long_is_answered_and_costs_bounded_memory() {
    let Some(daemon) = Daemon::start(Setup::default()) else { return };
    let mut server = Server::greeted(&daemon);
    let text = "x".repeat(17 << 20);
    for id in 1..=3 {
        server.call(id, "check", &json!({"command": text}));
        let answer = server.answer(id);
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(answer["error"]["code"] == -32600 && said.contains("8388608"), "{answer}");
    }
    // The id stands behind what is too long: it is not known.
    let line = format!("{{\"params\":\"{text}\",\"method\":\"tools/call\",\"id\":4,\"jsonrpc\":\"2.0\"}}\n");
    server.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    let answer = server.receive();
    assert!(answer["id"].is_null() && answer["error"]["data"]["limit"] == 8_388_608, "{answer}");
    server.call(5, "check", &json!({"command": "ls"}));
    assert_eq!(server.answer(5)["result"]["structuredContent"]["decision"], "allow");
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let most: u64 = most.unwrap().parse().unwrap();
    assert!(most < 96 << 10, "{most} KiB");
}

#[test]
fn the_official_python_client_gets_on_with_it() {
    // A Python that has the package `mcp`: `python3 -m venv V && V/bin/pip install mcp`.
    let Some(python) = std::env::var_os("EXECWARD_TEST_MCP_PYTHON") else {
        return skip("mcp", "EXECWARD_TEST_MCP_PYTHON names no Python with the package `mcp`");
    };
    let Some(daemon) = Daemon::start(Setup::default()) else { return };
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/client.py"))
        .arg(execward())
        .arg(daemon.socket("agent"))
        .current_dir(daemon.workspace(me(), "mcp"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.trim_end().ends_with("fine"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
