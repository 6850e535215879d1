//! A daemon that is killed, or told to stop, and another that goes on where it was.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::people::agent;
use super::*;

pub const ALONE: &str = "[daemon]\nalone = \"60s\"\n";

pub const ASKS: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.tee\"\nprogram = \"tee\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"tee a\", expect = \"ask\" }]\n";

/// How a session is opened in a workspace: the backend is the test's. Its name.
pub type Open<'a> = &'a dyn Fn(&mut Client, &str) -> String;

fn in_the_jail(client: &mut Client, workspace: &str) -> String {
    client.open(workspace)
}

/// A daemon whose sessions wait for the next one.
pub(super) fn start(policy: &str) -> Option<Daemon> {
    Daemon::start(Setup { config: ALONE, policy })
}

/// How often it is killed where that is done again and again.
fn rounds() -> u32 {
    if std::env::var_os("EXECWARD_TEST_LONG").is_some() { 60 } else { 6 }
}

/// A connection, and the one session that there is.
pub fn come_back(daemon: &Daemon) -> (Client, String) {
    let mut client = daemon.client(agent());
    let sessions = client.call("session/list", json!({})).unwrap()["sessions"].take();
    let [session] = sessions.as_array().unwrap().as_slice() else { panic!("{sessions}\n{}", daemon.log()) };
    let session = session["session"].as_str().unwrap().to_owned();
    (client, session)
}

fn bytes(data: &Value) -> Vec<u8> {
    data["text"].as_str().expect("it is text").as_bytes().to_vec()
}

/// What a command has written, read in chunks.
#[derive(Default)]
pub(super) struct Reader {
    after: u64,
    pub(super) read: Vec<u8>,
    pub(super) closed: bool,
}

impl Reader {
    /// Reads once; `false` where the daemon has gone.
    pub(super) fn read(&mut self, client: &mut Client, session: &str, id: &str) -> bool {
        let asked = json!({"session": session, "id": id, "after_seq": self.after, "wait_ms": 1000});
        let Some(read) = client.try_call("exec/read", &asked) else { return false };
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        for chunk in read["chunks"].as_array().unwrap() {
            assert_eq!(chunk["seq"].as_u64().unwrap(), self.after + 1);
            self.after += 1;
            self.read.extend(bytes(chunk));
        }
        self.closed = read["closed"] == true;
        true
    }
}

#[test]
fn what_runs_goes_on_and_nothing_that_it_writes_is_lost() {
    as_both(|| {
        let Some(daemon) = start("") else { return };
        nothing_is_lost(daemon, &in_the_jail);
    });
}

/// A command that goes on through several daemons, and is known to one more when it is over.
pub fn nothing_is_lost(mut daemon: Daemon, open: Open<'_>) {
    let mut client = daemon.client(agent());
    let session = open(&mut client, &daemon.workspace(agent(), "w"));
    let text = "echo $$ > pid; for i in $(seq 1 400); do echo line $i; sleep 0.005; done; exit 7";
    let command =
        json!({"id": "counts", "command": {"shell": text}, "output": {"mode": "poll"}, "background": true});
    client.call("exec/start", command).unwrap();
    let mut reader = Reader::default();
    for _ in 0..4 {
        for _ in 0..3 {
            assert!(reader.read(&mut client, &session, "counts"));
        }
        daemon.crash();
        let (again, same) = come_back(&daemon);
        assert_eq!(same, session);
        client = again;
    }
    while !reader.closed {
        assert!(reader.read(&mut client, &session, "counts"));
    }
    let expected: String = (1..=400).map(|n| format!("line {n}\n")).collect();
    assert!(reader.read == expected.as_bytes(), "{}", String::from_utf8_lossy(&reader.read));
    let waited = client.call("exec/wait", json!({"session": session, "id": "counts"})).unwrap();
    assert_eq!((&waited["report"]["outcome"], &waited["report"]["code"]), (&json!("exited"), &json!(7)));
    // One that is over is still known to the next daemon, and a repeated start does not start it.
    daemon.crash();
    let (mut client, _) = come_back(&daemon);
    let waited = client.call("exec/wait", json!({"session": session, "id": "counts"})).unwrap();
    assert_eq!(waited["report"]["code"], 7);
    let mut whole = Reader::default();
    while !whole.closed {
        assert!(whole.read(&mut client, &session, "counts"));
    }
    assert!(whole.read == expected.as_bytes());
    // Who waits is told before the record is on the disk.
    until("its end is on record", || !daemon.records("end").is_empty());
    assert_eq!(daemon.records("end").len(), 1);
    daemon.verify_log();
}

