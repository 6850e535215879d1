//! `--json`: one object, with an `outcome`, whatever happens.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::{as_everyone, command};

#[test]
fn a_run_is_one_object_with_everything_in_it() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "--json", "--", "echo", "h\u{e9}"]).output().expect(0);
        assert_eq!(output.stderr(), "");
        let json = output.json();
        assert_eq!(
            (&json["outcome"], &json["exit_code"], &json["code"]),
            (&"exited".into(), &0.into(), &0.into())
        );
        assert_eq!(json["stdout"], serde_json::json!({"encoding": "utf-8", "data": "h\u{e9}\n"}));
        assert_eq!((&json["masked"], &json["separation"]), (&0.into(), &"none".into()));
        assert!(json["receipt"]["layers"].as_array().is_some_and(|layers| layers.len() > 5), "{json}");
        assert!(json["timing"]["wall_us"].as_u64().is_some_and(|us| us > 0), "{json}");
    });
}

#[test]
fn bytes_are_carried_exactly() {
    as_everyone(|ground| {
        ground.write("bytes", b"\xff\x00a");
        let json = ground.execward(["run", "--json", "--", "cat", "bytes"]).output().expect(0).json();
        assert_eq!(json["stdout"], serde_json::json!({"encoding": "base64", "data": "/wBh"}));
    });
}

#[test]
fn a_long_output_keeps_both_ends() {
    as_everyone(|ground| {
        let json = ground.execward(["run", "--json", "--", "seq", "1000000"]).output().expect(0).json();
        let (data, tail) = (json["stdout"]["data"].as_str(), json["stdout"]["tail"].as_str());
        let (data, tail) = (data.expect("a head"), tail.expect("a tail"));
        assert!(data.starts_with("1\n2\n") && tail.ends_with("\n999999\n1000000\n"));
        let left_out = json["stdout"]["left_out"].as_u64().expect("a number");
        assert_eq!(data.len() as u64 + left_out + tail.len() as u64, 6_888_896);
    });
}

#[test]
fn every_command_has_an_outcome() {
    as_everyone(|ground| {
        ground.run(["true"]).output().expect(0);
        for (args, outcome) in [
            (vec!["run", "--json", "--policy", "/no/such", "--", "true"], "failed"),
            (vec!["run", "--json"], "failed"),
            (vec!["run", "--json", "--", "rm", "-rf", "/"], "refused"),
            (vec!["run", "--json", "--", "no-such-program"], "not-found"),
            (vec!["run", "--json", "--timeout", "200ms", "--", "sleep", "9"], "timed-out"),
            (vec!["check", "--json", "--", "true"], "allow"),
            (vec!["check", "--json", "--", "rm", "-rf", "/"], "hardline"),
            (vec!["check", "--json", "--policy", "/no/such", "--", "true"], "failed"),
            (vec!["policy", "test", "--json"], "ok"),
            (vec!["policy", "show", "--json"], "ok"),
            (vec!["audit", "verify", "--json"], "ok"),
        ] {
            let json = ground.execward(&args).output().json();
            assert_eq!(json["outcome"], outcome, "{args:?}: {json}");
        }
    });
}

/// A client may wait for each answer before it asks again.
#[test]
fn a_batch_answers_line_by_line() {
    as_everyone(|ground| {
        let mut child = ground
            .execward(["check", "--batch"])
            .stdin_from(Stdio::piped())
            .stdout_to(Stdio::piped())
            .spawn();
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        for id in 0..3 {
            writeln!(stdin, "{{\"argv\":[\"true\"],\"id\":{id}}}").expect("it reads on");
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it answers");
            let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!((&json["id"], &json["decision"]), (&id.into(), &"allow".into()));
        }
        drop(stdin);
        let status = command::wait(&mut child, std::time::Duration::from_secs(20)).expect("it ends");
        assert_eq!(status.code(), Some(0));
    });
}
