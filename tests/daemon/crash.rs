//! A daemon that is killed at any moment: no answer counts twice, and nothing has run without its record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::people::agent;
use super::*;

const POLICY: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.tee\"\nprogram = \"tee\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"tee a\", expect = \"ask\" }]\n";

/// How often it is killed: a few times, 200 times with `EXECWARD_TEST_LONG`.
fn rounds() -> u32 {
    if std::env::var_os("EXECWARD_TEST_LONG").is_some() { 200 } else { 8 }
}

/// Says a line to a daemon that may die at any moment. Whether it could be said.
fn said(client: &mut Client, method: &str, params: &Value) -> bool {
    let line = client.line(method, params);
    client.stream.write_all(line.as_bytes()).is_ok()
}

/// Asks for commands that each leave a line, until the daemon is gone.
fn ask_until_it_dies(mut client: Client, round: u32) {
    for number in 0..1000 {
        let id = format!("c{round}-{number}");
        let command = json!({"shell": format!("echo ran | tee -a {id}")});
        if !said(&mut client, "exec/start", &json!({"id": id, "command": command})) {
            return;
        }
        loop {
            match client.receive() {
                None => return,
                Some(message) if message["method"] == "exec/exited" => break,
                Some(_) => {}
            }
        }
    }
}

/// Answers each question, twice, until the daemon is gone; the answers that were given.
fn answer_until_it_dies(mut operator: Client) -> Vec<Value> {
    let mut given = Vec::new();
    if !said(&mut operator, "approval/watch", &json!({})) {
        return given;
    }
    while let Some(message) = operator.receive() {
        let pending: Vec<Value> = match message["method"].as_str() {
            Some("approval/pending") => vec![message["params"]["approval"].clone()],
            None => {
                let waiting = message["result"]["approvals"].as_array().cloned().unwrap_or_default();
                waiting.iter().map(|approval| approval["approval"].clone()).collect()
            }
            _ => Vec::new(),
        };
        for approval in pending {
            let answer = json!({"approval": approval, "answer": "once"});
            given.push(answer.clone());
            if !said(&mut operator, "approval/answer", &answer)
                || !said(&mut operator, "approval/answer", &answer)
            {
                return given;
            }
        }
    }
    given
}

#[test]
fn whenever_it_is_killed_an_answer_counts_once_and_nothing_ran_without_a_record() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let workspace = daemon.workspace(agent(), "w");
        let mut given = Vec::new();
        for round in 0..rounds() {
            let mut client = daemon.client(agent());
            client.open(&workspace);
            let operator = daemon.operator();
            let answering = std::thread::spawn(move || answer_until_it_dies(operator));
            let asking = std::thread::spawn(move || ask_until_it_dies(client, round));
            if round == 0 {
                // A run in which nothing ran shows nothing, however slow the machine is.
                until("something ran", || fs::read_dir(&workspace).unwrap().next().is_some());
            }
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
            std::thread::sleep(Duration::from_micros(u64::from(now / 1000 % 400_000) + 50_000));
            daemon.crash();
            asking.join().unwrap();
            given.extend(answering.join().unwrap());
        }
        // No answer of before is one now.
        let mut operator = daemon.operator();
        for answer in given {
            assert_eq!(code(operator.call("approval/answer", answer)), 1206);
        }
        let recorded: BTreeSet<String> = daemon
            .records("decision")
            .iter()
            .filter(|record| record["body"]["outcome"] == "run")
            .filter_map(|record| record["body"]["command"]["shell"].as_str().map(str::to_owned))
            .collect();
        let mut ran = BTreeMap::new();
        for entry in fs::read_dir(&workspace).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let lines = fs::read_to_string(entry.path()).unwrap().lines().count();
            assert!(lines <= 1, "{name} ran {lines} times");
            assert!(recorded.contains(&format!("echo ran | tee -a {name}")), "{name} has no record");
            ran.insert(name, lines);
        }
        assert!(!ran.is_empty(), "nothing ran at all");
        daemon.verify_log();
    });
}