#[test]
fn a_flood_survives_whatever_its_reader_does() {
    as_both(|| {
        let Some(daemon) = start("") else { return };
        a_flood_survives(daemon, &in_the_jail);
    });
}

/// More output than all that lies between could hold.
pub fn a_flood_survives(mut daemon: Daemon, open: Open<'_>) {
    let mut client = daemon.client(agent());
    let session = open(&mut client, &daemon.workspace(agent(), "w"));
    // More than all that lies between could hold.
    let command = json!({"id": "flood", "command": {"shell": "seq 1 1200000"}, "output": {"mode": "poll"}, "background": true});
    client.call("exec/start", command).unwrap();
    let (mut reader, mut count) = (Reader::default(), 0);
    while !reader.closed {
        count += 1;
        if count % 25 == 0 && count < 200 {
            daemon.crash();
            client = come_back(&daemon).0;
        }
        assert!(reader.read(&mut client, &session, "flood"));
    }
    let expected: String = (1..=1_200_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(reader.read.len(), expected.len());
    assert!(reader.read == expected.as_bytes());
}

#[test]
fn what_is_collected_and_what_is_read_goes_on() {
    as_both(|| {
        let Some(daemon) = start("") else { return };
        input_goes_on(daemon, &in_the_jail);
    });
}

/// Standard input that comes in parts, and output that is collected.
pub fn input_goes_on(mut daemon: Daemon, open: Open<'_>) {
    let mut client = daemon.client(agent());
    let session = open(&mut client, &daemon.workspace(agent(), "w"));
    let command = json!({"id": "cat", "command": {"argv": ["cat"]}, "stdin": "pipe", "background": true});
    client.call("exec/start", command).unwrap();
    let write = |client: &mut Client, text: &str, end: bool| {
        let asked = json!({"session": session, "id": "cat", "text": text, "end": end});
        client.call("exec/write", asked).unwrap();
    };
    write(&mut client, "before\n", false);
    daemon.crash();
    let (mut client, _) = come_back(&daemon);
    write(&mut client, "after\n", false);
    daemon.crash();
    let (mut client, _) = come_back(&daemon);
    write(&mut client, "at the end\n", true);
    let waited = client.call("exec/wait", json!({"session": session, "id": "cat"})).unwrap();
    assert_eq!(waited["stdout"]["text"], "before\nafter\nat the end\n", "{waited}");
    assert_eq!(waited["report"]["outcome"], "exited");
}

/// Everything of a stream that `exec/range` has, and what it says is missing.
fn ranges(client: &mut Client, session: &str, id: &str) -> (Vec<u8>, Value) {
    let mut all = Vec::new();
    loop {
        let asked = json!({"session": session, "id": id, "stream": "stdout", "offset": all.len(), "max_bytes": 400_000});
        let range = client.call("exec/range", asked).unwrap();
        assert_eq!(range["offset"], all.len());
        let more = bytes(&range);
        if more.is_empty() {
            return (all, range);
        }
        all.extend(more);
    }
}

#[test]
fn the_middle_of_what_a_result_leaves_out_is_there_after_a_restart_or_it_is_said_what_is_not() {
    as_both(|| {
        let Some(mut daemon) = start("") else { return };
        let mut client = daemon.client(agent());
        let session = client.open(&daemon.workspace(agent(), "w"));
        let text = "for i in 1 2 3 4; do seq -f \"$i-%g\" 1 60000; echo > half$i; while [ ! -e go$i ]; do sleep 0.01; done; done";
        let output = json!({"mode": "collect", "head": 1000, "tail": 1000});
        let command = json!({"id": "long", "command": {"shell": text}, "output": output, "background": true});
        client.call("exec/start", command).unwrap();
        let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
        let kept = daemon.path().join("state/output");
        for part in 1..=4 {
            until("a part is written", || workspace.join(format!("half{part}")).exists());
            daemon.crash();
            (client, _) = come_back(&daemon);
            fs::write(workspace.join(format!("go{part}")), "").unwrap();
        }
        let waited = client.call("exec/wait", json!({"session": session, "id": "long"})).unwrap();
        assert!(waited["stdout"]["left_out"].as_u64().unwrap() > 1_000_000, "{waited}");
        let parts = (1..=4).flat_map(|part| (1..=60_000).map(move |n| format!("{part}-{n}\n")));
        let expected: String = parts.collect();
        for _ in 0..2 {
            let (all, last) = ranges(&mut client, &session, "long");
            assert!(all == expected.as_bytes(), "{} of {} bytes: {last}", all.len(), expected.len());
            assert_eq!((&last["written"], &last["missing"]), (&json!(expected.len()), &Value::Null));
            // Once more when it is over.
            daemon.crash();
            (client, _) = come_back(&daemon);
        }
        let files = || fs::read_dir(&kept).into_iter().flatten().flatten().map(|file| file.path());
        let [file] = files().collect::<Vec<_>>().try_into().expect("one file");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // What is gone from the disk is not made up.
        File::options().write(true).open(&file).unwrap().set_len(500_000).unwrap();
        daemon.crash();
        (client, _) = come_back(&daemon);
        let (all, last) = ranges(&mut client, &session, "long");
        assert!(all == expected.as_bytes()[..500_000]);
        let lost = format!("the bytes from 500000 to {} are lost", expected.len() - 1000);
        assert!(last["missing"].as_str().unwrap().ends_with(&lost), "{last}");
        fs::remove_file(&file).unwrap();
        daemon.crash();
        (client, _) = come_back(&daemon);
        let (all, last) = ranges(&mut client, &session, "long");
        assert!(all == expected.as_bytes()[..1000]);
        assert!(last["missing"].as_str().unwrap().contains("the bytes from 1000 to"), "{last}");
        // Nothing is left of a session that is over, or that nobody goes on with.
        fs::write(kept.join("0123.1.0"), "stray").unwrap();
        daemon.crash();
        (client, _) = come_back(&daemon);
        client.call("session/close", json!({"session": session})).unwrap();
        until("nothing is left", || files().next().is_none());
    });
}

#[test]
fn a_secret_that_came_in_two_halves_is_masked_and_a_second_half_alone_is_not_let_out() {
    as_both(|| {
        let Some(mut daemon) = start("") else { return };
        let mut client = daemon.client(agent());
        let session = client.open(&daemon.workspace(agent(), "w"));
        // Put together by the shell, so that the command's own text has none.
        let text = "printf 'first ghp_abcdefghij'; printf klmnop; echo > half; while [ ! -e go ]; do sleep 0.01; done; \
            printf 'qrstuvwxyz01234'; echo '56789 last'";
        let command = json!({"id": "secret", "command": {"shell": text}, "output": {"mode": "poll"}, "background": true});
        client.call("exec/start", command).unwrap();
        let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
        until("it wrote the first half", || workspace.join("half").exists());
        let mut reader = Reader::default();
        assert!(reader.read(&mut client, &session, "secret"));
        daemon.crash();
        let (mut client, _) = come_back(&daemon);
        fs::write(workspace.join("go"), "").unwrap();
        while !reader.closed {
            assert!(reader.read(&mut client, &session, "secret"));
        }
        let read = String::from_utf8(reader.read).unwrap();
        assert!(read.starts_with("first ") && read.ends_with(" last\n"), "{read}");
        assert!(!read.contains("klmnop") && !read.contains("qrstuvwxyz"), "{read}");
    });
}

#[test]
fn a_question_is_asked_again_and_what_was_agreed_to_runs_once() {
    as_both(|| {
        let Some(daemon) = start(ASKS) else { return };
        a_question_is_asked_again(daemon, &in_the_jail);
    });
}

/// Needs the rules of [`ASKS`].
pub fn a_question_is_asked_again(mut daemon: Daemon, open: Open<'_>) {
    let mut client = daemon.client(agent());
    let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
    let session = open(&mut client, workspace.to_str().unwrap());
    let command = json!({"id": "asks", "command": {"shell": "echo ran | tee -a ran"}, "background": true});
    assert_eq!(client.call("exec/start", command).unwrap()["state"], "waiting");
    daemon.crash();
    let mut operator = daemon.operator();
    let mut pending = Value::Null;
    until("the question is there again", || {
        pending = operator.call("approval/list", json!({})).unwrap()["approvals"].take();
        pending.as_array().is_some_and(|pending| !pending.is_empty())
    });
    assert!(!workspace.join("ran").exists());
    let answer = json!({"approval": pending[0]["approval"], "answer": "once"});
    operator.call("approval/answer", answer).unwrap();
    let (mut client, _) = come_back(&daemon);
    let waited = client.call("exec/wait", json!({"session": session, "id": "asks"})).unwrap();
    assert_eq!(waited["report"]["outcome"], "exited", "{waited}");
    daemon.crash();
    let _ = come_back(&daemon);
    assert_eq!(fs::read_to_string(workspace.join("ran")).unwrap(), "ran\n");
    daemon.verify_log();
}

#[test]
fn whenever_it_is_killed_nothing_runs_twice_and_every_start_has_one_end() {
    as_both(|| {
        let Some(daemon) = start("") else { return };
        nothing_runs_twice(daemon, &in_the_jail);
    });
}

/// Starts commands for as long as the daemon is there, again and again.
pub fn nothing_runs_twice(mut daemon: Daemon, open: Open<'_>) {
    let mut client = daemon.client(agent());
    let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
    let session = open(&mut client, workspace.to_str().unwrap());
    let (mut said_to_run, mut requests) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        let pid = daemon.pid();
        let wait = Duration::from_millis(u64::from(20 + round * 37 % 90));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(wait);
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
        });
        for number in 0.. {
            let id = format!("c{round}-{number}");
            let command = json!({"session": session, "id": id, "command": {"shell": format!("echo {id} >> ran")}, "background": true});
            let line = client.line("exec/start", &command);
            let name: Value = serde_json::from_str::<Value>(&line).unwrap()["id"].take();
            let _ = client.stream.write_all(line.as_bytes());
            let reply = std::iter::from_fn(|| client.receive()).find(|message| message["id"] == name);
            let Some(reply) = reply else { break };
            // They are begun faster than they end.
            if reply["error"]["code"] == 1400 {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            assert!(reply["error"].is_null(), "{reply}");
            requests.push(reply["result"]["request_id"].clone());
            said_to_run.push(id);
        }
        killer.join().unwrap();
        daemon.crash();
        client = come_back(&daemon).0;
    }
    // What was said to run has its end in the log, whenever the daemon was killed.
    until("every command has its end", || {
        let ends: Vec<Value> = daemon.records("end").iter().map(|end| end["body"]["id"].clone()).collect();
        requests.iter().all(|request| ends.contains(request))
    });
    let mut known = 0;
    for id in &said_to_run {
        let waited = client.call("exec/wait", json!({"session": session, "id": id}));
        // The oldest are not kept.
        let Ok(waited) = waited else { continue };
        let how = (&waited["report"]["outcome"], &waited["report"]["code"]);
        assert_eq!(how, (&json!("exited"), &json!(0)), "{waited}\n{}", daemon.log());
        known += 1;
    }
    assert!(known > 0);
    let ran = fs::read_to_string(workspace.join("ran")).unwrap();
    let mut times = BTreeMap::<&str, u32>::new();
    ran.lines().for_each(|id| *times.entry(id).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    for id in &said_to_run {
        assert!(
            times.contains_key(id.as_str()),
            "{id} was said to run: {ran}\n{said_to_run:?}\n{}",
            daemon.log()
        );
    }
    // Every end belongs to a decision, and none has two.
    let mut ends = BTreeMap::<u64, u32>::new();
    daemon.records("end").iter().for_each(|end| {
        *ends.entry(end["body"]["decision"].as_u64().unwrap()).or_default() += 1;
    });
    assert!(ends.values().all(|times| *times == 1), "{ends:?}");
    daemon.verify_log();
}

