//! `execward mcp-wrap`: a server as its client meets it, and one that means harm.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PATIENCE;
use crate::support::ground::execward;
use crate::support::{Ground, as_everyone, is_root, skip, tool};

/// A token of a known shape that nobody was ever given.
fn token() -> String {
    format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU")
}

const WRAP: [&str; 2] = ["mcp-wrap", "--"];
const SERVER: [&str; 2] = ["python3", "server.py"];

fn bring_server(ground: &Ground) {
    ground.write("server.py", include_str!("server.py"));
}

fn call(id: u64, tool: &str, arguments: &Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string() + "\n"
}

/// A server in the jail.
struct Wrapped {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Wrapped {
    fn start(ground: &Ground, arguments: &[&str]) -> Self {
        let mut child = ground.execward(WRAP).arg("python3").arg("server.py");
        child.args(arguments);
        let mut child = child.stdin_from(Stdio::piped()).stderr_to(Stdio::inherit()).spawn();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { stdin: child.stdin.take(), child, lines }
    }

    fn call(&mut self, tool: &str, arguments: &Value) {
        self.stdin.as_mut().unwrap().write_all(call(1, tool, arguments).as_bytes()).unwrap();
    }

    fn receive(&mut self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    fn text(&mut self) -> String {
        self.receive()["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }

    fn ends(&mut self) {
        until("it ends", || self.child.try_wait().unwrap().is_some());
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not so: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Processes that have this word among their arguments, apart from execward's own.
fn marked(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|&byte| byte == 0).any(|word| word == mark.as_bytes())).count()
}

fn python() -> bool {
    tool("python3")
}

#[test]
fn messages_pass_byte_for_byte_and_the_server_is_recorded() {
    if !python() {
        return;
    }
    as_everyone(|ground| {
        bring_server(ground);
        let token = token();
        let mut input =
            json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}).to_string() + "\n";
        for (id, text) in [(1, "hello"), (2, token.as_str()), (3, "\u{e9}\u{1f600}\\\"\u{0}")] {
            input += &call(id, "echo", &json!({"text": text}));
        }
        input += &call(4, "echo", &json!({"text": "x".repeat(3 << 20)}));
        let bare = ground.bare(SERVER).stdin(input.clone()).output().expect(0);
        let mut wrapped = ground.execward(WRAP);
        wrapped.args(SERVER);
        let wrapped = wrapped.stdin(input).output().expect(0);
        assert!(wrapped.stdout == bare.stdout, "{}\n{}", wrapped.stderr(), bare.stdout.len());
        assert_eq!(bare.stdout().lines().count(), 5);
        assert_eq!(wrapped.stderr(), "");
        ground.execward(["audit", "verify"]).output().expect(0);
        let state = if is_root() { ground.state() } else { ground.root().join("xdg/execward") };
        let records = fs::read_to_string(state.join("audit/audit.jsonl")).unwrap();
        assert!(records.contains(r#"["python3","server.py"]"#), "{records}");
    });
}

#[test]
fn errors_and_whatever_is_no_message_come_without_secrets() {
    if !python() {
        return;
    }
    as_everyone(|ground| {
        bring_server(ground);
        let token = token();
        let input = call(1, "nothing", &json!({"text": token}))
            + &call(2, "read", &json!({"path": format!("/no/{token}")}))
            + &call(3, "noise", &json!({"text": format!("key {token} ")}))
            + &json!({"jsonrpc": "2.0", "id": 4, "method": "no/such", "params": {"password": "aV3ry-l0ng-phrase-7"}}).to_string()
            + "\n"
            + &call(5, "crash", &json!({}));
        // What the server says without execward has it everywhere.
        let bare = ground.bare(SERVER).stdin(input.clone()).output().expect(7);
        assert!(
            bare.stdout().matches(&token).count() == 4 && bare.stderr().contains(&token),
            "{}",
            bare.stdout()
        );
        let mut wrapped = ground.execward(WRAP);
        wrapped.args(SERVER);
        let wrapped = wrapped.stdin(input).output().expect(7);
        let told = wrapped.stdout();
        assert!(!told.contains(&token) && !told.contains("aV3ry"), "{told}");
        assert!(!wrapped.stderr().contains(&token), "{}", wrapped.stderr());
        assert!(wrapped.stderr().contains("masked"), "{}", wrapped.stderr());
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 5, "{told}");
        let message = |index: usize| serde_json::from_str::<Value>(lines[index]).unwrap();
        assert!(message(0)["error"]["message"].as_str().unwrap().starts_with("no such tool"), "{told}");
        assert_eq!(message(0)["error"]["code"], -32602);
        assert_eq!(message(1)["result"]["isError"], true);
        assert!(lines[2].starts_with("key "), "{told}");
        assert_eq!(message(3)["result"]["content"][0]["text"], "done");
        assert_eq!(message(4)["error"]["code"], -32602);
    });
}

#[test]
fn a_server_sees_no_credential_and_no_variable_that_was_not_named() {
    if !python() {
        return;
    }
    as_everyone(|ground| {
        bring_server(ground);
        let home = ground.account().home.join(".ssh");
        let canary = home.join("execward-test-canary");
        let made = !home.exists();
        if made {
            fs::create_dir(&home).unwrap();
            ground.give(&home);
        }
        fs::write(&canary, "canary").unwrap();
        ground.give(&canary);
        let input = call(1, "environment", &json!({}))
            + &call(2, "read", &json!({"path": canary.to_str().unwrap()}))
            + &call(3, "read", &json!({"path": ground.outside().join("other").to_str().unwrap()}));
        ground.put(&ground.outside().join("other"), b"canary", 0o644);
        let said = |command: crate::support::Command| {
            let command = command.env("PLAIN", "x").env("OTHER", "x").env("SOME_TOKEN", token());
            command.env("LD_PRELOAD", "").stdin(input.clone()).output().expect(0).stdout()
        };
        let bare = said(ground.bare(SERVER));
        assert!(bare.contains("SOME_TOKEN") && bare.matches("canary\"").count() == 2, "{bare}");
        let mut wrapped = ground.execward(["mcp-wrap", "--env", "PLAIN", "--env", "SOME_TOKEN", "--"]);
        wrapped.args(SERVER);
        let told = said(wrapped);
        let _ = fs::remove_file(&canary);
        if made {
            let _ = fs::remove_dir(&home);
        }
        assert!(told.contains("PLAIN") && !told.contains("OTHER") && !told.contains("SOME_TOKEN"), "{told}");
        assert!(!told.contains("LD_PRELOAD") && !told.contains("canary\""), "{told}");
        assert_eq!(told.matches("true").count(), 2, "{told}");
    });
}

#[test]
fn nothing_of_a_server_is_left_when_its_client_goes() {
    if !python() {
        return;
    }
    as_everyone(|ground| {
        bring_server(ground);
        for (way, arguments) in
            [("stdin", ["--stays"].as_slice()), ("deaf", &[]), ("killed", &[]), ("both", &["--stays"])]
        {
            let mark = format!("execward-mark-{way}-{}", ground.root().display());
            let mut server = Wrapped::start(ground, arguments);
            server.call("linger", &json!({"mark": mark}));
            assert_eq!(server.text(), "lingering");
            until("they run", || marked(&mark) == 2);
            match way {
                "stdin" => drop(server.stdin.take()),
                "deaf" => {
                    server.call("deaf", &json!({}));
                    assert_eq!(server.receive()["params"]["data"], "deaf");
                    // More than anybody takes: the pipe is full, and who wrote to it goes.
                    let mut stdin = server.stdin.take().unwrap();
                    let writer = std::thread::spawn(move || {
                        let flags = nix::fcntl::OFlag::O_NONBLOCK;
                        nix::fcntl::fcntl(&stdin, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
                        let end = Instant::now() + Duration::from_secs(1);
                        while Instant::now() < end {
                            if stdin.write(&[b' '; 4096]).is_err() {
                                sleep(Duration::from_millis(10));
                            }
                        }
                    });
                    writer.join().unwrap();
                }
                "killed" => server.child.kill().unwrap(),
                _ => {
                    drop(server.stdin.take());
                    server.lines = channel().1;
                }
            }
            until("nothing of it runs", || marked(&mark) == 0);
            server.ends();
        }
    });
}

#[test]
fn a_line_without_an_end_costs_bounded_memory() {
    if !python() {
        return;
    }
    as_everyone(|ground| {
        bring_server(ground);
        let command = ground.execward(WRAP).arg("python3").arg("server.py");
        let mut child = command.stdin_from(Stdio::piped()).stderr_to(Stdio::null()).spawn();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(call(1, "endless", &json!({})).as_bytes()).unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (mut buffer, mut got) = (vec![0; 1 << 20], 0);
        while got < 128 << 20 {
            let length = stdout.read(&mut buffer).unwrap();
            assert!(length > 0, "it goes on");
            got += length;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 200 << 10, "{peak} KiB");
        drop((stdin, stdout));
        until("it ends", || child.try_wait().unwrap().is_some());
    });
}

#[test]
fn what_asks_is_refused_and_the_client_is_told_on_standard_error() {
    if !python() {
        return;
    }
    as_everyone(|ground| {
        bring_server(ground);
        let policy = "[[rule]]\nid = \"t\"\nprogram = \"python3\"\ndecision = \"ask\"\nreason = \"r\"\n";
        let policy = ground.put(&ground.outside().join("policy.toml"), policy.as_bytes(), 0o644);
        let mut wrapped = ground.execward(["mcp-wrap", "--policy", policy.to_str().unwrap(), "--"]);
        wrapped.args(SERVER);
        let output = wrapped.stdin(call(1, "echo", &json!({"text": "x"}))).output().expect(126);
        assert_eq!(output.stdout(), "");
        output.complains(&["there is no person to ask"]);
    });
}

#[test]
fn the_official_python_client_gets_on_with_a_wrapped_server() {
    // A Python that has the package `mcp`: `python3 -m venv V && V/bin/pip install mcp`.
    let Some(client) = std::env::var_os("EXECWARD_TEST_MCP_PYTHON") else {
        return skip("mcp", "EXECWARD_TEST_MCP_PYTHON names no Python with the package `mcp`");
    };
    let Some(ground) = Ground::new(crate::support::Leg::Root).filter(|_| python()) else { return };
    bring_server(&ground);
    let output = Command::new(client)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/wrapped_client.py"))
        .arg(execward())
        .arg(ground.state())
        .current_dir(ground.workspace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim_end().ends_with("fine"), "{said}{complained}");
}
