//! Peers that mean harm, and the one beside them that must not notice.

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;

use super::*;

/// Runs a few commands, each of which must come out right; says how long the slowest took, for a reader.
fn work(client: &mut Client, name: &str) {
    let mut slowest = Duration::ZERO;
    for n in 0..5 {
        let before = Instant::now();
        let done = client.run(&format!("{name}{n}"), &["echo", name]);
        assert_eq!(
            (&done["stdout"]["text"], &done["report"]["code"]),
            (&json!(format!("{name}\n")), &json!(0))
        );
        slowest = slowest.max(before.elapsed());
    }
    eprintln!("-- beside it, a command took {slowest:?} at most");
}

/// The victim: another user where there is one.
fn other() -> u32 {
    if is_root() { BEN } else { me() }
}

fn attacker() -> u32 {
    if is_root() { ANN } else { me() }
}

#[test]
fn one_that_never_reads_stops_nothing_but_itself() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let before = daemon.private_kib();
        let mut deaf = daemon.client(attacker());
        deaf.open(&daemon.workspace(attacker(), "w"));
        for n in 0..8 {
            let start = json!({"id": format!("y{n}"), "command": {"argv": ["yes", "some words"]}, "output": {"mode": "stream"}});
            deaf.send("exec/start", &start);
        }
        let mut victim = daemon.client(other());
        victim.open(&daemon.workspace(other(), "v"));
        std::thread::sleep(Duration::from_secs(1));
        work(&mut victim, "v");
        let grown = daemon.private_kib().saturating_sub(before);
        assert!(grown < 64 << 10, "{grown} KiB for one that does not read");
        // In the very session of the deaf one, by another connection, the next command comes through.
        let mut second = daemon.client(attacker());
        let session = second.call("session/list", json!({})).unwrap()["sessions"][0]["session"].clone();
        let start = json!({"session": session, "id": "beside", "command": {"argv": ["echo", "x"]}});
        second.call("exec/start", start).unwrap();
        let done =
            second.call("exec/wait", json!({"session": session, "id": "beside", "wait_ms": 20000})).unwrap();
        assert_eq!(done["stdout"]["text"], "x\n");
        drop(deaf);
        until("its commands end with it", || {
            let list = second.call("exec/list", json!({ "session": session })).unwrap();
            list["execs"].as_array().unwrap().iter().all(|exec| exec["state"] == "ended")
        });
    });
}

#[test]
fn half_lines_and_drops_of_bytes_harm_nobody() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut victim = daemon.client(other());
        victim.open(&daemon.workspace(other(), "v"));
        let mut halves: Vec<Client> = (0..20).map(|_| daemon.client(attacker())).collect();
        for half in &mut halves {
            half.stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session/l").unwrap();
        }
        // One byte a second: of a hello that would be right, were it ever to end; and of a later request.
        let mut drops = daemon.stranger(attacker());
        let mut slow = daemon.client(attacker());
        let mut both = [drops.stream.try_clone().unwrap(), slow.stream.try_clone().unwrap()];
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session/list\",\"params\":{}            }\n";
        let dripping = std::thread::spawn(move || {
            for (sent, byte) in line.bytes().enumerate() {
                let more = stopped.recv_timeout(Duration::from_secs(1));
                if more != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    return sent;
                }
                for stream in &mut both {
                    // The first of them is gone in the end.
                    let _ = stream.write_all(&[byte]);
                }
            }
            line.len()
        });
        assert_eq!(victim.run("beside", &["echo", "x"])["stdout"]["text"], "x\n");
        // One that does not say hello in time is told so, and gone, however busy it seems.
        let said = drops.receive().expect("a reason");
        assert_eq!(said["error"]["code"], 1000, "{said}");
        assert!(drops.receive().is_none());
        drop(stop);
        let sent = dripping.join().unwrap();
        // Lines go on where they stopped.
        slow.stream.write_all(&line.as_bytes()[sent..]).unwrap();
        halves[0].stream.write_all(b"ist\"}\n").unwrap();
        for client in [&mut slow, &mut halves[0]] {
            assert!(client.receive().expect("a reply")["result"]["sessions"].is_array());
        }
        work(&mut victim, "w");
    });
}