#[test]
fn told_to_stop_it_leaves_what_goes_on_and_interrupted_it_ends_everything() {
    as_both(|| {
        let Some(mut daemon) = start("") else { return };
        let mut client = daemon.client(agent());
        let session = client.open(&daemon.workspace(agent(), "w"));
        let command = json!({"id": "stays", "command": {"argv": ["sleep", "1000"]}, "background": true});
        client.call("exec/start", command).unwrap();
        until("it runs", || daemon.descendants().len() >= 3);
        let left = daemon.descendants();
        daemon.signal(libc::SIGTERM);
        assert_eq!(daemon.ended(), Some(0));
        assert!(left.iter().any(|pid| is_there(*pid)));
        daemon.crash();
        let (mut client, same) = come_back(&daemon);
        assert_eq!(same, session);
        let waited =
            client.call("exec/wait", json!({"session": session, "id": "stays", "wait_ms": 0})).unwrap();
        assert_eq!(waited["state"], "running");
        assert_eq!(daemon.records("end").len(), 0);
        daemon.signal(libc::SIGINT);
        assert_eq!(daemon.ended(), Some(0));
        until("all of it is gone", || !left.iter().any(|pid| is_there(*pid)));
        assert_eq!(daemon.records("end").len(), 1);
        assert_eq!(fs::read_dir(daemon.path().join("run/sessions")).unwrap().count(), 0);
    });
}

