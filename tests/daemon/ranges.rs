//! Collected output that is longer than a result: all of it is there, by range.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

/// Everything that is kept of a stream, in parts of this size.
fn all(client: &mut Client, id: &str, stream: &str, part: usize) -> (String, Value) {
    let mut text = String::new();
    loop {
        let asked = json!({"id": id, "stream": stream, "offset": text.len(), "max_bytes": part});
        let mut range = client.call("exec/range", asked).unwrap();
        assert_eq!(range["offset"], text.len());
        let more = range["text"].as_str().expect("text").to_owned();
        if more.is_empty() {
            range["text"] = Value::Null;
            return (text, range);
        }
        assert!(more.len() <= part);
        text.push_str(&more);
    }
}

#[test]
fn what_a_result_leaves_out_can_be_had() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let mut lines = String::new();
        (1..=120_000).for_each(|line| writeln!(lines, "{line} \u{e9}\u{20ac}").unwrap());
        let script =
            "echo short >&2; i=0; while [ $i -lt 120000 ]; do i=$((i+1)); echo \"$i \u{e9}\u{20ac}\"; done";
        let done = client.run("long", &["bash", "-c", script]);
        let shown = ["text", "tail"].map(|part| &done["stdout"][part]);
        assert!(done["stdout"]["left_out"].as_u64().unwrap() > 1_000_000, "{shown:?}");
        assert!(done["report"]["reached"][0]["evidence"].as_str().unwrap().contains("exec/range"));
        for part in [524_288, 99_991] {
            let (text, last) = all(&mut client, "long", "stdout", part);
            assert!(text == lines, "parts of {part} are not the whole");
            assert_eq!((&last["kept"], &last["written"]), (&json!(lines.len()), &json!(lines.len())));
            assert_eq!(last["missing"], Value::Null);
        }
        // What was short enough never was on disk, and reads the same.
        assert_eq!(all(&mut client, "long", "stderr", 4).0, "short\n");
        let past =
            client.call("exec/range", json!({"id": "long", "stream": "stderr", "offset": 999})).unwrap();
        assert_eq!((&past["text"], &past["offset"]), (&json!(""), &json!(6)));
        let other = json!({"id": "long", "stream": "none"});
        assert_eq!(code(client.call("exec/range", other)), -32602);
    });
}

#[test]
fn what_is_kept_on_disk_is_masked_and_bounded_and_has_no_name() {
    as_both(|| {
        let config = "[limits]\noutput = 700_000\nall_output = 800_000\n";
        let Some(daemon) = Daemon::start(Setup { config, ..Setup::default() }) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let secret = format!("ghp_{}", "abcdefghijklmnopqrstuvwxyz0123456789");
        let script = format!(
            "head -c 400000 /dev/zero | tr '\\0' x; echo; echo {secret}; head -c 400000 /dev/zero | tr '\\0' y"
        );
        let output = json!({"mode": "collect", "head": 100, "tail": 100});
        for id in ["one", "two"] {
            let start = json!({"id": id, "command": {"argv": ["bash", "-c", script]}, "output": output});
            client.call("exec/start", start).unwrap();
            client.call("exec/wait", json!({ "id": id })).unwrap();
        }
        let (text, last) = all(&mut client, "one", "stdout", 524_288);
        assert_eq!(text.len(), 700_000);
        assert!(last["missing"].as_str().unwrap().contains("700000"), "{last}");
        assert!(last["written"].as_u64().unwrap() > 800_000);
        assert!(text.contains("ghp_") && !text.contains(&secret), "it is not masked");
        let (text, _) = all(&mut client, "two", "stdout", 524_288);
        assert_eq!(text.len(), 100_000, "more than one principal may keep");
        let state = daemon.directory.path().join("state");
        let names: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().contains("tmp")), "{names:?}");
        // A chunk has a number and no range; and the room is there again when the session is closed.
        let start = json!({"id": "poll", "command": {"argv": ["true"]}, "output": {"mode": "poll"}});
        client.call("exec/start", start).unwrap();
        assert_eq!(code(client.call("exec/range", json!({"id": "poll", "stream": "stdout"}))), 1204);
        client.call("session/close", json!({})).unwrap();
        client.open(&daemon.workspace(me(), "w"));
        let start = json!({"id": "three", "command": {"argv": ["bash", "-c", script]}, "output": output});
        client.call("exec/start", start).unwrap();
        client.call("exec/wait", json!({"id": "three"})).unwrap();
        assert_eq!(all(&mut client, "three", "stdout", 524_288).0.len(), 700_000);
    });
}