#[test]
fn those_who_vanish_leave_nothing_behind() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        until("the first session is gone", || daemon.descendants().is_empty());
        let before = daemon.descriptors();
        let mut victim = daemon.client(other());
        let open = json!({"workspace": daemon.workspace(other(), "v"), "linger_ms": 0});
        victim.call("session/open", open).unwrap();
        let workspace = daemon.workspace(attacker(), "w");
        for n in 0..24 {
            let mut client = daemon.client(attacker());
            let open = json!({"workspace": workspace, "linger_ms": 0});
            if n % 4 == 0 {
                // Before it can have had the reply.
                client.send("session/open", &open);
                continue;
            }
            client.call("session/open", open).unwrap();
            let start = json!({"id": "y", "command": {"argv": ["yes"]}, "output": {"mode": "stream"}});
            let started = client.send("exec/start", &start);
            if n % 4 == 1 {
                continue;
            }
            client.reply(started).unwrap();
            client.send("exec/wait", &json!({"id": "y"}));
            if n % 4 == 2 {
                client.stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":").unwrap();
            }
        }
        work(&mut victim, "v");
        let mut last = daemon.client(attacker());
        until("their sessions are gone", || {
            let list = last.call("session/list", json!({})).unwrap();
            let left = list["sessions"].as_array().unwrap().iter();
            left.filter(|session| session["workspace"] == workspace).count() == 0
        });
        drop((victim, last));
        until("nothing runs and nothing is held", || {
            daemon.descendants().is_empty() && daemon.descriptors() <= before
        });
        // It is recorded after the runner has gone.
        until("every command has its end", || {
            let ended: Vec<Value> =
                daemon.records("end").iter().map(|end| end["body"]["id"].clone()).collect();
            let ran =
                daemon.records("decision").into_iter().filter(|record| record["body"]["outcome"] == "run");
            ran.into_iter().all(|record| ended.contains(&record["body"]["id"]))
        });
        daemon.verify_log();
    });
}