#[test]
fn one_that_nobody_comes_back_to_ends_by_itself_and_is_recorded_as_lost() {
    as_both(|| {
        let config = "[daemon]\nalone = \"1s\"\n";
        let Some(mut daemon) = Daemon::start(Setup { config, ..Setup::default() }) else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let command = json!({"id": "s", "command": {"argv": ["sleep", "1000"]}, "background": true});
        client.call("exec/start", command).unwrap();
        let left = daemon.descendants();
        daemon.signal(libc::SIGKILL);
        let _ = daemon.ended();
        until("all of it is gone", || !left.iter().any(|pid| is_there(*pid)));
        daemon.crash();
        let mut client = daemon.client(agent());
        assert_eq!(client.call("session/list", json!({})).unwrap()["sessions"], json!([]));
        until("the end is recorded", || daemon.records("end").len() == 1);
        assert!(daemon.records("end")[0]["body"]["error"].as_str().unwrap().contains("runner"));
        assert_eq!(fs::read_dir(daemon.path().join("run/sessions")).unwrap().count(), 0);
        daemon.verify_log();
    });
}

#[test]
fn one_that_the_policy_gives_another_sandbox_is_over() {
    as_both(|| {
        let Some(mut daemon) = start("") else { return };
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let command = json!({"id": "s", "command": {"argv": ["sleep", "1000"]}, "background": true});
        client.call("exec/start", command).unwrap();
        let left = daemon.descendants();
        put(&daemon.path().join("policy.toml"), "[limits]\nprocesses = 100\n");
        daemon.crash();
        let mut client = daemon.client(agent());
        assert_eq!(
            client.call("session/list", json!({})).unwrap()["sessions"],
            json!([]),
            "{}",
            daemon.log()
        );
        until("all of it is gone", || !left.iter().any(|pid| is_there(*pid)));
        until("the end is recorded", || daemon.records("end").len() == 1);
        daemon.verify_log();
    });
}

#[test]
fn the_state_of_its_shell_and_its_owner_stay() {
    as_root(|| {
        let Some(mut daemon) = start("") else { return };
        let mut client = daemon.client(ANN);
        let session = client.open(&daemon.workspace(ANN, "w"));
        let shell = |client: &mut Client, id: &str, text: &str| {
            let command = json!({"session": session, "id": id, "command": {"shell": text}, "persist": true});
            client.call("exec/start", command).unwrap();
            client.call("exec/wait", json!({"session": session, "id": id})).unwrap()
        };
        shell(&mut client, "1", "mkdir d; cd d; export GREETING=hello");
        daemon.crash();
        let mut client = daemon.client(ANN);
        let said = shell(&mut client, "2", "echo $GREETING from ${PWD##*/}");
        assert_eq!(said["stdout"]["text"], "hello from d\n", "{said}");
        let mut other = daemon.client(BEN);
        assert_eq!(other.call("session/list", json!({})).unwrap()["sessions"], json!([]));
        let asked = json!({"session": session, "id": "2"});
        assert_eq!(code(other.call("exec/wait", asked)), 1100);
    });
}
