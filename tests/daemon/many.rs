//! Many clients of several users at once, and nothing left of them afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use super::*;

/// Clients at the same time.
const CLIENTS: usize = 100;

/// Commands of all of them together; `EXECWARD_TEST_LONG=1` has ten times as many, `=100` a hundred times. That many are for
/// root's daemon: one user with all of the sessions fills its share of memory, and results leave output out then.
const COMMANDS: usize = 1000;

#[test]
fn a_hundred_clients_get_what_is_theirs_and_leave_nothing() {
    as_both(|| {
        let config = "[limits]\nsessions = 110\nconnections = 256\n";
        let Some(daemon) = Daemon::start(Setup { config, ..Setup::default() }) else { return };
        let times = std::env::var("EXECWARD_TEST_LONG").map_or(1, |long| long.parse().unwrap_or(1).max(10));
        let each = COMMANDS * times / CLIENTS;
        let users: &[u32] = if is_root() { &[ANN, BEN, CAY] } else { &[me()] };
        until("the first session is gone", || daemon.descendants().is_empty());
        let (before, there) = (Left::of(&daemon), groups());
        let (done, memory) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let runners = std::sync::Mutex::new(BTreeSet::new());
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (daemon, done, memory, runners) = (&daemon, &done, &memory, &runners);
                scope.spawn(move || {
                    let uid = users[number % users.len()];
                    let mut client = daemon.client(uid);
                    client.open(&daemon.workspace(uid, &format!("w{number}")));
                    for step in 0..each {
                        one(&mut client, uid, number, step);
                        // The middle, when everybody has begun.
                        if done.fetch_add(1, Ordering::Relaxed) == CLIENTS * each / 2 {
                            memory.store(usize::try_from(daemon.private_kib()).unwrap(), Ordering::Relaxed);
                            runners.lock().unwrap().extend(daemon.descendants());
                        }
                    }
                    client.call("session/close", json!({})).unwrap();
                });
            }
        });
        assert_eq!(done.into_inner(), CLIENTS * each);
        let (middle, end) = (memory.into_inner() as u64, daemon.private_kib());
        assert!(end < middle + (16 << 10), "{middle} KiB in the middle, {end} KiB at the end");
        let runners: BTreeSet<i32> = runners.into_inner().unwrap();
        assert!(runners.len() > users.len());
        until("nothing runs", || daemon.descendants().is_empty());
        let end_of_patience = Instant::now() + Duration::from_secs(20);
        while Left::of(&daemon).exceeds(&before) && Instant::now() < end_of_patience {
            thread::sleep(Duration::from_millis(20));
        }
        let left = Left::of(&daemon);
        assert!(!left.exceeds(&before), "{left:?} is left, and there was {before:?}");
        let left: Vec<String> = groups()
            .into_iter()
            .filter(|group| !there.contains(group))
            .filter(|group| runners.iter().any(|runner| group.contains(&format!("/{runner}-"))))
            .collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
        assert_eq!(daemon.records("decision").len(), CLIENTS * each);
        assert_eq!(daemon.records("end").len(), CLIENTS * each);
        daemon.verify_log();
        eprintln!("-- {} commands, {end} KiB private at the end", CLIENTS * each);
    });
}

/// All control groups of sessions, of whichever daemon.
fn groups() -> BTreeSet<String> {
    let parents =
        ["memory/execward", "pids/execward", "execward"].map(|path| Path::new("/sys/fs/cgroup").join(path));
    let entries = parents.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
    entries.map(|entry| entry.path().display().to_string()).collect()
}

/// One command of many kinds, and everything about how it came out.
fn one(client: &mut Client, uid: u32, number: usize, step: usize) {
    let id = format!("c{step}");
    let size = (number * 7919 + step * 104_729) % 60_000;
    match step % 5 {
        0 => {
            let done = client.run(&id, &["echo", &format!("{number}.{step}")]);
            assert_eq!(done["stdout"]["text"], format!("{number}.{step}\n"));
        }
        1 => {
            let code = (number + step) % 256;
            let done = client.run(&id, &["bash", "-c", &format!("id -u; exit {code}")]);
            assert_eq!(done["report"]["code"], code);
            if uid != 0 {
                assert_eq!(done["stdout"]["text"], format!("{uid}\n"));
            }
        }
        2 => {
            let argv = ["bash", "-c", "head -c $0 /dev/zero | tr '\\0' x; echo err >&2", &size.to_string()];
            let start = json!({"id": id, "command": {"argv": argv}, "output": {"mode": "stream"}});
            client.call("exec/start", start).unwrap();
            let last = client.event("exec/closed", &id)["last_seq"].as_u64().unwrap();
            let (mut out, mut err, mut seq) = (String::new(), String::new(), 0);
            while seq < last {
                let chunk = client.event("exec/output", &id);
                seq += 1;
                assert_eq!(chunk["seq"], seq);
                let into = if chunk["stream"] == "stdout" { &mut out } else { &mut err };
                into.push_str(chunk["text"].as_str().unwrap());
            }
            assert!(out.len() == size && out.bytes().all(|byte| byte == b'x'), "{} of {size}", out.len());
            assert_eq!(err, "err\n");
        }
        3 => {
            let text: String =
                (0..size % 9000).map(|n| char::from(b"abcdefghijklmnopqrstuvwxyz"[n % 26])).collect();
            let start = json!({"id": id, "command": {"argv": ["cat"]}, "stdin": "pipe"});
            client.call("exec/start", start).unwrap();
            client.call("exec/write", json!({"id": id, "text": text, "end": true})).unwrap();
            let done = client.call("exec/wait", json!({ "id": id })).unwrap();
            assert_eq!(done["stdout"]["text"], text);
        }
        _ => {
            let done = client.run(&id, &["bash", "-c", "sleep 1000 & setsid sleep 1000 & kill -9 $$"]);
            assert_eq!(done["report"]["outcome"], "signaled");
        }
    }
    client.events.clear();
}

/// What a daemon must not have more of afterwards.
#[derive(Debug)]
struct Left {
    descriptors: usize,
    mounts: usize,
    threads: bool,
    files: Vec<String>,
}

impl Left {
    fn of(daemon: &Daemon) -> Self {
        let proc = Path::new("/proc").join(daemon.pid().to_string());
        let count = |name: &str| fs::read_to_string(proc.join(name)).unwrap().lines().count();
        let mut files: Vec<String> = ["run", "state", "state/audit"]
            .iter()
            .flat_map(|name| fs::read_dir(daemon.path().join(name)).unwrap().flatten())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            // Full parts of the record stay: it says what happened.
            .filter(|name| !name.starts_with("audit-"))
            .collect();
        files.sort();
        Self {
            descriptors: daemon.descriptors(),
            mounts: count("mountinfo"),
            // A pool has a few at rest.
            threads: fs::read_dir(proc.join("task")).unwrap().count() < 40,
            files,
        }
    }

    /// Fewer descriptors are no loss: what was counted first may have held the connection of who looked whether the
    /// daemon was up.
    fn exceeds(&self, before: &Self) -> bool {
        self.descriptors > before.descriptors
            || self.mounts > before.mounts
            || self.threads != before.threads
            || self.files != before.files
    }
}