#[test]
fn nonsense_is_refused_with_its_code() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let deep = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{}1{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let unreadable = [
            "nonsense".to_owned(),
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"session/list\"}".to_owned(),
            deep,
            "{\"a\":\"\u{0}\"}".to_owned(),
            String::new(),
        ];
        for line in unreadable {
            let mut client = daemon.client(me());
            client
                .stream
                .write_all(
                    format!("{line}\n{{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"session/list\"}}\n")
                        .as_bytes(),
                )
                .unwrap();
            let said = client.receive().expect("a reason");
            assert_eq!(said["error"]["code"], -32700, "{said}");
            assert!(client.receive().is_none(), "nothing more is taken from it");
        }
        let mut client = daemon.client(me());
        let long = vec![b'a'; 3 << 20];
        let _ = client.stream.write_all(&long);
        assert_eq!(client.receive().map(|said| said["error"]["code"].clone()), Some(json!(-32700)));
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let start = |extra: Value| {
            let mut start = json!({"id": "x", "command": {"argv": ["true"]}});
            start.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            start
        };
        for (method, params, expected) in [
            ("no/such", json!({}), -32601),
            ("approval/list", json!({}), -32601),
            ("hello", json!({"protocol": 1}), 1000),
            ("session/list", json!({"x": 1}), -32602),
            ("exec/start", json!({"id": "x"}), -32602),
            ("exec/start", start(json!({"timeout_ms": -1})), -32602),
            ("exec/start", start(json!({"timeout_ms": 0})), -32602),
            ("exec/start", start(json!({"timeout_ms": 1.5})), -32602),
            ("exec/start", start(json!({"timeout_ms": u64::MAX})), -32602),
            ("exec/start", start(json!({"id": "../x"})), -32602),
            ("exec/start", start(json!({"privileged": true})), -32602),
            ("exec/start", start(json!({"env": {"A=B": "c"}})), -32602),
            ("exec/start", start(json!({"fds": ["stdout"]})), 1003),
            ("exec/start", start(json!({"command": {"argv": []}})), -32602),
            ("exec/start", start(json!({"id": "nul", "command": {"argv": ["a\u{0}b"]}})), -32602),
            ("exec/start", start(json!({"id": "long", "command": {"shell": "x".repeat(200_000)}})), -32602),
            ("exec/start", start(json!({"id": "cwd", "cwd": "../.."})), 1303),
            ("exec/wait", json!({"id": "unknown"}), 1101),
            ("session/get", json!({"session": "0".repeat(32)}), 1100),
            ("session/get", json!({"session": "0"}), -32602),
            ("session/open", json!({"workspace": "relative"}), 1302),
            ("session/open", json!({"workspace": "/"}), 1302),
            ("session/open", json!({"workspace": "/proc/self/cwd"}), 1302),
            ("session/open", json!({"workspace": daemon.path().join("state")}), 1302),
            (
                "session/open",
                json!({"workspace": daemon.workspace(me(), "profile"), "profile": "none"}),
                1103,
            ),
        ] {
            let refused = client.call(method, params.clone()).expect_err(&format!("{method} {params}"));
            assert_eq!(refused["code"], expected, "{method} {params}: {refused}");
            assert!(!refused["data"]["kind"].as_str().unwrap().is_empty());
        }
        for first in [
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session/list\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"protocol\":2}}",
        ] {
            let mut client = daemon.stranger(me());
            writeln!(client.stream, "{first}").unwrap();
            assert!(matches!(
                client.receive().expect("a reason")["error"]["code"].as_i64(),
                Some(1000 | 1001)
            ));
            assert!(client.receive().is_none());
        }
    });
}

#[test]
fn ten_thousand_connections_of_one_leave_room_for_others() {
    as_both(|| {
        let Some(daemon) =
            Daemon::start(Setup { config: "[limits]\nconnections = 50\n", ..Setup::default() })
        else {
            return;
        };
        // All at the same time, where this process may have as many descriptors.
        let room = descriptors_for(10_000);
        let before = daemon.descriptors();
        let mut open: Vec<Client> = (0..50).map(|_| daemon.client(attacker())).collect();
        open[0].open(&daemon.workspace(attacker(), "w"));
        let mut held = Vec::new();
        let mut victim = None;
        for n in 0..10_000 {
            let mut stream = connect_quickly(&daemon.socket("agent"), attacker()).unwrap();
            if n % 10 == 0 {
                let mut line = String::new();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.read_to_string(&mut line).unwrap();
                let said: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(
                    (&said["error"]["code"], &said["error"]["data"]["retry_after_ms"]),
                    (&json!(1400), &json!(1000))
                );
            }
            held.push(stream);
            if held.len() == room {
                held.clear();
            }
            if n == 5000 && is_root() {
                // Another one gets in between.
                let mut other = daemon.client(BEN);
                other.open(&daemon.workspace(BEN, "v"));
                victim = Some(other);
            }
        }
        // The socket and the root directory of each of its fifty, and a session.
        let now = daemon.descriptors();
        assert!(now < before + 140, "{now} descriptors, {before} before");
        // Those that it has go on, and so do another one's; operators get in.
        work(&mut open[0], "o");
        victim.iter_mut().for_each(|victim| work(victim, "v"));
        let seen = daemon.operator().call("session/list", json!({})).unwrap()["sessions"].clone();
        assert!(!seen.as_array().unwrap().is_empty());
        drop((open, held, victim));
        let mut again = None;
        until("there is room again", || {
            let mut client = Client::new(connect(&daemon.socket("agent"), attacker()).unwrap());
            let welcomed =
                client.try_call("hello", &json!({"protocol": 1})).is_some_and(|reply| reply.is_ok());
            again = welcomed.then_some(client);
            welcomed
        });
    });
}

/// Raises this process's limit on descriptors; says how many of `wanted` it may hold beside what it has.
fn descriptors_for(wanted: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = wanted as u64 + 2000;
    // Root may raise its own.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, needed.max(hard), needed.max(hard))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let room = wanted.min(usize::try_from(soft.saturating_sub(2000)).unwrap());
    if room < wanted {
        eprintln!("-- {room} connections at a time: this process may have {soft} descriptors");
    }
    room
}

#[test]
fn floods_of_requests_wait_their_turn() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let before = daemon.private_kib();
        let mut flood = daemon.client(attacker());
        flood.open(&daemon.workspace(attacker(), "w"));
        flood.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"exec/list\"}\n".repeat(1000);
        let mut sent = 0;
        // Until the daemon takes no more from one that does not read.
        while sent < 500 && flood.stream.write_all(line.as_bytes()).is_ok() {
            sent += 1;
        }
        let mut waits = daemon.client(attacker());
        let session = waits.open(&daemon.workspace(attacker(), "w"));
        waits.call("exec/start", json!({"id": "s", "command": {"argv": ["sleep", "1000"]}})).unwrap();
        let ids: Vec<u64> =
            (0..200).map(|_| waits.send("exec/wait", &json!({"id": "s", "wait_ms": 600_000}))).collect();
        let too_many = ids
            .iter()
            .skip(64)
            .filter(|_| waits.receive().is_some_and(|said| said["error"]["code"] == 1400))
            .count();
        assert_eq!(too_many, 136);
        let mut victim = daemon.client(other());
        victim.open(&daemon.workspace(other(), "v"));
        work(&mut victim, "v");
        let grown = daemon.private_kib().saturating_sub(before);
        assert!(grown < 64 << 10, "{grown} KiB");
        drop((flood, waits));
        let mut again = daemon.client(attacker());
        until("what it waited for is over", || {
            again.call("exec/wait", json!({"session": session, "id": "s", "wait_ms": 100})).unwrap()["state"]
                == "ended"
        });
    });
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(attacker());
        let before = daemon.descriptors();
        let pipe = std::io::pipe().unwrap();
        let many = [pipe.0.as_raw_fd(); 200];
        for n in 0..500 {
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"session/list\"}}\n", 1000 + n);
            let with = [ControlMessage::ScmRights(&many[..1 + n % 200])];
            let (stream, line) = (client.stream.as_raw_fd(), [IoSlice::new(line.as_bytes())]);
            if sendmsg::<()>(stream, &line, &with, MsgFlags::MSG_NOSIGNAL, None).is_err() {
                break;
            }
            let said = client.receive().expect("a reply");
            if said["id"].is_null() {
                // With many of them it is not listened to any longer.
                assert_eq!(said["error"]["code"], 1003, "{said}");
                assert!(n > 5 && client.receive().is_none());
                break;
            }
            assert_eq!(said["id"], 1000 + n);
            assert!(n < 100, "it goes on and on");
        }
        assert!(daemon.descriptors() <= before + 1, "{before} before, {} now", daemon.descriptors());
        let mut victim = daemon.client(other());
        victim.open(&daemon.workspace(other(), "v"));
        work(&mut victim, "v");
    });
}

#[test]
fn whom_the_daemon_does_not_know_is_told_so() {
    as_root(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut eve = daemon.stranger(EVE);
        let said = eve.receive().expect("a reason");
        assert_eq!(said["error"]["code"], 1002, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().contains("61009"));
        assert!(eve.receive().is_none());
        // The operators' socket is not for agents: by its mode, and where that is lost, by who they are.
        assert!(connect(&daemon.socket("operator"), ANN).is_err());
        fs::set_permissions(daemon.socket("operator"), PermissionsExt::from_mode(0o666)).unwrap();
        let mut ann = Client::new(connect(&daemon.socket("operator"), ANN).unwrap());
        assert_eq!(ann.receive().expect("a reason")["error"]["code"], 1002);
    });
}
